"""How strong is the probe? Which of the catalogue's bugs would pass unseen on this very input, found by planting each.

A bug passes unseen if, planted alone, it changes no array that was given by more than rounding in the candidate's precision may.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from checks.catalogue import BUGS, Bug, Case
from checks.catalogue.recurrence import truncated
from checks.diagnosis.planted import EVERY_LENGTH, Planted

SATURATED = 1e-3  # a (1 - a) below this lets less than a thousandth through: the sigmoid past ±7


@dataclasses.dataclass(frozen=True)
class Strength:
    """What the probe cannot show.

    Attributes:
        weaknesses: of the input, in words.
        unseen: bugs without effect here on any array; name -> title.
        elsewhere: bugs that would show in arrays which were not given; name -> title.
        planted: how many bugs were planted; 0 where the network is one that bugs cannot be planted in.
        lengths: of a sequence too long to plant truncation after each number of timesteps, family -> the least and the
            greatest number between which truncation shows in no array given; those planted in between all say so.
    """

    weaknesses: tuple[str, ...]
    unseen: Mapping[str, str]
    elsewhere: Mapping[str, str]
    planted: int
    lengths: Mapping[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

    def hides(self, name: str) -> bool:
        """Would this bug show in none of the arrays given?"""
        return bool({name} & {*self.unseen, *self.elsewhere}) or any(name in _names(*each) for each in self.lengths.items())

    def outside_lengths(self, bugs: Mapping[str, str]) -> list[str]:
        """The names of those that ``lengths`` does not speak of already."""
        within = set().union(*(_names(*each) for each in self.lengths.items()))
        return [name for name in bugs if name not in within]

    def to_json(self) -> dict[str, Any]:
        return {
            "weaknesses": list(self.weaknesses), "unseen": dict(self.unseen), "only_in_arrays_not_given": dict(self.elsewhere),
            "planted": self.planted, "lengths": {family: list(span) for family, span in self.lengths.items()},
        }  # fmt: skip


def strength(planted: Planted, allowed: Mapping[str, np.ndarray], given: tuple[str, ...]) -> Strength:
    """``allowed``: by name, of every array there is a gradient of; ``given``: the names of those that were."""
    unseen, elsewhere, count = {}, {}, 0
    for bug in catalogue(planted):
        if not _reached(bug, planted):
            continue
        changed = _changed(bug, planted, allowed)
        if changed is None:  # its shapes do not fit here: nobody could have run it
            continue
        count += 1
        if not changed:
            unseen[bug.name] = bug.title
        elif not changed & set(given):
            elsewhere[bug.name] = bug.title

    def hidden(bug: Bug) -> bool:
        if bug.name in unseen or bug.name in elsewhere:
            return True
        changed = _changed(bug, planted, allowed)
        return changed is not None and not changed & set(given)

    return Strength(tuple(weaknesses(planted.case)), unseen, elsewhere, count, _lengths(planted, hidden))


def _changed(bug: Bug, planted: Planted, allowed: Mapping[str, np.ndarray]) -> set[str] | None:
    """The arrays in which the bug shows; None where it cannot be run."""
    found = planted.arrays((bug,))
    if found is None:
        return None
    return {name for name, array in found.items() if _differs(array, planted.correct[name], allowed[name])}


def _lengths(planted: Planted, hidden: Callable[[Bug], bool]) -> dict[str, tuple[int, int]]:
    """Where only some lengths of truncation were planted: from which on does none show? The boundary is found by planting more."""
    longest = planted.case.longest
    if longest <= EVERY_LENGTH:
        return {}
    tried = sorted(bug.parameters["steps"] for bug in planted.bugs if "steps" in bug.parameters)
    seen, least = 1, longest
    for steps in reversed(tried):
        if not hidden(truncated(steps)):
            seen = steps
            break
        least = steps
    while least - seen > 1:  # a path's share falls with its length: between one that shows and one that does not lies one boundary
        middle = (seen + least) // 2
        seen, least = (seen, middle) if hidden(truncated(middle)) else (middle, least)
    return {"truncated-to-k-steps": (least, longest - 1)} if least < longest else {}


def _names(family: str, span: tuple[int, int]) -> set[str]:
    return {family.replace("-k-", f"-{k}-") for k in range(span[0], span[1] + 1)}


def catalogue(planted: Planted) -> list[Bug]:
    """All bugs, those that sizes or zeros deprive of any effect included; one truncation at least."""
    members = [bug for bug in planted.bugs if bug.parameters and bug not in BUGS]
    if not any(bug.name.startswith("truncated") for bug in members):
        members.append(truncated(max(planted.case.longest, 1)))
    return [*BUGS, *members]


def _reached(bug: Bug, planted: Planted) -> bool:
    """Does the backward pass of this kind of case come to the place of the bug at all?"""
    case = planted.case
    if not bug.kind(case):
        return False
    of_cost = {"d_y", "counted", "step_weights", "readout_outputs", "readout_d_y"}
    places = set(bug.modifies)
    if not case.is_cost and places <= of_cost:
        return False
    if case.is_cost and places <= {"d_final_state"}:
        return False
    if places <= {"readout_outputs", "readout_d_y"} and case.readout is None:
        return False
    if "softmax" in bug.name or "logits" in bug.name:
        return case.loss == "cross_entropy"
    if places <= {"counted", "step_weights"} and case.reduction != "mean":
        return False
    return not bug.name.startswith("times-") or ("-k" not in bug.name or case.is_cost)


def _differs(array: np.ndarray, right: np.ndarray, allowed: np.ndarray) -> bool:
    return bool((np.abs(array - right) > allowed).any())


def weaknesses(case: Case) -> list[str]:
    """Why bugs may hide here, in words. Computed from the numbers; the bugs hidden are found apart from this."""
    return [words for words, holds in WEAKNESSES.items() if holds(case)]


def _all(values: Any, test: Callable[[np.ndarray], bool]) -> bool:
    return all(test(np.asarray(value)) for value in values)


def _zero(value: np.ndarray) -> bool:
    return not value.any()


def _saturated(case: Case) -> bool:
    slopes = [run.gates * (1 - run.gates) for run in case.runs if "sigmoid" in run.layer.activations.gate]
    return any(float((np.abs(s[..., _sigmoids(s)]) < SATURATED).mean()) > 0.5 for s in slopes)


def _sigmoids(array: np.ndarray) -> np.ndarray:
    return np.repeat([True, True, False, True], array.shape[-1] // 4)


def _only_last(case: Case) -> bool:
    if case.d_outputs is None or case.longest < 2:
        return False
    ends = case.runs[-1].ends
    return bool(case.d_outputs.any()) and not np.where(ends, 0, case.d_outputs).any()


def _all_equal(case: Case) -> bool:
    return case.d_outputs is not None and case.d_outputs.size > 1 and bool(case.d_outputs.any()) and np.ptp(case.d_outputs) == 0


WEAKNESSES: dict[str, Callable[[Case], bool]] = {
    "T = 1: nothing flows from one timestep to another": lambda case: case.longest <= 1,
    "B = 1: sums and means over the batch look alike": lambda case: case.sizes["B"] == 1,
    "H = 1: a matrix and its transpose look alike": lambda case: any(layer.hidden_size == 1 for layer in case.layers),
    "D = H: shapes do not tell W_x from W_h, nor a matrix from its transpose": lambda case: case.sizes["D"] == case.layers[0].hidden_size,
    "all biases are zero": lambda case: _all([layer.b for layer in case.layers], _zero),
    "h0 is zero": lambda case: _all([state.h for state in case.initial_state], _zero),
    "c0 is zero": lambda case: _all([state.c for state in case.initial_state], _zero),
    "all upstream gradients on the outputs are equal": _all_equal,
    "upstream gradients on the outputs at the last timestep only": _only_last,
    "every upstream gradient is zero, and so is every gradient": lambda case: case.d_outputs is not None
    and _all([case.d_outputs, *(array for state in case.d_final_state or () for array in (state.h, state.c))], _zero),
    "no upstream gradient on the final state": lambda case: case.d_final_state is not None
    and _all([array for state in case.d_final_state for array in (state.h, state.c)], _zero),
    "the input is constant in time": lambda case: case.longest > 1 and not np.ptp(case.inputs, axis=0).any(),
    "most gates of a layer are saturated: next to nothing flows through them": _saturated,
    "the cell state never reaches its bound: the clip's derivative is that of no clip": lambda case: any(
        run.layer.clip is not None and not run.cut.any() for run in case.runs
    ),
    "no sequence is shorter than T: nothing is padded": lambda case: case.lengths is None or bool((case.lengths == case.sizes["T"]).all()),
}  # fmt: skip
