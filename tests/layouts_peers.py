"""The real LSTMs of Keras and PyTorch, each run as a function of its own parameters, under its own names for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import pytest
from layouts_case import B, D, H, P, Peer, Results, T
from layouts_peers_jax import data, each_state, together


def keras(
    levels: int = 1,
    bidirectional: bool = False,
    use_bias: bool = True,
    gate: str = "sigmoid",
    activation: str = "tanh",
    own_tanh: bool = False,
) -> Peer:
    """On Keras's JAX backend. Two directions by its ``Bidirectional``.

    Keras's own tanh computes in float32 there, whatever it is given; unless asked for, JAX's stands in as the activation.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    package = pytest.importorskip("keras")
    assert package.backend.backend() == "jax"

    function = jax.numpy.tanh if activation == "tanh" and not own_tanh else activation
    options = {"use_bias": use_bias, "recurrent_activation": gate, "activation": function}
    built = [_keras_layer(package, H * (1 + bidirectional) if level else D, bidirectional, options) for level in range(levels)]
    layers = [layer for layer, _ in built]
    variables = [[("" if levels == 1 else f"{level}/") + name for name in names] for level, (_, names) in enumerate(built)]

    def run(weights: Any, inputs: Any, h0: Any, c0: Any) -> Results:
        states, outputs, final = iter(each_state(h0, c0)), inputs, []
        for layer, names in zip(layers, variables, strict=True):
            initial = [array for _ in range(1 + bidirectional) for array in next(states)]  # h, c, and h, c backward
            fixed = [one.value for one in layer.non_trainable_variables]
            values = [weights[name] for name in names]
            (outputs, *state), _ = layer.stateless_call(values, fixed, outputs, initial_state=initial)
            final += list(zip(state[::2], state[1::2], strict=True))
        return outputs, *together(final)

    pairs = [pair for names, layer in zip(variables, layers, strict=True) for pair in zip(names, layer.trainable_variables, strict=True)]
    weights = {name: tuple(variable.shape) for name, variable in pairs}
    attributes = {"recurrent_activation": gate, "activation": activation}
    return Peer("keras", weights, data("BTD", levels, 1 + bidirectional), run, attributes)


def _keras_layer(package: Any, features: int, bidirectional: bool, options: dict[str, Any]) -> tuple[Any, list[str]]:
    """A layer, and the names of its trainable variables in their order: Keras's own, those of two directions after their attribute's."""
    with jax.enable_x64(True):
        layer = package.layers.LSTM(H, return_sequences=True, return_state=True, dtype="float64", **options)
        layer = package.layers.Bidirectional(layer, dtype="float64") if bidirectional else layer
        layer.build((B, T, features))
    halves = ("forward_layer", "backward_layer") if bidirectional else ()
    names = [f"{half}/{one.name}" for half in halves for one in getattr(layer, half).trainable_variables]
    return layer, names or [one.name for one in layer.trainable_variables]


def torch_lstm(levels: int = 1, bidirectional: bool = False, projected: bool = False, bias: bool = True) -> Peer:
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(
        D, H, num_layers=levels, bidirectional=bidirectional, proj_size=P if projected else 0, bias=bias, dtype=torch.float64
    )

    def run(weights: Any, inputs: Any, h0: Any, c0: Any) -> Results:
        outputs, (h_n, c_n) = torch.func.functional_call(module, weights, (inputs, (h0, c0)))
        return outputs, h_n, c_n

    weights = {name: tuple(parameter.shape) for name, parameter in module.named_parameters()}
    shapes = data("TBD", levels, 1 + bidirectional, stacked=True)
    if projected:
        shapes |= {"h0": (*shapes["h0"][:2], P), "outputs": (T, B, P * (1 + bidirectional))}
    return Peer("torch", weights, shapes, run, differentiate=by_torch)


def by_torch(run: Callable[..., Results], upstream: Any, weights: Any, *arguments: Any) -> tuple[Results, Any]:
    """The results and PyTorch's reverse mode; 0 for what is not used."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # a thread for each of these small products costs more than it brings
    tensors = [torch.from_numpy(array.copy()).requires_grad_() for array in (*weights.values(), *arguments)]
    results = run(dict(zip(weights, tensors, strict=False)), *tensors[len(weights) :])
    gradients = torch.autograd.grad(results, tensors, [torch.from_numpy(array.copy()) for array in upstream], allow_unused=True)
    filled = [torch.zeros_like(at) if gradient is None else gradient for at, gradient in zip(tensors, gradients, strict=True)]
    found = tuple(result.detach() for result in results)
    return found, (dict(zip(weights, filled, strict=False)), *filled[len(weights) :])
