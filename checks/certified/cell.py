"""One timestep of one sequence in ball arithmetic, written from docs/derivation.md: no line is shared with `lstm`.

Numbers in parentheses are equations of that page. A vector is a list of series; a matrix is a list of its *columns*.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

from checks.certified.balls import flint, is_certainly_above

Vector = list[Any]


def sigmoid(z: Any) -> Any:
    return 1 / (1 + (-z).exp())


def tanh(z: Any) -> Any:
    """1 - 2 / (1 + e^(2z))."""
    return 1 - 2 / (1 + (2 * z).exp())


def softsign(z: Any) -> Any:
    """z / (1 + |z|), whose derivative 1 / (1 + |z|)² has no kink: by its two coefficients, since |z| has one."""
    module = flint()
    below = 1 + abs(z[0])
    return module.arb_series([z[0] / below, z[1] / below**2])


def relu(z: Any) -> Any:
    return z if is_certainly_above(z[0], 0) else 0 * z


def hard_sigmoid(slope: float) -> Callable[[Any], Any]:
    def activation(z: Any) -> Any:
        module = flint()
        line = module.arb(slope) * z + module.arb(0.5)
        if not is_certainly_above(line[0], 0):
            return 0 * z
        return 0 * z + 1 if is_certainly_above(line[0], 1) else line

    return activation


def activation(name: str) -> Callable[[Any], Any]:
    """By the names of `lstm.Activations` (section 8.1)."""
    match = re.fullmatch(r"hard_sigmoid\((.+)\)", name)
    if match:
        return hard_sigmoid(float(match.group(1)))
    return {"sigmoid": sigmoid, "tanh": tanh, "identity": lambda z: z, "relu": relu, "softsign": softsign}[name]


def clipped(c: Any, bound: float) -> Any:
    """max(-β, min(β, c)) (40)."""
    if is_certainly_above(c[0], bound):
        return 0 * c + bound
    return c if is_certainly_above(c[0], -bound) else 0 * c - bound


def affine(row: Sequence[Any], columns: Sequence[Sequence[Any]], start: Sequence[Any] | None = None) -> Vector:
    """row · matrix + start."""
    starts = [0] * len(columns) if start is None else start
    return [sum(map(operator.mul, row, column), first) for column, first in zip(columns, starts, strict=True)]


class Cell:
    """A layer's parameters in series, and its timestep.

    Attributes:
        w_x, w_h, projection: matrices, as columns; projection None where there is none.
        b: a vector.
        peepholes: rows for i, f, o, or for i, o where the gates are coupled; None where there are none.
    """

    def __init__(self, layer: Any, w_x: Any, w_h: Any, b: Any, peepholes: Any, projection: Any):
        self.w_x, self.w_h, self.b, self.peepholes, self.projection = w_x, w_h, b, peepholes, projection
        self.units, self.coupled, self.clip = layer.hidden_size, layer.coupled, layer.clip
        names = layer.activations
        self.gate, self.candidate, self.output = activation(names.gate), activation(names.candidate), activation(names.output)

    def __call__(self, x: Vector, h: Vector, c: Vector) -> tuple[Vector, Vector]:
        """x_t and h_{t-1} as the products see them, c_{t-1} -> h_t, c_t."""
        z = affine(h, self.w_h, affine(x, self.w_x, self.b))  # (1)
        blocks = [z[start : start + self.units] for start in range(0, len(z), self.units)]
        new_h, new_c = [], []
        for unit in range(self.units):
            h_unit, c_unit = self._unit(unit, [block[unit] for block in blocks], c[unit])
            new_h.append(h_unit)
            new_c.append(c_unit)
        return (new_h if self.projection is None else affine(new_h, self.projection)), new_c  # (34)

    def _unit(self, unit: int, z: Vector, c: Any) -> tuple[Any, Any]:
        z_i, z_g, z_o = z[0], z[-2], z[-1]
        p_i, p_f, p_o = (None, None, None) if self.peepholes is None else (self.peepholes[row][unit] for row in (0, -2, -1))
        i = self.gate(z_i if p_i is None else z_i + p_i * c)  # (2), (30)
        z_f = z[1] if p_f is None else z[1] + p_f * c
        f = 1 - i if self.coupled else self.gate(z_f)  # (28)
        g = self.candidate(z_g)  # (3)
        new_c = f * c + i * g  # (4)
        if self.clip is not None:
            new_c = clipped(new_c, self.clip.bound)
        o = self.gate(z_o if p_o is None else z_o + p_o * new_c)
        return o * self.output(new_c), new_c  # (5)
