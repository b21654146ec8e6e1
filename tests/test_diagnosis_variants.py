"""Both directions of time, files, and networks in which no bug can be planted: what is named there, and what is honestly not."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from verify_cases import check, golden, oracle_of

import checks
import lstm
from checks.catalogue import named
from checks.catalogue.mutants import gradients
from checks.diagnosis import case_like
from checks.diagnosis.planted import _restricted
from checks.files.draw import ExportOptions, random_case
from checks.oracle.case import OracleCase
from lstm.layouts import LAYOUTS

pytestmark = pytest.mark.long

TORCH = LAYOUTS["torch"]
DIRECTIONS = {
    "both, two levels, lengths": {"bidirectional": True, "layers": 2, "lengths": True},
    "both, a cost": {"bidirectional": True, "loss": "cross_entropy"},
    "reversed, lengths": {"reverse": True, "lengths": True, "layers": 2},
}


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_the_mutable_backward_pass_is_right_in_both_directions(kind):
    """Within 1e-12 of the derived one: rounding of order 1e-15, amplified by a few timesteps."""
    case = random_case(ExportOptions(TORCH, **DIRECTIONS[kind]))
    right, _ = case.hand_gradients()
    found = gradients(case_like(case))
    ours = jax.tree.leaves((right.network if case.is_cost else right.network.layers, right.inputs, right.initial_state))
    theirs = jax.tree.leaves((found.network if case.is_cost else found.layers, found.inputs, found.initial_state))
    for a, b in zip(ours, theirs, strict=True):
        assert np.abs(a - b).max() <= 1e-12 * np.abs(a).max()


@pytest.fixture(scope="module")
def both():
    arrays, reading = golden(bidirectional=True, lengths=True, dtype="float32")
    return arrays, reading, oracle_of(arrays, reading)


def with_bugs(arrays, reading, case, bugs):
    found = gradients(case, bugs)
    weights = {name: array for name, array in arrays.items() if name.startswith(("weight_", "bias_"))}
    wrong = reading.layout.write_gradients(found.layers, weights) | {"inputs": found.inputs}
    wrong["h0"], wrong["c0"] = reading.layout.write_states(found.initial_state)
    return arrays | {f"grad.{name}": np.asarray(array, np.float32) for name, array in wrong.items()}


@pytest.mark.parametrize("name", ["padding-counted", "gates-in-order-ifog", "truncated-to-3-steps"])
def test_bugs_are_named_in_a_bidirectional_file(name, both):
    arrays, reading, oracle = both
    case = case_like(oracle.case)
    shown = check(with_bugs(arrays, reading, case, [named(name, case)]), reading, oracle).to_json()
    assert [one["name"] for one in shown["diagnosis"]] == [name]
    assert shown["diagnosis"][0]["told_apart"] is True


def test_a_bug_in_one_direction_only_is_named_as_such(both):
    arrays, reading, oracle = both
    case = case_like(oracle.case)
    bug = _restricted(named("forget-gate-uses-new-c", case), 1, "layer 0.reverse")
    report = check(with_bugs(arrays, reading, case, [bug]), reading, oracle)
    assert [one["name"] for one in report.to_json()["diagnosis"]] == ["forget-gate-uses-new-c.in-layer-0-reverse"]
    assert "in layer 0.reverse only" in " ".join(str(report).split())


def test_swapped_directions_are_named(both):
    arrays, reading, oracle = both
    pairs = [(f"grad.{name}_l0", f"grad.{name}_l0_reverse") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    swapped = {a: arrays[b] for a, b in pairs} | {b: arrays[a] for a, b in pairs}
    one = {name: swapped[name] for pair in pairs[:1] for name in pair}
    shown = check(arrays | one, reading, oracle).to_json()["diagnosis"]
    assert shown[0]["name"] == "array-is-that-of-weight_ih_l0 + array-is-that-of-weight_ih_l0_reverse"


@pytest.fixture(scope="module")
def masked():
    arrays, reading = golden("canonical", recurrent_dropout=True)
    return arrays, reading, oracle_of(arrays, reading)


def test_with_masks_generic_mistakes_are_named_and_the_rest_is_said_not_to_be_tried(masked):
    arrays, reading, oracle = masked
    text = str(check(arrays, reading, oracle))
    assert "no bugs of the catalogue can be planted in this network" in text.replace("\n", " ")
    doubled = check(arrays | {"grad.layers.0.b": 2 * arrays["grad.layers.0.b"]}, reading, oracle)
    (shown,) = doubled.to_json()["diagnosis"]
    assert shown["name"] == "array-times-2"
    odd = check(arrays | {"grad.layers.0.b": 1.37 * arrays["grad.layers.0.b"]}, reading, oracle)
    assert odd.to_json()["diagnosis"] == []
    assert "bugs cannot be planted in this network" in str(odd).replace("\n", " ")
    assert "it is 1.37 times what it should be, to rounding" in " ".join(str(odd).split())


def test_the_library_names_bugs_and_the_assertion_carries_the_name(rng):
    network = lstm.init_network(3, input_size=3, hidden_size=4, output_size=2)
    inputs, targets = rng.normal(size=(5, 3, 3)), rng.normal(size=(5, 3, 2))
    network = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), network)
    problem = checks.Problem.from_network(network, inputs, targets)
    case = case_like(OracleCase((*network.layers,), inputs, _zeros(network), readout=network.readout, targets=targets))
    wrong = gradients(case, [named("output-gate-uses-c", case)]).network
    assert checks.diagnose(wrong, problem).names == ("output-gate-uses-c",)
    with pytest.raises(AssertionError, match=r"Diagnosis: output-gate-uses-c\."):
        checks.assert_gradients(wrong, problem)


def _zeros(network):
    return tuple(lstm.State(h=np.zeros((3, 4)), c=np.zeros((3, 4))) for _ in network.layers)


def test_another_cost_has_no_diagnosis():
    cost = checks.Cost(parameters={"w": np.ones(3)}, function=lambda p: (p["w"] ** 2).sum())
    with pytest.raises(lstm.BadInput, match=r"^problem: expected one made by Problem\.from_network; got another cost, of which"):
        checks.diagnose({"w": np.ones(3)}, cost)
    with pytest.raises(AssertionError, match="DISAGREES"):
        checks.assert_gradients({"w": np.ones(3)}, cost)
