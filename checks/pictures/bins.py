"""An array's errors as a matrix of cells: one entry each, or, where there are too many, the largest of a block of them.

Never their mean: one wrong entry among a million right ones must still be seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Block:
    """A run of columns that belong together: a gate, a direction; half-open, in entries or in cells."""

    label: str
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Matrix:
    """How an array of any shape is laid out as rows and columns, and back.

    Attributes:
        axes: the array's axes in the order of the matrix's.
        leading: how many of them are the rows.
        blocks: of columns.
        row_blocks: of rows.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]
    leading: int
    blocks: tuple[Block, ...] = ()
    row_blocks: tuple[Block, ...] = ()

    @property
    def turned(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self.axes)

    def of(self, array: np.ndarray) -> np.ndarray:
        rows = int(np.prod(self.turned[: self.leading], dtype=int))
        return np.transpose(array, self.axes).reshape(rows, -1)

    def index(self, row: int, column: int) -> tuple[int, ...]:
        """Where in the array an entry of the matrix is."""
        columns = int(np.prod(self.turned[self.leading :], dtype=int))
        found = np.unravel_index(row * columns + column, self.turned)
        back = dict(zip(self.axes, found, strict=True))
        return tuple(int(back[axis]) for axis in range(len(self.shape)))


@dataclasses.dataclass(frozen=True, eq=False)
class Cells:
    """A matrix in cells.

    Attributes:
        units: (rows, columns): the largest error in each cell, in units of what rounding allows; NaN where that is not known.
        worst: for each cell, row after row: the index in the array of the entry with that error.
        blocks: in cells; ``row_blocks`` too.
        wrong: for each block, how many entries are beyond what rounding allows, and how many there are.
        most: rows and columns of entries in the largest cell: (1, 1) if nothing is binned.
        columns: of entries.
    """

    units: np.ndarray
    worst: list[tuple[int, ...]]
    blocks: tuple[Block, ...]
    row_blocks: tuple[Block, ...]
    wrong: tuple[tuple[int, int], ...]
    most: tuple[int, int]
    columns: int

    @property
    def is_binned(self) -> bool:
        return self.most != (1, 1)


def units_of(got: np.ndarray, expected: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """|got - expected| / allowed; infinite where a value is not finite though the right one is, NaN where no tolerance is known."""
    with np.errstate(over="ignore", invalid="ignore"):
        units = np.abs(got - expected) / np.maximum(allowed, np.finfo(np.float64).tiny)
    units[~np.isfinite(got)] = np.inf
    units[~(np.isfinite(expected) & np.isfinite(allowed))] = np.nan
    return units


def cells_of(units: np.ndarray, matrix: Matrix, most_rows: int, most_columns: int) -> Cells:
    """At most about so many rows and columns of cells; no cell reaches over the border of a block."""
    known = np.where(np.isnan(units), -1.0, units)
    laid = matrix.of(known)
    rows = _edges(matrix.row_blocks, laid.shape[0], most_rows)
    columns = _edges(matrix.blocks, laid.shape[1], most_columns)
    maxima = np.maximum.reduceat(np.maximum.reduceat(laid, columns[:-1], axis=1), rows[:-1], axis=0)
    return Cells(
        units=np.where(maxima < 0, np.nan, maxima),
        worst=_worst(laid, maxima, matrix, rows, columns),
        blocks=_in_cells(matrix.blocks, columns),
        row_blocks=_in_cells(matrix.row_blocks, rows),
        wrong=tuple(_wrong(laid[:, block.start : block.stop]) for block in matrix.blocks),
        most=(int(np.diff(rows).max()), int(np.diff(columns).max())),
        columns=laid.shape[1],
    )


def _worst(laid: np.ndarray, maxima: np.ndarray, matrix: Matrix, rows: np.ndarray, columns: np.ndarray) -> list[tuple[int, ...]]:
    found = []
    for i, j in np.ndindex(maxima.shape):
        part = laid[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
        row, column = divmod(int(np.argmax(part)), part.shape[1])
        found.append(matrix.index(int(rows[i]) + row, int(columns[j]) + column))
    return found


def _wrong(part: np.ndarray) -> tuple[int, int]:
    return int((part > 1).sum()), part.size


def _edges(blocks: Sequence[Block], size: int, most: int) -> np.ndarray:
    """Where cells begin and the last one ends: whole entries, and every block's border among them unless there are too many."""
    if size <= most:
        return np.arange(size + 1)
    if not blocks or len(blocks) > most:
        blocks = [Block("", 0, size)]
    starts = [0]
    for block in blocks:
        length = block.stop - block.start
        count = max(1, min(length, most * length // size))
        starts += np.linspace(block.start, block.stop, count + 1).astype(int).tolist()
    return np.unique([*starts, size])


def _in_cells(blocks: Sequence[Block], edges: np.ndarray) -> tuple[Block, ...]:
    found = []
    for block in blocks:
        start, stop = np.searchsorted(edges, [block.start, block.stop])
        found.append(Block(block.label, int(start), int(stop)))
    return tuple(found)
