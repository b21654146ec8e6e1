"""The formulas of docs/derivation.md for one unit, as the document states them, each beside SymPy's derivative.

A wrong formula of the kind that people really write stands beside each, to show that the proof can fail.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import sympy as sp
from derivation_reference import loss_of


class Case(NamedTuple):
    equation: int
    of: str
    stated: Any  # the document's formula
    derivative: Any  # what SymPy derives
    wrong: Any  # a formula that the proof must reject

    def __str__(self) -> str:
        return f"({self.equation})-{self.of}"


def real(names: str) -> Any:
    return sp.symbols(names, real=True)


def sigmoid(z: Any) -> Any:
    return 1 / (1 + sp.exp(-z))


d_h, d_c, d_c_later = real("d_h d_c d_c_later")  # the bars of h_t and c_t, and the part of the latter that comes from later


def cell_cases() -> list[Case]:
    """(10) to (15). A cost's dependence on h_t and c_t, to first order, is d_h h_t + d_c c_t: nothing else matters here."""
    i, f, g, o, c, c_previous, h_previous = real("i f g o c c_previous h_previous")
    h_of_c, c_of_gates = o * sp.tanh(c), f * c_previous + i * g  # (5), (4)
    cases = [
        Case(10, "o", d_h * sp.tanh(c), sp.diff(d_h * h_of_c, o), d_h * c),
        Case(
            11,
            "c",
            d_c_later + d_h * o * (1 - sp.tanh(c) ** 2),
            sp.diff(d_c_later * c + d_h * h_of_c, c),
            d_c_later + d_h * o,  # tanh' forgotten
        ),
        Case(12, "i", d_c * g, sp.diff(d_c * c_of_gates, i), d_c * i),
        Case(12, "f", d_c * c_previous, sp.diff(d_c * c_of_gates, f), d_c * c_of_gates),  # c_t for c_{t-1}
        Case(12, "g", d_c * i, sp.diff(d_c * c_of_gates, g), d_c * f),
        Case(14, "c_previous", d_c * f, sp.diff(d_c * c_of_gates, c_previous), d_c),
    ]
    z, d_a = real("z d_a")
    for gate in "ifo":
        a = sigmoid(z)
        cases.append(Case(13, gate, d_a * a * (1 - a), sp.diff(d_a * a, z), d_a * sigmoid(a) * (1 - sigmoid(a))))
    a = sp.tanh(z)
    cases.append(Case(13, "g", d_a * (1 - a**2), sp.diff(d_a * a, z), d_a * (1 - sp.tanh(a) ** 2)))
    for name, a, e in (("sigmoid block", sigmoid(z), 0), ("tanh block", sp.tanh(z), 1)):
        cases.append(Case(13, f"(a + e)(1 - a), {name}", (a + e) * (1 - a), sp.diff(a, z), (a + 1 - e) * (1 - a)))
    delta, w = real("delta_i delta_f delta_g delta_o"), real("w_i w_f w_g w_o")
    z_of_h = [one * h_previous for one in w]  # (1)
    stated = sum(d * one for d, one in zip(delta, w, strict=True))
    by_h = sp.diff(sum(d * one for d, one in zip(delta, z_of_h, strict=True)), h_previous)
    return [*cases, Case(15, "h_previous", stated, by_h, delta[0] * w[0])]


def matrix_cases() -> list[Case]:
    """(15) to (19) and (21), two timesteps, two rows and columns: the cost depends on z_t to first order as Σ δ_t·z_t."""
    x, h, delta = ([sp.Matrix(2, 2, real(f"{name}{t}_:4")) for t in (1, 2)] for name in ("x", "h", "delta"))
    w_x, w_h, b = sp.Matrix(2, 2, real("w_x:4")), sp.Matrix(2, 2, real("w_h:4")), sp.Matrix(1, 2, real("b:2"))
    ones = sp.ones(2, 1)
    cost = sum(
        (d.T * (one_x * w_x + one_h * w_h + ones * b)).trace() for d, one_x, one_h in zip(delta, x, h, strict=True)  # (1)
    )
    stated = {
        15: (h[1], delta[1] * w_h.T, delta[1] * w_h),
        16: (w_x, x[0].T * delta[0] + x[1].T * delta[1], x[1].T * delta[1]),
        17: (w_h, h[0].T * delta[0] + h[1].T * delta[1], h[1].T * delta[1]),
        18: (b, ones.T * (delta[0] + delta[1]), ones.T * (delta[0] + delta[1]) / 2),
        19: (x[0], delta[0] * w_x.T, delta[0] * w_x),
        21: (w_h, h[0].T * delta[0] + h[1].T * delta[1], h[0].T * delta[1] + h[1].T * delta[0]),  # y_t = h_t W_y + b_y
    }
    return [
        Case(equation, f"entry {k}", formula[k], sp.diff(cost, by[k]), wrong[k])
        for equation, (by, formula, wrong) in stated.items()
        for k in range(len(by))
    ]


def loss_cases() -> list[Case]:
    """(23) and (25), three predictions; p any vector, whatever its sum."""
    y, target, p = real("y1:4"), real("target1:4"), real("p1:4")
    squared, entropy = loss_of("squared_error", y, target), loss_of("cross_entropy", y, p)
    normalizer = sum(sp.exp(one) for one in y)
    cases = []
    for k in range(3):
        softmax = sp.exp(y[k]) / normalizer
        cases.append(Case(23, f"y_{k}", 2 * (y[k] - target[k]), sp.diff(squared, y[k]), y[k] - target[k]))
        cases.append(Case(25, f"y_{k}", softmax * sum(p) - p[k], sp.diff(entropy, y[k]), softmax - p[k]))
    return cases


def length_cases() -> list[Case]:
    """(27), for a timestep that counts (m = 1) or not: (26) as a formula, everything else of the timestep linear in δ."""
    m, h_hat, h_previous, u, d_h_later, d_z, w = real("m h_hat h_previous u d_h_later d_z w")
    z = w * h_previous
    # u and d_h_later are what the cost depends on the output and the held state by, d_z what it depends on z by if it counts
    cost = u * m * h_hat + d_h_later * (m * h_hat + (1 - m) * h_previous)
    cases = [Case(27, "u", m * u + m * d_h_later, sp.diff(cost, h_hat), u + m * d_h_later)]
    through_z = sp.diff(m * d_z * z + d_h_later * (1 - m) * h_previous, h_previous)
    cases.append(Case(27, "h_previous", m * d_z * w + (1 - m) * d_h_later, through_z, m * d_z * w + d_h_later))
    return cases


CASES = [*cell_cases(), *matrix_cases(), *loss_cases(), *length_cases()]
