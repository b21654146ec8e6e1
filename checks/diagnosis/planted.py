"""The catalogue's bugs planted on one case, each once, its gradient in the candidate's own arrays."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

import jax
import numpy as np

import lstm
from checks.catalogue import BUGS, FAMILIES, Bug, Case, bugs_for
from checks.catalogue.mutants import gradients
from checks.diagnosis.arrangement import Arrangement

KEPT = 4096  # gradients that are remembered, as long as they take no more than this many numbers in all:
MOST_NUMBERS = 60_000_000
# Timesteps for which every length of truncation is tried; beyond, those that people choose
EVERY_LENGTH = 100
USUAL_LENGTHS = (2, 3, 4, 5, 8, 10, 12, 15, 16, 20, 24, 25, 28, 30, 32, 35, 40, 48, 50, 60, 64, 70, 75, 80, 90, 96,
                 100, 120, 125, 128, 150, 160, 180, 192, 200, 240, 250, 256, 300, 320, 350, 384, 400, 448, 450, 480)  # fmt: skip


class Planted:
    """One case with any bugs.

    Attributes:
        case: that the bugs are planted in.
        arrangement: of the arrays.
        bugs: every bug that the case can have, with the members of families worth trying.
    """

    def __init__(self, case: Case, arrangement: Arrangement):
        self.case, self.arrangement = case, arrangement
        self._kept: dict[tuple[str, ...], dict[str, np.ndarray] | None] = {}
        self.passes = 0

    @functools.cached_property
    def bugs(self) -> tuple[Bug, ...]:
        if self.case.longest <= EVERY_LENGTH:
            return bugs_for(self.case)
        alone = [bug for bug in BUGS if bug.applies(self.case)]
        members = [_members(family, self.case) for family in FAMILIES]
        return (*alone, *itertools.chain.from_iterable(members))

    def arrays(self, bugs: Sequence[Bug]) -> dict[str, np.ndarray] | None:
        """The gradients with these bugs, by name; None where they do not fit the shapes or give numbers that are not finite."""
        key = tuple(bug.name for bug in bugs)
        if key not in self._kept:
            found = self._planted(bugs)
            size = 0 if found is None else sum(array.size for array in found.values())
            if len(self._kept) >= min(KEPT, MOST_NUMBERS // max(size, 1)):
                return found
            self._kept[key] = found
        return self._kept[key]

    @functools.cached_property
    def correct(self) -> dict[str, np.ndarray]:
        found = self.arrays(())
        assert found is not None
        return found

    def _planted(self, bugs: Sequence[Bug]) -> dict[str, np.ndarray] | None:
        self.passes += 1
        try:
            with np.errstate(all="ignore"):
                found = gradients(self.case, bugs)
        except (ValueError, IndexError):  # shapes that do not fit: nobody could have run this
            return None
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found)):
            return None
        if isinstance(found, lstm.Gradients):
            found = lstm.CostGradients(network=lstm.Network(found.layers, None), inputs=found.inputs, initial_state=found.initial_state)
        try:
            arrays = self.arrangement.write(found)
        except (ValueError, lstm.BadInput):
            return None
        if bugs and any(array.shape != self.correct[name].shape for name, array in arrays.items()):
            return None
        return arrays


def _members(family, case: Case) -> list[Bug]:
    """Of a family whose parameter is a number of timesteps, only usual ones."""
    if not family.name.endswith("-k-steps"):
        return family.members(case)
    longest = case.longest
    lengths = sorted({*(k for k in USUAL_LENGTHS if k < longest), longest // 2, longest // 4, longest - 1})
    return [bug for bug in map(family.make, lengths) if bug.applies(case)]
