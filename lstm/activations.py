"""Each activation beside its derivative, the derivative in terms of the activation's *output*.

The backward pass keeps outputs, not pre-activations, so each derivative takes the value a = act(z).
docs/derivation.md derives them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from lstm.validation import BadInput, described


class Activation(NamedTuple):
    forward: Callable[[Any], Any]  # z -> a
    derivative: Callable[[Any], Any]  # a -> act'(z)
    tanh_scale: float | None = None  # s, if act(z) = s tanh(s z) + (1 - s)


def sigmoid(z: Any) -> Any:
    """σ(z) = 1 / (1 + e^(-z)), computed as ½ tanh(½ z) + ½: no overflow, and faster inside a scan."""
    return 0.5 * jnp.tanh(0.5 * z) + 0.5


def sigmoid_derivative(a: Any) -> Any:
    """σ'(z) = a (1 - a)."""
    return a * (1 - a)


def tanh(z: Any) -> Any:
    return jnp.tanh(z)


def tanh_derivative(a: Any) -> Any:
    """tanh'(z) = 1 - a²."""
    return 1 - a * a


def identity(z: Any) -> Any:
    return z


def identity_derivative(a: Any) -> Any:
    return jnp.ones_like(a)


def relu(z: Any) -> Any:
    """max(z, 0). Written with the real part's sign, so that it is analytic on either side of its kink."""
    return jnp.where(z.real > 0, z, 0)


def relu_derivative(a: Any) -> Any:
    """1 where a > 0, else 0: at the kink, the left derivative."""
    return (a > 0).astype(a.dtype)


def softsign(z: Any) -> Any:
    """z / (1 + |z|)."""
    return z / (1 + jnp.where(z.real > 0, z, -z))


def softsign_derivative(a: Any) -> Any:
    """1 / (1 + |z|)² = (1 - |a|)²."""
    return (1 - jnp.abs(a)) ** 2


def hard_sigmoid(slope: float) -> Activation:
    """clip(slope · z + ½, 0, 1). Keras's slope is 1/6, ONNX's 0.2."""

    def forward(z: Any) -> Any:
        line = slope * z + 0.5
        return jnp.where(line.real <= 0, 0, jnp.where(line.real >= 1, 1, line))

    def derivative(a: Any) -> Any:
        """``slope`` where 0 < a < 1, else 0."""
        return jnp.where((a > 0) & (a < 1), jnp.asarray(slope, a.dtype), 0)

    return Activation(forward, derivative)


ACTIVATIONS = {
    "sigmoid": Activation(sigmoid, sigmoid_derivative, tanh_scale=0.5),
    "tanh": Activation(tanh, tanh_derivative, tanh_scale=1.0),
    "identity": Activation(identity, identity_derivative),
    "relu": Activation(relu, relu_derivative),
    "softsign": Activation(softsign, softsign_derivative),
}


@functools.cache
def activation(name: str) -> Activation:
    """By name: sigmoid, tanh, identity, relu, softsign, or ``hard_sigmoid(SLOPE)``, e.g. ``hard_sigmoid(0.2)``."""
    if isinstance(name, str) and name in ACTIVATIONS:
        return ACTIVATIONS[name]
    match = re.fullmatch(r"hard_sigmoid\(([0-9.eE+-]+)\)", name) if isinstance(name, str) else None
    try:
        slope = float(match.group(1)) if match else 0.0
    except ValueError:
        slope = 0.0
    if not (0 < slope < float("inf")):
        raise BadInput(f"activation: expected one of {', '.join(ACTIVATIONS)}, hard_sigmoid(SLOPE) with SLOPE > 0; got {described(name)}")
    return hard_sigmoid(slope)
