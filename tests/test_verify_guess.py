"""A forward pass that does not match: what would make it match is said, is right, is never applied, and is not said in vain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from verify_cases import Arrays, check, golden, oracle_of

import checks.oracle
import lstm
from checks.files.candidate import Reading
from checks.oracle.confirmation import Confirmation
from checks.verdict import Verdict
from lstm.layouts import LAYOUTS

SIZES = {"inputs": 5, "hidden": 5, "timesteps": 5, "batch": 5}  # so that wrong axes and transposes have the right shapes
WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@pytest.fixture(autouse=True)
def believed(monkeypatch):
    monkeypatch.setattr(checks.oracle, "confirm", lambda *_, **__: Confirmation(True, 0.0, 0, 0, 0.0, 0.0, 0))


def blocks(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([np.split(array, 4)[index] for index in order])


def block_transposes(array: np.ndarray) -> np.ndarray:
    return np.concatenate([block.T for block in np.split(array, 4)])


def with_order(arrays: Arrays, order: str) -> Arrays:
    """The same network, its gate blocks laid out in this order where PyTorch has i f g o."""
    indices = tuple("ifgo".index(gate) for gate in order)
    return arrays | {name: blocks(arrays[name], indices) for name in WEIGHTS}


def forget_bias(arrays: Arrays, amount: float) -> Arrays:
    return arrays | {"bias_hh_l0": arrays["bias_hh_l0"] + amount * np.repeat([0, 1, 0, 0], 5)}


def swapped(arrays: Arrays, first: str, second: str) -> Arrays:
    return arrays | {first: arrays[second], second: arrays[first]}


# What is done to a right file so that its outputs are those of another network, and what is to be said
MISTAKES = {
    "recurrent transposed": (lambda a: a | {"weight_hh_l0": block_transposes(a["weight_hh_l0"])},
                             "with each gate's block of the recurrent matrix transposed"),
    "input transposed": (lambda a: a | {"weight_ih_l0": block_transposes(a["weight_ih_l0"])},
                         "with each gate's block of the input matrix transposed"),
    "forget offset": (lambda a: forget_bias(a, -1), "with 1 added to the forget gate's bias"),
    "forget offset counted twice": (lambda a: forget_bias(a, 1), "with 1 taken from the forget gate's bias"),
    "matrices swapped": (lambda a: swapped(a, "weight_ih_l0", "weight_hh_l0"), "with the input and recurrent matrices swapped"),
    "h and c swapped": (lambda a: swapped(a, "h0", "c0"), "with h0 and c0 swapped"),
    "final h and c swapped": (lambda a: swapped(a, "h_n", "c_n"), "with h_n and c_n swapped"),
    "axes": (lambda a: a | {"inputs": a["inputs"].transpose(1, 0, 2)}, "of inputs in the axes BTD"),
    "axes all": (lambda a: a | {"inputs": a["inputs"].transpose(2, 1, 0)}, "of inputs in the axes DBT"),
    "inputs reversed": (lambda a: a | {"inputs": a["inputs"][::-1]}, "of inputs in the reverse order of time"),
    "outputs reversed": (lambda a: a | {"outputs": a["outputs"][::-1]}, "with the outputs in the reverse order of time"),
}  # fmt: skip


@pytest.fixture(scope="module")
def right() -> tuple[Arrays, Reading]:
    return golden("torch", **SIZES, seed=11)


@pytest.mark.parametrize("order", ["".join(order) for order in itertools.permutations("ifgo") if order != tuple("ifgo")])
def test_every_gate_order_is_named(right, order):
    """The file's blocks lie in ``order``; it is read as i f g o, so the outputs given are those of ``order``."""
    arrays, reading = right
    report = check(with_order(arrays, order), reading)
    assert report.verdict is Verdict.DISAGREES
    assert report.guesses == (f"of gate order {' '.join(order)} (the layout reads i f g o)",)
    assert {each.verdict for each in report.parameters} == {Verdict.INCONCLUSIVE}  # said, not applied


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(right, name):
    arrays, reading = right
    change, words = MISTAKES[name]
    report = check(change(arrays), reading)
    assert report.verdict is Verdict.DISAGREES
    assert words in report.guesses, report.guesses
    assert f"your results are those {words}." in " ".join(str(report).split())


def test_a_bias_that_was_left_out(right):
    arrays, reading = right
    report = check(arrays | {"bias_ih_l0": np.ones(20), "bias_hh_l0": arrays["bias_ih_l0"] + arrays["bias_hh_l0"]}, reading)
    assert report.guesses == ("without bias_ih_l0",)


def test_two_arrays_exchanged():
    arrays, reading = golden("torch", **SIZES, bidirectional=True, seed=12)
    exchanged = swapped(arrays, "weight_hh_l0", "weight_hh_l0_reverse")
    assert "with weight_hh_l0 and weight_hh_l0_reverse swapped" in check(exchanged, reading).guesses
    halves = np.concatenate([arrays["outputs"][..., 5:], arrays["outputs"][..., :5]], axis=-1)
    assert check(arrays | {"outputs": halves}, reading).guesses == ("with the reverse direction's outputs first",)
    flipped = np.concatenate([arrays["outputs"][..., :5], arrays["outputs"][::-1, :, 5:]], axis=-1)
    words = "with the reverse direction's outputs in its own order of time"
    assert check(arrays | {"outputs": flipped}, reading).guesses == (words,)


@pytest.mark.parametrize(("layout", "read"), [("keras", "ifgo"), ("onnx", "iofg"), ("flax", "ifgo")])
def test_the_order_is_that_of_the_layouts_own_file(layout, read):
    """The blocks of the file lie in the order g i o f, where the layout reads another; for flax, each in an array of its own."""
    arrays, _ = golden("canonical", seed=13)
    layer = lstm.Layer(*(arrays[f"layers.0.{name}"] for name in ("w_x", "w_h", "b")))
    holds = dict(zip(read, "giof", strict=True))  # what the layout reads as this gate is that one
    order = ["ifgo".index(holds[gate]) for gate in "ifgo"]
    misread = lstm.Layer(
        *(np.concatenate([np.split(array, 4, axis=-1)[k] for k in order], axis=-1) for array in (layer.w_x, layer.w_h, layer.b))
    )
    axes = LAYOUTS[layout].axes
    given = {name: arrays[name].transpose(["TBD".index(letter) for letter in axes]) for name in ("inputs", "outputs")}
    given |= {name: arrays[name] for name in ("h0", "c0")}
    report = check(LAYOUTS[layout].write((misread,)) | given, Reading(LAYOUTS[layout]))
    assert report.guesses == (f"of gate order g i o f (the layout reads {' '.join(read)})",)


def test_a_missing_tanh():
    """h = o * c: the outputs are unbounded, and everything after the first step differs."""
    linear = {"activations": lstm.Activations(output="identity")}
    arrays, _ = golden("canonical", **linear, seed=14)
    report = check(arrays, Reading(LAYOUTS["canonical"]))
    assert report.guesses == ("of h = o * c, without the tanh",)


def test_two_mistakes_at_once(right):
    arrays, reading = right
    report = check(swapped(forget_bias(arrays, -1), "h0", "c0"), reading)
    assert report.guesses == ("with 1 added to the forget gate's bias and with h0 and c0 swapped",)
    report = check(with_order(arrays, "igfo") | {"weight_hh_l0": block_transposes(with_order(arrays, "igfo")["weight_hh_l0"])}, reading)
    words = "with each gate's block of the recurrent matrix transposed and of gate order i g f o (the layout reads i f g o)"
    assert report.guesses == (words,)


def test_nothing_is_guessed_where_nothing_fits(right, rng):
    """A forward pass that is wrong in a way of its own; and one that is right to a millionth."""
    arrays, reading = right
    oracle = oracle_of(arrays, reading)
    words = ("None of the usual reasons makes it match", "So little is what float32 rounds")
    for outputs, said in zip((rng.standard_normal((5, 5, 5)), arrays["outputs"] * (1 + 1e-6)), words, strict=True):
        report = check(arrays | {"outputs": outputs}, reading, oracle)
        assert report.verdict is Verdict.DISAGREES
        assert report.guesses == ()
        assert said in " ".join(str(report).split())


def test_what_tf32_rounds_is_suspected(right):
    """A float32 file that is off by a thousandth, as products on a GPU make it by default."""
    arrays, reading = right
    single = {name: array.astype(np.float32) if array.dtype == np.float64 else array for name, array in arrays.items()}
    oracle = oracle_of(single, reading)
    for factor, said in ((1.001, True), (1.1, False)):
        report = check(single | {"outputs": single["outputs"] * np.float32(factor)}, reading, oracle)
        assert report.verdict is Verdict.DISAGREES
        assert ("--precision tf32" in str(report)) == said


def test_outputs_are_told_apart_from_final_states(right):
    arrays, reading = right
    report = check(arrays | {"c_n": arrays["c_n"] + 1e-3}, reading)
    assert [each.name for each in report.forward if each.verdict is Verdict.DISAGREES] == ["c_n"]
    assert str(report).startswith("DISAGREES: outputs agree but c_n not, so no gradient was judged.")
    assert "what did your program store as c_n" in " ".join(str(report).split())
    assert report.to_json()["forward"]["verdict"] == "disagrees"
    assert report.to_json()["checked"] == []
    assert "Checked: the forward pass only" in str(report)
