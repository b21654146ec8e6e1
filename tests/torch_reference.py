"""The PyTorch side of the comparison: draw a case, run ``torch.nn.LSTM`` on it. Knows nothing of `lstm`.

A case is a dictionary of numpy arrays under PyTorch's own names and layouts, the ones that a file for
``lstm-check verify --layout torch`` has: weights (4H, D) and (4H, H) with gates i, f, g, o, two biases,
``h0, c0 (1, B, H)``, time-major ``inputs (T, B, D)``; either upstream gradients ``d_outputs (T, B, H)``,
``d_h_n, d_c_n (1, B, H)``, or ``targets`` with ``loss`` and ``reduction``. PyTorch is imported only by `run`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
READOUT = ("readout.weight", "readout.bias")

Arrays = dict[str, np.ndarray]


class Shape(NamedTuple):
    T: int
    B: int
    D: int
    H: int
    K: int = 0  # readout outputs; 0 for no readout


def draw(
    generator: np.random.Generator,
    shape: Shape,
    *,
    loss: str | None = None, reduction: str = "mean", targets: str = "vectors",
    lengths: Any = None,
    zero_state: bool = False,
    saturation: float = 0.0, saturated_share: float = 1.0,
    dtype: Any = np.float64,
) -> Arrays:
    """A generic case: every entry random, both signs, nothing zero, padding included.

    ``loss=None`` draws upstream gradients, otherwise targets: ``"vectors"``, ``"labels"`` or ``"probabilities"``.
    ``saturation`` is added to or taken from the biases of a random ``saturated_share`` of the gates, to push them
    towards 0 or 1. Every floating-point value is a ``dtype``, so a float32 case widens to float64 exactly.
    """
    steps, features, units, outputs, gates = (shape.T, shape.B), shape.D, shape.H, shape.K, 4 * shape.H
    push = saturation * generator.choice([-1, 0, 1], gates, p=[saturated_share / 2, 1 - saturated_share, saturated_share / 2])

    def normal(*size: int, scale: float = 1.0) -> np.ndarray:
        return (scale * generator.standard_normal(size)).astype(dtype)

    case = {
        "inputs": normal(*steps, features),
        "weight_ih_l0": normal(gates, features, scale=features**-0.5),
        "weight_hh_l0": normal(gates, units, scale=units**-0.5),
        "bias_ih_l0": (normal(gates, scale=0.5) + push).astype(dtype),
        "bias_hh_l0": normal(gates, scale=0.5),
    }
    if not zero_state:
        case |= {"h0": normal(1, shape.B, units, scale=0.5), "c0": normal(1, shape.B, units)}
    if lengths is not None:
        case["lengths"] = np.asarray(lengths, np.int64)
    if outputs:
        case |= {"readout.weight": normal(outputs, units, scale=units**-0.5), "readout.bias": normal(outputs)}
    if loss is None:
        return case | {"d_outputs": normal(*steps, units), "d_h_n": normal(1, shape.B, units), "d_c_n": normal(1, shape.B, units)}
    drawn = _targets(generator, targets, steps, outputs or units, dtype)
    return case | {"targets": drawn, "loss": np.array(loss), "reduction": np.array(reduction)}


def _targets(generator: np.random.Generator, kind: str, steps: tuple[int, int], outputs: int, dtype: Any) -> np.ndarray:
    if kind == "labels":
        return generator.integers(0, outputs, steps)
    if kind == "probabilities":
        weights = generator.uniform(0.1, 1.0, (*steps, outputs))
        return (weights / weights.sum(axis=-1, keepdims=True)).astype(dtype)
    return generator.standard_normal((*steps, outputs)).astype(dtype)


def widened(case: Arrays) -> Arrays:
    """The same case in float64: exact."""
    return {name: a.astype(np.float64) if a.dtype == np.float32 else a for name, a in case.items()}


def run(case: Arrays) -> Arrays:
    """PyTorch's outputs, h_n, c_n, the cost if the case has one, and ``grad.<name>`` of every float array.

    Computed in the dtype of the case. The gradients are PyTorch's own reverse mode through its own kernels.
    """
    import torch

    differentiated = [name for name in (*WEIGHTS, *READOUT, "inputs", "h0", "c0") if name in case]
    at = {name: torch.from_numpy(case[name].copy()).requires_grad_() for name in differentiated}
    zeros = torch.zeros((1, case["inputs"].shape[1], case["weight_hh_l0"].shape[1]), dtype=at["inputs"].dtype)
    for name in ("h0", "c0"):  # a zero initial state has a gradient like any other
        at.setdefault(name, zeros.clone().requires_grad_())
    outputs, h_n, c_n = _forward(torch, case, at)
    results = {"outputs": outputs, "h_n": h_n, "c_n": c_n}
    if "targets" in case:
        results["cost"] = _cost(torch, case, at, outputs)
        gradients = torch.autograd.grad(results["cost"], list(at.values()))
    else:
        upstream = [torch.from_numpy(case[name].copy()) for name in ("d_outputs", "d_h_n", "d_c_n")]
        gradients = torch.autograd.grad([outputs, h_n, c_n], list(at.values()), grad_outputs=upstream)
    results |= {f"grad.{name}": gradient for name, gradient in zip(at, gradients, strict=True)}
    return {name: result.detach().numpy() for name, result in results.items()}


def _forward(torch: Any, case: Arrays, at: dict[str, Any]) -> tuple[Any, Any, Any]:
    timesteps, _, features = case["inputs"].shape
    module = torch.nn.LSTM(features, case["weight_hh_l0"].shape[1], dtype=at["inputs"].dtype)
    inputs, state = at["inputs"], (at["h0"], at["c0"])
    if "lengths" in case:
        lengths = torch.from_numpy(case["lengths"].copy())
        inputs = torch.nn.utils.rnn.pack_padded_sequence(inputs, lengths, enforce_sorted=False)
    outputs, (h_n, c_n) = torch.func.functional_call(module, {name: at[name] for name in WEIGHTS}, (inputs, state))
    if "lengths" in case:
        outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(outputs, total_length=timesteps)
    return outputs, h_n, c_n


def _cost(torch: Any, case: Arrays, at: dict[str, Any], outputs: Any) -> Any:
    """The loss over the timesteps within each sequence's length, by PyTorch's own losses."""
    y = torch.nn.functional.linear(outputs, at[READOUT[0]], at[READOUT[1]]) if READOUT[0] in case else outputs
    lengths = case.get("lengths", np.full(y.shape[1], y.shape[0]))
    counted = torch.arange(y.shape[0])[:, None] < torch.from_numpy(lengths.copy())
    y, targets = y[counted], torch.from_numpy(case["targets"].copy())[counted]
    reduction = str(case["reduction"])
    if str(case["loss"]) == "cross_entropy":
        return torch.nn.functional.cross_entropy(y, targets, reduction=reduction)
    total = torch.nn.functional.mse_loss(y, targets, reduction="sum")  # its "mean" would divide by K too
    return total / len(y) if reduction == "mean" else total
