"""Gradients inside the network: differences at the nodes agree with them, and a wrong one is found at its timestep and gate."""

from __future__ import annotations

import functools
import re

import jax
import numpy as np
import pytest
from verify_cases import check, golden, oracle_of

import lstm
from checks.catalogue.mutants import gradients
from checks.diagnosis import case_like
from checks.diagnosis.localise import localise
from checks.diagnosis.node_perturbation import node_gradients
from checks.diagnosis.observation import Observation
from checks.files.candidate_reading import understand
from checks.verdict import Verdict

pytestmark = pytest.mark.long

SIZES = {"timesteps": 4, "batch": 2, "inputs": 3, "hidden": 2, "layers": 2, "lengths": True}


@pytest.fixture(scope="module")
def small():
    arrays, reading = golden(**SIZES)
    return arrays, understand(arrays, reading).case


@pytest.mark.parametrize("number", [0, 1])
def test_node_perturbation_agrees_with_the_derived_internals(number, small):
    """Central differences: truncation of order step² = 4e-11 and rounding ε / step = 4e-11, in units of gradients of order 1."""
    arrays, case = small
    by_differences = node_gradients(case_like(case), number)
    valid = case.valid[:, :, None]
    for name, differences in by_differences.items():
        right = np.where(valid, arrays[f"internal.{name}_l{number}"], 0)
        assert np.abs(differences - right).max() < 1e-8, name
        assert np.abs(right).max() > 0.01


def test_node_perturbation_sees_a_wrong_gate_gradient(small):
    """It would not agree with a carry that misses its forget gate."""
    _, case = small
    plain = case_like(case)

    class Recorder:
        def __init__(self):
            self.seen = []

        @property
        def modifies(self):
            return {"factor_c": lambda f, _: np.ones_like(f), "w_x_d_z": lambda d_z, _: self.seen.append(d_z) or d_z}

    recorder = Recorder()
    gradients(plain, [recorder])
    assert np.abs(node_gradients(plain, 0)["d_z"] - recorder.seen[-1]).max() > 1e-3


@pytest.fixture(scope="module")
def exported():
    arrays, reading = golden(bidirectional=True, lengths=True, dtype="float32")
    return arrays, reading, oracle_of(arrays, reading)


@pytest.mark.parametrize(
    ("suffix", "walk"), [("", "walking back from t = 6 it is right to t = 4"), ("_reverse", "from t = 0 it is right to t = 2")]
)
def test_a_wrong_gate_gradient_is_found_at_its_timestep_and_gate(suffix, walk, exported):
    arrays, reading, oracle = exported
    name = f"d_z_l0{suffix}"
    wrong = arrays[f"internal.{name}"].copy()
    wrong[3, 1, 5] *= 1.03  # gate f, unit 1
    report = check(arrays | {f"grad.{name}": wrong}, reading, oracle)
    (found,) = [each for each in report.to_json()["inside"] if each["timestep"] is not None]
    assert (found["name"], found["timestep"], found["gates"]) == (name, 3, ["f"])
    assert walk in found["sentence"]
    assert "Inside the network:" in str(report)
    assert report.verdict is Verdict.AGREES


def test_right_internals_are_right_in_float32(exported):
    arrays, reading, oracle = exported
    report = check(arrays, reading, oracle)
    assert {each["timestep"] for each in report.to_json()["inside"]} == {None}
    assert len(report.to_json()["inside"]) == 6


def test_internals_of_a_float32_pass_are_within_what_rounding_allows(exported):
    """Not merely rounded at the end: computed in float32 throughout."""
    arrays, reading, oracle = exported
    case = oracle.case
    single = functools.partial(jax.tree.map, lambda leaf: np.asarray(leaf, np.float32))
    _, _, residuals = lstm.forward(single(case.layers), single(case.inputs), single(case.initial_state), lengths=case.lengths)
    _, inside = lstm.backward_with_internals(single(case.layers), residuals, single(case.d_outputs), single(case.d_final_state))
    given = {f"grad.{name}_l0{suffix}": np.asarray(getattr(part, name)) for name in ("d_z", "d_h", "d_c")
             for suffix, part in (("", inside[0].forward), ("_reverse", inside[0].reverse))}  # fmt: skip
    report = check(arrays | given, reading, oracle)
    assert {each["timestep"] for each in report.to_json()["inside"]} == {None}


class Scaled:
    """3 % more of one term at one timestep."""

    def __init__(self, place, t):
        self.place, self.t = place, t

    @property
    def modifies(self):
        return {self.place: lambda value, step: 1.03 * value if step.t == self.t else value}


@pytest.fixture(scope="module")
def long():
    arrays, reading = golden(timesteps=100, batch=2, inputs=3, hidden=4, dtype="float32")
    return arrays, reading, oracle_of(arrays, reading)


@pytest.mark.parametrize("place", ["carried_c", "carried_h", "factor_f", "through_h", "slopes"])
def test_three_percent_of_one_term_at_one_timestep_in_a_hundred_is_found(place, long):
    arrays, reading, oracle = long
    case = case_like(oracle.case)
    found = gradients(case, [Scaled(place, 57)])
    given = {name: array for name, array in arrays.items() if re.fullmatch(r"(weight|bias)_.*", name)}
    weights = reading.layout.write_gradients(found.layers, given)
    wrong = {f"grad.{name}": array for name, array in weights.items()} | {"grad.inputs": found.inputs}
    wrong = {name: np.asarray(array, np.float32) for name, array in wrong.items()}
    report = check({name: array for name, array in arrays.items() if not name.startswith(("grad.", "internal."))} | wrong, reading, oracle)
    assert report.verdict is Verdict.DISAGREES
    names = [each.name for each in report.parameters]
    assert set(names) == {"inputs", *given}
    got, expected, allowed = (report.candidate.gradients, report.examination.expected, report.examination.allowed)
    rooms = {name: allowed(name) for name in names}
    place = localise(Observation({name: got[name] for name in names}, expected, rooms, report.examination.subject.arrangement))
    assert place.first_timestep == 57


def test_such_an_error_has_no_name(long):
    """One that explains it to rounding does not exist in the catalogue; and it is no rounding."""
    arrays, reading, oracle = long
    found = gradients(case_like(oracle.case), [Scaled("carried_h", 57)])
    report = check(arrays | {"grad.inputs": np.asarray(found.inputs, np.float32)}, reading, oracle)
    assert report.to_json()["diagnosis"] == []
    assert "is right down to t = 58 and first departs at t = 57" in str(report).replace("\n    ", " ")
