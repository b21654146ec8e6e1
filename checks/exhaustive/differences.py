"""Differences of the cost for every entry asked for, and how far off they may be.

Every entry is moved by a step to either side. Where truncation is seen to be small beside rounding (`checks.exhaustive.truncation`),
that is enough; elsewhere every entry is moved by twice the step as well, and the differences are extrapolated, as in
`checks.full_sequence`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from checks.exhaustive.entries import Entries
from checks.exhaustive.evaluator import Evaluator
from checks.exhaustive.saved import Saved
from checks.exhaustive.work import PAIR, Pairs, Work
from checks.problem import Cost

PASSES = 2  # over all entries, at most: by a step, and by two


@dataclasses.dataclass
class Found:
    """For each of P entries; NaN where it was not asked for."""

    value: np.ndarray
    error: np.ndarray
    vanished: bool = False
    cell_steps: int = 0


def differences(
    problem: Cost, evaluator: Evaluator, all_entries: list[Entries], step: float, saved: Saved, progress: Callable[[int, int], None]
) -> Found:
    """Every place's work, unit by unit.

    ``progress`` is told how many copies of how many have been run; a second pass over a place counts once it is known to be needed.
    """
    places = [Work(problem, evaluator, entries, step) for entries in all_entries]
    found = Found(np.full(problem.size, np.nan), np.full(problem.size, np.nan))
    ledger = _Ledger(saved, progress, places)
    for work in places:
        near = ledger.pairs(work, 1)
        value, error = near.slope(), work.error_of_one_step(near)
        if error is None:
            value, error = work.extrapolated(near, ledger.pairs(work, 2))
        ledger.tell()
        asked = work.entries.flat >= 0
        flat = work.entries.flat[asked]
        found.value[flat], found.error[flat] = value[asked], error[asked]
        found.vanished |= bool((near.width[asked] == 0).any())
        found.cell_steps += work.cell_steps
    saved.write()
    return found


class _Ledger:
    """Which units are done, in this run or in one that was killed, and what came of them."""

    def __init__(self, saved: Saved, progress: Callable[[int, int], None], places: Sequence[Work]):
        self.saved, self.progress = saved, progress
        ends = np.cumsum([PASSES * work.units for work in places]).tolist()
        self.begins = dict(zip(places, [0, *ends], strict=False))
        saved.expect(ends[-1])
        self.twice = {work for work in places if saved.has(self.begins[work] + work.units)}
        self.finished, self.total = 0, sum(PAIR * len(work.entries) for work in [*places, *self.twice])

    def tell(self) -> None:
        self.progress(self.finished, self.total)

    def pairs(self, work: Work, steps: int) -> Pairs:
        """All entries of a place, moved by one or by two steps."""
        begin = self.begins[work] + (steps - 1) * work.units
        if steps > 1 and work not in self.twice:
            self.total += PAIR * len(work.entries)
        moves = work.moves(steps)
        missing = [n for n in range(work.units) if not self.saved.has(begin + n)]
        self.finished += PAIR * len(work.entries) - sum(PAIR * work.length(n) for n in missing)
        for n, costs in work.run(missing, moves.amounts):
            self.saved.put(begin + n, costs)
            self.finished += PAIR * work.length(n)
            if n < work.units - 1:  # else all may be done, or a second pass come
                self.tell()
        return Pairs(moves.width, np.concatenate([self.saved.get(begin + n) for n in range(work.units)]))
