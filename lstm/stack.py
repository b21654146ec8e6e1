"""Layers on top of one another, in one direction or two: each level's outputs are the next one's inputs.

The structure of ``layers`` is the configuration (see `lstm.levels`). States, masks, residuals and gradients are tuples with
one entry per level, lowest first.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm import levels, sequence
from lstm.parameters import Array, Gradients
from lstm.sequence import NO_MASKS, valid_steps


def forward(
    layers: tuple, inputs: Array, initial_state: tuple, lengths: Array | None, masks: tuple | None = None
) -> tuple[Array, tuple, tuple]:
    """-> outputs of the top level (T, B, R), final states, residuals."""
    valid = None if lengths is None else valid_steps(lengths, inputs.shape[0])
    final_states, all_residuals = [], []
    outputs = inputs
    for level, states, level_masks in zip(layers, initial_state, masks or (None,) * len(layers), strict=True):
        outputs, finals, kept = _level_forward(level, outputs, states, level_masks, lengths, valid)
        final_states.append(finals)
        all_residuals.append(kept)
    return outputs, tuple(final_states), tuple(all_residuals)


def backward(
    layers: tuple, residuals: tuple, d_outputs: Array, d_final_state: tuple, internals: bool = False
) -> tuple[Gradients, tuple]:
    """-> gradients, and the `Internals` of each level (None unless asked for)."""
    valid = levels.apart(layers[0], residuals[0])[0].valid
    lengths = None if valid is None else valid[:, :, 0].sum(axis=0)
    found: list[Gradients] = []
    insides: list[Any] = []
    # Reverse of the loop over levels: what a level's inputs receive is the upstream gradient of the level below
    for level, kept, d_states in reversed(list(zip(layers, residuals, d_final_state, strict=True))):
        gradients, inside = _level_backward(level, kept, d_outputs, d_states, lengths, internals)
        d_outputs = gradients.inputs
        found.insert(0, gradients)
        insides.insert(0, inside)
    d_layers = tuple(gradients.layers for gradients in found)
    d_initial_state = tuple(gradients.initial_state for gradients in found)
    return Gradients(layers=d_layers, inputs=d_outputs, initial_state=d_initial_state), tuple(insides)


def _level_forward(
    level: Any, inputs: Array, states: Any, masks: Any, lengths: Array | None, valid: Array | None
) -> tuple[Array, Any, Any]:
    """Each direction over the same inputs; their outputs side by side."""
    results = []
    for direction, state, given in zip(
        levels.directions(level), levels.apart(level, states), levels.apart(level, masks), strict=True
    ):
        back_to_front = functools.partial(_flip, lengths=lengths, is_reversed=direction.reversed)
        own_masks = jax.tree.map(back_to_front, given or NO_MASKS)
        outputs, final_state, kept = sequence.forward(direction.layer, back_to_front(inputs), state, valid, own_masks)
        results.append((back_to_front(outputs), final_state, kept))
    all_outputs, final_states, residuals = (list(each) for each in zip(*results, strict=True))
    side_by_side = all_outputs[0] if len(results) == 1 else jnp.concatenate(all_outputs, axis=-1)
    return side_by_side, levels.together(level, final_states), levels.together(level, residuals)


def _level_backward(
    level: Any, residuals: Any, d_outputs: Array, d_states: Any, lengths: Array | None, internals: bool
) -> tuple[Gradients, Any]:
    """Reverse of `_level_forward`: the inputs went to each direction, so their gradients add up."""
    directions = levels.directions(level)
    d_outputs_of = jnp.split(d_outputs, np.cumsum([direction.layer.recurrent_size for direction in directions])[:-1], axis=-1)
    found, insides = [], []
    for direction, kept, d_state, d_output in zip(
        directions, levels.apart(level, residuals), levels.apart(level, d_states), d_outputs_of, strict=True
    ):
        back_to_front = functools.partial(_flip, lengths=lengths, is_reversed=direction.reversed)
        gradients, inside = sequence.backward(direction.layer, kept, back_to_front(d_output), d_state, internals)
        found.append(dataclasses.replace(gradients, inputs=back_to_front(gradients.inputs)))
        insides.append(jax.tree.map(back_to_front, inside))
    d_inputs = found[0].inputs if len(found) == 1 else found[0].inputs + found[1].inputs
    gradients = Gradients(
        layers=levels.together_as_layers(level, [gradients.layers for gradients in found]),
        inputs=d_inputs,
        initial_state=levels.together(level, [gradients.initial_state for gradients in found]),
    )
    return gradients, levels.together(level, insides)


def _flip(array: Array, lengths: Array | None, is_reversed: bool) -> Array:
    """Each sequence's valid prefix (T, B, ...) back to front, which is its own reverse. Nothing unless ``is_reversed``."""
    if not is_reversed:
        return array
    if lengths is None:
        return array[::-1]
    t = jnp.arange(array.shape[0])[:, None]
    lengths = jnp.asarray(lengths).astype(jnp.int32)  # whatever kind of integer was given
    source = jnp.where(t < lengths, lengths - 1 - t, t)  # (T, B)
    return jnp.take_along_axis(array, source[:, :, None], axis=0)
