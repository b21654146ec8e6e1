"""What the entries of a layout's arrays are: their gate and their kind, as arrays of the same shapes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import lstm
from lstm.layouts import Layout
from lstm.levels import directions, together_as_layers

FIELDS = ("w_x", "w_h", "b", "peepholes", "projection")


@dataclasses.dataclass(frozen=True)
class Marks:
    """Small integers for every entry of every weight.

    Attributes:
        gates: by name: an index into `lstm.GATES`; -1 where the entry belongs to no gate, or to one that is not used.
        fields: by name: an index into `FIELDS`; -1 where the entry is not used.
    """

    gates: dict[str, np.ndarray]
    fields: dict[str, np.ndarray]

    @property
    def gate_order(self) -> tuple[str, ...] | None:
        """The gates in the order of their blocks in the first array that holds all of them; None if each has its own."""
        for name, array in self.gates.items():
            if (self.fields[name] == FIELDS.index("peepholes")).any():
                continue
            found, first = np.unique(array[array >= 0], return_index=True)
            if len(found) >= 3:
                return tuple(lstm.GATES[gate] for gate in found[np.argsort(first)])
        return None


def marks_of(layout: Layout, layers: Any, weights: dict[str, np.ndarray]) -> Marks:
    """Layers that hold marks in place of weights, arranged as the layout arranges gradients."""
    gates = layout.write_gradients(_replaced(layers, _gates_of), weights)
    fields = layout.write_gradients(_replaced(layers, _fields_of), weights)
    # An entry that is not used is filled with 0, so marks are counted from 1
    return Marks(*({name: array.astype(np.int8) - 1 for name, array in marked.items()} for marked in (gates, fields)))


def _replaced(layers: Any, change: Any) -> tuple[Any, ...]:
    return tuple(together_as_layers(level, [change(direction.layer) for direction in directions(level)]) for level in layers)


def _gates_of(layer: lstm.Layer) -> lstm.Layer:
    numbers = [1 + lstm.GATES.index(gate) for gate in layer.gates]
    columns = np.repeat(np.array(numbers, np.int8), layer.hidden_size)
    rows = np.array([number for number, gate in zip(numbers, layer.gates, strict=True) if gate != "g"], np.int8)[:, None]
    return dataclasses.replace(
        layer,
        w_x=np.broadcast_to(columns, layer.w_x.shape),
        w_h=np.broadcast_to(columns, layer.w_h.shape),
        b=columns,
        peepholes=None if layer.peepholes is None else np.broadcast_to(rows, layer.peepholes.shape),
        projection=None if layer.projection is None else np.zeros(layer.projection.shape, np.int8),
    )


def _fields_of(layer: lstm.Layer) -> lstm.Layer:
    arrays = {field: getattr(layer, field) for field in FIELDS}
    marked: dict[str, Any] = {
        field: None if array is None else np.full(array.shape, 1 + number, np.int8)
        for number, (field, array) in enumerate(arrays.items())
    }
    return dataclasses.replace(layer, **marked)
