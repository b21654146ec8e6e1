"""PyTorch as a candidate: an exported file's numbers through ``nn.LSTM``, in either precision, and its gradients in their place."""

from __future__ import annotations

import numpy as np
import torch
from verify_cases import Arrays


def torch_candidate(arrays: Arrays, dtype: str, scale: float = 1.0) -> Arrays:
    """The file that a PyTorch user would write. ``scale`` multiplies the weights first: large ones saturate the gates.

    Args:
        arrays: as exported in the layout torch, without lengths.
        dtype: that everything is rounded to and computed in.
    """
    weights = {name: (scale * array).astype(dtype) for name, array in arrays.items() if name.startswith(("weight", "bias"))}
    data = {name: arrays[name].astype(dtype) for name in ("inputs", "h0", "c0", "d_outputs", "d_h_n", "d_c_n")}
    tensors = {name: torch.tensor(array, requires_grad=not name.startswith("d_")) for name, array in (data | weights).items()}
    lstm = _module(weights, data["inputs"].shape[2])
    results = torch.func.functional_call(
        lstm, {name: tensors[name] for name in weights}, (tensors["inputs"], (tensors["h0"], tensors["c0"]))
    )
    outputs, (h_n, c_n) = results
    torch.autograd.backward([outputs, h_n, c_n], [tensors[name] for name in ("d_outputs", "d_h_n", "d_c_n")])
    forward = {"outputs": outputs, "h_n": h_n, "c_n": c_n}
    found = {name: tensor.detach().numpy() for name, tensor in forward.items()}
    found |= {f"grad.{name}": tensors[name].grad.numpy() for name in (*weights, "inputs", "h0", "c0")}
    return data | weights | found


def _module(weights: Arrays, inputs: int) -> torch.nn.LSTM:
    layers = 1 + max(int(name.split("_l")[1][0]) for name in weights)
    return torch.nn.LSTM(
        inputs,
        weights["weight_ih_l0"].shape[0] // 4,
        layers,
        bidirectional="weight_ih_l0_reverse" in weights,
        proj_size=weights["weight_hr_l0"].shape[0] if "weight_hr_l0" in weights else 0,
        dtype=torch.float32 if weights["weight_ih_l0"].dtype == np.float32 else torch.float64,
    )
