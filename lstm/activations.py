"""Each activation beside its derivative, the derivative in terms of the activation's *output*.

The backward pass keeps outputs, not pre-activations, so each derivative takes the value a = act(z).
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def sigmoid(z: Any) -> Any:
    """σ(z) = 1 / (1 + e^(-z)), computed as ½ tanh(½ z) + ½: no overflow, and faster inside a scan."""
    return 0.5 * jnp.tanh(0.5 * z) + 0.5


def sigmoid_derivative(a: Any) -> Any:
    """σ'(z) = a (1 - a) where a = σ(z)."""
    return a * (1 - a)


def tanh(z: Any) -> Any:
    """tanh(z)."""
    return jnp.tanh(z)


def tanh_derivative(a: Any) -> Any:
    """tanh'(z) = 1 - a² where a = tanh(z)."""
    return 1 - a * a


def gates_forward(z: Any) -> Any:
    """σ on the blocks i, f, o of ``z (..., 4H)`` and tanh on g, as one tanh over the whole array.

    With s = ½ on a sigmoid block and 1 on the tanh block, both are s' tanh(s z) + (1 - s'), s' = s.
    """
    scale = _sigmoid_blocks(z, on_sigmoid=0.5, on_tanh=1.0)
    return scale * jnp.tanh(scale * z) + (1 - scale)


def gates_derivative(gates: Any) -> Any:
    """a (1 - a) on the blocks i, f, o of the activated gates (..., 4H) and 1 - a² on g.

    Both are (a + e)(1 - a), with e = 0 on a sigmoid block and 1 on the tanh block.
    """
    extra = _sigmoid_blocks(gates, on_sigmoid=0.0, on_tanh=1.0)
    return (gates + extra) * (1 - gates)


def _sigmoid_blocks(like: Any, on_sigmoid: float, on_tanh: float) -> Any:
    """(4H,): one constant for the blocks i, f, o and another for g."""
    hidden_size = like.shape[-1] // 4
    blocks = np.array([on_sigmoid, on_sigmoid, on_tanh, on_sigmoid], like.real.dtype)
    return np.repeat(blocks, hidden_size)
