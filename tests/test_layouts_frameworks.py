"""Each framework's layout against the framework itself: outputs, final states, and every gradient as it differentiates itself.

Then faults are planted in the layout, one at a time, and the same comparison must see each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from layouts_case import Case, Peer, draw, float32_tolerance, largest_error, run_ours
from layouts_peers import keras, torch_lstm
from layouts_peers_jax import cudnn, equinox, flax_linen, flax_nnx, haiku

from lstm.layouts import Layout
from lstm.layouts.pieces import Piece, kind

# Of the largest entry: some 10 000 roundings of 1e-16, and what 0.7-sized weights amplify them by, stay far below it
TOLERANCE = 1e-12

PEERS: dict[str, Callable[[], Peer]] = {
    "torch": torch_lstm,
    "torch, 2 layers of 2 directions": lambda: torch_lstm(levels=2, bidirectional=True),
    "torch, projection": lambda: torch_lstm(projected=True),
    "torch, projection, 2 layers of 2 directions": lambda: torch_lstm(levels=2, bidirectional=True, projected=True),
    "torch, no bias": lambda: torch_lstm(bias=False),
    "keras": keras,
    "keras, 2 layers of 2 directions, other activations": lambda: keras(2, bidirectional=True, gate="hard_sigmoid", activation="softsign"),
    "keras, no bias": lambda: keras(use_bias=False),
    "flax linen": lambda: flax_linen("LSTMCell"),
    "flax linen, optimized, other activations": lambda: flax_linen("OptimizedLSTMCell", gate="hard_sigmoid", activation="soft_sign"),
    "flax linen, 2 layers of 2 directions": lambda: flax_linen("LSTMCell", bidirectional=True, levels=2),
    "flax nnx": lambda: flax_nnx("LSTMCell", "flax-nnx"),
    "flax nnx, read as flax, 2 directions": lambda: flax_nnx("LSTMCell", "flax", bidirectional=True),
    "flax nnx, optimized": lambda: flax_nnx("OptimizedLSTMCell", "flax-nnx-optimized"),
    "flax nnx, optimized, read as flax, 2 directions": lambda: flax_nnx("OptimizedLSTMCell", "flax", bidirectional=True),
    "equinox": equinox,
    "equinox, 2 layers": lambda: equinox(levels=2),
    "equinox, no bias": lambda: equinox(use_bias=False),
    "haiku": haiku,
    "haiku, 2 layers": lambda: haiku(levels=2),
    "jax-cudnn, 2 layers": lambda: cudnn(levels=2),
    "jax-cudnn, 2 layers of 2 directions": lambda: cudnn(levels=2, bidirectional=True),
}

FAULTED = ("torch, projection", "keras", "flax linen", "flax nnx", "flax nnx, optimized", "equinox", "haiku", "jax-cudnn, 2 layers")


@pytest.mark.parametrize("name", [name for name in PEERS if name not in FAULTED])
def test_the_layout_agrees_with_the_framework(name: str, rng: np.random.Generator) -> None:
    case = draw(rng, PEERS[name]())
    error, where = largest_error(case.expected, run_ours(case))
    assert error < TOLERANCE, where


def test_kerass_own_tanh_agrees_to_its_rounding(rng: np.random.Generator) -> None:
    case = draw(rng, keras(own_tanh=True))
    error, where = largest_error(case.expected, run_ours(case))
    assert TOLERANCE < error < float32_tolerance(case), where


def faults(layout: Layout) -> Iterator[tuple[str, Layout]]:
    """The layout with one fault planted: two gates exchanged, in all its arrays or in one; states or biases treated wrongly."""

    def exchanged(piece: Piece, one: str, other: str) -> Piece:
        letters = {one: other, other: one}
        axes = tuple(
            " ".join(letters.get(word, word) for word in axis.split()) if kind(axis) == "gates" else axis for axis in piece.axes
        )
        return dataclasses.replace(piece, axes=axes, gate=letters.get(piece.gate, piece.gate))

    def with_pieces(change: Callable[[Piece], Piece]) -> Layout:
        return dataclasses.replace(layout, pieces=tuple(map(change, layout.pieces)), spellings=())

    for one, other in combinations("ifgo", 2):
        yield f"{one} and {other} exchanged", with_pieces(lambda piece, a=one, b=other: exchanged(piece, a, b))
    for chosen in ("x", "h", "bias"):
        yield (
            f"i and f exchanged in {chosen}",
            with_pieces(lambda piece, chosen=chosen: exchanged(piece, "i", "f") if piece.sources == (chosen,) else piece),
        )
    yield "forget offset", dataclasses.replace(layout, forget_offset=1.0 - layout.forget_offset)


def transposed(case: Case) -> Case:
    """Each gate's square matrix on h, transposed on the way in."""

    class Transposing(type(case.layout)):  # type: ignore[misc]
        def read(self, arrays: Any, attributes: Any = None) -> tuple[Any, ...]:
            layers = super().read(arrays, attributes)
            blocks = [np.asarray(block).T for block in np.split(layers[0].w_h, 4, axis=1)]
            return (dataclasses.replace(layers[0], w_h=np.concatenate(blocks, axis=1)), *layers[1:])

    fields = {field.name: getattr(case.layout, field.name) for field in dataclasses.fields(case.layout)}
    return dataclasses.replace(case, layout=Transposing(**fields))


@pytest.mark.parametrize("name", FAULTED)
def test_the_comparison_sees_a_fault_in_the_layout(name: str, rng: np.random.Generator) -> None:
    """Each moves some array by more than a thousandth: a billion times the tolerance."""
    case = draw(rng, PEERS[name]())
    assert largest_error(case.expected, run_ours(case))[0] < TOLERANCE
    for fault, layout in faults(case.layout):
        if layout == case.layout:  # no array holds that source alone
            continue
        assert largest_error(case.expected, run_ours(case, layout))[0] > 1e-3, fault
    if case.expected["h_n"].shape[-1] == case.expected["c_n"].shape[-1]:
        assert largest_error(case.expected, run_ours(transposed(case)))[0] > 1e-3
        swapped = case.given | {"h0": case.given["c0"], "c0": case.given["h0"]}
        assert largest_error(case.expected, run_ours(dataclasses.replace(case, given=swapped)))[0] > 1e-3
