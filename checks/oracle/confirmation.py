"""Is the oracle's own gradient right on this very input? Asked of autodiff in full, and of differences entry by entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstm
from checks.estimate import flatten, max_relative_error
from checks.exhaustive import exhaustive as exhaustive_differences
from checks.oracle.cost import Data, cost, gradient, moved_cost
from checks.perturbation import default_step, extrapolate, noise_line, noise_of_values, noise_offsets
from checks.problem import Cost

MOST_ENTRIES, FEWEST_ENTRIES = 48, 6
NOISE_SAMPLES = 64  # a dozen left the deviation uncertain by a factor of 3: 1 confirmation in 50 failed for nothing
FEWEST_SAMPLES = 16  # of a large network, whose claim is widened accordingly
USELESS = 0.01  # of the largest entry: differences this uncertain say nothing
AFFORDABLE = 3e9  # parameters times timesteps of all sequences, times entries: some seconds


@dataclasses.dataclass(frozen=True)
class Confirmation:
    """What was asked, and what came of it. Errors in units of the gradient's largest entry."""

    confirmed: bool
    autodiff_error: float
    entries: int  # compared with differences
    of: int
    differences_error: float
    claimed_error: float  # the largest that the differences claim to have themselves
    seed: int
    note: str = ""

    @property
    def sentence(self) -> str:
        if self.note:
            return self.note
        how_many = f"all {self.of:,}" if self.entries == self.of else f"{self.entries} of {self.of:,}"
        chosen = "" if self.entries == self.of else f", drawn with seed {self.seed}"
        if not self.claimed_error < USELESS:
            claim = f"Full-sequence differences cannot tell: their own error is {self.claimed_error:.0e} here."
        else:
            claim = f"It is within {self.differences_error:.0e} of full-sequence differences in {how_many} entries{chosen}."
        return (
            f"its own gradient {'is confirmed' if self.confirmed else 'is NOT confirmed'} on this input, in units of its largest "
            f"entry: it is within {self.autodiff_error:.0e} of automatic differentiation in every entry. {claim}"
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"sentence": self.sentence}


def confirm(
    parameters: lstm.CostGradients, data: Data, gradients: lstm.CostGradients, allowed: lstm.CostGradients,
    *, rows: int, exhaustive: bool | dict[str, Any] = False, seed: int = 0, ran: Callable[[], None] = lambda: None,
) -> Confirmation:  # fmt: skip
    """Hold the gradient of a float64 cost against what sees only its forward pass.

    Args:
        parameters, data: of `checks.oracle.cost.cost`.
        gradients: like ``parameters``.
        allowed: like them: what rounding in float64 may do to each entry of a correct gradient.
        rows: T B, which with the number of parameters says what a forward pass costs.
        exhaustive: difference every entry, not a random sample; options of `checks.exhaustive`, or True for none.
        seed: of the sample.
        ran: is called after each pass over the network.
    """
    derived, room = flatten(gradients), flatten(allowed)
    with jax.enable_x64(True):
        by_autodiff = jax.tree.map(np.asarray, gradient(parameters, data))
    ran()
    agrees = np.abs(flatten(by_autodiff) - derived) <= 2 * room
    if exhaustive:
        chosen = np.arange(derived.size)
        origin = {field.name: getattr(data, field.name) for field in dataclasses.fields(data)}
        problem = Cost(parameters=parameters, function=lambda moved: cost(moved, data), origin=origin)
        estimate = exhaustive_differences(problem, **(exhaustive if isinstance(exhaustive, dict) else {}))
        value, error = flatten(estimate.value), flatten(estimate.error_estimate)
    else:
        count, samples = affordable(derived.size, rows)
        chosen = sample_entries([np.size(leaf) for leaf in jax.tree.leaves(parameters)], count, seed)
        with np.errstate(over="ignore", invalid="ignore"):  # a cost of 1e200 has differences, but no measurable noise
            value, error = differences_at(parameters, data, chosen, samples, ran)
    close = np.abs(value - derived[chosen]) <= error + room[chosen]
    scale = max(float(np.abs(derived).max()), float(np.finfo(np.float64).tiny))
    return Confirmation(
        confirmed=bool(agrees.all() and close.all()),
        autodiff_error=max_relative_error(by_autodiff, gradients),
        entries=len(chosen),
        of=derived.size,
        differences_error=float(np.abs(value - derived[chosen]).max()) / scale,
        claimed_error=float(np.max(error)) / scale,
        seed=seed,
    )


def affordable(size: int, rows: int) -> tuple[int, int]:
    """How many entries of so many parameters to difference, and how many samples of the noise to take."""
    entries = AFFORDABLE / (size * rows)
    return min(size, int(np.clip(entries, FEWEST_ENTRIES, MOST_ENTRIES))), int(np.clip(entries, FEWEST_SAMPLES, NOISE_SAMPLES))


def passes(size: int, rows: int) -> int:
    """How many times `confirm` calls ``ran`` where it does not difference every entry."""
    entries, samples = affordable(size, rows)
    return 1 + samples + 4 * entries


def sample_entries(sizes: list[int], count: int, seed: int) -> np.ndarray:
    """Indices into the flat parameters: as many from each array as from any other, and all different."""
    generator = np.random.default_rng(seed)
    starts = np.cumsum([0, *sizes[:-1]])
    chosen: set[int] = set()
    order = generator.permutation(len(sizes))
    for draw in range(4 * count):
        if len(chosen) == min(count, sum(sizes)):
            break
        leaf = order[draw % len(sizes)]
        chosen.add(int(starts[leaf] + generator.integers(sizes[leaf])))
    return np.array(sorted(chosen))


def differences_at(
    parameters: lstm.CostGradients, data: Data, entries: np.ndarray, samples: int = NOISE_SAMPLES, ran: Callable[[], None] = lambda: None
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient at a few entries by central differences at two steps, extrapolated, and how far off it may be.

    One compiled function, the cost with one entry replaced, is called 4 times for each entry, and ``samples`` times along
    a line to measure the cost's own rounding. The parameters are copied for one call at a time.
    """
    flat = flatten(parameters)
    step = default_step(flat.dtype)
    line = noise_line(flat)
    offsets = noise_offsets(flat.dtype, samples)
    with jax.enable_x64(True):
        on_device = jnp.asarray(flat), jnp.asarray(line)
        like, data = jax.tree.map(jnp.asarray, (parameters, data))

        def value(offset: float, index: int, at: float) -> float:
            found = float(moved_cost(*on_device, float(offset), int(index), float(at), like, data))
            ran()
            return found

        def difference(index: int, size: float) -> float:
            moved = size * max(1.0, abs(float(flat[index])))
            ends = [flat[index] + moved, flat[index] - moved]
            costs = [value(0.0, index, end) for end in ends]
            return (costs[0] - costs[1]) / float(ends[0] - ends[1])

        along = [value(offset, 0, flat[0] + offset * line[0]) for offset in offsets]
        at_step = np.array([difference(index, step) for index in entries])
        at_double = np.array([difference(index, 2 * step) for index in entries])
    noise = noise_of_values(np.array(along), flat.dtype)
    deviation = noise / (np.sqrt(2) * step * np.maximum(1, np.abs(flat[entries])))
    # The fewer the samples, the less certain the deviation, and the more is claimed
    return extrapolate(at_step, at_double, np.sqrt(NOISE_SAMPLES / samples) * deviation)
