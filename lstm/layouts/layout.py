"""A layout: how a framework keeps the parameters of an LSTM, as data, and both ways between it and the canonical layers.

Every layout only rearranges canonical entries, so one mechanism serves them all. Layers that hold numbers for their entries,
instead of weights, are put through the same arrangement as weights and gradients are; the result says which canonical
entry stands where (`Codes`). Reading, gradients both ways, and the words for a place come from that.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lstm.layouts.attributes import ActivationAttributes, Attribute, Configuration, checked_attributes
from lstm.layouts.codes import FIELDS, Codes
from lstm.layouts.finder import Finder
from lstm.layouts.naming import Slot, levels_of, shown, slots_of
from lstm.layouts.pieces import STACKS, Entries, Piece
from lstm.layouts.places import describe, explained
from lstm.layouts.sizes import all_floats
from lstm.layouts.states import StateArrays
from lstm.parameters import Layer
from lstm.validation import BadInput

Arrays = Mapping[str, Any]
Attributes = Mapping[str, Any] | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(Finder, StateArrays):
    """Names, orders, transposes, biases, states and axes of one framework.

    ``attributes``, which some methods take, are what the arrays alone do not say (the name of an activation, ONNX's direction);
    `attributes_of` gives them for canonical layers.
    """

    activations: ActivationAttributes | None = None
    configuration: Configuration = dataclasses.field(default_factory=Configuration)  # where no attribute says
    forget_offset: float = 0.0  # that the framework adds to the forget gate's pre-activation

    @property
    def attributes(self) -> dict[str, Attribute]:
        """What may, or must, be said beside the arrays."""
        return {} if self.activations is None else self.activations.attributes

    def attributes_of(self, layers: Any) -> dict[str, Any]:
        """What must be said beside the arrays, for these layers. Raises BadInput if the layout cannot hold them."""
        self.check_held(layers)
        configurations = {Configuration(layer.activations, layer.clip) for *_, layer in slots_of(layers)}
        if len(configurations) > 1:
            raise BadInput(f"layers: the layout {self.name} cannot hold layers with different activations or clipping")
        return self.structure_of(layers) | self.write_configuration(configurations.pop())

    def structure_of(self, layers: Any) -> dict[str, Any]:
        """Those attributes that finding the layers takes."""
        return {}

    def write_configuration(self, configuration: Configuration) -> dict[str, Any]:
        """The other attributes."""
        written = {}
        if self.activations is not None:
            written = self.activations.write(self.name, configuration.activations)
            configuration = dataclasses.replace(configuration, activations=self.configuration.activations)
        if configuration != self.configuration:
            what = ", ".join(dataclasses.astuple(configuration.activations))
            clip = "no clipping" if configuration.clip is None else f"clipping at {configuration.clip.bound}"
            raise BadInput(f"layers: the layout {self.name} cannot hold the activations {what} with {clip} of the cell state")
        return written

    def read_configuration(self, given: Mapping[str, Any]) -> Configuration:
        if self.activations is None:
            return self.configuration
        return dataclasses.replace(self.configuration, activations=self.activations.read(given))

    def read(self, arrays: Arrays, attributes: Attributes = None) -> tuple[Any, ...]:
        """The layout's weights -> canonical layers, lowest first, of the same dtype. Two biases are summed.

        Raises:
            BadInput: naming the array or the attribute, what was expected and what came.
        """
        codes, checked = self.codes(arrays, attributes)
        configuration = self.read_configuration(checked_attributes(self.name, self.attributes, attributes))
        layers = [_shifted(layer, self.forget_offset) for layer in codes.layers(codes.added(checked))]
        return levels_of(codes.slots, [dataclasses.replace(layer, **vars(configuration)) for layer in layers])

    def write(self, layers: Any) -> dict[str, np.ndarray]:
        """Canonical layers -> the layout's weights.

        One bias b becomes 2b and -b where the layout keeps two: their sum is exact, and neither can stand for the other.

        Raises:
            BadInput: if the layout cannot hold such layers.
        """
        self.attributes_of(layers)
        entries = []
        for *_, layer in slots_of(layers):
            layer = _shifted(_as_numpy(layer), -self.forget_offset)
            entries.append(Entries(layer, (2 * layer.b, -layer.b) if self.biases == 2 else (layer.b,)))
        return self.arrange(self.slots_for(layers), entries)

    def write_gradients(self, d_layers: Any, like: Arrays) -> dict[str, np.ndarray]:
        """Canonical gradients -> the layout's arrays, those that ``like`` (the weights) has. Each of two biases gets the full one."""
        slots, pieces = self.find({name: np.asarray(array) for name, array in like.items()}, self.structure_of(d_layers))
        layers = [_as_numpy(layer) for *_, layer in slots_of(d_layers)]
        if len(layers) != len(slots):
            raise BadInput(f"d_layers: expected gradients on the {len(slots)} layers that the weights are of; got {len(layers)}")
        return self.arrange(slots, [Entries(layer, (layer.b, layer.b)) for layer in layers], pieces, set(like))

    def read_gradients(self, arrays: Arrays, like: Arrays, attributes: Attributes = None) -> tuple[Any, ...]:
        """The layout's gradients on all or some of the weights ``like`` -> canonical gradients, NaN where none was given.

        Of the gradients on two biases, which should be equal, the first that is given counts.
        """
        codes, _ = self.codes(like, attributes)
        for name, array in arrays.items():
            if name not in codes.of:
                raise BadInput(f"{shown(name)}: expected the gradient on one of {', '.join(codes.of)}; got this name")
            if np.shape(array) != codes.of[name].shape:
                raise BadInput(f"{name}: expected a gradient of the weight's shape {codes.of[name].shape}; got {np.shape(array)}")
        return levels_of(codes.slots, codes.layers(codes.first(arrays)))

    def describe(self, name: str, index: tuple[int, ...], like: Arrays, attributes: Attributes = None) -> str:
        """The entry of a weight as a person would say it: ``weight_hh_l0[f, unit 3, from h 7]``."""
        return describe(name, index, self.codes(like, attributes, only=name)[0])

    def explain(self, arrays: Arrays, attributes: Attributes = None) -> str:
        """What the layout takes the rows and columns of the arrays to be, in lines of text."""
        codes, checked = self.codes(arrays, attributes)
        lines = [f"layout {self.name}: inputs ({', '.join(self.axes)}), states ({', '.join(self.state_axes)})"]
        lines += self._explained_configuration(attributes)
        for slot, sizes in zip(codes.slots, codes.sizes, strict=True):
            coupled = ", input and forget gates coupled" if sizes.coupled else ""
            lines.append(f"layer {slot.level}, {slot.direction}: D = {sizes.D}, H = {sizes.H}, R = {sizes.R}{coupled}")
        return "\n".join(lines + [line for name in checked for line in explained(name, codes)])

    def _explained_configuration(self, attributes: Attributes) -> list[str]:
        configuration = self.read_configuration(checked_attributes(self.name, self.attributes, attributes))
        used = configuration.activations
        h = "o * c" if used.output == "identity" else f"o * {used.output}(c)"
        lines = [f"activations: {used.gate} for the gates, {used.candidate} for the candidate, h = {h}"]
        if self.forget_offset:
            lines.append(f"forget gate: {self.forget_offset:g} is added to its pre-activation")
        if configuration.clip is not None:
            lines.append(f"cell state: clipped at {configuration.clip.bound:g}, derivative {configuration.clip.derivative}")
        return lines

    def codes(self, arrays: Arrays, attributes: Attributes = None, only: str | None = None) -> tuple[Codes, dict[str, np.ndarray]]:
        """Which canonical entry stands where in the arrays (or in the ``only`` one), and the arrays, checked."""
        given = checked_attributes(self.name, self.attributes, attributes)
        checked = all_floats(arrays)
        slots, pieces = self.find(checked, given)
        codes = Codes(slots, self.solve(slots, pieces, checked, given))
        names = set(checked) if only is None else {only}
        return dataclasses.replace(codes, of=self.arrange(slots, codes.entries(), pieces, names)), checked

    def arrange(
        self, slots: Sequence[Slot], entries: Sequence[Entries], pieces: Sequence[Piece] = (), only: set[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The canonical entries, placed as the layout has them: all its arrays, or ``only`` those of these names."""
        parts: dict[str, tuple[Piece, list[np.ndarray]]] = {}
        for slot, one in zip(slots, entries, strict=True):
            for piece in self.pieces_of(pieces or self.pieces, one.layer.coupled):
                name = slot.name(piece)
                if piece.held_by(one.layer) and (only is None or name in only):
                    parts.setdefault(name, (piece, []))[1].append(piece.arrange(one))
        counts = {"layers": len({slot.level for slot in slots}), "directions": len({slot.direction for slot in slots})}
        return {name: np.ascontiguousarray(_stacked(name, piece, arrays, counts)) for name, (piece, arrays) in parts.items()}


def _stacked(name: str, piece: Piece, arrays: list[np.ndarray], counts: dict[str, int]) -> np.ndarray:
    """The arrays of all layers that lie in one, along the axes that the piece has for it."""
    if not piece.stacks:
        return arrays[0]
    if len({array.shape for array in arrays}) > 1:
        raise BadInput(f"layers: {name} cannot hold layers of different sizes in one array; got {len(arrays)} that differ")
    stacks = [axis for axis in STACKS if axis in piece.stacks]
    inner = iter(range(len(stacks), len(piece.axes)))
    order = [stacks.index(axis) if axis in stacks else next(inner) for axis in piece.axes]
    shape = [counts[axis] for axis in stacks] + list(arrays[0].shape)
    assert math.prod(shape) == len(arrays) * arrays[0].size  # one array for each layer and direction
    return np.stack(arrays).reshape(shape).transpose(order)


def _as_numpy(layer: Layer) -> Layer:
    arrays: dict[str, Any] = {field: getattr(layer, field) for field in FIELDS if getattr(layer, field) is not None}
    return dataclasses.replace(layer, **{field: np.asarray(array) for field, array in arrays.items()})  # type: ignore[arg-type]  # names come from FIELDS


def _shifted(layer: Layer, offset: float) -> Layer:
    """The layer with the offset added to the forget gate's bias."""
    if offset == 0:
        return layer
    shift = np.repeat([offset * (gate == "f") for gate in layer.gates], layer.hidden_size)
    return dataclasses.replace(layer, b=layer.b + shift.astype(layer.b.dtype))
