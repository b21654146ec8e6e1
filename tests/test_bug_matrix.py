"""Every bug of the catalogue against every estimator, on one generic random probe: which estimator catches which bug.

An estimator catches a candidate whose gradient differs from the estimate, in any entry, by more than the estimate's own error
and what rounding allows. The estimates are computed once for the module.
"""

from __future__ import annotations

import catalogue_probes as probes
import jax
import numpy as np
import pytest

from checks.autodiff import autodiff
from checks.catalogue import BUGS, bugs_for
from checks.catalogue.mutants import gradients
from checks.complex_step import complex_step
from checks.estimate import Status
from checks.full_sequence import full_sequence
from checks.per_timestep import per_timestep

ESTIMATORS = {
    "autodiff": autodiff,
    "complex_step": complex_step,
    "full_sequence": full_sequence,
    "per_timestep.paired": lambda problem: per_timestep(problem, "paired"),
    "per_timestep.replayed": lambda problem: per_timestep(problem, "replayed"),
    "per_timestep.untied": lambda problem: per_timestep(problem, "untied"),
    "per_timestep.frozen": lambda problem: per_timestep(problem, "frozen"),
    "per_timestep.shared": lambda problem: per_timestep(problem, "shared"),
}
# What each estimator accepts, of the correct gradient and all the bugs. The frozen reading estimates backpropagation truncated to
# one step, so it accepts that bug and rejects the correct gradient; the shared reading estimates nothing.
ACCEPTS = {name: {"correct"} for name in ESTIMATORS} | {"per_timestep.frozen": {"no-carries"}, "per_timestep.shared": set()}
THREE_WAYS = ("full_sequence", "autodiff", "per_timestep.paired", "per_timestep.replayed", "per_timestep.untied")

PROBE = probes.draw(21)  # cross-entropy, T = 7, B = 3, D = 5, H = 4, K = 6, lengths 7, 5, 3
# The bugs that no cost can have (upstream gradients on the final state), or that only fit where D = H
UPSTREAM_PROBE = probes.draw(22, "linear", sizes=(6, 3, 4, 4, 0))


@pytest.fixture(
    scope="module",
    params=[(PROBE, list(ESTIMATORS)), (UPSTREAM_PROBE, ["autodiff", "full_sequence", "per_timestep.paired", "per_timestep.frozen"])],
    ids=["cost", "upstream"],
)
def matrix(request):
    """estimator -> candidate ("correct" or a bug's name) -> is it caught?"""
    probe, estimators = request.param
    case, problem = probe.case, probe.problem
    rounding = probes.tolerances(problem)
    candidates = {"correct": gradients(case)} | {bug.name: gradients(case, [bug]) for bug in bugs_for(case)}
    caught = {}
    for name in estimators:
        estimate = ESTIMATORS[name](problem)
        assert estimate.status is Status.COMPUTED
        caught[name] = {
            candidate: not accepted(value, estimate, rounding, initial_state=name != "per_timestep.frozen")
            for candidate, value in candidates.items()
        }
    return caught


def accepted(candidate, estimate, rounding, initial_state=True):
    """Within the estimate's error (none where it makes no claim) plus rounding, everywhere.

    ``initial_state=False`` leaves out its two arrays, the last of the gradient: the frozen reading holds the state before each
    step fixed, the initial one too, and says nothing of them.
    """
    kept = slice(None) if initial_state else slice(-2)
    errors = [np.nan_to_num(np.asarray(error, np.float64), nan=0.0) for error in jax.tree.leaves(estimate.error_estimate)]
    allowed = [error + tol for error, tol in zip(errors, rounding, strict=True)]
    return probes.excess(jax.tree.leaves(candidate)[kept], jax.tree.leaves(estimate.value)[kept], allowed[kept]) <= 1


def test_each_estimator_accepts_what_it_estimates_and_catches_all_else(matrix):
    accepts = {estimator: {name for name, caught in row.items() if not caught} for estimator, row in matrix.items()}
    assert accepts == {estimator: ACCEPTS[estimator] for estimator in matrix}


def test_every_bug_is_caught_by_one_of_the_three_ways(matrix):
    missed = [bug for bug in matrix["autodiff"] if not any(matrix[way][bug] for way in THREE_WAYS if way in matrix)]
    assert missed == ["correct"]


def test_frozen_accepts_truncation_to_one_step_and_rejects_correct_backpropagation(matrix):
    assert not matrix["per_timestep.frozen"]["no-carries"]
    assert matrix["per_timestep.frozen"]["correct"]


def test_the_two_probes_reach_every_bug():
    reached = {bug.name for probe in (PROBE, UPSTREAM_PROBE) for bug in bugs_for(probe.case)}
    assert {bug.name for bug in BUGS if bug.kind(PROBE.case)} <= reached


def test_frozen_and_bptt_agree_on_one_step():
    """Where T = 1 there is nothing to truncate, and the same reading accepts the correct gradient."""
    probe = probes.draw(23, sizes=(1, 3, 5, 4, 6))
    problem = probe.problem
    estimate = per_timestep(problem, "frozen")
    assert accepted(gradients(probe.case), estimate, probes.tolerances(problem), initial_state=False)
