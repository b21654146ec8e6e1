"""A network's cost in ball arithmetic, with one entry of the parameters moved by ε; and where each entry stands.

Written from docs/derivation.md, sequence by sequence, so lengths are loops that end early and a reversed layer is a loop that
runs down. Numbers in parentheses are equations of that page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import lstm
from checks.certified.balls import constant, variable
from checks.certified.cell import Cell, Vector, affine
from checks.problem import Cost
from lstm.levels import apart, directions

MATRICES = ("w_x", "w_h", "projection", "w")  # held as columns


class Forward:
    """The cost of `Problem.from_network` as a function of ε. Make it, and call it, inside `precision_of`."""

    def __init__(self, problem: Cost):
        given, self.about = problem.parameters, dict(problem.origin or {})
        everything = isinstance(given, lstm.CostGradients)
        self.network = given.network if everything else given
        self.inputs = _nested(given.inputs if everything else self.about["inputs"])
        self.targets = np.asarray(self.about["targets"])
        states = given.initial_state if everything else self.about["initial_state"]
        self.timesteps, self.batch = len(self.inputs), len(self.inputs[0])
        lengths = self.about["lengths"]
        self.lengths = [self.timesteps] * self.batch if lengths is None else [int(n) for n in np.asarray(lengths)]
        masks = self.about["masks"]
        self.strands = [
            [
                _Strand(*each)
                for each in zip(directions(level), apart(level, states[n]), apart(level, masks and masks[n]), strict=True)
            ]
            for n, level in enumerate(self.network.layers)
        ]
        readout = self.network.readout
        self.readout = None if readout is None else (_columns(readout.w), _nested(readout.b))

    def cost(self) -> Any:
        """C (7) as a series in ε."""
        total = constant(0)
        for b, length in enumerate(self.lengths):
            outputs = self.inputs_of(b, length)
            for strands in self.strands:
                sides = [strand.run(outputs, b) for strand in strands]
                outputs = [[number for side in sides for number in side[t]] for t in range(length)]
            for t, output in enumerate(outputs):
                y = output if self.readout is None else affine(output, *self.readout)  # (6)
                total = total + self._loss(y, self.targets[t, b])
        return total / max(sum(self.lengths), 1) if self.about["reduction"] == "mean" else total

    def inputs_of(self, b: int, length: int) -> list[Vector]:
        return [self.inputs[t][b] for t in range(length)]

    def _loss(self, y: Vector, target: Any) -> Any:
        if self.about["loss"] == "squared_error":
            return sum((one - constant(aim)) ** 2 for one, aim in zip(y, target, strict=True))  # (22)
        normalizer = sum(one.exp() for one in y).log()
        if np.ndim(target) == 0:
            return normalizer - y[int(target)]
        return sum(constant(p) * (normalizer - one) for p, one in zip(target, y, strict=True))  # (24)

    def derivative(self, entry: tuple[list[Any], int], number: float) -> Any:
        """The ball around ∂C/∂entry. The entry is where it stands, as `holders` says, and its number."""
        holder, position = entry
        kept = holder[position]
        holder[position] = variable(number)
        try:
            return self.cost()[1]
        finally:
            holder[position] = kept

    def holders(self) -> Iterator[tuple[list[Any], int]]:
        """Where each entry of the network's parameters stands, in the order of their flat vector."""
        for strands in self.strands:
            for strand in strands:
                yield from strand.holders()
        if self.readout is not None:
            yield from _entries_of_columns(self.readout[0])
            yield from _entries(self.readout[1])

    def data_holders(self) -> Iterator[tuple[list[Any], int]]:
        """The same for the inputs, then the initial states."""
        yield from _entries(self.inputs)
        for strands in self.strands:
            for strand in strands:
                yield from _entries(strand.h)
                yield from _entries(strand.c)


class _Strand:
    """One layer in one direction."""

    def __init__(self, direction: Any, state: Any, masks: Any):
        layer, self.reversed = direction.layer, direction.reversed
        peepholes, projection = (None if each is None else np.asarray(each) for each in (layer.peepholes, layer.projection))
        self.cell = Cell(
            layer,
            _columns(layer.w_x),
            _columns(layer.w_h),
            _nested(layer.b),
            None if peepholes is None else _nested(peepholes),
            None if projection is None else _columns(projection),
        )
        self.h, self.c = _nested(state.h), _nested(state.c)
        self.masks = {name: _nested(mask) for name, mask in vars(masks or lstm.Masks()).items() if mask is not None}

    def run(self, inputs: list[Vector], b: int) -> list[Vector]:
        """Sequence b's valid timesteps -> the outputs there, in input order."""
        outputs: list[Vector] = [[]] * len(inputs)
        h, c = self.h[b], self.c[b]
        for t in reversed(range(len(inputs))) if self.reversed else range(len(inputs)):  # 8.8
            seen_x, seen_h = self._masked("inputs", inputs[t], t, b), self._masked("recurrent", h, t, b)  # (37)
            new_h, new_c = self.cell(seen_x, seen_h, c)
            h, c = self._mixed("zoneout_h", h, new_h, t, b), self._mixed("zoneout_c", c, new_c, t, b)  # (38)
            outputs[t] = h
        return outputs

    def _masked(self, name: str, vector: Vector, t: int, b: int) -> Vector:
        mask = self.masks.get(name)
        return vector if mask is None else [m * number for m, number in zip(mask[t][b], vector, strict=True)]

    def _mixed(self, name: str, old: Vector, new: Vector, t: int, b: int) -> Vector:
        mask = self.masks.get(name)
        return new if mask is None else [m * was + (1 - m) * now for m, was, now in zip(mask[t][b], old, new, strict=True)]

    def holders(self) -> Iterator[tuple[list[Any], int]]:
        cell = self.cell
        yield from _entries_of_columns(cell.w_x)
        yield from _entries_of_columns(cell.w_h)
        yield from _entries(cell.b)
        if cell.peepholes is not None:
            yield from _entries(cell.peepholes)
        if cell.projection is not None:
            yield from _entries_of_columns(cell.projection)


def _nested(array: Any) -> list[Any]:
    """Lists of lists of constant series."""
    array = np.asarray(array)
    return [constant(number) if array.ndim == 1 else _nested(number) for number in array]


def _columns(matrix: Any) -> list[Vector]:
    return _nested(np.asarray(matrix).T)


def _entries(nested: list[Any]) -> Iterator[tuple[list[Any], int]]:
    """(list, position) of each number, the last index fastest."""
    for position, item in enumerate(nested):
        if isinstance(item, list):
            yield from _entries(item)
        else:
            yield nested, position


def _entries_of_columns(columns: list[Vector]) -> Iterator[tuple[list[Any], int]]:
    """The same, row by row of the matrix whose columns these are."""
    for row in range(len(columns[0])):
        yield from ((column, row) for column in columns)
