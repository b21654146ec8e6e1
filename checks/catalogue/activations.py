"""The activations of docs/derivation.md, section 8.1, and their derivatives in terms of their output, in NumPy.

`lstm`'s own are not called: what is compared with them comes from nowhere near them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import lstm


class Activation(NamedTuple):
    forward: Callable[[Any], Any]  # z -> a
    derivative: Callable[[Any], Any]  # a -> the derivative at z


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * z) + 0.5


def _hard_sigmoid(slope: float) -> Activation:
    return Activation(lambda z: np.clip(slope * z + 0.5, 0, 1), lambda a: np.where((a > 0) & (a < 1), slope, 0.0))


_NAMED = {
    "sigmoid": Activation(sigmoid, lambda a: a * (1 - a)),
    "tanh": Activation(np.tanh, lambda a: 1 - a**2),
    "identity": Activation(lambda z: z, np.ones_like),
    "relu": Activation(lambda z: np.where(z > 0, z, 0.0), lambda a: np.where(a > 0, 1.0, 0.0)),
    "softsign": Activation(lambda z: z / (1 + np.abs(z)), lambda a: (1 - np.abs(a)) ** 2),
}


@functools.cache
def activation(name: str) -> Activation:
    """By the names that `lstm.Activations` has, which were checked there: of `_NAMED`, or ``hard_sigmoid(SLOPE)``."""
    if name in _NAMED:
        return _NAMED[name]
    return _hard_sigmoid(float(name.removeprefix("hard_sigmoid(").removesuffix(")")))


def activations_of(layer: lstm.Layer) -> tuple[Activation, Activation, Activation]:
    """Of the gates i, f, o; of the candidate g; of the cell state on its way out."""
    chosen = layer.activations
    return activation(chosen.gate), activation(chosen.candidate), activation(chosen.output)
