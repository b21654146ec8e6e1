"""The whole network: layers, readout, loss; its cost and the cost's hand-derived gradient.

Functions here take checked arguments; `lstm.api` checks them. Numbers in parentheses are equations
of docs/derivation.md.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lstm import sequence, stack
from lstm.levels import directions, together
from lstm.losses import LOSSES
from lstm.parameters import Array, CostGradients, Layer, Network, Readout, State
from lstm.precision import accumulate, flat, matmul
from lstm.sequence import valid_steps

REDUCTIONS = ("mean", "sum")


def readout_forward(readout: Readout | None, outputs: Array) -> Array:
    """(..., R) -> (..., K)."""
    if readout is None:
        return outputs
    return matmul(outputs, readout.w) + readout.b  # (6)


def readout_backward(readout: Readout | None, outputs: Array, d_y: Array) -> tuple[Array, Readout | None]:
    """-> (gradient at the outputs, gradient at the readout)."""
    if readout is None:
        return d_y, None
    d_outputs = matmul(d_y, readout.w.T)  # (21)
    return d_outputs, Readout(w=accumulate(outputs, d_y), b=flat(d_y).sum(axis=0))


def step_weights(reduction: str, lengths: Array | None, shape: tuple[int, int], dtype: Any) -> Array:
    """(T, B): by how much each timestep's loss counts in the cost (7). The sum of these is 1 for a mean."""
    valid = jnp.ones(shape, dtype) if lengths is None else valid_steps(lengths, shape[0])[:, :, 0].astype(dtype)
    return valid if reduction == "sum" else valid / jnp.maximum(valid.sum(), 1)


def loss_and_all_gradients(
    network: Network,
    inputs: Array,
    targets: Array,
    initial_state: tuple,
    lengths: Array | None,
    masks: tuple | None,
    loss: str,
    reduction: str,
) -> tuple[Array, CostGradients]:
    loss_forward, loss_backward = LOSSES[loss]
    if lengths is not None:
        targets = without_padding(targets, lengths)
    # Forward
    outputs, _, residuals = stack.forward(network.layers, inputs, initial_state, lengths, masks)
    y = readout_forward(network.readout, outputs)
    weights = step_weights(reduction, lengths, inputs.shape[:2], inputs.dtype)
    cost = jnp.sum(weights * loss_forward(y, targets))  # (7)
    # Reverse of the four lines above, last first
    d_y = weights[:, :, None] * loss_backward(y, targets)
    d_outputs, d_readout = readout_backward(network.readout, outputs, d_y)
    no_gradient = jax.tree.map(jnp.zeros_like, initial_state)
    d, _ = stack.backward(network.layers, residuals, d_outputs, no_gradient)
    gradients = CostGradients(network=Network(d.layers, d_readout), inputs=d.inputs, initial_state=d.initial_state)
    return cost, gradients


def step(network: Network, states: tuple, x_t: Array, masks: tuple | None = None) -> tuple[tuple, Array]:
    """One timestep of the whole network: states and ``x_t (B, D)`` -> new states and predictions (B, K).

    ``masks`` as for a whole sequence, without the time axis. One direction only: a reversed layer starts at the end.
    """
    new_states = []
    below = x_t
    for layer, state, layer_masks in zip(network.layers, states, masks or (None,) * len(states), strict=True):
        new_state = sequence.step(layer, below, state, layer_masks or sequence.NO_MASKS)
        new_states.append(new_state)
        below = new_state.h
    return tuple(new_states), readout_forward(network.readout, below)


def zero_state(layers: tuple, batch: int, dtype: Any) -> tuple:
    """One `State` of zeros for each direction of each level."""

    def zeros(layer: Layer) -> State:
        return State(h=jnp.zeros((batch, layer.recurrent_size), dtype), c=jnp.zeros((batch, layer.hidden_size), dtype))

    return tuple(together(level, [zeros(direction.layer) for direction in directions(level)]) for level in layers)


def without_padding(targets: Array, lengths: Array) -> Array:
    """Zeros past each sequence's length, where anything may stand."""
    valid = valid_steps(lengths, targets.shape[0])
    return jnp.where(valid if targets.ndim == 3 else valid[:, :, 0], targets, 0)
