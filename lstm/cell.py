"""One timestep of an LSTM: the forward pass and, beside it, its reverse.

Numbers in parentheses are equations of docs/derivation.md.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from lstm.activations import sigmoid, sigmoid_derivative, tanh, tanh_derivative
from lstm.parameters import Array, Layer, State, pytree
from lstm.precision import matmul


@pytree
class CellResiduals:
    """What the backward pass of a timestep needs to know of the forward pass."""

    i: Array  # (B, H)  gates, after their activation
    f: Array  # (B, H)
    g: Array  # (B, H)
    o: Array  # (B, H)
    c: Array  # (B, H)  the cell state that this timestep computed


def forward(layer: Layer, z_x: Array, state: State) -> tuple[State, CellResiduals]:
    """``z_x = x_t W_x + b`` (B, 4H) and the previous state -> the new state."""
    z = z_x + matmul(state.h, layer.w_h)  # (1)   (B, 4H)
    z_i, z_f, z_g, z_o = jnp.split(z, 4, axis=-1)
    i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o)  # (2)   (B, H) each
    g = tanh(z_g)  # (3)
    c = f * state.c + i * g  # (4)
    h = o * tanh(c)  # (5)
    return State(h=h, c=c), CellResiduals(i=i, f=f, g=g, o=o, c=c)


def backward(layer: Layer, residuals: CellResiduals, c_previous: Array, d_state: State) -> tuple[Array, State]:
    """The gradient at the new state -> (gradient at z, gradient at the previous state).

    ``d_state.h`` and ``d_state.c`` are *all* of the cost's dependence on h_t and c_t that does not
    pass through this timestep: upstream gradients plus what flows back from t + 1.
    """
    i, f, g, o = residuals.i, residuals.f, residuals.g, residuals.o
    tanh_c = tanh(residuals.c)
    # Reverse of (5): h = o * tanh(c)
    d_o = d_state.h * tanh_c  # (10)
    d_c = d_state.c + d_state.h * o * tanh_derivative(tanh_c)  # (11)
    # Reverse of (4): c = f * c_previous + i * g
    d_f, d_i, d_g = d_c * c_previous, d_c * g, d_c * i  # (12)
    d_c_previous = d_c * f  # (14)
    # Reverse of (2) and (3)
    d_z = jnp.concatenate(  # (13)   (B, 4H)
        [d_i * sigmoid_derivative(i), d_f * sigmoid_derivative(f), d_g * tanh_derivative(g), d_o * sigmoid_derivative(o)],
        axis=-1,
    )
    # Reverse of (1)
    d_h_previous = matmul(d_z, layer.w_h.T)  # (15)
    return d_z, State(h=d_h_previous, c=d_c_previous)


def step(layer: Any, x_t: Array, state: State) -> State:
    """One whole timestep, ``x_t (B, D)``: what a streaming user, or an estimator, calls."""
    z_x = matmul(x_t, layer.w_x) + layer.b
    return forward(layer, z_x, state)[0]
