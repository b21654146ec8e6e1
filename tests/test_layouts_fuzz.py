"""Mutated files and descriptions: whatever is wrong with them, the only error is BadInput, in one line."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
from layouts_by_hand import BY_HAND
from layouts_case import B, D, H

import lstm
from lstm.layouts import LAYOUTS, Layout, described_layout

MUTANTS = 120  # of each layout, and of each description


def base(rng: np.random.Generator, layout: Layout) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights of as much as the layout holds, and the attributes that go with them."""

    def layer(features: int) -> lstm.Layer:
        peepholes = rng.standard_normal((3, H)) if any("peephole" in piece.sources for piece in layout.pieces) else None
        return lstm.Layer(rng.standard_normal((features, 4 * H)), rng.standard_normal((H, 4 * H)), rng.standard_normal(4 * H), peepholes)

    layers: tuple[Any, ...] = (lstm.Bidirectional(layer(D), layer(D)),)
    if "levels" in layout.holds:
        layers += (lstm.Bidirectional(layer(2 * H), layer(2 * H)),)
    return dict(layout.write(layers)), layout.attributes_of(layers)


def mutated_array(rng: np.random.Generator, array: np.ndarray) -> Any:
    axis = int(rng.integers(array.ndim)) if array.ndim else 0
    ways = (
        lambda: array.T,
        lambda: array[None],
        lambda: array.ravel(),
        lambda: np.float64(3.0),
        lambda: np.take(array, [], axis=axis),
        lambda: np.concatenate([array, array], axis=axis),
        lambda: np.delete(array, 0, axis=axis),
        lambda: array.astype(rng.choice(["int32", "float32", "complex128", "bool", "float16"])),
        lambda: np.where(rng.random(array.shape) < 0.5, np.nan, array),
        lambda: array.astype(object),
        lambda: None,
        lambda: "text",
    )
    return ways[rng.integers(len(ways))]()


def mutated(rng: np.random.Generator, arrays: dict[str, Any]) -> dict[str, Any]:
    name = str(rng.choice(list(arrays)))
    other = str(rng.choice(list(arrays)))
    near = name.replace(name[rng.integers(len(name))], str(rng.choice(list("0 19_/.x\n"))), 1)
    ways = (
        lambda: {key: array for key, array in arrays.items() if key != name},
        lambda: {near if key == name else key: array for key, array in arrays.items()},
        lambda: arrays | {near: arrays[name]},
        lambda: arrays | {name: arrays[other], other: arrays[name]},
        lambda: arrays | {name: mutated_array(rng, arrays[name])},
        lambda: arrays | {name: mutated_array(rng, arrays[name])},
    )
    return ways[rng.integers(len(ways))]()


def attempted(action: Any) -> bool:
    """Did it succeed? If not, with one line of BadInput."""
    try:
        action()
    except lstm.BadInput as error:
        message = str(error)
    else:
        return True
    assert len(message.splitlines()) == 1
    return False


@pytest.mark.parametrize("name", LAYOUTS)
def test_mutated_files(name: str, rng: np.random.Generator) -> None:
    layout = LAYOUTS[name]
    weights, attributes = base(rng, layout)
    layers = layout.read(weights, attributes)
    refused = 0
    for _ in range(MUTANTS):
        file = mutated(rng, weights)
        changed = mutated_attributes(rng, attributes)
        layout.weight_names(list(file))
        refused += not attempted(lambda file=file, changed=changed: layout.read(file, changed))
        h = rng.standard_normal(tuple(rng.integers(1, 5, rng.integers(0, 5)))) if rng.random() < 0.5 else np.ones((4, B, H))
        attempted(lambda h=h: layout.read_states(h, None, layers))
    assert refused > MUTANTS // 2


def mutated_attributes(rng: np.random.Generator, attributes: dict[str, Any]) -> dict[str, Any]:
    if not attributes or rng.random() < 0.7:
        return attributes
    name = str(rng.choice(list(attributes)))
    values = (None, -1, 0, 10**30, 2.5, float("nan"), "x", "9" * 30, [], [1, 2], {}, True)
    return attributes | {name: values[rng.integers(len(values))]}


@pytest.mark.parametrize("name", BY_HAND)
def test_mutated_descriptions(name: str, rng: np.random.Generator) -> None:
    description, _, shapes, _ = BY_HAND[name]
    arrays = {key: rng.standard_normal(shape) for key, shape in shapes.items()}
    tokens = ['"', "gates", "unit", "x", "h", "bias", "{gate}", "{layer}", "i f g o", "1", "[", "]", "=", "true", "projected", "layers"]
    parsed = 0
    for _ in range(MUTANTS):
        words = description.split(" ")
        at = int(rng.integers(len(words)))
        token = str(rng.choice(tokens))
        words[at] = [token, "", words[at] + token, words[int(rng.integers(len(words)))]][rng.integers(4)]
        try:
            said = tomllib.loads(" ".join(words))
        except tomllib.TOMLDecodeError:
            continue
        parsed += 1
        attempted(lambda said=said: described_layout(said).explain(arrays))
    assert parsed > MUTANTS // 10
