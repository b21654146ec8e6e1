"""What `checks` cannot use is refused in one line too; above all what would be cast or broadcast without a word."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import checks
import lstm
from lstm import BadInput

T, B, D, H = 4, 3, 2, 5
GENERATOR = np.random.default_rng(1)
WEIGHTS = {"h": GENERATOR.normal(size=(H, H)), "x": GENERATOR.normal(size=(D, H))}
X, Y, STATE = GENERATOR.normal(size=(T, B, D)), GENERATOR.normal(size=(T, B, H)), GENERATOR.normal(size=(B, H))
LENGTHS = np.array([4, 0, 2])
CAST = "nothing is cast silently"


def step(w, h, x):
    h = jnp.tanh(x @ w["x"] + h @ w["h"])
    return h, h


def loss(y, target):
    return ((y - target) ** 2).sum(axis=-1)


def problem(**changes):
    given = {"parameters": WEIGHTS, "step": step, "loss": loss, "inputs": X, "targets": Y, "initial_state": STATE}
    return checks.Problem(**(given | changes))


def weights(**changes):
    return problem(parameters=WEIGHTS | changes)


def cost_of(function):
    return checks.autodiff(checks.Cost(parameters=WEIGHTS, function=function))


def changed(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


def single(array):
    return array.astype(np.float32)


def flat_state_step(w, h, x):
    return h.ravel(), h


REFUSED = {
    # parameters
    "parameters: expected a pytree of arrays; got none": lambda: problem(parameters=None),
    "parameters['h']: expected a NumPy or JAX array; got 3.5": lambda: weights(h=3.5),
    "parameters['h']: expected a NumPy or JAX array; got 'abc'": lambda: weights(h="abc"),
    "parameters['h']: expected a float32 or float64 array; got int64": lambda: weights(h=np.ones((H, H), int)),
    f"parameters['h']: expected float32, float64 or integers; got complex128 (convert it yourself: {CAST})": lambda: weights(
        h=1j * WEIGHTS["h"]
    ),
    f"parameters['x']: expected float64 as in the other parameters; got float32 ({CAST})": lambda: weights(x=single(WEIGHTS["x"])),
    "parameters['x']: expected at least one entry; got shape (2, 0)": lambda: weights(x=WEIGHTS["x"][:, :0]),
    "parameters['x']: expected finite numbers; got NaN or infinity": lambda: weights(x=changed(WEIGHTS["x"], (1, 1), np.nan)),
    # data
    f"inputs: expected float64, as the parameters have; got float32 ({CAST})": lambda: problem(inputs=single(X)),
    f"targets[1]: expected float64, as the parameters have; got float32 ({CAST})": lambda: problem(targets=(Y, single(Y))),
    f"initial_state: expected float64, as the parameters have; got float32 ({CAST})": lambda: problem(initial_state=single(STATE)),
    f"inputs: expected float32, as the parameters have; got float64 ({CAST})": lambda: problem(
        parameters=jax.tree.map(single, WEIGHTS)
    ),
    "inputs: expected finite numbers; got NaN or infinity": lambda: problem(inputs=changed(X, (0, 0, 0), np.inf)),
    "initial_state: expected finite numbers; got NaN or infinity": lambda: problem(initial_state=changed(STATE, (0, 0), np.nan)),
    "inputs: expected a NumPy or JAX array; got 'abc'": lambda: problem(inputs="abc"),
    "initial_state: expected a NumPy or JAX array; got 0.0": lambda: problem(initial_state=0.0),
    "inputs and targets: expected the same T >= 1 along the first axis of each; got [(3,), (4,)]": lambda: problem(targets=Y[:3]),
    "inputs and targets: expected the same T >= 1 along the first axis of each; got [(0,)]": lambda: problem(inputs=X[:0], targets=Y[:0]),
    "inputs and targets: expected the same T >= 1 along the first axis of each; got []": lambda: problem(inputs=None, targets=None),
    # lengths
    "lengths: expected a NumPy or JAX array; got list": lambda: problem(lengths=[4, 0, 2]),
    "lengths: expected (B,) integers; got float64 of shape (3,)": lambda: problem(lengths=1.0 * LENGTHS),
    "lengths: expected (B,) integers; got int64 of shape (3, 1)": lambda: problem(lengths=LENGTHS[:, None]),
    "lengths: expected (B,) integers; got int64 of shape (0,)": lambda: problem(lengths=LENGTHS[:0]),
    "lengths: expected integers from 0 to T = 4, not all 0; got [5, 0, 2]": lambda: problem(lengths=np.array([5, 0, 2])),
    "lengths: expected integers from 0 to T = 4, not all 0; got [4, -1, 2]": lambda: problem(lengths=np.array([4, -1, 2])),
    "lengths: expected integers from 0 to T = 4, not all 0; got [0, 0, 0]": lambda: problem(lengths=0 * LENGTHS),
    "loss: expected floating-point (1,), as lengths; got float64 of shape (3,)": lambda: problem(lengths=LENGTHS[:1]),
    # functions and what they return
    "step: expected a function; got None": lambda: problem(step=None),
    "loss: expected a function; got 'squared_error'": lambda: problem(loss="squared_error"),
    "gradients: expected a function from parameters to their gradient; got dict": lambda: problem(gradients=WEIGHTS),
    "reduction: expected one of mean, sum; got 'none'": lambda: problem(reduction="none"),
    "reduction: expected one of mean, sum; got an array of shape (0,)": lambda: problem(reduction=np.zeros(0)),
    "step: expected a function of (parameters, state, x_t); with state None and x_t float64[3, 2] it raised TypeError: unsupported operand "
    "type(s) for @: 'NoneType' and 'DynamicJaxprTracer'": lambda: problem(initial_state=None),
    "loss: expected a function of (y_t, target_t); with y_t float64[3, 5] and target_t float64[3, 5] it raised "
    "KeyError: 'q'": lambda: problem(loss=lambda y, target: {}["q"]),
    "step: expected a function that JAX can trace; it needs a number where JAX only knows a shape: write jnp. for np., and jnp.where for "
    "if (TracerArrayConversionError)": lambda: problem(step=lambda w, h, x: (np.tanh(h), h)),
    "step: expected (new state, y_t); got an array of shape (3, 5)": lambda: problem(step=lambda w, h, x: h),
    "step: expected a new state like the old one, float64[3, 5]; got float64[15]": lambda: problem(step=flat_state_step),
    "step: expected a new state like the old one, float64[1, 5]; got float64[3, 5]": lambda: problem(initial_state=STATE[:1]),
    "step: expected a new state like the old one, float64[3, 5]; got ['h'] float64[3, 5]": lambda: problem(
        step=lambda w, h, x: ({"h": h}, h)
    ),
    "loss: expected a floating-point scalar, or (B,) for a batch; got float64 of shape (3, 5)": lambda: problem(loss=lambda y, t: y - t),
    "loss: expected a floating-point scalar, or (B,) for a batch; got bool of shape (3,)": lambda: problem(loss=lambda y, t: t[:, 0] > 0),
    "loss: expected a floating-point scalar, or (B,) for a batch; got 3": lambda: problem(loss=lambda y, t: 3),
    "loss: expected floating-point (3,), as lengths; got float64 of shape ()": lambda: problem(
        loss=lambda y, t: y.sum(), lengths=LENGTHS
    ),
    "initial_state[1]: expected B = 3 along the first axis, as lengths has; got shape (5, 3)": lambda: problem(
        step=lambda w, s, x: ((s[0], s[1]), s[0]), initial_state=(STATE, STATE.T), lengths=LENGTHS
    ),
    "function: expected a function from parameters to a scalar; got None": lambda: cost_of(None),
    "function: expected a floating-point scalar; got None": lambda: cost_of(lambda w: None),
    "function: expected a floating-point scalar; got 3": lambda: cost_of(lambda w: 3),
    "function: expected a floating-point scalar; got an array of shape (5, 5)": lambda: cost_of(lambda w: w["h"]),
    # options of the estimators
    "mode: expected one of reverse, forward; got 'sideways'": lambda: checks.autodiff(problem(), mode="sideways"),
    "reading: expected one of frozen, shared, paired, replayed, untied; got 'thawed'": lambda: checks.per_timestep(problem(), "thawed"),
    "problem: expected a checks.Problem, which has a step; a plain function of the weights has no timesteps": lambda: checks.per_timestep(
        checks.Cost(parameters=WEIGHTS, function=lambda w: w["h"].sum()), "frozen"
    ),
    "step: expected a positive number; got 0": lambda: checks.full_sequence(problem(), step=0),
    "step: expected a positive number; got nan": lambda: checks.full_sequence(problem(), step=np.nan),
    "step: expected a positive number; got -1e-05": lambda: checks.per_timestep(problem(), "paired", step=-1e-5),
    "step: expected a positive number; got 'small'": lambda: checks.full_sequence(problem(), step="small"),
    "step: expected a positive number; got -1": lambda: checks.check_function(lambda w: float(np.sin(w).sum()), np.cos(X), X, step=-1),
    "readings: expected a tuple of names; got 'paired'": lambda: checks.cross_validate(problem(), readings="paired"),
    "wrt: expected one of network, all; got 'inputs'": lambda: checks.Problem.from_network(None, X, Y, wrt="inputs"),
    "network: expected an lstm.Network; got dict": lambda: checks.Problem.from_network(WEIGHTS, X, Y),
    "loss: expected a function of the weights; got ndarray": lambda: checks.check_function(X, X, X),
}


@pytest.mark.parametrize(
    "function",
    [
        checks.cross_validate,
        checks.full_sequence,
        checks.autodiff,
        checks.complex_step,
        checks.rounding_tolerance,
        lambda it: checks.assert_gradients(WEIGHTS, it),
    ],
)
def test_what_is_no_problem(function):
    for it, shown in ((None, "None"), (WEIGHTS, "dict"), (X, "an array of shape (4, 3, 2)")):
        with pytest.raises(BadInput) as caught:
            function(it)
        assert str(caught.value) == f"problem: expected a checks.Problem or a checks.Cost; got {shown}"


@pytest.mark.parametrize("nothing", [None, lambda _: None, {}])
def test_a_gradient_that_is_not_there_does_not_agree(nothing):
    """A function that forgot to return; not a check without a candidate."""
    refused = [lambda: checks.check_function(lambda w: jnp.sin(w).sum(), nothing, X)]
    if callable(nothing):
        refused.append(lambda: checks.cross_validate(problem(gradients=nothing)))
    else:
        refused.append(lambda: checks.assert_gradients(nothing, problem()))
    for refuse in refused:
        with pytest.raises(BadInput, match=r"gradients: expected an array for .*, as the parameters have; got none"):
            refuse()


@pytest.mark.parametrize("message", REFUSED)
def test_the_message_names_what_was_expected_and_what_came(message):
    with pytest.raises(BadInput) as caught:
        REFUSED[message]()
    assert str(caught.value) == message


def test_what_a_problem_accepts():
    """JAX arrays, integers among the data, padding that holds anything, no inputs at all."""
    problem(inputs=jnp.asarray(np.arange(T)), step=lambda w, h, t: (h, h + t))
    problem(lengths=LENGTHS.astype(np.uint8), inputs=changed(X, (3, 1), np.nan))
    problem(inputs=None, step=lambda w, h, _: (h, h))
    problem(parameters=jax.tree.map(single, WEIGHTS), inputs=single(X), targets=single(Y), initial_state=single(STATE))


NETWORK = lstm.init_network(0, input_size=D, hidden_size=3, output_size=H)
LSTM = checks.Problem.from_network(NETWORK, X, Y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda g: g.layers[0], "gradients: expected an array for layers[0].w_x, as the parameters have; got .w_x, .w_h, .b"),
        (lambda g: dataclasses.replace(g, readout=None), "gradients: expected an array for readout.w, as the parameters have; got "),
        (lambda g: (g, g), "gradients: expected an array for layers[0].w_x, as the parameters have; got "),
        (lambda g: np.zeros(3), "gradients: expected an array for layers[0].w_x, as the parameters have; got "),
        (lambda g: with_bias(g, g.readout.b[None]), "gradients readout.b: expected shape (5,), as the parameter has; got (1, 5)"),
        (lambda g: with_bias(g, np.zeros(5, int)), "gradients readout.b: expected floating-point numbers; got int64"),
        (lambda g: with_bias(g, single(g.readout.b)), "gradients readout.b: expected float64, as the first array has; got float32"),
        (lambda g: with_bias(g, g.readout.b.tolist()), "gradients: expected an array for readout.b, as the parameters have; got "),
        (lambda g: with_bias(g, 1j * g.readout.b), "gradients readout.b: expected float32, float64 or integers; got complex128"),
        (lambda g: with_bias(g, "abc"), "gradients readout.b: expected a NumPy or JAX array; got 'abc'"),
    ],
)
def test_gradients_that_are_not_shaped_like_the_parameters(wrong, message):
    gradients = jax.tree.map(np.asarray, LSTM.parameters)
    with pytest.raises(BadInput) as caught:
        checks.compare(LSTM, wrong(gradients), gradients, [1.0] * 5)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def with_bias(gradients, bias):
    return dataclasses.replace(gradients, readout=dataclasses.replace(gradients.readout, b=bias))
