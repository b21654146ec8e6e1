"""The entries of one place: moved up and down, in units that do not depend on the number of devices; the noise, and the truncation."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from checks.exhaustive import truncation
from checks.exhaustive.entries import Entries, Unit
from checks.exhaustive.evaluator import Evaluator
from checks.perturbation import DEVIATIONS, extrapolate, noise_of_values, noise_offsets
from checks.problem import Cost

PAIR = 2  # copies of an entry: moved up, and down
NOISE_ENTRIES, NOISE_POINTS = 4, 16
WORTHWHILE = 256  # copies: fewer are not shared out between cores
EVERY = slice(None)
IN_FLIGHT = 2  # calls begun before the first is waited for


class Moves(NamedTuple):
    """Of each entry, as in the perturbed parameters themselves: what the rounded w + move, w - move differ by from w."""

    amounts: np.ndarray  # (E, 2, 1 or B)
    width: np.ndarray  # (E, 1 or B)


class Pairs(NamedTuple):
    """The costs of entries moved up and down."""

    width: np.ndarray  # (E, 1 or B)
    costs: np.ndarray  # (E, 2, 1 or B)

    def slope(self) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return (self.costs[:, 0] - self.costs[:, 1]) / self.width


class _AtRest(NamedTuple):
    """The unperturbed cost (1 or B,), and the standard deviation of the rounding in costs."""

    cost: np.ndarray
    noise: float


class Work:
    """All that is run for the entries of one place."""

    def __init__(self, problem: Cost, evaluator: Evaluator, entries: Entries, step: float):
        self.entries, self.step = entries, step
        self.engine = evaluator.engine(entries, max(PAIR * len(entries), NOISE_ENTRIES * NOISE_POINTS))
        self.each = evaluator.chunk(entries, PAIR, self.engine)
        self.units = -(-len(entries) // self.each)
        self.w = problem.flat[entries.flat]  # (E, 1 or B)
        self.scale = np.maximum(1, np.abs(self.w))
        self.move = step * self.scale
        # Of one copy each entry; a readout runs no cell
        self._timesteps = 0 * entries.first if entries.place.kind == "readout" else evaluator.shape[0] - entries.first
        self.cell_steps = 0

    def length(self, number: int) -> int:
        """How many entries a unit has that no other has."""
        return min(self.each, len(self.entries) - number * self.each)

    def moves(self, steps: int, chosen: np.ndarray | slice = EVERY) -> Moves:
        w = self.w[chosen]
        with np.errstate(over="ignore", invalid="ignore"):  # the status says so
            move = (steps * self.step * self.scale[chosen]).astype(w.dtype)
            up, down = w + move, w - move
            return Moves(np.stack([up - w, down - w], axis=1), up - down)

    def run(self, numbers: Sequence[int], amounts: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
        """Those units of a pass over all entries, moved by ``amounts`` (E, 2, 1 or B) -> for each (entries, 2, 1 or B): C₊ and C₋."""
        self.cell_steps += PAIR * int(self._timesteps.sum())

        def unit(number: int) -> Unit:
            # The last unit repeats the last entry, so that all have the same compiled shape
            chosen = np.minimum(np.arange(number * self.each, (number + 1) * self.each), len(self.entries) - 1)
            moved = amounts[chosen].reshape(len(chosen) * PAIR, -1)
            return Unit(np.repeat(chosen, PAIR), moved, int(self.entries.first[chosen].min()))

        for number, costs in self._costs(numbers, unit):
            yield number, costs.reshape(self.each, PAIR, -1)[: self.length(number)]

    def error_of_one_step(self, near: Pairs) -> np.ndarray | None:
        """(E, 1 or B): of the slopes; None where truncation may be more than rounding, and only a second step can tell."""
        if not self._is_comparable:
            return None
        chosen = truncation.representatives(self.entries, near.costs[:, 0] - near.costs[:, 1], self._second(near))
        if len(chosen) > len(self.entries) / 2:  # a second step for all takes hardly longer
            return None
        moves = self.moves(truncation.FAR, chosen)
        far = Pairs(moves.width, self._extra(np.repeat(chosen, PAIR), moves.amounts).reshape(len(chosen), PAIR, -1))
        removed = truncation.bound(near.slope()[chosen], far.slope(), self.move[chosen])
        rounding = DEVIATIONS * self._at_rest.noise / np.sqrt(2)
        return (removed + rounding) / self.move if removed <= rounding else None

    def extrapolated(self, near: Pairs, double: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """Value and error, (E, 1 or B), from one step and two.

        The series of an entry that is far from converging over two steps is not seen in slopes that happen to be near one another. But
        second differences over two steps are then not four times those over one, and an error as large is claimed for C₊ - C₋.
        """
        value, error = extrapolate(near.slope(), double.slope(), self._at_rest.noise / (np.sqrt(2) * self.move))
        if self._is_comparable:
            error = error + np.abs(self._second(double) - 4 * self._second(near)) / (2 * self.move)
        return value, error

    @property
    def _is_comparable(self) -> bool:
        """Do all costs leave out the same timesteps, as the unperturbed one does?"""
        return bool(np.ptp(self.entries.first) == 0)

    def _second(self, pairs: Pairs) -> np.ndarray:
        """(E, 1 or B): C₊ + C₋ - 2 C."""
        with np.errstate(invalid="ignore"):
            return pairs.costs.sum(axis=1) - 2 * self._at_rest.cost

    @functools.cached_property
    def _at_rest(self) -> _AtRest:
        """The noise from points along a few entries, as far as the steps reach: the largest of the few.

        An entry with little influence leaves most roundings as they are.
        """
        chosen = np.linspace(0, len(self.entries) - 1, NOISE_ENTRIES).round().astype(int)
        offsets = noise_offsets(self.w.dtype, NOISE_POINTS, self.step)
        amounts = (offsets[None, :, None] * self.scale[chosen][:, None]).reshape(-1, self.scale.shape[1])
        costs = self._extra(np.append(np.repeat(chosen, NOISE_POINTS), chosen[0]), np.concatenate([amounts, 0 * amounts[:1]]))
        series = np.moveaxis(costs[:-1].reshape(NOISE_ENTRIES, NOISE_POINTS, -1), 1, 2).reshape(-1, NOISE_POINTS)
        return _AtRest(costs[-1], max(noise_of_values(one, self.w.dtype) for one in series))

    def _extra(self, chosen: np.ndarray, amounts: np.ndarray) -> np.ndarray:
        """Costs (K, 1 or B) of a few copies more: entries number ``chosen`` (K,), moved by ``amounts``."""
        amounts = amounts.reshape(len(chosen), -1)
        size = PAIR * self.each
        if not self.engine.has_fixed_shape:
            size = min(size, -(-len(chosen) // max(1, len(chosen) // WORTHWHILE)))
        padding = np.minimum(np.arange(-(-len(chosen) // size) * size), len(chosen) - 1).reshape(-1, size)
        first = int(self.entries.first[chosen].min())
        self.cell_steps += len(chosen) * int(self._timesteps[chosen].max())
        parts = self._costs(range(len(padding)), lambda n: Unit(chosen[padding[n]], amounts[padding[n]], first))
        return np.concatenate([each for _, each in parts])[: len(chosen)]

    def _costs(self, numbers: Sequence[int], unit: Callable[[int], Unit]) -> Iterable[tuple[int, np.ndarray]]:
        """(K, 1 or B) for each: for a weight that all sequences share, the sum over them."""
        at_once = self.engine.at_once
        begun: collections.deque = collections.deque()
        for n in range(0, len(numbers) + at_once * IN_FLIGHT, at_once):
            if n < len(numbers):
                batch = numbers[n : n + at_once]
                begun.append((batch, self.engine.start(self.entries, [unit(number) for number in batch])))
            if begun and (len(begun) > IN_FLIGHT or n >= len(numbers)):
                batch, started = begun.popleft()
                for number, costs in zip(batch, self.engine.finish(started), strict=True):
                    yield number, costs.sum(axis=1, keepdims=True) if self.scale.shape[1] == 1 else costs
