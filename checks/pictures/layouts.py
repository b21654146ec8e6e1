"""How the arrays of a file are laid out as matrices: gates and units across, sources down; sequences with time across."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

import lstm
from checks.pictures.bins import Block, Matrix

UNUSED = "–"


def of_weight(marks: np.ndarray) -> Matrix:
    """From an index into `lstm.GATES` for each entry, -1 where there is none."""
    shape = marks.shape
    axis = _gate_axis(marks)
    others = tuple(one for one in range(marks.ndim) if one != axis)
    plain = Matrix(shape, (*others, axis), len(others))
    runs = _runs(plain.of(marks)[0])
    blocks = tuple(Block(lstm.GATES[gate] if gate >= 0 else UNUSED, start, stop) for gate, start, stop in runs)
    if len(blocks) == 1 and marks.flat[0] < 0:
        blocks = ()  # a projection, a readout
    return Matrix(shape, plain.axes, plain.leading, blocks, _rows_apart([shape[one] for one in others]))


def of_sequence(shape: tuple[int, ...], order: str) -> Matrix:
    """``order``: the letters T, B, D in the order of the axes."""
    axes = tuple(order.index(letter) for letter in "BDT")
    batch, features = shape[order.index("B")], shape[order.index("D")]
    rows = tuple(Block(f"sequence {b}", b * features, (b + 1) * features) for b in range(batch))
    return Matrix(shape, axes, 2, row_blocks=rows if features > 1 else ())


def of_other(shape: tuple[int, ...]) -> Matrix:
    """The last axis across."""
    return Matrix(shape, tuple(range(len(shape))), max(len(shape) - 1, 0), row_blocks=_rows_apart(shape[:-1]))


def _rows_apart(sizes: Sequence[int]) -> tuple[Block, ...]:
    """Where several axes are the rows: a block for each index of the first, a layer or a direction."""
    each = int(np.prod(sizes[1:], dtype=int))
    return tuple(Block(str(k), k * each, (k + 1) * each) for k in range(sizes[0])) if len(sizes) > 1 and each > 1 else ()


def _gate_axis(marks: np.ndarray) -> int:
    """The axis along which the gate changes most often; the last one if it changes along none."""
    if marks.ndim == 1:
        return 0
    varies = [(marks.shape[axis] > 1 and bool((np.diff(marks, axis=axis) != 0).any()), axis) for axis in range(marks.ndim)]
    found = [axis for does, axis in varies if does]
    return found[-1] if found else marks.ndim - 1


def _runs(row: np.ndarray) -> list[tuple[int, int, int]]:
    """(value, start, stop) of each run."""
    edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
    return [(int(row[start]), start, stop) for start, stop in itertools.pairwise(edges)]
