"""Described layouts: hand-written LSTMs in their own arrangements, and the frameworks' own arrangements described."""

from __future__ import annotations

import tomllib
from typing import Any

import jax
import numpy as np
import pytest
from layouts_by_hand import BY_HAND, by_hand
from layouts_case import D, H, draw, largest_error, run_ours

import lstm
from lstm.layouts import LAYOUTS, described_layout

TOLERANCE = 1e-12  # as in test_layouts_frameworks

FRAMEWORKS = {
    "torch": """
        state_axes = "NBH"
        directions = { forward = "", reverse = "_reverse" }
        [arrays]
        "weight_ih_l{layer}{direction}" = ["gates", "x"]
        "weight_hh_l{layer}{direction}" = ["gates", "h"]
        "bias_ih_l{layer}{direction}" = { axes = ["gates"], optional = true }
        "bias_hh_l{layer}{direction}" = { axes = ["gates"], optional = true }
        "weight_hr_l{layer}{direction}" = { axes = ["projected", "unit"], optional = true }
    """,
    "keras": """
        axes = "BTD"
        [arrays]
        kernel = ["x", "gates"]
        recurrent_kernel = ["h", "gates"]
        bias = ["gates"]
    """,
    "flax-nnx": """
        axes = "BTD"
        [arrays]
        "ii/kernel" = { axes = ["x", "unit"], gate = "i" }
        "if_/kernel" = { axes = ["x", "unit"], gate = "f" }
        "ig/kernel" = { axes = ["x", "unit"], gate = "g" }
        "io/kernel" = { axes = ["x", "unit"], gate = "o" }
        "h{gate}/kernel" = ["h", "unit"]
        "h{gate}/bias" = ["unit"]
    """,
    "haiku": """
        forget_offset = 1
        gates = "i g f o"
        [arrays]
        "linear/w" = ["x h", "gates"]
        "linear/b" = ["gates"]
    """,
    "onnx": """
        gates = "i o f g"
        state_axes = "NBH"
        [arrays]
        W = ["directions", "gates", "x"]
        R = ["directions", "gates", "h"]
        P = { axes = ["directions", "gates"], holds = "peephole", optional = true }
    """,
}


FAULTS = {
    "fused": [
        ('"bias x h"', '"bias h x"'),
        ('"bias x h"', '"x h bias"'),
        ('"i f o g"', '"i f g o"'),
        ('output_activation = "identity"', ""),
    ],
    "columns": [('"h x"', '"x h"'), ('g = "c"', 'g = "f", f = "c"')],
    "block": [("forget_offset = 1.0", ""), ("cell_clip = 0.5", ""), ('"i g f o"', '"i f g o"'), ('"x h"', '"h x"')],
    "ldigo": [('"h", "i f g o"', '"h", "f i g o"'), ('"layers", "directions", "i f g o"', '"directions", "layers", "i f g o"')],
    "projected": [('"o i f g"', '"o f i g"'), ('"U{layer}" = ["gates"', '"U{layer}" = ["o i g f"')],
    "coupled": [('"Wh.{gate}" = ["h", "unit"]', '"Wh.{gate}" = ["unit", "h"]'), ('"hard_sigmoid(0.2)"', '"sigmoid"')],
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_hand_written_lstm_agrees_and_a_fault_in_its_description_is_seen(name: str, rng: np.random.Generator) -> None:
    case = draw(rng, by_hand(name))
    error, where = largest_error(case.expected, run_ours(case))
    assert error < TOLERANCE, where
    for right, wrong in FAULTS[name]:
        assert right in BY_HAND[name][0]
        layout = described_layout(tomllib.loads(BY_HAND[name][0].replace(right, wrong)))
        assert largest_error(case.expected, run_ours(case, layout))[0] > 1e-3, (right, wrong)


@pytest.mark.parametrize("name", BY_HAND)
def test_weights_come_back(name: str, rng: np.random.Generator) -> None:
    peer = by_hand(name)
    weights = {key: rng.standard_normal(shape) for key, shape in peer.weights.items()}
    layers = peer.layout.read(weights)
    back = peer.layout.read(peer.layout.write(layers))
    for one, other in zip(_leaves(layers), _leaves(back), strict=True):
        assert np.abs(one - other).max() <= (2.0**-50 if name == "block" else 0)  # its offset of 1 is rounded on the way


def _leaves(layers: tuple[Any, ...]) -> list[np.ndarray]:
    return jax.tree.leaves(layers)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_described_framework_is_the_framework(name: str, rng: np.random.Generator) -> None:
    """The two put the same canonical entries in the same places."""
    layout = LAYOUTS[name]
    described = described_layout(tomllib.loads(FRAMEWORKS[name]), name)
    layer = lstm.Layer(w_x=rng.standard_normal((D, 4 * H)), w_h=rng.standard_normal((H, 4 * H)), b=np.zeros(4 * H))
    weights = layout.write((layer,))
    weights.pop("B", None)
    ours, theirs = layout.codes(weights)[0].of, described.codes(weights)[0].of
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    assert (described.axes, described.state_axes) == (layout.axes, layout.state_axes)
    assert described.forget_offset == layout.forget_offset


def test_several_layers_in_both_directions_by_name(rng: np.random.Generator) -> None:
    described = described_layout(tomllib.loads(FRAMEWORKS["torch"]), "torch")
    shapes = {"weight_ih": (4 * H, D), "weight_hh": (4 * H, H), "bias_ih": (4 * H,), "bias_hh": (4 * H,)}
    weights = {}
    for level in range(2):
        for suffix in ("", "_reverse"):
            for name, shape in shapes.items():
                shape = (4 * H, 2 * H) if level and name == "weight_ih" else shape
                weights[f"{name}_l{level}{suffix}"] = rng.standard_normal(shape)
    expected, got = LAYOUTS["torch"].read(weights), described.read(weights)
    assert all(np.array_equal(one, other) for one, other in zip(_leaves(expected), _leaves(got), strict=True))
