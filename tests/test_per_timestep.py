"""Approach 2 in its five readings: what each estimates, and what it is not, on an LSTM, a vanilla RNN and a GRU.

The gradients compared with are written again here, timestep by timestep in Python, and differentiated by JAX.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from network_cases import Case, draw

import checks
import lstm
from checks.estimate import flatten, max_relative_error
from checks.per_timestep import differencer

LSTM = Case(T=4, B=3, D=2, H=5, K=3, loss="cross_entropy", targets="labels", lengths=(4, 0, 2))
GRADIENTS = ("paired", "replayed", "untied")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def vanilla_rnn() -> checks.Problem:
    """Without a batch axis; the state before step 0 is learned."""
    T, D, H = 5, 2, 3
    weights = {"x": normal(1, D, H), "h": normal(2, H, H), "b": normal(3, H), "h0": normal(4, H)}

    def step(w, h, x):
        h = jnp.tanh(x @ w["x"] + h @ w["h"] + w["b"])
        return h, h

    def loss(y, target):
        return ((y - target) ** 2).sum()

    data = {"inputs": normal(5, T, D), "targets": normal(6, T, H)}
    return checks.Problem(parameters=weights, step=step, loss=loss, initial_state=lambda w: w["h0"], reduction="sum", **data)


def gru() -> checks.Problem:
    """A batch with lengths, a readout, a state that is a dictionary."""
    T, B, D, H, K = 4, 3, 2, 5, 6
    weights = {"x": normal(1, D, 3 * H), "h": normal(2, H, 3 * H), "b": normal(3, 3 * H), "y": normal(4, H, K)}

    def step(w, state, x):
        h = state["h"]
        (x_r, x_u, x_n), (h_r, h_u, h_n) = jnp.split(x @ w["x"] + w["b"], 3, axis=-1), jnp.split(h @ w["h"], 3, axis=-1)
        reset, update = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_u + h_u)
        h = (1 - update) * jnp.tanh(x_n + reset * h_n) + update * h
        return {"h": h}, h @ w["y"]

    def loss(y, target):
        return ((y - target) ** 2).sum(axis=-1)

    data = {"inputs": normal(5, T, B, D), "targets": normal(6, T, B, K), "initial_state": {"h": normal(7, B, H)}}
    return checks.Problem(parameters=weights, step=step, loss=loss, lengths=np.array([2, 4, 0]), **data)


def unrolled(problem: checks.Problem, parameters_of_step, carried=lambda state: state):
    """The cost in a Python loop. ``parameters_of_step(t)``: those that step t uses; ``carried``: applied to each state."""
    first = parameters_of_step(0)
    state = problem.initial_state(first) if callable(problem.initial_state) else jax.tree.map(jnp.asarray, problem.initial_state)
    lengths, total, count = problem.lengths, 0.0, 0
    for t in range(problem.timesteps):
        x, target = jax.tree.map(lambda leaf, t=t: jnp.asarray(leaf)[t], (problem.inputs, problem.targets))
        state = carried(state)
        new_state, y = problem.step(parameters_of_step(t), state, x)
        losses = problem.loss(y, target)
        valid = np.ones(losses.shape, bool) if lengths is None else t < lengths
        beside = {leaf.ndim: valid.reshape(valid.shape + (1,) * (leaf.ndim - valid.ndim)) for leaf in jax.tree.leaves(state)}
        state = jax.tree.map(lambda new, old, beside=beside: jnp.where(beside[old.ndim], new, old), new_state, state)
        total, count = total + jnp.where(valid, losses, 0).sum(), count + valid.sum()
    return total / count if problem.reduction == "mean" else total


class Found(NamedTuple):
    problem: checks.Problem
    readings: dict[str, checks.Estimate]
    gradient: np.ndarray  # (P,)
    truncated: np.ndarray  # (P,)
    terms: np.ndarray  # (T, P)


@functools.cache
def everything_of(name: str) -> Found:
    problem = {"lstm": lambda: draw(LSTM, seed=2).problem(), "vanilla rnn": vanilla_rnn, "gru": gru}[name]()
    readings = {reading: checks.per_timestep(problem, reading) for reading in checks.READINGS}

    def gradients(parameters):
        copies = [parameters] * problem.timesteps
        terms = jax.grad(lambda copies: unrolled(problem, copies.__getitem__))(copies)
        return terms, jax.grad(lambda p: unrolled(problem, lambda t: p, jax.lax.stop_gradient))(parameters)

    with jax.enable_x64(True):
        terms, truncated = jax.jit(gradients)(problem.parameters)
    terms = np.stack([flatten(term) for term in terms])
    return Found(problem, readings, checks.complex_step(problem).value, flatten(truncated), terms)


@pytest.fixture(params=["lstm", "vanilla rnn", "gru"], scope="module")
def found(request) -> Found:
    return everything_of(request.param)


def beyond(estimate: checks.Estimate, expected: np.ndarray) -> float:
    """The largest error in units of what the estimate claims, rounding of ``expected`` itself allowed."""
    claimed = flatten(estimate.error_estimate) + 1e-15 * np.abs(expected).max()
    return float((np.abs(flatten(estimate.value) - expected) / claimed).max())


@pytest.mark.parametrize("reading", GRADIENTS)
def test_three_readings_equal_the_gradient_within_their_error_estimate(found, reading):
    expected, estimate = flatten(found.gradient), found.readings[reading]
    assert beyond(estimate, expected) <= 1
    assert flatten(estimate.error_estimate).max() <= 1e-8 * np.abs(expected).max()


def test_frozen_equals_the_gradient_truncated_to_one_step(found):
    frozen, full = found.readings["frozen"], flatten(found.gradient)
    assert beyond(frozen, found.truncated) <= 1
    assert np.abs(found.truncated - full).max() >= 1e-2 * np.abs(full).max()  # and that is something else
    assert beyond(frozen, full) > 1e3


def test_shared_is_nothing_near_the_gradient_and_claims_nothing(found):
    shared = found.readings["shared"]
    assert max_relative_error(shared.value, found.gradient) > 10
    assert np.isnan(flatten(shared.error_estimate)).all()


def test_untied_terms_are_each_timesteps_own_contribution(found):
    measured = checks.untied_terms(found.problem)
    terms = np.stack([flatten(jax.tree.map(lambda leaf, t=t: leaf[t], measured)) for t in range(found.problem.timesteps)])
    claimed = flatten(found.readings["untied"].error_estimate)  # of their sum: differences of T more numbers
    largest = np.abs(found.terms).max()
    assert np.all(np.abs(terms - found.terms) <= claimed + 1e-15 * largest)
    assert np.abs(found.terms.sum(axis=0) - flatten(found.gradient)).max() <= 1e-13 * largest
    # Later steps than the longest sequence aside, each has its say, and they differ
    assert all(np.abs(found.terms[t] - found.terms[t - 1]).max() > 1e-3 * largest for t in range(1, found.problem.timesteps))


def test_untied_terms_equal_the_hand_derived_ones():
    """x_tᵀ δ_t, h_{t-1}ᵀ δ_t and the sum of δ_t over the batch, for each t, from the backward pass's own δ."""
    drawn = draw(LSTM, seed=2)
    problem = drawn.problem(wrt="network")
    measured = checks.untied_terms(problem)
    layer, readout, state = drawn.network.layers[0], drawn.network.readout, drawn.options["initial_state"][0]
    lengths = drawn.options["lengths"]
    outputs, _, residuals = lstm.forward(layer, drawn.inputs, state, lengths=lengths)
    valid = (np.arange(LSTM.T)[:, None] < lengths)[:, :, None]
    with jax.enable_x64(True):
        y = jnp.asarray(outputs) @ readout.w + readout.b
        d_y = np.asarray(lstm.LOSSES[LSTM.loss].backward(y, drawn.targets)) * valid / valid.sum()
    _, internals = lstm.backward_with_internals(layer, residuals, d_y @ readout.w.T)
    delta = np.asarray(internals.d_z)
    h_previous = np.concatenate([state.h[None], np.asarray(outputs)[:-1]])
    by_hand = lstm.Network(
        layers=(
            lstm.Layer(
                w_x=np.einsum("tbd,tbz->tdz", drawn.inputs, delta),
                w_h=np.einsum("tbh,tbz->thz", h_previous, delta),
                b=delta.sum(axis=1),
            ),
        ),
        readout=lstm.Readout(w=np.einsum("tbh,tbk->thk", outputs, d_y), b=d_y.sum(axis=1)),
    )
    largest = np.abs(flatten(by_hand)).max()
    for ours, theirs in zip(jax.tree.leaves(measured), jax.tree.leaves(by_hand), strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 1e-8 * largest  # the differences' accuracy, see the test above


def test_shared_grows_like_one_over_the_step():
    """The sum of deltas is a + b s + O(s²) at step s, so that divided by 2 s it falls by a decade per decade of s.

    From s = 1e-3 down the slope on a log-log plot is -1 up to about s |b| / |a|, allowed to be 10 s: |b| is a derivative of
    the network's, |a| a difference between a loss one step early and the same loss. A gradient's slope is 0.
    """
    problem = everything_of("vanilla rnn").problem
    steps = 10.0 ** np.arange(-7, -2.5)
    assert np.all(np.abs(slopes(problem, "shared", steps) + 1) <= 10 * steps[1:])
    assert np.all(np.abs(slopes(problem, "paired", steps)) <= 10 * steps[1:])


def slopes(problem, reading, steps):
    differences = differencer(problem, reading)
    sizes = np.array([np.abs(differences(step).value).max() for step in steps])
    return np.diff(np.log10(sizes)) / np.diff(np.log10(steps))
