"""Central differences of a function that JAX cannot trace: a loop over the weights, with progress."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from checks.estimate import Estimate, Status
from checks.perturbation import default_step, extrapolate, noise_of_difference, noise_of_values, noise_points, positive_step
from checks.problem import Cost
from checks.progress import counted
from lstm import BadInput


def black_box_differences(problem: Cost, *, step: float | None = None) -> Estimate:
    """As `full_sequence`, one evaluation at a time. Evaluations: 4 P, and 34 for the noise and the sanity checks."""
    step = default_step(problem.dtype) if step is None else step
    positive_step(step)
    flat = problem.flat
    evaluate = _Evaluation(problem)
    evaluate.check_repeatable()
    noise = noise_of_values(np.array([evaluate(point) for point in noise_points(problem)]), problem.dtype)
    at_step, at_double = np.empty(flat.size), np.empty(flat.size)
    vanished = False
    for index in counted(range(flat.size), "weights"):
        for results, size in ((at_step, step), (at_double, 2 * step)):
            moved = flat.dtype.type(size * max(1.0, abs(float(flat[index]))))
            plus, minus = flat.copy(), flat.copy()  # the entry is never moved in place, so nothing has to be restored
            plus[index], minus[index] = flat[index] + moved, flat[index] - moved
            width = float(plus[index]) - float(minus[index])
            vanished |= width == 0
            results[index] = (evaluate(plus) - evaluate(minus)) / width if width else np.nan
    value, error = extrapolate(at_step, at_double, noise_of_difference(problem, noise, step))
    return Estimate.from_flat(
        "full_sequence",
        problem,
        value,
        error,
        cell_steps=4 * flat.size,
        states_held=1,
        status=Status.STEP_VANISHED if vanished else Status.COMPUTED,
    )


class _Evaluation:
    """The black box as a function of the flat weights, guarded against what makes differences meaningless."""

    def __init__(self, problem: Cost) -> None:
        self.problem = problem

    def __call__(self, flat: np.ndarray) -> float:
        return self._value(self.problem.unflatten(flat.copy()))

    def _value(self, weights: Any) -> float:
        with self.problem.scope():  # whatever of JAX is inside computes in the weights' own precision
            value = np.asarray(self.problem.cost(weights))
        if np.iscomplexobj(value):
            raise BadInput(f"loss: expected a real number; got {value.dtype}")
        if value.shape != ():
            raise BadInput(f"loss: expected a scalar; got shape {value.shape}")
        return float(value)

    def check_repeatable(self) -> None:
        given = self.problem.unflatten(self.problem.flat.copy())
        first = self._value(given)
        if any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(self._fresh()), strict=True)):
            raise BadInput("loss: expected the weights to be left alone; got weights that it changed in place")
        second = self(self.problem.flat)
        if first != second and not (np.isnan(first) and np.isnan(second)):
            raise BadInput(
                f"loss: expected the same value for the same weights; got {first!r}, then {second!r} "
                "(is something drawn at random, or a state kept, between the passes?)"
            )

    def _fresh(self) -> Any:
        return self.problem.unflatten(self.problem.flat)
