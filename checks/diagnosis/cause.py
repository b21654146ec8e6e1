"""A cause of a wrong gradient, and a hypothesis: one cause or two, with the gradient that they would give."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from checks.catalogue.bug import Bug


@dataclasses.dataclass(frozen=True)
class Cause:
    """What is wrong, which equation of docs/derivation.md it breaks, and what to do about it."""

    name: str
    title: str
    equation: str
    effect: str
    fix: str
    also: tuple[str, ...] = ()

    @staticmethod
    def of_bug(bug: Bug) -> Cause:
        return Cause(bug.name, bug.title, bug.equation, bug.effect, bug.fix, bug.also)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "title": self.title, "equation": self.equation, "effect": self.effect, "fix": self.fix,
            "also": list(self.also),
        }  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Hypothesis:
    """Causes that act together, and the gradient with them, in the order of an `Observation`'s vectors."""

    causes: tuple[Cause, ...]
    vector: np.ndarray

    @property
    def name(self) -> str:
        return " + ".join(sorted(cause.name for cause in self.causes))
