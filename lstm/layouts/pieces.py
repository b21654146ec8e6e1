"""How one named array of a framework holds the entries of a canonical layer, in a notation read axis by axis.

A `Piece` has a name and one short text for each axis:

    "x", "h", "bias", "peephole"   what the entries multiply: inputs, previous output, 1, cell state; several
                                   words, "bias x h", are concatenated in that order
    "i f g o"                      gate blocks in that order, the H units of each side by side
    "unit"                         the H units; beside it a gate axis has one entry for each gate
    "projected"                    the R features after the projection
    "directions", "layers"         both directions, or all layers, stacked

So PyTorch's ``weight_ih_l0`` is ``("i f g o", "x")``, and Flax's ``hi/bias`` is ``("unit",)`` for gate i.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from lstm.parameters import GATES, Layer

SOURCES = ("x", "h", "bias", "peephole")
SINGLE = ("unit", "projected", "directions", "layers")
STACKS = ("layers", "directions")

# A size that is linear in those of the dimension legend, such as 1 + D + H: {"": 1, "D": 1, "H": 1}
LinearSize = dict[str, int]

_SIZES: dict[str, LinearSize] = {
    "x": {"D": 1},
    "h": {"R": 1},
    "bias": {"": 1},
    "peephole": {"": 1},
    "unit": {"H": 1},
    "projected": {"R": 1},
    "directions": {"directions": 1},
    "layers": {"L": 1},
}


@dataclasses.dataclass(frozen=True)
class Entries:
    """One layer's canonical entries, whatever they are: values, gradients, or codes that say which entry is which."""

    layer: Layer
    biases: tuple[np.ndarray, ...]  # (4H,) each: one for each of the biases that the layout keeps
    absent: Any = 0  # what stands where a layout has a gate that the layer has not (f, coupled to i)

    def block(self, source: str, gate: str, copy: int = 0) -> np.ndarray:
        """(what it multiplies, H): one gate's weights on one source."""
        layer = self.layer
        if source == "peephole":
            rows = [other for other in layer.gates if other != "g"]
            blocks = np.asarray(layer.peepholes)[:, None, :]
        else:
            rows = list(layer.gates)
            matrix = np.atleast_2d({"x": layer.w_x, "h": layer.w_h, "bias": self.biases[copy]}[source])
            blocks = matrix.reshape(matrix.shape[0], len(rows), -1).swapaxes(0, 1)
        return blocks[rows.index(gate)] if gate in rows else np.full(blocks.shape[1:], self.absent, blocks.dtype)


@dataclasses.dataclass(frozen=True)
class Piece:
    """One array of one layer in one direction; or of several, where an axis stacks them.

    ``{level}`` and ``{direction}`` in the name stand for where the layer is.
    """

    name: str
    axes: tuple[str, ...]
    gate: str = ""  # the array holds this one gate
    holds: str = "bias"  # what it holds where no axis says: bias or peephole
    optional: bool = False  # may be absent, and is zero then
    copy: int = 0  # of two biases, which

    @property
    def kinds(self) -> tuple[str, ...]:
        """For each axis: "sources", "gates", or one of the words that stand alone."""
        return tuple(kind(axis) for axis in self.axes)

    @property
    def sources(self) -> tuple[str, ...]:
        """What the array holds: some of x, h, bias, peephole; or projection."""
        if "projected" in self.kinds:
            return ("projection",)
        return self._words("sources") or (self.holds,)

    @property
    def gates(self) -> tuple[str, ...]:
        return (self.gate,) if self.gate else self._words("gates")

    @property
    def stacks(self) -> tuple[str, ...]:
        """Those of its axes along which several layers lie."""
        return tuple(axis for axis in self.axes if axis in STACKS)

    def _words(self, wanted: str) -> tuple[str, ...]:
        return tuple(word for axis in self.axes if kind(axis) == wanted for word in axis.split())

    def held_by(self, layer: Layer) -> bool:
        """Does such a layer have anything to put here?"""
        absent = {"peephole": layer.peepholes is None, "projection": layer.projection is None}
        return not any(absent.get(source, False) for source in self.sources)

    def arrange(self, entries: Entries) -> np.ndarray:
        """The array for one layer, without the axes that stack several."""
        if self.sources == ("projection",):
            projection = np.asarray(entries.layer.projection)
            return projection if self.kinds.index("unit") < self.kinds.index("projected") else projection.T
        copies = [self.copy + self.gates[:at].count(gate) for at, gate in enumerate(self.gates)]
        cube = np.stack(
            [
                np.concatenate([entries.block(source, gate, copy) for source in self.sources])
                for gate, copy in zip(self.gates, copies, strict=True)
            ]
        )  # (gates, what they multiply, H)
        parts = self._parts()
        order = [axis for part in parts for axis in part]
        dropped = [axis for axis in range(3) if axis not in order]  # of size 1: one gate, or one row of biases
        shape = [math.prod(cube.shape[axis] for axis in part) for part in parts]
        return cube.transpose(order + dropped).reshape(shape)

    def _parts(self) -> list[tuple[int, ...]]:
        """For each axis of the array, the axes (gates, sources, units) of which it consists."""
        inner = [kind for kind in self.kinds if kind not in STACKS]
        gates = (0,) if "unit" in inner else (0, 2)
        return [{"gates": gates, "sources": (1,), "unit": (2,)}[kind] for kind in inner]

    def sizes(self, projected: bool) -> tuple[LinearSize, ...]:
        """Each axis's size in D, H, R and the numbers of layers and directions; in H for R where nothing is projected."""
        return tuple(self._size(axis, projected) for axis in self.axes)

    def _size(self, axis: str, projected: bool) -> LinearSize:
        if kind(axis) == "gates":
            return {"" if "unit" in self.kinds else "H": len(axis.split())}
        total: LinearSize = {}
        for word in axis.split():
            for letter, factor in _SIZES[word].items():
                letter = "H" if letter == "R" and not projected else letter
                total[letter] = total.get(letter, 0) + factor
        return total

    def without_forget(self) -> Piece:
        """The same array where the forget gate is coupled to the input gate and has no weights of its own."""
        return dataclasses.replace(
            self,
            axes=tuple(" ".join(word for word in axis.split() if word != "f") if kind(axis) == "gates" else axis for axis in self.axes),
        )


def kind(axis: str) -> str:
    """What an axis lists: "sources", "gates", or the one word that it is."""
    if axis in SINGLE:
        return axis
    return "gates" if set(axis.split()) <= set(GATES) else "sources"


def each_gate(name: str, *axes: str, gates: str = "i f g o", spelled: dict[str, str] | None = None, **options: Any) -> list[Piece]:
    """A piece for each gate; ``{gate}`` in the name stands for it, spelled as the framework does."""
    spelled = spelled or {}
    return [
        Piece(name.replace("{gate}", spelled.get(gate, gate)), axes, gate=gate, **options)
        for gate in gates.split()
    ]  # fmt: skip
