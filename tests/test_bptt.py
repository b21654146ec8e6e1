"""Hand-derived BPTT against every other way to get the gradient, over shapes, losses, reductions, lengths and states.

With respect to everything: the network, the inputs and the initial state.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest
from network_cases import Case, Drawn, draw

import checks
import lstm
from checks.estimate import flatten, max_relative_error

CASES = [
    Case(T=5, B=3, D=2, H=4, K=6),
    Case(T=6, B=4, D=3, H=2, K=5, reduction="sum", lengths=(6, 0, 3, 1)),
    Case(T=4, B=3, D=5, H=2, K=6, loss="cross_entropy", targets="labels", lengths=(2, 4, 0)),
    Case(T=1, B=2, D=3, H=4, K=5, loss="cross_entropy", targets="labels"),
    Case(T=7, B=1, D=2, H=3, K=None, reduction="sum", initial_state=False),
    Case(T=5, B=4, D=2, H=3, K=6, loss="cross_entropy", targets="probabilities", lengths=(5, 2, 0, 4), layers=2),
    Case(T=200, B=3, D=2, H=4, K=5, lengths=(200, 0, 61)),
]
EQUAL = 1e-13  # of the gradient's largest entry: what the project promises in float64, at T up to 200


class Gradients(NamedTuple):
    drawn: Drawn
    problem: checks.Problem
    hand: lstm.CostGradients
    autodiff: checks.Estimate
    complex_step: checks.Estimate
    full_sequence: checks.Estimate


@functools.cache
def gradients_of(case: Case) -> Gradients:
    drawn = draw(case, seed=1)
    problem = drawn.problem()
    hand = problem.gradients(problem.parameters)
    return Gradients(
        drawn, problem, hand, checks.autodiff(problem), checks.complex_step(problem), checks.full_sequence(problem)
    )


@pytest.fixture(params=CASES, ids=str, scope="module")
def found(request) -> Gradients:
    return gradients_of(request.param)


def test_hand_bptt_equals_autodiff_and_the_complex_step(found):
    assert {leaf.dtype for leaf in jax.tree.leaves(found.hand)} == {np.dtype(np.float64)}
    assert max_relative_error(found.hand, found.complex_step.value) <= EQUAL
    assert max_relative_error(found.hand, found.autodiff.value) <= EQUAL


def test_full_sequence_differences_agree_within_their_own_error_estimate(found):
    reference, estimate = flatten(found.complex_step.value), found.full_sequence
    largest = np.abs(reference).max()
    claimed = flatten(estimate.error_estimate)
    assert claimed.max() <= 1e-8 * largest
    # The reference is itself rounded, by far less than anything that differences resolve
    assert np.all(np.abs(flatten(estimate.value) - reference) <= claimed + EQUAL * largest)


def test_the_gradient_is_shaped_like_what_it_is_of_and_generic(found):
    """No array of it is all zeros: a probe at which half of the gradient vanishes compares nothing."""
    assert jax.tree.structure(found.hand) == jax.tree.structure(found.problem.parameters)
    for parameter, gradient in zip(jax.tree.leaves(found.problem.parameters), jax.tree.leaves(found.hand), strict=True):
        assert gradient.shape == parameter.shape
        assert np.asarray(gradient).any()
    assert flatten(found.hand).min() < 0 < flatten(found.hand).max()


def test_the_cost_is_the_mean_or_sum_of_the_losses_that_count(found):
    """Against NumPy, from the library's outputs."""
    network, inputs, targets, options = found.drawn.network, found.drawn.inputs, found.drawn.targets, found.drawn.options
    cost, _ = lstm.loss_and_all_gradients(network, inputs, targets, **options)
    lengths = options["lengths"]
    outputs, _, _ = lstm.forward(network.layers, inputs, options["initial_state"], lengths=lengths)
    y = np.asarray(outputs)
    if network.readout is not None:
        y = y @ np.asarray(network.readout.w) + np.asarray(network.readout.b)
    if options["loss"] == "squared_error":
        losses = ((y - targets) ** 2).sum(axis=-1)
    else:
        p = np.eye(y.shape[-1])[targets] if targets.ndim == 2 else targets
        losses = (p * (np.log(np.exp(y).sum(axis=-1, keepdims=True)) - y)).sum(axis=-1)
    counted = np.ones(losses.shape, bool) if lengths is None else np.arange(len(y))[:, None] < lengths
    expected = losses[counted].mean() if options["reduction"] == "mean" else losses[counted].sum()
    np.testing.assert_allclose(cost, expected, rtol=1e-14)  # some 100 roundings of 1e-16, mostly averaged out


@pytest.mark.parametrize("case", [CASES[1], pytest.param(CASES[5], marks=pytest.mark.long)], ids=str)
def test_float32_is_as_close_to_float64_as_rounding_lets_it_be(case):
    single = draw(case, seed=1, dtype=np.float32).problem()
    hand = single.gradients(single.parameters)
    tolerance = checks.rounding_tolerance(single)
    reference = gradients_of(case).complex_step.value  # of the same numbers, in float64
    for got, expected, allowed in zip(jax.tree.leaves(hand), jax.tree.leaves(reference), tolerance, strict=True):
        assert got.dtype == np.float32
        assert np.abs(np.asarray(got, np.float64) - expected).max() <= allowed
        assert allowed <= 1e-3 * np.abs(expected).max()  # or the comparison would hide real bugs


def test_forward_mode_is_a_second_opinion():
    found = gradients_of(CASES[1])
    assert max_relative_error(found.hand, checks.autodiff(found.problem, mode="forward").value) <= EQUAL


@pytest.mark.parametrize("option", ["lengths", "initial_state", "reduction", "loss"])
def test_every_option_matters_to_these_comparisons(option):
    """The planted fault: the gradient of a cost with one option left at its default."""
    found = gradients_of(CASES[2] if option in ("lengths", "loss") else CASES[1])
    problem, drawn = found.problem, found.drawn
    inputs, targets = problem.parameters.inputs, problem.targets
    options = drawn.options | {option: {"reduction": "mean"}.get(option)}
    if option == "loss":
        options["loss"], targets = "squared_error", np.eye(6)[targets]
    _, wrong = lstm.loss_and_all_gradients(drawn.network, inputs, targets, **options)
    assert max_relative_error(wrong, found.complex_step.value) > 1e-3
    assert max_relative_error(wrong, found.autodiff.value) > 1e-3


def test_one_entry_off_by_a_trillionth_is_seen():
    found = gradients_of(CASES[0])
    wrong = flatten(found.hand).copy()
    wrong[17] += 1e-12 * np.abs(wrong).max()
    assert max_relative_error(found.problem.unflatten(wrong), found.complex_step.value) > EQUAL
