"""In every variant of a layer, each bug that it can have is named, in the library and in files, and random corruptions are not."""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from variant_probes import CUT, KERAS_LIKE, PASSED, VARIANTS, oracle_case
from verify_cases import check, golden, oracle_of

import checks
import lstm
from checks.catalogue import bugs_for, cell_variants, named, variants
from checks.catalogue.mutants import gradients
from checks.diagnosis import case_like, case_of
from checks.verdict import Verdict

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks are run from the root, not installed

from benchmarks.diagnosis_cases import corrupted, random_probe, subset

CONCLUSIVE = 30  # times what rounding may do: below, no name is given


def probe_of(variant, rng):
    """A random network of the variant; what a square projection is square with is drawn too."""
    hidden = int(rng.integers(4, 7))
    fixed = {name: value for name, value in VARIANTS[variant].items() if name not in ("loss", "reduction", "outputs", "layers")}
    if fixed.get("projection", 0) > 3:
        fixed["projection"] = hidden
    return random_probe(rng, hidden=hidden, **fixed)


def unnamed(probe, bugs):
    """The bugs that change the gradient enough for a name, and do not get theirs; and how many did."""
    found, count = [], 0
    for bug in bugs:
        got = probe.planted.arrays((bug,))
        assert got is not None, bug
        if any((np.abs(got[name] - right) > CONCLUSIVE * probe.allowed[name]).any() for name, right in probe.right.items()):
            names = probe.subject.diagnose(got, probe.right, probe.allowed).names
            found += [] if bug.name in names else [(bug.name, names, probe.options)]
            count += 1
    return found, count


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_variants_own_bugs_are_named(variant, rng):
    probe = probe_of(variant, rng)
    own = [bug for bug in probe.planted.bugs if bug in (*variants.BUGS, *cell_variants.BUGS)]
    found, count = unnamed(probe, own)
    assert found == []
    assert count > 0


@pytest.mark.long
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_bug_is_named_on_networks_of_random_size(variant, rng):
    for _ in range(3):
        probe = probe_of(variant, rng)
        found, count = unnamed(probe, probe.planted.bugs)
        assert found == []
        assert count > 80


@pytest.mark.long
@pytest.mark.parametrize("variant", VARIANTS)
def test_random_corruptions_are_never_named(variant, rng):
    """20 of each of the 12 variants: 240."""
    probe = probe_of(variant, rng)
    gates = {} if VARIANTS[variant].get("coupled") else probe.subject.arrangement.gates  # what corrupts by gates knows of four
    for _ in range(20):
        kind, where, got = corrupted(rng, probe.right, gates)
        keep = subset(rng, list(got), where)
        given = ({name: arrays[name] for name in keep} for arrays in (got, probe.right, probe.allowed))
        assert probe.subject.diagnose(*given).names == (), (kind, where, keep, probe.options)


FILES = {
    "onnx, peepholes": ("onnx", {"peepholes": True}),
    "torch, projection": ("torch", {"projection": 2, "layers": 2}),
    "canonical, square projection, both directions": ("canonical", {"projection": 5, "bidirectional": True}),
    "canonical, clip": ("canonical", {"clip": CUT, "lengths": True}),
    "canonical, straight through": ("canonical", {"clip": PASSED}),
    "onnx, coupled": ("onnx", {"coupled": True}),
    "keras, activations": ("keras", {"activations": KERAS_LIKE}),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", FILES)
def test_the_variants_own_bugs_are_named_in_files(kind):
    """In float32 and in the layout's own arrays; a few of the bugs of every LSTM beside them."""
    layout, options = FILES[kind]
    arrays, reading = golden(layout, dtype="float32", **options)
    oracle = oracle_of(arrays, reading)
    case = case_like(oracle.case)
    right = check(arrays, reading, oracle)
    assert right.verdict is Verdict.AGREES
    assert "bugs of the catalogue would show" in str(right).replace("\n", " ")
    own = [bug for bug in bugs_for(case) if bug in (*variants.BUGS, *cell_variants.BUGS)]
    assert own
    for bug in (*own, named("no-dc-carry", case), named("w-h-uses-new-h", case)):
        found = gradients(case, [bug])
        weights = {name: array for name, array in arrays.items() if f"grad.{name}" in arrays and name not in ("inputs", "h0", "c0")}
        wrong = reading.layout.write_gradients(found.layers, weights) | {"inputs": _in_axes(found.inputs, arrays["grad.inputs"])}
        given = arrays | {f"grad.{name}": np.asarray(array, np.float32) for name, array in wrong.items()}
        report = check({name: array for name, array in given.items() if name not in ("grad.h0", "grad.c0")}, reading, oracle)
        assert report.verdict is Verdict.DISAGREES, bug
        assert bug.name in [one["name"] for one in report.to_json()["diagnosis"]], bug


def _in_axes(inputs, like):
    """Time-major, or batch-first where the file is: T, B and D all differ."""
    return inputs if inputs.shape == like.shape else inputs.swapaxes(0, 1)


@pytest.mark.long
@pytest.mark.parametrize("variant", ["peepholes", "square projection", "clip straight through", "coupled"])
def test_the_library_names_them(variant, rng):
    """Of a cost, whose right gradient is its true derivative even where a layer states another."""
    case = oracle_case(variant, loss="squared_error", outputs=7, lengths=False, bidirectional=False, reverse=False)
    network = lstm.Network(case.layers, case.readout)
    targets = rng.normal(size=(6, 3, 7))
    problem = checks.Problem.from_network(network, case.inputs, targets, initial_state=case.initial_state)
    plantable = case_like(case_of(problem))
    for bug in [bug for bug in bugs_for(plantable) if bug in (*variants.BUGS, *cell_variants.BUGS)][:4]:
        wrong = gradients(plantable, [bug]).network
        like_theirs = jax.tree.unflatten(jax.tree.structure(problem.parameters), jax.tree.leaves(wrong))
        assert bug.name in checks.diagnose(like_theirs, problem).names
