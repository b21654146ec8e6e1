"""The code of the standard cell and of the losses against references at 30 digits, and float64 up to the rounding it may add."""

from __future__ import annotations

from unittest import mock

import derivation_reference as reference
import jax
import mpmath
import numpy as np
import pytest
from derivation_numbers import (
    assert_agrees,
    in_double,
    layer_gradients,
    layer_reference,
    network_gradients,
    network_reference,
    random_case,
)
from derivation_symbols import running_on_objects

from lstm import Layer, State, cell, sequence


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(reference.DIGITS):
        yield


@pytest.mark.parametrize("seed", range(3))
def test_cell_in_float64(seed):
    case = random_case(seed)
    case |= {"inputs": case["inputs"][:1], "lengths": np.ones(4, int), "d_outputs": 0 * case["d_outputs"][:1]}

    def gradients(x, h0, c0, d_h, d_c, *weights):
        layer = Layer(*weights)
        _, residuals = cell.forward(layer, x[0] @ layer.w_x + layer.b, State(h0, c0))
        found = cell.backward(layer, residuals, c0, State(d_h, d_c))
        return {"b": found.d_z.sum(axis=0), "h0": found.d_previous.h, "c0": found.d_previous.c}

    given = [case[name] for name in ("inputs", "h0", "c0", "d_h_n", "d_c_n", "w_x", "w_h", "b")]
    with jax.enable_x64(True):
        in_float64 = jax.jit(gradients)(*map(in_double, given))
    with running_on_objects():
        on_objects = gradients(*map(reference.rounded, given))
    expected = layer_reference(case)
    assert_agrees(in_float64, on_objects, {name: expected[name] for name in in_float64})


@pytest.mark.parametrize("seed", range(3))
def test_layer_in_float64(seed):
    case = random_case(seed)
    assert_agrees(layer_gradients(case, on_objects=False), layer_gradients(case, on_objects=True), layer_reference(case))


@pytest.mark.parametrize(
    ("loss", "kind", "reduction"),
    [
        ("squared_error", "vectors", "mean"),
        ("squared_error", "vectors", "sum"),
        ("cross_entropy", "vectors", "sum"),
        ("cross_entropy", "labels", "mean"),
    ],
)
def test_network_in_float64(loss, kind, reduction):
    case = random_case(seed=7, loss=loss)
    labels = case["labels"] if kind == "labels" else None
    in_float64, on_objects = (network_gradients(case, objects, labels, loss, reduction) for objects in (False, True))
    assert_agrees(in_float64, on_objects, network_reference(case, loss, reduction, labels))


def test_comparison_rejects_a_wrong_number():
    case = random_case(seed=11)
    expected, in_float64, on_objects = layer_reference(case), layer_gradients(case, False), layer_gradients(case, True)
    assert_agrees(in_float64, on_objects, expected)
    with mock.patch.object(sequence, "_shifted", lambda initial, values: values), pytest.raises(AssertionError, match="at 30 digits"):
        assert_agrees(in_float64, layer_gradients(case, on_objects=True), expected)  # c_t and h_t for c_{t-1} and h_{t-1}
    w_h = np.asarray(in_float64["w_h"])
    slightly_off = in_float64 | {"w_h": w_h + 1e-12 * np.abs(w_h).max()}
    with pytest.raises(AssertionError, match="in float64"):
        assert_agrees(slightly_off, on_objects, expected)
