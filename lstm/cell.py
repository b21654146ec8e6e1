"""One timestep of an LSTM: the forward pass and, beside it, its reverse.

Numbers in parentheses are equations of docs/derivation.md.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lstm.activations import gates_derivative, gates_forward, tanh, tanh_derivative
from lstm.parameters import Array, Layer, State, pytree
from lstm.precision import matmul


@pytree
class CellResiduals:
    """What the backward pass of a timestep needs to know of the forward pass."""

    gates: Array  # (B, 4H)  i, f, g, o after their activation, in one array: measured faster than four
    c: Array  # (B, H)  the cell state that this timestep computed


def forward(layer: Layer, z_x: Array, state: State) -> tuple[State, CellResiduals]:
    """``z_x = x_t W_x + b`` (B, 4H) and the previous state -> the new state."""
    z = z_x + matmul(state.h, layer.w_h)  # (1)   (B, 4H)
    gates = gates_forward(z)  # (2), (3)   (B, 4H)
    i, f, g, o = jnp.split(gates, 4, axis=-1)  # (B, H) each
    c = f * state.c + i * g  # (4)
    h = o * tanh(c)  # (5)
    return State(h=h, c=c), CellResiduals(gates=gates, c=c)


def backward(layer: Layer, residuals: CellResiduals, c_previous: Array, d_state: State) -> tuple[Array, State]:
    """The gradient at the new state -> (gradient at z (B, 4H), gradient at the previous state).

    ``d_state.h`` and ``d_state.c`` are *all* of the cost's dependence on h_t and c_t that does not
    pass through this timestep: upstream gradients plus what flows back from t + 1.
    """
    i, f, g, o = jnp.split(residuals.gates, 4, axis=-1)
    tanh_c = tanh(residuals.c)
    # Reverse of: h = o * tanh(c)
    d_o = d_state.h * tanh_c  # (10)
    d_c = d_state.c + d_state.h * o * tanh_derivative(tanh_c)  # (11)
    # Reverse of: c = f * state.c + i * g
    d_i, d_f, d_g = d_c * g, d_c * c_previous, d_c * i  # (12)
    d_c_previous = d_c * f  # (14)
    # Reverse of: gates = gates_forward(z)
    d_z = jnp.concatenate([d_i, d_f, d_g, d_o], axis=-1) * gates_derivative(residuals.gates)  # (13)
    # Reverse of: z = z_x + h W_h
    d_h_previous = matmul(d_z, layer.w_h.T)  # (15)
    return d_z, State(h=d_h_previous, c=d_c_previous)


def step(layer: Layer, x_t: Array, state: State) -> State:
    """One whole timestep, ``x_t (B, D)``: what a streaming user, or an estimator, calls."""
    z_x: Any = matmul(x_t, layer.w_x) + layer.b
    return forward(layer, z_x, state)[0]
