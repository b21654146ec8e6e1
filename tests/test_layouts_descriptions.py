"""Descriptions that say no LSTM, or one that does not hold the layers at hand: one line that names the key, expected and got."""

from __future__ import annotations

import pathlib
import tomllib

import numpy as np
import pytest
from layouts_case import D, H

import lstm
from lstm.layouts import described_layout, read_description

SMALL = '[arrays]\nW = ["bias x h", "gates"]\n'
WRONG = {
    "unknown key": ("gatess = 'i f g o'\n" + SMALL, "gatess: expected gates, perhaps; got this key"),
    "no arrays": ("axes = 'TBD'", "arrays: expected a table of the arrays, each with its axes; got None"),
    "arrays not a table": ("arrays = 3", "arrays: expected a table of the arrays, each with its axes; got 3"),
    "gate order": (
        "gates = 'i f g'\n" + SMALL,
        "gates: expected i, f, g, o in some order (or i, g, o, where f = 1 - i), with spaces; got 'i f g'",
    ),
    "gate twice": (
        "gates = 'i f f o'\n" + SMALL,
        "gates: expected i, f, g, o in some order (or i, g, o, where f = 1 - i), with spaces; got 'i f f o'",
    ),
    "axes": ("axes = 'TBX'\n" + SMALL, "axes: expected the letters T, B, D in some order; got 'TBX'"),
    "state axes": ("state_axes = 'BD'\n" + SMALL, "state_axes: expected the letters B, H in some order; got 'BD'"),
    "activation": (
        "output_activation = 'none'\n" + SMALL,
        "output_activation: expected one of sigmoid, tanh, identity, relu, softsign, hard_sigmoid(SLOPE); got 'none'",
    ),
    "offset": ("forget_offset = nan\n" + SMALL, "forget_offset: expected a finite number; got nan"),
    "offset of no gate": (
        "gates = 'i g o'\nforget_offset = 1\n" + SMALL,
        "forget_offset: expected none where the forget gate is coupled, f = 1 - i; got 1",
    ),
    "clip": ("cell_clip = -3\n" + SMALL, "cell_clip: expected a positive number; got -3"),
    "clip's derivative": (
        "cell_clip_derivative = 'true'\n" + SMALL,
        "cell_clip_derivative: expected only beside cell_clip, the bound; got it alone",
    ),
    "name": ("name = 3\n" + SMALL, "name: expected a text on one line; got 3"),
    "gate name": ("gate_names = {h = 'x'}\n" + SMALL, "gate_names.h: expected one of i, f, g, o; got this key"),
    "same gate name": (
        "gate_names = {f = 'i'}\n" + SMALL,
        "gate_names: expected different texts; got 'i' for i and f",
    ),
    "numbered names": ("first_layer = 1\n" + SMALL, "first_layer: expected only where an array's name has {layer}; got it, and none has"),
    "placeholder": (
        '[arrays]\n"W{level}" = ["bias x h", "gates"]',
        "arrays.W{level}: expected a name with no braces but {gate}, {layer}, {direction}; got 'W{level}'",
    ),
    "axes not a list": ('[arrays]\nW = "x"', "arrays.W: expected a list of texts, one for each axis; got 'x'"),
    "axis of nothing known": (
        '[arrays]\nW = ["bias y h", "gates"]',
        "arrays.W: expected an axis of x, h, bias, peephole, gates, unit, projected, directions, layers or gates such as "
        "'i f g o'; got 'bias y h'",
    ),
    "axis of two kinds": (
        '[arrays]\nW = ["x unit", "gates"]',
        "arrays.W: expected an axis of x, h, bias, peephole, gates, unit, projected, directions, layers or gates such as "
        "'i f g o'; got 'x unit'",
    ),
    "kind of axis twice": ('[arrays]\nW = ["x", "h", "gates"]', "arrays.W: expected each kind of axis once; got x, h, i f g o"),
    "no gates": ('[arrays]\nW = ["x h", "unit"]', "arrays.W: expected an axis of gates (or {gate} in the name); got x h, unit"),
    "gates twice over": (
        '[arrays]\n"W{gate}" = ["x h", "gates"]',
        "arrays.W{gate}: expected an array of one gate to have an axis unit and none of gates; got x h, i f g o",
    ),
    "h missing": ('[arrays]\nW = ["x", "gates"]', "arrays: expected the weights of gate i on h in one array; got 0"),
    "x twice": (
        '[arrays]\nW = ["x h", "gates"]\nV = ["x", "gates"]',
        "arrays: expected the weights of gate i on x in one array; got 2",
    ),
    "gate missing": (
        '[arrays]\nW = ["x h", "i f o"]',
        "arrays: expected the weights of gate g on x in one array; got 0",
    ),
    "three biases": (
        SMALL + 'b = ["gates"]\nB = ["gates"]',
        "arrays: expected no bias, or one or two for each gate; got 3 for i, 3 for f, 3 for g, 3 for o",
    ),
    "biases of some gates": (
        '[arrays]\nW = ["x h", "gates"]\nb = ["i f"]',
        "arrays: expected no bias, or one or two for each gate; got 1 for i, 1 for f, 0 for g, 0 for o",
    ),
    "peepholes of some gates": (
        SMALL + 'p = {axes = ["i f"], holds = "peephole"}',
        "arrays: expected one peephole for each gate but g; got 1 for i, 1 for f",
    ),
    "holds": (
        SMALL + 'p = {axes = ["gates"], holds = "weights"}',
        "arrays.p.holds: expected bias or peephole, for an array none of whose axes says it; got 'weights'",
    ),
    "optional weights": (
        '[arrays]\nW = {axes = ["bias x h", "gates"], optional = true}',
        "arrays.W.optional: expected true or false, and false for weights on x or h; got True",
    ),
    "projection": (
        SMALL + 'V = ["projected", "x"]',
        "arrays.V: expected the projection to have the axes unit and projected; got projected, x",
    ),
    "some names numbered": (
        '[arrays]\nW = ["x", "gates"]\n"V{layer}" = ["h", "gates"]',
        "arrays: expected {layer} in every name, or the axis layers in every array, or neither; got a mixture",
    ),
    "same name": (
        '[arrays]\n"b{gate}" = ["unit"]\nbi = ["gates"]\nW = ["x h", "gates"]',
        "arrays: expected different names; got bi 2 times",
    ),
    "unquoted dots": ('[arrays]\na.W = ["bias x h", "gates"]', "arrays.a.W: expected one of axes, holds, gate, optional; got this key"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_description_that_is_wrong(fault: str) -> None:
    said, message = WRONG[fault]
    with pytest.raises(lstm.BadInput) as error:
        described_layout(tomllib.loads(said))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"axes = ", "expected TOML; got "),
        (b"axes = 'TBD'\naxes = 'TBD'", "expected TOML; got "),
        (b"\xff\xfe", "expected TOML; got 'utf-8' codec can't decode byte"),
        (b"a = " + b"[" * 100_000, "expected TOML; got "),
        (b"a = " + b"1" * 5000, "expected TOML; got "),
        (b"#" * 2_000_000, "expected a layout's description, of at most 1048576 bytes; got more"),
    ],
)
def test_a_file_that_is_no_description(content: bytes, message: str, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(lstm.BadInput) as error:
        read_description(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_files_are_read_and_missing_ones_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    assert read_description(path).name == "mine"
    with pytest.raises(lstm.BadInput, match=r"none\.toml: expected a layout's description, in TOML; got No such file"):
        read_description(tmp_path / "none.toml")


def test_what_a_description_cannot_hold(rng: np.random.Generator) -> None:
    layer = lstm.Layer(w_x=rng.standard_normal((D, 4 * H)), w_h=rng.standard_normal((H, 4 * H)), b=rng.standard_normal(4 * H))
    refusals = {
        '[arrays]\nW = ["x h", "gates"]': "layers[0]: the layout described has no bias and cannot hold one that is not zero",
        "gates = 'i g o'\n" + SMALL: "layers[0]: the layout described cannot hold a forget gate of its own",
        SMALL + 'V = ["unit", "projected"]': "layers[0]: the layout described cannot hold a layer without a projection",
        SMALL + 'p = {axes = ["gates"], holds = "peephole"}': "layers[0]: the layout described cannot hold a layer without peepholes",
        "output_activation = 'identity'\n" + SMALL: "layers: the layout described cannot hold the activations sigmoid, tanh, tanh "
        "with no clipping of the cell state",
    }
    for said, message in refusals.items():
        with pytest.raises(lstm.BadInput) as error:
            described_layout(tomllib.loads(said)).write((layer,))
        assert str(error.value) == message
