"""A diagnosis in words for a terminal, and as JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any

from checks.diagnosis.cause import Cause
from checks.diagnosis.fit import Explained, Fitted
from checks.diagnosis.localise import Localisation, listed
from checks.diagnosis.strength import Strength
from checks.report import WIDTH

SHOWN_CLAIMS, SHOWN_UNSEEN = 4, 8


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Of one wrong gradient. ``print(diagnosis)`` shows it.

    Attributes:
        fitted: the mistakes that make exactly these numbers, if any do.
        place: where the gradient is wrong.
        tried: what was tried, and what could not be, in a sentence.
    """

    fitted: Fitted
    place: Localisation
    tried: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of the mistakes claimed: more than one if nothing given tells them apart, none if there is no diagnosis."""
        return tuple(claim.name for claim in self.fitted.claims)

    def to_json(self) -> list[dict[str, Any]]:
        """One entry for each mistake claimed; an empty list is no diagnosis."""
        told_apart = len(self.fitted.claims) == 1
        return [
            {"name": claim.name, "causes": [cause.to_json() for cause in claim.causes], "explained": claim.share, "told_apart": told_apart}
            for claim in self.fitted.claims
        ]

    def known_to_json(self) -> dict[str, Any]:
        """What holds with or without a diagnosis."""
        near = [{"name": each.name, "explained": each.share, "title": each.causes[0].title} for each in self.fitted.near]
        return self.place.to_json() | {"near_misses": near, "tried": self.tried, "withheld": self.fitted.withheld}

    def __str__(self) -> str:
        return "\n\n".join(self.sections())

    def sections(self) -> list[str]:
        """The diagnosis, or that there is none; then what is known of the place."""
        place = self.place
        if self.fitted.claims:
            return [self._claimed(), "Where:\n" + bullets([*place.right, *place.time])]
        return [self._withheld(), "What is known:\n" + bullets([*place.right, *place.arrays, *place.time]), *self._near()]

    def _claimed(self) -> str:
        claims = self.fitted.claims
        count = len(claims[0].causes)
        these = "exactly these numbers, to rounding, in every array given"
        if len(claims) == 1:
            lead = f"Diagnosis: {claims[0].name}. " + ("This mistake makes" if count == 1 else "These two together make") + f" {these}."
            return "\n".join([filled(lead), *(_explained(cause) for cause in claims[0].causes)])
        lead = f"Diagnosis: one of {len(claims)} mistakes that cannot be told apart on this probe; each makes {these}."
        shown = [_alternative(number, claim) for number, claim in enumerate(claims[:SHOWN_CLAIMS], 1)]
        hidden = len(claims) - SHOWN_CLAIMS
        return "\n".join([filled(lead), *shown] + ([f"  … and {hidden} more."] if hidden > 0 else []))

    def _withheld(self) -> str:
        why = self.fitted.withheld or "no mistake that was tried makes these numbers to rounding, so none is named"
        return filled(f"No diagnosis: {why}. {self.tried}".strip())

    def _near(self) -> list[str]:
        if not self.fitted.near:
            return []
        lines = [f"{each.name} explains {_percent(each)} of the error: {each.causes[0].title}." for each in self.fitted.near]
        return ["Near misses, not the cause as they stand:\n" + bullets(lines)]


def bullets(sentences: list[str]) -> str:
    return "\n".join(filled(f"- {sentence}", "  ") for sentence in sentences)


def _percent(each: Explained) -> str:
    return f"{min(99, int(100 * each.share))} %"


def _alternative(number: int, claim: Explained) -> str:
    lead = filled(f"{number}. {claim.name}", "  ")
    return "\n".join([lead, *(_explained(cause, "     ") for cause in claim.causes)])


def _explained(cause: Cause, indent: str = "  ") -> str:
    equation = f" Breaks equation {cause.equation} of docs/derivation.md." if cause.equation else ""
    text = f"{cause.title}: {cause.effect}.{equation}"
    also = [f"The same gradient: {words}." for words in cause.also]
    return "\n".join(filled(line, indent) for line in (text, f"Fix: {cause.fix}", *also))


def strength_text(found: Strength) -> str:
    """What this probe cannot show; a short paragraph."""
    if not found.planted:
        return filled("Probe: no bugs of the catalogue can be planted in this network, so what it would hide is not known.")
    seen = found.planted - len(found.unseen) - len(found.elsewhere)
    lines = [f"Probe: planted one by one, {seen} of {found.planted} bugs of the catalogue would show in the arrays given."]
    unseen, elsewhere = (found.outside_lengths(bugs) for bugs in (found.unseen, found.elsewhere))
    if unseen:
        lines.append(f"Unseen here: {_some(unseen)}.")
    if elsewhere:
        lines.append(f"Would show only in arrays that were not given: {_some(elsewhere)}.")
    for family, (least, most) in found.lengths.items():
        lines.append(f"Unseen in the arrays given: {family} for every k tried from {least} to {most}.")
    if found.weaknesses:
        lines.append(f"Weak because: {'; '.join(found.weaknesses)}.")
    return "\n".join([filled(lines[0]), *(filled(line, "  ") for line in lines[1:])])


def _some(names: list[str]) -> str:
    if len(names) <= SHOWN_UNSEEN:
        return listed(names)
    return f"{', '.join(names[:SHOWN_UNSEEN])} and {len(names) - SHOWN_UNSEEN} more"


def filled(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  " * bool(indent), break_on_hyphens=False)
