"""What a caller passes, checked and completed: shapes against each other, values, defaults.

Each function returns arguments that the inner modules may rely on.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm.network import zero_state
from lstm.parameters import Array, Layer, Network, Readout, State
from lstm.validation import BadInput, Dimensions, described, finite, is_integer, is_traced, only_array, within


def as_layers(layers: Any) -> tuple[Layer, ...]:
    """A single layer counts as a stack of one."""
    layers = (layers,) if isinstance(layers, Layer) else layers
    if not isinstance(layers, (tuple, list)) or not layers:
        raise BadInput(f"layers: expected an lstm.Layer or a sequence of them, lowest first; got {described(layers)}")
    for level, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise BadInput(f"layers[{level}]: expected an lstm.Layer; got {described(layer)}")
    return tuple(layers)


def check_layers(layers: tuple[Layer, ...], dimensions: Dimensions) -> Dimensions:
    """Every layer's shapes and values. Returns the top layer's dimensions, D being the network's own."""
    for level, layer in enumerate(layers):
        if level:
            dimensions = dimensions.rename(T="T", B="B", D="R")
        for field, axes in {"w_x": "D 4H", "w_h": "R 4H", "b": "4H"}.items():
            name = f"layers[{level}].{field}"
            dimensions.floats(name, getattr(layer, field), axes)
            finite(name, getattr(layer, field))
        if dimensions.sizes["R"] != dimensions.sizes["H"]:
            shape = layer.w_h.shape
            raise BadInput(f"layers[{level}].w_h: expected (H, 4H) with as many rows as units; got shape {shape}")
    return dimensions


def check_inputs(inputs: Array, lengths: Array | None, dimensions: Dimensions) -> tuple[Array, np.ndarray | None]:
    """-> inputs as an array, and (T, B) booleans: which timesteps count (None: all, or unknown while tracing)."""
    inputs = dimensions.floats("inputs", inputs, "T B D")
    counted = None
    if lengths is not None:
        dimensions.integers("lengths", lengths, "B")
        within("lengths", lengths, 0, dimensions.sizes["T"])
        if not is_traced(lengths):
            counted = np.arange(dimensions.sizes["T"])[:, None] < np.asarray(lengths)
    if lengths is None or counted is not None:
        finite("inputs", inputs, counted)
    return inputs, counted


def initial_states(layers: tuple[Layer, ...], state: Any, batch: int, dtype: Any) -> tuple[State, ...]:
    """The given state, checked, or zeros. One `State` per layer; a single one is accepted for one layer."""
    if state is None:
        return zero_state(layers, batch, dtype)
    states = per_layer("initial_state", layers, state)
    for level, (layer, s) in enumerate(zip(layers, states, strict=True)):
        check_state(f"initial_state[{level}]", s, layer, batch, dtype)
    return states


def upstream_states(layers: tuple[Layer, ...], state: Any, batch: int, dtype: Any) -> tuple[State, ...]:
    """Upstream gradients on the final states; whatever is None is zero."""
    zeros = zero_state(layers, batch, dtype)
    if state is None:
        return zeros
    states = per_layer("d_final_state", layers, state)
    completed = []
    for level, (layer, given, zero) in enumerate(zip(layers, states, zeros, strict=True)):
        given = zero if given is None else given
        filled = State(h=zero.h if given.h is None else given.h, c=zero.c if given.c is None else given.c)
        check_state(f"d_final_state[{level}]", filled, layer, batch, dtype)
        completed.append(filled)
    return tuple(completed)


def per_layer(name: str, layers: tuple[Layer, ...], state: Any) -> tuple[State, ...]:
    states = (state,) if isinstance(state, State) else state
    if not isinstance(states, (tuple, list)) or len(states) != len(layers):
        raise BadInput(f"{name}: expected {len(layers)} lstm.State, one for each layer; got {described(state)}")
    for level, one in enumerate(states):
        if not (isinstance(one, State) or (one is None and name.startswith("d_"))):
            raise BadInput(f"{name}[{level}]: expected an lstm.State; got {described(one)}")
    return tuple(states)


def check_state(name: str, state: State, layer: Layer, batch: int, dtype: Any) -> None:
    dimensions = Dimensions()
    dimensions.dtype, dimensions.dtype_from = np.dtype(dtype), "inputs"
    for letter, size, origin in (("B", batch, "inputs"), ("R", layer.w_h.shape[0], "w_h"), ("H", layer.hidden_size, "b")):
        dimensions.sizes[letter], dimensions.learned_from[letter] = size, origin
    for field, axes in {"h": "B R", "c": "B H"}.items():
        dimensions.floats(f"{name}.{field}", getattr(state, field), axes)
        finite(f"{name}.{field}", getattr(state, field))


def check_readout(network: Network, dimensions: Dimensions) -> Dimensions:
    """-> dimensions with K, the number of predictions per timestep."""
    readout = network.readout
    if readout is None:
        return dimensions.rename(T="T", B="B", K="R")
    if not isinstance(readout, Readout):
        raise BadInput(f"readout: expected an lstm.Readout or None; got {described(readout)}")
    dimensions.floats("readout.w", readout.w, "R K")
    dimensions.floats("readout.b", readout.b, "K")
    finite("readout.w", readout.w)
    finite("readout.b", readout.b)
    return dimensions


def check_targets(targets: Array, loss: str, counted: np.ndarray | None, padded: bool, dimensions: Dimensions) -> Array:
    """Vectors (T, B, K), or for cross-entropy also integer labels (T, B)."""
    if counted is not None and not counted.any():
        raise BadInput("lengths: expected at least one timestep in all, to have a cost; got zeros only")
    targets = only_array("targets", targets)
    if loss == "cross_entropy" and is_integer(targets.dtype):
        dimensions.integers("targets", targets, "T B")
        if not padded or counted is not None:
            within("targets", targets, 0, dimensions.sizes["K"] - 1, counted)
        return targets
    targets = dimensions.floats("targets", targets, "T B K")
    if is_traced(targets) or (padded and counted is None):
        return targets
    finite("targets", targets, counted)
    if loss == "cross_entropy":
        _check_probabilities(np.asarray(targets), counted)
    return targets


def _check_probabilities(targets: np.ndarray, counted: np.ndarray | None) -> None:
    counted = np.ones(targets.shape[:2], bool) if counted is None else counted
    totals = targets.sum(axis=-1)
    # A sum of K roundings to nearest is off by at most K/2 units in the last place of 1
    slack = targets.shape[-1] * np.finfo(targets.dtype).eps
    bad = counted & ((targets < 0).any(axis=-1) | (np.abs(totals - 1) > slack))
    if bad.any():
        t, b = (int(index) for index in np.argwhere(bad)[0])
        shown = np.array2string(targets[t, b], precision=4, threshold=8, max_line_width=1000)
        raise BadInput(
            "targets: expected probability vectors (entries at least 0 that sum to 1) or integer labels (T, B); "
            f"got {shown}, which sums to {totals[t, b]:.6g}, at t = {t}, b = {b}"
        )


def as_jax(*trees: Any) -> Any:
    return jax.tree.map(jnp.asarray, trees)
