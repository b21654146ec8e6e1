"""From the arrays of a file to a `Candidate`: every name accounted for, every shape held against the others.

Each error is one line that says, in the file's own names, what was expected and what came.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

import lstm
from checks.files.candidate import COST, FORWARD, READOUT_FIRST, RESERVED, UPSTREAM, Candidate, Reading
from checks.files.candidate_arrays import check_probabilities, exact_shape, floats, lengths_of, moved, near_name, sequence_shape
from checks.files.masks import PREFIX as MASK, read_masks
from checks.files.npz_file import shown
from checks.network_forward import zero_states
from checks.oracle.case import OracleCase
from lstm import BadInput
from lstm.layouts import LAYOUTS, Layout
from lstm.levels import apart, directions, output_size

INTERNAL_GRADIENT = r"grad\.d_[zhc]_l\d+(_reverse)?"  # a candidate's own, of what `export` calls internal.
COPIES = 120  # arrays of the size of all gates that the oracle, its confirmation and its tolerances hold at the same time


def understand(arrays: Mapping[str, np.ndarray], reading: Reading) -> Candidate:
    """Raises `BadInput`, one line, if the arrays are not what the file contract and the layout say."""
    return _Understanding(dict(arrays), reading).candidate()


def weights_of(arrays: Mapping[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
    """The layout's own arrays, in float64. What is no name of the contract either, the layout refuses when it reads them."""
    others = [name for name in arrays if name not in RESERVED and not name.startswith(("grad.", "internal.", MASK))]
    known = layout.weight_names(others)
    for name in others:
        if name not in known and (hint := near_name(name, [key for key in RESERVED if key not in arrays])):
            raise BadInput(f"{shown(name)}: expected a name of the file contract or of the layout; got this one{hint}")
    return {name: floats(name, arrays[name]) for name in others}


def other_layout(names: Mapping[str, Any], layout: Layout) -> str:
    """A hint where not one of these is a name of the layout, and all are names of another."""
    if not names or layout.weight_names(names):
        return ""
    others = [name for name, other in LAYOUTS.items() if set(other.weight_names(names)) == set(names)]
    return f"; these are names of --layout {' or '.join(others)}" if others else ""


class _Understanding:
    """One file being read: each method settles one part, from what was settled before."""

    def __init__(self, arrays: dict[str, np.ndarray], reading: Reading):
        self.arrays, self.reading = arrays, reading

    def candidate(self) -> Candidate:
        weights = weights_of(self.arrays, self.reading.layout)
        inputs_axes = self._inputs_axes()
        self.layers = self._layers(weights)
        self.lengths = None
        features = {direction.layer.w_x.shape[0] for direction in directions(self.layers[0])}
        sequence_shape("inputs", self.arrays["inputs"], self.reading.order, {"D": features.pop()}, "as the weights take")
        if "lengths" in self.arrays:
            self.lengths = lengths_of(self.arrays["lengths"], *inputs_axes)
        self.counted = np.arange(inputs_axes[0])[:, None] < (inputs_axes[0] if self.lengths is None else self.lengths)
        self.counted = np.broadcast_to(self.counted, inputs_axes)
        self._check_memory()
        case = self._case()
        return Candidate(
            reading=self.reading, weights=weights, case=case, forward=self._forward(), gradients=self._gradients(weights),
            internals=self._internals(),
            shapes={name: array.shape for name, array in self.arrays.items()},
            dtypes={name: array.dtype for name, array in self.arrays.items()},
        )  # fmt: skip

    def _inputs_axes(self) -> tuple[int, int]:
        if "inputs" not in self.arrays:
            came = ", ".join(shown(name) for name in list(self.arrays)[:8])
            raise BadInput(f"inputs: expected an array of this name; got {came}{', …' if len(self.arrays) > 8 else ''}")
        sequence_shape("inputs", self.arrays["inputs"], self.reading.order, {}, "")
        floats("inputs", self.arrays["inputs"], np.zeros(self.arrays["inputs"].shape, bool))  # its numbers are looked at later
        timesteps, batch = (self.arrays["inputs"].shape[self.reading.order.index(letter)] for letter in "TB")
        return timesteps, batch

    def _layers(self, weights: dict[str, np.ndarray]) -> tuple[Any, ...]:
        try:
            levels = self.reading.layout.read(weights, self.reading.attributes)
        except BadInput as error:
            raise BadInput(f"{error}{other_layout(weights, self.reading.layout)}") from None
        changes: dict[str, Any] = {}
        if self.reading.activations is not None:
            changes["activations"] = self.reading.activations
        if self.reading.clip is not None:
            changes["clip"] = self.reading.clip
        return tuple(configured(level, changes) for level in levels)

    def _check_memory(self) -> None:
        """Small arrays can describe a network that no machine holds."""
        rows = self.counted.size
        units = sum(direction.layer.w_h.shape[1] for level in self.layers for direction in directions(level))
        needed = COPIES * 8 * rows * units
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > available:
            sizes = f"T B = {rows} timesteps of {units} pre-activations need about {needed / 1e9:.0f} GB"
            raise BadInput(f"inputs: expected a problem that fits this machine's {available / 1e9:.0f} GB of memory; got one where {sizes}")

    def _sequence(self, name: str, features: int, meaning: str) -> np.ndarray:
        """-> (T, B, ·), zeros past each sequence's length, where the file may hold anything."""
        array, order = self.arrays[name], self.reading.order
        layout = self.reading.layout
        if name in ("outputs", "d_outputs") and layout.output_axes is not None and array.ndim == 4:
            values = layout.read_outputs(name, np.nan_to_num(array.astype(np.float64)))
            exact_shape(name, values, (*self.counted.shape, features), "read as (T, B, all features)")
            array = moved(array, layout.output_axes, "TBND").reshape(values.shape)
        else:
            timesteps, batch = self.counted.shape
            sequence_shape(name, array, order, {"T": timesteps, "B": batch, "D": features}, meaning)
            array = moved(array, order)
        values = floats(name, array, self.counted)
        return np.where(self.counted[:, :, None], values, 0)

    def _states(self, names: tuple[str, str], meaning: str) -> tuple[Any, ...] | None:
        h, c = (floats(name, self.arrays[name]) if name in self.arrays else None for name in names)
        states = self.reading.layout.read_states(h, c, self.layers, names=names)
        for level, one in zip(self.layers, states or (), strict=False):
            if len(apart(level, one)[0].h) != self.counted.shape[1]:
                present = next(name for name in names if name in self.arrays)
                shape, batch = self.arrays[present].shape, self.counted.shape[1]
                raise BadInput(f"{present}: expected B = {batch}, as inputs have ({meaning}); got shape {shape}")
        return states

    def _case(self) -> OracleCase:
        inputs = self._sequence("inputs", self.arrays["inputs"].shape[self.reading.order.index("D")], "")
        states = self._states(("h0", "c0"), "one initial state for each sequence")
        states = zero_states(self.layers, inputs.shape[1], np.float64) if states is None else states
        masks = read_masks(self.arrays, self.layers, self.reading.order, self.counted)
        case = OracleCase(layers=self.layers, inputs=inputs, initial_state=states, lengths=self.lengths, masks=masks)
        upstream = [name for name in UPSTREAM if name in self.arrays]
        cost = [name for name in COST if name in self.arrays]
        if upstream and cost:
            raise BadInput(f"{upstream[0]} and {cost[0]}: expected upstream gradients or a cost; got both")
        if cost:
            return self._cost(case)
        if self.reading.loss is not None:
            raise BadInput(f"targets: expected with --loss {self.reading.loss}; got none")
        if not upstream and any(name.startswith("grad.") for name in self.arrays):
            raise BadInput("d_outputs: expected upstream gradients (d_outputs, d_h_n, d_c_n), or targets with --loss; got neither")
        width = output_size(self.layers[-1])
        return dataclasses.replace(
            case,
            d_outputs=self._sequence("d_outputs", width, "like the outputs") if "d_outputs" in self.arrays else None,
            d_final_state=self._states(("d_h_n", "d_c_n"), "one final state for each sequence"),
        )

    def _cost(self, case: OracleCase) -> OracleCase:
        if "targets" not in self.arrays:
            raise BadInput("targets: expected beside readout.weight and readout.bias; got none")
        if self.reading.loss is None:
            raise BadInput(f"targets: expected --loss to say of which cost ({', '.join(lstm.LOSSES)}); got no --loss")
        width = output_size(self.layers[-1])
        readout = self._readout(width)
        outputs = width if readout is None else readout.w.shape[1]
        given = self.arrays["targets"]
        if given.dtype.kind in "iu" and self.reading.loss == "cross_entropy":
            targets = self._labels(given, outputs)
        else:
            targets = self._sequence("targets", outputs, "one target for each prediction")
            if self.reading.loss == "cross_entropy":
                check_probabilities(targets, self.counted, given.dtype)
        return dataclasses.replace(
            case, readout=readout, targets=targets, loss=self.reading.loss, reduction=self.reading.reduction
        )

    def _readout(self, width: int) -> lstm.Readout | None:
        given = [name for name in COST[1:] if name in self.arrays]
        if not given:
            return None
        if len(given) == 1:
            raise BadInput(f"{given[0]}: expected readout.weight and readout.bias together; got one alone")
        weight, bias = (floats(name, self.arrays[name]) for name in COST[1:])
        if bias.ndim != 1:
            raise BadInput(f"readout.bias: expected one axis (K,); got shape {bias.shape}")
        transposed = self.reading.layout.name in READOUT_FIRST
        shape = (len(bias), width) if transposed else (width, len(bias))
        exact_shape("readout.weight", weight, shape, f"({'K, R' if transposed else 'R, K'}) of this layout")
        return lstm.Readout(w=weight.T if transposed else weight, b=bias)

    def _labels(self, given: np.ndarray, classes: int) -> np.ndarray:
        order = self.reading.order.replace("D", "")
        shape = tuple(self.counted.shape["TB".index(letter)] for letter in order)
        exact_shape("targets", given, shape, f"labels ({', '.join(order)})")
        labels = moved(given, order, "TB")
        bad = self.counted & ((labels < 0) | (labels >= classes))
        if bad.any():
            t, b = (int(i) for i in np.argwhere(bad)[0])
            raise BadInput(f"targets: expected labels from 0 to {classes - 1}; got {labels[t, b]} at t = {t}, b = {b}")
        return np.where(self.counted, labels, 0).astype(np.int64)

    def _forward(self) -> dict[str, np.ndarray]:
        forward = {}
        if "outputs" in self.arrays:
            forward["outputs"] = self._sequence("outputs", output_size(self.layers[-1]), "R features of the top layer")
        states = self._states(("h_n", "c_n"), "one final state for each sequence")
        if states is not None:
            forward |= {name: floats(name, self.arrays[name]) for name in ("h_n", "c_n") if name in self.arrays}
        return forward

    def _internals(self) -> dict[str, np.ndarray]:
        """(T, B, ·), whatever the axes of the layout; ``grad.d_z_l0`` before ``internal.d_z_l0``, which `export` wrote."""
        internals = {}
        for name in sorted(self.arrays, key=lambda name: name.startswith("grad.")):
            array, is_gradient = self.arrays[name], re.fullmatch(INTERNAL_GRADIENT, name)
            if not (name.startswith("internal.") or is_gradient):
                continue
            if not (is_gradient or re.fullmatch(r"internal\.d_[zhc]_l\d+(_reverse)?", name)):
                raise BadInput(f"{shown(name)}: expected internal.d_z_l0, d_h_l0, d_c_l0 or those of other layers; got this name")
            if array.ndim != 3 or array.shape[:2] != self.counted.shape:
                raise BadInput(f"{name}: expected shape (T, B, features) with T, B = {self.counted.shape}; got {array.shape}")
            internals[f"internal.{name.removeprefix('grad.').removeprefix('internal.')}"] = floats(name, array)
        return internals

    def _gradients(self, weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        gradients = {}
        known = [*weights, "inputs", "h0", "c0", *(COST[1:] if COST[1] in self.arrays else ())]
        for key, array in self.arrays.items():
            if not key.startswith("grad.") or re.fullmatch(INTERNAL_GRADIENT, key):
                continue
            name = key.removeprefix("grad.")
            if name not in known:
                raise BadInput(f"{shown(key)}: expected the gradient of an array of the file; got this name{near_name(name, known)}")
            if name in self.arrays:
                exact_shape(key, array, self.arrays[name].shape, f"as {name} has")
            gradients[name] = floats(key, array)
        self._states(("grad.h0", "grad.c0"), "one initial state for each sequence")
        if not gradients and not any(name in self.arrays for name in FORWARD):
            raise BadInput("grad.NAME: expected at least one gradient, or outputs, h_n or c_n, to check; got none")
        return gradients


def configured(level: Any, changes: dict[str, Any]) -> Any:
    """The level with these fields of its layers changed."""
    if isinstance(level, lstm.Bidirectional):
        return lstm.Bidirectional(forward=configured(level.forward, changes), reverse=configured(level.reverse, changes))
    if isinstance(level, lstm.Reversed):
        return lstm.Reversed(layer=configured(level.layer, changes))
    return dataclasses.replace(level, **changes)
