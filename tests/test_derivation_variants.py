"""Section 8 of docs/derivation.md, proved: its formulas, the activations, and what one timestep of a variant computes.

Every proof is also shown a wrong formula, which it must reject. What the reverse passes compute: test_derivation_members.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import sympy as sp
from derivation_faults import STEP_FAULTS, planted
from derivation_members import ANY, Clipped, any_activations, clipping_by, decided_at, layer_of, masks_of, state_of
from derivation_symbols import each, running_on_objects, symbols, vanishes
from derivation_variants import ACTIVATIONS, CASES, stated_step

from lstm import Activations, CellClip, Reversed, activations, cell, sequence, stack

DOCUMENT = (Path(__file__).resolve().parent.parent / "docs" / "derivation.md").read_text(encoding="utf-8")
Z = sp.Symbol("z", real=True)
PLACES = [sp.Rational(-31, 7), sp.Rational(-2, 5), sp.Rational(3, 7), sp.Rational(19, 5)]  # a place on each side of every corner


@pytest.mark.parametrize("case", CASES, ids=str)
def test_formula_of_the_document_is_the_derivative(case):
    assert sp.simplify(case.stated - case.derivative) == 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_proof_rejects_a_wrong_formula(case):
    difference = case.wrong - case.derivative
    assert sp.simplify(difference) != 0
    generic = {one: sp.Rational(2 * n + 3, 11) for n, one in enumerate(sorted(difference.free_symbols, key=str))}
    assert abs(difference.subs(generic).evalf()) > 1e-3  # and wrong it is, not merely unsimplified


# Activations


def is_derivative(derivative: Any, forward: Any) -> bool:
    """Is ``derivative(forward(z))`` the derivative of ``forward(z)`` by z, in the neighbourhood of each of the places?"""
    found = []
    for place in PLACES:
        with decided_at({Z: place}):
            a = forward(Z)
            found.append((derivative(a), a))
    return all(sp.simplify((slope - sp.diff(a, Z)).rewrite(sp.exp)) == 0 for slope, a in found)


def of_the_code(function: Any) -> Any:
    """An activation function of `lstm`, on one expression."""

    def on_an_expression(value: Any) -> Any:
        with running_on_objects():
            return sp.sympify(function(np.array([value], object))[0])

    return on_an_expression


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_of_an_activation_in_terms_of_its_output(name):
    stated, computed = ACTIVATIONS[name], activations.activation(name)
    assert is_derivative(stated.derivative, stated.forward)
    assert is_derivative(of_the_code(computed.derivative), of_the_code(computed.forward))
    assert not is_derivative(stated.wrong, stated.forward)
    for place in PLACES:
        with decided_at({Z: place}):
            difference = of_the_code(computed.forward)(Z) - stated.forward(Z)
        assert sp.simplify(difference.rewrite(sp.exp)) == 0


def test_every_activation_has_its_row():
    table = DOCUMENT.partition("### 8.1")[2].partition("### 8.2")[0]
    rows = set(re.findall(r"^\| `([\w()]+)` \|", table, re.MULTILINE))
    assert rows == {*activations.ACTIVATIONS, "hard_sigmoid(s)"}
    assert {name.replace("0.2", "s") for name in ACTIVATIONS} == rows


def test_activations_at_their_corners():
    # As 8.1 has it: relu at 0, hard sigmoid at ±1/(2 · 0.25) are said to be flat; softsign has no corner
    for name, at, derivative in [("relu", 0.0, 0), ("hard_sigmoid(0.25)", -2.0, 0), ("hard_sigmoid(0.25)", 2.0, 0), ("softsign", 0.0, 1)]:
        function = activations.activation(name)
        assert function.derivative(function.forward(np.array([at]))) == derivative


# One timestep


# Undetermined; and two that are scaled tanhs, which the code computes all at once
CHOICES = [ANY, Activations(), Activations(gate="tanh", candidate="sigmoid", output="identity")]


def step_differences(coupled: bool, chosen: Activations) -> list[Any]:
    """What the code computes less what 8.9 says, for a layer with every variant; R = H, so that a transposed matrix fits."""
    layer = layer_of("l", 3, 2, 2, coupled=coupled, peepholes=True, clip=CellClip(0.5), activations=chosen)
    x, state, masks = symbols("x", 1, 3), state_of("0", layer, 1), masks_of(layer, 1)
    new = sequence.step(layer, x, state, masks)
    functions = {kind: activations.activation(getattr(chosen, kind)) for kind in ("gate", "candidate", "output")}
    stated = stated_step(layer, x, state, masks, functions, each(Clipped))
    return [*(new.h - stated.h).flat, *(new.c - stated.c).flat]


@pytest.mark.parametrize("chosen", CHOICES, ids=lambda chosen: chosen.gate)
@pytest.mark.parametrize("coupled", [False, True])
def test_timestep_computes_what_the_document_states(coupled, chosen):
    with any_activations(), running_on_objects(), clipping_by(Clipped):
        assert vanishes(step_differences(coupled, chosen))


@pytest.mark.parametrize(("module", "equation", "right", "wrong"), STEP_FAULTS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_proof_rejects_a_fault_in_the_timestep(module, equation, right, wrong):
    with any_activations(), running_on_objects(), clipping_by(Clipped), planted(module, equation, right, wrong):
        assert not all(vanishes(step_differences(coupled, chosen)) for coupled in (False, True) for chosen in CHOICES[:2])


def clipped_to_a_half(place: Any) -> Any:
    with decided_at({Z: place}), running_on_objects():
        return sp.sympify(cell._clip(np.array([Z], object), 0.5)[0])


def test_clipping_cuts_at_the_bound():  # (40)
    half = sp.Rational(1, 2)
    assert [clipped_to_a_half(place) for place in PLACES] == [-half, Z, Z, half]
    with running_on_objects(), planted(cell, None, "c.real < -bound, -bound", "c.real < -bound, bound"):
        assert clipped_to_a_half(PLACES[0]) != -half


# Directions


def flipped(array: Any, lengths: Any) -> Any:
    """P of 8.8, with t counted from 1."""
    result = array.copy()
    for b, n in enumerate(lengths):
        for t in range(1, n + 1):
            result[t - 1, b] = array[n + 1 - t - 1, b]
    return result


@pytest.mark.parametrize("T", [1, 4])
def test_flip_is_its_own_reverse(T):
    lengths = np.arange(T + 1)
    x, u = symbols("x", T, T + 1, 2), symbols("u", T, T + 1, 2)
    with running_on_objects():
        once, moved_back = (stack._flip(one, lengths, is_reversed=True) for one in (x, u))
        assert (stack._flip(once, lengths, is_reversed=True) == x).all()
        assert (stack._flip(x, None, is_reversed=True) == x[::-1]).all()
    assert (once == flipped(x, lengths)).all()
    cost = (u * once).sum()
    assert all(sp.diff(cost, one) == bar for one, bar in zip(x.flat, moved_back.flat, strict=True))


def reversed_layer() -> tuple[list[Any], list[Any]]:
    """What the code computes for a reversed layer with masks, and 8.8 with the layer that is not reversed."""
    layer, lengths = layer_of("l", 2), np.array([2, 3])
    x, state, masks = symbols("x", 3, 2, 2), state_of("0", layer, 2), masks_of(layer, 3, 2)
    outputs, (final,), _ = stack.forward((Reversed(layer),), x, (state,), lengths, (masks,))
    turned = jax.tree.map(lambda one: flipped(one, lengths), masks)
    plain, (end,), _ = stack.forward((layer,), flipped(x, lengths), (state,), lengths, (turned,))
    return [outputs, final.h, final.c], [flipped(plain, lengths), end.h, end.c]


def test_reversed_layer_is_the_layer_between_two_flips():
    with any_activations(), running_on_objects():
        assert all((one == other).all() for one, other in zip(*reversed_layer(), strict=True))


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("jax.tree.map(back_to_front, given or NO_MASKS)", "given or NO_MASKS"),
        ("back_to_front(inputs), state", "inputs, state"),
        ("(back_to_front(outputs), ", "(outputs, "),
        ("jnp.where(t < lengths, lengths - 1 - t, t)", "len(array) - 1 - t + 0 * lengths"),
    ],
)
def test_reversed_layer_with_a_fault_is_rejected(right, wrong):
    with any_activations(), running_on_objects(), planted(stack, None, right, wrong):
        assert not all((one == other).all() for one, other in zip(*reversed_layer(), strict=True))
