"""Probe strength: what would pass unseen is found by planting, and the reasons are said."""

from __future__ import annotations

import dataclasses

import jax
import ml_dtypes
import numpy as np
import pytest
from verify_cases import check, golden, oracle_of

import lstm
from checks.catalogue import Case
from checks.catalogue.mutants import gradients
from checks.catalogue.recurrence import truncated
from checks.diagnosis import Subject, of_pytree
from checks.diagnosis.report import strength_text
from checks.diagnosis.rounding import rounding_of
from checks.diagnosis.strength import WEAKNESSES, strength
from checks.files.draw import ExportOptions, random_case
from lstm.layouts import LAYOUTS

SIZES = {"timesteps": 5, "batch": 3, "inputs": 4, "hidden": 6, "seed": 2}


def strength_of(case, given=None, dtype="float64"):
    names = [jax.tree_util.keystr(path).removeprefix(".") for path, _ in jax.tree_util.tree_leaves_with_path(case.parameters)]
    planted = Subject.of(case, of_pytree(case.parameters, names)).planted
    rooms = dict(zip(names, map(np.array, rounding_of(planted.case, dtype=dtype)), strict=True))
    return strength(planted, rooms, tuple(names if given is None else [name for name in names if given in name]))


def drawn(**changes):
    return random_case(ExportOptions(LAYOUTS["torch"], **(SIZES | changes)))


def test_a_generic_probe_hides_nothing():
    found = strength_of(drawn(lengths=True))
    assert dict(found.unseen) == dict(found.elsewhere) == {}
    assert found.weaknesses == ()
    assert found.planted > 100


@pytest.mark.parametrize(
    ("changes", "weakness", "hidden"),
    [
        ({"timesteps": 1}, "T = 1", {"no-dh-carry", "no-dc-carry", truncated(1).name, "times-t"}),
        ({"batch": 1}, "B = 1", {"bias-batch-mean", "times-b", "upstream-axes-mixed"}),
        ({"hidden": 1}, "H = 1", {"recurrent-matrix-transposed", "w-h-transposed"}),
        ({"inputs": 6}, "D = H", set()),
        ({"loss": "squared_error", "lengths": False}, "nothing is padded", {"padding-counted", "padding-in-mean"}),
    ],
)
def test_sizes_that_hide_bugs(changes, weakness, hidden):
    found = strength_of(drawn(**changes))
    assert any(weakness in words for words in found.weaknesses)
    assert hidden <= set(found.unseen)


def zero(case, **arrays):
    return dataclasses.replace(case, **arrays)


def test_values_that_hide_bugs():
    case = drawn(lengths=False)
    nothing = jax.tree.map(np.zeros_like, case.initial_state)
    found = strength_of(zero(case, initial_state=nothing))
    assert {"w-h-misses-h0", "no-c0-in-forget-gate"} <= set(found.unseen)
    assert {"h0 is zero", "c0 is zero"} <= set(found.weaknesses)
    ones = zero(case, d_outputs=np.ones_like(case.d_outputs), d_final_state=nothing)
    found = strength_of(ones)
    assert {"upstream-reversed", "upstream-axes-mixed", "d-h-n-ignored", "d-c-n-ignored"} <= set(found.unseen)
    assert "all upstream gradients on the outputs are equal" in found.weaknesses
    last = case.d_outputs * (np.arange(5) == 4)[:, None, None]
    found = strength_of(zero(case, d_outputs=last, d_final_state=nothing))
    assert "upstream-only-at-last-step" in found.unseen
    assert "upstream gradients on the outputs at the last timestep only" in found.weaknesses
    found = strength_of(zero(case, d_outputs=np.zeros_like(case.d_outputs), d_final_state=nothing))
    assert "every upstream gradient is zero, and so is every gradient" in found.weaknesses
    found = strength_of(zero(case, inputs=np.broadcast_to(case.inputs[:1], case.inputs.shape).copy()))
    assert "w-x-inputs-reversed" in found.unseen
    assert "the input is constant in time" in found.weaknesses


def test_saturated_gates_and_zero_biases_are_said():
    case = drawn()
    layer = case.layers[0]
    strong = dataclasses.replace(layer, b=layer.b + 30)
    assert any("saturated" in words for words in strength_of(zero(case, layers=(strong,))).weaknesses)
    unbiased = dataclasses.replace(layer, b=np.zeros_like(layer.b))
    assert "all biases are zero" in strength_of(zero(case, layers=(unbiased,))).weaknesses


def test_a_clip_that_never_cuts_hides_its_derivative():
    found = strength_of(drawn(clip=lstm.CellClip(50.0)))
    assert {"clip-derivative-ignored", "clip-derivative-on-output-gate"} <= set(found.unseen)
    assert not any(name.startswith(("peephole", "clip-not", "coupled")) for name in found.unseen)
    assert any("never reaches its bound" in words for words in found.weaknesses)
    cut = strength_of(drawn(clip=lstm.CellClip(0.3), peepholes=True, projection=4, lengths=True))
    assert dict(cut.unseen) == {}
    assert cut.weaknesses == ()


def test_every_weakness_can_be_said():
    """A word list that nothing reaches would be no check: those above reach all of them, this one counts."""
    assert len(WEAKNESSES) == 15


def test_bugs_of_arrays_that_were_not_given():
    found = strength_of(drawn(lengths=True), given="w_x")
    assert {"bias-doubled", "w-h-transposed", "initial-gradients-zero", "inputs-miss-gate-f"} <= set(found.elsewhere)
    assert "no-dc-carry" not in found.elsewhere


def test_a_low_precision_hides_faint_bugs():
    """Truncation to T - 1 timesteps is far above rounding in float64, and below it in bfloat16."""
    case = drawn(timesteps=12, lengths=True)
    assert dict(strength_of(case).unseen) == {}
    assert "truncated-to-11-steps" in strength_of(case, dtype=ml_dtypes.bfloat16).unseen


def test_long_sequences_say_from_which_length_on_truncation_is_hidden():
    """Not every length is planted there; the boundary is, and what lies on either side of it agrees with planting."""
    case = drawn(timesteps=130, hidden=3, inputs=2, batch=2)
    found = strength_of(case)
    least, most = found.lengths["truncated-to-k-steps"]
    assert most == 129
    assert least > 10
    assert not any(found.hides(f"truncated-to-{k}-steps") for k in range(2, least))
    names = [jax.tree_util.keystr(path).removeprefix(".") for path, _ in jax.tree_util.tree_leaves_with_path(case.parameters)]
    planted = Subject.of(case, of_pytree(case.parameters, names)).planted
    rooms = list(map(np.array, rounding_of(planted.case, dtype="float64")))
    for k in (least - 1, least, (least + most) // 2, most):
        wrong = planted.arrays((truncated(k),))
        shows = any((np.abs(wrong[name] - planted.correct[name]) > room).any() for name, room in zip(names, rooms, strict=True))
        assert shows == (k < least)
        assert found.hides(truncated(k).name) == (k >= least)
    assert f"truncated-to-k-steps for every k tried from {least} to 129" in " ".join(strength_text(found).split())


def test_the_report_of_a_file_says_it():
    arrays, reading = golden(timesteps=1)
    report = check(arrays, reading, oracle_of(arrays, reading))
    text = str(report)
    assert "Unseen here: no-dh-carry" in text
    assert "Weak because: T = 1: nothing flows from one timestep to another" in text
    assert max(map(len, text.splitlines())) <= 80
    shown = report.to_json()["probe"]
    assert "no-dh-carry" in shown["unseen"]
    assert shown["planted"] > 90


def test_rounding_is_told_of_each_direction_by_itself():
    """Two directions of different sizes: each array's magnitudes are those of its own gate gradients; a cost needs no readout."""
    generator = np.random.default_rng(0)

    def normal(*shape):
        return generator.normal(size=shape) / 2

    forward = lstm.Layer(normal(4, 20), normal(3, 20), normal(20), projection=normal(5, 3))
    reverse = lstm.Layer(normal(4, 24), normal(6, 24), 3 * normal(24))
    case = Case.of_upstream((lstm.Bidirectional(forward, reverse),), normal(6, 3, 4), normal(6, 3, 9))
    passed = {}

    class Seen:
        modifies = {"w_x_d_z": lambda value, at: passed.setdefault(at.run.z.shape[-1], value)}  # noqa: RUF012

    found = gradients(case, [Seen])
    rooms = dict(zip(map(id, jax.tree.leaves(found)), rounding_of(case), strict=True))
    level = found.layers[0]
    ratios = []
    for layer, width in ((level.forward, 20), (level.reverse, 24)):
        ratios.append(rooms[id(layer.b)] / np.abs(passed[width]).sum(axis=(0, 1)).max())
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-12)
    plain = lstm.Network((lstm.Layer(normal(4, 20), normal(5, 20), normal(20)),), None)
    assert len(rounding_of(Case.of_cost(plain, normal(6, 3, 4), normal(6, 3, 5)))) == 6
