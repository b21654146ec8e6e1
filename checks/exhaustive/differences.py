"""Differences of the cost at two step sizes for every entry asked for, and the noise in them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from checks.exhaustive.entries import Entries, Unit
from checks.exhaustive.evaluator import Evaluator
from checks.exhaustive.saved import Saved
from checks.perturbation import noise_of_values, noise_offsets
from checks.problem import Cost

EVALUATIONS = 4  # plus and minus a step, plus and minus twice the step
NOISE_ENTRIES, NOISE_POINTS = 4, 16
IN_FLIGHT = 2  # calls begun before the first is waited for


@dataclasses.dataclass
class Found:
    """For each of P entries; NaN where it was not asked for."""

    at_step: np.ndarray
    at_double: np.ndarray
    noise: np.ndarray  # the standard deviation of at_step
    vanished: bool = False
    cell_steps: int = 0


def differences(
    problem: Cost, evaluator: Evaluator, all_entries: list[Entries], step: float, saved: Saved, progress: Callable[[int, int], None]
) -> Found:
    """Every place's work, unit by unit. ``progress`` is told how many copies of how many have been run."""
    work = [_Work(problem, evaluator, entries, step) for entries in all_entries]
    saved.expect(sum(each.units for each in work))
    total = sum(each.copies(n) for each in work for n in range(each.units))
    finished = 0
    at_step, at_double, noise = (np.full(problem.size, np.nan) for _ in range(3))
    found = Found(at_step, at_double, noise)
    number = 0
    for each in work:
        numbers = range(number, number + each.units)
        finished += sum(each.copies(n - number) for n in numbers if saved.has(n))
        waiting = [n for n in numbers if not saved.has(n)]
        for n, delta in each.run([n - number for n in waiting]):
            finished += each.copies(n)
            saved.put(number + n, delta)
            progress(finished, total)
        each.fill(found, np.concatenate([saved.get(n) for n in numbers]))
        number += each.units
    saved.write()
    return found


class _Work:
    """The entries of one place, cut into units whose size and content do not depend on the number of devices."""

    def __init__(self, problem: Cost, evaluator: Evaluator, entries: Entries, step: float):
        self.evaluator, self.entries, self.step = evaluator, entries, step
        self.each = evaluator.chunk(entries, EVALUATIONS)
        self.units = -(-len(entries) // self.each)
        self.engine = evaluator.engine(entries, max(EVALUATIONS * len(entries), NOISE_ENTRIES * NOISE_POINTS))
        w = problem.flat[entries.flat]  # (E, 1 or B)
        self.scale = np.maximum(1, np.abs(w))
        moves = [(s * self.scale).astype(w.dtype) for s in (step, 2 * step)]
        ends = [(w + move, w - move) for move in moves]
        self.widths = [plus - minus for plus, minus in ends]
        # As in the perturbed parameters themselves: what the rounded w + move differs by from w
        self.amounts = np.stack([end - w for pair in ends for end in pair], axis=1)  # (E, 4, 1 or B)

    def copies(self, number: int) -> int:
        return EVALUATIONS * min(self.each, len(self.entries) - number * self.each)

    def run(self, numbers: Iterable[int]) -> Iterable[tuple[int, np.ndarray]]:
        """-> for each unit (each, 2, 1 or B): C₊ - C₋ at both steps."""
        for number, costs in self._costs(list(numbers), self._unit):
            pairs = costs.reshape(self.each, EVALUATIONS, -1)[: self.copies(number) // EVALUATIONS]
            yield number, np.stack([pairs[:, 0] - pairs[:, 1], pairs[:, 2] - pairs[:, 3]], axis=1)

    def fill(self, found: Found, deltas: np.ndarray) -> None:
        """``deltas`` (E, 2, 1 or B): of all units, in order."""
        asked = self.entries.flat >= 0
        flat = self.entries.flat[asked]
        with np.errstate(divide="ignore", invalid="ignore"):
            found.at_step[flat], found.at_double[flat] = ((deltas[:, n] / self.widths[n])[asked] for n in (0, 1))
        found.noise[flat] = (self._noise() / (np.sqrt(2) * self.step * self.scale))[asked]
        found.vanished |= bool((self.widths[0][asked] == 0).any())
        if self.entries.place.kind != "readout":  # which runs no cell
            timesteps = self.evaluator.shape[0]
            found.cell_steps += EVALUATIONS * int((timesteps - self.entries.first).sum()) + NOISE_ENTRIES * NOISE_POINTS * timesteps

    def _unit(self, number: int) -> Unit:
        # The last unit repeats the last entry, so that all have the same compiled shape
        chosen = np.minimum(np.arange(number * self.each, (number + 1) * self.each), len(self.entries) - 1)
        amounts = self.amounts[chosen].reshape(len(chosen) * EVALUATIONS, -1)
        return Unit(np.repeat(chosen, EVALUATIONS), amounts, int(self.entries.first[chosen].min()))

    def _costs(self, numbers: list[int], unit: Callable[[int], Unit]) -> Iterable[tuple[int, np.ndarray]]:
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

    def _noise(self) -> float:
        """The standard deviation of the rounding error in these costs, from points along a few entries, as far as the steps reach.

        The largest of the few: an entry with little influence leaves most roundings as they are.
        """
        chosen = np.linspace(0, len(self.entries) - 1, NOISE_ENTRIES).round().astype(int)
        offsets = noise_offsets(self.amounts.dtype, NOISE_POINTS, self.step)
        amounts = (offsets[None, :, None] * self.scale[chosen][:, None]).reshape(-1, self.scale.shape[1])
        chosen = np.repeat(chosen, NOISE_POINTS)
        size = EVALUATIONS * self.each
        if not self.engine.has_fixed_shape:
            size = min(size, len(chosen))
        padding = np.minimum(np.arange(-(-len(chosen) // size) * size), len(chosen) - 1).reshape(-1, size)
        first = int(self.entries.first[chosen].min())
        parts = self._costs(list(range(len(padding))), lambda n: Unit(chosen[padding[n]], amounts[padding[n]], first))
        costs = np.concatenate([each for _, each in parts])[: len(chosen)]
        series = np.moveaxis(costs.reshape(NOISE_ENTRIES, NOISE_POINTS, -1), 1, 2).reshape(-1, NOISE_POINTS)
        return max(noise_of_values(one, self.amounts.dtype) for one in series)
