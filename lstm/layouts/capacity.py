"""What a layout can hold, and the refusal of layers that it cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm.layouts.naming import slots_of
from lstm.layouts.pieces import Piece
from lstm.parameters import Bidirectional, Layer, Reversed
from lstm.validation import BadInput

VARIANTS = {
    "levels": "several layers",
    "bidirectional": "two directions",
    "reverse": "a layer that runs in reverse only",
    "coupled": "a coupled input and forget gate",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capacity:
    """The arrays of a layout, and which variants it has a place for. Peepholes and a projection it can hold if it has arrays for them."""

    name: str
    pieces: tuple[Piece, ...]
    holds: frozenset[str] = frozenset({"levels", "bidirectional", "reverse"})
    uniform: bool = False  # every level has the same H and R and runs in the same directions
    keeps_forget: bool = False  # coupled layers have the forget gate's weights all the same, unused

    @property
    def biases(self) -> int:
        """How many biases it keeps that are summed."""
        copies = [piece.copy + max(map(piece.gates.count, piece.gates)) for piece in self.pieces if "bias" in piece.sources]
        return max(copies, default=0)

    def pieces_of(self, pieces: Sequence[Piece], coupled: bool) -> list[Piece]:
        """The pieces of a layer whose input and forget gates are coupled or not."""
        return [piece.without_forget() for piece in pieces] if coupled and not self.keeps_forget else list(pieces)

    def is_coupled(self, arrays: Mapping[Piece, np.ndarray | None], given: Mapping[str, Any]) -> bool:
        """Are the input and forget gates of the layer with these arrays coupled?"""
        return not any("f" in piece.gates for piece in self.pieces)

    def check_held(self, layers: Any) -> None:
        """Raises BadInput if the layout cannot hold such layers."""
        levels = (layers,) if isinstance(layers, (Layer, Reversed, Bidirectional)) else layers
        found = slots_of(levels)
        if len(levels) > 1:
            self._held("levels", "layers")
        for number, level in enumerate(levels):
            name = f"layers[{number}]"
            if isinstance(level, Bidirectional):
                self._held("bidirectional", name)
            if isinstance(level, Reversed):
                self._held("reverse", name)
        for number, _, layer in found:
            self._check_layer(f"layers[{number}]", layer)
        if self.uniform:
            kinds = {(type(levels[number]), layer.hidden_size, layer.recurrent_size) for number, _, layer in found}
            if len(kinds) > 1:
                raise BadInput(f"layers: the layout {self.name} cannot hold layers of different sizes or directions")

    def _check_layer(self, name: str, layer: Layer) -> None:
        if layer.coupled:
            self._held("coupled", name)
        elif not any("f" in piece.gates for piece in self.pieces):
            raise BadInput(f"{name}: the layout {self.name} cannot hold a forget gate of its own")
        sources = {source for piece in self.pieces for source in piece.sources}
        required = {source for piece in self.pieces if not piece.optional for source in piece.sources}
        for source, array, what in (
            ("peephole", layer.peepholes, "peepholes"),
            ("projection", layer.projection, "a projection"),
        ):
            if array is not None and source not in sources:
                raise BadInput(f"{name}: the layout {self.name} cannot hold {what}")
            if array is None and source in required:
                raise BadInput(f"{name}: the layout {self.name} cannot hold a layer without {what}")
        if self.biases == 0 and np.any(layer.b):
            raise BadInput(f"{name}: the layout {self.name} has no bias and cannot hold one that is not zero")

    def _held(self, variant: str, name: str) -> None:
        if variant not in self.holds:
            raise BadInput(f"{name}: the layout {self.name} cannot hold {VARIANTS[variant]}")
