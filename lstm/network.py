"""The whole network: layers, readout, loss; its cost and the cost's hand-derived gradient.

Functions here take checked arguments; `lstm.api` checks them. Numbers in parentheses are equations
of docs/derivation.md.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lstm import cell, stack
from lstm.losses import LOSSES
from lstm.parameters import Array, CostGradients, Network, Readout, State
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
    initial_state: tuple[State, ...],
    lengths: Array | None,
    loss: str,
    reduction: str,
) -> tuple[Array, CostGradients]:
    loss_forward, loss_backward = LOSSES[loss]
    if lengths is not None:
        targets = _without_padding(targets, lengths)
    # Forward
    outputs, _, residuals = stack.forward(network.layers, inputs, initial_state, lengths)
    y = readout_forward(network.readout, outputs)
    weights = step_weights(reduction, lengths, inputs.shape[:2], inputs.dtype)
    cost = jnp.sum(weights * loss_forward(y, targets))  # (7)
    # Reverse of the four lines above, last first
    d_y = weights[:, :, None] * loss_backward(y, targets)
    d_outputs, d_readout = readout_backward(network.readout, outputs, d_y)
    no_gradient = tuple(State(h=jnp.zeros_like(s.h), c=jnp.zeros_like(s.c)) for s in initial_state)
    d = stack.backward(network.layers, residuals, d_outputs, no_gradient)
    gradients = CostGradients(network=Network(d.layers, d_readout), inputs=d.inputs, initial_state=d.initial_state)
    return cost, gradients


def step(network: Network, states: tuple[State, ...], x_t: Array) -> tuple[tuple[State, ...], Array]:
    """One timestep of the whole network: states and ``x_t (B, D)`` -> new states and predictions (B, K)."""
    new_states = []
    below = x_t
    for layer, state in zip(network.layers, states, strict=True):
        new_state = cell.step(layer, below, state)
        new_states.append(new_state)
        below = new_state.h
    return tuple(new_states), readout_forward(network.readout, below)


def zero_state(layers: tuple, batch: int, dtype: Any) -> tuple[State, ...]:
    def zeros(size: int) -> Array:
        return jnp.zeros((batch, size), dtype)

    return tuple(State(h=zeros(layer.w_h.shape[0]), c=zeros(layer.hidden_size)) for layer in layers)


def _without_padding(targets: Array, lengths: Array) -> Array:
    valid = valid_steps(lengths, targets.shape[0])
    return jnp.where(valid if targets.ndim == 3 else valid[:, :, 0], targets, 0)
