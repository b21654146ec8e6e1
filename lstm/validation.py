"""Errors for people: every message names the argument, what was expected and what came.

Shapes and dtypes are checked even while JAX traces; values (NaN, labels, lengths) only where there
are values to look at, that is, not under somebody's ``jax.jit``.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class BadInput(ValueError):
    """An argument that cannot be used. One line: the argument, what was expected, what came."""


def described(value: Any) -> str:
    """A value in a few words, on one line, whatever its own repr is."""
    if value is None or isinstance(value, (bool, int, float, complex, np.number, str, bytes)):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__


def positive_integer(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise BadInput(f"{name}: expected an integer of at least 1; got {described(value)}")


def one_of(name: str, value: Any, choices: Any) -> None:
    if not isinstance(value, str) or value not in tuple(choices):
        raise BadInput(f"{name}: expected one of {', '.join(choices)}; got {described(value)}")


def is_traced(value: Any) -> bool:
    return isinstance(value, jax.core.Tracer)


def only_array(name: str, value: Any) -> Any:
    """``value``, if it is a NumPy or JAX array (a tracer is one). Lists and foreign tensors are the caller's to convert."""
    if not isinstance(value, (np.ndarray, np.generic, jax.Array)) or isinstance(value, np.ma.MaskedArray):
        raise BadInput(f"{name}: expected a NumPy or JAX array; got {described(value)}")
    return value


def is_integer(dtype: Any) -> bool:
    """Integers in the machine's byte order. JAX's own dtypes (keys, bfloat16) are not NumPy's to classify."""
    return isinstance(dtype, np.dtype) and dtype.kind in "iu" and dtype.isnative


class Dimensions:
    """The sizes T, B, D, … as the arrays of one call give them, each learned from the first that has it."""

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.learned_from: dict[str, str] = {}
        self.dtype: np.dtype | None = None
        self.dtype_from = ""
        self.traced = False

    def floats(self, name: str, value: Any, axes: str) -> Any:
        """Check a floating-point array against axes such as "T B D" or "R 4H". Returns it."""
        array = only_array(name, value)
        if array.dtype not in FLOATS:
            raise BadInput(f"{name}: expected float32 or float64; got {array.dtype} (nothing is cast silently)")
        if self.dtype is None:
            self.dtype, self.dtype_from, self.traced = array.dtype, name, is_traced(array)
        elif array.dtype != self.dtype:
            why = "nothing is cast"
            if not jax.config.read("jax_enable_x64") and (self.traced or is_traced(array)):
                why = "a function that JAX traces in 32-bit mode takes float64 arguments as float32; "
                why += "call it inside `with jax.enable_x64(True):`, or use float32 throughout"
            raise BadInput(f"{name}: expected {self.dtype}, as {self.dtype_from} has; got {array.dtype} ({why})")
        self.shape(name, array.shape, axes)
        return array

    def integers(self, name: str, value: Any, axes: str) -> Any:
        array = only_array(name, value)
        if not is_integer(array.dtype):
            raise BadInput(f"{name}: expected integers; got {array.dtype}")
        self.shape(name, array.shape, axes)
        return array

    def shape(self, name: str, shape: tuple[int, ...], axes: str) -> None:
        symbols = axes.split()
        if len(shape) != len(symbols):
            raise BadInput(f"{name}: expected {len(symbols)} axes ({', '.join(symbols)}); got shape {shape}")
        for axis, (symbol, size) in enumerate(zip(symbols, shape, strict=True)):
            self._axis(name, shape, symbols, axis, symbol, size)

    def _axis(self, name: str, shape: tuple[int, ...], symbols: list[str], axis: int, symbol: str, size: int) -> None:
        factor, letter = (int(symbol[0]), symbol[1:]) if symbol[0].isdigit() else (1, symbol)
        legend = f"({', '.join(symbols)})"
        if size == 0:
            raise BadInput(f"{name}: expected at least one entry along each axis of {legend}; got shape {shape}")
        if letter not in self.sizes and size % factor:
            raise BadInput(f"{name}: expected axis {axis} of {legend} to be a multiple of {factor}; got shape {shape}")
        known = self.sizes.setdefault(letter, size // factor)
        origin = self.learned_from.setdefault(letter, name)
        if known * factor != size:
            raise BadInput(
                f"{name}: expected axis {axis} of {legend} to have size {known * factor}, "
                f"since {letter} = {known} in {origin}; got shape {shape}"
            )

    def rename(self, **letters: str) -> Dimensions:
        """The same call seen from elsewhere: ``rename(D="R")`` gives D the size that R has here."""
        other = Dimensions()
        other.dtype, other.dtype_from = self.dtype, self.dtype_from
        for new, old in letters.items():
            if old in self.sizes:
                other.sizes[new], other.learned_from[new] = self.sizes[old], self.learned_from[old]
        return other


def finite(name: str, value: Any, where: np.ndarray | None = None) -> None:
    """No NaN, no infinity (``where`` given: at the positions that count)."""
    if value is None or is_traced(value):
        return
    bad = ~np.isfinite(np.asarray(value))
    if where is not None:
        bad &= where.reshape(where.shape + (1,) * (bad.ndim - where.ndim))
    if bad.any():
        first = tuple(int(index) for index in np.argwhere(bad)[0])
        what = np.asarray(value)[first]
        raise BadInput(f"{name}: expected finite numbers; got {what} at index {list(first)} ({int(bad.sum())} in all)")


def within(name: str, value: Any, low: int, high: int, where: np.ndarray | None = None) -> None:
    """Integers in low … high, both included."""
    if is_traced(value):
        return
    array = np.asarray(value)
    bad = (array < low) | (array > high)
    if where is not None:
        bad &= where
    if bad.any():
        first = tuple(int(index) for index in np.argwhere(bad)[0])
        raise BadInput(f"{name}: expected integers from {low} to {high}; got {array[first]} at index {list(first)}")
