"""The catalogue's bugs planted on one case, each once, its gradient in the candidate's own arrays."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import numpy as np

import lstm
from checks.catalogue import BUGS, FAMILIES, Bug, Case, Family, bugs_for
from checks.catalogue.mutants import gradients
from checks.catalogue.sites import TERMS, Modifier
from checks.diagnosis.arrangement import Arrangement
from lstm.levels import directions

# The places that a layer's own backward pass has, where a modifier can see which layer it is in
OF_LAYERS = set(TERMS) - {
    "lengths", "counted", "step_weights", "d_y", "readout_outputs", "readout_d_y", "d_final_state", "gradients"
}  # fmt: skip
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

    @functools.cached_property
    def in_one_layer(self) -> tuple[Bug, ...]:
        """The bugs of the layers' own backward pass in one layer, or one direction, only: code that was written twice."""
        if len(self.case.layers) < 2:
            return ()
        names = [f"layer {number}{direction.name}" for number, level in enumerate(self.case.levels) for direction in directions(level)]
        own = [bug for bug in self.bugs if set(bug.modifies) <= OF_LAYERS]
        return tuple(_restricted(bug, number, name) for number, name in enumerate(names) for bug in own)

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


def _restricted(bug: Bug, number: int, name: str) -> Bug:
    """The bug where ``number`` counts the layer, the two directions of a level one by one."""

    def only_there(modifier: Modifier) -> Modifier:
        return lambda value, at: modifier(value, at) if at.run is at.case.runs[number] else value

    where = name.replace(" ", "-").replace(".", "-")
    return dataclasses.replace(
        bug, name=f"{bug.name}.in-{where}", title=f"{bug.title}, in {name} only",
        modifies={place: only_there(modifier) for place, modifier in bug.modifies.items()},
    )  # fmt: skip


def _members(family: Family, case: Case) -> list[Bug]:
    """Of a family whose parameter is a number of timesteps, only usual ones."""
    if not family.name.endswith("-k-steps"):
        return family.members(case)
    longest = case.longest
    lengths = sorted({*(k for k in USUAL_LENGTHS if k < longest), longest // 2, longest // 4, longest - 1})
    return [bug for bug in map(family.make, lengths) if bug.applies(case)]
