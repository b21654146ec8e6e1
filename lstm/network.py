"""The whole network: layers, readout, loss; its cost and the cost's hand-derived gradient.

Functions here take checked arguments; `lstm.gradients` checks them. Numbers in parentheses are equations
of docs/derivation.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lstm import sequence, stack
from lstm.levels import directions, together
from lstm.losses import LOSSES
from lstm.parameters import Array, CostGradients, Layer, Network, Readout, State
from lstm.precision import accumulate, flat, matmul
from lstm.sequence import valid_steps

REDUCTIONS = ("mean", "sum")
CORE_CACHE = 2 * 2**20  # bytes: a core's own cache on recent processors holds 1 or 2 MiB


class Batch(NamedTuple):
    """Sequences, and by how much each timestep's loss counts."""

    inputs: Array  # (T, B, D)
    targets: Array  # (T, B, K), or labels (T, B)
    weights: Array  # (T, B), see `step_weights`
    masks: tuple | None  # (T, B, ·)
    initial_state: tuple  # (B, ·)
    lengths: Array | None  # (B,)


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
    return of_batch(network, loss, weighted(inputs, targets, initial_state, lengths, masks, reduction))


def weighted(
    inputs: Array, targets: Array, initial_state: tuple, lengths: Array | None, masks: tuple | None, reduction: str
) -> Batch:
    if lengths is not None:
        targets = without_padding(targets, lengths)
    weights = step_weights(reduction, lengths, inputs.shape[:2], inputs.dtype)
    return Batch(inputs, targets, weights, masks, initial_state, lengths)


def of_batch(
    network: Network, loss: str, batch: Batch, with_inputs: bool = True, one_core: bool = False
) -> tuple[Array, CostGradients]:
    """The batch's part of the cost (7) and of its gradients; of the inputs only ``with_inputs``. ``one_core``: no other is free."""
    groups = number_of_groups(network.layers, batch.inputs, one_core)
    if groups == 1:
        return _cost_and_gradients(network, loss, batch, with_inputs)

    # The cost (7) is a sum over sequences, so its gradients are sums over groups of sequences
    def add_group(so_far, start):
        cost, d = so_far
        cost_of_group, d_of_group = _cost_and_gradients(network, loss, cut(batch, start, groups), with_inputs)
        d_network = jax.tree.map(jnp.add, d.network, d_of_group.network)
        d_inputs = _put(d.inputs, d_of_group.inputs, start, axis=1)
        d_initial_state = _put(d.initial_state, d_of_group.initial_state, start, axis=0)
        return (cost + cost_of_group, CostGradients(d_network, d_inputs, d_initial_state)), None

    like = CostGradients(network, batch.inputs if with_inputs else None, batch.initial_state)
    none_yet = jax.tree.map(jnp.zeros_like, (batch.weights[0, 0], like))
    starts = jnp.arange(groups) * (batch.inputs.shape[1] // groups)
    return jax.lax.scan(add_group, none_yet, starts)[0]


def number_of_groups(layers: tuple, inputs: Array, one_core: bool = False) -> int:
    """The fewest groups whose temporaries stay below 32 MiB each, of at least `fewest_rows` sequences all the same; on a CPU only.

    A larger block is taken anew from the operating system on every call, page by page: 8 to 20 % of the time at H = 128 to
    512. Products of fewer rows would lose that again.
    """
    if jax.default_backend() != "cpu":
        return 1
    timesteps, batch, features = inputs.shape
    parts = [direction.layer for level in layers for direction in directions(level)]
    # Gates, c_{t-1}; h_t, h_{t-1} and the upstream gradient
    columns = features + sum((len(part.gates) + 1) * part.hidden_size + 3 * part.recurrent_size for part in parts)
    kept = timesteps * batch * columns * inputs.dtype.itemsize
    rows = fewest_rows(layers, inputs.dtype, one_core)
    possible = [groups for groups in range(1, batch // rows + 1) if batch % groups == 0]
    return min((groups for groups in possible if kept / groups < 32 * 2**20), default=max(possible, default=1))


def fewest_rows(layers: tuple, dtype: Any, one_core: bool = False) -> int:
    """The fewest sequences that are worth a product of their own at every timestep, on a CPU.

    A matrix that its core's own cache does not hold is read from further away at every timestep, and wants twice the rows. One core
    alone does with half of what two share.
    """
    widest = max(direction.layer.w_h.size for level in layers for direction in directions(level))
    if widest * jnp.dtype(dtype).itemsize > CORE_CACHE:
        return 32
    return 8 if one_core else 16


def _cost_and_gradients(network: Network, loss: str, batch: Batch, with_inputs: bool) -> tuple[Array, CostGradients]:
    inputs, targets, weights, masks, initial_state, lengths = batch
    loss_forward, loss_backward = LOSSES[loss]
    # Forward
    outputs, _, residuals = stack.forward(network.layers, inputs, initial_state, lengths, masks)
    y = readout_forward(network.readout, outputs)
    cost = jnp.sum(weights * loss_forward(y, targets))  # (7)
    # Reverse of the three lines above, last first
    d_y = weights[:, :, None] * loss_backward(y, targets)
    d_outputs, d_readout = readout_backward(network.readout, outputs, d_y)
    no_gradient = jax.tree.map(jnp.zeros_like, initial_state)
    d, _ = stack.backward(network.layers, residuals, d_outputs, no_gradient)
    d_inputs = d.inputs if with_inputs else None
    return cost, CostGradients(network=Network(d.layers, d_readout), inputs=d_inputs, initial_state=d.initial_state)


def cut(batch: Batch, start: Array, groups: int) -> Batch:
    """The sequences of one group, those from ``start`` on."""

    def along(axis: int, arrays: Any) -> Any:
        return jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, a.shape[axis] // groups, axis), arrays)

    time_major, batch_major = batch[:4], batch[4:]
    return Batch(*along(1, time_major), *along(0, batch_major))


def _put(arrays: Any, of_group: Any, start: Array, axis: int) -> Any:
    """The reverse of `cut`, for arrays that have their sequences along one axis."""
    return jax.tree.map(lambda a, part: jax.lax.dynamic_update_slice_in_dim(a, part, start, axis), arrays, of_group)


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
