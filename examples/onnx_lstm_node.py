"""The LSTM node of an ONNX model, and its gradient.

An .onnx file holds weights and no gradients. Somebody's runtime trains such a node; this checks a backward pass written in
NumPy, in ONNX's own gate order (i o f c), against the oracle, through the file that `lstm-check verify` reads.

    python examples/onnx_lstm_node.py [MODEL.onnx]

Without a model a small one is made first. The node may have one direction, with its default activations and no peepholes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from checks.cli import main as lstm_check

Arrays = dict[str, np.ndarray]


def make_model(path: Path, inputs: int = 4, hidden: int = 5) -> None:
    """One LSTM node with random weights, and nothing else."""
    rng = np.random.default_rng(0)
    shapes = {"W": (1, 4 * hidden, inputs), "R": (1, 4 * hidden, hidden), "B": (1, 8 * hidden)}
    weights = [numpy_helper.from_array(rng.normal(0, 0.5, shape).astype(np.float32), name) for name, shape in shapes.items()]
    node = helper.make_node("LSTM", ["X", "W", "R", "B"], ["Y", "Y_h", "Y_c"], hidden_size=hidden)
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["T", "B", inputs])
    y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, ["T", 1, "B", hidden])
    graph = helper.make_graph([node], "one_lstm", [x], [y], initializer=weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)]), path)


def read_node(path: Path) -> Arrays:
    """W, R and B of the model's first LSTM node."""
    graph = onnx.load(path).graph
    node = next(node for node in graph.node if node.op_type == "LSTM")
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain = attributes.keys() <= {"hidden_size", "direction"} and attributes.get("direction", b"forward") == b"forward"
    if not plain or any(node.input[4:]):
        raise SystemExit(f"{path}: expected an LSTM node with W, R, B and the default attributes; got {sorted(attributes)}")
    initial = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return dict(zip("WRB", (initial[name] for name in node.input[1:4]), strict=True))


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def forward(w: Arrays, x: np.ndarray) -> tuple[np.ndarray, list]:
    """X (T, B, D) -> Y (T, 1, B, H), and what `backward` needs."""
    (matrix, recurrent), bias = (w["W"][0], w["R"][0]), sum(np.split(w["B"][0], 2))
    h = c = np.zeros((x.shape[1], recurrent.shape[1]), x.dtype)
    outputs, tape = [], []
    for x_t in x:
        z_i, z_o, z_f, z_g = np.split(x_t @ matrix.T + h @ recurrent.T + bias, 4, axis=1)
        i, o, f, g = sigmoid(z_i), sigmoid(z_o), sigmoid(z_f), np.tanh(z_g)
        tape.append((x_t, h, c, i, o, f, g))
        c = f * c + i * g
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)[:, None], tape


def backward(w: Arrays, tape: list, d_y: np.ndarray) -> Arrays:
    """The gradient on Y -> those on W, R, B and X."""
    (matrix, recurrent), d_x = (w["W"][0], w["R"][0]), []
    d = {name: np.zeros_like(array) for name, array in w.items()}
    d_h = d_c = np.zeros_like(tape[0][2])
    for d_y_t, (x_t, h, c, i, o, f, g) in zip(d_y[::-1, 0], tape[::-1], strict=True):
        tanh_c = np.tanh(f * c + i * g)
        d_h = d_h + d_y_t
        d_c = d_c + d_h * o * (1 - tanh_c**2)
        d_z = np.concatenate(
            [d_c * g * i * (1 - i), d_h * tanh_c * o * (1 - o), d_c * c * f * (1 - f), d_c * i * (1 - g**2)], axis=1
        )
        d["W"][0] += d_z.T @ x_t
        d["R"][0] += d_z.T @ h
        d["B"][0] += np.tile(d_z.sum(axis=0), 2)  # either bias gets the whole gradient
        d_x.append(d_z @ matrix)
        d_h, d_c = d_z @ recurrent, d_c * f
    return d | {"inputs": np.stack(d_x[::-1])}


def main(model: Path | None = None, wrong: bool = False) -> int:
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            model = Path(folder) / "one_lstm.onnx"
            make_model(model)
        weights = read_node(model)
        rng = np.random.default_rng(1)
        x = rng.normal(size=(7, 3, weights["W"].shape[2])).astype(np.float32)
        y, tape = forward(weights, x)
        d_y = rng.normal(size=y.shape).astype(np.float32)
        d = backward(weights, tape, d_y)
        if wrong:  # the recurrent bias forgotten
            d["B"][0, d["B"].shape[1] // 2 :] = 0
        gradients = {f"grad.{name}": array for name, array in d.items()}
        np.savez(Path(folder) / "onnx.npz", inputs=x, outputs=y, d_outputs=d_y, **weights, **gradients)
        return lstm_check(["verify", str(Path(folder) / "onnx.npz"), "--layout", "onnx"])


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
