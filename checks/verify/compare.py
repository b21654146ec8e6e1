"""One array of a candidate against the oracle's: a verdict for the array, for each gate block, and the entry that is furthest off."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import lstm
from checks.verdict import Verdict

NOISE = "noise above signal: rounding alone may change every entry by more than its size"
FORWARD_DIFFERS = "not judged: the forward pass is another function, whose gradient this may well be"


@dataclasses.dataclass(frozen=True)
class Judgement:
    """An array, or one gate's block of it."""

    name: str  # of the array, or the gate's letter
    verdict: Verdict
    reason: str
    max_error: float
    scale: float  # the largest entry expected
    wrong: int  # entries beyond their tolerance
    size: int
    worst_index: tuple[int, ...]
    place: str
    expected: float
    got: float
    tolerance: float  # at the worst entry
    precision: str
    blocks: tuple[Judgement, ...] = ()

    @property
    def max_relative_error(self) -> float:
        return self.max_error / max(self.scale, float(np.finfo(np.float64).tiny))

    @property
    def in_tolerances(self) -> float:
        """The worst entry's error, in units of what is allowed there."""
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.abs(self.got - self.expected) / np.maximum(self.tolerance, np.finfo(np.float64).tiny))

    def to_json(self) -> dict[str, Any]:
        shown = {
            "name": self.name,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "max_relative_error": self.max_relative_error,
            "worst_index": list(self.worst_index),
            "place": self.place,
            "expected": self.expected,
            "got": self.got,
            "tolerance": self.tolerance,
            "entries": self.size,
            "wrong_entries": self.wrong,
            "precision": self.precision,
        }
        return shown | ({"gates": [block.to_json() for block in self.blocks]} if self.blocks else {})


def judge(
    name: str, got: np.ndarray, expected: np.ndarray, allowed: np.ndarray, describe: Any, precision: str, gates: Any = None
) -> Judgement:
    """Compare entry by entry.

    Args:
        allowed: what each entry may be off by.
        describe: index -> the entry's place in words.
        precision: that the candidate is judged in, to be reported.
        gates: integers of the array's shape, an index into `lstm.GATES` for each entry, -1 where there is none; or None.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(got - expected)
        excess = error / np.maximum(allowed, np.finfo(np.float64).tiny)
    excess = np.where(np.isnan(excess), 0, excess)  # no finite tolerance: inconclusive, see below
    everywhere = np.ones(got.shape, bool)
    parts = [] if gates is None else [index for index in range(len(lstm.GATES)) if (gates == index).any()]
    blocks = [
        _judge_part(lstm.GATES[index], gates == index, got, expected, allowed, error, excess, describe, precision)
        for index in (parts if len(parts) > 1 else [])
    ]
    whole = _judge_part(name, everywhere, got, expected, allowed, error, excess, describe, precision)
    return dataclasses.replace(whole, blocks=tuple(blocks))


def _judge_part(
    name: str, part: np.ndarray, got: Any, expected: Any, allowed: Any, error: Any, excess: Any, describe: Any, precision: str
) -> Judgement:
    worst = tuple(int(i) for i in np.unravel_index(int(np.argmax(np.where(part, excess, -1))), got.shape))
    wrong = int((part & (excess > 1)).sum())
    scale = float(np.abs(expected).max(where=part, initial=0))
    verdict, reason = Verdict.AGREES, "within what rounding allows"
    if not np.isfinite(expected).all(where=part) or not np.isfinite(allowed).all(where=part):
        verdict, reason = Verdict.INCONCLUSIVE, "overflow: the oracle's own result, or what rounding may do to it, is not finite"
    elif wrong:
        verdict, reason = Verdict.DISAGREES, "differs by more than rounding allows"
    elif 0 < scale < float(allowed.max(where=part, initial=0)):
        verdict, reason = Verdict.INCONCLUSIVE, NOISE
    return Judgement(
        name=name, verdict=verdict, reason=reason, max_error=float(error.max(where=part, initial=0)), scale=scale, wrong=wrong,
        size=int(part.sum()), worst_index=worst, place=describe(worst), expected=float(expected[worst]), got=float(got[worst]),
        tolerance=float(allowed[worst]), precision=precision,
    )  # fmt: skip


def not_judged(judgement: Judgement) -> Judgement:
    """The same numbers without a verdict: the forward pass differs, and every gradient with it."""
    blocks = tuple(not_judged(block) for block in judgement.blocks)
    return dataclasses.replace(judgement, verdict=Verdict.INCONCLUSIVE, reason=FORWARD_DIFFERS, blocks=blocks)
