"""A scan that needs no second buffer for its largest result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def scan_in_place(step: Callable, carry: Any, over: tuple, reverse: bool = False) -> tuple[Any, tuple]:
    """What ``jax.lax.scan(step, carry, over, reverse=reverse)`` returns, the first result in the memory of ``over[0]``.

    Args:
        step: (carry, (first_t, *rest_t)) -> (new carry, (result_t shaped like first_t, *other results)).
        over: (first (T, ...), *rest), each a pytree of arrays (T, ...) but the first, which is one array.

    A scan reads one buffer and fills another; for the gates of a long sequence, memory that is touched for the
    first time on every call costs as much as a product. Each first_t is read one timestep ahead, after the result before
    it was written: had a step's own reads to precede its own write, XLA would copy the whole buffer at every timestep.
    """
    first, *rest = over
    last = first.shape[0] - 1

    def body(loop, at_t):
        carry, first_t, first = loop
        t, *rest_t = at_t
        carry, (result_t, *others_t) = step(carry, (first_t, *rest_t))
        first = jax.lax.dynamic_update_index_in_dim(first, result_t, t, axis=0)
        following = jnp.clip(t - 1 if reverse else t + 1, 0, last)
        return (carry, jax.lax.dynamic_index_in_dim(first, following, axis=0, keepdims=False), first), others_t

    start = first[last if reverse else 0]
    (carry, _, first), others = jax.lax.scan(body, (carry, start, first), (jnp.arange(last + 1), *rest), reverse=reverse)
    return carry, (first, *others)
