"""The axes of sequences and states in a layout, both ways."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lstm.layouts.naming import Slot, levels_of, slots_of
from lstm.layouts.sizes import as_floats
from lstm.parameters import Bidirectional, State
from lstm.validation import BadInput, described


@dataclasses.dataclass(frozen=True, kw_only=True)
class StateArrays:
    """Each axis is a letter: T, B; D the features of a sequence, H those of a state; N the layers and directions stacked."""

    axes: str = "TBD"  # of inputs and outputs
    state_axes: str = "BH"  # of h0, c0; without N, several layers are stacked along a first axis
    output_axes: str | None = None  # of outputs, where the directions N have an axis of their own

    def read_sequence(self, name: str, array: Any, axes: str | None = None) -> np.ndarray:
        """An array of the layout's axes, or those given -> (T, B, ·)."""
        axes = check_axes("axes", axes or self.axes, "TBD")
        array = as_floats(name, array)
        if array.ndim != 3:
            raise BadInput(f"{name}: expected 3 axes ({', '.join(axes)}); got shape {array.shape}")
        return _moved(array, axes, "TBD")

    def write_sequence(self, array: Any, axes: str | None = None) -> np.ndarray:
        """(T, B, ·) -> the layout's axes, or those given."""
        return _moved(np.asarray(array), "TBD", check_axes("axes", axes or self.axes, "TBD"))

    def read_outputs(self, name: str, array: Any, axes: str | None = None) -> np.ndarray:
        """The layout's outputs, or a gradient on them -> (T, B, directions · R). Three axes are read as those of a sequence."""
        if self.output_axes is None or np.ndim(array) != 4:
            return self.read_sequence(name, array, axes)
        array = _moved(as_floats(name, array), self.output_axes, "TBND")
        return array.reshape(*array.shape[:2], -1)

    def write_outputs(self, array: Any, layers: Any, axes: str | None = None) -> np.ndarray:
        """(T, B, directions · R) -> the layout's outputs."""
        if self.output_axes is None:
            return self.write_sequence(array, axes)
        array = np.asarray(array)
        top = slots_of(layers)[-1][0]
        directions = sum(level == top for level, _, _ in slots_of(layers))
        return _moved(array.reshape(*array.shape[:2], directions, -1), "TBND", self.output_axes)

    def read_states(self, h: Any, c: Any, layers: Any, names: tuple[str, str] = ("h0", "c0")) -> tuple[Any, ...] | None:
        """The layout's states -> a `State` per layer; None if there is neither h nor c, and zeros for the one that is missing.

        Layers of different sizes lie side by side along the features, in place of the axis N.
        """
        found = slots_of(layers)
        if h is None and c is None:
            return None
        sizes = {"h": [layer.recurrent_size for *_, layer in found], "c": [layer.hidden_size for *_, layer in found]}
        arrays = {key: (name, as_floats(name, value)) for key, name, value in zip("hc", names, (h, c), strict=True) if value is not None}
        parts = {key: self._apart(name, array, sizes[key]) for key, (name, array) in arrays.items()}
        batch, dtype = next((part[0].shape[0], part[0].dtype) for part in parts.values())
        if any(part[0].shape[0] != batch for part in parts.values()):
            raise BadInput(f"{names[1]}: expected B = {batch} as in {names[0]}; got shape {arrays['c'][1].shape}")
        for key in "hc":
            parts.setdefault(key, [np.zeros((batch, size), dtype) for size in sizes[key]])
        states = [State(h=h, c=c) for h, c in zip(parts["h"], parts["c"], strict=True)]
        return levels_of([Slot(level, direction) for level, direction, _ in found], states, wrap=False)

    def write_states(self, states: Any, like: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """A `State` per layer -> the layout's h and c. With ``like``, an array of one layer's state that may lack the axis N, like it."""
        flat = [part for state in _as_levels(states) for part in _directions(state)]
        h, c = (self._together([np.asarray(getattr(state, key)) for state in flat]) for key in "hc")
        if like is not None and np.ndim(like) == 2 < h.ndim and len(flat) == 1:
            h, c = (array.squeeze(self.state_axes.index("N")) for array in (h, c))
        return h, c

    def _stacked_axes(self, several: bool) -> str:
        return "N" + self.state_axes if several and "N" not in self.state_axes else self.state_axes

    def _apart(self, name: str, array: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
        """-> (B, size) for each layer."""
        plain = self.state_axes.replace("N", "")
        if len(set(sizes)) > 1:
            return np.split(self._checked(name, array, plain, {"H": sum(sizes)}), np.cumsum(sizes[:-1]), axis=-1)
        if len(sizes) == 1 and array.ndim == 2:
            return [self._checked(name, array, plain, {"H": sizes[0]})]
        axes = self._stacked_axes(len(sizes) > 1)
        stacked = self._checked(name, array, axes, {"N": len(sizes), "H": sizes[0]})
        return list(stacked) if "N" in axes else [stacked]

    @staticmethod
    def _checked(name: str, array: np.ndarray, axes: str, known: dict[str, int]) -> np.ndarray:
        """The array with its axes in the order N, B, H, if it has these axes and sizes."""
        fits = array.ndim == len(axes) and all(known.get(letter, size) == size for letter, size in zip(axes, array.shape, strict=True))
        if not fits:
            sizes = ", ".join(f"{letter} = {known[letter]}" for letter in axes if letter in known)
            meaning = ", N the layers and directions" if "N" in axes else ""
            raise BadInput(f"{name}: expected axes ({', '.join(axes)}) with {sizes}{meaning}; got shape {array.shape}")
        return _moved(array, axes, "".join(letter for letter in "NBH" if letter in axes))

    def _together(self, parts: list[np.ndarray]) -> np.ndarray:
        plain = self.state_axes.replace("N", "")
        if len({part.shape for part in parts}) > 1:
            return _moved(np.concatenate(parts, axis=-1), "BH", plain)
        axes = self._stacked_axes(len(parts) > 1)
        return _moved(np.stack(parts), "NBH", axes) if "N" in axes else _moved(parts[0], "BH", axes)


def check_axes(key: str, axes: Any, letters: str) -> str:
    """A permutation of the letters."""
    if not isinstance(axes, str) or sorted(axes) != sorted(letters):
        raise BadInput(f"{key}: expected the letters {', '.join(letters)} in some order; got {described(axes)}")
    return axes


def _moved(array: np.ndarray, old: str, new: str) -> np.ndarray:
    return array.transpose([old.index(letter) for letter in new])


def _as_levels(states: Any) -> tuple[Any, ...]:
    return (states,) if isinstance(states, (State, Bidirectional)) else tuple(states)


def _directions(state: Any) -> list[State]:
    return [state.forward, state.reverse] if isinstance(state, Bidirectional) else [state]
