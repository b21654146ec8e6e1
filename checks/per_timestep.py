"""Approach 2 in its five readings: perturb, run *one* timestep, keep the delta, sum the deltas over timesteps.

"Run step N" does not say where the state before step N comes from; each reading is one answer. Three of
them compute the gradient, one a truncated gradient, and one nothing that converges: docs/derivation.md proves which.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checks.arguments import described
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
from checks.problem import Cost, Problem
from lstm import BadInput

READINGS = ("frozen", "shared", "paired", "replayed", "untied")


def per_timestep(problem: Problem, reading: str, *, step: float | None = None, memory: int = DEFAULT_MEMORY) -> Estimate:
    """Approach 2 in one reading, at ``step`` and twice ``step``, extrapolated as in `full_sequence`.

    Cell steps: 4 T P for ``shared`` and ``paired``; 4 T P + T for ``frozen``; 2 T (T + 1) P for
    ``replayed``; 2 T (T + 1) P + T for ``untied``. All but ``shared`` take 32 T more to measure the cost's own rounding.
    """
    differences = differencer(problem, reading, memory=memory)
    step = default_step(problem.dtype) if step is None else step
    at_step, at_double = differences(step), differences(2 * step)
    cell_steps = 2 * differences.copies * _steps_per_weight(reading, problem.timesteps) + _steps_of_run(reading, problem.timesteps)
    value, error = at_step.value, None
    if reading != "shared":  # which is not a difference quotient of anything: no series in the step, no claim
        noise = noise_of_difference(problem, cost_noise(problem) * _noisier(reading, problem.timesteps), step)
        value, error = extrapolate(at_step.value, at_double.value, noise)
        cell_steps += NOISE_SAMPLES * problem.timesteps
    return Estimate.from_flat(
        f"per_timestep.{reading}",
        problem,
        value,
        error,
        cell_steps=cell_steps,
        states_held={"frozen": problem.timesteps, "untied": problem.timesteps, "paired": 2}.get(reading, 1),
        status=Status.STEP_VANISHED if at_step.vanished else Status.COMPUTED,
    )


def untied_terms(problem: Problem, *, step: float | None = None, memory: int = DEFAULT_MEMORY) -> Any:
    """Each timestep's own contribution to the gradient: a pytree like the parameters with T as a new first axis."""
    problem = _only_problem(problem)
    step = default_step(problem.dtype) if step is None else step
    unperturbed = (problem.parameters, _unperturbed_states(problem))
    differences = Differencer(problem, _untied_deltas(problem), unperturbed, memory)
    at_step, at_double = differences(step).value, differences(2 * step).value  # (P, T) each
    terms = extrapolate(at_step, at_double, 0.0)[0]
    per_step = [problem.unflatten(terms[:, t]) for t in range(problem.timesteps)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *per_step)


def differencer(problem: Cost, reading: str, *, memory: int = DEFAULT_MEMORY) -> Differencer:
    """The summed deltas of one reading for every weight, ready for any step size; compiled once for each problem."""
    if not isinstance(reading, str) or reading not in READINGS:
        raise BadInput(f"reading: expected one of {', '.join(READINGS)}; got {described(reading)}")
    problem = _only_problem(problem)
    key = (reading, memory)
    if key not in problem.memo:
        problem.memo[key] = Differencer(problem, _DELTAS[reading](problem), _constants(problem, reading), memory)
    return problem.memo[key]


def _constants(problem: Problem, reading: str) -> Any:
    """What the passes of a reading take from the unperturbed run."""
    if reading == "untied":
        return problem.parameters, _unperturbed_states(problem)
    return _unperturbed_states(problem) if reading == "frozen" else None


def _only_problem(problem: Any) -> Problem:
    if not isinstance(problem, Problem):
        raise BadInput("problem: expected a checks.Problem, which has a step; a plain function of the weights has no timesteps")
    return problem


def _frozen(problem: Problem) -> Any:
    """Step N starts from the unperturbed run's state, on both sides."""

    def delta(plus, minus, states):
        def at(t):
            state = jax.tree.map(lambda leaf: leaf[t], states)
            return problem.advance(plus, state, t)[1] - problem.advance(minus, state, t)[1]

        return _sum_over_time(problem, at)

    return delta


def _shared(problem: Problem) -> Any:
    """One mutable state: the + pass advances it, then the - pass runs from where the + pass left it."""

    def delta(plus, minus, _):
        def body(carry, t):
            state, total = carry
            state, above = problem.advance(plus, state, t)
            state, below = problem.advance(minus, state, t)
            return (state, total + (above - below)), None

        return _last(problem, body, problem.start(plus))

    return delta


def _paired(problem: Problem) -> Any:
    """The + pass and the - pass each carry their own state: approach 1, with the subtraction moved inside the sum."""

    def delta(plus, minus, _):
        def body(carry, t):
            (state_above, state_below), total = carry
            state_above, above = problem.advance(plus, state_above, t)
            state_below, below = problem.advance(minus, state_below, t)
            return ((state_above, state_below), total + (above - below)), None

        return _last(problem, body, (problem.start(plus), problem.start(minus)))

    return delta


def _replayed(problem: Problem) -> Any:
    """For each N, steps 0 … N run again from the start, perturbed; only step N's loss is looked at."""

    def delta(plus, minus, _):
        def last_contribution(parameters, end):
            def body(t, carry):
                return problem.advance(parameters, carry[0], t)

            return jax.lax.fori_loop(0, end + 1, body, (problem.start(parameters), jnp.zeros((), problem.dtype)))[1]

        return _sum_over_time(problem, lambda t: last_contribution(plus, t) - last_contribution(minus, t))

    return delta


def _untied_deltas(problem: Problem) -> Any:
    """For each N, only step N's copy of the weight moves, and the sequence runs on to its end: (T,) deltas.

    The initial state, where it is itself a parameter, belongs to step 0.
    """

    def delta(plus, minus, unperturbed):
        parameters, states = unperturbed

        def cost_from(moved, t):
            before = jax.tree.map(lambda leaf: leaf[t], states)
            start = jax.tree.map(lambda ours, stored: jnp.where(t == 0, ours, stored), problem.start(moved), before)
            state, contribution = problem.advance(moved, start, t)

            def body(later, carry):
                state, total = carry
                state, contribution = problem.advance(parameters, state, later)
                return state, total + contribution

            return jax.lax.fori_loop(t + 1, problem.timesteps, body, (state, contribution))[1]

        return jax.lax.map(lambda t: cost_from(plus, t) - cost_from(minus, t), jnp.arange(problem.timesteps))

    return delta


def _untied(problem: Problem) -> Any:
    of_each_step = _untied_deltas(problem)
    return lambda plus, minus, unperturbed: of_each_step(plus, minus, unperturbed).sum()


_DELTAS = {"frozen": _frozen, "shared": _shared, "paired": _paired, "replayed": _replayed, "untied": _untied}


def _unperturbed_states(problem: Problem) -> Any:
    """The state before each step of the unperturbed run, T along the first axis: T cell steps, once."""


    def run(parameters):
        def body(state, t):
            return problem.advance(parameters, state, t)[0], state

        return jax.lax.scan(body, problem.start(parameters), jnp.arange(problem.timesteps))[1]

    with problem.scope():
        return jax.jit(run)(problem.parameters)


def _last(problem: Problem, body: Any, state: Any) -> Any:
    return jax.lax.scan(body, (state, jnp.zeros((), problem.dtype)), jnp.arange(problem.timesteps))[0][1]


def _sum_over_time(problem: Problem, of_step: Any) -> Any:
    return _last(problem, lambda carry, t: ((carry[0], carry[1] + of_step(t)), None), ())


def _steps_per_weight(reading: str, timesteps: int) -> int:
    """At one step size, both passes."""
    return timesteps * (timesteps + 1) if reading in ("replayed", "untied") else 2 * timesteps


def _steps_of_run(reading: str, timesteps: int) -> int:
    return timesteps if reading in ("frozen", "untied") else 0


def _noisier(reading: str, timesteps: int) -> float:
    """Rounding against approach 1's: untied differences T whole costs, whose independent errors add up like √T."""
    return float(np.sqrt(timesteps)) if reading == "untied" else 1.0
