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
