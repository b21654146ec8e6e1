"""Frameworks as contestants of the accuracy benchmark: the same one-layer network in each, by its own LSTM and its own gradient.

Weights go in and gradients come out through the layouts, which only rearrange. The readout and the loss are the framework's too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import checks
import lstm
from lstm.layouts import LAYOUTS

Arrays = dict[str, Any]


def torch(problem: checks.Problem) -> lstm.Network:
    """``nn.LSTM`` and reverse mode."""
    import torch

    torch.set_num_threads(1)
    layer = problem.parameters.layers[0]
    weights = _layer_weights("torch", problem)
    # Two biases that add up to ours; 2b and -b, as the layout writes, would round twice as much
    weights |= {"bias_ih_l0": np.asarray(layer.b), "bias_hh_l0": np.zeros_like(layer.b)}
    weights |= {"w": np.asarray(problem.parameters.readout.w), "b": np.asarray(problem.parameters.readout.b)}
    tensors = {name: torch.tensor(array, requires_grad=True) for name, array in weights.items()}
    inputs, state, targets = (jax.tree.map(lambda a: torch.tensor(np.asarray(a)), each) for each in _data(problem))
    module = torch.nn.LSTM(layer.w_x.shape[0], layer.hidden_size, dtype=inputs.dtype)
    own = {name: tensor for name, tensor in tensors.items() if name not in ("w", "b")}
    outputs, _ = torch.func.functional_call(module, own, (inputs, (state[0][None], state[1][None])))
    cost = ((outputs @ tensors["w"] + tensors["b"] - targets) ** 2).sum(dim=-1).mean()
    found = dict(zip(tensors, torch.autograd.grad(cost, list(tensors.values())), strict=True))
    return _network("torch", problem, {name: tensor.numpy() for name, tensor in found.items()})


def keras(problem: checks.Problem) -> lstm.Network:
    """``layers.LSTM`` on JAX. Keras's own tanh computes in float32 there, whatever it is given, so JAX's stands in for it."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    if keras.backend.backend() != "jax":
        raise ImportError("keras runs on another backend")
    given = problem.parameters.layers[0]
    inputs, (h, c), _ = _data(problem)
    with problem.scope():
        layer = keras.layers.LSTM(given.hidden_size, return_sequences=True, activation=jnp.tanh, dtype=problem.dtype.name)
        layer.build((inputs.shape[1], inputs.shape[0], inputs.shape[2]))
    names = [one.name for one in layer.trainable_variables]

    def run(weights: Arrays) -> Any:
        fixed = [one.value for one in layer.non_trainable_variables]
        values = [weights[name] for name in names]
        outputs, _ = layer.stateless_call(values, fixed, jnp.moveaxis(inputs, 0, 1), initial_state=[jnp.asarray(h), jnp.asarray(c)])
        return jnp.moveaxis(outputs, 1, 0)

    return _by_jax("keras", problem, run)


def flax(problem: checks.Problem) -> lstm.Network:
    """``flax.linen.OptimizedLSTMCell`` in an ``RNN``."""
    import flax.linen as nn
    from flax import traverse_util

    given = problem.parameters.layers[0]
    module = nn.RNN(nn.OptimizedLSTMCell(given.hidden_size, param_dtype=problem.dtype))
    inputs, (h, c), _ = _data(problem)

    def run(weights: Arrays) -> Any:
        params = traverse_util.unflatten_dict({f"cell/{name}": array for name, array in weights.items() if "/" in name}, sep="/")
        outputs = module.apply({"params": params}, jnp.moveaxis(inputs, 0, 1), initial_carry=(jnp.asarray(c), jnp.asarray(h)))
        return jnp.moveaxis(outputs, 1, 0)

    return _by_jax("flax", problem, run)


FRAMEWORKS: dict[str, Callable[[checks.Problem], lstm.Network]] = {"torch": torch, "keras": keras, "flax": flax}


def _by_jax(layout: str, problem: checks.Problem, run: Callable[[Arrays], Any]) -> lstm.Network:
    """``jax.grad`` through the framework's own forward pass (T, B, H)."""
    readout, targets = problem.parameters.readout, _data(problem)[2]

    def cost(weights: Arrays) -> Any:
        y = jnp.matmul(run(weights), weights["w"], precision="highest") + weights["b"]
        return ((y - targets) ** 2).sum(axis=-1).mean()

    with problem.scope():
        weights = _layer_weights(layout, problem) | {"w": readout.w, "b": readout.b}
        return _network(layout, problem, jax.tree.map(np.asarray, jax.jit(jax.grad(cost))(jax.tree.map(jnp.asarray, weights))))


def _data(problem: checks.Problem) -> tuple[np.ndarray, tuple[Any, Any], np.ndarray]:
    """inputs (T, B, D), (h, c), targets (T, B, K)."""
    state = problem.origin["initial_state"][0]
    return np.asarray(problem.origin["inputs"]), (np.asarray(state.h), np.asarray(state.c)), np.asarray(problem.targets)


def _layer_weights(layout: str, problem: checks.Problem) -> Arrays:
    return dict(LAYOUTS[layout].write(problem.parameters.layers))


def _network(layout: str, problem: checks.Problem, found: Arrays) -> lstm.Network:
    own = {name: array for name, array in found.items() if name not in ("w", "b")}
    like = _layer_weights(layout, problem)
    return lstm.Network(LAYOUTS[layout].read_gradients(own, like), lstm.Readout(w=found["w"], b=found["b"]))
