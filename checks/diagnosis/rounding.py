"""What rounding may do to the gradient of a `Case`, from one pass of the mutable backward pass in NumPy: nothing is compiled.

The model of `checks.tolerance`, λ √n u Σ|·|: the sum of magnitudes is that of the products added up for each array.
"""

from __future__ import annotations

import dataclasses
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
    """Plants nothing: keeps the values that pass by, the top layer's first."""

    def __init__(self, *names: str):
        self.seen: dict[str, list[np.ndarray]] = {name: [] for name in names}

    @property
    def modifies(self) -> dict[str, Any]:
        return {name: lambda value, _, kept=kept: kept.append(np.abs(value)) or value for name, kept in self.seen.items()}


def _magnitudes(case: Case, bugs: Sequence[Bug]) -> Any:
    """Σ over t and b of |row| |gate gradient|, in the structure of the gradients."""
    recorder = _Recorder("w_x_d_z", "readout_d_y", "d_c_previous", "projection_d_h")
    correct = gradients(case, [*bugs, recorder])
    d_z_of_layers = recorder.seen["w_x_d_z"][::-1]
    d_inputs = d_z_of_layers[0] @ np.abs(case.layers[0].w_x).T
    largest_d_c = max(float(d_c.max()) for d_c in recorder.seen["d_c_previous"])

    def product(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return np.tensordot(np.abs(rows), columns, axes=([0, 1], [0, 1]))

    layers, states = [], []
    for run, d_z in zip(case.runs, d_z_of_layers, strict=True):
        found = {"w_x": product(run.inputs, d_z), "w_h": product(run.h_previous, d_z), "b": d_z.sum(axis=(0, 1))}
        if run.layer.peepholes is not None:
            largest_c = np.maximum(np.abs(run.c_previous), np.abs(run.c)).max(axis=-1, keepdims=True)
            found["peepholes"] = (largest_c * d_z).sum(axis=(0, 1))
        if run.layer.projection is not None:
            found["projection"] = product(run.r, recorder.seen["projection_d_h"].pop())
        layers.append(dataclasses.replace(run.layer, **found))
        states.append(lstm.State(h=d_z @ np.abs(run.layer.w_h).T, c=np.array(largest_d_c)))
    if not case.is_cost:
        return dataclasses.replace(correct, layers=tuple(layers), inputs=d_inputs, initial_state=tuple(states))
    d_y = recorder.seen["readout_d_y"][0]
    readout = lstm.Readout(w=product(case.runs[-1].outputs, d_y), b=d_y.sum(axis=(0, 1)))
    network = lstm.Network(tuple(layers), readout)
    return dataclasses.replace(correct, network=network, inputs=d_inputs, initial_state=tuple(states))
