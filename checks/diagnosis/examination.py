"""A candidate's file examined: how strong its probe is, and where and why its gradient is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from checks.diagnosis import Arrangement, Diagnosis, Strength, Subject, strength_text
from checks.files.candidate import Candidate
from checks.verdict import Verdict

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Examination:
    """What the report of a file says beyond its verdicts. ``diagnosis`` is None where no gradient that was judged is wrong."""

    strength: Strength
    diagnosis: Diagnosis | None

    def sections(self) -> list[str]:
        return [*([] if self.diagnosis is None else self.diagnosis.sections()), strength_text(self.strength)]

    def to_json(self) -> dict[str, Any]:
        """``diagnosis`` is a list, empty where nothing is named; ``known`` holds whatever the diagnosis."""
        diagnosis = self.diagnosis
        return {
            "diagnosis": [] if diagnosis is None else diagnosis.to_json(),
            "known": None if diagnosis is None else diagnosis.known_to_json(),
            "probe": self.strength.to_json(),
        }


def examine(
    candidate: Candidate,
    judgements: Sequence[Any],
    expected: Arrays,
    allowed: Callable[[str], np.ndarray],
    gates: Mapping[str, np.ndarray],
    write: Callable[[Any], Arrays],
    place: Callable[[str, tuple[int, ...]], str],
) -> Examination:
    """Args: see `Arrangement`; ``judgements`` of the gradients given, ``allowed`` the tolerance of an array by its name."""
    readout = {}
    if candidate.case.readout is not None:
        transposed, ours = candidate.readout_transposed, candidate.case.readout
        readout = {"readout.weight": ours.w.T if transposed else ours.w, "readout.bias": ours.b}
    arrangement = Arrangement(
        write=write, parameters=candidate.weights | readout, gates=gates, order=candidate.reading.order, place=place
    )
    subject = Subject.of(candidate.case, arrangement)
    given = tuple(each.name for each in judgements)
    found = subject.strength({name: allowed(name) for name in expected}, given)
    if not any(each.verdict is Verdict.DISAGREES for each in judgements):
        return Examination(found, None)
    rooms = {name: allowed(name) for name in given}
    got = {name: candidate.gradients[name] for name in given}
    return Examination(found, subject.diagnose(got, {name: expected[name] for name in given}, rooms))
