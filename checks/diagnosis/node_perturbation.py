"""Gradients inside a layer by differences: a number is added to one pre-activation, or to h_t or c_t, at one timestep.

The reference for the gate gradients that were derived by hand: it sees forward passes alone. For small cases, since every entry of
every timestep takes two passes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from checks.catalogue.case import Case
from checks.catalogue.forward import cell, valid_steps
from lstm import Layer, State

STEP = 6e-6  # cube root of float64's ε: truncation and rounding of a central difference alike


def node_gradients(case: Case, number: int) -> dict[str, np.ndarray]:
    """Of upstream gradients: d_z (T, B, 4H), d_h (T, B, R) and d_c (T, B, H) of layer ``number``, by central differences."""
    timesteps, batch, _ = case.inputs.shape
    layer = case.layers[number]
    widths = {"d_z": layer.w_h.shape[1], "d_h": layer.w_h.shape[0], "d_c": layer.hidden_size}
    found = {}
    for name, width in widths.items():
        found[name] = np.zeros((timesteps, batch, width))
        for index in np.ndindex(timesteps, batch, width):
            ends = [_value(case, number, name, index, sign * STEP) for sign in (1, -1)]
            found[name][index] = (ends[0] - ends[1]) / (2 * STEP)
    return found


def _value(case: Case, number: int, name: str, index: tuple[int, ...], by: float) -> float:
    """Σ of upstream gradient times output, with ``by`` added at one node."""
    assert case.d_outputs is not None
    assert case.d_final_state is not None
    valid = valid_steps(case, case.lengths)
    below = np.where(valid, case.inputs, 0)
    total = 0.0
    for k, (layer, state, d_final) in enumerate(zip(case.layers, case.initial_state, case.d_final_state, strict=True)):
        below, end = _run(layer, below, state, valid, (name, index, by) if k == number else None)
        total += float((d_final.h * end.h).sum() + (d_final.c * end.c).sum())
    return total + float((np.where(valid, case.d_outputs, 0) * below).sum())


def _run(layer: Layer, inputs: np.ndarray, state: State, valid: np.ndarray, node: Any) -> tuple[np.ndarray, State]:
    """The layer's timesteps and (26). What is added past a sequence's end is held out like everything else there."""
    name, (t_node, b, unit), by = node or ("", (-1, 0, 0), 0.0)
    h, c, outputs = state.h, state.c, []

    def add(at: str, value: np.ndarray) -> np.ndarray:
        if (name, t) == (at, t_node):
            value = value.copy()
            value[b, unit] += by
        return value

    for t in range(len(inputs)):
        new = cell(layer, inputs[t] @ layer.w_x + layer.b + h @ layer.w_h, c, add)
        c, h = np.where(valid[t], new.c, c), np.where(valid[t], new.h, h)
        outputs.append(np.where(valid[t], h, 0))
    return np.array(outputs), State(h=h, c=c)
