"""`lstm` against what PyTorch's ``nn.LSTM`` answered when tests/vectors/ was recorded. PyTorch itself is not needed."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import jax
import numpy as np
import pytest
from torch_case import FAULTY_STEPS, assert_agree, run_ours, tolerances
from torch_reference import WEIGHTS, Arrays

from lstm import cell

VECTORS = pathlib.Path(__file__).parent / "vectors"
RECORDED = sorted(path.stem.removeprefix("torch_") for path in VECTORS.glob("torch_*.npz"))
ANSWERS = ("outputs", "h_n", "c_n", "cost")


def recorded(name: str) -> tuple[Arrays, Arrays]:
    """-> (what PyTorch was given, what it answered)."""
    with np.load(VECTORS / f"torch_{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files if key != "torch_version"}
    answers = {key: array for key, array in arrays.items() if key in ANSWERS or key.startswith("grad.")}
    return {key: array for key, array in arrays.items() if key not in answers}, answers


def assert_agrees_with_recorded(name: str, got: Arrays) -> None:
    case, expected = recorded(name)
    assert_agree(expected, got, tolerances(case, expected))


@pytest.mark.parametrize("name", RECORDED)
def test_forward_and_gradients_equal_pytorch(name: str) -> None:
    assert_agrees_with_recorded(name, run_ours(recorded(name)[0]))


def test_the_recorded_cases_cover_what_they_should() -> None:
    cases = {name: recorded(name) for name in RECORDED}
    assert len(cases) == 16
    for given, answered in cases.values():
        asked = {*WEIGHTS, "inputs", "h0", "c0"} | {key for key in given if key.startswith("readout.")}
        assert {key.removeprefix("grad.") for key in answered if key.startswith("grad.")} == asked
        assert all(np.any(array) for array in answered.values())  # nothing passes by being zero
    costs = {(str(g["loss"]), str(g["reduction"]), g["targets"].ndim) for g, _ in cases.values() if "loss" in g}
    assert costs == {
        ("squared_error", "mean", 3),
        ("squared_error", "sum", 3),
        ("cross_entropy", "mean", 2),
        ("cross_entropy", "mean", 3),
        ("cross_entropy", "sum", 2),
    }
    assert max(len(g["inputs"]) for g, _ in cases.values()) == 60
    for given, _ in cases.values():
        if "lengths" in given:
            assert len(set(given["lengths"])) == len(given["lengths"])
            assert max(given["lengths"]) == len(given["inputs"])
    sharp = [max(tolerances(*case).values()) < 1e-13 for name, case in cases.items() if name != "saturated"]
    assert all(sharp)


# From here on: the comparison above fails when something is wrong.


@pytest.mark.parametrize("name", RECORDED)
def test_one_entry_off_by_a_millionth_is_noticed(name: str) -> None:
    _, expected = recorded(name)
    for key, array in expected.items():
        # Not the largest; a quarter are larger. The lower half may be saturated gates', blurred by rounding more than that
        entry = np.argsort(np.abs(array), axis=None)[array.size - 1 - array.size // 4]
        wrong = array.copy()
        wrong.flat[entry] *= 1 + 1e-6
        with pytest.raises(AssertionError, match=f"^{key}: off by"):
            assert_agrees_with_recorded(name, expected | {key: wrong})


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_a_number_is_noticed(wrong: float) -> None:
    _, expected = recorded("upstream")
    array = expected["grad.weight_ih_l0"].copy()
    array[2, 1] = wrong
    with pytest.raises(AssertionError, match=r"^grad\.weight_ih_l0: off by (nan|inf) .* worst at \[2, 1\]"):
        assert_agrees_with_recorded("upstream", expected | {"grad.weight_ih_l0": array})


def test_a_missing_or_misshapen_array_is_noticed() -> None:
    _, expected = recorded("upstream")
    with pytest.raises(AssertionError, match=r"compared different arrays: \['grad.h0'\]"):
        assert_agrees_with_recorded("upstream", {key: array for key, array in expected.items() if key != "grad.h0"})
    with pytest.raises(AssertionError, match=r"grad.h0: expected shape"):
        assert_agrees_with_recorded("upstream", expected | {"grad.h0": expected["grad.h0"][0]})


def gates_as_ifog(case: Arrays) -> Arrays:
    """The weights as a library would read them that takes the last two gate blocks for o and g."""
    i, f, g, o = np.split(np.arange(case["bias_ih_l0"].size), 4)
    order = np.concatenate([i, f, o, g])
    return case | {name: case[name][order] for name in WEIGHTS}


def without(*names: str) -> Callable[[Arrays], Arrays]:
    return lambda case: {key: array for key, array in case.items() if key not in names}


def zeroed(name: str) -> Callable[[Arrays], Arrays]:
    return lambda case: case | {name: np.zeros_like(case[name])}


MISREADINGS = {
    "gates in another order": ("upstream", gates_as_ifog, "outputs"),
    "second bias forgotten": ("upstream", zeroed("bias_hh_l0"), "outputs"),
    "h0 and c0 exchanged": ("upstream", lambda case: case | {"h0": case["c0"], "c0": case["h0"]}, "outputs"),
    "initial state ignored": ("upstream", without("h0", "c0"), "outputs"),
    "lengths ignored": ("lengths", without("lengths"), "outputs"),
    "lengths sorted": ("lengths", lambda case: case | {"lengths": np.sort(case["lengths"])}, "outputs"),
    "upstream of h_n ignored": ("upstream", zeroed("d_h_n"), "grad.weight_ih_l0"),
    "upstream of c_n ignored": ("upstream", zeroed("d_c_n"), "grad.weight_ih_l0"),
    "sum for mean": ("squared_error_mean", lambda case: case | {"reduction": np.array("sum")}, "cost"),
    "mean for sum": ("cross_entropy_labels_sum_lengths", lambda case: case | {"reduction": np.array("mean")}, "cost"),
    "padding in the mean": ("squared_error_mean_lengths", without("lengths"), "cost"),
    "labels off by one": ("cross_entropy_labels_mean", lambda case: case | {"targets": (case["targets"] + 1) % 6}, "cost"),
}


@pytest.mark.parametrize("misreading", MISREADINGS)
def test_a_misread_case_is_noticed(misreading: str) -> None:
    name, misread, shows_in = MISREADINGS[misreading]
    with pytest.raises(AssertionError, match=f"(?m)^{shows_in}: off by"):
        assert_agrees_with_recorded(name, run_ours(misread(recorded(name)[0])))


@pytest.mark.parametrize("fault", FAULTY_STEPS)
@pytest.mark.parametrize("name", ["upstream", "squared_error_sum"])
def test_a_fault_in_the_backward_step_is_noticed(name: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = cell.backward
    monkeypatch.setattr(cell, "backward", lambda *arguments: FAULTY_STEPS[fault](sound(*arguments)))
    with jax.disable_jit():  # nothing compiled with the sound step is used, or kept with the faulty one
        got = run_ours(recorded(name)[0])
    with pytest.raises(AssertionError, match=r"^grad\.weight_ih_l0: off by"):
        assert_agrees_with_recorded(name, got)
