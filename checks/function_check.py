"""Bring your own forward and gradient: JAX-traceable functions, or NumPy black boxes."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from checks.black_box import black_box_differences
from checks.compare import compare, leaves_like
from checks.cross_validation import cross_validate, describe
from checks.estimate import max_relative_error
from checks.problem import Cost
from checks.report import Report, Row
from checks.verdict import Verdict
from lstm import BadInput


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
    value = gradients(weights) if callable(gradients) else gradients
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
    return True


def _check_black_box(problem: Cost, gradients: Any, step: float | None) -> Report:
    estimate = black_box_differences(problem, step=step)
    errors = [np.asarray(leaf) for leaf in jax.tree.leaves(estimate.error_estimate)]
    comparisons = compare(problem, gradients, estimate.value, errors)
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
    note = "the loss is a black box to JAX, so differences are the only reference, and their own error estimate the tolerance"
    return Report(problem=describe(problem), rows=(row,), reference=estimate.name, verdict=row.verdict, note=note)
