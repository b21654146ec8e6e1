"""Error against step size: which approach is less noisy is a question about a curve, not about one point.

With a large step the error is truncation, ~ step²; with a small one it is rounding, ~ ε / step. The best
step lies between. Plain central differences at each step, nothing extrapolated.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from checks.estimate import flatten
from checks.full_sequence import differencer as full_sequence_differencer
from checks.per_timestep import differencer as per_timestep_differencer
from checks.problem import Problem

HALF_DECADES = {
    np.dtype(np.float64): 10.0 ** np.arange(-10, -0.4, 0.5),
    np.dtype(np.float32): 10.0 ** np.arange(-5, -0.4, 0.5),
}

# An error this large at the best of all steps is no rounding in any precision
UNDECIDED = 1e-3
FEWEST = 2  # points that have a slope


@dataclasses.dataclass(frozen=True)
class Curve:
    """Errors of one scheme at each step size, in units of the gradient's largest entry."""

    name: str
    dtype: str
    steps: np.ndarray  # (S,) increasing
    largest_error: np.ndarray  # (S,)
    rms_error: np.ndarray  # (S,)

    @property
    def best(self) -> int:
        """The index of the step with the smallest root-mean-square error."""
        return int(np.argmin(self.rms_error))

    @property
    def rounding_slope(self) -> float:
        """Of log error against log step, below the best step: -1 where rounding is all there is. NaN if there are too few steps."""
        return _slope(self.steps[: self.best], self.rms_error[: self.best])

    @property
    def truncation_slope(self) -> float:
        """The same above the best step: 2 for central differences of the cost, 0 where it is something else that is estimated."""
        return _slope(self.steps[self.best + 1 :], self.rms_error[self.best + 1 :])

    @property
    def floor(self) -> float:
        """The error at the best step, as a multiple of what the two branches explain there: median(error · step) / step below it
        and median(error / step²) · step² above it. About 1; much more if something else is left that no step removes."""
        below, above, step = slice(0, self.best), slice(self.best + 1, None), self.steps[self.best]
        if self.best == 0 or self.best == len(self.steps) - 1:
            return float("nan")
        rounding = np.median(self.rms_error[below] * self.steps[below]) / step
        truncation = np.median(self.rms_error[above] / self.steps[above] ** 2) * step**2
        return float(self.rms_error[self.best] / (rounding + truncation))

    @property
    def converges(self) -> bool | None:
        """Is this the derivative? It is if the truncation's order rounds to 2 and no more than a decade of error is left unexplained
        at the best step: the branches' own scatter is far less. None if there are too few steps above the best one to tell."""
        if np.isnan(self.truncation_slope):
            return None if self.rms_error[self.best] < UNDECIDED else False
        return bool(1.5 < self.truncation_slope < 2.5 and not self.floor > 10)


def _slope(steps: np.ndarray, errors: np.ndarray) -> float:
    """By least squares in logarithms."""
    usable = np.isfinite(errors) & (errors > 0)
    if usable.sum() < FEWEST:
        return float("nan")
    return float(np.polyfit(np.log(steps[usable]), np.log(errors[usable]), 1)[0])


def sweep(problem: Problem, reference: object, schemes: tuple[str, ...] = ("full_sequence", "per_timestep.paired")) -> list[Curve]:
    """One `Curve` per scheme, in the problem's precision, against a float64 ``reference`` gradient."""
    return [_curve(problem, flatten(reference), scheme) for scheme in schemes]


def _curve(problem: Problem, reference: np.ndarray, scheme: str) -> Curve:
    if scheme == "full_sequence":
        differences = full_sequence_differencer(problem)
    else:
        differences = per_timestep_differencer(problem, scheme.removeprefix("per_timestep."))
    steps = HALF_DECADES[problem.dtype]
    scale = np.abs(reference).max()
    errors = [np.abs(differences(float(step)).value.astype(np.float64) - reference) / scale for step in steps]
    return Curve(
        name=scheme,
        dtype=str(problem.dtype),
        steps=steps,
        largest_error=np.array([error.max() for error in errors]),
        rms_error=np.array([np.sqrt(np.mean(error**2)) for error in errors]),
    )


def noise_ratio(curve: Curve, baseline: Curve) -> float:
    """Geometric mean of curve / baseline over the steps at least a decade below both optima: rounding alone."""
    rounding = slice(0, max(1, min(curve.best, baseline.best) - 1))
    ratios = np.log(np.maximum(curve.rms_error[rounding], 1e-300) / np.maximum(baseline.rms_error[rounding], 1e-300))
    return float(np.exp(ratios.mean()))
