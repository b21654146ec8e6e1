"""The sizes D, H, R of a layer, learned from the shapes of its arrays, each array held against the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm.layouts.naming import shown
from lstm.layouts.pieces import LinearSize
from lstm.validation import FLOATS, BadInput, finite, only_array


def written(size: LinearSize) -> str:
    """{"": 1, "D": 1, "H": 1} -> "1+D+H"."""
    terms = [f"{'' if factor == 1 and letter else factor}{letter}" for letter, factor in size.items()]
    return "+".join(terms)


def as_floats(name: str, value: Any, dtype_like: tuple[str, np.dtype] | None = None) -> np.ndarray:
    """``value`` as a NumPy array, if it is one of float32 or float64 numbers, at least one (of the given dtype)."""
    array = np.asarray(only_array(shown(name), value))
    if array.dtype not in FLOATS:
        raise BadInput(f"{shown(name)}: expected float32 or float64; got {array.dtype} (nothing is cast silently)")
    if dtype_like is not None and array.dtype != dtype_like[1]:
        raise BadInput(f"{shown(name)}: expected {dtype_like[1]}, as {shown(dtype_like[0])} has; got {array.dtype} (nothing is cast)")
    if array.size == 0:
        raise BadInput(f"{shown(name)}: expected at least one entry along each axis; got shape {array.shape}")
    return array


def all_floats(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays, each of finite numbers, all of one dtype."""
    checked: dict[str, np.ndarray] = {}
    for name, value in arrays.items():
        first = next(iter(checked.items()), None)
        checked[name] = as_floats(name, value, first and (first[0], first[1].dtype))
        finite(shown(name), checked[name])
    return checked


class Solver:
    """The letters' values for one layer, each with the array that it was learned from."""

    def __init__(self, known: dict[str, tuple[int, str]]) -> None:
        self.known = dict(known)

    def __getitem__(self, letter: str) -> int:
        return self.known[letter][0]

    def solve(self, shapes: dict[str, tuple[tuple[int, ...], tuple[LinearSize, ...]]]) -> None:
        """``shapes``: for each array its shape and its axes' sizes in letters. Learns every letter, then checks every axis."""
        for name, (shape, sizes) in shapes.items():
            if len(shape) != len(sizes):
                legend = ", ".join(map(written, sizes))
                raise BadInput(f"{name}: expected {len(sizes)} axes ({legend}); got shape {shape}")
        while any([self._learn(name, shape, sizes) for name, (shape, sizes) in shapes.items()]):
            pass
        for name, (shape, sizes) in shapes.items():
            self._check(name, shape, sizes)

    def _learn(self, name: str, shape: tuple[int, ...], sizes: tuple[LinearSize, ...]) -> bool:
        """Learn the letters that stand alone, unknown, on some axis. Was there any?"""
        learned = False
        for axis, (extent, size) in enumerate(zip(shape, sizes, strict=True)):
            unknown = [letter for letter in size if letter and letter not in self.known]
            if len(unknown) != 1:
                continue
            (letter,) = unknown
            rest = extent - sum(factor * (self[other] if other else 1) for other, factor in size.items() if other != letter)
            if rest <= 0 or rest % size[letter]:
                whole = f" for a whole number {letter} of at least 1{self._because(size)}"
                raise BadInput(f"{name}: expected axis {axis} of {_legend(sizes)} to be {written(size)}{whole}; got shape {shape}")
            self.known[letter] = rest // size[letter], name
            learned = True
        return learned

    def _check(self, name: str, shape: tuple[int, ...], sizes: tuple[LinearSize, ...]) -> None:
        expected = tuple(sum(factor * (self[letter] if letter else 1) for letter, factor in size.items()) for size in sizes)
        for extent, wanted, size in zip(shape, expected, sizes, strict=True):
            if extent != wanted:
                legend = "" if len(shape) == 1 and written(size).isdigit() else f" = {_legend(sizes)}"
                transposed = ", its transpose" if shape == expected[::-1] else ""
                raise BadInput(f"{name}: expected shape {expected}{legend}{self._because(size)}; got {shape}{transposed}")

    def _because(self, size: LinearSize) -> str:
        known = [f"{letter} = {self[letter]} in {self.known[letter][1]}" for letter in size if letter in self.known]
        return f", since {' and '.join(known)}" if known else ""


def _legend(sizes: tuple[LinearSize, ...]) -> str:
    return f"({', '.join(map(written, sizes))}{',' if len(sizes) == 1 else ''})"
