"""``jax.experimental.rnn``: all of cuDNN's weights in one flat vector."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lstm.layouts.attributes import Attribute, choice, integer
from lstm.layouts.codes import LayerSizes
from lstm.layouts.frameworks import TORCH
from lstm.layouts.layout import Layout
from lstm.layouts.naming import Slot, check_names, slots_of
from lstm.layouts.pieces import Entries, Piece
from lstm.validation import BadInput

NAME = "weights"


class CudnnLayout(Layout):
    """PyTorch's arrays raveled: every layer's two matrices, a reverse layer after its forward one, then every layer's two biases."""

    @property
    def attributes(self) -> dict[str, Attribute]:
        sizes = {"input_size": "D", "hidden_size": "H", "num_layers": "the number of layers"}
        return {name: Attribute(meaning, integer) for name, meaning in sizes.items()} | {
            "bidirectional": Attribute("1 for two directions", choice(0, 1), 0)
        }

    def structure_of(self, layers: Any) -> dict[str, Any]:
        found = slots_of(layers)
        first = found[0][2]
        return {
            "input_size": first.w_x.shape[0],
            "hidden_size": first.hidden_size,
            "num_layers": found[-1][0] + 1,
            "bidirectional": int(any(direction == "reverse" for _, direction, _ in found)),
        }

    def weight_names(self, keys: Iterable[str]) -> list[str]:
        return [key for key in keys if key == NAME]

    def find(self, arrays: Mapping[str, np.ndarray], given: Mapping[str, Any]) -> tuple[list[Slot], tuple[Piece, ...]]:
        check_names(self.name, arrays, [NAME], [NAME])
        D, H, layers, directions = given["input_size"], given["hidden_size"], given["num_layers"], 1 + given["bidirectional"]
        above = (layers - 1) * directions * 4 * H * (directions * H + H + 2)
        expected = directions * 4 * H * (D + H + 2) + above
        if arrays[NAME].shape != (expected,):
            said = f"D = {D}, H = {H}, {layers} layer(s) and {directions} direction(s)"
            raise BadInput(f"{NAME}: expected shape ({expected},) for {said}; got {arrays[NAME].shape}")
        return self.naming.slots([["forward", "reverse"][:directions]] * layers), self.pieces

    def solve(
        self, slots: Sequence[Slot], pieces: Sequence[Piece], arrays: Mapping[str, np.ndarray], given: Mapping[str, Any]
    ) -> list[LayerSizes]:
        D, H, directions = given["input_size"], given["hidden_size"], 1 + given["bidirectional"]
        return [LayerSizes(directions * H if slot.level else D, H, H, False, False, False) for slot in slots]

    def arrange(
        self, slots: Sequence[Slot], entries: Sequence[Entries], pieces: Sequence[Piece] = (), only: set[str] | None = None
    ) -> dict[str, np.ndarray]:
        arrays = super().arrange(slots, entries)
        matrices = [array for array in arrays.values() if array.ndim == 2]
        biases = [array for array in arrays.values() if array.ndim == 1]
        return {NAME: np.concatenate([array.ravel() for array in matrices + biases])}


CUDNN = CudnnLayout(
    **{
        **{field.name: getattr(TORCH, field.name) for field in dataclasses.fields(TORCH)},
        "name": "jax-cudnn",
        "pieces": TORCH.pieces[:4],
        "axes": "BTD",
    }
)
