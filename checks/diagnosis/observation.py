"""A candidate's gradients beside the right ones, every given entry in one vector, and how well a vector explains them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

import lstm
from checks.diagnosis.arrangement import Arrangement

MOST = 0.9
TINY = float(np.finfo(np.float64).tiny)


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Not by BLAS, whose threads wait for one another on busy machines, tens of milliseconds for vectors of this size."""
    return float(np.sum(a * b))


@dataclasses.dataclass(frozen=True)
class Block:
    """A part that is judged for itself: an array, one gate's part of it, or one timestep of the inputs' gradient."""

    name: str
    gate: str  # or ""
    timestep: int  # or -1
    entries: np.ndarray  # indices into the vectors


class Observation:
    """What is to be explained.

    Attributes:
        names: of the arrays that are given, finite and judged.
        got, expected, allowed: (P,) each: the candidate's, the right ones, and what rounding may do to each entry.
        left_out: names of arrays of which nothing can be said: not finite, or without a finite tolerance.
    """

    def __init__(
        self,
        got: Mapping[str, np.ndarray],
        expected: Mapping[str, np.ndarray],
        allowed: Mapping[str, np.ndarray],
        arrangement: Arrangement,
    ):
        self.arrangement = arrangement
        finite = {name: all(np.isfinite(each[name]).all() for each in (got, expected, allowed)) for name in got}
        self.names = tuple(name for name in got if finite[name])
        self.left_out = tuple(name for name in got if not finite[name])
        self.shapes = {name: np.shape(expected[name]) for name in self.names}
        self.got, self.expected = self.vector(got), self.vector(expected)
        self.allowed = np.maximum(self.vector({n: np.broadcast_to(allowed[n], self.shapes[n]) for n in self.names}), TINY)

    def vector(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """Those of the arrays that are observed, flat."""
        parts = [np.asarray(arrays[name], np.float64).ravel() for name in self.names]
        return np.concatenate(parts) if parts else np.zeros(0)

    def arrays(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """The reverse of `vector`."""
        return {name: vector[where].reshape(self.shapes[name]) for name, where in self.slices.items()}

    @functools.cached_property
    def slices(self) -> dict[str, slice]:
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in self.shapes.values())])
        return {name: slice(int(a), int(b)) for name, a, b in zip(self.names, ends[:-1], ends[1:], strict=True)}

    @functools.cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Every entry is in exactly one."""
        found = []
        for name, where in self.slices.items():
            entries = np.arange(where.start, where.stop)
            gates = self.arrangement.gates.get(name)
            if name == self.arrangement.inputs:
                times = np.indices(self.shapes[name])[self.arrangement.order.index("T")].ravel()
                found += [Block(name, "", t, entries[times == t]) for t in range(times.max() + 1)]
            elif gates is None or len(np.unique(gates)) < 2:
                found.append(Block(name, "", -1, entries))
            else:
                marks = gates.ravel()
                found += [Block(name, lstm.GATES[q] if q >= 0 else "", -1, entries[marks == q]) for q in np.unique(marks)]
        return tuple(found)

    @functools.cached_property
    def block_of(self) -> np.ndarray:
        """(P,) the number of each entry's block."""
        numbers = np.empty(len(self.got), np.int64)
        for number, block in enumerate(self.blocks):
            numbers[block.entries] = number
        return numbers

    def worst_by_block(self, excess: np.ndarray) -> np.ndarray:
        worst = np.zeros(len(self.blocks))
        np.maximum.at(worst, self.block_of, excess)
        return worst

    @functools.cached_property
    def error(self) -> np.ndarray:
        return self.got - self.expected

    @functools.cached_property
    def excess(self) -> np.ndarray:
        """The candidate's error in units of what is allowed."""
        return np.abs(self.error) / self.allowed

    @functools.cached_property
    def wrong(self) -> np.ndarray:
        return self.excess > 1

    @functools.cached_property
    def wrong_blocks(self) -> np.ndarray:
        """(blocks,) booleans."""
        return self.worst_by_block(self.excess) > 1

    def room(self, vector: np.ndarray) -> np.ndarray:
        """What rounding may do to a wrong gradient: as much, in units of each array's largest entry, as to the right one.

        And to each entry as much, in units of its own size, as to most right ones: the right entry may be an exact 0, past the end
        of a sequence, for which nothing is allowed.
        """
        if not self.names:
            return self.allowed
        largest = np.maximum.reduceat(np.abs(vector), self._starts)
        growth = np.where(self._largest > 0, np.maximum(largest / np.maximum(self._largest, TINY), 1), 1)
        return np.maximum(self.allowed * np.repeat(growth, self._sizes), self._relative * np.abs(vector))

    @functools.cached_property
    def _relative(self) -> np.ndarray:
        """(P,) what most entries of the same array are allowed, in units of their size."""
        found = np.zeros(len(self.expected))
        for where in self.slices.values():
            size = np.abs(self.expected[where])
            if (size > 0).any():
                found[where] = np.quantile(self.allowed[where][size > 0] / size[size > 0], MOST)
        return found

    @functools.cached_property
    def _sizes(self) -> np.ndarray:
        return np.array([where.stop - where.start for where in self.slices.values()])

    @functools.cached_property
    def _starts(self) -> np.ndarray:
        return np.array([where.start for where in self.slices.values()])

    @functools.cached_property
    def _largest(self) -> np.ndarray:
        """Of the right entries of each array."""
        return np.maximum.reduceat(np.abs(self.expected), self._starts)

    def fits(self, vector: np.ndarray) -> bool:
        """Is the candidate this vector, to rounding, in every entry?"""
        difference = np.abs(self.got - vector)
        return bool((difference <= self.room(vector)).all())

    def explained(self, vector: np.ndarray) -> float:
        """The share of the error that the vector explains, from 0 to 1, every wrong block counting alike."""
        with np.errstate(over="ignore", invalid="ignore"):
            left = np.bincount(self.block_of, (self.got - vector) ** 2, len(self.blocks))
            there = np.bincount(self.block_of, self.error**2, len(self.blocks))
        counted = self.wrong_blocks
        if not counted.any():
            return 0.0
        ratio = np.sqrt(left[counted] / np.maximum(there[counted], TINY))
        changed_right = self.worst_by_block(np.abs(vector - self.expected) / self.room(vector))[~counted] > 1
        share = float(np.clip(1 - ratio, 0, 1).mean()) if np.isfinite(ratio).all() else 0.0
        return share * (1 - float(changed_right.mean()) if changed_right.size else 1.0)
