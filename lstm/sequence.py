"""One layer over time: the forward scan, and backpropagation through time as the reverse scan.

Numbers in parentheses are equations of docs/derivation.md.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from lstm import cell
from lstm.activations import activation
from lstm.cell import CellResiduals
from lstm.loops import scan_in_place
from lstm.parameters import Array, Gradients, Layer, Masks, State, pytree
from lstm.precision import accumulate, flat, matmul

NO_MASKS = Masks()


@pytree
class Residuals:
    """Everything that the reverse scan needs of the forward scan."""

    inputs: Array  # (T, B, D)  as the matrix product saw them: masked, and zero past each sequence's length
    initial_state: State  # (B, R), (B, H)
    gates: Array  # (T, B, 4H)  see CellResiduals
    h: Array  # (T, B, R)  the outputs
    c_previous: Array  # (T, B, H)  the cell state that each timestep started from
    valid: Array | None  # (T, B, 1) booleans, or None where every timestep counts
    masks: Masks


@pytree
class Internals:
    """The gradients inside one layer, in input order: what a candidate's own internals are compared with."""

    d_z: Array  # (T, B, 4H)  δ_t, at the pre-activations
    d_h: Array  # (T, B, R)  at h_t, upstream and from t + 1
    d_c: Array  # (T, B, H)  at c_t, likewise and through h_t


def valid_steps(lengths: Array, timesteps: int) -> Array:
    """(B,) lengths -> (T, B, 1) booleans: does timestep t of sequence b count?"""
    return (jnp.arange(timesteps)[:, None] < lengths)[:, :, None]


def forward(
    layer: Layer, inputs: Array, initial_state: State, valid: Array | None = None, masks: Masks = NO_MASKS
) -> tuple[Array, State, Residuals]:
    """-> outputs (T, B, R), the state at each sequence's own end, residuals."""
    if valid is not None:
        inputs = jnp.where(valid, inputs, 0)  # padding may hold anything, NaN included
    inputs = _masked(inputs, masks.inputs)  # (37)
    timesteps, batch, _ = inputs.shape
    x_w = matmul(flat(inputs), layer.w_x).reshape(timesteps, batch, -1)  # (1), for all t at once

    def one_step(state, at_t):
        x_w_t, valid_t, masks_t = at_t
        new_state, kept = _masked_cell(layer, x_w_t + layer.b, state, masks_t)
        new_state = _hold(valid_t, new_state, state)  # (26)
        return new_state, (kept.gates, new_state.h, state.c)

    final_state, (gates, h, c_previous) = scan_in_place(one_step, initial_state, (x_w, valid, masks))
    outputs = h if valid is None else jnp.where(valid, h, 0)
    return outputs, final_state, Residuals(inputs, initial_state, gates, outputs, c_previous, valid, masks)


def backward(
    layer: Layer, residuals: Residuals, d_outputs: Array, d_final_state: State, internals: bool = False
) -> tuple[Gradients, Internals | None]:
    """Upstream gradients on outputs (T, B, R) and on the final state -> all gradients, by BPTT."""
    valid, masks = residuals.valid, residuals.masks
    if valid is not None:
        d_outputs = jnp.where(valid, d_outputs, 0)
    w_h_transposed = layer.w_h.T  # once, not at every timestep

    # Reverse of one_step
    def one_step_reversed(d_state, at_t):
        gates_t, c_previous_t, d_output_t, valid_t, masks_t = at_t
        cell_t = CellResiduals(gates=gates_t, c=cell.new_c(layer, gates_t, c_previous_t))
        d_new = State(h=d_state.h + d_output_t, c=d_state.c)  # (9)
        d_computed = State(h=_left(masks_t.zoneout_h, d_new.h), c=_left(masks_t.zoneout_c, d_new.c))  # (39)
        d = cell.backward(layer, cell_t, c_previous_t, d_computed, w_h_transposed)
        d_previous = State(
            h=_plus_kept(_masked(d.d_previous.h, masks_t.recurrent), masks_t.zoneout_h, d_new.h),
            c=_plus_kept(d.d_previous.c, masks_t.zoneout_c, d_new.c),
        )
        d_z = d.d_z if valid_t is None else jnp.where(valid_t, d.d_z, 0)  # (27)
        d_h = d_computed.h if valid_t is None else jnp.where(valid_t, d_computed.h, 0)
        found = (d_z, d_h if layer.projection is not None else None, (d_new.h, d.d_c) if internals else None)
        return _hold(valid_t, d_previous, d_state), found

    over = (residuals.gates, residuals.c_previous, d_outputs, valid, masks)
    d_initial_state, (d_z, d_h, inside) = scan_in_place(one_step_reversed, d_final_state, over, reverse=True)
    d_layer = _parameter_gradients(layer, residuals, d_z, d_h)
    d_inputs = matmul(flat(d_z), layer.w_x.T).reshape(residuals.inputs.shape)  # (19)
    gradients = Gradients(layers=d_layer, inputs=_masked(d_inputs, masks.inputs), initial_state=d_initial_state)  # (20)
    if not internals:
        return gradients, None
    keep = jnp.asarray(True) if valid is None else valid
    return gradients, Internals(d_z=d_z, d_h=jnp.where(keep, inside[0], 0), d_c=jnp.where(keep, inside[1], 0))


def step(layer: Layer, x_t: Array, state: State, masks_t: Masks = NO_MASKS) -> State:
    """One whole timestep, ``x_t (B, D)``: what a streaming user, or an estimator, calls."""
    z_x_t = matmul(_masked(x_t, masks_t.inputs), layer.w_x) + layer.b
    return _masked_cell(layer, z_x_t, state, masks_t)[0]


def _masked_cell(layer: Layer, z_x_t: Array, state: State, masks_t: Masks) -> tuple[State, CellResiduals]:
    """The cell between its masks."""
    seen = State(h=_masked(state.h, masks_t.recurrent), c=state.c)  # (37)
    new, residuals = cell.forward(layer, z_x_t, seen)
    mixed = State(h=_mixed(masks_t.zoneout_h, state.h, new.h), c=_mixed(masks_t.zoneout_c, state.c, new.c))  # (38)
    return mixed, residuals


def _parameter_gradients(layer: Layer, residuals: Residuals, d_z: Array, d_h: Array | None) -> Layer:
    """The sums over time (8), one plain matrix product each, after the reverse scan."""
    h_previous = _masked(_shifted(residuals.initial_state.h, residuals.h), residuals.masks.recurrent)
    changes = {
        "w_x": accumulate(residuals.inputs, d_z),  # (16)
        "w_h": accumulate(h_previous, d_z),  # (17)
        "b": flat(d_z).sum(axis=0),  # (18)
    }
    c = cell.new_c(layer, residuals.gates, residuals.c_previous)
    if layer.peepholes is not None:  # (33)
        blocks = jnp.split(d_z, len(layer.gates), axis=-1)
        seen = [residuals.c_previous] * (len(layer.gates) - 2) + [c]
        without_g = [block for block, gate in zip(blocks, layer.gates, strict=True) if gate != "g"]
        changes["peepholes"] = jnp.stack([flat(d * c).sum(axis=0) for d, c in zip(without_g, seen, strict=True)])
    if layer.projection is not None:  # (36)
        o = cell.split_gates(layer, residuals.gates)[3]
        projected = o * activation(layer.activations.output).forward(c)
        changes["projection"] = accumulate(projected, d_h)
    return dataclasses.replace(layer, **changes)


def _hold(valid_t: Array | None, new: State, old: State) -> State:
    """``new`` where this timestep counts, else ``old``."""
    if valid_t is None:
        return new
    return jax.tree.map(lambda a, b: jnp.where(valid_t, a, b), new, old)


def _masked(array: Array, mask: Array | None) -> Array:
    return array if mask is None else array * mask


def _mixed(mask: Array | None, old: Array, new: Array) -> Array:
    """mask · old + (1 - mask) · new."""
    return new if mask is None else mask * old + (1 - mask) * new


# Reverse of _mixed: what goes to new, and what goes to old beside the rest that old receives
def _left(mask: Array | None, d: Array) -> Array:
    return d if mask is None else (1 - mask) * d


def _plus_kept(rest: Array, mask: Array | None, d: Array) -> Array:
    return rest if mask is None else rest + mask * d


def _shifted(initial: Array, values: Array) -> Array:
    """(value before step 0, value after step 0, …, value after step T - 2): what step t started from."""
    return jnp.concatenate([initial[None], values[:-1]])
