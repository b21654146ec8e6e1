"""What rounding may do to the gradient of a `Case`, from one pass of the mutable backward pass in NumPy: nothing is compiled.

The model of `checks.tolerance`, λ √n u Σ|·|: the sum of magnitudes is that of the products added up for each array.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import ml_dtypes
import numpy as np

import lstm
from checks.catalogue import Bug, Case
from checks.catalogue.mutants import gradients
from checks.tolerance import LAMBDA, OTHER_OPERATIONS
from checks.within_rounding import ROUNDED
from lstm.levels import directions


def rounding_of(case: Case, bugs: Sequence[Bug] = (), dtype: Any = np.float64) -> list[float]:
    """For each array of the gradient, in the order of its leaves: how far apart two implementations may be, each within its rounding.

    ``bugs`` may enlarge the gate gradients, and with them the rounding.
    """
    n = case.sizes
    contraction = max(max(np.shape(leaf)) for leaf in jax.tree.leaves((case.layers, case.readout)))
    roundings = len(case.layers) * 2 * n["T"] * (contraction + OTHER_OPERATIONS) + n["T"] * n["B"]
    factor = ROUNDED * LAMBDA * np.sqrt(roundings) * float(ml_dtypes.finfo(dtype).eps) / 2
    return [factor * float(np.max(leaf)) for leaf in jax.tree.leaves(_magnitudes(case, bugs))]


class _Recorder:
    """Plants nothing: keeps the magnitudes that pass by, of each layer apart, by the identity of its run; None: the cost's own."""

    def __init__(self, *names: str):
        self.seen: dict[str, dict[int | None, np.ndarray]] = {name: {} for name in names}

    @property
    def modifies(self) -> dict[str, Any]:
        def keep(kept: dict[int | None, np.ndarray], value: np.ndarray, at: Any) -> np.ndarray:
            run = id(at.run) if hasattr(at, "run") else None
            kept[run] = np.maximum(np.abs(value), kept[run]) if run in kept and kept[run].shape == value.shape else np.abs(value)
            return value

        return {name: functools.partial(keep, kept) for name, kept in self.seen.items()}


def _magnitudes(case: Case, bugs: Sequence[Bug]) -> Any:
    """Σ over t and b of |row| |gate gradient|, in the structure of the gradients."""
    recorder = _Recorder("w_x_d_z", "readout_d_y", "d_c_previous", "projection_d_h")
    correct = gradients(case, [*bugs, recorder])
    d_z_of = recorder.seen["w_x_d_z"]
    lowest = zip(case.runs, directions(case.levels[0]), strict=False)  # the runs of the lowest level come first
    d_inputs = sum(run.turned(d_z_of[id(run)] @ np.abs(run.layer.w_x).T) for run, _ in lowest)
    largest_d_c = max(float(d_c.max()) for d_c in recorder.seen["d_c_previous"].values())

    def product(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return np.tensordot(np.abs(rows), columns, axes=([0, 1], [0, 1]))

    layers, states = [], []
    for run in case.runs:
        d_z = d_z_of[id(run)]
        found = {"w_x": product(run.inputs, d_z), "w_h": product(run.h_previous, d_z), "b": d_z.sum(axis=(0, 1))}
        if run.layer.peepholes is not None:
            largest_c = np.maximum(np.abs(run.c_previous), np.abs(run.c)).max(axis=-1, keepdims=True)
            found["peepholes"] = (largest_c * d_z).sum(axis=(0, 1))
        if run.layer.projection is not None:
            found["projection"] = product(run.r, recorder.seen["projection_d_h"][id(run)])
        layers.append(dataclasses.replace(run.layer, **found))
        states.append(lstm.State(h=d_z @ np.abs(run.layer.w_h).T, c=np.array(largest_d_c)))
    if not case.is_cost:
        return dataclasses.replace(correct, layers=tuple(layers), inputs=d_inputs, initial_state=tuple(states))
    readout = None
    if case.readout is not None:
        (d_y,) = recorder.seen["readout_d_y"].values()
        outputs = np.concatenate([run.outputs for run in case.runs[-len(directions(case.levels[-1])) :]], axis=-1)
        readout = lstm.Readout(w=product(outputs, d_y), b=d_y.sum(axis=(0, 1)))
    network = lstm.Network(tuple(layers), readout)
    return dataclasses.replace(correct, network=network, inputs=d_inputs, initial_state=tuple(states))
