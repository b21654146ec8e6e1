"""`lstm` against PyTorch's ``nn.LSTM`` itself, on shapes and values drawn here: float64, float32, and inside JAX models."""

from __future__ import annotations

import importlib.util
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from torch_case import (
    FAULTY_STEPS,
    assert_agree,
    forward_results,
    gradient_results,
    layer_of,
    relative_error,
    run_ours,
    state_of,
    tolerance,
    tolerances,
)
from torch_reference import Arrays, Shape, draw, run, widened

import lstm
from lstm import cell

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # for products this small, two threads took ten times the CPU time of one

DRAWS = 3  # cases drawn of each kind: one shape, so that JAX compiles once, and fresh values
KINDS = {
    "upstream": {},
    "upstream, zero state": {"zero_state": True},
    "upstream, lengths": {"lengths": True},
    "squared error mean": {"loss": "squared_error", "readout": True},
    "squared error sum, lengths": {"loss": "squared_error", "reduction": "sum", "readout": True, "lengths": True},
    "squared error mean, no readout": {"loss": "squared_error", "lengths": True, "zero_state": True},
    "labels sum": {"loss": "cross_entropy", "targets": "labels", "reduction": "sum", "readout": True},
    "labels mean, lengths": {"loss": "cross_entropy", "targets": "labels", "readout": True, "lengths": True},
    "probabilities mean": {"loss": "cross_entropy", "targets": "probabilities", "readout": True, "zero_state": True},
    "probabilities sum, lengths": {
        "loss": "cross_entropy",
        "targets": "probabilities",
        "reduction": "sum",
        "lengths": True,
    },
}


def random_shape(rng: np.random.Generator, readout: bool = True) -> Shape:
    """T, B, D, H and K from 2 to 12, no two the same."""
    *sizes, outputs = (int(size) for size in rng.permutation(np.arange(2, 13))[:5])
    return Shape(*sizes, K=outputs if readout else 0)


def drawn_cases(rng: np.random.Generator, kind: str, dtype: Any) -> list[Arrays]:
    options = dict(KINDS[kind])
    shape = random_shape(rng, options.pop("readout", False))
    print(f"{kind}: {shape}")
    padded = options.pop("lengths", False)
    cases = []
    for _ in range(DRAWS):
        lengths = rng.integers(1, shape.T, shape.B, endpoint=True) if padded else None  # PyTorch has no length 0
        cases.append(draw(rng, shape, lengths=lengths, dtype=dtype, **options))
    return cases


@pytest.mark.parametrize("kind", KINDS)
def test_float64_equals_pytorch(kind: str, rng: np.random.Generator) -> None:
    for case in drawn_cases(rng, kind, np.float64):
        expected = run(case)
        assert_agree(expected, run_ours(case), tolerances(case, expected))


def test_a_long_sequence_equals_pytorch(rng: np.random.Generator) -> None:
    case = draw(rng, Shape(T=200, B=3, D=4, H=7))
    expected = run(case)
    assert_agree(expected, run_ours(case), tolerances(case, expected))


def assert_as_accurate_as_pytorch(case: Arrays, got: Arrays) -> None:
    """float32 ``got``, judged by PyTorch's float64 on the same numbers, and by how far its own float32 is from that.

    Both make roundings of the same number and size but for the gates' sigmoid, where ours is ½ tanh(½z) + ½: its
    error is absolute, u of 1, where that of 1 / (1 + e^-z) is relative, so on a gate that is open by a third or
    a fifth ours errs 2 to 3 times as much. The largest of some hundred errors varies by half as much again: 4.
    The errors are pooled over all arrays, as one array of few entries may be right by luck. What PyTorch's luck
    could excuse is bounded by `tolerance`.
    """
    truth, pytorch = run(widened(case)), run(case)
    assert all(array.dtype == np.float32 for array in got.values())
    factor = 4
    pytorch_error = max(relative_error(array, pytorch[name]) for name, array in truth.items())
    allowed = min(factor * pytorch_error, tolerance(case, np.float32))
    assert_agree(truth, got, dict.fromkeys(truth, allowed))


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_as_accurate_as_pytorch(kind: str, rng: np.random.Generator) -> None:
    for case in drawn_cases(rng, kind, np.float32):
        assert_as_accurate_as_pytorch(case, run_ours(case))


def test_float32_an_error_in_one_entry_is_noticed(rng: np.random.Generator) -> None:
    case = drawn_cases(rng, "upstream", np.float32)[0]
    got = run_ours(case)
    for name, array in got.items():
        wrong = array.copy()
        wrong.flat[np.argmax(np.abs(array))] *= 1 + 1e-5
        with pytest.raises(AssertionError, match=f"^{name}: off by"):
            assert_as_accurate_as_pytorch(case, got | {name: wrong})


@jax.jit
def pulled_back(arguments: Any, lengths: Any, upstream: Any) -> Any:
    """-> `lstm.layer`'s results, and what its reverse rule makes of the upstream gradients on them."""

    def layer(parameters: Any, inputs: Any, state: Any) -> Any:
        return lstm.layer(parameters, inputs, state, lengths=lengths)

    results, pull_back = jax.vjp(layer, *arguments)
    return results, pull_back(upstream)


def layer_vjp(case: Arrays) -> Arrays:
    """What `run_ours` returns, but from `lstm.layer` under `jax.vjp`."""
    state = state_of(zeros_for_state(case))
    upstream = (case["d_outputs"], state_of(case, "d_h_n", "d_c_n"))
    results, gradients = pulled_back((layer_of(case), case["inputs"], state), case.get("lengths"), upstream)
    return forward_results(*results) | gradient_results(*gradients)


def zeros_for_state(case: Arrays) -> Arrays:
    return {"h0": np.zeros_like(case["d_h_n"]), "c0": np.zeros_like(case["d_c_n"])} | case


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("upstream")])
def test_layer_under_jax_vjp_equals_pytorch(kind: str, rng: np.random.Generator) -> None:
    for case in drawn_cases(rng, kind, np.float64):
        expected = run(case)
        with jax.enable_x64(True):
            got = layer_vjp(case)
        assert_agree(expected, got, tolerances(case, expected))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("upstream")])
def test_float32_layer_under_jax_vjp_is_as_accurate_as_pytorch(kind: str, rng: np.random.Generator) -> None:
    for case in drawn_cases(rng, kind, np.float32):
        assert_as_accurate_as_pytorch(case, layer_vjp(case))


def jax_model_gradients(case: Arrays, compiled: bool) -> Arrays:
    """A JAX program of its own readout and squared error around `lstm.layer`, differentiated by `jax.value_and_grad`."""

    def cost(parameters: Any, inputs: Any, state: Any, readout: Any) -> tuple[Any, Any]:
        outputs, final_state = lstm.layer(parameters, inputs, state)
        weight, bias = readout
        y = jnp.matmul(outputs, weight.T, precision="highest") + bias[None, None, :]
        return jnp.mean(jnp.sum((y - case["targets"]) ** 2, axis=-1)), (outputs, final_state)

    readout = (case["readout.weight"], case["readout.bias"])
    arguments = jax.tree.map(jnp.asarray, (layer_of(case), case["inputs"], state_of(case), readout))
    differentiated = jax.value_and_grad(cost, argnums=(0, 1, 2, 3), has_aux=True)
    if compiled:
        differentiated = jax.jit(differentiated)
    (value, results), (*d_layer_part, d_readout) = differentiated(*arguments)
    gradients = gradient_results(*d_layer_part) | {
        "grad.readout.weight": np.asarray(d_readout[0]),
        "grad.readout.bias": np.asarray(d_readout[1]),
    }
    return forward_results(*results) | gradients | {"cost": np.asarray(value)}


@pytest.mark.parametrize("compiled", [False, True])
def test_layer_inside_a_jax_model_equals_pytorch(compiled: bool, rng: np.random.Generator) -> None:
    case = drawn_cases(rng, "squared error mean", np.float64)[0]
    expected = run(case)
    with jax.enable_x64(True):
        got = jax_model_gradients(case, compiled)
    assert_agree(expected, got, tolerances(case, expected))


def test_layer_runs_the_hand_written_backward_pass(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the carry of dh taken out of the hand-written step, `jax.vjp` of the layer no longer equals PyTorch."""
    case = drawn_cases(rng, "upstream", np.float64)[0]
    expected = run(case)
    sound = cell.backward
    monkeypatch.setattr(cell, "backward", lambda *arguments: FAULTY_STEPS["dh carry dropped"](sound(*arguments)))
    with jax.enable_x64(True), jax.disable_jit():
        got = layer_vjp(case)
    with pytest.raises(AssertionError, match=r"^grad\.weight_ih_l0: off by"):
        assert_agree(expected, got, tolerances(case, expected))


def test_the_recorded_vectors_are_what_this_pytorch_answers() -> None:
    """The recorder's table draws the recorded cases exactly, and today's PyTorch answers them as recorded."""
    vectors = pathlib.Path(__file__).parent / "vectors"
    spec = importlib.util.spec_from_file_location("record_torch", vectors / "record_torch.py")
    recorder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recorder)
    assert {f"torch_{name}" for name in recorder.CASES} == {path.stem for path in vectors.glob("*.npz")}
    for name, (seed, shape, options) in recorder.CASES.items():
        case = draw(np.random.default_rng(seed), shape, **options)
        with np.load(vectors / f"torch_{name}.npz", allow_pickle=False) as file:
            recorded = {key: file[key] for key in file.files if key != "torch_version"}
        for key, array in case.items():
            np.testing.assert_array_equal(recorded.pop(key), array, err_msg=f"{name}: {key}")
        assert_agree(recorded, run(case), tolerances(case, recorded))
