"""A candidate's file examined: how strong its probe is, and where and why its gradient is wrong."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from checks.diagnosis import Arrangement, Diagnosis, Strength, Subject, strength_text
from checks.diagnosis.internals import Departure, departures
from checks.diagnosis.report import bullets, filled
from checks.files.candidate import Candidate
from checks.verdict import Verdict

if TYPE_CHECKING:
    from checks.verify.compare import Judgement

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Examination:
    """What the report of a file says beyond its verdicts. Computed when it is first asked for: many want the verdict alone.

    Attributes:
        candidate: the file.
        judgements: of the gradients given.
        expected: the right gradients, by the candidate's names, those that were not given included.
        allowed: the tolerance of an array, by its name.
        gates, write, place: see `Arrangement`.
        internals: the right gradients inside, an `lstm.Internals` for each level.
        precision: that the candidate's own are compared in.
    """

    candidate: Candidate
    judgements: Sequence[Judgement]
    expected: Arrays
    allowed: Callable[[str], np.ndarray]
    gates: Mapping[str, np.ndarray]
    write: Callable[[Any], Arrays]
    place: Callable[[str, tuple[int, ...]], str]
    internals: tuple[Any, ...] = ()
    precision: Any = np.float64

    @functools.cached_property
    def subject(self) -> Subject:
        candidate = self.candidate
        trained = dict(candidate.weights)
        if candidate.case.readout is not None:
            transposed, ours = candidate.readout_transposed, candidate.case.readout
            trained |= {"readout.weight": ours.w.T if transposed else ours.w, "readout.bias": ours.b}
        arrangement = Arrangement(
            write=self.write, parameters=trained, gates=self.gates, order=candidate.reading.order, place=self.place
        )
        return Subject.of(candidate.case, arrangement)

    @property
    def given(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.judgements)

    @functools.cached_property
    def strength(self) -> Strength:
        return self.subject.strength({name: self.allowed(name) for name in self.expected}, self.given)

    @functools.cached_property
    def diagnosis(self) -> Diagnosis | None:
        """None where no gradient that was judged is wrong."""
        if not any(each.verdict is Verdict.DISAGREES for each in self.judgements):
            return None
        got, expected = ({name: source[name] for name in self.given} for source in (self.candidate.gradients, self.expected))
        return self.subject.diagnose(got, expected, {name: self.allowed(name) for name in self.given})

    @functools.cached_property
    def departures(self) -> list[Departure]:
        """Of the gradients inside the network that the file holds."""
        if not self.candidate.internals:
            return []
        return departures(self.candidate.case, self.internals, self.candidate.internals, self.precision)

    def sections(self) -> list[str]:
        sections = [] if self.diagnosis is None else self.diagnosis.sections()
        wrong = [each.sentence for each in self.departures if each.timestep is not None]
        if wrong:
            sections.append("Inside the network:\n" + bullets(wrong))
        elif self.departures and self.diagnosis is not None:
            sections.append(filled("Inside the network, all gradients given are right at every timestep: look at what is made of them."))
        return [*sections, strength_text(self.strength)]

    def to_json(self) -> dict[str, Any]:
        """``diagnosis`` is a list, empty where nothing is named; ``known`` holds whatever the diagnosis."""
        diagnosis = self.diagnosis
        return {
            "diagnosis": [] if diagnosis is None else diagnosis.to_json(),
            "known": None if diagnosis is None else diagnosis.known_to_json(),
            "inside": [each.to_json() for each in self.departures],
            "probe": self.strength.to_json(),
        }
