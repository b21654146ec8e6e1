"""The examples do what they say, and notice when they are broken."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import checks
import lstm
from checks.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def test_the_adding_problem_is_learned_alike_by_hand_and_by_autodiff() -> None:
    """The first updates agree to float32 rounding, before training, which is chaotic, spreads it."""
    example = runpy.run_path(str(EXAMPLES / "adding_problem.py"))
    by_hand = example["train"](example["hand_differentiated"], 12)
    by_autodiff = example["train"](example["automatically_differentiated"], 12)
    np.testing.assert_allclose(by_hand, by_autodiff, rtol=1e-4)  # 12 updates, each off by at most some 1e-6
    assert by_hand[-1] < 0.5 * by_hand[0]


def test_the_numpy_lstm_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLES / "numpy_lstm.py"))
    assert example["main"]() == 0
    assert "numpy_lstm" in capsys.readouterr().out


def test_a_broken_numpy_lstm_is_noticed() -> None:
    example = runpy.run_path(str(EXAMPLES / "numpy_lstm.py"))
    rng = np.random.default_rng(1)
    network = lstm.init_network(1, input_size=2, hidden_size=3)
    layer = network.layers[0]
    w = {"x": np.asarray(layer.w_x), "h": np.asarray(layer.w_h), "b": np.asarray(layer.b)}
    x, target = rng.normal(size=(5, 4, 2)), rng.normal(size=(5, 4, 3))
    outputs, tape = example["forward"](w, x, np.zeros((4, 3)), np.zeros((4, 3)))
    d_w = example["backward"](w, outputs, tape, 2 * (outputs - target) / 20)
    problem = checks.Problem.from_network(network, x, target)

    def assert_right(bias):
        checks.assert_gradients(lstm.Network(layers=(lstm.Layer(w_x=d_w["x"], w_h=d_w["h"], b=bias),)), problem)

    assert_right(d_w["b"])
    with pytest.raises(AssertionError, match=r"layers\[0\]\.b\["):
        assert_right(d_w["b"] / 4)  # the batch averaged, not summed


def test_the_pytest_example_passes() -> None:
    done = run(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", EXAMPLES / "test_my_layer.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_c_program_agrees_with_golden_vectors_and_notices_a_bug(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed to build examples/lstm_backward.c"
    vectors = tmp_path / "vectors.safetensors"
    sizes = ["--timesteps", "7", "--batch", "3", "--inputs", "4", "--hidden", "5"]
    assert main(["export", "--layout", "torch", *sizes, "--out", str(vectors)]) == 0
    source = (EXAMPLES / "lstm_backward.c").read_text(encoding="utf-8")
    bug = source.replace("dz[H + u] = d_c * c_p[u]", "dz[H + u] = d_c * tanh_c")
    assert bug != source
    for name, text in {"right": source, "wrong": bug}.items():
        (tmp_path / f"{name}.c").write_text(text, encoding="utf-8")
        built = run(compiler, "-O2", "-std=c99", "-Wall", "-o", tmp_path / name, tmp_path / f"{name}.c", "-lm")
        assert built.returncode == 0, built.stderr
        assert name == "wrong" or not built.stderr
    right, wrong = run(tmp_path / "right", vectors), run(tmp_path / "wrong", vectors)
    assert right.returncode == 0, right.stdout + right.stderr
    assert right.stdout.count("agrees") == 8
    assert wrong.returncode == 1
    assert "DISAGREES  grad.weight_ih_l0" in wrong.stdout


def test_the_torch_autograd_function_is_right(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    example = runpy.run_path(str(EXAMPLES / "torch_autograd_function.py"))
    assert example["main"](tmp_path / "gradients.npz") == 0


def test_an_onnx_models_node_is_right_and_a_forgotten_bias_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    example = runpy.run_path(str(EXAMPLES / "onnx_lstm_node.py"))
    assert example["main"]() == 0
    assert "layout onnx: T = 7, B = 3, D = 4, H = 5" in capsys.readouterr().out
    model = tmp_path / "wider.onnx"
    example["make_model"](model, inputs=3, hidden=2)
    assert example["main"](model, wrong=True) == 1
    assert capsys.readouterr().out.startswith("DISAGREES: 1 of 4 gradients is wrong: B; ")
    assert np.array_equal(example["read_node"](model)["W"].shape, (1, 8, 3))
