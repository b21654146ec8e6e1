"""A correct LSTM with BPTT in low precision, honestly: every single operation is rounded, sums one term after the other.

Values are held in float64 and rounded to the precision after each operation. The float64 result of one addition, multiplication
or division of such numbers, rounded again, is the correctly rounded one; exp and tanh are as good as the best that a library has.
Written as candidates are, timestep by timestep; standard layers, forward in time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

import lstm
from checks.oracle.case import OracleCase

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Precision:
    """``operands``: what the factors of a matrix product are rounded to first, if that is coarser."""

    name: str
    dtype: Any  # of results, and of what is stored
    operands: Callable[[Array], Array] | None = None
    epsilon: float | None = None  # default the dtype's

    @property
    def eps(self) -> float:
        return float(ml_dtypes.finfo(self.dtype).eps) if self.epsilon is None else self.epsilon

    @property
    def tiny(self) -> float:
        return float(ml_dtypes.finfo(self.dtype).tiny)

    def rounded(self, array: Any) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(array, np.float64).astype(self.dtype).astype(np.float64)

    def product(self, a: Array, b: Array) -> Array:
        """(N, M) by (M, K): each product and each partial sum rounded."""
        if self.operands is not None:
            a, b = self.operands(a), self.operands(b)
        total = np.zeros((a.shape[0], b.shape[1]))
        for k in range(a.shape[1]):
            total = self.rounded(total + self.rounded(a[:, k : k + 1] * b[k]))
        return total

    def sigmoid(self, z: Array) -> Array:
        """1 / (1 + e^-z), an operation at a time."""
        with np.errstate(over="ignore"):
            return self.rounded(1 / self.rounded(1 + self.rounded(np.exp(-z))))


def to_ten_bits(array: Array) -> Array:
    """To TF32's mantissa of 10 bits, ties to even; a float32's exponent."""
    bits = array.astype(np.float32).view(np.uint32)
    bits = bits + np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    return (bits & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)


PRECISIONS = {
    "float64": Precision("float64", np.float64),
    "float32": Precision("float32", np.float32),
    "tf32": Precision("tf32", np.float32, to_ten_bits, 2.0**-10),
    "float16": Precision("float16", np.float16),
    "bfloat16": Precision("bfloat16", ml_dtypes.bfloat16),
}


def gradients(case: OracleCase, p: Precision) -> tuple[Array, tuple[lstm.State, ...], lstm.CostGradients]:
    """Outputs (T, B, R), final states, and the gradient of everything, computed in this precision from first to last."""
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is infinite, as it would be
        passes, below = [], case.inputs
        for layer, state in zip(case.layers, case.initial_state, strict=True):
            one = _Pass(layer, case, p)
            below = one.forward(below, state)
            passes.append(one)
        d_outputs, d_readout = (case.d_outputs, None) if not case.is_cost else _cost_backward(case, below, p)
        d_layers: list[Any] = []
        d_states: list[Any] = []
        for number in reversed(range(len(passes))):
            d_final = None if case.d_final_state is None else case.d_final_state[number]
            d_layer, d_outputs, d_state = passes[number].backward(d_outputs, d_final)
            d_layers.insert(0, d_layer)
            d_states.insert(0, d_state)
    finals = tuple(lstm.State(h=one.h[-1], c=one.c[-1]) for one in passes)
    network = lstm.Network(tuple(d_layers), d_readout)
    return below, finals, lstm.CostGradients(network=network, inputs=d_outputs, initial_state=tuple(d_states))


class _Pass:
    """One layer, forward and then backward."""

    def __init__(self, layer: lstm.Layer, case: OracleCase, p: Precision):
        self.layer, self.p, self.valid = layer, p, case.valid[:, :, None]

    def forward(self, inputs: Array, state: lstm.State) -> Array:
        p, layer, r = self.p, self.layer, self.p.rounded
        self.x, self.h, self.c, self.gates, self.tanh_c = inputs, [state.h], [state.c], [], []
        for t, x in enumerate(inputs):
            z = r(r(p.product(x, layer.w_x) + p.product(self.h[t], layer.w_h)) + layer.b)
            z_i, z_f, z_g, z_o = np.split(z, 4, axis=-1)
            i, f, g, o = p.sigmoid(z_i), p.sigmoid(z_f), r(np.tanh(z_g)), p.sigmoid(z_o)
            c = r(r(f * self.c[t]) + r(i * g))
            tanh_c = r(np.tanh(c))
            h = r(o * tanh_c)
            self.h.append(np.where(self.valid[t], h, self.h[t]))
            self.c.append(np.where(self.valid[t], c, self.c[t]))
            self.gates.append((i, f, g, o))
            self.tanh_c.append(tanh_c)
        return np.where(self.valid, np.stack(self.h[1:]), 0)

    def backward(self, d_outputs: Array | None, d_final: Any) -> tuple[lstm.Layer, Array, lstm.State]:
        p, layer, r = self.p, self.layer, self.p.rounded
        d_h, d_c = np.zeros_like(self.h[0]), np.zeros_like(self.c[0])
        if d_final is not None:
            d_h, d_c = (zero if d is None else d for zero, d in ((d_h, d_final.h), (d_c, d_final.c)))
        d_w_x, d_w_h, d_b = np.zeros_like(layer.w_x), np.zeros_like(layer.w_h), np.zeros_like(layer.b)
        d_inputs = np.zeros_like(self.x)
        for t in reversed(range(len(self.x))):
            i, f, g, o = self.gates[t]
            tanh_c, valid = self.tanh_c[t], self.valid[t]
            d_h_t = d_h if d_outputs is None else r(d_h + d_outputs[t])
            d_c_t = r(d_c + r(r(d_h_t * o) * r(1 - r(tanh_c * tanh_c))))
            parts = ((r(d_c_t * g), i), (r(d_c_t * self.c[t]), f), (r(d_h_t * tanh_c), o))
            d_z_i, d_z_f, d_z_o = (r(r(d * a) * r(1 - a)) for d, a in parts)
            d_z_g = r(r(d_c_t * i) * r(1 - r(g * g)))
            d_z = np.where(valid, np.concatenate([d_z_i, d_z_f, d_z_g, d_z_o], axis=-1), 0)
            d_w_x = r(d_w_x + p.product(self.x[t].T, d_z))
            d_w_h = r(d_w_h + p.product(self.h[t].T, d_z))
            for row in d_z:
                d_b = r(d_b + row)
            d_inputs[t] = p.product(d_z, layer.w_x.T)
            d_h = np.where(valid, p.product(d_z, layer.w_h.T), d_h)
            d_c = np.where(valid, r(d_c_t * f), d_c)
        return dataclasses.replace(layer, w_x=d_w_x, w_h=d_w_h, b=d_b), d_inputs, lstm.State(h=d_h, c=d_c)


def _cost_backward(case: OracleCase, outputs: Array, p: Precision) -> tuple[Array, lstm.Readout | None]:
    """-> the gradients at the outputs and at the readout."""
    r, readout = p.rounded, case.readout
    rows, weights = outputs.reshape(-1, outputs.shape[-1]), r(case.loss_weights).reshape(-1, 1)
    y = rows if readout is None else r(p.product(rows, readout.w) + readout.b)
    assert case.targets is not None
    if case.loss == "squared_error":
        d_loss = r(2 * r(y - case.targets.reshape(y.shape)))
    else:
        targets = case.targets if case.targets.ndim == 3 else np.eye(y.shape[-1])[case.targets]
        powers = r(np.exp(r(y - y.max(axis=-1, keepdims=True))))
        total = np.zeros((len(y), 1))
        for k in range(y.shape[-1]):
            total = r(total + powers[:, k : k + 1])
        d_loss = r(r(powers / total) - targets.reshape(y.shape))
    d_y = np.where(weights > 0, r(d_loss * weights), 0)
    if readout is None:
        return d_y.reshape(outputs.shape), None
    d_b = np.zeros_like(readout.b)
    for row in d_y:
        d_b = r(d_b + row)
    return p.product(d_y, readout.w.T).reshape(outputs.shape), lstm.Readout(w=p.product(rows.T, d_y), b=d_b)
