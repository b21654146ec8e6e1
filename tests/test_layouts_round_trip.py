"""Weights, gradients and states to a layout and back, for every layout and every variant that it holds; refused where it does not."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import lstm
from lstm.layouts import LAYOUTS

D, H, P, B = 4, 5, 2, 3
SINGLE = {"levels", "bidirectional", "reverse", "mixed"}  # what prefixed single cells hold; mixed: of different sizes and directions
ONNX = {"bidirectional", "reverse", "peepholes", "coupled", "activations", "one activation for candidate and output"}
HOLDS = {
    "torch": {"levels", "bidirectional", "projection"},
    "keras": SINGLE | {"one activation for candidate and output"},
    "flax": SINGLE | {"one activation for candidate and output"},
    "flax-nnx": SINGLE | {"one activation for candidate and output"},
    "flax-nnx-optimized": SINGLE | {"one activation for candidate and output"},
    "equinox": SINGLE,
    "haiku": SINGLE,
    "onnx": ONNX,
    "onnx-batch-major": ONNX,
    "jax-cudnn": {"levels", "bidirectional"},
    "canonical": SINGLE | {"projection", "peepholes", "coupled", "activations", "one activation for candidate and output", "clip", "all"},
}
VARIANTS = ("plain", *sorted(HOLDS["canonical"]))


def layer(rng: np.random.Generator, features: int, size: int = H, *variants: str) -> lstm.Layer:
    blocks = 3 if "coupled" in variants else 4
    recurrent = P if "projection" in variants else size
    one = lstm.Activations("sigmoid", "softsign", "softsign")
    activations = lstm.Activations("sigmoid", "softsign", "tanh") if "activations" in variants else lstm.Activations()
    return lstm.Layer(
        w_x=rng.standard_normal((features, blocks * size)),
        w_h=rng.standard_normal((recurrent, blocks * size)),
        b=rng.standard_normal(blocks * size),
        peepholes=rng.standard_normal((blocks - 1, size)) if "peepholes" in variants else None,
        projection=rng.standard_normal((size, P)) if "projection" in variants else None,
        activations=one if "one activation for candidate and output" in variants else activations,
        clip=lstm.CellClip(0.75, "straight_through") if "clip" in variants else None,
    )


def stack(rng: np.random.Generator, variant: str) -> tuple[Any, ...]:
    if variant == "levels":
        return layer(rng, D), layer(rng, H)
    if variant == "bidirectional":
        return (lstm.Bidirectional(layer(rng, D), layer(rng, D)),)
    if variant == "reverse":
        return (lstm.Reversed(layer(rng, D)),)
    if variant == "mixed":
        return lstm.Bidirectional(layer(rng, D), layer(rng, D, 7)), lstm.Reversed(layer(rng, H + 7, 6)), layer(rng, 6)
    if variant == "all":
        every = ("projection", "peepholes", "coupled", "activations", "clip")
        return lstm.Bidirectional(layer(rng, D, H, *every), layer(rng, D, H, *every)), lstm.Reversed(layer(rng, 2 * P, 7, *every))
    return (layer(rng, D, H, variant),)


def assert_same(expected: Any, got: Any, slack: float = 0.0) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for wanted, array in zip(jax.tree.leaves(expected), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(np.asarray(array), np.asarray(wanted), rtol=0, atol=slack)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_and_gradients_come_back(name: str, variant: str, rng: np.random.Generator) -> None:
    layout, layers = LAYOUTS[name], stack(rng, variant)
    if variant != "plain" and variant not in HOLDS[name]:
        with pytest.raises(lstm.BadInput, match=f"the layout {name} cannot hold") as error:
            layout.write(layers)
        assert "\n" not in str(error.value)
        return
    weights, attributes = layout.write(layers), layout.attributes_of(layers)
    # An offset is subtracted and added again: two roundings of a number below 8, to half of 2^-50 each
    assert_same(layers, layout.read(weights, attributes), slack=2.0**-50 if layout.forget_offset else 0.0)
    assert sorted(layout.weight_names([*weights, "inputs", "h0", "grad.b"])) == sorted(weights)
    gradients = jax.tree.map(lambda array: rng.standard_normal(array.shape), layers)
    written = layout.write_gradients(gradients, weights)
    assert {key: array.shape for key, array in written.items()} == {key: array.shape for key, array in weights.items()}
    back = layout.read_gradients(written, weights, attributes)
    assert all(np.array_equal(one, other) for one, other in zip(jax.tree.leaves(gradients), jax.tree.leaves(back), strict=True))


def test_each_of_two_biases_gets_the_full_gradient_and_only_their_sum_counts(rng: np.random.Generator) -> None:
    layers, d_layers = stack(rng, "plain"), stack(rng, "plain")
    torch, onnx = (LAYOUTS[name].write(layers) for name in ("torch", "onnx"))
    np.testing.assert_array_equal(torch["bias_ih_l0"] + torch["bias_hh_l0"], layers[0].b)
    assert not np.isclose(torch["bias_ih_l0"], torch["bias_hh_l0"]).any()
    assert (onnx["B"] != 0).all()
    d_torch = LAYOUTS["torch"].write_gradients(d_layers, torch)
    np.testing.assert_array_equal(d_torch["bias_ih_l0"], d_layers[0].b)
    np.testing.assert_array_equal(d_torch["bias_hh_l0"], d_layers[0].b)
    d_onnx = LAYOUTS["onnx"].write_gradients(d_layers, onnx)["B"][0]
    i, f, g, o = np.split(d_layers[0].b, 4)
    np.testing.assert_array_equal(d_onnx, np.concatenate([i, o, f, g, i, o, f, g]))


def test_either_bias_may_be_absent(rng: np.random.Generator) -> None:
    layout, layers = LAYOUTS["torch"], stack(rng, "levels")
    weights = layout.write(layers)
    del weights["bias_ih_l0"], weights["bias_hh_l1"]
    read = layout.read(weights)
    np.testing.assert_array_equal(read[0].b, -layers[0].b)
    np.testing.assert_array_equal(read[1].b, 2 * layers[1].b)
    written = layout.write_gradients(layers, weights)
    assert written.keys() == weights.keys()
    np.testing.assert_array_equal(written["bias_ih_l1"], layers[1].b)
    np.testing.assert_array_equal(layout.read_gradients({"bias_ih_l1": written["bias_ih_l1"]}, weights)[1].b, layers[1].b)


def test_gradients_that_were_not_given_are_nan(rng: np.random.Generator) -> None:
    layout, layers = LAYOUTS["keras"], stack(rng, "plain")
    weights = layout.write(layers)
    read = layout.read_gradients({"kernel": weights["kernel"]}, weights)[0]
    np.testing.assert_array_equal(read.w_x, layers[0].w_x)
    assert np.isnan(read.w_h).all()
    assert np.isnan(read.b).all()


def test_haikus_offset_is_on_the_forget_gate_alone(rng: np.random.Generator) -> None:
    layers = stack(rng, "plain")
    read = LAYOUTS["haiku"].read({"linear/w": rng.standard_normal((D + H, 4 * H)), "linear/b": np.zeros(4 * H)})
    np.testing.assert_array_equal(read[0].b, np.repeat([0.0, 1.0, 0.0, 0.0], H))
    gradient = LAYOUTS["haiku"].write_gradients(layers, LAYOUTS["haiku"].write(layers))["linear/b"]
    i, f, g, o = np.split(layers[0].b, 4)
    np.testing.assert_array_equal(gradient, np.concatenate([i, g, f, o]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_dtype_stays(name: str, dtype: Any, rng: np.random.Generator) -> None:
    layers = jax.tree.map(lambda array: array.astype(dtype), stack(rng, "plain"))
    weights = LAYOUTS[name].write(layers)
    assert all(array.dtype == dtype for array in weights.values())
    assert all(array.dtype == dtype for array in jax.tree.leaves(LAYOUTS[name].read(weights, LAYOUTS[name].attributes_of(layers))))


SHAPES = ("plain", "levels", "bidirectional", "reverse", "mixed", "projection")


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n in LAYOUTS for v in SHAPES if v in HOLDS[n] | {"plain"}])
def test_states_and_sequences_come_back(name: str, variant: str, rng: np.random.Generator) -> None:
    layout, layers = LAYOUTS[name], stack(rng, variant)

    def state(one: lstm.Layer) -> lstm.State:
        return lstm.State(h=rng.standard_normal((B, one.recurrent_size)), c=rng.standard_normal((B, one.hidden_size)))

    def of(level: Any) -> Any:
        if isinstance(level, lstm.Bidirectional):
            return lstm.Bidirectional(state(level.forward), state(level.reverse))
        return state(level.layer if isinstance(level, lstm.Reversed) else level)

    states = tuple(map(of, layers))
    h, c = layout.write_states(states)
    assert_same(states, layout.read_states(h, c, layers))
    without_c = jax.tree.map(
        lambda one: dataclasses.replace(one, c=np.zeros_like(one.c)), states, is_leaf=lambda one: isinstance(one, lstm.State)
    )
    assert_same(without_c, layout.read_states(h, None, layers))
    assert layout.read_states(None, None, layers) is None
    outputs = rng.standard_normal((6, B, 2 * H if variant == "bidirectional" else H))
    np.testing.assert_array_equal(layout.read_outputs("outputs", layout.write_outputs(outputs, layers)), outputs)
    np.testing.assert_array_equal(layout.read_sequence("inputs", layout.write_sequence(outputs, "DBT"), "DBT"), outputs)


def test_torch_takes_a_single_layers_state_without_its_first_axis(rng: np.random.Generator) -> None:
    layout, layers = LAYOUTS["torch"], stack(rng, "plain")
    h, c = rng.standard_normal((B, H)), rng.standard_normal((B, H))
    states = layout.read_states(h, c, layers)
    np.testing.assert_array_equal(states[0].h, h)
    assert layout.write_states(states)[0].shape == (1, B, H)
    assert layout.write_states(states, like=h)[0].shape == (B, H)


def test_a_layers_configuration_is_not_an_array(rng: np.random.Generator) -> None:
    """What the canonical layout's arrays do not say, its attributes do."""
    layers = stack(rng, "all")
    attributes = LAYOUTS["canonical"].attributes_of(layers)
    assert attributes == {
        "gate_activation": "sigmoid",
        "candidate_activation": "softsign",
        "output_activation": "tanh",
        "clip": 0.75,
        "clip_derivative": "straight_through",
    }
    unlike = (layers[0], lstm.Reversed(dataclasses.replace(layers[1].layer, clip=None)))
    with pytest.raises(lstm.BadInput, match="cannot hold layers with different activations or clipping"):
        LAYOUTS["canonical"].write(unlike)
