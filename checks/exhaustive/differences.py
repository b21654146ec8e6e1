"""Differences of the cost at two step sizes for every entry asked for, and the noise in them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from checks.exhaustive.entries import Entries
from checks.exhaustive.evaluator import Evaluator
from checks.perturbation import noise_of_values
from checks.problem import Cost

EVALUATIONS = 4  # plus and minus a step, plus and minus twice the step
NOISE_ENTRIES, NOISE_POINTS = 4, 16


@dataclasses.dataclass(frozen=True)
class Settings:
    step: float


@dataclasses.dataclass
class Found:
    """For each of P entries; NaN where it was not asked for."""

    at_step: np.ndarray
    at_double: np.ndarray
    noise: np.ndarray  # the standard deviation of at_step
    vanished: bool = False
    cell_steps: int = 0


def differences(problem: Cost, evaluator: Evaluator, all_entries: list[Entries], settings: Settings) -> Found:
    nothing = np.full(problem.size, np.nan)
    found = Found(nothing, nothing.copy(), nothing.copy())
    for entries in all_entries:
        _Differencing(problem, evaluator, entries, settings).into(found)
    return found


class _Differencing:
    """The entries of one place."""

    def __init__(self, problem: Cost, evaluator: Evaluator, entries: Entries, settings: Settings):
        self.evaluator, self.entries = evaluator, entries
        self.each = evaluator.chunk(entries, EVALUATIONS)  # entries for a device
        w = problem.flat[entries.flat]  # (E, 1 or B)
        self.scale = np.maximum(1, np.abs(w))
        moves = [(s * self.scale).astype(w.dtype) for s in (settings.step, 2 * settings.step)]
        ends = [(w + move, w - move) for move in moves]
        self.widths = [plus - minus for plus, minus in ends]
        # As in the perturbed parameters themselves: what the rounded w + move differs by from w
        self.amounts = np.stack([end - w for pair in ends for end in pair], axis=1)  # (E, 4, 1 or B)
        self.step = settings.step

    def into(self, found: Found) -> None:
        entries, at_once = self.entries, self.each * self.evaluator.mesh.size
        parts = [self.chunk(start, min(start + at_once, len(entries))) for start in range(0, len(entries), at_once)]
        deltas = [np.concatenate(each) for each in zip(*parts, strict=True)]
        with np.errstate(divide="ignore", invalid="ignore"):
            at_step, at_double = (delta / width for delta, width in zip(deltas, self.widths, strict=True))
        asked = entries.flat >= 0
        flat = entries.flat[asked]
        found.at_step[flat], found.at_double[flat] = at_step[asked], at_double[asked]
        found.noise[flat] = (self.noise() / (np.sqrt(2) * self.step * self.scale))[asked]
        found.vanished |= bool((self.widths[0][asked] == 0).any())
        found.cell_steps += EVALUATIONS * int((self.evaluator.shape[0] - entries.first).sum())

    def chunk(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """C₊ - C₋ at both steps, (stop - start, 1 or B)."""
        chosen = np.repeat(np.arange(start, stop), EVALUATIONS)
        amounts = self.amounts[start:stop].reshape(len(chosen), -1)
        costs = self._costs(chosen, amounts).reshape(stop - start, EVALUATIONS, -1)
        return costs[:, 0] - costs[:, 1], costs[:, 2] - costs[:, 3]

    def noise(self) -> float:
        """The standard deviation of the rounding error in these costs, from closely spaced points along a few entries.

        The largest of the few: an entry with little influence leaves most roundings as they are.
        """
        chosen = np.linspace(0, len(self.entries) - 1, NOISE_ENTRIES).round().astype(int)
        spacing = np.sqrt(float(np.finfo(self.amounts.dtype).eps))
        offsets = (np.arange(NOISE_POINTS) * spacing).astype(self.amounts.dtype)
        amounts = (offsets[None, :, None] * self.scale[chosen][:, None]).reshape(-1, self.scale.shape[1])
        chosen = np.repeat(chosen, NOISE_POINTS)
        size = EVALUATIONS * self.each * self.evaluator.mesh.size
        parts = [self._costs(chosen[n : n + size], amounts[n : n + size]) for n in range(0, len(chosen), size)]
        costs = np.concatenate(parts).reshape(NOISE_ENTRIES, NOISE_POINTS, -1)
        series = np.moveaxis(costs, 1, 2).reshape(-1, NOISE_POINTS)
        return max(noise_of_values(one, self.amounts.dtype) for one in series)

    def _costs(self, chosen: np.ndarray, amounts: np.ndarray) -> np.ndarray:
        """(N, 1 or B): for a weight that all sequences share, their sum; in float64."""
        costs: Any = self.evaluator(self.entries, chosen, amounts, EVALUATIONS * self.each).astype(np.float64)
        return costs.sum(axis=1, keepdims=True) if amounts.shape[1] == 1 else costs
