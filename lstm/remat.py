"""Backpropagation through time that forgets: of the forward pass it keeps one state per segment, and runs each segment again.

T timesteps in segments of k: T / k states are kept, and k timesteps' residuals at a time, so √T of each at k = √T. The whole stack
goes through a segment before the next, so every layer runs forward in time. Numbers in parentheses: docs/derivation.md.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from lstm import network as net, stack
from lstm.losses import LOSSES
from lstm.parameters import Array, CostGradients, Gradients, Layer, Network
from lstm.validation import BadInput, described


def segment_length(remat: Any, layers: tuple, timesteps: int) -> int | None:
    """What the argument ``remat`` of the public functions asks for: k, or None for plain backpropagation."""
    if remat is False or remat is None:
        return None
    whole = not isinstance(remat, bool) and hasattr(remat, "__index__")
    if not (remat is True or (whole and int(remat) >= 1)):
        raise BadInput(f"remat: expected True, False or the length of a segment, at least 1; got {described(remat)}")
    for number, level in enumerate(layers):
        if not isinstance(level, Layer):
            raise BadInput(f"remat: expected layers that all run forward in time; got layers[{number}], an lstm.{type(level).__name__}")
    return min(_near_root(timesteps) if remat is True else int(remat), timesteps)


def _near_root(timesteps: int) -> int:
    """About √T; a divisor of T if there is one within a factor of 1.5, since then no segment needs filling up."""
    root = math.isqrt(timesteps - 1) + 1
    near = [k for k in range(1, timesteps + 1) if timesteps % k == 0 and root <= 1.5 * k and k <= 1.5 * root]
    return min(near, key=lambda k: abs(k - root), default=root)


def forward(
    layers: tuple, inputs: Array, initial_state: tuple, lengths: Array | None, masks: tuple | None, k: int
) -> tuple[Array, tuple, tuple]:
    """-> outputs (T, B, R), final states, and the states before each segment, (T / k, B, ·)."""
    lengths = _if_filled_up(lengths, inputs, k)

    def one_segment(states, at_s):
        start, inputs_s, masks_s = at_s
        outputs, new_states, _ = stack.forward(layers, inputs_s, states, _within(lengths, start, k), masks_s)
        return new_states, (states, outputs)  # (42)

    final, (kept, outputs) = jax.lax.scan(one_segment, initial_state, _segments((inputs, masks), k))
    return outputs.reshape(-1, *outputs.shape[2:])[: inputs.shape[0]], final, kept


def backward(
    layers: tuple, inputs: Array, kept: tuple, lengths: Array | None, masks: tuple | None, k: int, d_outputs: Array, d_final_state: tuple
) -> Gradients:
    """What `lstm.stack.backward` returns, from the states that `forward` kept."""
    lengths = _if_filled_up(lengths, inputs, k)

    # Reverse of one_segment
    def one_segment_reversed(carry, at_s):
        d_states, d_layers = carry
        (start, inputs_s, masks_s, d_outputs_s), states = at_s
        _, _, residuals = stack.forward(layers, inputs_s, states, _within(lengths, start, k), masks_s)  # (43)
        d, _ = stack.backward(layers, residuals, d_outputs_s, d_states)
        return (d.initial_state, _sum(d_layers, d.layers)), d.inputs  # (44)

    none_yet = jax.tree.map(jnp.zeros_like, layers)
    over = _segments((inputs, masks, d_outputs), k), kept
    (d_initial, d_layers), d_inputs = jax.lax.scan(one_segment_reversed, (d_final_state, none_yet), over, reverse=True)
    d_inputs = d_inputs.reshape(-1, *d_inputs.shape[2:])[: inputs.shape[0]]
    return Gradients(layers=d_layers, inputs=d_inputs, initial_state=d_initial)


def of_batch(network: Network, loss: str, batch: net.Batch, k: int, with_inputs: bool) -> tuple[Array, CostGradients]:
    """As `lstm.network.of_batch`. ``with_inputs=False`` leaves out the gradient at the inputs, (T, B, D)."""
    loss_forward, loss_backward = LOSSES[loss]
    inputs, targets, weights, masks, initial_state, lengths = batch
    lengths = _if_filled_up(lengths, inputs, k)

    def one_segment(carry, at_s):
        states, cost = carry
        start, inputs_s, masks_s, targets_s, weights_s = at_s
        outputs, new_states, _ = stack.forward(network.layers, inputs_s, states, _within(lengths, start, k), masks_s)
        losses = loss_forward(net.readout_forward(network.readout, outputs), targets_s)
        return (new_states, cost + jnp.sum(weights_s * losses)), states  # (42)

    over = _segments((inputs, masks, targets, weights), k)
    (final, cost), kept = jax.lax.scan(one_segment, (initial_state, jnp.zeros((), inputs.dtype)), over)

    # Reverse of one_segment
    def one_segment_reversed(carry, at_s):
        d_states, d_so_far = carry
        (start, inputs_s, masks_s, targets_s, weights_s), states = at_s
        outputs, _, residuals = stack.forward(network.layers, inputs_s, states, _within(lengths, start, k), masks_s)  # (43)
        d_y = weights_s[:, :, None] * loss_backward(net.readout_forward(network.readout, outputs), targets_s)
        d_outputs, d_readout = net.readout_backward(network.readout, outputs, d_y)
        d, _ = stack.backward(network.layers, residuals, d_outputs, d_states)
        found = Network(d.layers, d_readout)
        return (d.initial_state, _sum(d_so_far, found)), d.inputs if with_inputs else None  # (44)

    start = jax.tree.map(jnp.zeros_like, (final, network))
    (d_initial, d_network), d_inputs = jax.lax.scan(one_segment_reversed, start, (over, kept), reverse=True)
    if with_inputs:
        d_inputs = d_inputs.reshape(-1, *inputs.shape[1:])[: inputs.shape[0]]
    return cost, CostGradients(network=d_network, inputs=d_inputs, initial_state=d_initial)


def _segments(sequences: tuple, k: int) -> tuple:
    """Arrays (T, ...) -> (T / k, k, ...), the last segment filled up with zeros; and each segment's first timestep."""

    def cut(array):
        missing = -array.shape[0] % k
        if missing:
            array = jnp.concatenate([array, jnp.zeros((missing, *array.shape[1:]), array.dtype)])
        return array.reshape(-1, k, *array.shape[1:])

    pieces = jax.tree.map(cut, sequences)
    return (jnp.arange(pieces[0].shape[0]) * k, *pieces)


def _if_filled_up(lengths: Array | None, inputs: Array, k: int) -> Array | None:
    """What fills up the last segment counts for nothing."""
    timesteps, batch = inputs.shape[:2]
    return jnp.full(batch, timesteps) if lengths is None and timesteps % k else lengths


def _within(lengths: Array | None, start: Array, k: int) -> Array | None:
    """How many of a segment's timesteps count, in each sequence."""
    return None if lengths is None else jnp.clip(lengths - start, 0, k)


def _sum(a: Any, b: Any) -> Any:
    return jax.tree.map(jnp.add, a, b)
