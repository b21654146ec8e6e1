"""The words for a place, and the explanation of a file, against what reading the file really does."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import jax
import numpy as np
import pytest

import lstm
from lstm.layouts import LAYOUTS, Layout, described_layout

D, H, P = 3, 4, 2
VARIANTS = ("torch", "keras", "flax", "haiku", "onnx", "jax-cudnn", "canonical")
ORDER = {4: "ifgo", 3: "igo"}


def layer(rng: np.random.Generator, features: int, **options: bool) -> lstm.Layer:
    blocks, recurrent = (3 if options.get("coupled") else 4), (P if options.get("projection") else H)
    return lstm.Layer(
        w_x=rng.standard_normal((features, blocks * H)),
        w_h=rng.standard_normal((recurrent, blocks * H)),
        b=rng.standard_normal(blocks * H),
        peepholes=rng.standard_normal((blocks - 1, H)) if options.get("peepholes") else None,
        projection=rng.standard_normal((H, P)) if options.get("projection") else None,
    )


def example(rng: np.random.Generator, name: str) -> tuple[Layout, tuple[Any, ...]]:
    """As many variants at once as the layout holds."""
    options = {"torch": {"projection": True}, "onnx": {"peepholes": True, "coupled": True}}.get(name, {})
    if name == "canonical":
        options = {"projection": True, "peepholes": True}
    both = (lstm.Bidirectional(layer(rng, D, **options), layer(rng, D, **options)),)
    above = () if name == "onnx" else (lstm.Bidirectional(*(layer(rng, 2 * both[0].forward.recurrent_size, **options) for _ in range(2))),)
    return LAYOUTS[name], both + above


def moved(
    layout: Layout, weights: dict[str, np.ndarray], attributes: Any, name: str, index: tuple[int, ...]
) -> list[tuple[int, str, tuple[int, ...]]]:
    """(which layer, field, index) of every canonical entry that changes when one entry of an array does."""
    before = layout.read(weights, attributes)
    changed = weights[name].copy()
    changed[index] += 1
    after = layout.read(weights | {name: changed}, attributes)
    found = []
    number = {"forward": 0, "reverse": 1}
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True):
        for place in np.argwhere(one != other):
            found.append((2 * path[0].idx + number[path[1].name], path[2].name, tuple(int(at) for at in place)))
    return found


def words(layers: tuple[Any, ...], which: int, field: str, index: tuple[int, ...]) -> list[str]:
    """What a place's description must contain, from the canonical conventions alone."""
    one = [part for level in layers for part in (level.forward, level.reverse)][which]
    gates = ORDER[one.b.size // H]
    if field == "projection":
        return [f"unit {index[0]}", f"to h {index[1]}"]
    if field == "peepholes":
        return [gates.replace("g", "")[index[0]], f"unit {index[1]}", "from c"]
    gate, unit = divmod(index[-1], H)
    source = {"w_x": ["from x {}"], "w_h": ["from h {}"], "b": []}[field]
    return [gates[gate], f"unit {unit}", *(text.format(index[0]) for text in source)]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_place_is_what_reading_makes_of_it(name: str, rng: np.random.Generator) -> None:
    layout, layers = example(rng, name)
    weights, attributes = layout.write(layers), layout.attributes_of(layers)
    for key, array in weights.items():
        for _ in range(6):
            index = tuple(int(rng.integers(size)) for size in array.shape)
            place = layout.describe(key, index, weights, attributes)
            said = re.fullmatch(rf"{re.escape(key)}\[(.*)\]", place)
            assert said is not None, place
            parts = said.group(1).split(", ")
            changes = moved(layout, weights, attributes, key, index)
            if not changes:
                assert parts[-1] == "unused", place
                continue
            ((which, field, where),) = changes
            wanted = words(layers, which, field, where)
            assert [part for part in parts if part in wanted] == wanted, (place, wanted)
            extra = {"forward", "reverse", "bias", "second bias", *(f"layer {k} {d}" for k in (0, 1) for d in ("forward", "reverse"))}
            assert set(parts) - set(wanted) <= extra, place
            direction = ("forward", "reverse")[which % 2]
            assert not any(word in place.split("[")[1] for word in {"forward", "reverse"} - {direction}), place


def test_places_read_well(rng: np.random.Generator) -> None:
    torch = {"weight_ih_l0": (4 * H, D), "weight_hh_l0": (4 * H, H), "bias_ih_l0": (4 * H,)}
    weights = {name: rng.standard_normal(shape) for name, shape in torch.items()}
    describe = LAYOUTS["torch"].describe
    assert describe("weight_hh_l0", (H + 3, 2), weights) == "weight_hh_l0[f, unit 3, from h 2]"
    assert describe("weight_ih_l0", (3 * H, 1), weights) == "weight_ih_l0[o, unit 0, from x 1]"
    assert describe("bias_ih_l0", (2 * H + 1,), weights) == "bias_ih_l0[g, unit 1]"
    assert describe("inputs", (5, 0, 2), weights) == "inputs[5, 0, 2]"
    W, R, B = rng.standard_normal((1, 4 * H, D)), rng.standard_normal((1, 4 * H, H)), rng.standard_normal((1, 8 * H))
    onnx = {"W": W, "R": R, "B": B}
    assert LAYOUTS["onnx"].describe("B", (0, 5 * H), onnx) == "B[o, unit 0, second bias]"
    assert LAYOUTS["onnx"].describe("W", (0, 2 * H, 1), onnx, {"input_forget": 1}) == "W[0, 8, 1, unused]"


def test_the_explanation_of_a_described_file() -> None:
    layout = described_layout(
        tomllib.loads('output_activation = "identity"\ngates = "i f o g"\naxes = "DBT"\n[arrays]\nWLSTM = ["bias x h", "gates"]'), "mine"
    )
    assert layout.explain({"WLSTM": np.ones((1 + D + H, 4 * H))}).splitlines() == [
        "layout mine: inputs (D, B, T), states (H, B)",
        "activations: sigmoid for the gates, tanh for the candidate, h = o * c",
        "layer 0, forward: D = 3, H = 4, R = 4",
        "WLSTM, shape (8, 16)",
        "  rows 0           bias",
        "  rows 1-3         from x 0-2",
        "  rows 4-7         from h 0-3",
        "  columns 0-3      gate i, units 0-3",
        "  columns 4-7      gate f, units 0-3",
        "  columns 8-11     gate o, units 0-3",
        "  columns 12-15    gate g, units 0-3",
    ]


def test_the_explanation_of_arrays_of_one_gate() -> None:
    layout = described_layout(
        tomllib.loads('forget_offset = 1\ncell_clip = 3\n[arrays]\n"W{gate}" = ["unit", "h x"]\n"b{gate}" = ["unit", "bias"]'), "mine"
    )
    weights = {f"W{gate}": np.ones((H, H + D)) for gate in "ifgo"} | {f"b{gate}": np.ones((H, 1)) for gate in "ifgo"}
    lines = layout.explain(weights).splitlines()
    assert lines[2:4] == ["forget gate: 1 is added to its pre-activation", "cell state: clipped at 3, derivative true"]
    at = lines.index("Wf, shape (4, 7): gate f")
    assert lines[at + 1 : at + 4] == ["  rows 0-3         units 0-3", "  columns 0-3      from h 0-3", "  columns 4-6      from x 0-2"]
    assert lines[-2:] == ["bo, shape (4, 1): gate o, bias", "  rows 0-3         units 0-3"]


def test_the_explanation_of_unused_entries() -> None:
    arrays = {"W": np.ones((2, 4 * H, D)), "R": np.ones((2, 4 * H, H)), "P": np.ones((2, 3 * H))}
    lines = LAYOUTS["onnx"].explain(arrays, {"input_forget": 1}).splitlines()
    assert lines[2] == "layer 0, forward: D = 3, H = 4, R = 4, input and forget gates coupled"
    assert lines[lines.index("P, shape (2, 12): from c") :] == [
        "P, shape (2, 12): from c",
        "  rows 0           forward",
        "  rows 1           reverse",
        "  columns 0-3      gate i, units 0-3",
        "  columns 4-7      gate o, units 0-3",
        "  columns 8-11     unused, since f = 1 - i",
    ]


@pytest.mark.parametrize("name", VARIANTS)
def test_an_explanation_says_what_each_place_says(name: str, rng: np.random.Generator) -> None:
    """Every gate, and every source, that a place on a row or column names is on the line of that row or column, or in the heading."""
    layout, layers = example(rng, name)
    weights, attributes = layout.write(layers), layout.attributes_of(layers)
    sections = re.split(r"\n(?=\S+, shape)", layout.explain(weights, attributes))[1:]
    assert [section.split(",")[0] for section in sections] == list(weights)
    for section, (key, array) in zip(sections, weights.items(), strict=True):
        heading, *lines = section.splitlines()
        labels = {1: ["entries"], 2: ["rows", "columns"], 3: ["axis 0:", "axis 1:", "axis 2:"]}[array.ndim]
        for _ in range(6):
            index = tuple(int(rng.integers(size)) for size in array.shape)
            texts = [heading]
            for label, at in zip(labels, index, strict=True):
                spans = [re.match(rf"  {label} (\d+)(?:-(\d+))?\b *(.*)", line) for line in lines]
                texts += [span[3] for span in spans if span and int(span[1]) <= at <= int(span[2] or span[1])]
            said = layout.describe(key, index, weights, attributes).split("[")[1].rstrip("]").split(", ")
            if "unused" in said:
                assert any("unused" in text for text in texts)
                continue
            for word in said:
                kind, _, number = word.rpartition(" ")
                if word in ("i", "f", "g", "o"):
                    assert any(f"gate {word}" in text for text in texts), (key, index, word, texts)
                elif number.isdigit() and kind != "layer":
                    assert any(_covers(text, kind, int(number)) for text in texts), (key, index, word, texts)


def _covers(text: str, kind: str, number: int) -> bool:
    found = re.search(rf"{kind}s? (\d+)(?:-(\d+))?", text)
    return found is not None and int(found[1]) <= number <= int(found[2] or found[1])
