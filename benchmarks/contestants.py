"""The contestants of the BPTT benchmark: one problem, each with its own way to the same cost and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import lstm
from benchmarks import plain_scan
from benchmarks.options import Size

OUTPUTS = 16  # K, the readout's size: small, so that the LSTM itself is what is timed
NAMES = ("w_x", "w_h", "b", "readout_w", "readout_b")
Results = dict[str, np.ndarray]  # "cost" and the gradient on each of NAMES


class Problem(NamedTuple):
    size: Size
    weights: Results  # by NAMES
    inputs: np.ndarray  # (T, B, D)
    targets: np.ndarray  # (T, B, K)


class Contestant(NamedTuple):
    run: Callable[[], object]  # computes cost and gradients, and waits for them
    results: Callable[[], Results]  # the same, under canonical names


def problem(size: Size, dtype: str, seed: int = 0) -> Problem:
    """Weights from U(-1/√H, 1/√H), inputs and targets from a normal distribution: nothing is zero."""
    generator = np.random.default_rng(seed)
    bound = 1 / np.sqrt(size.H)
    shapes = {"w_x": (size.D, 4 * size.H), "w_h": (size.H, 4 * size.H), "b": (4 * size.H,)}
    shapes |= {"readout_w": (size.H, OUTPUTS), "readout_b": (OUTPUTS,)}
    return Problem(
        size=size,
        weights={name: generator.uniform(-bound, bound, shape).astype(dtype) for name, shape in shapes.items()},
        inputs=generator.normal(size=(size.T, size.B, size.D)).astype(dtype),
        targets=generator.normal(size=(size.T, size.B, OUTPUTS)).astype(dtype),
    )


def flop(size: Size) -> int:
    """Multiplications and additions inside the matrix products that cost and weight gradients need.

    Per timestep and sequence: input and recurrent products forward, their two weight gradients, the
    gradient at h; and the readout's three. The gradient at the inputs is nobody's output here.
    """
    per_step = 2 * 4 * size.H * (2 * (size.D + size.H) + size.H) + 3 * 2 * size.H * OUTPUTS
    return size.T * size.B * per_step


def hand(given: Problem) -> Contestant:
    """`lstm.gradient_function`: on a CPU, the sequences of a large batch are spread over the cores."""
    return _by_hand(given, lstm.gradient_function())


def jitted(given: Problem) -> Contestant:
    """`lstm.loss_and_gradients` under ``jax.jit``, as it stands inside a larger program."""
    return _by_hand(given, jax.jit(lstm.loss_and_gradients))


def _by_hand(given: Problem, function: Callable[..., Any]) -> Contestant:
    w = jax.tree.map(jnp.asarray, given.weights)
    network = lstm.Network(
        layers=(lstm.Layer(w_x=w["w_x"], w_h=w["w_h"], b=w["b"]),), readout=lstm.Readout(w=w["readout_w"], b=w["readout_b"])
    )
    inputs, targets = jnp.asarray(given.inputs), jnp.asarray(given.targets)

    def results() -> Results:
        cost, d = function(network, inputs, targets)
        layer = d.layers[0]
        return _as_numpy((cost, layer.w_x, layer.w_h, layer.b, d.readout.w, d.readout.b))

    return Contestant(run=lambda: jax.block_until_ready(function(network, inputs, targets)), results=results)


def autodiff(given: Problem) -> Contestant:
    """``jax.value_and_grad`` of the plain scan."""
    weights = plain_scan.Weights(**{name: jnp.asarray(given.weights[name]) for name in NAMES})
    inputs, targets = jnp.asarray(given.inputs), jnp.asarray(given.targets)
    # Without this a GPU would round the products to TF32 and win by being wrong.
    precise = jax.default_matmul_precision("highest")

    def run() -> Any:
        with precise:
            return jax.block_until_ready(plain_scan.cost_and_gradient(weights, inputs, targets))

    def results() -> Results:
        cost, gradients = run()
        return _as_numpy((cost, *gradients))

    return Contestant(run=run, results=results)


def torch(given: Problem) -> Contestant:
    """PyTorch's ``nn.LSTM`` (cuDNN on a GPU), a linear readout and the same loss, forward and backward."""
    import torch

    device = torch_device()
    torch.backends.cudnn.allow_tf32 = False
    w = {name: torch.from_numpy(given.weights[name]).to(device) for name in NAMES}
    network = torch.nn.LSTM(given.size.D, given.size.H, device=device, dtype=w["b"].dtype)
    readout = torch.nn.Linear(given.size.H, OUTPUTS, device=device, dtype=w["b"].dtype)
    with torch.no_grad():
        # PyTorch keeps two biases, added; either one's gradient is that of our one
        values = (w["w_x"].T, w["w_h"].T, w["b"], torch.zeros_like(w["b"]))
        for parameter, value in zip(network.parameters(), values, strict=True):
            parameter.copy_(value)
        readout.weight.copy_(w["readout_w"].T)
        readout.bias.copy_(w["readout_b"])
    parameters = [*network.parameters(), *readout.parameters()]
    inputs, targets = torch.from_numpy(given.inputs).to(device), torch.from_numpy(given.targets).to(device)

    def run() -> Any:
        hidden, _ = network(inputs)
        cost = ((readout(hidden) - targets) ** 2).sum(dim=-1).mean()
        gradients = torch.autograd.grad(cost, parameters)
        if device == "cuda":
            torch.cuda.synchronize()
        return cost, gradients

    def results() -> Results:
        cost, (d_w_x, d_w_h, d_b, _, d_readout_w, d_readout_b) = run()
        return _as_numpy(a.detach().cpu().numpy() for a in (cost, d_w_x.T, d_w_h.T, d_b, d_readout_w.T, d_readout_b))

    return Contestant(run=run, results=results)


def torch_device() -> str | None:
    """Where PyTorch would run beside JAX, or None: not installed, or without the GPU that JAX has."""
    try:
        import torch
    except ImportError:
        return None
    if jax.default_backend() == "cpu":
        return "cpu"
    return "cuda" if torch.cuda.is_available() else None


def _as_numpy(values: Any) -> Results:
    return {name: np.asarray(value) for name, value in zip(("cost", *NAMES), values, strict=True)}
