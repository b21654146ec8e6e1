"""The single arrays of a candidate's file: is each what its name says? Every error names the array, in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import ml_dtypes
import numpy as np

from checks.files.npz_file import shown
from lstm import BadInput

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOATS = (np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.float16), BFLOAT16)


def floats(name: str, array: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    """The array in float64, its numbers unchanged, if they are finite floating-point numbers (where ``where`` says so)."""
    if array.dtype not in FLOATS:
        raise BadInput(f"{shown(name)}: expected float64, float32, float16 or bfloat16; got {array.dtype}")
    if array.size == 0:
        raise BadInput(f"{shown(name)}: expected at least one entry along each axis; got shape {array.shape}")
    values = array.astype(np.float64)
    bad = ~np.isfinite(values)
    if where is not None:
        bad &= where.reshape(where.shape + (1,) * (bad.ndim - where.ndim))
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise BadInput(f"{shown(name)}: expected finite numbers; got {values[first]} at index {list(first)} ({int(bad.sum())} in all)")
    return values


def lengths_of(array: np.ndarray, timesteps: int, batch: int) -> np.ndarray:
    """(B,) integers from 0 to T, not all 0."""
    if array.dtype.kind not in "iu":
        raise BadInput(f"lengths: expected integers; got {array.dtype}")
    if array.shape != (batch,):
        raise BadInput(f"lengths: expected shape ({batch},), since B = {batch} in inputs; got {array.shape}")
    if array.min() < 0 or array.max() > timesteps or array.max() == 0:
        raise BadInput(f"lengths: expected integers from 0 to T = {timesteps}, not all 0; got {shown(array.tolist())}")
    return array.astype(np.int64)


def moved(array: np.ndarray, axes: str, to: str = "TBD") -> np.ndarray:
    """Axes in one order of letters -> in another."""
    return array.transpose([axes.index(letter) for letter in to])


def sequence_shape(name: str, array: np.ndarray, axes: str, sizes: dict[str, int], where_from: str) -> None:
    """(T, B, D) in the order of ``axes``, with the sizes that are known; a hint where another order would fit."""
    if array.ndim != 3:
        raise BadInput(f"{name}: expected 3 axes ({', '.join(axes)}); got shape {array.shape}")
    if _fits(array.shape, axes, sizes):
        return
    wanted = ", ".join(f"{letter} = {sizes[letter]}" for letter in axes if letter in sizes)
    others = [other for other in ("TBD", "BTD", "TDB", "BDT", "DTB", "DBT") if _fits(array.shape, other, sizes)]
    hint = f" (--axes {others[0]} would fit)" if others and name == "inputs" else ""
    raise BadInput(f"{name}: expected axes ({', '.join(axes)}) with {wanted}, {where_from}; got shape {array.shape}{hint}")


def _fits(shape: tuple[int, ...], axes: str, sizes: dict[str, int]) -> bool:
    return all(sizes.get(letter, size) == size for letter, size in zip(axes, shape, strict=True))


def exact_shape(name: str, array: np.ndarray, shape: tuple[int, ...], meaning: str) -> None:
    if array.shape != shape:
        hint = ", its transpose" if array.ndim == 2 and array.shape == shape[::-1] else ""
        raise BadInput(f"{shown(name)}: expected shape {shape}, {meaning}; got {array.shape}{hint}")


def near_name(name: str, known: Iterable[str]) -> str:
    """ "; did you mean ...?" where there is such a name."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


def check_probabilities(targets: np.ndarray, counted: np.ndarray, precision: Any) -> None:
    """(T, B, K) entries at least 0 that sum to 1, as nearly as the file's precision can say it."""
    totals = targets.sum(axis=-1)
    slack = targets.shape[-1] * float(ml_dtypes.finfo(precision).eps)
    bad = counted & ((targets < 0).any(axis=-1) | (np.abs(totals - 1) > slack))
    if bad.any():
        t, b = (int(i) for i in np.argwhere(bad)[0])
        raise BadInput(
            "targets: expected probability vectors (entries at least 0 that sum to 1) or integer labels; "
            f"got a sum of {totals[t, b]:.6g} at t = {t}, b = {b}"
        )
