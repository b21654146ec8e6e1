"""What this library decided where frameworks differ: lengths, costs, precision. One test for each decision."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from network_cases import Case, draw

import lstm
from lstm import State

T, B, D, H, K = 5, 3, 2, 4, 6
LENGTHS = np.array([5, 2, 0])
PADDED = np.arange(T)[:, None] >= LENGTHS  # (T, B)
CASE = Case(T=T, B=B, D=D, H=H, K=K)
DRAWN = draw(CASE, seed=3)
LAYER, STATE = DRAWN.network.layers[0], DRAWN.options["initial_state"][0]
D_OUTPUTS = np.random.default_rng(4).normal(size=(T, B, H))
D_FINAL = State(h=np.random.default_rng(5).normal(size=(B, H)), c=np.random.default_rng(6).normal(size=(B, H)))


def spoiled(array, value=np.nan):
    """A copy with ``value`` past each sequence's length."""
    array = np.array(array)
    array[PADDED] = value
    return array


def identical(got, expected):
    leaves = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in leaves)


@pytest.fixture(scope="module")
def padded():
    return lstm.forward(LAYER, DRAWN.inputs, STATE, lengths=LENGTHS)


@pytest.fixture(scope="module")
def padded_gradients(padded):
    return lstm.backward(LAYER, padded[2], D_OUTPUTS, D_FINAL)


def test_the_final_state_is_each_sequences_own_and_outputs_past_it_are_zero(padded):
    outputs, final, _ = padded
    alone_outputs, alone, _ = lstm.forward(LAYER, DRAWN.inputs[:2], STATE)
    assert np.abs(np.asarray(final.h[1] - alone.h[1])).max() <= 1e-15  # another shape, so other roundings, of numbers below 1
    assert np.abs(np.asarray(final.c[1] - alone.c[1])).max() <= 1e-14
    assert np.abs(np.asarray(outputs[:2, 1] - alone_outputs[:, 1])).max() <= 1e-15
    assert np.all(np.asarray(outputs)[PADDED] == 0)
    assert np.all(np.asarray(outputs)[~PADDED] != 0)


def test_a_sequence_of_length_zero_returns_its_initial_state_and_the_gradient_of_it(padded, padded_gradients):
    _, final, _ = padded
    assert identical((final.h[2], final.c[2]), (STATE.h[2], STATE.c[2]))
    got = padded_gradients.initial_state
    assert identical((got.h[2], got.c[2]), (D_FINAL.h[2], D_FINAL.c[2]))
    everything = lstm.forward(LAYER, DRAWN.inputs, STATE, lengths=np.zeros(B, int))
    assert identical(everything[1], STATE)
    assert not np.any(everything[0])


def test_padding_may_hold_anything(padded, padded_gradients):
    for value in (np.nan, np.inf, 1e300):
        outputs, final, residuals = lstm.forward(LAYER, spoiled(DRAWN.inputs, value), STATE, lengths=LENGTHS)
        assert identical((outputs, final), padded[:2])
        assert identical(lstm.backward(LAYER, residuals, spoiled(D_OUTPUTS, value), D_FINAL), padded_gradients)


def test_upstream_gradients_on_padding_are_ignored_and_input_gradients_there_are_zero(padded, padded_gradients):
    assert identical(lstm.backward(LAYER, padded[2], spoiled(D_OUTPUTS, 7.0), D_FINAL), padded_gradients)
    assert np.all(np.asarray(padded_gradients.inputs)[PADDED] == 0)
    assert np.all(np.asarray(padded_gradients.inputs)[~PADDED] != 0)


@pytest.mark.parametrize(("loss", "kind"), [("squared_error", "vectors"), ("cross_entropy", "labels"), ("cross_entropy", "probabilities")])
def test_targets_past_the_length_may_hold_anything(loss, kind):
    drawn = draw(Case(T=T, B=B, D=D, H=H, K=K, loss=loss, targets=kind, lengths=tuple(LENGTHS)), seed=3)
    found = lstm.loss_and_all_gradients(drawn.network, drawn.inputs, drawn.targets, **drawn.options)
    anything = spoiled(drawn.targets, -1 if kind == "labels" else np.nan)
    assert identical(lstm.loss_and_all_gradients(drawn.network, spoiled(drawn.inputs), anything, **drawn.options), found)


def test_the_mean_is_over_the_pairs_that_count():
    options = {"lengths": LENGTHS, "initial_state": STATE}
    mean = lstm.loss_and_all_gradients(DRAWN.network, DRAWN.inputs, DRAWN.targets, reduction="mean", **options)
    total = lstm.loss_and_all_gradients(DRAWN.network, DRAWN.inputs, DRAWN.targets, reduction="sum", **options)
    for one, all_of_them in zip(jax.tree.leaves(mean), jax.tree.leaves(total), strict=True):
        np.testing.assert_allclose(LENGTHS.sum() * np.asarray(one), all_of_them, rtol=1e-13, atol=1e-14)


def test_the_questions_cost_is_the_mean_over_timesteps():
    """B = 1: 1/T times the sum of T losses, each ‖y - target‖² without a ½."""
    drawn = draw(Case(T=4, B=1, D=2, H=3, K=2), seed=1)
    cost, _ = lstm.loss_and_gradients(drawn.network, drawn.inputs, drawn.targets)
    h = np.asarray(lstm.forward(drawn.network.layers, drawn.inputs)[0])
    y = h @ drawn.network.readout.w + drawn.network.readout.b
    np.testing.assert_allclose(cost, sum(((y[t] - drawn.targets[t]) ** 2).sum() for t in range(4)) / 4, rtol=1e-14)


def test_integer_labels_are_one_hot_probabilities():
    drawn = draw(Case(T=T, B=B, D=D, H=H, K=K, loss="cross_entropy", targets="labels"), seed=2)
    by_label = lstm.loss_and_all_gradients(drawn.network, drawn.inputs, drawn.targets, **drawn.options)
    one_hot = np.eye(K)[drawn.targets]
    assert identical(lstm.loss_and_all_gradients(drawn.network, drawn.inputs, one_hot, **drawn.options), by_label)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_is_the_callers_whatever_jaxs_mode(dtype):
    """float64 stays float64 with JAX's 64-bit mode off, float32 stays float32 with it on; the mode is left as it was."""
    drawn = draw(CASE, seed=3, dtype=dtype)
    for mode in (False, True):
        with jax.enable_x64(mode):
            outputs, final, residuals = lstm.forward(drawn.network.layers, drawn.inputs)
            results = (
                lstm.loss_and_all_gradients(drawn.network, drawn.inputs, drawn.targets),
                lstm.backward(drawn.network.layers, residuals, np.asarray(outputs)),
                lstm.layer(drawn.network.layers, drawn.inputs),
                (outputs, final),
            )
            assert {leaf.dtype for leaf in jax.tree.leaves(results)} == {np.dtype(dtype)}
            assert jax.config.jax_enable_x64 == mode


def products(jaxpr):
    """Every dot_general in a jaxpr and in whatever it calls."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from products(inner)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("function", "count"),
    [
        (lambda n, x, y: lstm.loss_and_gradients(n, x, y), 9),  # x W_x, h W_h, readout; two for each backward
        (lambda n, x, y: lstm.forward(n.layers, x)[:2], 2),
        (lambda n, x, y: jax.grad(lambda m: lstm.layer(m.layers, x)[0].sum())(n), 6),
        (lambda n, x, y: lstm.step(n, (STATE,), x[0]), 3),
    ],
    ids=["loss_and_gradients", "forward", "layer under grad", "step"],
)
def test_matrix_products_are_at_the_highest_precision(function, count, dtype):
    """JAX's default on recent GPUs would round the factors of a float32 product to TF32."""
    drawn = draw(CASE, seed=3, dtype=dtype)
    with jax.enable_x64(dtype == np.float64):
        jaxpr = jax.make_jaxpr(function)(jax.tree.map(jnp.asarray, drawn.network), drawn.inputs, drawn.targets)
    found = list(products(jaxpr.jaxpr))
    assert len(found) == count
    highest = (jax.lax.Precision.HIGHEST,) * 2
    assert [equation.params["precision"] for equation in found] == [highest] * len(found)


def test_a_product_at_the_default_precision_would_be_seen():
    """The planted fault: the same product, HIGHEST left out."""
    (product,) = products(jax.make_jaxpr(jax.jit(lambda a: a @ a))(np.ones((2, 2), np.float32)).jaxpr)
    assert product.params["precision"] is None
