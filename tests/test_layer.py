"""`lstm.forward`, `lstm.backward` and `lstm.layer`, against an LSTM written again in this file and differentiated by JAX."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm
from lstm import State

T, B, D, H, H2 = 5, 3, 2, 4, 6
LENGTHS = np.array([5, 2, 0])
VALID = np.arange(T)[:, None] < LENGTHS  # (T, B)
EQUAL = 1e-13  # of the largest entry


def normal(generator, *shape):
    return generator.normal(size=shape).astype(np.float32).astype(np.float64)


def draw_layer(generator, inputs, hidden):
    return lstm.Layer(
        w_x=normal(generator, inputs, 4 * hidden), w_h=normal(generator, hidden, 4 * hidden), b=normal(generator, 4 * hidden)
    )


def draw_state(generator, hidden):
    return State(h=normal(generator, B, hidden), c=normal(generator, B, hidden))


GENERATOR = np.random.default_rng(7)
LAYERS = (draw_layer(GENERATOR, D, H), draw_layer(GENERATOR, H, H2))
STATES = (draw_state(GENERATOR, H), draw_state(GENERATOR, H2))
INPUTS = normal(GENERATOR, T, B, D)
D_OUTPUTS = normal(GENERATOR, T, B, H2)
D_STATES = (draw_state(GENERATOR, H), draw_state(GENERATOR, H2))


@jax.jit
def reference(layers, inputs, states, lengths):
    """The definition, timestep by timestep in a Python loop -> outputs of the top layer, final states."""
    outputs = list(inputs)
    finals = []
    for layer, state in zip(layers, states, strict=True):
        h, c = state.h, state.c
        for t, x in enumerate(outputs):
            i, f, g, o = jnp.split(x @ layer.w_x + h @ layer.w_h + layer.b, 4, axis=-1)
            new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            new_h = jax.nn.sigmoid(o) * jnp.tanh(new_c)
            valid = (t < lengths)[:, None]
            h, c = jnp.where(valid, new_h, h), jnp.where(valid, new_c, c)
            outputs[t] = jnp.where(valid, new_h, 0)
        finals.append(State(h=h, c=c))
    return jnp.stack(outputs), tuple(finals)


@jax.jit
def reference_vjp(layers, inputs, states, lengths, upstream):
    return jax.vjp(lambda *args: reference(*args, lengths), layers, inputs, states)[1](upstream)


def in_double(function, *arguments):
    with jax.enable_x64(True):
        return jax.tree.map(np.asarray, function(*arguments))


def assert_equal(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert ours.dtype == np.float64
        assert ours.shape == theirs.shape
        assert np.abs(np.asarray(ours) - theirs).max() <= EQUAL * largest


def assert_identical(got, expected):
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


@pytest.fixture(params=[None, LENGTHS], ids=["full length", "lengths 5 2 0"], scope="module")
def lengths(request):
    return request.param


@pytest.fixture(scope="module")
def run(lengths):
    """-> outputs, final states, residuals of the two-layer stack."""
    return lstm.forward(LAYERS, INPUTS, STATES, lengths=lengths)


def full(lengths):
    return np.full(B, T) if lengths is None else lengths


def test_forward_is_the_definition(run, lengths):
    outputs, finals, _ = run
    assert_equal((outputs, finals), in_double(reference, LAYERS, INPUTS, STATES, full(lengths)))


@pytest.mark.parametrize("given", list(itertools.product([False, True], repeat=3)), ids=str)
def test_upstream_gradients_are_independent_and_each_optional(run, lengths, given):
    """On the outputs, on h_n and on c_n, of both layers: alone, in pairs, together, none."""
    on_outputs, on_h, on_c = given
    zeros = jax.tree.map(np.zeros_like, (D_OUTPUTS, D_STATES))
    d_states = tuple(State(h=d.h if on_h else None, c=d.c if on_c else None) for d in D_STATES)
    got = lstm.backward(LAYERS, run[2], D_OUTPUTS if on_outputs else None, d_states if on_h or on_c else None)
    upstream = (
        D_OUTPUTS if on_outputs else zeros[0],
        tuple(State(h=d.h if on_h else 0 * d.h, c=d.c if on_c else 0 * d.c) for d in D_STATES),
    )
    expected = in_double(reference_vjp, LAYERS, INPUTS, STATES, full(lengths), upstream)
    assert_equal((got.layers, got.inputs, got.initial_state), expected)
    assert np.any(expected[0][0].w_h) == any(given)


def test_the_upstream_gradient_of_one_layer_alone(run, lengths):
    """None for the other layer's whole state."""
    got = lstm.backward(LAYERS, run[2], None, (D_STATES[0], None))
    zero = jax.tree.map(np.zeros_like, D_STATES[1])
    upstream = (np.zeros_like(D_OUTPUTS), (D_STATES[0], zero))
    assert_equal((got.layers, got.inputs, got.initial_state), in_double(reference_vjp, LAYERS, INPUTS, STATES, full(lengths), upstream))
    assert not np.any(got.layers[1].w_h)  # the top layer is above what the cost sees
    assert np.any(got.layers[0].w_h)


def test_residuals_can_be_used_again(run):
    before = [np.array(leaf) for leaf in jax.tree.leaves(run[2])]
    first = lstm.backward(LAYERS, run[2], D_OUTPUTS)
    lstm.backward(LAYERS, run[2], 3 * D_OUTPUTS, D_STATES)
    assert_identical(lstm.backward(LAYERS, run[2], D_OUTPUTS), first)
    assert_identical(jax.tree.leaves(run[2]), before)


def cost_of(function):
    def cost(layers, inputs, states, lengths=None):
        outputs, finals = function(layers, inputs, states, lengths=lengths)
        return (outputs * D_OUTPUTS).sum() + sum((s.h * d.h + s.c * d.c).sum() for s, d in zip(finals, D_STATES, strict=True))

    return cost


def test_layer_under_grad_gives_what_backward_gives(run, lengths):
    """Compiled; the next test runs it eagerly."""
    gradient = jax.jit(jax.grad(cost_of(lstm.layer), argnums=(0, 1, 2)))
    got = in_double(gradient, LAYERS, INPUTS, STATES, lengths)
    by_hand = lstm.backward(LAYERS, run[2], D_OUTPUTS, D_STATES)
    assert_equal(got, jax.tree.map(np.asarray, (by_hand.layers, by_hand.inputs, by_hand.initial_state)))


def test_the_reverse_rule_is_the_registered_one(monkeypatch):
    """A backward pass planted in its place is what JAX then runs, whatever the forward pass computes."""
    gradient = jax.grad(cost_of(lstm.layer), argnums=1)
    honest = in_double(gradient, LAYERS, INPUTS, STATES)
    by_hand = lstm.backward(LAYERS, lstm.forward(LAYERS, INPUTS, STATES)[2], D_OUTPUTS, D_STATES)
    assert_equal(by_hand.inputs, honest)
    backward = lstm.api.stack.backward
    monkeypatch.setattr(lstm.api.stack, "backward", lambda *args, **options: jax.tree.map(lambda a: 2 * a, backward(*args, **options)))
    assert_identical(in_double(gradient, LAYERS, INPUTS, STATES), 2 * honest)


def test_layer_has_no_forward_mode():
    with jax.enable_x64(True), pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda x: lstm.layer(LAYERS, x)[0], (jnp.asarray(INPUTS),), (jnp.asarray(INPUTS),))


def test_layer_under_vmap_equals_a_loop():
    """Over layers, inputs, states and lengths at once: three different problems."""
    generator = np.random.default_rng(11)
    many = 3
    layers = jax.tree.map(lambda leaf: normal(generator, many, *leaf.shape), LAYERS)
    inputs, lengths = normal(generator, many, T, B, D), generator.integers(0, T + 1, (many, B))
    states = jax.tree.map(lambda leaf: normal(generator, many, *leaf.shape), STATES)
    gradient = jax.jit(jax.grad(cost_of(lstm.layer), argnums=(0, 1, 2)))
    together = in_double(jax.jit(jax.vmap(gradient)), layers, inputs, states, lengths)
    each = [jax.tree.map(lambda leaf, k=k: leaf[k], (layers, inputs, states, lengths)) for k in range(many)]
    alone = [in_double(gradient, *arguments) for arguments in each]
    assert_equal(together, jax.tree.map(lambda *leaves: np.stack(leaves), *alone))


@pytest.mark.parametrize("function", [lstm.forward, lstm.layer])
def test_a_single_layer_returns_a_single_state(function):
    outputs, final, *residuals = function(LAYERS[0], INPUTS, STATES[0])
    assert outputs.shape == (T, B, H)
    assert isinstance(final, State)
    assert (final.h.shape, final.c.shape) == ((B, H), (B, H))
    for sequence in (LAYERS[:1], list(LAYERS[:1])):
        in_tuple, finals, *all_residuals = function(sequence, INPUTS, STATES[:1])
        assert isinstance(finals, tuple)
        assert_identical((in_tuple, *finals), (outputs, final))
        for one, several in zip(residuals, all_residuals, strict=True):
            single = lstm.backward(LAYERS[0], one, D_OUTPUTS[..., :H])
            assert isinstance(single.layers, lstm.Layer)
            assert isinstance(single.initial_state, State)
            listed = lstm.backward(sequence, several, D_OUTPUTS[..., :H])
            assert isinstance(listed.layers, tuple)
            assert isinstance(listed.initial_state, tuple)
            assert_identical(listed, single)


def test_a_tuple_of_layers_is_each_on_top_of_the_one_before(run, lengths):
    below, final_below, kept_below = lstm.forward(LAYERS[0], INPUTS, STATES[0], lengths=lengths)
    above, final_above, kept_above = lstm.forward(LAYERS[1], below, STATES[1], lengths=lengths)
    assert_equal((run[0], run[1]), jax.tree.map(np.asarray, (above, (final_below, final_above))))
    top = lstm.backward(LAYERS[1], kept_above, D_OUTPUTS, D_STATES[1])
    bottom = lstm.backward(LAYERS[0], kept_below, top.inputs, D_STATES[0])
    both = lstm.backward(LAYERS, run[2], D_OUTPUTS, D_STATES)
    assert_equal((*both.layers, both.inputs), jax.tree.map(np.asarray, (bottom.layers, top.layers, bottom.inputs)))


def test_the_default_initial_state_is_zero():
    zeros = jax.tree.map(np.zeros_like, STATES)
    assert_identical(lstm.forward(LAYERS, INPUTS), lstm.forward(LAYERS, INPUTS, zeros))
