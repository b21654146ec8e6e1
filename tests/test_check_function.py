"""`checks.check_function`: bring your own forward and gradient, traceable by JAX or a black box."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checks
import lstm
from checks import Verdict

WEIGHTS = np.array([[0.3, -1.2, 2.0], [0.7, 1.1, -0.4]])


def test_check_function_of_a_function_jax_can_trace():
    for gradients in (lambda w: np.cos(w), np.cos(WEIGHTS)):
        report = checks.check_function(lambda w: jnp.sin(w).sum(), gradients, WEIGHTS)
        assert [row.name for row in report.rows] == ["gradients", "autodiff", "full_sequence", "complex_step"]
        assert report.verdict is Verdict.AGREES
    wrong = np.cos(WEIGHTS)
    wrong[1, 2] *= 1 + 1e-6
    report = checks.check_function(lambda w: jnp.sin(w).sum(), wrong, WEIGHTS)
    assert report.verdict is Verdict.DISAGREES
    assert "weights[1, 2]: expected 0.92106" in str(report)


def test_check_function_of_a_numpy_black_box():
    def loss(weights):
        return float(np.sum(np.sin(weights["a"])) * weights["b"])

    weights = {"a": WEIGHTS, "b": np.array(1.5)}
    right = {"a": 1.5 * np.cos(WEIGHTS), "b": np.sin(WEIGHTS).sum()}
    report = checks.check_function(loss, right, weights)
    assert report.verdict is Verdict.AGREES
    assert report.reference == "full_sequence"
    assert "black box" in str(report)
    wrong = {"a": right["a"] * (1 + 1e-6 * np.eye(2, 3)), "b": right["b"]}
    report = checks.check_function(loss, wrong, weights)
    assert report.verdict is Verdict.DISAGREES
    assert "['a'][0, 0]: expected 1.433" in str(report)
    assert checks.check_function(loss, right, weights, step=1e-4).verdict is Verdict.AGREES


def test_where_the_cost_is_not_analytic_the_complex_step_is_not_expected_to_agree():
    report = checks.check_function(lambda w: jnp.abs(w).sum() + (w**2).sum(), np.sign(WEIGHTS) + 2 * WEIGHTS, WEIGHTS)
    assert report.verdict is Verdict.AGREES
    assert report.reference == "autodiff"
    assert not report.row("complex_step").agrees
    assert not report.row("complex_step").expected_to_agree
    assert "not analytic" in str(report)


def test_where_the_cost_has_a_kink_nothing_is_claimed():
    at_kink = np.array([0.0, 1.0])
    report = checks.check_function(lambda w: jax.nn.relu(w).sum(), np.array([0.0, 1.0]), at_kink)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "is it differentiable here?" in str(report).replace("\n", " ")
    with pytest.raises(AssertionError, match="no reference"):
        checks.assert_gradients(at_kink, checks.Cost(parameters=at_kink, function=lambda w: jax.nn.relu(w).sum()))


def drawn_at_random(w):
    return float(np.sum(w**2) + 1e-9 * np.random.default_rng().normal())


def changes_its_weights(w):
    w += 1.0
    return float(np.sum(w**2))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (drawn_at_random, "loss: expected the same value for the same weights; got "),
        (changes_its_weights, "loss: expected the weights to be left alone; got weights that it changed in place"),
    ],
)
def test_a_black_box_that_makes_differences_meaningless_is_refused(loss, message):
    given = WEIGHTS.copy()
    with pytest.raises(lstm.BadInput, match=re.escape(message)):
        checks.check_function(loss, 2 * WEIGHTS, given)
    np.testing.assert_array_equal(given, WEIGHTS)
