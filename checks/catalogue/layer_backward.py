"""One layer's mutable backward pass: over time, and over one timestep."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from checks.catalogue.activations import activations_of
from checks.catalogue.forward import blocks, gate_blocks, peepholes_of
from checks.catalogue.sites import LayerSite, Step, Terms
from lstm import Layer, State


def layer_backward(at: LayerSite, d_outputs: np.ndarray, terms: Terms) -> tuple[Layer, np.ndarray, State]:
    """Upstream gradient on the outputs (T, B, R) -> the gradients of the layer, of its inputs and of its initial state."""
    run = at.run
    at.upstream = upstream = terms("upstream", np.where(run.valid, run.turned(d_outputs), 0), at)  # (27)
    window = terms("window", None, at)
    order = terms("order", range(len(run.inputs) - 1, -1, -1), at)
    h, c = _by_age(at.d_final_state.h, window), _by_age(at.d_final_state.c, window)
    d_initial = at.d_final_state
    at.d_z, at.d_h = np.zeros_like(run.z), np.zeros_like(run.h)
    for t in order:
        step = at.last_step = Step(at, t, upstream[t], h, c)
        d_z_t, h_back, c_back = cell_backward(step, terms)
        valid = run.valid[t]
        at.d_z[t], at.d_h[t] = (np.where(valid, d.sum(axis=0), 0) for d in (d_z_t, step.d_h))  # (27)
        d_initial = State(h=np.where(valid, h_back, h).sum(axis=0), c=np.where(valid, c_back, c).sum(axis=0))
        if window is not None:
            h_back, c_back = _older(h_back), _older(c_back)
        h, c = np.where(valid, h_back, h), np.where(valid, c_back, c)
    d_inputs = terms("inputs", terms("inputs_d_z", at.d_z, at) @ at.layer.w_x.T, at)  # (19)
    return _weights(at, terms), run.turned(d_inputs), terms("initial_state", d_initial, at)  # (20)


def _weights(at: LayerSite, terms: Terms) -> Layer:
    """The sums over time (8)."""
    run, d_z = at.run, at.d_z
    found: dict[str, Any] = {
        "w_x": accumulate(terms("w_x_inputs", run.inputs, at), terms("w_x_d_z", d_z, at)),  # (16)
        "w_h": terms("w_h", accumulate(terms("w_h_inputs", run.h_previous, at), terms("w_h_d_z", d_z, at)), at),  # (17)
        "b": terms("b", terms("b_d_z", d_z, at).sum(axis=(0, 1)), at),  # (18)
    }
    if at.layer.peepholes is not None:
        of_gates = gate_blocks(at.layer, terms("peephole_d_z", d_z, at))
        seen = dict.fromkeys("if", terms("peephole_c_previous", run.c_previous, at)) | {"o": terms("peephole_c", run.c, at)}
        rows = [(of_gates[q] * seen[q]).sum(axis=(0, 1)) for q in peepholes_of(at.layer)]
        found["peepholes"] = terms("peepholes", np.stack(rows), at)  # (33)
    if at.layer.projection is not None:
        product = accumulate(terms("projection_r", run.r, at), terms("projection_d_h", at.d_h, at))
        found["projection"] = terms("projection", product, at)  # (36)
    return dataclasses.replace(at.layer, **found)


def cell_backward(s: Step, terms: Terms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> gradients at z (A, B, 4H), at h_{t-1} (A, B, R) and at c_{t-1} (A, B, H)."""
    s.carried_h = terms("carried_h", s.carried_h, s)
    s.d_h = s.carried_h.copy()
    s.d_h[0] += s.upstream_h  # (9)
    s.d_r = s.d_h if s.layer.projection is None else terms("d_r", s.before_projection(s.d_h), s)  # (35)
    gates = terms("gates", s.gates, s)
    i, f, g, o = blocks(gates)
    of_cell = [terms("factor_i", g, s), terms("factor_f", s.c_previous, s), terms("factor_g", i, s)]  # (12)
    s.factors = np.concatenate([*of_cell, terms("factor_o", s.output_c, s)], axis=-1)  # (10)
    s.slopes = terms("slopes", slopes(s.layer, gates), s)
    s.d_z_o = terms("d_z_o", s.d_r * (blocks(s.factors)[-1] * blocks(s.slopes)[-1]), s)  # (13)
    output_slope = terms("output_slope", activations_of(s.layer)[2].derivative(s.output_c), s)
    s.through_h = terms("through_h", s.d_r * (terms("through_o", o, s) * output_slope), s)
    s.carried_c = terms("carried_c", s.carried_c, s)
    s.d_c = s.carried_c + s.through_h  # (11)
    peepholes = peepholes_of(s.layer)
    if peepholes:
        s.through_o = terms("peephole_d_c", s.d_z_o * peepholes["o"], s)
        s.d_c = s.d_c + s.through_o  # (31)
    s.d_sum = s.d_c if s.layer.clip is None else s.d_c * terms("clip_slope", s.clip_slope, s)  # (41)
    d_z = s.d_z = terms("d_z", np.concatenate(_gate_gradients(s, terms), axis=-1), s)
    d_c_previous = terms("d_c_previous", s.d_sum * terms("factor_c", f, s), s)  # (14)
    if peepholes:
        of_gates = gate_blocks(s.layer, d_z)
        seen = [of_gates[q] * peepholes[q] for q in peepholes if q != "o"]
        d_c_previous = d_c_previous + terms("peephole_d_c_previous", np.sum(seen, axis=0), s)  # (32)
    d_h_previous = terms("d_h_previous", d_z @ s.layer.w_h.T, s)  # (15)
    return d_z, d_h_previous, d_c_previous


def _gate_gradients(s: Step, terms: Terms) -> list[np.ndarray]:
    """δ of each gate that the layer has."""
    (at_i, at_f, at_g, _), (slope_i, slope_f, slope_g, _) = blocks(s.factors), blocks(s.slopes)
    if not s.layer.coupled:
        return [s.d_sum * (at_i * slope_i), s.d_sum * (at_f * slope_f), s.d_sum * (at_g * slope_g), s.d_z_o]  # (13)
    s.d_gates = [s.d_sum * at_i, s.d_sum * at_f, s.d_sum * at_g]
    d_i = terms("d_i", s.d_gates[0] - s.d_gates[1], s)  # (29)
    return [d_i * slope_i, s.d_gates[2] * slope_g, s.d_z_o]


def slopes(layer: Layer, gates: np.ndarray) -> np.ndarray:
    """The derivatives of the activations of i, f, o, and of g, in terms of the activated values (..., 4H)."""
    gate, candidate, _ = activations_of(layer)
    derivative = gate.derivative(gates)
    blocks(derivative)[2][...] = candidate.derivative(blocks(gates)[2])
    return derivative


def accumulate(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Σ over t and b of the outer products: (T, B, N), (T, B, M) -> (N, M)."""
    return rows.reshape(-1, rows.shape[-1]).T @ columns.reshape(-1, columns.shape[-1])


def _by_age(array: np.ndarray, window: int | None) -> np.ndarray:
    """(B, ·) -> (A, B, ·), all of it in the youngest slot."""
    return np.concatenate([array[None], np.zeros((0 if window is None else window - 1, *array.shape))])


def _older(array: np.ndarray) -> np.ndarray:
    """Every slot moves one up: the youngest is empty again, the oldest falls out of the window."""
    return np.concatenate([np.zeros_like(array[:1]), array[:-1]])
