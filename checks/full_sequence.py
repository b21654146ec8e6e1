"""Approach 1: perturb a weight, run the whole sequence; perturb it the other way, run it again; difference the cost."""

from __future__ import annotations

from checks.estimate import Estimate, Status
from checks.perturbation import (
    DEFAULT_MEMORY,
    NOISE_SAMPLES,
    Differencer,
    cost_noise,
    default_step,
    extrapolate,
    noise_of_difference,
)
from checks.problem import Cost, only_cost


def differencer(problem: Cost, memory: int = DEFAULT_MEMORY) -> Differencer:
    """C(w + step) - C(w - step) for every weight, ready for any step size; compiled once for each problem."""
    key = ("full_sequence", memory)
    if key not in problem.memo:
        problem.memo[key] = Differencer(problem, lambda plus, minus, _: problem.cost(plus) - problem.cost(minus), memory=memory)
    return problem.memo[key]


def full_sequence(problem: Cost, *, step: float | None = None, memory: int = DEFAULT_MEMORY) -> Estimate:
    """The gradient by central differences of the whole cost, at ``step`` and twice ``step``, extrapolated.

    Args:
        problem: any cost.
        step: relative to max(1, |w|) of each weight; default ε^(1/3) of the problem's dtype.
        memory: bytes that the perturbed copies of a chunk may take.

    Returns:
        An `Estimate` with an error estimate for each entry (truncation and rounding). Cell steps: 4 T P, and
        32 T to measure the cost's own rounding.
    """
    step = default_step(only_cost(problem).dtype) if step is None else step
    differences = differencer(problem, memory)
    at_step, at_double = differences(step), differences(2 * step)
    noise = noise_of_difference(problem, cost_noise(problem), step)
    value, error = extrapolate(at_step.value, at_double.value, noise)
    return Estimate.from_flat(
        "full_sequence",
        problem,
        value,
        error,
        cell_steps=(4 * differences.copies + NOISE_SAMPLES) * problem.steps_per_cost,
        states_held=1,
        status=Status.STEP_VANISHED if at_step.vanished else Status.COMPUTED,
    )
