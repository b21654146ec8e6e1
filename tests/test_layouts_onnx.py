"""The ONNX layout against the operator's equations, ONNX's reference evaluator and ONNX Runtime."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from layouts_case import H, Peer, draw, float32_tolerance, in_float32, largest_error, run_ours
from layouts_onnx import by_onnx_runtime, by_reference_evaluator, onnx_peer

TOLERANCE = 1e-12  # as in test_layouts_frameworks
FORWARD = ("outputs", "h_n", "c_n")

PEERS: dict[str, Callable[[], Peer]] = {
    "forward": onnx_peer,
    "reverse": lambda: onnx_peer("reverse"),
    "both directions, peepholes": lambda: onnx_peer("bidirectional", peepholes=True),
    "no bias": lambda: onnx_peer(bias=False),
    "both directions, layout = 1": lambda: onnx_peer("bidirectional", batch_major=True),
    "input_forget": lambda: onnx_peer(input_forget=1),
    "reverse, input_forget, peepholes": lambda: onnx_peer("reverse", input_forget=1, peepholes=True),
    "other activations, peepholes": lambda: onnx_peer(peepholes=True, activations=("HardSigmoid", "Softsign", "Relu")),
}
IN_REFERENCE_EVALUATOR = [name for name in PEERS if "input_forget" not in name and "activations" not in name]
IN_ONNX_RUNTIME = [name for name in PEERS if "layout = 1" not in name]


@pytest.mark.parametrize("name", PEERS)
def test_the_layout_agrees_with_the_equations(name: str, rng: np.random.Generator) -> None:
    """Every gradient; zero on weights of a forget gate that input_forget leaves unused."""
    case = draw(rng, PEERS[name]())
    error, where = largest_error(case.expected, run_ours(case))
    assert error < TOLERANCE, where
    forget = case.expected["grad.W"][:, 2 * H : 3 * H]  # W[iofc]
    assert forget.any() == ("input_forget" not in name)


@pytest.mark.parametrize("name", IN_REFERENCE_EVALUATOR)
def test_the_equations_are_onnxs(name: str, rng: np.random.Generator) -> None:
    peer = PEERS[name]()
    case = draw(rng, peer)
    expected = by_reference_evaluator(peer, case.weights, case.given)
    assert largest_error(expected, {key: case.expected[key] for key in FORWARD})[0] < TOLERANCE


@pytest.mark.parametrize("name", IN_ONNX_RUNTIME)
def test_onnx_runtime_agrees_to_its_rounding(name: str, rng: np.random.Generator) -> None:
    """On arrays that float32 holds exactly, ours in float64."""
    peer = PEERS[name]()
    case = draw(rng, peer)
    rounded = in_float32(case)
    exact = dataclasses.replace(
        case,
        weights={key: array.astype(np.float64) for key, array in rounded.weights.items()},
        given={key: array.astype(np.float64) for key, array in rounded.given.items()},
    )
    ours = run_ours(exact)
    theirs = by_onnx_runtime(peer, rounded.weights, rounded.given)
    error, where = largest_error({key: ours[key] for key in FORWARD}, theirs)
    assert error < float32_tolerance(exact), where


@pytest.mark.parametrize(("one", "other"), [("i", "o"), ("i", "f"), ("o", "f"), ("f", "g")])
def test_the_comparison_sees_gates_exchanged(one: str, other: str, rng: np.random.Generator) -> None:
    case = draw(rng, onnx_peer("bidirectional", peepholes=True))
    letters = {one: other, other: one}

    def exchanged(axis: str) -> str:
        return " ".join(letters.get(word, word) for word in axis.split())

    pieces = tuple(dataclasses.replace(piece, axes=tuple(map(exchanged, piece.axes))) for piece in case.layout.pieces[:3])
    faulty = dataclasses.replace(case.layout, pieces=(*pieces, case.layout.pieces[3]))
    assert largest_error(case.expected, run_ours(case, faulty))[0] > 1e-3


def test_the_comparison_sees_peepholes_exchanged(rng: np.random.Generator) -> None:
    case = draw(rng, onnx_peer("bidirectional", peepholes=True))
    peephole = dataclasses.replace(case.layout.pieces[3], axes=("directions", "i f o"))
    faulty = dataclasses.replace(case.layout, pieces=(*case.layout.pieces[:3], peephole))
    assert largest_error(case.expected, run_ours(case, faulty))[0] > 1e-3
