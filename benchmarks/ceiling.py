"""The device's own matrix-product rate, against which the figures of a recurrent network are read."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.options import Size

SQUARES = {"cpu": (1024, 2048)}
SQUARES_ELSEWHERE = (4096, 8192)


def products(size: Size) -> dict[str, tuple[int, int, int]]:
    """Name -> (n, k, m) of a product (n, k) @ (k, m): large squares, and the shapes that the network itself uses."""
    rows = size.T * size.B
    shapes = {f"square {n}": (n, n, n) for n in SQUARES.get(jax.default_backend(), SQUARES_ELSEWHERE)}
    return shapes | {
        "inputs": (rows, size.D, 4 * size.H),
        "one timestep": (size.B, size.H, 4 * size.H),
        "weight gradient": (size.H, rows, 4 * size.H),
    }


def contestants(size: Size, dtype: str) -> dict[str, Callable[[], object]]:
    """One call per product, to be timed in the same rounds as what it is the ceiling of."""
    return {name: _product(shape, dtype) for name, shape in products(size).items()}


def rates(size: Size, medians: dict[str, float]) -> dict[str, float]:
    """GFLOP/s of each product."""
    return {name: 2e-9 * n * k * m / medians[name] for name, (n, k, m) in products(size).items()}


def _product(shape: tuple[int, int, int], dtype: str) -> Callable[[], object]:
    n, k, m = shape
    generator = np.random.default_rng(n)
    a = jnp.asarray(generator.normal(size=(n, k)).astype(dtype))
    b = jnp.asarray(generator.normal(size=(k, m)).astype(dtype))
    multiply = jax.jit(lambda x, y: jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST))
    return lambda: multiply(a, b).block_until_ready()
