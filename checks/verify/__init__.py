"""A candidate's gradients against the oracle's: the forward pass first, then every gradient that was given."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import lstm
from checks.diagnosis.examination import Examination
from checks.files.array_file import read_arrays
from checks.files.candidate import FORWARD, Candidate, Reading
from checks.files.candidate_arrays import moved
from checks.files.candidate_reading import understand
from checks.oracle import Oracle
from checks.oracle.case import OracleCase
from checks.precision import Precision, precision_of
from checks.verdict import Verdict
from checks.verify.compare import Judgement, judge, not_judged
from checks.verify.evidence import Evidence
from checks.verify.forward_guess import guesses
from checks.verify.layout_marks import Marks, marks_of
from checks.verify.report import VerifyReport
from lstm.layouts.places import describe, describe_all


def verify(
    path: Any, reading: Reading, *, exhaustive: bool = False, seed: int = 0, precision: Any = None, diagnose: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> VerifyReport:  # fmt: skip
    """Check the gradients in a file.

    Args:
        path: an ``.npz``, ``.safetensors`` or ``.json`` file; see `checks.files.candidate` for its keys.
        exhaustive: confirm the oracle by differences in every entry, not in a sample.
        seed: of that sample and of the random roundings behind the tolerances.
        precision: to judge in, a dtype or its name, or "tf32"; default the coarsest that the file holds.
        diagnose: hold every known bug against the gradients of a large network too, which may take minutes.
        progress: a function of the passes over the network made for the right gradient, and of those to be made.

    Raises:
        BadInput: one line, if the file is not what the contract says.
    """
    candidate = understand(read_arrays(path), reading)
    oracle = Oracle(candidate.case, exhaustive=exhaustive, seed=seed, progress=progress)
    return verify_candidate(candidate, oracle, name=str(path), precision=precision, diagnose=diagnose)


def verify_candidate(
    candidate: Candidate, oracle: Oracle, *, name: str = "", precision: Any = None, diagnose: bool = False
) -> VerifyReport:
    """As `verify`, of a file that was read already, against the oracle of its case."""
    return _Judging(candidate, oracle, precision, diagnose).report(name)


# Numbers there is a gradient of, times timesteps of all sequences. Every bug of the catalogue takes a forward and a backward pass:
# up to here that is some seconds in all, and a hundred times this is minutes
AFFORDABLE = 1e7


class _Judging:
    """A candidate beside an oracle, in the candidate's own layout."""

    def __init__(self, candidate: Candidate, oracle: Oracle, precision: Any, diagnose: bool):
        self.candidate, self.oracle, self.given_precision = candidate, oracle, precision
        self.expected = self._in_layout(oracle.gradients)
        numbers = sum(array.size for array in self.expected.values())
        self.examined = diagnose or numbers * candidate.case.valid.size <= AFFORDABLE
        self.expected_forward = self._forward_in_layout(*oracle.forward)
        self._allowed_in: dict[Any, Any] = {}

    def report(self, name: str) -> VerifyReport:
        candidate = self.candidate
        forward = [self._judge_forward(key) for key in candidate.forward]
        parameters = [self._judge_gradient(key) for key in candidate.differentiable if key in candidate.gradients]
        found: list[str] = []
        if Verdict.of_all(each.verdict for each in forward) is Verdict.DISAGREES:
            parameters = [not_judged(each) for each in parameters]
            allowed = {key: self._allowed(self._precision(key))[1][key] for key in candidate.forward}
            found = guesses(candidate, self._forward_of, allowed, self._marks)
        judged_right = self.oracle.confirmation.confirmed and not any(each.verdict is Verdict.DISAGREES for each in forward)
        return VerifyReport(
            name=name,
            candidate=candidate,
            confirmation=self.oracle.confirmation,
            forward=tuple(forward),
            guesses=tuple(found),
            parameters=tuple(parameters),
            examination=self._examination(parameters) if judged_right and self.examined else None,
            examined=self.examined,
            evidence=self._evidence(),
        )

    def _evidence(self) -> Evidence:
        return Evidence(
            expected=self.expected,
            allowed=lambda name: self._allowed(self._precision(name))[0][name],
            gates=self._marks.gates,
            places=lambda name, indices: describe_all(name, indices, self._codes),
            internals=self.oracle.internals,
        )

    def _examination(self, judgements: list[Judgement]) -> Examination:
        given = {each.name: self._precision(each.name) for each in judgements}
        coarsest = max(given.values(), key=lambda precision: precision.eps, default=precision_of(np.float64))

        def allowed(name: str) -> np.ndarray:
            return self._allowed(given.get(name, coarsest))[0][name]

        def place(name: str, index: tuple[int, ...]) -> str:
            return describe(name, index, self._codes) if name in self.candidate.weights else _with_index(name, index)

        return Examination(
            self.candidate, judgements, self.expected, allowed, self._marks.gates, self._in_layout, place,
            internals=self.oracle.internals, precision=coarsest,
        )  # fmt: skip

    @functools.cached_property
    def _marks(self) -> Marks:
        return marks_of(self.candidate.reading.layout, self.candidate.case.layers, self.candidate.weights)

    @functools.cached_property
    def _codes(self) -> Any:
        return self.candidate.reading.layout.codes(self.candidate.weights, self.candidate.reading.attributes)[0]

    def _precision(self, name: str) -> Precision:
        return precision_of(self.candidate.precision(name) if self.given_precision is None else self.given_precision)

    def _allowed(self, precision: Precision) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """In the layout: of the gradients, and of the forward results."""
        if precision not in self._allowed_in:
            allowed = self.oracle.model.allowed(precision)
            forward = self._forward_in_layout(allowed.outputs, allowed.final_state)
            self._allowed_in[precision] = self._in_layout(allowed.gradients), forward
        return self._allowed_in[precision]

    def _judge_forward(self, name: str) -> Judgement:
        """Outputs past a sequence's length are compared by nobody: frameworks differ in what they leave there."""
        precision = self._precision(name)
        got, expected, allowed = self.candidate.forward[name], self.expected_forward[name], self._allowed(precision)[1][name]
        if name == "outputs":
            got, expected, allowed = (self._as_given(array) for array in (got, expected, allowed))
        return judge(name, got, expected, allowed, lambda index: _with_index(name, index), precision.name)

    def _judge_gradient(self, name: str) -> Judgement:
        got, expected, precision = self.candidate.gradients[name], self.expected[name], self._precision(name)
        allowed = self._allowed(precision)[0][name]
        if name in self.candidate.weights:
            gates = self._marks.gates[name]
            return judge(name, got, expected, allowed, lambda index: describe(name, index, self._codes), precision.name, gates)
        return judge(name, got, expected, allowed, lambda index: _with_index(name, index), precision.name)

    def _forward_of(self, case: OracleCase) -> dict[str, np.ndarray]:
        """Outputs (T, B, R) and final states in the layout's shapes, of this case or of one like it."""
        return self._forward_in_layout(*case.forward())

    def _forward_in_layout(self, outputs: np.ndarray, final_state: Any) -> dict[str, np.ndarray]:
        h_n, c_n = self._states(final_state, FORWARD[1:])
        return {"outputs": outputs, "h_n": h_n, "c_n": c_n}

    def _states(self, states: Any, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """In the shapes that the file has, which for one layer may lack the axis of layers."""
        shapes = [self.candidate.shapes[name] for name in names if name in self.candidate.shapes]
        like = np.broadcast_to(0.0, shapes[0]) if shapes else None
        return self.candidate.reading.layout.write_states(states, like)

    def _in_layout(self, gradients: lstm.CostGradients) -> dict[str, np.ndarray]:
        """By the candidate's names, in its shapes."""
        layout, weights = self.candidate.reading.layout, self.candidate.weights
        found = dict(layout.write_gradients(gradients.network.layers, weights))
        readout = gradients.network.readout
        if readout is not None:
            found["readout.weight"] = readout.w.T if self.candidate.readout_transposed else readout.w
            found["readout.bias"] = readout.b
        found["inputs"] = self._as_given(gradients.inputs)
        found["h0"], found["c0"] = self._states(gradients.initial_state, ("grad.h0", "grad.c0", "h0", "c0"))
        return found

    def _as_given(self, sequence: np.ndarray) -> np.ndarray:
        return moved(sequence, "TBD", self.candidate.reading.order)


def _with_index(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]"


