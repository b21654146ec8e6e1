"""A candidate's gradient against a reference: array by array, and within each array the entry that is furthest off."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from checks.arguments import FLOATS, numbers
from checks.places import describe, gates_of_leaves
from checks.problem import Cost
from checks.verdict import Verdict
from lstm import BadInput


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One array of the gradient. Errors are absolute; ``worst`` is the entry furthest beyond its tolerance."""

    name: str
    verdict: Verdict
    reason: str
    max_error: float
    scale: float  # the reference's largest entry in this array
    tolerance: float  # at the worst entry
    worst_index: tuple[int, ...]
    expected: float
    got: float
    shape: tuple[int, ...]
    gates: tuple[str, ...] = ()  # of an LSTM's array, in the order of its blocks

    @property
    def max_relative_error(self) -> float:
        return self.max_error / max(self.scale, float(np.finfo(np.float64).tiny))

    @property
    def place(self) -> str:
        """The worst entry as a person would say it: ``layers[0].w_h[f, unit 3, from h 7]``."""
        return describe(self.name, self.worst_index, self.shape, self.gates)

    def __str__(self) -> str:
        errors = f"{self.max_error:.1e} absolute, {self.max_relative_error:.1e} of the largest entry"
        return f"{self.place}: expected {self.expected:.9g}, got {self.got:.9g} ({errors}; allowed {self.tolerance:.1e})"


def compare(problem: Cost, candidate: Any, reference: Any, tolerance: list[Any]) -> list[Comparison]:
    """Compare two gradients of ``problem``, pytrees like its parameters.

    Args:
        tolerance: for each array, a number or an array of its shape: what is allowed at each entry.

    Raises:
        BadInput: if the candidate is not shaped like the parameters.
    """
    pairs = zip(problem.leaf_names, leaves_like(problem, candidate), jax.tree.leaves(reference), tolerance, strict=True)
    compared = [_compare_array(name, got, np.asarray(expected), allowed) for name, got, expected, allowed in pairs]
    gates = gates_of_leaves(problem.parameters)
    return [dataclasses.replace(one, gates=of_leaf) for one, of_leaf in zip(compared, gates, strict=True)]


def leaves_like(problem: Cost, gradients: Any) -> list[np.ndarray]:
    """The arrays of a candidate's gradient, checked against the parameters' structure, shapes and kind."""
    ours = jax.tree_util.tree_leaves_with_path(problem.parameters)
    theirs = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)}
    arrays: list[np.ndarray] = []
    for (path, parameter), name in zip(ours, problem.leaf_names, strict=True):
        key = jax.tree_util.keystr(path)
        if key not in theirs:
            raise BadInput(f"gradients: expected an array for {name}, as the parameters have; got {', '.join(theirs) or 'none'}")
        array = np.asarray(numbers(f"gradients {name}", theirs.pop(key)))
        if array.dtype not in FLOATS:
            raise BadInput(f"gradients {name}: expected floating-point numbers; got {array.dtype}")
        if arrays and array.dtype != arrays[0].dtype:
            raise BadInput(f"gradients {name}: expected {arrays[0].dtype}, as the first array has; got {array.dtype}")
        if array.shape != np.shape(parameter):
            raise BadInput(f"gradients {name}: expected shape {np.shape(parameter)}, as the parameter has; got {array.shape}")
        arrays.append(array)
    if theirs:
        raise BadInput(f"gradients: expected the parameters' arrays only; got {', '.join(theirs)} as well")
    return arrays


def _compare_array(name: str, got: np.ndarray, expected: np.ndarray, tolerance: Any) -> Comparison:
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    allowed = np.broadcast_to(np.asarray(tolerance, np.float64), expected.shape)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(got - expected)
    excess = excess_of(got, expected, allowed)
    worst = tuple(int(i) for i in np.unravel_index(int(np.argmax(excess)), expected.shape))
    scale = float(np.abs(expected).max())
    verdict, reason = _judge(got, expected, float(allowed.max()), bool((excess > 1).any()), scale)
    return Comparison(
        name=name,
        verdict=verdict,
        reason=reason,
        max_error=float(np.max(error)),
        scale=scale,
        tolerance=float(allowed[worst]),
        worst_index=worst,
        expected=float(expected[worst]),
        got=float(got[worst]),
        shape=expected.shape,
    )


def excess_of(got: Any, expected: Any, allowed: Any) -> np.ndarray:
    """The error of each entry in units of what is allowed; infinite where it is not a number."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(np.asarray(got, np.float64) - np.asarray(expected, np.float64))
        excess = error / np.maximum(allowed, np.finfo(np.float64).tiny)
    return np.where(np.isnan(excess), np.inf, excess)


def _judge(got: np.ndarray, expected: np.ndarray, allowed: float, beyond: bool, scale: float) -> tuple[Verdict, str]:
    if not np.isfinite(expected).all():
        return Verdict.INCONCLUSIVE, "the reference itself is not finite here: the cost overflows"
    if not np.isfinite(got).all():
        return Verdict.DISAGREES, "NaN or infinity where the gradient is finite"
    if not np.isfinite(allowed):
        return Verdict.INCONCLUSIVE, "no tolerance: the cost or its derivative overflows on the way"
    if beyond:
        return Verdict.DISAGREES, "differs by more than rounding and the estimates' own error allow"
    if scale > 0 and allowed > scale:
        return Verdict.INCONCLUSIVE, "noise above signal: the tolerance exceeds every entry of the gradient"
    return Verdict.AGREES, "within tolerance"
