"""`Estimate.cell_steps` is what really runs: every step of the problem counted by a callback inside it."""

from __future__ import annotations

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checks

T, P = 5, 3
NOISE = 32  # evaluations of the whole cost, by which the difference estimators measure its rounding
COUNTS: collections.Counter[str] = collections.Counter()


def count(what, _):
    COUNTS[what] += 1


def counted(what, depends_on):
    """Counts once for each perturbed copy, under vmap too, since ``depends_on`` differs from copy to copy."""
    jax.debug.callback(lambda value: count(what, value), jax.lax.stop_gradient(depends_on))


@jax.custom_jvp
def tangents_counted(state):
    return state


@tangents_counted.defjvp
def _push(primals, tangents):
    counted("tangents", tangents[0])
    return primals[0], tangents[0]


def step(w, state, x):
    new_state = jnp.tanh(w[0] * state + w[1] * x + w[2])
    counted("steps", (new_state + w.sum()).real)
    return new_state, new_state


def problem(step=step):
    generator = np.random.default_rng(8)
    inputs, targets, state = generator.normal(size=T), generator.normal(size=T), generator.normal()
    weights = generator.normal(size=P)
    return checks.Problem(
        parameters=weights,
        step=step,
        loss=lambda y, target: (y - target) ** 2,
        inputs=inputs,
        targets=targets,
        initial_state=np.asarray(state),
    )


def count_of(estimator, what="steps"):
    COUNTS.clear()
    estimate = estimator()
    jax.effects_barrier()
    return COUNTS[what], estimate.cell_steps


@pytest.mark.parametrize(
    ("reading", "formula"),
    [
        ("shared", 4 * T * P),
        ("paired", 4 * T * P + NOISE * T),
        ("frozen", 4 * T * P + T + NOISE * T),
        ("replayed", 2 * T * (T + 1) * P + NOISE * T),
        ("untied", 2 * T * (T + 1) * P + T + NOISE * T),
    ],
)
def test_of_each_reading(reading, formula):
    ran, stated = count_of(lambda: checks.per_timestep(problem(), reading))
    assert (ran, stated) == (formula, formula)


def test_of_full_sequence_differences():
    ran, stated = count_of(lambda: checks.full_sequence(problem()))
    assert ran == stated == 4 * T * P + NOISE * T


def test_what_is_measured_once_is_counted_with_each_estimate_that_needs_it():
    """A sibling's measurement of the same problem's noise is reused; the count says what the estimate takes by itself."""
    shared = problem()
    first, second = (count_of(lambda: checks.full_sequence(shared)) for _ in range(2))
    assert second[1] == first[1]
    assert second[0] == first[0] - NOISE * T


def test_of_the_complex_step_and_autodiff():
    assert count_of(lambda: checks.complex_step(problem())) == (T * P, T * P)
    assert count_of(lambda: checks.autodiff(problem())) == (T, T)


def test_of_forward_mode():
    """One tangent per weight through every step; JAX computes the steps themselves once."""

    def tangents_too(w, state, x):
        return step(w, tangents_counted(state), x)

    assert count_of(lambda: checks.autodiff(problem(tangents_too), mode="forward"), "tangents") == (T * P, T * P)
    assert COUNTS["steps"] == T


def test_of_a_black_box():
    """Evaluations: four for each weight, 32 for the noise, two to see that it repeats itself."""
    calls = []

    def loss(w):
        calls.append(w)
        return float(np.sin(w).sum())

    report = checks.check_function(loss, np.cos, np.array([0.3, -1.2, 2.0]))
    assert report.verdict is checks.Verdict.AGREES
    # And one call with tracers, by which a black box is recognised
    assert len(calls) == 4 * P + NOISE + 2 + 1


def test_chunks_that_do_not_divide_the_weights_repeat_the_last_one():
    """So that one program is compiled: with room for two perturbed copies, the third weight's chunk has two; and they count."""
    per_copy = 2 * (P + 10) * 8
    ran, stated = count_of(lambda: checks.full_sequence(problem(), memory=2 * per_copy))
    assert ran == stated == 4 * T * 4 + NOISE * T
