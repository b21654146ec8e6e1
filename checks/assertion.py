"""`assert_gradients`, for test suites: quick, so that a suite can call it hundreds of times."""

from __future__ import annotations

from typing import Any

import numpy as np

from checks.compare import leaves_like
from checks.cross_validation import Reference, choose_reference, coarser, describe
from checks.diagnosis import diagnose
from checks.directional import directional_checks
from checks.estimate import max_relative_error
from checks.problem import Cost, only_cost
from checks.report import Report, Row
from checks.tolerance import gradient_and_magnitudes
from checks.verdict import Verdict
from checks.within_rounding import within_rounding


def assert_gradients(gradients: Any, problem: Cost) -> None:
    """Nothing if ``gradients`` is the gradient of ``problem``, else an AssertionError that carries the report.

    The reference is automatic differentiation in float64, confirmed by differences of the cost along random directions;
    where that fails, the full `cross_validate` reference. It knows nothing of the hand-written backward pass.

    Args:
        gradients: a pytree like ``problem.parameters``, in float32 or float64; it is judged in its own precision, or in
            the problem's if that is lower.
        problem: the cost; `Problem.from_network` makes one from a network and its data.
    """
    __tracebackhide__ = True  # pytest then shows the test's own line, not ours
    leaves_like(only_cost(problem), gradients)
    gradient, _ = gradient_and_magnitudes(problem)
    double = problem.astype(np.float64)
    reference = Reference("autodiff", gradient, gradient, True, "")
    if not all(one.agrees and one.tells for one in directional_checks(double, gradient)):
        reference = choose_reference(problem)
    if not reference.confirmed:
        raise AssertionError(reference.note)
    comparisons = within_rounding(problem, gradients, reference.value, dtype=coarser(problem, gradients))
    row = Row(
        name="gradients",
        max_relative_error=max_relative_error(gradients, reference.value),
        cell_steps=problem.steps_per_cost,
        states_held=problem.steps_per_cost,
        verdict=Verdict.of_all(one.verdict for one in comparisons),
        expected_to_agree=True,
        says="yours",
        comparisons=tuple(comparisons),
    )
    report = Report(problem=describe(problem), rows=(row,), reference=reference.name, verdict=row.verdict, note=reference.note)
    if row.verdict is not Verdict.AGREES:  # no assert statement, which `python -O` leaves out
        raise AssertionError(f"\n{report}{_diagnosis(gradients, problem, reference.value)}")


def _diagnosis(gradients: Any, problem: Cost, expected: Any) -> str:
    """Of a network's gradient; nothing is known of the mistakes in others."""
    return "" if problem.origin is None else f"\n\n{diagnose(gradients, problem, expected)}"
