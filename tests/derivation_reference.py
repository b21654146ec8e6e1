"""References for the derivation at 30 digits, and the rounding error that float64 may add to them.

The gradient comes from SymPy's derivative of one timestep, carried *forward* over time: with s_t = F_t(s_{t-1}, w),
ds_t/dw = ∂F_t/∂s ds_{t-1}/dw + ∂F_t/∂w (real-time recurrent learning). It shares no step with a reverse pass.
"""

from __future__ import annotations

import functools
from typing import Any

import mpmath
import numpy as np
import sympy as sp

DIGITS = 30
ROUNDOFF = mpmath.mpf(2) ** -53
# Measured against mpmath on 7,500 arguments in (-12, 12) and down to 1e-8: XLA's tanh is off by up to 4.4 roundoffs of
# its value, exp by 1.8, log by 1.0 (jax 0.10, CPU). Twice the worst of them is granted to each.
FUNCTION_ROUNDOFFS = 9


class Rounded:
    """A number at 30 digits, and a bound (to first order in the roundoff) on float64's error at the same computation.

    A sum of n terms may be added up in any order: each addition errs by at most a roundoff of Σ|terms|, and there are n - 1.
    """

    def __init__(self, value: Any, inherited: Any = None, terms: int = 1, magnitude: Any = None):
        self.value = mpmath.mpf(value.p) / value.q if isinstance(value, sp.Rational) else mpmath.mpf(value)
        self.inherited = abs(self.value - float(self.value)) if inherited is None else inherited
        self.terms = terms
        self.magnitude = abs(self.value) if magnitude is None else magnitude

    @property
    def error(self) -> Any:
        return self.inherited + (self.terms - 1) * ROUNDOFF * self.magnitude

    def __add__(self, other: Any) -> Rounded:
        other = _rounded(other)
        terms, magnitude = self.terms + other.terms, self.magnitude + other.magnitude
        return Rounded(self.value + other.value, self.inherited + other.inherited, terms, magnitude)

    def __mul__(self, other: Any) -> Rounded:
        other = _rounded(other)
        value = self.value * other.value
        return Rounded(value, abs(self.value) * other.error + abs(other.value) * self.error + ROUNDOFF * abs(value))

    def __truediv__(self, other: Any) -> Rounded:
        other = _rounded(other)
        value = self.value / other.value
        return Rounded(value, (self.error + abs(value) * other.error) / abs(other.value) + ROUNDOFF * abs(value))

    def __rtruediv__(self, other: Any) -> Rounded:
        return _rounded(other) / self

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.inherited, self.terms, self.magnitude)

    def __sub__(self, other: Any) -> Rounded:
        return self + -_rounded(other)

    def __rsub__(self, other: Any) -> Rounded:
        return _rounded(other) + -self

    def __pow__(self, power: int) -> Rounded:
        assert power == 2
        return self * self

    __radd__, __rmul__ = __add__, __mul__

    def tanh(self) -> Rounded:
        return self._function(mpmath.tanh, lambda value: 1 - value**2)

    def exp(self) -> Rounded:
        return self._function(mpmath.exp, lambda value: value)

    def log(self) -> Rounded:
        return self._function(mpmath.log, lambda _: 1 / self.value)

    def __ge__(self, other: Any) -> bool:
        return self.value >= _rounded(other).value

    def _function(self, function: Any, derivative: Any) -> Rounded:
        value = function(self.value)
        return Rounded(value, abs(derivative(value)) * self.error + FUNCTION_ROUNDOFFS * ROUNDOFF * abs(value))


def _rounded(number: Any) -> Rounded:
    return number if isinstance(number, Rounded) else Rounded(number)


rounded = np.vectorize(_rounded, otypes=[object])


@functools.cache
def one_timestep(input_size: int, hidden_size: int) -> Any:
    """(x, h, c, parameters) -> [h', c'] (2H,) and its derivative by each of h, c, parameters, x (2H, …), 30 digits each."""
    names = {"x": input_size, "h": hidden_size, "c": hidden_size, "p": 4 * hidden_size * (input_size + hidden_size + 1)}
    x, h, c, p = ([sp.Symbol(f"{name}_{k}", real=True) for k in range(size)] for name, size in names.items())
    w_x, w_h, b = np.split(np.array(p, object), [4 * hidden_size * input_size, -4 * hidden_size])
    z = np.array(x) @ w_x.reshape(input_size, -1) + np.array(h) @ w_h.reshape(hidden_size, -1) + b
    z_i, z_f, z_g, z_o = np.split(z, 4)
    new_c = [c[k] / (1 + sp.exp(-z_f[k])) + sp.tanh(z_g[k]) / (1 + sp.exp(-z_i[k])) for k in range(hidden_size)]
    new_h = [sp.tanh(new_c[k]) / (1 + sp.exp(-z_o[k])) for k in range(hidden_size)]
    state = [*new_h, *new_c]
    derivatives = [[sp.diff(one, by) for by in (*h, *c, *p, *x)] for one in state]
    return sp.lambdify((x, h, c, p), (state, derivatives), "mpmath", cse=True)


def sequence_gradients(given: dict[str, Any], upstream: Any, d_h_n: Any = None, d_c_n: Any = None) -> dict[str, Any]:
    """The gradient of Σ upstream·outputs + d_h_n·h_n + d_c_n·c_n at ``given`` w_x, w_h, b, inputs, h0, c0, lengths.

    ``upstream(t, b, h)`` (H,) is the cost's derivative by the output at (t, b), where the output is ``h``.
    """
    timesteps, batch, input_size = given["inputs"].shape
    hidden_size = given["h0"].shape[1]
    step = one_timestep(input_size, hidden_size)
    p = np.concatenate([given[name].ravel() for name in ("w_x", "w_h", "b")])
    size, total = 2 * hidden_size, {name: np.zeros_like(given[name]) for name in ("inputs", "h0", "c0")}
    d_p = np.zeros_like(p)
    for b in range(batch):
        state = np.concatenate([given["h0"][b], given["c0"][b]])
        by = np.zeros((size, size + p.size + timesteps * input_size), object)  # ds_t by the initial state, p, every input
        by[:, :size] = np.eye(size, dtype=int)
        gradient = np.zeros_like(by[0])
        for t in range(given["lengths"][b]):
            new_state, local = step(given["inputs"][t, b], *np.split(state, 2), p)
            local = np.array(local, object)
            by = local[:, :size] @ by
            by[:, size : size + p.size] += local[:, size : size + p.size]
            here = size + p.size + t * input_size
            by[:, here : here + input_size] += local[:, size + p.size :]
            state = np.array(new_state, object)
            gradient = gradient + upstream(t, b, state[:hidden_size]) @ by[:hidden_size]
        if d_h_n is not None:
            gradient = gradient + np.concatenate([d_h_n[b], d_c_n[b]]) @ by
        total["h0"][b], total["c0"][b] = gradient[:hidden_size], gradient[hidden_size:size]
        total["inputs"][:, b] = gradient[size + p.size :].reshape(timesteps, input_size)
        d_p = d_p + gradient[size : size + p.size]
    w_x, w_h, b = np.split(d_p, [given["w_x"].size, -given["b"].size])
    return total | {"w_x": w_x.reshape(given["w_x"].shape), "w_h": w_h.reshape(given["w_h"].shape), "b": b}


def loss_of(loss: str, y: Any, target: Any) -> Any:
    """(22), (24) as a SymPy expression."""
    if loss == "squared_error":
        return sum((one - goal) ** 2 for one, goal in zip(y, target, strict=True))
    normalizer = sum(sp.exp(one) for one in y)
    return -sum(goal * sp.log(sp.exp(one) / normalizer) for one, goal in zip(y, target, strict=True))


@functools.cache
def readout_and_loss(loss: str, hidden_size: int, output_size: int) -> Any:
    """(h, target, parameters of the readout) -> the loss's derivative by each of h, parameters."""
    names = {"h": hidden_size, "target": output_size, "p": (hidden_size + 1) * output_size}
    h, target, p = ([sp.Symbol(f"{name}_{k}", real=True) for k in range(size)] for name, size in names.items())
    w, b = np.split(np.array(p, object), [hidden_size * output_size])
    value = loss_of(loss, np.array(h) @ w.reshape(hidden_size, -1) + b, target)
    return sp.lambdify((h, target, p), [sp.diff(value, by) for by in (*h, *p)], "mpmath", cse=True)


def network_gradients(given: dict[str, Any], loss: str, weight: Any) -> dict[str, Any]:
    """The gradient of weight · Σ losses at ``given``, which has also w_y, b_y and targets (T, B, K)."""
    hidden_size, output_size = given["w_y"].shape
    derivative = readout_and_loss(loss, hidden_size, output_size)
    p = np.concatenate([given["w_y"].ravel(), given["b_y"]])
    d_p = np.zeros_like(p)

    def upstream(t: int, b: int, h: Any) -> Any:
        gradient = weight * np.array(derivative(h, given["targets"][t, b], p), object)
        d_p[:] += gradient[hidden_size:]
        return gradient[:hidden_size]

    gradients = sequence_gradients(given, upstream)
    return gradients | {"w_y": d_p[: hidden_size * output_size].reshape(given["w_y"].shape), "b_y": d_p[hidden_size * output_size :]}
