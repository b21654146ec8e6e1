"""ONNX's LSTM three times: the equations of the operator's documentation in PyTorch, ONNX's reference evaluator, and ONNX Runtime.

The first is differentiable; the other two, which are not, say whether it is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layouts_case import Arrays, B, D, H, Peer, Results, T
from layouts_peers import by_torch

SIZES = {"W": (4 * H, D), "R": (4 * H, H), "B": (8 * H,), "P": (3 * H,)}


def functions(torch: Any, names: tuple[str, str, str]) -> list[Any]:
    """The operator's activations f, g, h, with its default alpha and beta."""
    known = {
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
        "Relu": torch.relu,
        "Softsign": torch.nn.functional.softsign,
        "HardSigmoid": lambda z: torch.clamp(0.2 * z + 0.5, 0, 1),
    }
    return [known[name] for name in names]


def equations(weights: Any, inputs: Any, H_t: Any, C_t: Any, activations: list[Any], input_forget: int) -> tuple[list[Any], Any, Any]:
    """The documentation's equations for one direction, whose ``weights`` these are; ``inputs`` in the order in which it sees them."""
    f, g, h = activations
    W, R = weights["W"], weights["R"]
    Wb, Rb = weights["B"].split(4 * H) if "B" in weights else (0, 0)
    Pi, Po, Pf = weights["P"].split(H) if "P" in weights else (0, 0, 0)
    outputs = []
    for X_t in inputs:
        z_i, z_o, z_f, z_c = (X_t @ W.T + H_t @ R.T + Wb + Rb).split(H, dim=-1)
        i_t = f(z_i + Pi * C_t)
        f_t = 1 - i_t if input_forget else f(z_f + Pf * C_t)
        C_t = f_t * C_t + i_t * g(z_c)
        H_t = f(z_o + Po * C_t) * h(C_t)
        outputs.append(H_t)
    return outputs, H_t, C_t


def onnx_peer(
    direction: str = "forward",
    peepholes: bool = False,
    input_forget: int = 0,
    activations: tuple[str, str, str] = ("Sigmoid", "Tanh", "Tanh"),
    bias: bool = True,
    batch_major: bool = False,
) -> Peer:
    """``batch_major``: the operator's attribute layout = 1."""
    torch = pytest.importorskip("torch")
    backwards = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]

    def run(weights: Any, inputs: Any, h0: Any, c0: Any) -> Results:
        inputs, h0, c0 = (array.swapaxes(0, 1) if batch_major else array for array in (inputs, h0, c0))
        found = []
        for at, back in enumerate(backwards):
            own = {name: array[at] for name, array in weights.items()}
            steps = list(inputs)[:: -1 if back else 1]
            outputs, h_n, c_n = equations(own, steps, h0[at], c0[at], functions(torch, activations), input_forget)
            found.append((torch.stack(outputs[:: -1 if back else 1]), h_n, c_n))
        outputs, h_n, c_n = (torch.stack(parts, dim=axis) for parts, axis in zip(zip(*found, strict=True), (1, 0, 0), strict=True))
        if batch_major:  # (T, directions, B, H) -> (B, T, directions, H)
            return outputs.permute(2, 0, 1, 3), h_n.swapaxes(0, 1), c_n.swapaxes(0, 1)
        return outputs, h_n, c_n

    present = ["W", "R", *(["B"] if bias else []), *(["P"] if peepholes else [])]
    attributes = {"direction": direction, "input_forget": input_forget, "activations": list(activations)}
    weights = {name: (len(backwards), *SIZES[name]) for name in present}
    layout = "onnx-batch-major" if batch_major else "onnx"
    return Peer(layout, weights, data_shapes(len(backwards), batch_major), run, attributes, by_torch)


def data_shapes(directions: int, batch_major: bool) -> dict[str, tuple[int, ...]]:
    """As the operator's documentation has them."""
    state = (B, directions, H) if batch_major else (directions, B, H)
    inputs = (B, T, D) if batch_major else (T, B, D)
    outputs = (B, T, directions, H) if batch_major else (T, directions, B, H)
    return {"inputs": inputs, "outputs": outputs, "h0": state, "c0": state}


def model(peer: Peer, dtype: Any) -> Any:
    """A file with one LSTM node, its weights and data as inputs."""
    onnx = pytest.importorskip("onnx")
    attributes = dict(peer.attributes) | {"layout": int(peer.layout == "onnx-batch-major"), "hidden_size": H}
    attributes["activations"] *= 2 if peer.attributes["direction"] == "bidirectional" else 1
    names = ["inputs", "W", "R", "B" if "B" in peer.weights else "", "", "h0", "c0", "P" if "P" in peer.weights else ""]
    results = ["outputs", "h_n", "c_n"]
    shapes = dict(peer.weights) | dict(peer.data) | {"h_n": peer.data["h0"], "c_n": peer.data["c0"]}
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    infos = {name: onnx.helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()}
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("LSTM", names, results, **attributes)],
        "lstm",
        [infos[name] for name in names if name],
        [infos[name] for name in results],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(made)
    return made


def by_reference_evaluator(peer: Peer, weights: Arrays, given: Arrays) -> Arrays:
    """In float64. It knows no input_forget and no activations but the usual ones."""
    reference = pytest.importorskip("onnx.reference")
    session = reference.ReferenceEvaluator(model(peer, np.float64))
    return _run(session, weights, given, np.float64)


def by_onnx_runtime(peer: Peer, weights: Arrays, given: Arrays) -> Arrays:
    """In float32, the only precision in which it has an LSTM; it knows no layout = 1."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(model(peer, np.float32).SerializeToString(), providers=["CPUExecutionProvider"])
    return _run(session, weights, given, np.float32)


def _run(session: Any, weights: Arrays, given: Arrays, dtype: Any) -> Arrays:
    feeds = weights | {name: given[name] for name in ("inputs", "h0", "c0")}
    results = session.run(None, {name: array.astype(dtype) for name, array in feeds.items()})
    return dict(zip(("outputs", "h_n", "c_n"), results, strict=True))
