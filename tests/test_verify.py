"""`lstm-check verify`: what is exported agrees, what is wrong is named, nothing is judged against an unconfirmed gradient."""

from __future__ import annotations

import dataclasses
import json
import shlex

import jax
import numpy as np
import pytest
from verify_cases import VARIANTS, changed, check, golden, oracle_of, without

import checks.verify
import lstm
from checks.cli import main, parser
from checks.commands.files import reading_of
from checks.files.array_file import READERS, read_arrays
from checks.files.candidate_reading import understand
from checks.files.draw import ExportOptions, random_case
from checks.files.export import export
from checks.verdict import Verdict
from checks.verify import verify_candidate
from lstm import BadInput
from lstm.layouts import LAYOUTS, Layout, read_description

RICH = "two layers, both directions, lengths"


def held(layout: Layout) -> list[str]:
    """The variants that a layout has a place for."""
    names = []
    for name, options in VARIANTS.items():
        options = {**options, "timesteps": 2, "batch": 1}
        try:
            layout.attributes_of(random_case(ExportOptions(layout, **options)).layers)
        except BadInput:
            continue
        names.append(name)
    return names


# Fused on [bias, x, h] with gates i f o g; and per-gate matrices with peepholes and a projection, in another order of axes
DESCRIPTIONS = {
    "fused": 'gates = "i f o g"\n[arrays]\n"{layer}/{direction}/W" = ["bias x h", "gates"]\n',
    "apart": """
        axes = "DBT"
        state_axes = "HB"
        forget_offset = 1.0
        cell_clip = 0.5
        [arrays]
        "W{gate}" = ["unit", "h x"]
        "b{gate}" = ["unit", "bias"]
        "p{gate}" = {axes = ["unit"], holds = "peephole", optional = true}
        P = {axes = ["projected", "unit"], optional = true}
    """,
}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory) -> dict[str, tuple[Layout, str | None]]:
    """Each with the file that describes it, if one does."""
    found: dict[str, tuple[Layout, str | None]] = {name: (layout, None) for name, layout in LAYOUTS.items()}
    for name, text in DESCRIPTIONS.items():
        path = tmp_path_factory.mktemp("described") / f"{name}.toml"
        path.write_text(text)
        found[name] = read_description(path), str(path)
    return found


def test_what_layouts_can_hold(layouts):
    data = ["plain", "lengths", "dropout"]
    single = [RICH, *data, "reverse"]
    of = {name: sorted(held(layout)) for name, (layout, _) in layouts.items()}
    assert of["canonical"] == sorted(VARIANTS)
    assert of["torch"] == sorted([RICH, *data, "projection"])
    assert of["keras"] == of["flax"] == of["flax-nnx"] == of["flax-nnx-optimized"] == sorted([*single, "activations of Keras"])
    assert of["equinox"] == of["haiku"] == of["fused"] == sorted(single)
    assert of["jax-cudnn"] == sorted([RICH, *data])
    onnx = ["both directions, peepholes", *data, "reverse", "peepholes", "zoneout", "coupled", "activations of ONNX"]
    assert of["onnx"] == of["onnx-batch-major"] == sorted(onnx)
    assert of["apart"] == sorted(["clip", "clip, peepholes, projection"])


@pytest.mark.parametrize("variant", [each if each == "plain" else pytest.param(each, marks=pytest.mark.long) for each in VARIANTS])
def test_an_export_agrees_in_every_layout_and_one_entry_does_not(variant, layouts, rng, tmp_path):
    """Written in each format in turn and read as the printed command says; one entry of each array changed by 1e-6 of its largest."""
    able = [(layout, described) for layout, described in layouts.values() if variant in held(layout)]
    assert able
    for number, (layout, described) in enumerate(able):
        path = tmp_path / f"{layout.name}{(*READERS, *READERS)[(len(variant) + number) % 5]}"
        exported = export(path, ExportOptions(layout, **VARIANTS[variant], layout_file=described, seed=3))
        reading = reading_of(parser().parse_args(shlex.split(exported.command)[1:]))
        arrays = read_arrays(path)
        oracle = oracle_of(arrays, reading)
        report = check(arrays, reading, oracle)
        assert report.confirmation.confirmed, f"{layout.name}\n{report}"
        assert report.verdict is Verdict.AGREES, f"{layout.name}\n{report}"
        assert report.not_given == []
        one_entry_changed_in_each(arrays, reading, oracle, rng)


def one_entry_changed_in_each(arrays, reading, oracle, rng):
    """All at once, since each array is judged by itself; and one alone."""
    gradients = [name for name in arrays if name.startswith("grad.")]
    where = {name: tuple(int(rng.integers(size)) for size in arrays[name].shape) for name in gradients}
    all_wrong = arrays
    for name, index in where.items():
        all_wrong = changed(all_wrong, name, index, 1e-6)
    report = check(all_wrong, reading, oracle)
    for each in report.parameters:
        assert (each.verdict, each.worst_index, each.wrong) == (Verdict.DISAGREES, where[f"grad.{each.name}"], 1), f"\n{report}"
        assert each.max_relative_error == pytest.approx(1e-6, rel=1e-3)
    name = str(rng.choice(gradients))
    report = check(changed(arrays, name, where[name], 1e-6), reading, oracle)
    (one,) = [each for each in report.parameters if each.verdict is not Verdict.AGREES]
    assert f"grad.{one.name}" == name
    assert one.place in " ".join(str(report).split())


@pytest.mark.parametrize(("loss", "reduction"), [("squared_error", "sum"), ("cross_entropy", "mean")])
def test_a_cost_with_a_readout(loss, reduction):
    arrays, reading = golden("torch", loss=loss, reduction=reduction, lengths=True, axes="DBT", outputs=3)
    assert arrays["readout.weight"].shape == (3, 5)
    oracle = oracle_of(arrays, reading)
    report = check(arrays, reading, oracle)
    assert report.verdict is Verdict.AGREES, f"\n{report}"
    assert {"readout.weight", "readout.bias"} <= {each.name for each in report.parameters}
    wrong = {name: array * 3 if name.startswith("grad.") else array for name, array in arrays.items()}
    assert {each.verdict for each in check(wrong, reading, oracle).parameters} == {Verdict.DISAGREES}


def test_probabilities_of_a_float32_file_need_not_sum_to_1_in_float64(rng):
    arrays, reading = golden("torch", loss="cross_entropy", outputs=5, dtype="float32")
    targets = rng.dirichlet(np.ones(5), size=arrays["targets"].shape).astype(np.float32)
    arrays = {name: array for name, array in arrays.items() if not name.startswith("grad.")} | {"targets": targets}
    assert np.abs(targets.astype(np.float64).sum(axis=-1) - 1).max() > 1e-9
    assert check(arrays, reading).confirmation.confirmed
    with pytest.raises(BadInput, match=r"^targets: expected probability vectors .* got a sum of 2 at t = 0, b = 0$"):
        check(arrays | {"targets": 2 * targets}, reading)


def test_the_report_says_which_gate_which_unit_and_what_was_not_given():
    arrays, reading = golden("torch", hidden=5)
    arrays = changed(arrays, "grad.weight_hh_l0", (5 + 3, 2), 1e-6)
    report = check(without(arrays, "grad.bias_hh_l0", "grad.inputs"), reading)
    text = str(report)
    assert text.splitlines()[0] == "DISAGREES: 1 of 5 gradients is wrong: weight_hh_l0 (gate f); worst at"
    assert text.splitlines()[1] == "weight_hh_l0[f, unit 3, from h 2]."
    assert "\nweight_hh_l0  DISAGREES       1.0e-06" in text
    assert "\nweight_hh_l0: 1 of 100 entries differ.\n  gate f, 1 of 25 entries; worst at" in text
    assert "Not given, so not checked: bias_hh_l0 and inputs." in text.replace("\n", " ")
    assert "drawn with seed 0" in text.replace("\n", " ")
    assert all(len(line) <= 80 for line in text.splitlines())
    (gate,) = [block for block in report.parameters[1].blocks if block.verdict is Verdict.DISAGREES]
    assert (gate.name, gate.wrong, gate.size) == ("f", 1, 25)


def test_json_is_the_contract(tmp_path):
    arrays, reading = golden("keras", bidirectional=True)
    name = "grad.forward_layer/kernel"
    report = check(changed(arrays, name, (2, 7), 1e-3), reading).to_json()
    json.dumps(report, allow_nan=False)
    assert report["verdict"] == "disagrees"
    assert report["diagnosis"] == []
    assert report["forward"]["verdict"] == "agrees"
    assert report["not_given"] == []
    (wrong,) = [each for each in report["parameters"] if each["verdict"] == "disagrees"]
    assert wrong["name"] == "forward_layer/kernel"
    assert wrong["worst_index"] == [2, 7]
    assert wrong["got"] == changed(arrays, name, (2, 7), 1e-3)[name][2, 7]
    assert wrong["expected"] == pytest.approx(arrays[name][2, 7], rel=1e-12)
    assert wrong["max_relative_error"] == pytest.approx(1e-3, rel=1e-9)
    assert [gate["name"] for gate in wrong["gates"]] == ["i", "f", "g", "o"]
    assert [gate["verdict"] for gate in wrong["gates"]] == ["agrees", "disagrees", "agrees", "agrees"]


def test_every_entry_can_be_confirmed_by_differences():
    arrays, reading = golden("torch", timesteps=3, batch=2, inputs=2, hidden=3)
    report = check(arrays, reading, exhaustive=True)
    assert report.verdict is Verdict.AGREES
    assert report.confirmation.entries == report.confirmation.of == 2 * 12 + 3 * 12 + 12 + 3 * 2 * 2 + 2 * 2 * 3
    assert f"in all {report.confirmation.of} entries" in str(report).replace("\n", " ")


FAULTS = {"sign": lambda d: -d, "one part in a million": lambda d: d * (1 + 1e-6)}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_oracle_that_is_wrong_confirms_nothing(fault, monkeypatch):
    """A fault planted in the hand-written backward pass: right and wrong candidates alike get no verdict from it."""
    arrays, reading = golden("torch", timesteps=4, batch=2)
    right = lstm.cell.backward
    jax.clear_caches()

    def faulty(*args):
        found = right(*args)
        return dataclasses.replace(found, d_z=FAULTS[fault](found.d_z))

    monkeypatch.setattr(lstm.cell, "backward", faulty)
    try:
        report = check(arrays, reading)
    finally:
        monkeypatch.undo()
        jax.clear_caches()
    assert not report.confirmation.confirmed
    assert report.verdict is Verdict.INCONCLUSIVE
    assert str(report).startswith("INCONCLUSIVE: there is no confirmed gradient to compare with")
    assert "is NOT confirmed on this input" in str(report).replace("\n", " ")


def test_outputs_past_a_sequences_length_are_nobodys_business(rng):
    """Inputs, upstream gradients and outputs may hold anything there; the gradient on the inputs there is 0."""
    arrays, reading = golden("torch", lengths=True, seed=2)
    past = np.arange(7)[:, None] >= arrays["lengths"]
    assert past.any()
    for name in ("inputs", "d_outputs", "outputs"):
        arrays[name] = np.where(past[:, :, None], np.nan, arrays[name])
    assert check(arrays, reading).verdict is Verdict.AGREES
    t, b = np.argwhere(past)[0]
    report = check(changed(arrays, "grad.inputs", (int(t), int(b), 1), 1e-6), reading)
    assert [each.name for each in report.parameters if each.verdict is Verdict.DISAGREES] == ["inputs"]


def test_states_of_one_layer_may_lack_the_axis_of_layers():
    arrays, reading = golden("torch")
    squeezed = {name: array[0] if array.shape[:2] == (1, 3) else array for name, array in arrays.items()}
    assert squeezed["h0"].shape == (3, 5)
    assert check(squeezed, reading).verdict is Verdict.AGREES


def test_absent_states_and_upstream_gradients_are_zero():
    arrays, reading = golden("torch")
    only = without(arrays, "h0", "c0", "d_outputs", "d_c_n", *[name for name in arrays if name.startswith("grad.")])
    report = check(without(only, "outputs", "h_n", "c_n") | {"grad.h0": np.ones((1, 3, 5))}, reading)
    assert report.candidate.case.d_outputs is None
    assert report.verdict is Verdict.DISAGREES
    assert all(not np.any(state.h) and not np.any(state.c) for state in report.candidate.case.initial_state)
    given = {"h0": np.zeros((1, 3, 5)), "c0": np.zeros((1, 3, 5)), "d_outputs": np.zeros((7, 3, 5)), "d_c_n": np.zeros((1, 3, 5))}
    again = check(without(only, "outputs", "h_n", "c_n") | given | {"grad.h0": np.ones((1, 3, 5))}, reading)
    assert again.parameters[0].expected == report.parameters[0].expected


def test_a_file_with_a_forward_pass_only():
    arrays, reading = golden("torch")
    arrays = without(arrays, *[name for name in arrays if name.startswith(("grad.", "d_", "internal."))])
    report = check(arrays, reading)
    assert report.verdict is Verdict.AGREES
    assert report.not_given == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "inputs", "h0", "c0"]
    assert str(report).startswith("AGREES: the forward pass is this network's; no gradient was given.")


def test_the_command_line(tmp_path, capsys):
    path, json_path = tmp_path / "v.safetensors", tmp_path / "report.json"
    words = ["--layout", "onnx", "--bidirectional", "--peepholes", "--coupled", "--lengths"]
    assert main(["export", "--out", str(path), *words]) == 0
    command = capsys.readouterr().out.rpartition("Check it: lstm-check ")[2].split()
    assert command[:4] == ["verify", str(path), "--layout", "onnx"]
    assert main([*command, "--json", str(json_path)]) == 0
    assert capsys.readouterr().out.startswith("AGREES: all 7 gradients given are right.")
    assert json.loads(json_path.read_text())["verdict"] == "agrees"
    assert main([*command, "--activations", "tanh,tanh,tanh"]) == 1
    assert capsys.readouterr().out.startswith("DISAGREES: the forward pass is another function")
    assert main(["layout", str(path), "--layout", "onnx", "--attribute", "input_forget=1"]) == 0
    assert "gate o" in capsys.readouterr().out


def test_bad_input_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "v.npz"
    export(path, ExportOptions(LAYOUTS["torch"]))
    with np.load(path) as arrays:
        content = dict(arrays)
    np.savez(path, **{name.replace("bias_hh", "bias_hg"): array for name, array in content.items()})
    assert main(["verify", str(path), "--layout", "torch"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == (
        "lstm-check verify: bias_hg_l0: expected only arrays of the layout torch; got this name too; did you mean bias_hh_l0?\n"
    )


def test_a_large_networks_bug_is_looked_for_only_when_asked(monkeypatch):
    monkeypatch.setattr(checks.verify, "AFFORDABLE", 1000.0)
    arrays, reading = golden("torch", seed=3)
    wrong = changed(arrays, "grad.weight_hh_l0", (3, 2), 1e-3)
    candidate = understand(wrong, reading)
    oracle = oracle_of(wrong, reading)
    report = verify_candidate(candidate, oracle)
    assert report.verdict is Verdict.DISAGREES
    assert report.to_json()["diagnosis"] == []
    text = " ".join(str(report).split())
    assert "which bugs would show, and which of them explains what is wrong; --diagnose does." in text
    assert verify_candidate(candidate, oracle, diagnose=True).examination is not None
    monkeypatch.undo()
    assert verify_candidate(candidate, oracle).examination is not None
