"""One timestep of an LSTM: the forward pass and, beside it, its reverse.

Numbers in parentheses are equations of docs/derivation.md. The standard cell is (1) to (5); a variant is there where the
layer has the parameters for it.
"""

from __future__ import annotations

import jax.numpy as jnp

from lstm.activations import activation
from lstm.parameters import Array, Layer, State, pytree
from lstm.precision import matmul


@pytree
class CellResiduals:
    """What the backward pass of a timestep needs to know of the forward pass."""

    gates: Array  # (B, 4H)  i, f, g, o after their activation (coupled: i, g, o)
    c: Array  # (B, H)  the cell state that this timestep computed


@pytree
class CellGradients:
    """What the backward pass of a timestep finds."""

    d_z: Array  # (B, 4H)  at the pre-activations: δ
    d_c: Array  # (B, H)  at c_t, all paths
    d_previous: State  # at h_{t-1} as the matrix product saw it, and at c_{t-1}


def forward(layer: Layer, z_x: Array, state: State) -> tuple[State, CellResiduals]:
    """``z_x = x_t W_x + b`` (B, 4H) and the previous state -> the new state."""
    gate, _, output = _activations(layer)
    z = z_x + matmul(state.h, layer.w_h)  # (1)   (B, 4H)
    if layer.peepholes is not None:
        p_i, p_f, p_o = peepholes_of(layer)
        z_i, z_f, z_g, z_o = _split(layer, z)  # (B, H) each
        z_i, z_f = z_i + p_i * state.c, z_f + p_f * state.c  # (30)
        z = _joined(layer, z_i, z_f, z_g, z_o)
    gates = _activated(layer, z)  # (B, 4H)
    i, f, g, o = split_gates(layer, gates)
    c = f * state.c + i * g  # (4)
    if layer.clip is not None:
        c = _clip(c, layer.clip.bound)  # (40)
    if layer.peepholes is not None:
        o = gate.forward(z_o + p_o * c)  # (30)
        gates = _joined(layer, i, f, g, o)
    h = o * output.forward(c)  # (5)
    if layer.projection is not None:
        h = matmul(h, layer.projection)  # (34)
    return State(h=h, c=c), CellResiduals(gates=gates, c=c)


def backward(
    layer: Layer, residuals: CellResiduals, c_previous: Array, d_state: State, w_h_transposed: Array | None = None
) -> CellGradients:
    """The gradient at the new state -> the gradients at the pre-activations and at the previous state.

    ``d_state.h`` and ``d_state.c`` are *all* of the cost's dependence on h_t and c_t that does not
    pass through this timestep: upstream gradients plus what flows back from t + 1. ``w_h_transposed (4H, R)`` spares a
    loop over time the transposing of ``layer.w_h`` at every timestep.
    """
    w_h_transposed = layer.w_h.T if w_h_transposed is None else w_h_transposed
    gate, candidate, output = _activations(layer)
    i, f, g, o = split_gates(layer, residuals.gates)
    d_h = d_state.h
    # Reverse of: h = matmul(h, projection)
    if layer.projection is not None:
        d_h = matmul(d_h, layer.projection.T)  # (35)
    # Reverse of: h = o * output(c)
    output_c = output.forward(residuals.c)
    d_o = d_h * output_c  # (10)
    d_c = d_state.c + d_h * o * output.derivative(output_c)  # (11)
    # Reverse of: o = gate(z_o + p_o * c)
    d_z_o = d_o * gate.derivative(o)  # (13)
    if layer.peepholes is not None:
        p_i, p_f, p_o = peepholes_of(layer)
        d_c = d_c + d_z_o * p_o  # (31)
    # Reverse of: c = clip(f * c_previous + i * g)
    d_sum = d_c
    if layer.clip is not None and layer.clip.derivative == "true":
        d_sum = jnp.where(jnp.abs(residuals.c) < layer.clip.bound, d_c, 0)  # (41)
    d_i, d_f, d_g = d_sum * g, d_sum * c_previous, d_sum * i  # (12)
    d_c_previous = d_sum * f  # (14)
    # Reverse of: i, f, g = gate(z_i), gate(z_f), candidate(z_g)
    if layer.coupled:
        d_i = d_i - d_f  # (29)
    d_z_i, d_z_f, d_z_g = d_i * gate.derivative(i), d_f * gate.derivative(f), d_g * candidate.derivative(g)  # (13)
    if layer.peepholes is not None:
        d_c_previous = d_c_previous + d_z_i * p_i  # (32)
        d_c_previous = d_c_previous if layer.coupled else d_c_previous + d_z_f * p_f
    d_z = _joined(layer, d_z_i, d_z_f, d_z_g, d_z_o)
    # Reverse of: z = z_x + matmul(h, w_h)
    d_h_previous = matmul(d_z, w_h_transposed)  # (15)
    return CellGradients(d_z=d_z, d_c=d_c, d_previous=State(h=d_h_previous, c=d_c_previous))


def new_c(layer: Layer, gates: Array, c_previous: Array) -> Array:
    """The cell state that `forward` computed, once more: cheaper than keeping it beside c_{t-1}."""
    i, f, g, _ = split_gates(layer, gates)
    c = f * c_previous + i * g  # (4)
    return c if layer.clip is None else _clip(c, layer.clip.bound)  # (40)


def split_gates(layer: Layer, gates: Array) -> tuple[Array, Array, Array, Array]:
    """Activated gates (..., 4H) -> i, f, g, o, each (..., H); coupled: f = 1 - i (28)."""
    i, f, g, o = _split(layer, gates)
    return i, 1 - i if layer.coupled else f, g, o  # (28)


def peepholes_of(layer: Layer) -> tuple[Array, Array, Array]:
    """The rows for i, f and o, each (H,). Coupled gates have no f: its row is then i's, and not to be used."""
    rows = layer.peepholes
    assert rows is not None
    return rows[0], rows[-2], rows[-1]


def _split(layer: Layer, blocks: Array) -> tuple[Array, Array, Array, Array]:
    """(..., 4H) -> i, f, g, o. Coupled, (..., 3H): f is a placeholder, i's block."""
    if layer.coupled:
        i, g, o = jnp.split(blocks, 3, axis=-1)
        return i, i, g, o
    i, f, g, o = jnp.split(blocks, 4, axis=-1)
    return i, f, g, o


def _joined(layer: Layer, i: Array, f: Array, g: Array, o: Array) -> Array:
    """The reverse of `_split`."""
    return jnp.concatenate([i, g, o] if layer.coupled else [i, f, g, o], axis=-1)


def _activated(layer: Layer, z: Array) -> Array:
    """The gate's activation on the blocks i, f, o, the candidate's on g."""
    gate, candidate, _ = _activations(layer)
    chosen = [candidate if name == "g" else gate for name in layer.gates]  # (2), (3)
    if any(one.tanh_scale is None for one in chosen):
        blocks = jnp.split(z, len(chosen), axis=-1)
        return jnp.concatenate([one.forward(block) for one, block in zip(chosen, blocks, strict=True)], axis=-1)
    # One tanh over all blocks is measured faster than one for each
    scale = jnp.repeat(jnp.array([one.tanh_scale for one in chosen], z.real.dtype), layer.hidden_size)
    return scale * jnp.tanh(scale * z) + (1 - scale)


def _activations(layer: Layer):
    chosen = layer.activations
    return activation(chosen.gate), activation(chosen.candidate), activation(chosen.output)


def _clip(c: Array, bound: float) -> Array:
    """clip(c, -bound, bound), analytic on either side of the bound."""
    return jnp.where(c.real > bound, bound, jnp.where(c.real < -bound, -bound, c))
