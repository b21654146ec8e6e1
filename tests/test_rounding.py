"""How far roundings reach: known cases by hand, and gradients really computed in float32."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checks
import lstm
from checks.estimate import flatten
from checks.rounding import propagated
from checks.tolerance import rounding_tolerance


def reach(function, *arguments):
    with jax.enable_x64(True):
        return np.asarray(propagated(function, *(np.asarray(one, np.float64) for one in arguments)))


def many(function, x, count=400):
    """The root mean square over ``count`` copies of one number: the draws' spread averages out."""
    return float(np.sqrt(np.mean(reach(function, np.full(count, x)) ** 2)))


@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        (lambda x: x * 3.0, 0.7, 2.1),  # one rounding, relative to the result
        (lambda x: jnp.where(x > 0, -x, x), 0.7, 0.0),  # nothing rounds
        (lambda x: (x + 1e3) - 1e3, 0.7, 1e3),  # what cancels was rounded relative to its terms
        (jax.nn.sigmoid, -30.0, 1.0),  # absolute: ½ tanh(½z) + ½ is a correct sigmoid
        (jax.grad(lambda x: jax.nn.sigmoid(x).sum()), 30.0, 1.0),  # a (1 - a) = 1e-13, as far off as a
        (jax.jit(lambda x: x * 3.0), 0.7, 2.1),
        (lambda x: jax.lax.cond(x[0] > 0, lambda y: y * 3.0, lambda y: y, x), 0.7, 2.1),
        (lambda x: jax.lax.scan(lambda c, _: (c * 3.0, None), x, None, length=4)[0], 1.0, 81 * np.sqrt(4)),  # four roundings, independent
    ],
)
def test_known_cases(function, x, expected):
    assert many(function, x) == pytest.approx(expected, rel=0.15, abs=1e-12)


def test_a_product_is_rounded_relative_to_the_terms_that_cancel(rng):
    a, b = rng.uniform(1, 2, (300, 8)), rng.uniform(1, 2, 8)
    a[:, 1:] *= -1
    found = np.sqrt(np.mean((reach(jnp.matmul, a, b) / (np.abs(a) @ b)) ** 2))
    assert found == pytest.approx(np.sqrt(1 + 8 / 9), rel=0.15)


def test_infinities_stay_what_they_are():
    """A masked softmax has exp(-∞) = 0 in it."""
    assert np.isfinite(reach(lambda x: jax.nn.softmax(jnp.where(x > 0, x, -jnp.inf)), [1.0, -1.0, 0.5])).all()


@functools.cache
def problem(scale: float, dtype: type = np.float64) -> checks.Problem:
    """The same numbers in either precision."""
    rng = np.random.default_rng(8)
    drawn = lstm.init_network(3, input_size=3, hidden_size=5, output_size=4)
    network = jax.tree.map(lambda leaf: (scale * np.asarray(leaf)).astype(np.float32).astype(dtype), drawn)
    inputs, targets = (rng.normal(size=(7, 2, size)).astype(np.float32).astype(dtype) for size in (3, 4))
    return checks.Problem.from_network(network, inputs, targets)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_gradients_really_computed_in_float32_keep_within_the_tolerance(scale):
    """And not by so wide a margin that errors could hide: the tolerance is 8 deviations, and the model's are upper bounds."""
    exact, single = problem(scale), problem(scale, np.float32)
    allowed = rounding_tolerance(exact, np.float32)
    truth, theirs = (jax.tree.leaves(checks.autodiff(one).value) for one in (exact, single))
    hand = jax.tree.leaves(single.gradients(single.parameters))
    for candidate in (theirs, hand):
        ratios = [np.abs(np.asarray(c, np.float64) - t).max() / room for c, t, room in zip(candidate, truth, allowed, strict=True)]
        assert max(ratios) <= 1
        assert max(ratios) >= 1e-3


@pytest.mark.parametrize("scale", [20.0, 30.0])
def test_correct_gradients_are_not_refused_where_gates_saturate(scale):
    """Rounding relative to a (1 - a) itself would allow nothing here."""
    generator = np.random.default_rng(4)
    draw = generator.normal
    layer = lstm.Layer(w_x=scale * draw(size=(2, 4)), w_h=scale * draw(size=(1, 4)), b=scale * draw(size=4))
    network = lstm.Network((layer,), lstm.Readout(w=draw(size=(1, 2)), b=draw(size=2)))
    saturated = checks.Problem.from_network(network, draw(size=(2, 1, 2)), draw(size=(2, 1, 2)))
    report = checks.cross_validate(saturated, readings=())
    assert report.verdict is not checks.Verdict.DISAGREES
    wrong = jax.tree.map(lambda leaf: 1.001 * np.asarray(leaf), saturated.gradients(saturated.parameters))
    with pytest.raises(AssertionError, match="DISAGREES"):
        checks.assert_gradients(wrong, saturated)


def test_the_measure_is_finite_and_like_the_parameters():
    reached = checks.tolerance.reach(problem(1.0))
    assert jax.tree.structure(reached) == jax.tree.structure(problem(1.0).parameters)
    assert (flatten(reached) > 0).all()
