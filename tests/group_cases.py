"""Two problems whose sequences are computed apart and added up: one with everything that a network can have, one with little."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

import lstm

T, B, D, H, K = 5, 6, 3, 2, 4
EQUAL = 1e-13  # of each array's largest entry: sums of up to 30 terms in two orders, the terms up to ten times as large as the sum
LENGTHS = np.array([5, 1, 0, 4, 2, 3])


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng([9, *shape]).normal(size=shape)


def _layer(features: int, outputs: int, seed: int) -> lstm.Layer:
    w_x, w_h, b = normal(features, 4 * H, seed)[..., 0], normal(outputs, 4 * H, seed)[..., 0], normal(4 * H, seed)[..., 0]
    return lstm.Layer(w_x, w_h, b, projection=None if outputs == H else normal(H, outputs))


def _state(outputs: int) -> lstm.State:
    return lstm.State(h=normal(B, outputs), c=normal(B, H))


@functools.cache
def everything() -> dict[str, Any]:
    """Two directions, then a projection; masks, lengths, an initial state, labels."""
    pair = lstm.Bidirectional(forward=_layer(D, H, 1), reverse=_layer(D, H, 2))
    layers, readout = (pair, _layer(2 * H, 1, 3)), lstm.Readout(normal(1, K), normal(K))
    masks = (None, lstm.Masks(inputs=np.abs(normal(T, B, 2 * H)), zoneout_c=np.abs(normal(T, B, H)) / 4))
    state = (lstm.Bidirectional(forward=_state(H), reverse=_state(H)), _state(1))
    labels = np.random.default_rng(9).integers(K, size=(T, B))
    shared = {"initial_state": state, "lengths": LENGTHS, "masks": masks, "loss": "cross_entropy", "reduction": "mean"}
    return {"network": lstm.Network(layers, readout), "inputs": normal(T, B, D), "targets": labels} | shared


@functools.cache
def little() -> dict[str, Any]:
    shared = {"initial_state": (_state(H),), "lengths": None, "masks": None, "loss": "squared_error", "reduction": "sum"}
    return {"network": lstm.Network((_layer(D, H, 4),), None), "inputs": normal(T, B, D), "targets": normal(T, B, H)} | shared


def largest_error(found: Any, expected: Any) -> float:
    """In the array where it is worst, relative to that array's largest entry."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)
