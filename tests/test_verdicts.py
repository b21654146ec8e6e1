"""Verdicts in corners where they once were wrong: each correct gradient agrees, each wrong one does not, and where nothing can
be told the report says so."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checks
import lstm
from checks import Verdict
from checks.commands.demo import DemoOptions, question_problem
from checks.estimate import flatten

W = np.random.default_rng(0).normal(size=5)


def sines(w):
    return jnp.sum(jnp.sin(w))


def with_small_kink(w):
    """Its kink is smaller than what differences of so large a cost can see, and the complex step does not see it at all."""
    return 1e3 + sines(w) + 1e-8 * jnp.sum(jnp.abs(w))


def hidden(w):
    return 1e12 + jnp.sum(jnp.abs(w))


def partly_stopped(w):
    return 1e12 + w[0] + jax.lax.stop_gradient(w[1:].sum())


@pytest.mark.parametrize(
    ("loss", "gradient", "verdict"),
    [
        (sines, jnp.cos, Verdict.AGREES),  # a JAX function computes in the weights' precision, whatever JAX's mode
        (sines, jax.grad(sines), Verdict.AGREES),
        (sines, lambda w: np.cos(w).astype(np.float32), Verdict.AGREES),  # judged in its own precision
        (sines, lambda w: 1.001 * jnp.cos(w), Verdict.DISAGREES),
        (with_small_kink, lambda w: np.cos(w) + 1e-8 * np.sign(w), Verdict.INCONCLUSIVE),
        (with_small_kink, np.cos, Verdict.INCONCLUSIVE),
        (hidden, np.sign, Verdict.INCONCLUSIVE),
        (hidden, np.zeros_like, Verdict.INCONCLUSIVE),
        (lambda w: float(jnp.sum(jnp.sin(w))), np.cos, Verdict.AGREES),  # a black box with JAX inside
        (lambda w: 3e9 + float(np.sum(np.sin(w))), lambda w: 0.9 * np.cos(w), Verdict.INCONCLUSIVE),
    ],
)
def test_of_functions(loss, gradient, verdict):
    report = checks.check_function(loss, gradient, W)
    assert report.verdict is verdict
    assert str(report).startswith(verdict.value.upper())


def test_a_function_has_no_readings_of_approach_2():
    report = checks.check_function(lambda w: jnp.sum(jnp.abs(w) * w), lambda w: 2 * np.abs(w), W)
    assert report.verdict is Verdict.AGREES
    assert "approach 2" not in report.headline()


def test_a_gradient_function_may_change_its_weights_in_place():
    def gradient(w):
        result = np.cos(w)
        w -= 0.1
        return result

    assert checks.check_function(sines, gradient, W).verdict is Verdict.AGREES


def test_assert_gradients_does_not_pass_what_the_costs_rounding_hides():
    with pytest.raises(AssertionError, match="no reference"):
        checks.assert_gradients(np.array([1.0, 0.0]), checks.Cost(np.array([0.5, 0.7]), partly_stopped))


@pytest.mark.parametrize(
    "loss", [lambda w: jnp.sum(w) + 1j, lambda w: np.sum(w) + 1j, lambda w: jnp.sum((w * np.random.default_rng().uniform(size=5)) ** 2)]
)
def test_losses_that_are_no_function_to_a_real_number_are_refused(loss):
    with pytest.raises(lstm.BadInput, match="loss: expected"):
        checks.check_function(loss, np.cos, W)


@pytest.mark.parametrize("gate", [0, 1, 2, 3])
def test_a_small_block_is_judged_by_its_own_size(gate):
    """With a forget bias of 10, block f is some 1e-4 of the largest entry, and 3 % of one entry of it are seen in float32."""
    generator = np.random.default_rng(3)
    network = lstm.init_network(1, input_size=3, hidden_size=5, output_size=2)
    layer = jax.tree.map(np.array, network.layers[0])
    layer.b[5:10] += 10
    network = jax.tree.map(np.float32, lstm.Network((layer,), network.readout))
    inputs, targets = (generator.normal(size=(7, 2, size)).astype(np.float32) for size in (3, 2))
    problem = checks.Problem.from_network(network, inputs, targets)
    gradients = jax.tree.map(np.array, lstm.loss_and_gradients(network, inputs, targets)[1])
    checks.assert_gradients(gradients, problem)
    block = gradients.layers[0].w_h[:, 5 * gate : 5 * gate + 5]
    largest = np.unravel_index(np.abs(block).argmax(), block.shape)
    block[largest] *= 1.03
    with pytest.raises(AssertionError, match=rf"w_h\[{'ifgo'[gate]}, unit {largest[1]}, from h {largest[0]}\]"):
        checks.assert_gradients(gradients, problem)


@pytest.mark.long
@pytest.mark.parametrize(("timesteps", "hidden_size", "dtype"), [(4, 8, np.float64), (30, 3, np.float64), (400, 2, np.float32)])
def test_error_estimates_cover_over_many_draws(timesteps, hidden_size, dtype):
    """A long running sum of nearly equal losses is where rounding errors at neighbouring points are most alike."""
    for seed in (0, 8, 13):
        problem = question_problem(DemoOptions(timesteps=timesteps, hidden=hidden_size, dtype=np.dtype(dtype).name, seed=seed))
        estimate = checks.full_sequence(problem)
        truth = flatten(checks.autodiff(problem.astype(np.float64)).value)
        assert (np.abs(flatten(estimate.value) - truth) <= flatten(estimate.error_estimate)).all()


@pytest.mark.parametrize("hidden_size", [5, pytest.param(1, marks=pytest.mark.long)])
def test_coupled_gates_are_named(hidden_size):
    draw = np.random.default_rng(hidden_size).normal
    H = hidden_size
    layer = lstm.Layer(w_x=draw(size=(2, 3 * H)), w_h=draw(size=(H, 3 * H)), b=draw(size=3 * H))
    problem = checks.Problem.from_network(lstm.Network((layer,), None), draw(size=(3, 2, 2)), draw(size=(3, 2, H)))
    found = problem.gradients(problem.parameters).layers[0]
    b = np.array(found.b)
    b[-1] *= 1.1
    wrong = lstm.Network((lstm.Layer(w_x=np.asarray(found.w_x), w_h=np.asarray(found.w_h), b=b),), None)
    with pytest.raises(AssertionError, match=rf"layers\[0\]\.b\[o, unit {H - 1}\]"):
        checks.assert_gradients(wrong, problem)


def test_frozen_is_not_the_gradient_of_an_initial_state_that_is_a_parameter():
    network = lstm.init_network(0, input_size=2, hidden_size=3, output_size=2)
    draw = np.random.default_rng(2).normal
    problem = checks.Problem.from_network(network, draw(size=(1, 2, 2)), draw(size=(1, 2, 2)), wrt="all")
    report = checks.cross_validate(problem, readings=("frozen", "paired"))
    assert report.verdict is Verdict.AGREES
    assert not report.row("per_timestep.frozen").expected_to_agree


def test_padding_of_any_recurrent_problem_may_hold_anything():
    draw = np.random.default_rng(3).normal
    weights = {"x": draw(size=(3, 5)), "h": draw(size=(5, 5))}
    inputs = draw(size=(4, 2, 3))
    inputs[3, 0] = np.nan

    def step(w, h, x):
        h = jnp.tanh(x @ w["x"] + h @ w["h"])
        return h, h

    options = {"targets": draw(size=(4, 2, 5)), "initial_state": np.zeros((2, 5)), "lengths": np.array([3, 4])}
    problem = checks.Problem(weights, step=step, loss=lambda y, t: ((y - t) ** 2).sum(-1), inputs=inputs, **options)
    clean = checks.Problem(weights, step=step, loss=problem.loss, inputs=np.nan_to_num(inputs), **options)
    np.testing.assert_array_equal(flatten(checks.autodiff(problem).value), flatten(checks.autodiff(clean).value))


def test_a_problem_cast_to_float32_takes_its_hand_written_gradient_along():
    network = lstm.init_network(0, input_size=2, hidden_size=3, output_size=2)
    draw = np.random.default_rng(4).normal
    problem = checks.Problem.from_network(network, draw(size=(3, 2, 2)), draw(size=(3, 2, 2))).astype(np.float32)
    assert all(np.asarray(leaf).dtype == np.float32 for leaf in jax.tree.leaves(problem.gradients(problem.parameters)))
    checks.assert_gradients(problem.gradients(problem.parameters), problem)


def plain_float32(layer, readout, inputs, targets):
    """The gradient of a mean squared error as anybody writes it in NumPy, float32 throughout; σ is 1 / (1 + exp(-z))."""
    f32, h, tape = np.float32, np.zeros((inputs.shape[1], layer.w_h.shape[0]), np.float32), []
    c = h.copy()
    for x in inputs:
        z = x @ layer.w_x + h @ layer.w_h + layer.b
        i, f, g, o = np.split(z, 4, axis=-1)
        i, f, o, g = *(f32(1) / (f32(1) + np.exp(-each)) for each in (i, f, o)), np.tanh(g)
        before, c = (h, c), f * c + i * g
        h = o * np.tanh(c)
        tape.append((x, *before, i, f, g, o, np.tanh(c), h))
    d = jax.tree.map(np.zeros_like, lstm.Network((layer,), readout))
    d_layer, dh, dc = d.layers[0], np.zeros_like(h), np.zeros_like(h)
    for (x, h0, c0, i, f, g, o, tanh_c, h), target in reversed(list(zip(tape, targets, strict=True))):
        dy = f32(2) * (h @ readout.w + readout.b - target) / f32(len(inputs) * len(target))
        d.readout.w[...] += h.T @ dy
        d.readout.b[...] += dy.sum(axis=0)
        dh = dh + dy @ readout.w.T
        d_o, dc = dh * tanh_c, dc + dh * o * (f32(1) - tanh_c * tanh_c)
        slopes = [dc * g * i * (f32(1) - i), dc * c0 * f * (f32(1) - f), dc * i * (f32(1) - g * g), d_o * o * (f32(1) - o)]
        dz = np.concatenate(slopes, axis=-1)
        d_layer.w_x[...] += x.T @ dz
        d_layer.w_h[...] += h0.T @ dz
        d_layer.b[...] += dz.sum(axis=0)
        dh, dc = dz @ layer.w_h.T, dc * f
    return d


@pytest.mark.parametrize("seed", [21, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 17))])
def test_a_block_that_vanishes_does_not_make_its_neighbours_noise(seed):
    """Gates shut by biases of up to 60: in float32 a block may be 0 for 1e-20, which takes the wide tolerance to explain; its neighbours
    are within the narrow one."""
    draw = np.random.default_rng(seed)
    timesteps, batch, inputs, hidden = (int(draw.integers(*ends)) for ends in ((1, 9), (1, 3), (1, 4), (1, 5)))
    network = lstm.init_network(seed, input_size=inputs, hidden_size=hidden, output_size=2)
    layer = jax.tree.map(np.array, network.layers[0])
    for gate in range(4):
        layer.b[gate * hidden : (gate + 1) * hidden] += draw.choice([0, 0, -6, 6, -14, 14, -25, 25, 60, -60])
    scales = draw.choice([0.1, 1, 5]), draw.choice([0.1, 1, 5])
    layer = jax.tree.map(np.float32, lstm.Layer(layer.w_x * scales[0], layer.w_h * scales[1], layer.b))
    network = lstm.Network((layer,), jax.tree.map(np.float32, network.readout))
    x = (draw.normal(size=(timesteps, batch, inputs)) * draw.choice([1e-3, 1, 10])).astype(np.float32)
    target = draw.normal(size=(timesteps, batch, 2)).astype(np.float32)
    with np.errstate(over="ignore"):
        gradients = plain_float32(*network.layers, network.readout, x, target)
    problem = checks.Problem.from_network(network, x, target)
    checks.assert_gradients(gradients, problem)
    gradients.readout.b[1] *= np.float32(1.001)
    with pytest.raises(AssertionError, match=r"readout\.b"):
        checks.assert_gradients(gradients, problem)


def test_data_changed_in_place_afterwards_does_not_change_the_problem():
    """A batch buffer is used again."""
    network = lstm.init_network(0, input_size=3, hidden_size=4)
    x, target = np.random.default_rng(1).normal(size=(5, 2, 3)), np.random.default_rng(2).normal(size=(5, 2, 4))
    problem = checks.Problem.from_network(network, x, target)
    gradients = problem.gradients(problem.parameters)
    checks.assert_gradients(gradients, problem)
    x *= 0.5
    target += 1
    checks.assert_gradients(gradients, problem)
    assert checks.cross_validate(problem, readings=()).verdict is Verdict.AGREES


def test_weights_changed_in_place_afterwards_do_not_change_the_problem():
    """A training loop that updates its arrays in place goes on; what was computed of the problem, and what will be, belong together."""
    weights = W.copy()
    problem = checks.Cost(weights, sines)
    noted = flatten(checks.autodiff(problem).value)
    weights -= 0.5
    assert checks.cross_validate(problem).verdict is Verdict.AGREES
    np.testing.assert_array_equal(flatten(checks.autodiff(problem).value), noted)
    checks.assert_gradients(np.cos(W), problem)
