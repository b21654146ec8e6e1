"""Bugs of the checker itself, planted: each turns a sound check into one that rejects the correct gradient or accepts a wrong one."""

from __future__ import annotations

import catalogue_probes as probes
import jax
import numpy as np
import pytest

from checks.catalogue import bugs_for
from checks.catalogue.cost import weight_decay
from checks.catalogue.mutants import gradients
from checks.estimate import Status, max_relative_error
from checks.full_sequence import full_sequence
from checks.per_timestep import differencer, per_timestep
from checks.perturbation import cost_noise, default_step, extrapolate, noise_of_difference
from checks.problem import Problem

PROBE = probes.draw(31, "squared_error", sizes=(4, 2, 3, 2, 3), lengths=False)
KEEP = 0.8  # of a dropout mask


@pytest.fixture(scope="module")
def problem():
    return PROBE.problem


@pytest.fixture(scope="module")
def correct():
    return gradients(PROBE.case)


@pytest.fixture(scope="module")
def rounding(problem):
    return probes.tolerances(problem)


def check(problem, candidate, rounding, cost=None, restore=True):
    """The textbook loop over the entries of one weight vector, perturbed in place: does it accept the candidate?

    ``cost(vector)`` is a black box; ``restore=False`` is the planted bug. Error estimate as in `full_sequence`.
    """
    if cost is None:
        with problem.scope():
            compiled = jax.jit(lambda vector: problem.cost(problem.unflatten(vector)))
            compiled(problem.flat)

        def cost(vector):
            with problem.scope():
                return float(compiled(vector))

    step = default_step(problem.dtype)
    at_step, at_double = (_differences(cost, problem.flat.copy(), size, restore) for size in (step, 2 * step))
    value, error = extrapolate(at_step, at_double, noise_of_difference(problem, cost_noise(problem), step))
    per_array = jax.tree.leaves(problem.unflatten(error))
    allowed = [bound + tol for bound, tol in zip(per_array, rounding, strict=True)]
    return probes.excess(candidate, problem.unflatten(value), allowed) <= 1


def _differences(cost, weights, step, restore):
    result = np.empty_like(weights)
    for index, saved in enumerate(weights.copy()):
        width = step * max(1.0, abs(saved))
        weights[index] = saved + width
        above, reached = cost(weights), weights[index]
        weights[index] = saved - width
        below = cost(weights)
        result[index] = (above - below) / (reached - weights[index])
        if restore:
            weights[index] = saved
    return result


def test_the_sound_checker_accepts_the_correct_gradient_and_catches_every_bug(problem, correct, rounding):
    assert check(problem, correct, rounding)
    estimate = full_sequence(problem)
    allowed = allowed_by(estimate, rounding)
    missed = [bug for bug in bugs_for(PROBE.case) if probes.excess(gradients(PROBE.case, [bug]), estimate.value, allowed) <= 1]
    assert missed == []


def test_an_entry_that_is_not_restored_rejects_the_correct_gradient(problem, correct, rounding):
    assert not check(problem, correct, rounding, restore=False)


def dropout(seed):
    """cost(vector) with a mask on the inputs; the same in every call where a seed is given, else redrawn in each."""
    generator = np.random.default_rng(seed if seed is not None else 0)
    shape = PROBE.inputs.shape
    fixed = generator.uniform(size=shape) < KEEP
    masked = Problem.from_network(PROBE.network, PROBE.inputs, PROBE.targets, initial_state=PROBE.initial_state, wrt="all")

    def cost_of(vector, mask):
        p = masked.unflatten(vector)
        return masked.cost(type(p)(network=p.network, inputs=p.inputs * mask / KEEP, initial_state=p.initial_state))

    with masked.scope():
        compiled = jax.jit(cost_of)
        gradient = jax.jit(jax.grad(cost_of))(masked.flat, fixed)

    def cost(vector):
        mask = fixed if seed is not None else generator.uniform(size=shape) < KEEP
        with masked.scope():
            return float(compiled(vector, mask))

    return cost, masked.unflatten(np.asarray(gradient))


def test_a_random_mask_redrawn_between_passes_rejects_the_correct_gradient(problem, rounding):
    with_fixed_mask, gradient = dropout(seed=5)
    assert check(problem, gradient, rounding, cost=with_fixed_mask)
    redrawn, gradient = dropout(seed=None)
    assert not check(problem, gradient, rounding, cost=redrawn)


def test_a_state_overwritten_between_the_passes_grows_as_the_step_shrinks(problem, correct, rounding):
    """The shared reading: rejects the correct gradient, and ten times smaller a step makes it ten times larger."""
    estimate = per_timestep(problem, "shared")
    assert probes.excess(correct, estimate.value, rounding) > 1
    deltas = differencer(problem, "shared")
    coarse, fine = deltas(1e-5).value, deltas(1e-6).value
    # value(ε) = A/ε + O(1): the O(1) part is a few times the gradient itself, against A/ε of 1e5 and more
    moved = np.abs(coarse) > 0.01 * np.abs(coarse).max()
    assert moved.any()
    np.testing.assert_allclose(fine[moved] / coarse[moved], 10, rtol=0.01)


def test_float32_differences_miss_a_bug_that_float64_differences_catch(problem, correct, rounding):
    """A float32 estimate that says how little it sees accepts a small bug; one that claims more rejects the correct gradient."""
    small = gradients(PROBE.case, [weight_decay(1e-5)])
    in_double = full_sequence(problem)
    assert probes.excess(small, in_double.value, allowed_by(in_double, rounding)) > 1
    single = problem.astype(np.float32)
    in_single = full_sequence(single)
    honest = allowed_by(in_single, probes.tolerances(single))
    assert probes.excess(correct, in_single.value, honest) <= 1
    assert probes.excess(small, in_single.value, honest) <= 1
    assert probes.excess(correct, in_single.value, rounding) > 1


def test_a_step_fit_for_float64_drowns_float32_differences_in_rounding(problem, correct):
    """Rounding over the step: 800 times smaller a step, hundreds of times larger an error. The estimate says so itself."""
    single = problem.astype(np.float32)
    fit, too_small = full_sequence(single), full_sequence(single, step=default_step(np.float64))
    off = [max_relative_error(estimate.value, correct) for estimate in (fit, too_small)]
    assert off[1] > off[0] * default_step(np.float32) / default_step(np.float64) / 10
    assert probes.excess(correct, too_small.value, allowed_by(too_small, probes.tolerances(single))) <= 1


def allowed_by(estimate, rounding):
    return [error + tol for error, tol in zip(jax.tree.leaves(estimate.error_estimate), rounding, strict=True)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_that_vanishes_is_reported_and_accepts_nothing(dtype, correct, rounding):
    estimate = full_sequence(PROBE.problem.astype(dtype), step=np.finfo(dtype).eps / 8)
    assert estimate.status is Status.STEP_VANISHED
    assert probes.excess(correct, estimate.value, rounding) == np.inf
