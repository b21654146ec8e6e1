"""Every member of the LSTM family: the hand-derived gradient against autodiff, the complex step and differences.

The forward pass that these see is put together in `checks.network_forward`, by other means than `lstm.forward` uses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
import pytest
from family import B, D, Draw, H, K, Member, R, T

import checks
import lstm
from checks.estimate import flatten, max_relative_error
from checks.network_problem import from_upstream

STACKS = ("f", "r", "b", "ff", "rb", "bff")


def every_other_later(cases: Iterable[tuple]) -> list[Any]:
    """Each second case is left to ``pytest -m long``: compiling them all takes a minute."""
    return [pytest.param(*case, marks=[pytest.mark.long] * (number % 2)) for number, case in enumerate(cases)]


def problem_of(member: Member) -> checks.Cost:
    return from_upstream(
        member.layers,
        member.inputs,
        member.d_outputs,
        member.d_final_state,
        initial_state=member.initial_state,
        lengths=member.lengths,
        masks=member.masks,
    )


@pytest.mark.parametrize(("number", "kinds"), every_other_later(enumerate(STACKS)))
def test_the_hand_derived_gradient_is_autodiffs(number: int, kinds: str) -> None:
    """To 1e-13 of the largest entry: T = 6 steps of about 20 roundings each, u = 1e-16, and hundreds to spare."""
    member = Draw(seed=1000 + number).member(kinds)
    problem = problem_of(member)
    assert problem.gradients is not None
    hand = problem.gradients(problem.parameters)
    assert jax.tree.structure(hand) == jax.tree.structure(problem.parameters)
    assert max_relative_error(hand, checks.autodiff(problem).value) < 1e-13


@pytest.mark.parametrize(("number", "kinds"), every_other_later(enumerate(("f", "b", "rf"))))
def test_the_complex_step_and_differences_agree(number: int, kinds: str) -> None:
    problem = problem_of(Draw(seed=2000 + number, smooth=True).member(kinds))
    assert problem.gradients is not None
    hand = problem.gradients(problem.parameters)
    assert max_relative_error(hand, checks.complex_step(problem).value) < 1e-13
    differences = checks.full_sequence(problem)
    assert (np.abs(flatten(hand) - flatten(differences.value)) <= flatten(differences.error_estimate)).all()


@pytest.mark.parametrize("kinds", ["b", pytest.param("ff", marks=pytest.mark.long)])
def test_a_whole_network_has_the_right_gradient(kinds: str) -> None:
    draw = Draw(seed=3000 + len(kinds), smooth=True)
    member = draw.member(kinds)
    readout = lstm.Readout(w=draw.normal(member.d_outputs.shape[-1], K), b=draw.normal(K))
    problem = checks.Problem.from_network(
        lstm.Network(member.layers, readout),
        member.inputs,
        draw.normal(T, B, K),
        initial_state=member.initial_state,
        lengths=member.lengths,
        masks=member.masks,
        wrt="all",
    )
    assert problem.gradients is not None
    checks.assert_gradients(problem.gradients(problem.parameters), problem)
    assert isinstance(problem, checks.Problem) == (kinds == "ff")


def test_a_reversed_layer_is_the_layer_on_flipped_sequences() -> None:
    draw = Draw(seed=11)
    layer, inputs = draw.layer(D), draw.normal(T, B, D)
    lengths = np.array([T, 2, 4])
    outputs, final, _ = lstm.forward(lstm.Reversed(layer), inputs, lengths=lengths)
    for b, length in enumerate(lengths):
        alone, end, _ = lstm.forward(layer, inputs[:length, b : b + 1][::-1])
        np.testing.assert_allclose(np.asarray(outputs)[:length, b], np.asarray(alone)[::-1, 0], rtol=0, atol=1e-15)
        np.testing.assert_allclose(np.asarray(final.h)[b], np.asarray(end.h)[0], rtol=0, atol=1e-15)
        assert not np.asarray(outputs)[length:, b].any()


def test_straight_through_clipping_is_the_gradient_of_the_unclipped_paths() -> None:
    """Where the bound cuts, the true derivative is zero and the straight-through one is not; where nothing is cut, both agree."""
    draw = Draw(seed=12, smooth=True)
    layer = dataclasses.replace(draw.layer(D), activations=lstm.Activations(), peepholes=None)
    inputs = draw.normal(T, B, D)

    def gradient(bound: float, derivative: str) -> Any:
        clipped = dataclasses.replace(layer, clip=lstm.CellClip(bound, derivative))
        outputs, _, residuals = lstm.forward(clipped, inputs)
        return lstm.backward(clipped, residuals, np.ones_like(outputs)).layers

    assert max_relative_error(gradient(1e3, "true"), gradient(1e3, "straight_through")) == 0
    assert max_relative_error(gradient(0.1, "true"), gradient(0.1, "straight_through")) > 1e-3


def test_internals_add_up_to_the_gradients() -> None:
    """Σ_t δ_t is the bias's gradient and Σ_t x_tᵀ δ_t the input weight's, in either direction, in input order."""
    draw = Draw(seed=13)
    plain = [
        lstm.Layer(w_x=draw.normal(D, 4 * H), w_h=draw.normal(R, 4 * H), b=draw.normal(4 * H), projection=draw.normal(H, R))
        for _ in range(2)
    ]
    level = lstm.Bidirectional(*plain)
    inputs, lengths = draw.normal(T, B, D), np.array([T, 1, 4])
    outputs, _, residuals = lstm.forward(level, inputs, lengths=lengths)
    gradients, internals = lstm.backward_with_internals(level, residuals, draw.normal(*outputs.shape))
    for side in ("forward", "reverse"):
        inside, d_layer = getattr(internals, side), getattr(gradients.layers, side)
        d_z = np.asarray(inside.d_z)
        np.testing.assert_allclose(d_z.sum(axis=(0, 1)), d_layer.b, rtol=0, atol=1e-14)
        np.testing.assert_allclose(np.einsum("tbd,tbz->dz", inputs, d_z), d_layer.w_x, rtol=0, atol=1e-14)
        assert inside.d_h.shape == (T, B, R)
        assert inside.d_c.shape == (T, B, H)
        assert not d_z[1:, 1].any()


def test_step_streams_what_forward_computes() -> None:
    draw = Draw(seed=14)
    member = draw.member("ff")._replace(lengths=None)
    outputs, final, _ = member.run()
    states = member.initial_state
    with jax.enable_x64(True):
        for t in range(T):
            masks_t = jax.tree.map(lambda mask, t=t: mask[t], member.masks)
            states, y = lstm.step(lstm.Network(member.layers), states, member.inputs[t], masks_t)
            np.testing.assert_allclose(y, outputs[t], rtol=0, atol=1e-14)
    assert max_relative_error(states, final) < 1e-14
