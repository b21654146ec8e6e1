"""Bugs with a number that nobody can guess: clipping, weight decay, a temperature. The number is read off the candidate.

A number that was fitted explains less than one that was predicted, so each has a condition of its own beside the fit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np

from checks.catalogue import Bug
from checks.catalogue.cost import clipped_by_norm, clipped_elementwise, weight_decay
from checks.diagnosis.cause import Cause, Hypothesis
from checks.diagnosis.observation import TINY, Observation, dot

Make = Callable[[float], Bug]
Plant = Callable[[float], np.ndarray | None]

GRID, ROUNDS, SECANTS = 25, 30, 8
GOLDEN = (np.sqrt(5) - 1) / 2
NUDGE = 1e-7  # within what the golden sections leave: 0.618^30 of a step of the grid
LEAST_RATE, LARGEST_RATE = 1e-9, 1e3  # of weight decay
ROUND = 1e-6  # how near to two digits a norm must be to be one that somebody chose
TELLING = 100  # tolerances: what a gradient that is not a parameter's must be to show that it was not scaled
LEAST_CLIPPED = 2  # entries at the same limit: one alone may be any error in one entry


class Afterwards:
    """What may have been done to a gradient after it was computed: clipping, by entry or by norm, and weight decay."""

    def __init__(self, observation: Observation):
        self.observation = o = observation
        known = o.arrangement.parameters
        self.given = [name for name in o.names if name in known]
        self.chosen = np.zeros(len(o.got), bool)  # the entries of parameters
        self.values = np.zeros(len(o.got))
        for name in self.given:
            self.chosen[o.slices[name]] = True
            self.values[o.slices[name]] = np.asarray(known[name], np.float64).ravel()
        self.weight = np.where(self.chosen, 1 / o.allowed, 0)
        weighted = self.values * self.weight
        size = dot(weighted, weighted)
        self.projector = weighted * self.weight / size if size > 0 else None
        self.limit = float(np.abs(o.got[self.chosen]).max(initial=0))
        self.norm = float(np.sqrt(dot(o.got[self.chosen], o.got[self.chosen])))

    def of(self, vector: np.ndarray) -> Iterator[Hypothesis]:
        """Each that makes the candidate of the gradient ``vector``."""
        if not self.given:
            return
        for change in (self._elementwise, self._by_norm, self._decayed):
            found = change(vector)
            if found is not None and self.observation.fits(found.vector):
                yield found

    def _elementwise(self, vector: np.ndarray) -> Hypothesis | None:
        over = self.chosen & (np.abs(vector) > self.limit + self.observation.allowed)
        if self.limit == 0 or over.sum() < LEAST_CLIPPED:
            return None
        clipped = np.where(self.chosen, np.clip(vector, -self.limit, self.limit), vector)
        return Hypothesis((Cause.of_bug(clipped_elementwise(self.limit)),), clipped)

    def _by_norm(self, vector: np.ndarray) -> Hypothesis | None:
        """All parameters scaled alike, anything else not at all; both kinds of arrays must be there to be seen."""
        o = self.observation
        ours, theirs = vector * self.weight, o.got * self.weight
        size = dot(ours, ours)
        scale = dot(ours, theirs) / size if size > 0 else 0.0
        complete = len(self.given) == len(o.arrangement.parameters)
        is_round = complete and self.norm > 0 and abs(self.norm / float(f"{self.norm:.2g}") - 1) < ROUND
        others_tell = len(self.given) > 1 and bool((np.abs(vector) > TELLING * o.allowed)[~self.chosen].any())
        if not 0 < scale < 1 or not (is_round or others_tell):
            return None
        return Hypothesis((Cause.of_bug(clipped_by_norm(self.norm)),), np.where(self.chosen, scale * vector, vector))

    def _decayed(self, vector: np.ndarray) -> Hypothesis | None:
        """rate · w added to each parameter's gradient; the rate by least squares."""
        rate = 0.0 if self.projector is None else dot(self.projector, self.observation.got - vector)
        if not LEAST_RATE < rate < LARGEST_RATE:
            return None
        return Hypothesis((Cause.of_bug(weight_decay(rate)),), vector + rate * self.values)


def searched(
    observation: Observation, plant: Callable[[tuple[Bug, ...]], np.ndarray | None], ranges: list[tuple[Make, float, float]]
) -> Iterator[Hypothesis]:
    """Of each family the member with the least error. ``ranges``: the family's `make`, the least and the largest number."""
    for make, low, high in ranges:
        best = _search(observation, functools.partial(_member, plant, make), low, high)
        if best is not None:
            yield Hypothesis((Cause.of_bug(make(best[0])),), best[1])


def _member(plant: Callable[[tuple[Bug, ...]], np.ndarray | None], make: Make, value: float) -> np.ndarray | None:
    return plant((make(value),))


def _search(observation: Observation, plant: Plant, low: float, high: float) -> tuple[float, np.ndarray] | None:
    """A grid and golden sections in the logarithm, then secants: a minimum of squares is known to half the digits only."""
    scale = max(float(np.abs(observation.expected).max()), TINY)

    def error(logarithm: float) -> float:
        vector = plant(float(np.exp(logarithm)))
        return np.inf if vector is None else float((((observation.got - vector) / scale) ** 2).sum())

    grid = np.linspace(np.log(low), np.log(high), GRID)
    errors = [error(x) for x in grid]
    best = int(np.argmin(errors))
    if not errors[best] < float(((observation.error / scale) ** 2).sum()):
        return None
    value = _golden(error, grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    return _secant(observation, plant, float(np.exp(value)))


def _golden(error: Callable[[float], float], a: float, b: float) -> float:
    x, y = b - GOLDEN * (b - a), a + GOLDEN * (b - a)
    at_x, at_y = error(x), error(y)
    for _ in range(ROUNDS):
        if at_x < at_y:
            b, y, at_y = y, x, at_x
            x = b - GOLDEN * (b - a)
            at_x = error(x)
        else:
            a, x, at_x = x, y, at_y
            y = a + GOLDEN * (b - a)
            at_y = error(y)
    return (a + b) / 2


def _secant(observation: Observation, plant: Plant, value: float) -> tuple[float, np.ndarray] | None:
    """Where the error has no part along the family's own direction."""
    near = value * (1 + NUDGE)
    first, second = plant(value), plant(near)
    if first is None or second is None:
        return None
    direction = (second - first) / max(float(np.abs(second - first).max()), TINY)
    along = [dot(vector - observation.got, direction) for vector in (first, second)]
    values = [value, near]
    found = first
    for _ in range(SECANTS):
        if along[-1] == along[-2]:
            break
        following = values[-1] - along[-1] * (values[-1] - values[-2]) / (along[-1] - along[-2])
        vector = plant(following) if following > 0 else None
        if vector is None:
            break
        values.append(following)
        along.append(dot(vector - observation.got, direction))
        found = vector
    return values[-1], found
