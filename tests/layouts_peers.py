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

    def lstm_layer() -> Any:
        function = jax.numpy.tanh if activation == "tanh" and not own_tanh else activation
        options = {"use_bias": use_bias, "recurrent_activation": gate, "activation": function}
        return package.layers.LSTM(H, return_sequences=True, return_state=True, dtype="float64", **options)

    layers, variables = [], []  # variables: for each layer, our name of each of its variables
    with jax.enable_x64(True):
        for level in range(levels):
            layer = package.layers.Bidirectional(lstm_layer(), dtype="float64") if bidirectional else lstm_layer()
            layer.build((B, T, (H * (1 + bidirectional)) if level else D))
            prefix = f"{level}/" if levels > 1 else ""
            halves = [("", layer)]
            if bidirectional:
                halves = [("forward_layer/", layer.forward_layer), ("backward_layer/", layer.backward_layer)]
            layers.append(layer)
            variables.append([f"{prefix}{half}{one.name}" for half, part in halves for one in part.trainable_variables])
            assert len(variables[-1]) == len(layer.trainable_variables)

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
