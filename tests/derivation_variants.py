"""Section 8 of docs/derivation.md as the document states it: activations, (29) to (41), and a whole timestep.

Each formula stands beside SymPy's derivative, and beside a wrong one of the kind that people really write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from derivation_equations import Case, real, sigmoid

from lstm import Layer, Masks, State
from lstm.activations import Activation

SLOPE = sp.Rational(0.2)  # the float 0.2, exactly
d_h, d_c, d_c_later = real("d_h d_c d_c_later")  # the bars of h_t and c_t, and the part of the latter that comes from later
c_previous, h_previous = real("c_previous h_previous")


class StatedActivation(NamedTuple):
    """A row of 8.1. Its conditions are decided where `derivation_members.decided_at` says so."""

    forward: Callable[[Any], Any]  # z -> a
    derivative: Callable[[Any], Any]  # a -> φ'(z)
    wrong: Callable[[Any], Any]


def _cut(line: Any) -> Any:
    if line < 0:
        return sp.Integer(0)
    return sp.Integer(1) if line > 1 else line


ACTIVATIONS = {
    "sigmoid": StatedActivation(sigmoid, lambda a: a * (1 - a), lambda a: sigmoid(a) * (1 - sigmoid(a))),
    "tanh": StatedActivation(sp.tanh, lambda a: 1 - a**2, lambda a: 1 - sp.tanh(a) ** 2),
    "identity": StatedActivation(lambda z: z, lambda a: sp.Integer(1), lambda a: a),
    "relu": StatedActivation(
        lambda z: z if z > 0 else sp.Integer(0), lambda a: sp.Integer(1) if a > 0 else sp.Integer(0), lambda a: sp.Integer(1)
    ),
    "softsign": StatedActivation(lambda z: z / (1 + abs(z)), lambda a: (1 - abs(a)) ** 2, lambda a: (1 - a) ** 2),
    "hard_sigmoid(0.2)": StatedActivation(
        lambda z: _cut(SLOPE * z + sp.Rational(1, 2)),
        lambda a: SLOPE if (a > 0 and a < 1) else sp.Integer(0),
        lambda a: SLOPE,  # as if nothing were cut
    ),
}


def stated_step(layer: Layer, x: Any, state: State, masks: Masks, functions: dict[str, Activation], clip: Any) -> State:
    """8.9 from left to right, for a layer that has every variant; f coupled or not. Arrays of symbols (B, ·)."""
    phi, tanh_g, tanh_c = (functions[name].forward for name in ("gate", "candidate", "output"))
    z = (masks.inputs * x) @ layer.w_x + (masks.recurrent * state.h) @ layer.w_h + layer.b  # (37), (1)
    z_i, *z_f, z_g, z_o = np.split(z, 3 if layer.coupled else 4, axis=-1)
    p_i, *p_f, p_o = layer.peepholes
    i = phi(z_i + p_i * state.c)  # (30), (2)
    f = 1 - i if layer.coupled else phi(z_f[0] + p_f[0] * state.c)  # (28)
    c_hat = clip(f * state.c + i * tanh_g(z_g))  # (3), (4), (40)
    o = phi(z_o + p_o * c_hat)  # (30), (2)
    h_hat = (o * tanh_c(c_hat)) @ layer.projection  # (34)
    keep_h, keep_c = masks.zoneout_h, masks.zoneout_c
    return State(h=keep_h * state.h + (1 - keep_h) * h_hat, c=keep_c * state.c + (1 - keep_c) * c_hat)  # (38)


def gate_cases() -> list[Case]:
    """(29), (31), (32), (33): one unit, with sigmoid and tanh. The cost is, to first order, d_h h_t + d_c_later c_t."""
    i, g, c, z_i, z_f, z_o, p_i, p_f, p_o = real("i g c z_i z_f z_o p_i p_f p_o")
    coupled = d_c * ((1 - i) * c_previous + i * g)  # (4) with (28)
    cases = [Case(29, "i", d_c * g - d_c * c_previous, sp.diff(coupled, i), d_c * g)]
    o = sigmoid(z_o + p_o * c)  # (30)
    cost = d_c_later * c + d_h * o * sp.tanh(c)
    by_11, delta_o = d_c_later + d_h * o * (1 - sp.tanh(c) ** 2), d_h * sp.tanh(c) * o * (1 - o)
    cases.append(Case(31, "c", by_11 + delta_o * p_o, sp.diff(cost, c), by_11))
    cases.append(Case(33, "p_o", delta_o * c, sp.diff(cost, p_o), delta_o * c_previous))
    gate_i, gate_f = sigmoid(z_i + p_i * c_previous), sigmoid(z_f + p_f * c_previous)
    cost = d_c * (gate_f * c_previous + gate_i * g)
    delta_i, delta_f = d_c * g * gate_i * (1 - gate_i), d_c * c_previous * gate_f * (1 - gate_f)
    stated = d_c * gate_f + delta_i * p_i + delta_f * p_f
    cases.append(Case(32, "c_previous", stated, sp.diff(cost, c_previous), d_c * gate_f))
    cases.append(Case(33, "p_i", delta_i * c_previous, sp.diff(cost, p_i), delta_i * c))
    return [*cases, Case(33, "p_f", delta_f * c_previous, sp.diff(cost, p_f), delta_f * c)]


def sum_cases() -> list[Case]:
    """(33), (35), (36), (37) over two timesteps, two sequences, two units, for a cost that is linear in what is produced."""
    r, c, d, mu_x, mu_h, x, h = ([sp.Matrix(2, 2, real(f"{name}{t}_:4")) for t in (1, 2)] for name in ["r", "c", "d", "mu", "nu", "x", "h"])
    p, w_p = sp.Matrix(1, 2, real("p_:2")), sp.Matrix(2, 2, real("w_:4"))
    ones = sp.ones(2, 1)

    def total(produced: Any) -> Any:
        return sum((one.T * z).trace() for one, z in zip(d, produced, strict=True))

    def both(a: Any, b: Any) -> Any:  # a product entry by entry, at each timestep
        return [one.multiply_elementwise(other) for one, other in zip(a, b, strict=True)]

    peepholes, projected = total(both([ones * p] * 2, c)), total([one * w_p for one in r])
    masked = total([one * w_p + other * w_p for one, other in zip(both(mu_x, x), both(mu_h, h), strict=True)])
    products = [one.T * other for one, other in zip(both(mu_x, x), d, strict=True)]
    recurrent = [one.T * other for one, other in zip(both(mu_h, h), d, strict=True)]
    stated = {
        (33, "p"): (peepholes, p, ones.T * (both(d, c)[0] + both(d, c)[1]), ones.T * both(d, c)[1]),
        (35, "r"): (projected, r[0], d[0] * w_p.T, d[0] * w_p),
        (36, "w_p"): (projected, w_p, r[0].T * d[0] + r[1].T * d[1], r[0].T * d[1] + r[1].T * d[0]),
        (37, "x"): (masked, x[1], both(mu_x, [one * w_p.T for one in d])[1], d[1] * w_p.T),
        (37, "h"): (masked, h[1], both(mu_h, [one * w_p.T for one in d])[1], d[1] * w_p.T),
        (37, "w"): (masked, w_p, products[0] + products[1] + recurrent[0] + recurrent[1], products[0] + products[1]),
    }
    return [
        Case(equation, f"{of}, entry {k}", formula[k], sp.diff(cost, by[k]), wrong[k])
        for (equation, of), (cost, by, formula, wrong) in stated.items()
        for k in range(len(by))
    ]


def zoneout_cases() -> list[Case]:
    """(39): everything that looks at the timestep is linear in h_t and in the mixed c_t; h_hat comes from c_hat (38)."""
    keep_h, keep_c, h_hat, c_hat, o = real("keep_h keep_c h_hat c_hat o")
    mixed_c = keep_c * c_previous + (1 - keep_c) * c_hat
    cost = d_h * (keep_h * h_previous + (1 - keep_h) * h_hat) + d_c_later * mixed_c
    cases = [
        Case(39, "h_hat", (1 - keep_h) * d_h, sp.diff(cost, h_hat), d_h),
        Case(39, "past the cell, h", keep_h * d_h, sp.diff(cost, h_previous), sp.Integer(0)),
        Case(39, "past the cell, c", keep_c * d_c_later, sp.diff(cost, c_previous), sp.Integer(0)),
    ]
    through_the_cell = cost.subs(h_hat, o * sp.tanh(c_hat))
    d_h_hat, slope = (1 - keep_h) * d_h, o * (1 - sp.tanh(c_hat) ** 2)
    from_the_mixed_cell = (1 - keep_c) * (d_c_later + d_h_hat * o * (1 - sp.tanh(mixed_c) ** 2))
    cases.append(Case(39, "c_hat", (1 - keep_c) * d_c_later + d_h_hat * slope, sp.diff(through_the_cell, c_hat), from_the_mixed_cell))
    return cases


def clip_cases() -> list[Case]:
    """(41), each side of the bound: s = β + q, -β - q, and β q / (1 + q), where β and q are positive."""
    s, cut_off = real("s cut_off")
    bound, q = sp.symbols("bound q", positive=True)
    cost = d_c * sp.Max(-bound, sp.Min(bound, s))  # (40)
    sides = {"cut above": (bound + q, 0, d_c), "cut below": (-bound - q, 0, d_c), "within": (bound * q / (1 + q), d_c, 0)}
    cases = [
        Case(41, side, sp.sympify(stated), sp.simplify(sp.diff(cost, s).subs(s, at).doit()), sp.sympify(wrong))
        for side, (at, stated, wrong) in sides.items()
    ]
    return [*cases, Case(41, "straight through", d_c, sp.diff(d_c * (s + cut_off), s), d_c * (1 + s))]


CASES = [*gate_cases(), *sum_cases(), *zoneout_cases(), *clip_cases()]
