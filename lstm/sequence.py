"""One layer over time: the forward scan, and backpropagation through time as the reverse scan.

Numbers in parentheses are equations of docs/derivation.md.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lstm import cell
from lstm.cell import CellResiduals
from lstm.parameters import Array, Gradients, Layer, State, pytree
from lstm.precision import accumulate, flat, matmul


@pytree
class Residuals:
    """Everything that the reverse scan needs of the forward scan."""

    inputs: Array  # (T, B, D)  zero past each sequence's length
    initial_state: State  # (B, R), (B, H)
    cells: CellResiduals  # (T, B, H) each
    h: Array  # (T, B, R)  h_t, held past each sequence's length
    c: Array  # (T, B, H)  c_t, held past each sequence's length
    valid: Array | None  # (T, B, 1) booleans, or None where every timestep counts


def valid_steps(lengths: Array, timesteps: int) -> Array:
    """(B,) lengths -> (T, B, 1) booleans: does timestep t of sequence b count?"""
    return (jnp.arange(timesteps)[:, None] < lengths)[:, :, None]


def forward(layer: Layer, inputs: Array, initial_state: State, valid: Array | None = None) -> tuple[Array, State, Residuals]:
    """-> outputs (T, B, R), the state at each sequence's own end, residuals."""
    if valid is not None:
        inputs = jnp.where(valid, inputs, 0)  # padding may hold anything, NaN included
    timesteps, batch, _ = inputs.shape
    z_x = (matmul(flat(inputs), layer.w_x) + layer.b).reshape(timesteps, batch, -1)  # (1), for all t at once

    def one_step(state, at_t):
        z_x_t, valid_t = at_t
        new_state, residuals = cell.forward(layer, z_x_t, state)
        new_state = _hold(valid_t, new_state, state)  # (26)
        return new_state, (new_state, residuals)

    final_state, (states, cells) = jax.lax.scan(one_step, initial_state, (z_x, valid))
    outputs = states.h if valid is None else jnp.where(valid, states.h, 0)
    residuals = Residuals(inputs=inputs, initial_state=initial_state, cells=cells, h=states.h, c=states.c, valid=valid)
    return outputs, final_state, residuals


def backward(layer: Layer, residuals: Residuals, d_outputs: Array, d_final_state: State) -> Gradients:
    """Upstream gradients on outputs (T, B, R) and on the final state -> all gradients, by BPTT."""
    valid = residuals.valid
    if valid is not None:
        d_outputs = jnp.where(valid, d_outputs, 0)
    h_previous = _shifted(residuals.initial_state.h, residuals.h)
    c_previous = _shifted(residuals.initial_state.c, residuals.c)

    # Reverse of one_step
    def one_step_reversed(d_state, at_t):
        cell_t, c_previous_t, d_output_t, valid_t = at_t
        d_new_state = State(h=d_state.h + d_output_t, c=d_state.c)  # (9)
        d_z, d_previous = cell.backward(layer, cell_t, c_previous_t, d_new_state)
        if valid_t is not None:  # (27)
            d_z = jnp.where(valid_t, d_z, 0)
        return _hold(valid_t, d_previous, d_state), d_z

    d_initial_state, d_z = jax.lax.scan(
        one_step_reversed, d_final_state, (residuals.cells, c_previous, d_outputs, valid), reverse=True
    )
    d_layer = Layer(
        w_x=accumulate(residuals.inputs, d_z),  # (16)
        w_h=accumulate(h_previous, d_z),  # (17)
        b=flat(d_z).sum(axis=0),  # (18)
    )
    d_inputs = matmul(flat(d_z), layer.w_x.T).reshape(residuals.inputs.shape)  # (19)
    return Gradients(layers=d_layer, inputs=d_inputs, initial_state=d_initial_state)  # (20)


def _hold(valid_t: Array | None, new: State, old: State) -> State:
    """``new`` where this timestep counts, else ``old``."""
    if valid_t is None:
        return new
    return jax.tree.map(lambda a, b: jnp.where(valid_t, a, b), new, old)


def _shifted(initial: Array, values: Array) -> Array:
    """(value before step 0, value after step 0, …, value after step T - 2): what step t started from."""
    return jnp.concatenate([initial[None], values[:-1]])
