"""Bring your own forward and gradient: JAX-traceable functions, or NumPy black boxes."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checks.black_box import black_box_differences
from checks.compare import Comparison, compare, leaves_like
from checks.cross_validation import cross_validate, describe, gradients_of
from checks.estimate import max_relative_error
from checks.problem import Cost
from checks.report import Report, Row
from checks.verdict import Verdict
from lstm import BadInput

MOST_ALLOWED = 0.1


def check_function(loss: Any, gradients: Any, weights: Any, *, step: float | None = None) -> Report:
    """Check a hand-written gradient of any scalar function.

    Args:
        loss: weights -> scalar. If JAX can trace it, it is checked against differences, ``jax.grad`` and the complex
            step; otherwise it is a black box, differenced weight by weight with progress shown on a terminal.
        gradients: weights -> gradient, or the gradient itself: a pytree of arrays like ``weights``.
        weights: a pytree of float32 or float64 arrays.
        step: of the differences, relative to max(1, |w|); default ε^(1/3). Black boxes only.

    Returns:
        A `Report`: ``print(report)``; ``report.verdict``.

    Raises:
        BadInput: if the weights are not floating-point arrays, if the loss is not a scalar, or if it gives two values for
            the same weights (is something drawn at random inside?) or changes them.
    """
    if not callable(loss):
        raise BadInput(f"loss: expected a function of the weights; got {type(loss).__name__}")
    problem = Cost(parameters=weights, function=loss)
    value = gradients_of(problem, gradients)
    leaves_like(problem, value)  # before anything is computed; None is not "no gradient to check"
    if _traceable(problem):
        return cross_validate(problem, gradients=value, candidate="gradients")
    return _check_black_box(problem, value, step)


def _traceable(problem: Cost) -> bool:
    """Can JAX trace the loss? A NumPy function, or one that calls out to C, raises its own kind of error."""
    try:
        with problem.scope():
            shape = jax.eval_shape(problem.cost, problem.parameters)
    except Exception:  # whatever a black box raises when it meets a tracer
        return False
    if getattr(shape, "shape", None) != ():
        raise BadInput(f"loss: expected a scalar; got shape {getattr(shape, 'shape', None)}")
    if not jnp.issubdtype(shape.dtype, jnp.floating):
        raise BadInput(f"loss: expected a real number; got {shape.dtype}")
    first, second = _constants(problem), _constants(problem)
    if len(first) != len(second) or not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True)):
        raise BadInput("loss: expected the same function each time; it draws something at random (draw it once, outside)")
    return True


def _constants(problem: Cost) -> list[np.ndarray]:
    """The arrays that the traced loss holds beside its weights: what NumPy drew at random while JAX traced is among them."""
    with problem.scope():
        return [np.asarray(constant) for constant in jax.make_jaxpr(problem.cost)(problem.parameters).consts]


def _check_black_box(problem: Cost, gradients: Any, step: float | None) -> Report:
    estimate = black_box_differences(problem, step=step)
    errors = [np.asarray(leaf) for leaf in jax.tree.leaves(estimate.error_estimate)]
    comparisons = [_telling(one) for one in compare(problem, gradients, estimate.value, errors)]
    room = max((one.tolerance / one.scale for one in comparisons if one.scale > 0), default=0.0)
    row = Row(
        name="gradients",
        max_relative_error=max_relative_error(gradients, estimate.value),
        cell_steps=1,
        states_held=1,
        verdict=Verdict.of_all(c.verdict for c in comparisons),
        expected_to_agree=True,
        says="yours",
        comparisons=tuple(comparisons),
    )
    note = "the loss is a black box to JAX, so differences are the only reference, and their own error estimate the tolerance: "
    note += f"{room:.1g} of the largest entry"
    return Report(problem=describe(problem), rows=(row,), reference=estimate.name, verdict=row.verdict, note=note)


def _telling(comparison: Comparison) -> Comparison:
    """An agreement to within a tenth of the largest entry says little."""
    if comparison.verdict is Verdict.AGREES and comparison.tolerance > MOST_ALLOWED * comparison.scale > 0:
        reason = "the differences' own error exceeds a tenth of the gradient's largest entry"
        return dataclasses.replace(comparison, verdict=Verdict.INCONCLUSIVE, reason=reason)
    return comparison
