"""The three-way check: hand-written gradient, differences, automatic differentiation; and both approaches.

The reference is the complex step, in float64 whatever the candidate's precision: it sees only the forward cost and
has no cancellation. Where the cost is not analytic, automatic differentiation stands in, and the report says so. A
reference counts only if full-sequence differences do not contradict it, and where the two differ, only if they tell which is right.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from checks.arguments import described
from checks.autodiff import autodiff
from checks.compare import Comparison, leaves_like
from checks.complex_step import complex_step
from checks.estimate import Estimate, Status, max_relative_error
from checks.evidence import Evidence
from checks.full_sequence import full_sequence
from checks.per_timestep import READINGS, per_timestep
from checks.problem import Cost, Problem, only_cost
from checks.report import Report, Row
from checks.verdict import Verdict
from checks.within_rounding import within_rounding
from lstm import BadInput

WHY = {
    "hand_bptt": "derived by hand",
    "gradients": "yours",
    "autodiff": "jax.grad of the forward",
    "full_sequence": "approach 1: whole run",
    "complex_step": "no subtraction, no noise",
    "per_timestep.frozen": "BPTT cut to one timestep",
    "per_timestep.shared": "no derivative: ~ 1/step",
    "per_timestep.paired": "approach 1, reordered",
    "per_timestep.replayed": "re-runs steps 0..N",
    "per_timestep.untied": "sum of each step's share",
}


NOT_ANALYTIC = "the cost is not analytic, so the complex step does not apply"
INDISTINCT = "no reference: the complex step and jax.grad differ, by less than differences of the cost can tell"
NONE_AGREES = "no reference: neither the complex step nor jax.grad agrees with differences of the cost; is it differentiable here?"


@dataclasses.dataclass(frozen=True)
class Reference:
    """The gradient that the others are measured against, float64."""

    name: str
    value: Any
    autodiff: Any  # what the reference itself is measured against in the table
    confirmed: bool
    note: str


def cross_validate(
    problem: Cost,
    *,
    gradients: Any = None,
    readings: tuple[str, ...] = READINGS,
    candidate: str = "hand_bptt",
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Compare a hand-written gradient with every estimate of the same gradient.

    Args:
        problem: any cost; the five readings of approach 2 need a `Problem`, which has timesteps.
        gradients: the gradient under test, a pytree like the parameters; default what ``problem.gradients`` computes.
        readings: which readings of approach 2 to run; ``()`` for none. ``replayed`` and ``untied`` take O(T²) steps.
        candidate: the name that the report gives to the gradient under test.
        progress: called with the number of estimates finished and the number in all.

    Returns:
        A `Report`; print it. Its verdict says whether everything that should agree does.
    """
    only_cost(problem)
    if not isinstance(readings, (tuple, list)):
        raise BadInput(f"readings: expected a tuple of names; got {described(readings)}")
    if gradients is None and problem.gradients is not None:
        gradients = gradients_of(problem, problem.gradients)
        leaves_like(problem, gradients)  # a function that returns nothing gave no gradient to compare
    told = progress or (lambda finished, total: None)
    told(0, 3 + len(readings))
    estimates = three_ways(problem)
    reference = choose_reference(problem, estimates)
    told(3, 3 + len(readings))
    if isinstance(problem, Problem):
        for number, reading in enumerate(readings, 4):
            estimates.append(per_timestep(problem, reading))
            told(number, 3 + len(readings))
    elif tuple(readings) not in ((), READINGS):
        raise BadInput("readings: expected a checks.Problem, which has a step; a plain function of the weights has no timesteps")
    rows = [] if gradients is None else [_row_of_candidate(problem, candidate, gradients, reference)]
    rows += [_row(problem, estimate, reference) for estimate in estimates]
    verdict = Verdict.of_all(row.verdict for row in rows if row.expected_to_agree)
    if not reference.confirmed:
        verdict = Verdict.INCONCLUSIVE
    evidence = Evidence(problem, gradients, reference.value)
    return Report(
        problem=describe(problem), rows=tuple(rows), reference=reference.name, verdict=verdict, note=reference.note, evidence=evidence
    )


def gradients_of(problem: Cost, gradients: Any) -> Any:
    """What a user's function gives, called in the weights' precision and on weights of its own; or the gradient itself."""
    if not callable(gradients):
        return gradients
    with problem.scope():
        return gradients(problem.unflatten(problem.flat.copy()))


def three_ways(problem: Cost) -> list[Estimate]:
    """Automatic differentiation, differences, and the complex step where complex numbers can pass at all."""
    estimates = [autodiff(problem), full_sequence(problem)]
    with contextlib.suppress(TypeError, ValueError, NotImplementedError):  # JAX's "not defined for complex numbers"
        estimates.append(complex_step(problem))
    return estimates


def choose_reference(problem: Cost, estimates: list[Estimate] | None = None) -> Reference:
    """The float64 complex step, or where the cost is not analytic autodiff, confirmed by differences; once for each problem.

    ``estimates`` are reused if they are those of a float64 problem.
    """
    double = problem.astype(np.float64)
    if "reference" not in double.memo:
        if estimates is None or problem is not double:
            estimates = three_ways(double)
        double.memo["reference"] = _choose(double, estimates)
    return double.memo["reference"]


def _choose(problem: Cost, estimates: list[Estimate]) -> Reference:
    by_name = {estimate.name: estimate for estimate in estimates}
    differences = by_name["full_sequence"]
    verdicts: dict[str, Verdict] = {}
    usable = [name for name in ("complex_step", "autodiff") if name in by_name and by_name[name].status is Status.COMPUTED]
    for name in usable:
        estimate = by_name[name]
        verdicts[name] = Verdict.of_all(
            one.verdict for one in within_rounding(problem, differences.value, estimate.value, error=differences.error_estimate, rounded=1)
        )
    by_autodiff = by_name["autodiff"].value
    if len(usable) == 2 and _same(problem, by_name["complex_step"].value, by_autodiff):
        # Two that share nothing but the forward pass: enough, unless differences contradict them
        if Verdict.DISAGREES not in verdicts.values():
            return Reference("complex_step", by_name["complex_step"].value, by_autodiff, True, "")
    elif len(usable) == 2:
        left = [name for name in usable if verdicts[name] is not Verdict.DISAGREES]
        if len(left) == 1:  # differences tell the two apart
            return Reference(left[0], by_name[left[0]].value, by_autodiff, True, "" if left == ["complex_step"] else NOT_ANALYTIC)
        if len(left) == 2:
            return Reference("autodiff", by_autodiff, by_autodiff, False, INDISTINCT)
    elif usable and verdicts[usable[0]] is Verdict.AGREES:
        return Reference(usable[0], by_name[usable[0]].value, by_autodiff, True, NOT_ANALYTIC)
    return Reference("autodiff", by_autodiff, by_autodiff, False, NONE_AGREES)


def _same(problem: Cost, one: Any, other: Any) -> bool:
    """To rounding."""
    return Verdict.of_all(each.verdict for each in within_rounding(problem, one, other)) is not Verdict.DISAGREES


def coarser(problem: Cost, gradients: Any) -> np.dtype:
    """The precision to judge a gradient in: its own, or the problem's if that is lower."""
    dtypes = (np.dtype(leaf.dtype) for leaf in leaves_like(problem, gradients))
    return max((problem.dtype, *dtypes), key=lambda dtype: np.finfo(dtype).eps)


def _row_of_candidate(problem: Cost, name: str, gradients: Any, reference: Reference) -> Row:
    comparisons = within_rounding(problem, gradients, reference.value, dtype=coarser(problem, gradients))
    held = (problem.steps_per_cost, problem.steps_per_cost)
    return _make_row(problem, name, gradients, reference.value, reference, comparisons, held)


def _row(problem: Cost, estimate: Estimate, reference: Reference) -> Row:
    against = reference.value
    if estimate.name == reference.name == "complex_step" and problem.dtype == np.float64:
        against = reference.autodiff
    comparisons = within_rounding(problem, estimate.value, against, error=estimate.error_estimate)
    held = (estimate.cell_steps, estimate.states_held)
    return _make_row(problem, estimate.name, estimate.value, against, reference, comparisons, held)


def _make_row(
    problem: Cost, name: str, value: Any, against: Any, reference: Reference, comparisons: list[Comparison], held: tuple[int, int]
) -> Row:
    return Row(
        name=name,
        max_relative_error=max_relative_error(value, against),
        cell_steps=held[0],
        states_held=held[1],
        verdict=Verdict.of_all(c.verdict for c in comparisons),
        expected_to_agree=expected_to_agree(problem, name, reference),
        says=WHY.get(name, "yours"),
        comparisons=tuple(comparisons),
    )


def expected_to_agree(problem: Cost, name: str, reference: Reference) -> bool:
    """``frozen`` is the gradient only where no sequence is longer than one step; ``shared`` never is."""
    if name == "complex_step":
        return reference.name == "complex_step"  # else the cost is not analytic
    if name == "per_timestep.shared":
        return False
    if name == "per_timestep.frozen" and isinstance(problem, Problem):
        longest = problem.timesteps if problem.lengths is None else int(np.max(problem.lengths))
        return longest == 1 and not callable(problem.initial_state)  # which it holds fixed, parameters or not
    return True


def describe(problem: Cost) -> dict[str, Any]:
    """The sizes that a report's first lines give."""
    described: dict[str, Any] = {"parameters": problem.size, "dtype": str(problem.dtype)}
    if isinstance(problem, Problem):
        described = {"T": problem.timesteps, **described, "reduction": problem.reduction}
    return described
