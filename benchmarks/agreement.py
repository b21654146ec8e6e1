"""Nothing is timed before every contestant has been seen to compute the same thing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from benchmarks.options import Size

Results = Mapping[str, np.ndarray]


class DisagreementError(AssertionError):
    """Two contestants computed different things, so comparing their times would mean nothing."""


def tolerance(size: Size, dtype: str) -> float:
    """How far rounding alone may take two correct results apart, relative to an array's largest entry.

    A weight's gradient is a sum of n = T B terms. Added up in any order, independent roundings amount to
    √n ε Σ|term|, and terms of both signs leave a sum about Σ|term| / √n large: n ε in all, relative to
    it. Each term ends a chain of T timesteps with a product over 4H or D + H entries in each, whose
    roundings a network this tame (weights of size 1/√H) damps rather than amplifies: add 4H + D + T.
    """
    terms = size.T * size.B + size.T + 4 * size.H + size.D
    return terms * float(np.finfo(dtype).eps)


def assert_equal(results: Mapping[str, Results], size: Size, dtype: str) -> dict[str, float]:
    """-> for each contestant but the first, its largest difference from the first, relative to the array's largest entry.

    Raises DisagreementError naming the contestant, the array and the entry.
    """
    (first, expected), *others = results.items()
    return {name: _largest_difference(first, expected, name, got, size, dtype) for name, got in others}


def _largest_difference(first: str, expected: Results, name: str, got: Results, size: Size, dtype: str) -> float:
    allowed = tolerance(size, dtype)
    largest = 0.0
    for array, value in expected.items():
        other = got[array]
        if not (value.dtype == other.dtype == np.dtype(dtype) and value.shape == other.shape):
            raise DisagreementError(
                f"{array}: expected {dtype} everywhere; {first} has {value.dtype}{value.shape}, {name} {other.dtype}{other.shape}"
            )
        difference = np.abs(other - value) / np.abs(value).max()
        if not difference.max() <= allowed:  # a NaN is a disagreement
            where = np.unravel_index(np.argmax(difference), difference.shape)
            entry = f"{array}{[int(i) for i in where]} at {tuple(size)}, {dtype}"
            raise DisagreementError(
                f"{entry}: {first} {value[where]:.9g}, {name} {other[where]:.9g}; "
                f"difference {difference.max():.2g} of the largest entry, {allowed:.2g} allowed"
            )
        largest = max(largest, float(difference.max()))
    return largest
