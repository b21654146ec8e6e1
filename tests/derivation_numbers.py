"""A random case for the derivation, computed three ways: in float64, on numbers with error bounds, and by the reference."""

from __future__ import annotations

import contextlib
from typing import Any
from unittest import mock

import derivation_reference as reference
import mpmath
import numpy as np
import sympy as sp
from derivation_faults import without_carries
from derivation_symbols import exact, running_on_objects

import lstm
from lstm import CostGradients, Gradients, Layer, Network, Readout, State, network, sequence

Case = dict[str, Any]


def random_case(seed: int, loss: str = "squared_error") -> Case:
    """T, B, D, H, K = 3, 4, 5, 2, 6, unequal lengths, every entry k/1024 in (-1, 1) and not 0: float64 holds it exactly."""
    generator = np.random.default_rng(seed)
    shapes = {"w_x": (5, 8), "w_h": (2, 8), "b": (8,), "w_y": (2, 6), "b_y": (6,), "inputs": (3, 4, 5), "h0": (4, 2), "c0": (4, 2)}
    shapes |= {"d_outputs": (3, 4, 2), "d_h_n": (4, 2), "d_c_n": (4, 2), "targets": (3, 4, 6)}
    case: Case = {name: generic(generator, shape) for name, shape in shapes.items()}
    if loss == "cross_entropy":  # probability vectors: positive, and the last entry is what the others leave
        case["targets"] = abs(case["targets"]) / 8
        case["targets"][..., -1] = 1 - case["targets"][..., :-1].sum(axis=-1)
    return case | {"lengths": np.array([3, 0, 2, 1]), "labels": generator.integers(0, 6, (3, 4))}


def generic(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Rationals k/1024 in (-1, 1), none of them 0."""
    numerators = generator.integers(1, 1024, shape) * generator.choice([-1, 1], shape)
    return np.vectorize(lambda numerator: sp.Rational(int(numerator), 1024), otypes=[object])(numerators)


high_precision = np.vectorize(lambda number: mpmath.mpf(number.p) / number.q, otypes=[object])


def in_double(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64)


def layer_gradients(case: Case, on_objects: bool) -> Case:
    """The whole layer's gradients: from the public functions in float64, or from the same code on numbers with bounds."""
    convert = reference.rounded if on_objects else in_double
    inputs, d_outputs = convert(case["inputs"]), convert(case["d_outputs"])
    layer, initial, d_final = _parts(case, convert, layer="w_x w_h b", initial="h0 c0", d_final="d_h_n d_c_n")
    if not on_objects:
        _, _, residuals = lstm.forward(layer, inputs, initial, lengths=case["lengths"])
        return named(lstm.backward(layer, residuals, d_outputs, d_final))
    with running_on_objects():
        valid = sequence.valid_steps(case["lengths"], inputs.shape[0])
        _, _, residuals = sequence.forward(layer, inputs, initial, valid)
        return named(sequence.backward(layer, residuals, d_outputs, d_final)[0])


def network_gradients(case: Case, on_objects: bool, labels: Any, loss: str, reduction: str) -> Case:
    """The network's gradients, likewise."""
    convert = reference.rounded if on_objects else in_double
    layer, initial, readout = _parts(case, convert, layer="w_x w_h b", initial="h0 c0", readout="w_y b_y")
    targets = convert(case["targets"]) if labels is None else labels
    arguments = (Network((layer,), readout), convert(case["inputs"]), targets)
    options = {"initial_state": (initial,), "lengths": case["lengths"], "loss": loss, "reduction": reduction}
    if not on_objects:
        return named(lstm.loss_and_all_gradients(*arguments, **options)[1])
    with running_on_objects():
        return named(network.loss_and_all_gradients(*arguments, masks=None, **options)[1])


def _parts(case: Case, convert: Any, **names: str) -> list[Any]:
    kinds = {"layer": Layer, "initial": State, "d_final": State, "readout": Readout}
    return [kinds[kind](*(convert(case[name]) for name in fields.split())) for kind, fields in names.items()]


def named(gradients: Gradients | CostGradients) -> Case:
    """The gradients of one layer, or of a network of one layer, by the names of `random_case`."""
    names: Case = {"inputs": gradients.inputs}
    layer, state = gradients.layers if isinstance(gradients, Gradients) else None, gradients.initial_state
    if isinstance(gradients, CostGradients):
        (layer,), (state,) = gradients.network.layers, state
        names |= {"w_y": gradients.network.readout.w, "b_y": gradients.network.readout.b}
    return names | {"w_x": layer.w_x, "w_h": layer.w_h, "b": layer.b, "h0": state.h, "c0": state.c}


def layer_reference(case: Case) -> Case:
    given = _converted(case)
    return reference.sequence_gradients(given, lambda t, b, _: given["d_outputs"][t, b], given["d_h_n"], given["d_c_n"])


def network_reference(case: Case, loss: str, reduction: str, targets: Any = None) -> Case:
    given = _converted(case)
    if targets is not None:
        given["targets"] = high_precision(exact(np.eye(6)))[targets]
    weight = mpmath.mpf(1) / int(case["lengths"].sum()) if reduction == "mean" else mpmath.mpf(1)
    return reference.network_gradients(given, loss, weight)


def terms_of_the_code(run: Any, w: Any, carries: bool = True) -> np.ndarray:
    """What (16), (17) and (18) add at each timestep, from the real code: (T, entries of w_x, w_h, b)."""
    w_x, w_h, b, w_y, b_y = (reference.rounded(array) for array in run.arrays(w))
    inputs, targets, h0, c0 = (reference.rounded(array) for array in (run.inputs, run.targets, *run.state[:, None]))
    d_z: list[Any] = []

    def each_timestep(rows: Any, columns: Any) -> Any:
        d_z.append(columns[:, 0])
        return np.stack([row.T @ column for row, column in zip(rows, columns, strict=True)])

    net = Network((Layer(w_x, w_h, b),), Readout(w_y, b_y))
    options = {"initial_state": (State(h0, c0),), "lengths": None, "masks": None, "loss": "squared_error", "reduction": "mean"}
    forgetting = contextlib.nullcontext() if carries else without_carries()
    with running_on_objects(), forgetting, mock.patch.object(sequence, "accumulate", each_timestep):
        gradients = network.loss_and_all_gradients(net, inputs[:, None], targets[:, None], **options)[1]
    (layer,) = gradients.network.layers
    terms = np.concatenate([layer.w_x.reshape(4, -1), layer.w_h.reshape(4, -1), d_z[0]], axis=1)
    return np.vectorize(lambda one: one.value, otypes=[object])(reference.rounded(terms))


def _converted(case: Case) -> Case:
    return {name: values if name in ("lengths", "labels") else high_precision(values) for name, values in case.items()}


def assert_agrees(in_float64: Case, on_objects: Case, expected: Case) -> None:
    """The code's arithmetic equals the reference at 30 digits, and in float64 up to the rounding that its own bound grants."""
    assert in_float64.keys() == on_objects.keys() == expected.keys()
    for name, right in expected.items():
        largest = max(abs(one) for one in right.flat)
        bounded = reference.rounded(on_objects[name])
        off = max(abs(one.value - other) for one, other in zip(bounded.flat, right.flat, strict=True))
        # Some hundred operations on numbers below 100: of 30 digits 25 are left for certain
        assert off <= mpmath.mpf(10) ** -25 * largest, f"{name}: off by {mpmath.nstr(off, 3)} at 30 digits"
        for index in np.ndindex(right.shape):
            bound = bounded[index].error
            assert bound < 5e-13 * largest, f"{name}: a bound of {mpmath.nstr(bound, 3)} says nothing"
            off = abs(float(in_float64[name][index]) - right[index])
            # Bounds are to first order in the roundoff: 1% covers what is of second order
            assert off <= 1.01 * bound, f"{name}{list(index)}: off by {mpmath.nstr(off, 3)} in float64, granted {mpmath.nstr(bound, 3)}"

