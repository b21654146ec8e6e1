"""Backpropagation in segments equals the plain one, for any length of a segment; and the layer under vmap and donated buffers."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from network_cases import Case, draw

import lstm
from checks.estimate import flatten
from lstm import network as net, remat

pytestmark = pytest.mark.long

CASE = Case(T=7, B=3, D=2, H=4, K=5, loss="cross_entropy", targets="labels", lengths=(7, 2, 5), layers=2)
SINGLE = dataclasses.replace(CASE, layers=1)
EQUAL = 1e-14  # of the largest entry: sums of 7 terms in another order


def masks_of(network, rng):
    """For every layer, on everything that can be masked."""
    found, features = [], CASE.D
    for layer in network.layers:
        h = (CASE.T, CASE.B, layer.recurrent_size)
        drawn = {"inputs": rng.normal(size=(CASE.T, CASE.B, features)), "recurrent": rng.normal(size=h)}
        found.append(lstm.Masks(**drawn, zoneout_h=rng.random(h), zoneout_c=rng.random(h)))
        features = layer.recurrent_size
    return tuple(found)


@pytest.mark.parametrize(("k", "lengths"), [(3, False), (2, True)])
def test_the_cost_and_every_gradient_are_the_plain_ones(k, lengths, rng):
    drawn = draw(CASE, 3)
    options = drawn.options | {"masks": masks_of(drawn.network, rng)} | ({} if lengths else {"lengths": None})
    cost, plain = lstm.loss_and_all_gradients(drawn.network, drawn.inputs, drawn.targets, **options)
    cost_in_segments, found = lstm.loss_and_all_gradients(drawn.network, drawn.inputs, drawn.targets, remat=k, **options)
    assert float(cost_in_segments) == pytest.approx(float(cost), rel=EQUAL)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= EQUAL * np.abs(theirs).max()


def upstream(drawn, rng):
    d_outputs = rng.normal(size=(CASE.T, CASE.B, CASE.H))
    d_state = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), drawn.options["initial_state"])
    return d_outputs, d_state


def test_the_layer_in_segments(rng):
    """With upstream gradients on the outputs and on the final state, T not a multiple of k."""
    drawn = draw(SINGLE, 4)
    given = drawn.network.layers, drawn.inputs, drawn.options["initial_state"]
    d = upstream(drawn, rng)
    with jax.enable_x64(True):
        results = []
        for k in (False, 3):
            value, pull = jax.vjp(lambda *args, k=k: lstm.layer(*args, remat=k), *given)
            results.append((value, pull(jax.tree.map(jnp.asarray, d))))
    for ours, plain in zip(jax.tree.leaves(results[1]), jax.tree.leaves(results[0]), strict=True):
        assert np.abs(ours - plain).max() <= EQUAL * np.abs(plain).max()


def test_a_fault_is_seen(monkeypatch):
    """Each segment starts from the state before the next one."""
    drawn = draw(SINGLE, 3)
    scan = jax.lax.scan

    def shifted(body, carry, over, reverse=False, **options):
        if reverse and isinstance(over, tuple) and len(over) == 2:
            over = over[0], jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), over[1])
        return scan(body, carry, over, reverse=reverse, **options)

    monkeypatch.setattr(remat.jax.lax, "scan", shifted)
    with jax.enable_x64(True):
        args = jax.tree.map(jnp.asarray, (drawn.network, drawn.inputs, drawn.targets, drawn.options["initial_state"]))
        batch = net.weighted(*args[1:], None, None, "mean")
        _, wrong = remat.of_batch(args[0], "cross_entropy", batch, 3, False)
        monkeypatch.undo()
        _, right = remat.of_batch(args[0], "cross_entropy", batch, 3, False)
    assert np.abs(flatten(wrong.network) - flatten(right.network)).max() > 1e-3 * np.abs(flatten(right.network)).max()


@pytest.mark.parametrize(("timesteps", "k"), [(1, 1), (2, 2), (7, 3), (16, 4), (20_000, 125), (10_007, 101)])
def test_a_segment_is_about_the_root(timesteps, k):
    """10 007 is prime."""
    layers = draw(CASE, 1).network.layers
    found = remat.segment_length(True, layers, timesteps)
    assert found in (k, timesteps // k)
    assert remat.segment_length(False, layers, timesteps) is None
    assert remat.segment_length(timesteps + 5, layers, timesteps) == timesteps


@pytest.mark.parametrize("bad", [0, -3, 2.5, "yes", None])
def test_a_bad_length_is_named(bad):
    drawn = draw(CASE, 1)
    if bad is None:
        network = lstm.Network((drawn.network.layers[0], lstm.Reversed(drawn.network.layers[1])), drawn.network.readout)
        bad, message = 3, "remat: expected layers that all run forward in time; got layers[1], an lstm.Reversed"
    else:
        network, message = drawn.network, "remat: expected True, False or the length of a segment, at least 1; got "
    with pytest.raises(lstm.BadInput) as raised:
        lstm.loss_and_gradients(network, drawn.inputs, drawn.targets, remat=bad, **drawn.options)
    assert str(raised.value).startswith(message)


def test_under_vmap_each_is_what_it_is_alone(rng):
    """Over networks and data at once: gradients of the layer in a model that JAX differentiates."""
    drawn = [draw(SINGLE, seed) for seed in (1, 2, 3)]
    layers = jax.tree.map(lambda *leaves: np.stack(leaves), *(each.network.layers for each in drawn))
    inputs = np.stack([each.inputs for each in drawn])
    weights = rng.normal(size=(CASE.T, CASE.B, CASE.H))

    def cost(layers, inputs):
        return (lstm.layer(layers, inputs)[0] * weights).sum()

    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(cost))
        together = jax.jit(jax.vmap(jax.grad(cost)))(layers, inputs)
        for number, each in enumerate(drawn):
            alone = gradient(each.network.layers, each.inputs)
            for ours, own in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
                assert np.abs(ours[number] - own).max() <= EQUAL * np.abs(own).max()


def test_a_training_step_with_donated_buffers():
    """The parameters' memory becomes the new parameters'; nothing is read from it after it was overwritten."""
    drawn = draw(SINGLE, 1)

    def train(network, inputs):
        cost, d = lstm.loss_and_gradients(network, inputs, drawn.targets, **drawn.options)
        return cost, jax.tree.map(lambda w, d_w: w - 0.1 * d_w, network, d)

    with jax.enable_x64(True):
        network = jax.tree.map(jnp.array, drawn.network)
        cost, expected = jax.jit(train)(drawn.network, drawn.inputs)
        donated_cost, found = jax.jit(train, donate_argnums=0)(network, drawn.inputs)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(network))
    assert float(donated_cost) == float(cost)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)
