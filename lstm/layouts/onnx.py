"""ONNX's ``LSTM`` operator: one layer in one direction or both, its inputs W, R, B, P and its attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from lstm.layouts.attributes import Attribute, Configuration, choice
from lstm.layouts.layout import Layout
from lstm.layouts.naming import slots_of
from lstm.layouts.pieces import Piece
from lstm.parameters import Activations
from lstm.validation import BadInput, described

# With their default alpha and beta
ACTIVATIONS = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "Softsign": "softsign",
    "HardSigmoid": "hard_sigmoid(0.2)",
}


class OnnxLayout(Layout):
    """The attribute ``clip`` has no place: it clips pre-activations, which none of our variants does."""

    @property
    def attributes(self) -> dict[str, Attribute]:
        return {
            "direction": Attribute("forward, reverse or bidirectional", choice("forward", "reverse", "bidirectional"), None),
            "input_forget": Attribute("1 if f = 1 - i", choice(0, 1), 0),
            "activations": Attribute("of the gates, the candidate and the output", _three_names, ["Sigmoid", "Tanh", "Tanh"]),
        }

    def structure_of(self, layers: Any) -> dict[str, Any]:
        found = slots_of(layers)
        return {
            "direction": "bidirectional" if len(found) == 2 else found[0][1],
            "input_forget": int(any(layer.coupled for *_, layer in found)),
        }

    def stacked_directions(self, name: str, count: int, given: Mapping[str, Any]) -> list[str]:
        """Those that the attribute says, if there are as many; without the attribute, forward or both."""
        if given["direction"] is None:
            return super().stacked_directions(name, count, given)
        expected = 2 if given["direction"] == "bidirectional" else 1
        if count != expected:
            said = f"since direction is {given['direction']}"
            raise BadInput(f"{name}: expected {expected} along its axis of directions, {said}; got {count}")
        return ["forward", "reverse"] if expected == 2 else [given["direction"]]

    def is_coupled(self, arrays: Mapping[Piece, np.ndarray | None], given: Mapping[str, Any]) -> bool:
        return given["input_forget"] == 1

    def read_configuration(self, given: Mapping[str, Any]) -> Configuration:
        return Configuration(Activations(*(ACTIVATIONS[name] for name in given["activations"])))

    def write_configuration(self, configuration: Configuration) -> dict[str, Any]:
        theirs = {ours: name for name, ours in ACTIVATIONS.items()}
        wanted = dataclasses.astuple(configuration.activations)
        if configuration.clip is not None:
            raise BadInput(f"layers: the layout {self.name} cannot hold clipping of the cell state")
        if not theirs.keys() >= set(wanted):
            raise BadInput(f"layers: the layout {self.name} cannot hold the activations {', '.join(wanted)}")
        return {"activations": [theirs[ours] for ours in wanted]}


def _three_names(name: str, value: Any) -> list[str]:
    """Three names, or the same three for each of two directions; a list, or a text with commas."""
    names = [one.strip() for one in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or len(names) not in (3, 6) or not all(one in ACTIVATIONS for one in names):
        got = described(value) if isinstance(value, str) else described(str(value))
        raise BadInput(f"{name}: expected three of {', '.join(ACTIVATIONS)}; got {got}")
    if len(names) == 6 and list(names[:3]) != list(names[3:]):
        raise BadInput(f"{name}: expected the same three for both directions; got {', '.join(names)}")
    return list(names[:3])


ONNX = OnnxLayout(
    name="onnx",
    pieces=(
        Piece("W", ("directions", "i o f g", "x")),
        Piece("R", ("directions", "i o f g", "h")),
        Piece("B", ("directions", "i o f g i o f g"), optional=True),  # first W's bias, then R's
        Piece("P", ("directions", "i o f"), holds="peephole", optional=True),
    ),
    holds=frozenset({"bidirectional", "reverse", "coupled"}),
    keeps_forget=True,
    uniform=True,
    axes="TBD",
    state_axes="NBH",
    output_axes="TNBD",
)

# The operator's attribute layout = 1
ONNX_BATCH_MAJOR = dataclasses.replace(ONNX, name="onnx-batch-major", axes="BTD", state_axes="BNH", output_axes="BTND")
