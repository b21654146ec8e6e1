"""A whole network's forward pass out of single timesteps: all that checks take from `lstm` is one layer's step.

Stacking, directions, lengths and masks are put together here a second time, by other means than `lstm.forward` uses (indices
instead of flips, a scan per layer), so that a mistake there shows. Complex numbers pass through.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstm

MASK_FIELDS = ("inputs", "recurrent", "zoneout_h", "zoneout_c")


def network_forward(layers: tuple, inputs: Any, initial_state: tuple, lengths: Any, masks: tuple | None) -> tuple[Any, tuple]:
    """-> outputs of the top level (T, B, R), zero past each length; final states, one per level."""
    outputs = inputs
    finals = []
    for number, (level, states) in enumerate(zip(layers, initial_state, strict=True)):
        level_masks = None if masks is None else masks[number]
        if isinstance(level, lstm.Bidirectional):
            pair = (None, None) if level_masks is None else (level_masks.forward, level_masks.reverse)
            ahead, end_ahead = run_layer(level.forward, outputs, states.forward, lengths, pair[0], False)
            back, end_back = run_layer(level.reverse, outputs, states.reverse, lengths, pair[1], True)
            outputs = jnp.concatenate([ahead, back], axis=-1)
            finals.append(lstm.Bidirectional(forward=end_ahead, reverse=end_back))
        else:
            is_reversed = isinstance(level, lstm.Reversed)
            layer = level.layer if is_reversed else level
            outputs, end = run_layer(layer, outputs, states, lengths, level_masks, is_reversed)
            finals.append(end)
    return outputs, tuple(finals)


def run_layer(layer: Any, inputs: Any, state: Any, lengths: Any, masks: Any, is_reversed: bool) -> tuple[Any, Any]:
    """One layer over the timesteps in its own order; a timestep past a sequence's length changes nothing."""
    timesteps, batch = inputs.shape[:2]
    times = jnp.arange(timesteps)
    order = times[::-1] if is_reversed else times
    valid = jnp.ones((timesteps, batch), bool) if lengths is None else times[:, None] < jnp.asarray(lengths)
    network = lstm.Network(layers=(layer,))
    dtype = jnp.result_type(inputs.dtype, layer.b.dtype)
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(dtype, jnp.asarray(leaf).dtype)), state)

    def body(state, t):
        masks_t = None if masks is None else jax.tree.map(lambda mask: jnp.asarray(mask)[t], masks)
        (new,), _ = lstm.step(network, (state,), jnp.asarray(inputs)[t], (masks_t,))
        new = jax.tree.map(lambda a, b: jnp.where(valid[t][:, None], a, b), new, state)
        return new, jnp.where(valid[t][:, None], new.h, 0)

    state = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), state, jax.eval_shape(lambda s: body(s, 0)[0], state))
    final, in_own_order = jax.lax.scan(body, state, order)
    return (in_own_order[::-1] if is_reversed else in_own_order), final


def is_causal(layers: tuple) -> bool:
    """Does every layer run forward in time, so that the network can be run step by step?"""
    return all(isinstance(level, lstm.Layer) for level in layers)


def zero_states(layers: tuple, batch: int, dtype: Any) -> tuple:
    """A state of zeros for each level, NumPy."""

    def zeros(layer: lstm.Layer) -> lstm.State:
        return lstm.State(h=np.zeros((batch, layer.recurrent_size), dtype), c=np.zeros((batch, layer.hidden_size), dtype))

    states: list[Any] = []
    for level in layers:
        if isinstance(level, lstm.Bidirectional):
            states.append(lstm.Bidirectional(forward=zeros(level.forward), reverse=zeros(level.reverse)))
        else:
            states.append(zeros(level.layer if isinstance(level, lstm.Reversed) else level))
    return tuple(states)
