"""Each loss beside its hand-derived derivative. Both take predictions ``y (..., K)``.

``forward`` gives one number per timestep and sequence, shape (...); ``backward`` the derivative of
that number with respect to ``y``, shape (..., K). Numbers in parentheses: docs/derivation.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Loss(NamedTuple):
    forward: Callable[[Any, Any], Any]
    backward: Callable[[Any, Any], Any]


def squared_error(y: Any, target: Any) -> Any:
    """‖y - target‖², summed over features (no ½): y, target (..., K) -> (...)."""
    return jnp.sum((y - target) ** 2, axis=-1)  # (22)


def d_squared_error(y: Any, target: Any) -> Any:
    return 2 * (y - target)  # (23)


def cross_entropy(y: Any, target: Any) -> Any:
    """-Σ_k p_k log softmax(y)_k, y the logits (..., K) -> (...).

    ``target`` holds integer labels (...) or probability vectors p (..., K).
    """
    p = _probabilities(y, target)
    return jnp.sum(p * (_log_normalizer(y) - y), axis=-1)  # (24)


def d_cross_entropy(y: Any, target: Any) -> Any:
    p = _probabilities(y, target)
    softmax = jnp.exp(y - _log_normalizer(y))
    return softmax * p.sum(axis=-1, keepdims=True) - p  # (25)


def _log_normalizer(y: Any) -> Any:
    """log Σ_k exp(y_k), kept as (..., 1). Shifted by a real maximum, so complex y stay analytic."""
    shift = jnp.max(y.real, axis=-1, keepdims=True)
    return shift + jnp.log(jnp.sum(jnp.exp(y - shift), axis=-1, keepdims=True))


def _probabilities(y: Any, target: Any) -> Any:
    """Labels become one-hot vectors; probability vectors stay as they are."""
    if jnp.issubdtype(target.dtype, jnp.integer):
        return jax.nn.one_hot(target, y.shape[-1], dtype=y.real.dtype)
    return target


LOSSES = {
    "squared_error": Loss(squared_error, d_squared_error),
    "cross_entropy": Loss(cross_entropy, d_cross_entropy),
}
