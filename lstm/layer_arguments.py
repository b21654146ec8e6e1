"""Layers, their states and their masks, checked against each other and completed."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstm.activations import activation
from lstm.levels import Direction, apart, directions, output_size, together
from lstm.network import zero_state
from lstm.parameters import Activations, Array, Bidirectional, CellClip, Layer, Masks, Reversed, State
from lstm.validation import BadInput, Dimensions, described, finite, one_of

LEVELS = (Layer, Reversed, Bidirectional)
MASK_AXES = {"inputs": "T B D", "recurrent": "T B R", "zoneout_h": "T B R", "zoneout_c": "T B H"}


def as_levels(layers: Any) -> tuple[Any, ...]:
    """The levels of a stack, lowest first. A single one counts as a stack of one."""
    layers = (layers,) if isinstance(layers, LEVELS) else layers
    if not isinstance(layers, (tuple, list)) or not layers:
        raise BadInput(f"layers: expected an lstm.Layer or a sequence of them, lowest first; got {described(layers)}")
    for number, level in enumerate(layers):
        if not isinstance(level, LEVELS):
            raise BadInput(f"layers[{number}]: expected an lstm.Layer; got {described(level)}")
        for direction in directions(level):
            if not isinstance(direction.layer, Layer):
                raise BadInput(f"layers[{number}]{direction.name}: expected an lstm.Layer; got {described(direction.layer)}")
    return tuple(layers)


def check_layers(levels: tuple[Any, ...], dimensions: Dimensions) -> Dimensions:
    """Every layer's shapes and values. Returns the stack's dimensions: T, B, and R, the features of its outputs."""
    for number, level in enumerate(levels):
        for direction in directions(level):
            own = dimensions.rename(T="T", B="B", D="D")
            _check_layer(f"layers[{number}]{direction.name}", direction.layer, own)
            dimensions.dtype, dimensions.dtype_from = own.dtype, own.dtype_from
        top = dimensions.rename(T="T", B="B")
        top.sizes["R"], top.learned_from["R"] = output_size(level), f"layers[{number}]'s outputs"
        dimensions = top.rename(T="T", B="B", D="R")
    return top


def _check_layer(name: str, layer: Layer, dimensions: Dimensions) -> None:
    """``dimensions`` knows T, B and D; it learns R and H."""
    if layer.projection is not None:
        dimensions.floats(f"{name}.projection", layer.projection, "H R")
        finite(f"{name}.projection", layer.projection)
    recurrent = "R" if layer.projection is not None else "H"
    blocks = 4
    w_h_shape: tuple[int, ...] = getattr(layer.w_h, "shape", ())
    if len(w_h_shape) == 2 and w_h_shape[1] == 3 * dimensions.sizes.get("H", w_h_shape[0]):
        blocks = 3  # coupled gates
    for field, axes in {"w_x": "D {}", "w_h": f"{recurrent} {{}}", "b": "{}"}.items():
        dimensions.floats(f"{name}.{field}", getattr(layer, field), axes.format(f"{blocks}H"))
        finite(f"{name}.{field}", getattr(layer, field))
    if layer.peepholes is not None:
        dimensions.floats(f"{name}.peepholes", layer.peepholes, "P H")
        finite(f"{name}.peepholes", layer.peepholes)
        if layer.peepholes.shape[0] != blocks - 1:
            rows = "2 rows, for i and o" if blocks == 3 else "3 rows, for i, f and o"
            raise BadInput(f"{name}.peepholes: expected {rows}; got shape {layer.peepholes.shape}")
    _check_configuration(name, layer)


def _check_configuration(name: str, layer: Layer) -> None:
    if not isinstance(layer.activations, Activations):
        raise BadInput(f"{name}.activations: expected an lstm.Activations; got {described(layer.activations)}")
    for which in (layer.activations.gate, layer.activations.candidate, layer.activations.output):
        if not isinstance(which, str):
            raise BadInput(f"{name}.activations: expected names; got {described(which)}")
        activation(which)
    if layer.clip is not None:
        if not isinstance(layer.clip, CellClip):
            raise BadInput(f"{name}.clip: expected an lstm.CellClip or None; got {described(layer.clip)}")
        one_of(f"{name}.clip.derivative", layer.clip.derivative, ("true", "straight_through"))
        bound = layer.clip.bound
        if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not 0 < bound < float("inf"):
            raise BadInput(f"{name}.clip.bound: expected a positive number; got {described(bound)}")


def initial_states(levels: tuple[Any, ...], state: Any, batch: int, dtype: Any) -> tuple[Any, ...]:
    """The given states, checked, or zeros. One per level; a single one is accepted for a single level."""
    if state is None:
        return zero_state(levels, batch, dtype)
    states = _per_level("initial_state", levels, state, State)
    for number, (level, belonging) in enumerate(zip(levels, states, strict=True)):
        for direction, one in zip(directions(level), apart(level, belonging), strict=True):
            _check_state(f"initial_state[{number}]{_side(direction)}", one, direction.layer, batch, dtype)
    return states


def upstream_states(levels: tuple[Any, ...], state: Any, batch: int, dtype: Any) -> tuple[Any, ...]:
    """Upstream gradients on the final states; whatever is None is zero."""
    zeros = zero_state(levels, batch, dtype)
    if state is None:
        return zeros
    completed = []
    for number, (level, given, zero) in enumerate(zip(levels, _per_level("d_final_state", levels, state, State), zeros, strict=True)):
        filled = []
        for direction, one, nothing in zip(directions(level), apart(level, given), apart(level, zero), strict=True):
            one = nothing if one is None else one
            one = State(h=nothing.h if one.h is None else one.h, c=nothing.c if one.c is None else one.c)
            _check_state(f"d_final_state[{number}]{_side(direction)}", one, direction.layer, batch, dtype)
            filled.append(one)
        completed.append(together(level, filled))
    return tuple(completed)


def check_masks(levels: tuple[Any, ...], masks: Any, dimensions: Dimensions) -> tuple[Any, ...] | None:
    """`Masks` per level, or None; every array (T, B, ·), nothing broadcast."""
    if masks is None:
        return None
    masks = _per_level("masks", levels, masks, Masks, optional=True)
    fan_in = dimensions.sizes["D"]
    for number, (level, belonging) in enumerate(zip(levels, masks, strict=True)):
        for direction, one in zip(directions(level), apart(level, belonging), strict=True):
            own = dimensions.rename(T="T", B="B")
            layer = direction.layer
            for letter, size in {"D": fan_in, "R": layer.recurrent_size, "H": layer.hidden_size}.items():
                own.sizes[letter], own.learned_from[letter] = size, f"layers[{number}]"
            for field, axes in MASK_AXES.items():
                if one is not None and getattr(one, field) is not None:
                    name = f"masks[{number}]{_side(direction)}.{field}"
                    finite(name, own.floats(name, getattr(one, field), axes))
        fan_in = output_size(level)
    return masks


def _per_level(name: str, levels: tuple[Any, ...], given: Any, kind: type, optional: bool = False) -> tuple[Any, ...]:
    """One of ``kind`` per direction of each level; None where that is allowed."""
    optional = optional or name.startswith("d_")
    given = (given,) if isinstance(given, (kind, Bidirectional)) else given
    if not isinstance(given, (tuple, list)) or len(given) != len(levels):
        raise BadInput(f"{name}: expected {len(levels)} lstm.{kind.__name__}, one for each layer; got {described(given)}")
    for number, (level, one) in enumerate(zip(levels, given, strict=True)):
        if one is None and optional:
            continue
        if isinstance(level, Bidirectional) and not isinstance(one, Bidirectional):
            raise BadInput(f"{name}[{number}]: expected an lstm.Bidirectional of two lstm.{kind.__name__}; got {described(one)}")
        for part in apart(level, one):
            if not (isinstance(part, kind) or (part is None and optional)):
                raise BadInput(f"{name}[{number}]: expected an lstm.{kind.__name__}; got {described(part)}")
    return tuple(given)


def _side(direction: Direction) -> str:
    """Where a state stands in a level: a reversed layer's own is not wrapped."""
    return "" if direction.name == ".layer" else direction.name


def _check_state(name: str, state: State, layer: Layer, batch: int, dtype: Any) -> None:
    dimensions = Dimensions()
    dimensions.dtype, dimensions.dtype_from = np.dtype(dtype), "inputs"
    for letter, size, origin in (("B", batch, "inputs"), ("R", layer.recurrent_size, "w_h"), ("H", layer.hidden_size, "b")):
        dimensions.sizes[letter], dimensions.learned_from[letter] = size, origin
    for field, axes in {"h": "B R", "c": "B H"}.items():
        value: Array = dimensions.floats(f"{name}.{field}", getattr(state, field), axes)
        finite(f"{name}.{field}", value)
