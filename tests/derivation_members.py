"""Members of the LSTM family on symbols: the package's own forward and reverse passes, every variant at once.

Activations are functions of which nothing is known but that each has a derivative, so what is proved is true of any. Code
that branches, as clipping does, becomes the formula of one region (`decided_at`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
import numpy as np
import sympy as sp
from derivation_symbols import SymbolicProblem, each, running_on_objects, symbols
from sympy.core.relational import Relational
from sympy.core.sympify import converter

from lstm import Activations, CellClip, Gradients, Layer, Masks, State, activations, cell, levels, sequence, stack
from lstm.activations import Activation
from lstm.sequence import Internals


def _undetermined(name: str) -> Activation:
    """a = φ(z), and φ'(z) = d_φ(a): a derivative in terms of the output."""
    slope = type(f"d_{name}", (sp.Function,), {})
    function = type(name, (sp.Function,), {"fdiff": lambda self, argindex=1: slope(self)})
    return Activation(each(function), each(slope))


UNDETERMINED = {name: _undetermined(name) for name in ("gate", "candidate", "output")}
ANY = Activations("gate", "candidate", "output")


@contextlib.contextmanager
def any_activations() -> Iterator[None]:
    """`ANY` names three functions of which nothing is known."""
    with mock.patch.dict(activations.ACTIVATIONS, UNDETERMINED):
        try:
            yield
        finally:
            activations.activation.cache_clear()


class CutOff(sp.Function):
    """What clipping took away, as a number that does not change with what it is of."""

    def fdiff(self, argindex: int = 1) -> Any:
        return sp.Integer(0)


class Clipped(sp.Function):
    """An undetermined function in the place of clipping, to see *where* the code clips."""


def clipping_by(function: Any) -> Any:
    """A context in which the cell clips by ``function(c)``."""
    return mock.patch.object(cell, "_clip", lambda c, bound: each(function)(c))


class RandomPoint(dict):
    """Each symbol's value, k/64 between -3 and 3, drawn from the seed and the symbol's name."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def __missing__(self, symbol: sp.Symbol) -> Any:
        generator = np.random.default_rng([self.seed, *str(symbol).encode()])
        return sp.Rational(int(generator.integers(-192, 192)), 64)


@contextlib.contextmanager
def decided_at(point: dict[sp.Symbol, Any]) -> Iterator[list[bool]]:
    """Comparisons of expressions, and the sign in |a|, are what they are at ``point``; gives the list of comparisons' outcomes.

    Code that branches then yields the formula that holds in a neighbourhood of the point, where the differentiable function
    that it computes can be differentiated as one. Refuses points at a branch's edge.
    """
    outcomes: list[bool] = []

    def value(expression: Any) -> Any:
        number = sp.sympify(expression)
        number = number.evalf(subs={one: point[one] for one in number.free_symbols})
        assert abs(number) > 1e-3, f"{expression} is 0 here, or nearly: the edge of a region"
        return number

    def decide(relation: Any) -> bool:
        outcomes.append(bool(relation.func(value(relation.lhs - relation.rhs), 0)))
        return outcomes[-1]

    def magnitude(expression: Any) -> Any:
        return expression if value(expression) > 0 else -expression

    with (
        mock.patch.object(Relational, "__bool__", decide),
        mock.patch.object(sp.Expr, "__abs__", magnitude),
        mock.patch.dict(converter, {bool: sp.Integer}),  # a derivative may be True for 1
    ):
        yield outcomes


def layer_of(name: str, D: int, H: int = 1, R: int | None = None, *, coupled: bool = False, **options: Any) -> Layer:
    """A layer of symbols; with a projection if ``R`` is given, with peepholes if ``peepholes=True``."""
    blocks, recurrent = (3 if coupled else 4), (H if R is None else R)
    peepholes = symbols(f"{name}_p", blocks - 1, H) if options.pop("peepholes", False) else None
    return Layer(
        w_x=symbols(f"{name}_w_x", D, blocks * H),
        w_h=symbols(f"{name}_w_h", recurrent, blocks * H),
        b=symbols(f"{name}_b", blocks * H),
        peepholes=peepholes,
        projection=None if R is None else symbols(f"{name}_w_p", H, R),
        **{"activations": ANY} | options,
    )


def masks_of(layer: Layer, *leading: int) -> Masks:
    """All four, with ``leading`` axes (T, B), or (B) for one timestep."""
    sizes = {"inputs": len(layer.w_x), "recurrent": layer.recurrent_size, "zoneout_h": layer.recurrent_size, "zoneout_c": layer.hidden_size}
    return Masks(**{name: symbols(f"mask_{name}", *leading, size) for name, size in sizes.items()})


def state_of(name: str, layer: Layer, batch: int) -> State:
    return State(h=symbols(f"h_{name}", batch, layer.recurrent_size), c=symbols(f"c_{name}", batch, layer.hidden_size))


def stack_problem(stacked: tuple, timesteps: int, lengths: tuple[int, ...], masks: tuple | None = None) -> SymbolicProblem:
    """The real forward and reverse passes of a stack, with upstream gradients on every output and every final state."""
    bottom, batch = levels.directions(stacked[0])[0].layer, len(lengths)
    inputs = symbols("x", timesteps, batch, len(bottom.w_x))
    d_outputs = symbols("u", timesteps, batch, levels.output_size(stacked[-1]))
    initial, d_final = (_states(name, stacked, batch) for name in ("0", "u"))
    given = None if min(lengths) == timesteps else np.array(lengths)
    with running_on_objects():
        outputs, final, residuals = stack.forward(stacked, inputs, initial, given, masks)
    # To first order a cost depends on outputs and final states linearly; its coefficients are the upstream gradients
    cost = (d_outputs * outputs).sum() + sum((d * one).sum() for d, one in zip(*map(jax.tree.leaves, (d_final, final)), strict=True))

    def backward() -> Gradients:
        with running_on_objects():
            return stack.backward(stacked, residuals, d_outputs, d_final)[0]

    return SymbolicProblem(cost, Gradients(layers=stacked, inputs=inputs, initial_state=initial), backward)


def _states(name: str, stacked: tuple, batch: int) -> tuple:
    def of_level(number: int, level: Any) -> Any:
        directions = levels.directions(level)
        return levels.together(level, [state_of(f"{name}_{number}{one.name}", one.layer, batch) for one in directions])

    return tuple(of_level(number, level) for number, level in enumerate(stacked))


def nudged_problem(layer: Layer, masks: Masks, timesteps: int, lengths: tuple[int, ...]) -> SymbolicProblem:
    """The gradients *inside* a layer, and what they are by definition: the cost's derivatives by a nudge at each place.

    The nudges are added at every timestep to the pre-activations, to the hidden state put out and to the cell state computed.
    """
    batch, H = len(lengths), layer.hidden_size
    sizes = {"d_z": len(layer.b), "d_h": layer.recurrent_size, "d_c": H}
    nudges = Internals(**{name: symbols(f"nudge_{name}", timesteps, batch, size) for name, size in sizes.items()})
    inputs, d_outputs = symbols("x", timesteps, batch, len(layer.w_x)), symbols("u", timesteps, batch, layer.recurrent_size)
    initial, d_final = (state_of(name, layer, batch) for name in ("0", "u"))
    valid = np.arange(timesteps)[:, None, None] < np.array(lengths)[:, None]
    one_cell, t = sequence._masked_cell, iter(range(timesteps))

    def nudged_cell(layer: Layer, z_x_t: Any, state: State, masks_t: Masks) -> Any:
        now = next(t)
        with mock.patch.object(cell, "_clip", lambda c, bound: c + nudges.d_c[now]):  # the line after (4) serves to nudge c
            new, kept = one_cell(dataclasses.replace(layer, clip=CellClip(1.0)), z_x_t + nudges.d_z[now], state, masks_t)
        return State(h=new.h + nudges.d_h[now], c=new.c), kept

    with running_on_objects(), mock.patch.object(sequence, "_masked_cell", nudged_cell):
        outputs, final, _ = sequence.forward(layer, inputs, initial, valid, masks)
    cost = (d_outputs * outputs).sum() + (d_final.h * final.h).sum() + (d_final.c * final.c).sum()

    def internals() -> Any:
        with running_on_objects():
            _, _, residuals = sequence.forward(layer, inputs, initial, valid, masks)
            return sequence.backward(layer, residuals, d_outputs, d_final, internals=True)[1]

    return SymbolicProblem(cost, nudges, internals)
