"""`lstm.backward` with what did not come from `lstm.forward` of the same layers, and other input that once went through."""

from __future__ import annotations

import numpy as np
import pytest

import lstm

draw = np.random.default_rng(5).normal
X = draw(size=(3, 2, 2))


def layer(gates: int = 4) -> lstm.Layer:
    return lstm.Layer(w_x=draw(size=(2, 3 * gates)), w_h=draw(size=(3, 3 * gates)), b=draw(size=3 * gates))


@pytest.mark.parametrize(
    ("ran", "given", "message"),
    [
        (layer(), lstm.Bidirectional(layer(), layer()), "residuals: expected what lstm.forward returned"),
        (lstm.Bidirectional(layer(), layer()), layer(), "residuals: expected what lstm.forward returned"),
        (layer(gates=3), layer(), r"number of gates\) = \(3, 3, 3\), as in residuals; got \(3, 3, 4\)"),
        (layer(), layer(gates=3), r"number of gates\) = \(3, 3, 4\), as in residuals; got \(3, 3, 3\)"),
    ],
)
def test_residuals_of_other_layers_are_refused(ran, given, message):
    outputs, _, residuals = lstm.forward(ran, X)
    with pytest.raises(lstm.BadInput, match=message):
        lstm.backward(given, residuals, np.ones(outputs.shape))


def test_upstream_gradients_are_finite_where_they_count_and_anything_past_the_end():
    one = layer()
    residuals = lstm.forward(one, X, lengths=np.array([3, 2]))[2]
    d_outputs = np.ones((3, 2, 3))
    d_outputs[2, 1] = np.nan
    assert np.isfinite(np.asarray(lstm.backward(one, residuals, d_outputs).inputs)).all()
    d_outputs[1, 1, 0] = np.nan
    with pytest.raises(lstm.BadInput, match=r"d_outputs: expected finite numbers; got nan at index \[1, 1, 0\]"):
        lstm.backward(one, residuals, d_outputs)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_lengths_may_be_integers_of_any_kind(dtype):
    one = lstm.Reversed(layer())
    expected = lstm.forward(one, X, lengths=np.array([1, 3]))[0]
    np.testing.assert_array_equal(lstm.forward(one, X, lengths=np.array([1, 3], dtype))[0], expected)


def test_a_single_step_keeps_float64_in_32_bit_mode():
    network = lstm.init_network(0, input_size=2, hidden_size=3, output_size=2)
    state = lstm.State(np.zeros((2, 3)), np.zeros((2, 3)))
    assert lstm.step(network, (state,), X[0])[1].dtype == np.float64
