"""The arrays of an LSTM, as frozen pytrees, and the dimension legend used everywhere.

    T  timesteps            D  input features         H  cell size
    B  batch                R  recurrent size (= H)   K  readout outputs

Arrays are time-major: ``inputs (T, B, D)``, ``outputs (T, B, R)``. The four gate blocks lie
side by side on the last axis in the order **i, f, g, o** (input, forget, candidate, output).

Row vectors multiply matrices from the left, ``z = x W``, so a weight's shape reads
(what comes in, what goes out).
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias, TypeVar, dataclass_transform

import jax
import numpy as np

from lstm.precision import double_where_asked
from lstm.validation import BadInput, positive_integer

Array: TypeAlias = Any  # a jax.Array, a tracer or a numpy.ndarray

GATES = ("i", "f", "g", "o")


Class = TypeVar("Class")


@dataclass_transform(frozen_default=True)
def pytree(cls: type[Class]) -> type[Class]:
    """A frozen dataclass that JAX maps over, field by field."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@pytree
class Layer:
    """One LSTM layer in one direction. One bias: see the layouts for frameworks that keep two."""

    w_x: Array  # (D, 4H)  from the inputs
    w_h: Array  # (R, 4H)  from the previous output
    b: Array  # (4H,)

    @property
    def hidden_size(self) -> int:
        return self.b.shape[-1] // len(GATES)


@pytree
class State:
    """What one layer carries from a timestep to the next.

    As an upstream gradient (``d_final_state``) either field may be None: no gradient there.
    """

    h: Array  # (B, R)  the output, also called the hidden state
    c: Array  # (B, H)  the cell state


@pytree
class Readout:
    """A linear map from the last layer's outputs to the predictions: ``y = h w + b``."""

    w: Array  # (R, K)
    b: Array  # (K,)


@pytree
class Network:
    """Layers, lowest first, and the readout (None: the predictions are the outputs)."""

    layers: tuple[Layer, ...]
    readout: Readout | None = None


@pytree
class Gradients:
    """What `lstm.backward` returns. Each field has the structure of what it differentiates."""

    layers: Any
    inputs: Array  # (T, B, D)
    initial_state: Any


@pytree
class CostGradients:
    """What `lstm.loss_and_all_gradients` returns. Each field is shaped like what it is of."""

    network: Network
    inputs: Array  # (T, B, D)
    initial_state: tuple[State, ...]


def init_network(
    seed: int,
    *,
    input_size: int,
    hidden_size: int,
    output_size: int | None = None,
    num_layers: int = 1,
    dtype: Any = np.float64,
) -> Network:
    """A network with every entry drawn from U(-1/sqrt(H), 1/sqrt(H)), biases included.

    The bound is PyTorch's for ``nn.LSTM``. No entry is zero, so that a gradient check on the result
    is a generic probe. The same seed gives the same numbers on every platform and dtype (float32
    rounds the float64 draw). ``output_size=None`` leaves the readout out.
    """
    for name, size in {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}.items():
        positive_integer(name, size)
    if output_size is not None:
        positive_integer("output_size", output_size)
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise BadInput(f"dtype: expected float32 or float64; got {dtype}")
    generator = np.random.default_rng(seed)
    bound = 1 / np.sqrt(hidden_size)

    def draw(*shape: int) -> np.ndarray:
        return generator.uniform(-bound, bound, shape).astype(dtype)

    layers = []
    for level in range(num_layers):
        fan_in = input_size if level == 0 else hidden_size
        layers.append(Layer(w_x=draw(fan_in, 4 * hidden_size), w_h=draw(hidden_size, 4 * hidden_size), b=draw(4 * hidden_size)))
    readout = None if output_size is None else Readout(w=draw(hidden_size, output_size), b=draw(output_size))
    network = Network(layers=tuple(layers), readout=readout)
    with double_where_asked(network):
        return jax.tree.map(jax.numpy.asarray, network)
