"""Numbers for the canonical entries of layers, and arrays that hold those numbers: which entry stands where.

An entry's code is its place in one flat vector of all the layers' entries; a second bias has codes of its own, one whole vector
further on; -1 stands where a layout has an entry that the layer does not use.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from lstm.layouts.naming import Slot
from lstm.layouts.pieces import Entries
from lstm.parameters import Layer

FIELDS = ("w_x", "w_h", "b", "peepholes", "projection")

# [coupled, of peepholes, block]: which of GATES
_GATES = np.array([[[0, 1, 2, 3], [0, 1, 3, 3]], [[0, 2, 3, 3], [0, 3, 3, 3]]])


class LayerSizes(NamedTuple):
    """D, H and R of a layer and which arrays it has."""

    D: int
    H: int
    R: int
    coupled: bool
    peepholes: bool
    projection: bool

    def shapes(self) -> dict[str, tuple[int, ...]]:
        blocks = 3 if self.coupled else 4
        shapes: dict[str, tuple[int, ...]] = {
            "w_x": (self.D, blocks * self.H),
            "w_h": (self.R, blocks * self.H),
            "b": (blocks * self.H,),
        }
        if self.peepholes:
            shapes["peepholes"] = (blocks - 1, self.H)
        if self.projection:
            shapes["projection"] = (self.H, self.R)
        return shapes


class Decoded(NamedTuple):
    """What entries are: one integer array for each of these."""

    slot: np.ndarray  # which of the slots; -1: an unused entry, and nothing below has a meaning
    field: np.ndarray  # which of FIELDS
    copy: np.ndarray  # of two biases, which
    gate: np.ndarray  # which of GATES; -1 for the projection
    unit: np.ndarray
    source: np.ndarray  # the input or output that it multiplies; the output that a projection's entry leads to; else 0


@dataclasses.dataclass(frozen=True)
class Codes:
    """The layers, as slots and sizes, and for each array of the layout its codes, in its own shape."""

    slots: list[Slot]
    sizes: list[LayerSizes]
    of: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(math.prod(shape) for sizes in self.sizes for shape in sizes.shapes().values())

    def layers(self, flat: np.ndarray) -> list[Layer]:
        """The layers whose entries ``flat`` holds in the order of their codes."""
        layers, start = [], 0
        for sizes in self.sizes:
            arrays: dict[str, Any] = {}
            for field, shape in sizes.shapes().items():
                stop = start + math.prod(shape)
                arrays[field] = flat[start:stop].reshape(shape)
                start = stop
            layers.append(Layer(**arrays))
        return layers

    def entries(self) -> list[Entries]:
        """The layers of codes, to be arranged."""
        layers = self.layers(np.arange(self.total))
        return [Entries(layer, (layer.b, layer.b + self.total), absent=-1) for layer in layers]

    def added(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """(total,) the canonical entries: each the sum of what the arrays hold at its code; 0 where they hold nothing."""
        dtype = next(iter(arrays.values())).dtype
        flat = np.zeros(self.total, dtype)
        for name, codes in self.of.items():
            used = codes >= 0
            np.add.at(flat, codes[used] % self.total, arrays[name][used])
        return flat

    def first(self, arrays: Mapping[str, Any]) -> np.ndarray:
        """(total,) the canonical entries: each what the first array that holds it has there; NaN where none does."""
        flat = np.full(self.total, np.nan)
        for name in reversed([name for name in self.of if name in arrays]):
            codes, values = self.of[name], np.asarray(arrays[name])
            for chosen in (codes >= self.total, (codes >= 0) & (codes < self.total)):  # of two biases, the first is written last
                flat[codes[chosen] % self.total] = values[chosen]
        return flat

    def decoded(self, codes: np.ndarray) -> Decoded:
        """What the entries with these codes are."""
        parts = [(slot, field, shape) for slot, sizes in enumerate(self.sizes) for field, shape in sizes.shapes().items()]
        ends = np.cumsum([math.prod(shape) for _, _, shape in parts])
        copies, inside = np.divmod(codes, self.total)
        part = np.searchsorted(ends, inside, side="right")
        columns = np.array([shape[-1] for *_, shape in parts])[part]
        starts = ends - [math.prod(shape) for _, _, shape in parts]
        row, column = np.divmod(inside - starts[part], columns)
        slots = np.array([slot for slot, *_ in parts])[part]
        fields = np.array([FIELDS.index(field) for _, field, _ in parts])[part]
        units = np.array([sizes.H for sizes in self.sizes])[slots]
        coupled = np.array([sizes.coupled for sizes in self.sizes])[slots].astype(int)
        peephole, projection = fields == FIELDS.index("peepholes"), fields == FIELDS.index("projection")
        blocks = np.where(peephole, row, column // units)
        gates = _GATES[coupled, peephole.astype(int), np.where(projection, 0, blocks)]
        unused = codes < 0
        return Decoded(
            slot=np.where(unused, -1, slots),
            field=np.where(unused, -1, fields),
            copy=copies,
            gate=np.where(unused | projection, -1, gates),
            unit=np.where(projection, row, column % units),
            source=np.where(projection, column, np.where(peephole, 0, row)),
        )

    def mixture(self, codes: np.ndarray) -> tuple[int, int, int]:
        """How many layers, fields and biases an array holds entries of."""
        parts = [(slot, field, math.prod(shape)) for slot, sizes in enumerate(self.sizes) for field, shape in sizes.shapes().items()]
        ends = np.cumsum([size for *_, size in parts])
        used = codes[codes >= 0]
        found = [parts[part] for part in np.unique(np.searchsorted(ends, used % self.total, side="right"))]
        copies = len(np.unique(used // self.total))
        return len({slot for slot, *_ in found}), len({field for _, field, _ in found}), copies
