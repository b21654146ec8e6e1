"""Precision is the caller's: float64 arrays are computed in float64, whatever JAX's global mode.

Nothing here changes JAX's configuration beyond the length of one call.
"""

from __future__ import annotations

import contextlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm.validation import BadInput

DOUBLE = (np.float64, np.complex128)


def double_where_asked(*trees: Any) -> contextlib.AbstractContextManager:
    """JAX's 64-bit mode for the length of a ``with`` block, if any array in ``trees`` is 64 bits wide.

    Inside somebody's ``jax.jit`` traced in 32-bit mode the mode cannot change any more, and JAX would
    round a float64 array to float32 without a word: that is an error here.
    """
    leaves = [leaf for leaf in jax.tree.leaves(trees) if hasattr(leaf, "dtype")]
    if not any(leaf.dtype in DOUBLE for leaf in leaves) or jax.config.read("jax_enable_x64"):
        return contextlib.nullcontext()
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        raise BadInput(
            "float64 arrays reached a function that JAX is tracing in 32-bit mode, where it would round them "
            "to float32; call it inside `with jax.enable_x64(True):`, or pass float32 arrays"
        )
    return jax.enable_x64(True)


def matmul(a: Any, b: Any) -> Any:
    """``a @ b`` in the arrays' own precision: JAX's default on recent GPUs rounds float32 to TF32."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def accumulate(rows: Any, columns: Any) -> Any:
    """The sum over every leading axis of the outer products ``rows[..., :] x columns[..., :]``.

    One plain 2-D product over the flattened (T B) axis: a batched product over (t, b) is slower. On a CPU XLA multiplies
    by a matrix that it has to read transposed by another backend, at 60 % of its rate when that is narrow, and in float64 at half on
    processors with 512-bit vectors; a transposed copy costs less.
    """
    if jax.default_backend() == "cpu" and (rows.shape[-1] <= 128 or rows.dtype.itemsize == 8):
        return matmul(jnp.moveaxis(rows, -1, 0).reshape(rows.shape[-1], -1), flat(columns))
    return matmul(flat(rows).T, flat(columns))


def flat(array: Any) -> Any:
    """All leading axes as one: (T, B, N) -> (T B, N)."""
    return array.reshape(-1, array.shape[-1])
