"""The enclosures of `checks.certified`: against closed forms, against the complex step, nested, and seen to fail."""

from __future__ import annotations

import builtins
import dataclasses
import functools

import family
import jax
import numpy as np
import pytest
from network_cases import Case, draw

import checks
import lstm
from checks.certified import balls, cell
from checks.estimate import flatten
from lstm import BadInput

pytestmark = pytest.mark.long

flint = pytest.importorskip("flint")
mpmath = pytest.importorskip("mpmath")

SMALL = Case(T=4, B=1, D=2, H=3, K=2)


def tiny_problem(timesteps: int, bias: float = 0.125, target: float = 0.4375, **layer) -> checks.Cost:
    """One unit, one input, one sequence; no readout. Every number a short binary fraction of its own."""
    weights = {"w_x": [[0.75, -1.25, 0.625, 1.5]], "w_h": [[0.375, 0.875, -1.125, 0.25]], "b": [bias, 0.5, -0.3125, -0.6875]}
    network = lstm.Network((lstm.Layer(**{name: np.array(values) for name, values in weights.items()}, **layer),))
    inputs, targets = (np.array(values)[:timesteps, None, None] for values in ([0.8125, -1.375], [target, -0.5625]))
    state = lstm.State(h=np.array([[0.1875]]), c=np.array([[-0.9375]]))
    return checks.Problem.from_network(network, inputs, targets, initial_state=(state,), wrt="all")


def closed_form(problem: checks.Cost) -> tuple[flint.arb, list[flint.arb]]:
    """The tiny problem's cost and its derivative on each entry, by mpmath in 900 digits: to 60, as balls of 1e-55 of them."""
    targets = [mpmath.mpf(float(target)) for target in problem.targets.ravel()]

    def cost(numbers: list) -> mpmath.mpf:
        given = problem.unflatten(np.array(numbers, object))
        layer, state = given.network.layers[0], given.initial_state[0]
        h, c, total = state.h[0, 0], state.c[0, 0], mpmath.mpf(0)
        for x, target in zip(given.inputs.ravel(), targets, strict=True):
            i, f, g, o = (x * layer.w_x[0, q] + h * layer.w_h[0, q] + layer.b[q] for q in range(4))
            i, f, o = (1 / (1 + mpmath.exp(-z)) for z in (i, f, o))
            c = f * c + i * mpmath.tanh(g)
            h = o * mpmath.tanh(c)
            total += (h - target) ** 2
        return total / len(targets)

    with mpmath.workdps(900):  # e^-700 is added to 1, and a difference of step 1e-200 squares it
        numbers, step = [mpmath.mpf(float(value)) for value in problem.flat], mpmath.mpf("1e-200")
        found = [cost(numbers)]
        for at in range(len(numbers)):
            ends = [[x + sign * step * (n == at) for n, x in enumerate(numbers)] for sign in (1, -1)]
            found.append((cost(ends[0]) - cost(ends[1])) / (2 * step))
        texts = [(mpmath.nstr(number, 60), mpmath.nstr(abs(number) * mpmath.mpf("1e-55"), 5)) for number in found]
    with balls.precision_of(250):
        whole, *entries = [flint.arb(*text) for text in texts]
    return whole, entries


@pytest.mark.parametrize("options", [{}, {"bias": -700.0, "target": 2.0**500}], ids=["ordinary", "saturated and huge"])
def test_the_closed_form_lies_in_every_ball(options):
    """Saturated, σ' is e^-700, which float64 would compute as 0; huge, the cost is 1e300."""
    problem = tiny_problem(2, **options)
    found, (cost, entries) = checks.certified(problem), closed_form(problem)
    for ball, truth in zip((found.cost_ball, *found.balls), (cost, *entries), strict=True):
        assert ball.overlaps(truth)
        assert 0 < ball.rad() < 1e-20 * abs(truth)
    assert found.tight.all()


def test_a_closed_form_off_by_little_lies_outside():
    problem = tiny_problem(2)
    found, (cost, entries) = checks.certified(problem), closed_form(problem)
    with balls.precision_of(250):
        for ball, truth in zip((found.cost_ball, *found.balls), (cost, *entries), strict=True):
            assert ball.overlaps(truth)
            assert not ball.overlaps(truth * (1 + flint.arb(2) ** -70))


def member_problem(seed: int, kinds: str, smooth: bool) -> checks.Cost:
    drawing = family.Draw(seed, smooth)
    member = drawing.member(kinds)
    readout = lstm.Readout(w=drawing.normal(member.d_outputs.shape[-1], family.K), b=drawing.normal(family.K))
    targets = drawing.normal(family.T, family.B, family.K)
    options = {"initial_state": member.initial_state, "lengths": member.lengths, "masks": member.masks}
    return checks.Problem.from_network(lstm.Network(member.layers, readout), member.inputs, targets, wrt="all", **options)


CASES = {
    "squared error": draw(SMALL, 1).problem(),
    "labels, lengths, sum": draw(Case(5, 3, 2, 4, 3, "cross_entropy", "labels", "sum", (5, 2, 0)), 2).problem(),
    "probabilities, two layers": draw(Case(3, 2, 2, 3, 4, "cross_entropy", "probabilities", layers=2), 3).problem(),
    "no readout, network alone": draw(Case(3, 2, 3, 2, None, initial_state=False), 4).problem("network"),
    "both directions": member_problem(5, "b", smooth=True),
    "reverse over forward, kinks": member_problem(6, "fr", smooth=False),
}


@pytest.mark.parametrize("name", CASES)
def test_complex_step_and_hand_bptt_lie_within_rounding(name):
    """In units of the largest entry of each array, some hundred roundings: 1e-14."""
    problem = CASES[name]
    found = checks.certified(problem, entries=40, seed=3)
    assert found.tight.all()
    for gradient in (checks.complex_step(problem).value, problem.gradients(problem.parameters)):
        scales = jax.tree.map(lambda leaf: np.full(np.shape(leaf), np.abs(leaf).max()), gradient)
        assert (np.abs(found.error_of(gradient)) <= 1e-14 * flatten(scales)[found.positions]).all()
    with problem.scope():
        assert found.cost == pytest.approx(float(jax.jit(problem.cost)(problem.parameters)), rel=1e-14)


@functools.cache
def plain_problem() -> tuple:
    problem = tiny_problem(2)
    return problem, checks.complex_step(problem).value


@functools.cache
def clipped_problem() -> tuple:
    problem = tiny_problem(2, clip=lstm.CellClip(0.5))
    return problem, checks.complex_step(problem).value


@pytest.mark.parametrize("fault", ["sigmoid", "tanh", "clip", "cell state"])
def test_a_fault_in_the_forward_pass_is_seen(fault, monkeypatch):
    problem, truth = clipped_problem() if fault == "clip" else plain_problem()
    assert np.abs(checks.certified(problem).error_of(truth)).max() < 1e-15
    if fault == "cell state":  # c = f c - i g
        right = cell.Cell._unit
        monkeypatch.setattr(cell.Cell, "_unit", lambda self, unit, z, c: right(self, unit, [z[0], z[1], -z[2], z[3]], c))
    else:
        name = {"clip": "clipped"}.get(fault, fault)
        right = getattr(cell, name)
        monkeypatch.setattr(cell, name, (lambda c, bound: c) if fault == "clip" else (lambda z: right(-z)))
    assert np.abs(checks.certified(problem).error_of(truth)).max() > 1e-3


def test_the_balls_are_nested_and_shrink():
    """At 53, 128 and 256 bits without going on: each holds the next, and the radius falls as the precision rises."""
    problem = draw(SMALL, 7).problem()
    coarse, middle, fine = (checks.certified(problem, entries=30, precision=bits, most=bits) for bits in (53, 128, 256))
    for ball, inner, innermost in zip(coarse.balls, middle.balls, fine.balls, strict=True):
        assert ball.contains(inner)
        assert inner.contains(innermost)
        assert ball.rad() > 2**70 * inner.rad() > 2**190 * innermost.rad()
    assert not coarse.tight.any()
    assert fine.tight.all()


def test_value_remainder_and_radius_say_what_the_ball_says():
    problem = draw(SMALL, 8).problem()
    found = checks.certified(problem, entries=30)
    for ball, value, remainder, radius in zip(found.balls, found.value, found.remainder, found.radius, strict=True):
        with balls.precision_of(3000):
            shown = flint.arb(value) + flint.arb(remainder) + flint.arb(0, radius)
            assert shown.contains(ball)
        assert abs(remainder) <= np.spacing(abs(value)) / 2
        assert radius < 2.0**-60 * abs(value)


def test_a_kink_is_not_decided_and_beside_it_is():
    names = lstm.Activations(candidate="relu")
    for bias, decided in ((-0.75, False), (-0.75 + 2.0**-200, False), (np.nextafter(-0.75, 0), True)):
        layer = lstm.Layer(w_x=np.array([[0.5, 0.5, 0.75, 0.5]]), w_h=np.ones((1, 4)), b=np.array([1.0, 1.0, bias, 1.0]), activations=names)
        problem = checks.Problem.from_network(lstm.Network((layer,)), np.ones((1, 1, 1)), np.full((1, 1, 1), 0.25))
        found = checks.certified(problem, most=256)
        assert np.isfinite(found.value).all() == decided
        assert np.isinf(found.radius).all() != decided
        assert found.tight.all() == decided


def test_flint_is_left_as_it_was():
    flint.ctx.prec, flint.ctx.cap = 77, 9
    try:
        checks.certified(tiny_problem(1), entries=1)
        assert (flint.ctx.prec, flint.ctx.cap) == (77, 9)
    finally:
        flint.ctx.default()


def test_entries_may_be_named():
    problem = draw(SMALL, 9).problem()
    every = checks.certified(problem)
    some = checks.certified(problem, entries=[("network.layers[0].w_h", (2, 5)), ("inputs", (3, 0, 1))])
    for entry, value in zip(some.entries, some.value, strict=True):
        assert value == every.value[every.entries.index(entry)]
    gradient = problem.unflatten(every.value)
    assert gradient.network.layers[0].w_h[2, 5] == some.value[0]
    assert gradient.inputs[3, 0, 1] == some.value[1]
    drawn = [checks.certified(problem, entries=5, seed=seed).entries for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_float32_problems_are_taken_exactly():
    """The same numbers in either precision have the same derivative."""
    single, double = (draw(SMALL, 10, dtype).problem() for dtype in (np.float32, np.float64))
    assert np.array_equal(checks.certified(single, entries=9).value, checks.certified(double, entries=9).value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"entries": [("w", (0,))]}, "entries: expected the name of one of network.layers[0].w_x, "),
        ({"entries": [("inputs", (4, 0, 0))]}, "entries: expected an index into inputs, of shape (4, 1, 2); got (4, 0, 0)"),
        ({"entries": 0}, 'entries: expected "all", a number, or (leaf name, index) pairs; got 0'),
        ({"entries": "some"}, "entries: expected \"all\", a number, or (leaf name, index) pairs; got 'some'"),
        ({"precision": 300, "most": 200}, "precision, most: expected integers with 2 <= precision <= most; got 300, 200"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(BadInput) as caught:
        checks.certified(draw(SMALL, 1).problem(), **arguments)
    assert str(caught.value).startswith(message)


def test_other_costs_are_refused():
    problem = dataclasses.replace(draw(SMALL, 1).problem(), origin=None)
    with pytest.raises(BadInput, match=r"^problem: expected one made by Problem.from_network, whose forward pass is known"):
        checks.certified(problem)


def test_without_flint_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def importing(name, *rest):
        if name == "flint":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(BadInput, match=r"^certified: expected python-flint .* 'lstm-check\[certified\]'; got none$"):
        checks.certified(draw(SMALL, 1).problem())
