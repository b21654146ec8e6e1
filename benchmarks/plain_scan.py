"""The peer: the same network as anybody would write it in JAX, left to automatic differentiation.

Written from the equations of the LSTM alone; it shares no code with the package it is compared with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Weights(NamedTuple):
    """Gate blocks i, f, g, o side by side."""

    w_x: Any  # (D, 4H)
    w_h: Any  # (H, 4H)
    b: Any  # (4H,)
    readout_w: Any  # (H, K)
    readout_b: Any  # (K,)


def cost(weights: Weights, inputs: Any, targets: Any) -> Any:
    """Mean over (T, B) of ‖y - target‖²: inputs (T, B, D), targets (T, B, K), zero initial state."""

    def step(carry, x):
        h, c = carry
        z = x @ weights.w_x + h @ weights.w_h + weights.b
        i, f, g, o = jnp.split(z, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((inputs.shape[1], weights.w_h.shape[0]), inputs.dtype)
    _, hidden = jax.lax.scan(step, (zeros, zeros), inputs)
    y = hidden @ weights.readout_w + weights.readout_b
    return jnp.mean(jnp.sum((y - targets) ** 2, axis=-1))


cost_and_gradient = jax.jit(jax.value_and_grad(cost))
