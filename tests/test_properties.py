"""Hypothesis draws values, saturated gates and vanishing ones at a few shapes, T = 1 among them: hand BPTT against autodiff.

What rounding allows is the part of `checks.rounding_tolerance` that counts roundings relative to what is added up, and this
test's own measure of the rest, which owes nothing to `checks.rounding`: where a gate saturates, its derivative a (1 - a) is
rounded relative to 1, not to itself; so is softmax(y) less the target; and where pre-activations are large, so is their
rounding. How far such roundings reach is measured: every derivative and every parameter of an LSTM written again here is moved
at random by about TAU, and the gradient's change divided by TAU.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from network_cases import Case, draw

import checks
import lstm
from checks import tolerance
from checks.estimate import flatten

CASES = (
    Case(T=1, B=2, D=3, H=1, K=4),
    Case(T=4, B=1, D=2, H=3, K=None, reduction="sum"),
    Case(T=3, B=4, D=1, H=2, K=5, loss="cross_entropy", targets="labels", lengths=(3, 0, 1, 2)),
)
TAU = 1e-7
DRAWS = 8
ROUNDINGS = 16  # of one derivative and of what it multiplies, at most: see checks.tolerance.OTHER_OPERATIONS
SCALES = (1e-6, 0.1, 1.0, 50.0)  # of an array's entries; 50 saturates every gate


@jax.custom_vjp
def disturbed(value, slope, z, noise):
    """``value``, whose derivative with respect to ``z`` is ``slope`` and then some."""
    return value


def _forward(value, slope, z, noise):
    return value, slope + noise


def _backward(slope, d_value):
    return None, None, d_value * slope, None


disturbed.defvjp(_forward, _backward)


def sigmoid(z, noise):
    a = jax.nn.sigmoid(z)
    return disturbed(a, a * (1 - a), z, noise)


def tanh(z, noise):
    a = jnp.tanh(z)
    return disturbed(a, 1 - a * a, z, noise)


class Compiled(NamedTuple):
    """One shape's programs; targets, lengths and options are fixed, the network, the inputs and the state are arguments."""

    problem: checks.Problem
    autodiff: Any  # parameters -> gradient
    magnitudes: Any  # parameters -> Σ_t |timestep t's contribution|
    reach: Any  # parameters, key -> how far roundings of derivatives and parameters reach, per unit


@functools.cache
def compiled(case: Case) -> Compiled:
    problem = draw(case, seed=9).problem()
    lengths = np.full(case.B, case.T) if case.lengths is None else np.array(case.lengths)

    def cost(parameters, noises):
        layer, readout = parameters.network.layers[0], parameters.network.readout

        def step(state, at_t):
            (h, c), (t, x, target, noise, of_loss) = state, at_t
            z = jnp.split(x @ layer.w_x + h @ layer.w_h + layer.b, 4, axis=-1)
            i, f, o = (sigmoid(z[k], noise[k]) for k in (0, 1, 3))
            new_c = f * c + i * tanh(z[2], noise[2])
            new_h = o * tanh(new_c, noise[4])
            y = new_h if readout is None else new_h @ readout.w + readout.b
            losses = lstm.LOSSES[case.loss].forward(y, target)
            losses += (of_loss * (y - jax.lax.stop_gradient(y))).sum(axis=-1)  # 0, with a gradient
            valid = t < lengths
            state = tuple(jnp.where(valid[:, None], new, old) for new, old in ((new_h, h), (new_c, c)))
            return state, jnp.where(valid, losses, 0).sum()

        start = (parameters.initial_state[0].h, parameters.initial_state[0].c)
        total = jax.lax.scan(step, start, (np.arange(case.T), parameters.inputs, problem.targets, *noises))[1].sum()
        return total / (lengths.sum() if case.reduction == "mean" else 1)

    def gradient(parameters, key, tau):
        keys = jax.random.split(key, 3)
        moves = problem.unflatten(1 + tau * jax.random.normal(keys[0], (problem.size,)))
        noise = tau * jax.random.normal(keys[1], (case.T, 5, case.B, case.H))
        of_loss = tau * jax.random.normal(keys[2], (case.T, case.B, case.K or case.H))
        return jax.grad(cost)(jax.tree.map(jnp.multiply, parameters, moves), (noise, of_loss))

    def reach(parameters, key):
        keys, sizes = jax.random.split(key, 1 + DRAWS), TAU * (np.arange(1 + DRAWS) > 0)
        gradients = jax.vmap(functools.partial(gradient, parameters))(keys, sizes)  # the first one undisturbed
        return jax.tree.map(lambda many: jnp.sqrt(((many[1:] - many[0]) ** 2).mean(axis=0)) / TAU, gradients)

    def magnitudes(parameters):
        return jax.tree.map(lambda terms: jnp.abs(terms).sum(axis=0), tolerance._untied_terms(problem, parameters))

    return Compiled(problem, jax.jit(jax.grad(problem.cost)), jax.jit(magnitudes), jax.jit(reach))


def furthest(case: Case, flat: np.ndarray, fault: float = 0.0) -> float:
    """The largest difference of the two gradients, in units of what rounding allows. ``fault``: see the last test."""
    problem, autodiff, magnitudes, reach = compiled(case)
    parameters = problem.unflatten(flat)
    with problem.scope():
        trees = (autodiff(parameters), magnitudes(parameters), reach(parameters, jax.random.key(0)))
    ours, theirs, added, reached = (jax.tree.leaves(jax.tree.map(np.asarray, tree)) for tree in (problem.gradients(parameters), *trees))
    unit_roundoff = np.finfo(np.float64).eps / 2
    relative = 2 * tolerance.LAMBDA * np.sqrt(tolerance.roundings(problem)) * unit_roundoff
    absolute = 2 * tolerance.LAMBDA * np.sqrt(ROUNDINGS) * unit_roundoff
    ratios = []
    for hand, expected, sizes, reaches in zip(ours, theirs, added, reached, strict=True):
        allowed = relative * sizes.max() + absolute * reaches.max() + np.finfo(np.float64).tiny
        ratios.append(np.abs(hand * (1 + fault) - expected).max() / allowed)
    return float(max(ratios))  # NaN, where a gradient is, fails every comparison


@st.composite
def parameters(draw_from, case: Case) -> np.ndarray:
    """Every entry of the network, the inputs and the initial state, each array with a scale of its own."""
    numbers = st.floats(-1, 1, allow_subnormal=False, width=32)
    flat = draw_from(hnp.arrays(np.float64, compiled(case).problem.size, elements=numbers))
    scaled = [draw_from(st.sampled_from(SCALES)) * leaf for leaf in jax.tree.leaves(compiled(case).problem.unflatten(flat))]
    return np.concatenate([leaf.ravel() for leaf in scaled])


@pytest.mark.parametrize("case", [CASES[1], *(pytest.param(case, marks=pytest.mark.long) for case in CASES[::2])], ids=str)
def test_hand_bptt_equals_autodiff_at_whatever_hypothesis_draws(case):
    @settings(deadline=None, max_examples=40, derandomize=True, database=None)  # the first example of a shape compiles
    @given(parameters(case))
    def property_holds(flat):
        assert furthest(case, flat) <= 1

    property_holds()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("case", [CASES[1], *(pytest.param(case, marks=pytest.mark.long) for case in CASES[::2])], ids=str)
def test_hand_bptt_equals_autodiff_at_generic_points(case, scale):
    """Hypothesis likes zeros and ones; these points have neither."""
    for seed in range(10):
        assert furthest(case, scaled_point(case, seed, scale)) <= 1


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_gradient_off_by_a_millionth_is_seen_there(case, scale):
    """What rounding is allowed hides no bug, saturated gates or not."""
    assert furthest(case, scaled_point(case, 0, scale), fault=1e-6) > 1


def scaled_point(case: Case, seed: int, scale: float) -> np.ndarray:
    return flatten(draw(case, seed, scale=scale).problem().parameters)
