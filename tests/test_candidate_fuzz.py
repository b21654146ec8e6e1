"""Thousands of mutated files: each is either a valid file or one line of explanation, never a traceback."""

from __future__ import annotations

import io
import json
import tracemalloc

import numpy as np
import pytest
from verify_cases import check, golden
from verify_fuzz import (
    BYTES,
    _extreme,
    _flipped,
    arrays_changed,
    header_edited,
    json_bytes,
    npz_bytes,
    safetensors_bytes,
    safetensors_header_edited,
)

import checks.oracle
from checks.cli import main
from checks.files.array_file import READERS
from checks.files.candidate_reading import understand
from checks.oracle.confirmation import Confirmation
from checks.verdict import Verdict
from lstm import BadInput

SIZES = {"timesteps": 3, "batch": 2, "hidden": 4, "inputs": 3}
TORCH = golden("torch", layers=2, bidirectional=True, projection=2, lengths=True, **SIZES)
COST = golden("keras", loss="cross_entropy", **SIZES)
ONNX = golden("onnx", peepholes=True, **SIZES)
FLAX = golden("flax", bidirectional=True, **SIZES)
FILES = {
    ".npz": npz_bytes(TORCH[0]),
    "deflated .npz": npz_bytes(TORCH[0], compressed=True),
    ".safetensors": safetensors_bytes(TORCH[0]),
    ".json": json_bytes(TORCH[0]),
}
SEEDS = 120
MEMORY = 30  # times the length of the file: JSON in Python objects is the most, at about half of that


def outcome(function, *args) -> str:
    """ "valid", or the one line; anything else is a failure of the test."""
    try:
        function(*args)
    except BadInput as error:
        message = str(error)
        assert message.isprintable(), f"more than one line: {message!r}"
        assert 10 < len(message) < 700, message
        return message
    return "valid"


def read(name: str, data: bytes) -> None:
    understand(READERS["." + name.rpartition(".")[2]](io.BytesIO(data), len(data)), TORCH[1])


@pytest.mark.parametrize("name", FILES)
def test_bytes(name):
    found = [
        outcome(read, name, mutate(FILES[name], np.random.default_rng([seed, number])))
        for seed in range(SEEDS)
        for number, mutate in enumerate(BYTES)
    ]
    assert len(set(found)) > 20  # many ways to be wrong, not one early exit


@pytest.mark.parametrize(("name", "mutate"), [(".npz", header_edited), (".safetensors", safetensors_header_edited)])
def test_headers(name, mutate):
    found = [outcome(read, name, mutate(FILES[name], np.random.default_rng(seed))) for seed in range(2 * SEEDS)]
    assert len(set(found)) > 20


@pytest.mark.parametrize("case", [TORCH, COST, ONNX, FLAX], ids=["torch", "a cost", "onnx", "flax"])
def test_arrays(case):
    arrays, reading = case
    found = [outcome(understand, arrays_changed(arrays, np.random.default_rng(seed)), reading) for seed in range(3 * SEEDS)]
    assert len(set(found)) > 60
    assert "valid" in found


@pytest.mark.long
@pytest.mark.parametrize("case", [golden("torch", **SIZES), COST], ids=["torch", "a cost"])
def test_what_the_reader_lets_through_is_judged(case, monkeypatch):
    """Swapped arrays, huge numbers, other precisions: a verdict, as text and as JSON, for each."""
    monkeypatch.setattr(checks.oracle, "confirm", lambda *_, **__: Confirmation(True, 0.0, 0, 0, 0.0, 0.0, 0))
    arrays, reading = case
    verdicts = []
    for seed in range(200):
        mutated = arrays_changed(arrays, np.random.default_rng(seed))
        if outcome(understand, mutated, reading) != "valid":
            continue
        report = check(mutated, reading)
        assert all(len(line) <= 80 for line in str(report).splitlines())
        json.dumps(report.to_json(), allow_nan=False)
        verdicts.append(report.verdict)
    assert len(verdicts) > 25
    assert {Verdict.AGREES, Verdict.DISAGREES} <= set(verdicts)


@pytest.mark.parametrize("name", FILES)
def test_the_command_says_one_line_and_exits_with_2(name, tmp_path, capsys):
    path = tmp_path / f"mutated.{name.rpartition('.')[2]}"
    refused = 0
    for seed in range(SEEDS // 4):
        for number, mutate in enumerate(BYTES):
            data = mutate(FILES[name], np.random.default_rng([seed, number]))
            if outcome(read, name, data) == "valid":
                continue
            refused += 1
            path.write_bytes(data)
            assert main(["verify", str(path), "--layout", "torch"]) == 2
            out, err = capsys.readouterr()
            assert out == ""
            assert err.startswith("lstm-check verify: ")
            assert err.count("\n") == 1
            assert err.endswith("\n")
    assert refused > 50


@pytest.mark.parametrize("name", FILES)
def test_no_mutation_makes_the_reader_allocate_much(name):
    """Whatever a size, an offset or a count says, memory stays some tens of times the file's own length."""
    data = FILES[name]
    mutated = [mutate(data, np.random.default_rng([seed, 7])) for seed in range(SEEDS // 3) for mutate in (_flipped, _extreme)]
    tracemalloc.start()
    for each in mutated:
        outcome(read, name, each)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MEMORY * len(data)
