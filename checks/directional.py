"""A gradient confirmed along random directions: a few pairs of costs, however many parameters there are.

Along a direction v every entry of a gradient g counts at once: d/ds C(w + s v) = Σ g v at s = 0. The left side is a
difference of two costs. An entry that is wrong by e shifts the right side by e |v|, so an error shows where it exceeds the
difference's own error estimate, which is why this confirms a gradient made by other means and does not replace the check of
every entry.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from checks.estimate import flatten
from checks.perturbation import DEVIATIONS, default_step, extrapolate, noise_of_values, noise_offsets
from checks.problem import Cost


@dataclasses.dataclass(frozen=True)
class Directional:
    """One direction: the difference quotient of the cost, what it may be off by, and what the gradient says."""

    difference: float
    error_estimate: float
    from_gradient: float
    typical: float  # the size of Σ g v, were the signs of v drawn again

    @property
    def agrees(self) -> bool:
        return bool(abs(self.difference - self.from_gradient) <= self.error_estimate)

    @property
    def tells(self) -> bool:
        """Would an error of a thousandth show? Where the cost's own rounding hides the gradient, agreement says nothing."""
        return self.error_estimate <= 1e-3 * self.typical


def directional_checks(problem: Cost, gradient: Any, *, directions: int = 3, seed: int = 0) -> list[Directional]:
    """Compare a gradient with central differences of the cost along random directions. Evaluations: 32 + 4 each."""
    flat = problem.flat
    generator = np.random.default_rng(seed)
    step = default_step(problem.dtype)
    with problem.scope():
        along = jax.jit(lambda start, v, s: problem.cost(problem.unflatten(start + s * v)))
        found = []
        for number in range(directions):
            # Scaled so that all entries together move the cost about as much as one entry alone would
            v = generator.normal(size=flat.size) * np.maximum(1, np.abs(flat)) / np.sqrt(flat.size)
            v = v.astype(flat.dtype)

            def cost(s: float, v: np.ndarray = v) -> float:
                return float(along(flat, v, flat.dtype.type(s)))

            if number == 0:
                noise = noise_of_values(np.array([cost(offset) for offset in noise_offsets(flat.dtype)]), flat.dtype)
            at_step, at_double = (np.array((cost(s) - cost(-s)) / (2 * s)) for s in (step, 2 * step))
            value, error = extrapolate(at_step, at_double, noise / (np.sqrt(2) * step))
            # The rounding of the points themselves: each entry is placed to ε |w|, and costs g times that
            placed = np.finfo(flat.dtype).eps * np.linalg.norm(flatten(gradient) * np.abs(flat)) / step
            terms = flatten(gradient).astype(np.float64) * v
            typical = float(np.linalg.norm(terms))
            found.append(Directional(float(value), float(error + DEVIATIONS * placed), float(terms.sum()), typical))
    return found
