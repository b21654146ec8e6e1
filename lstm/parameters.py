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
from lstm.validation import FLOATS, BadInput, described, positive_integer

Array: TypeAlias = Any  # a jax.Array, a tracer or a numpy.ndarray

GATES = ("i", "f", "g", "o")

Class = TypeVar("Class")


def static(*, default: Any) -> Any:
    """A field that is configuration, not data: JAX keeps it in the tree's structure."""
    return dataclasses.field(default=default, metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static,))
def pytree(cls: type[Class]) -> type[Class]:
    """A frozen dataclass that JAX maps over, field by field."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@dataclasses.dataclass(frozen=True)
class CellClip:
    """The cell state is clipped to [-bound, bound] at every timestep, right after (4).

    ``derivative``: ``"true"``, zero where the bound cut; or ``"straight_through"``, as if nothing had been cut, which is
    what some kernels do and is not the derivative of the cost.
    """

    bound: float
    derivative: str = "true"


@dataclasses.dataclass(frozen=True)
class Activations:
    """Names from `lstm.activations`: for the gates i, f, o; for the candidate g; for the cell state on its way out."""

    gate: str = "sigmoid"
    candidate: str = "tanh"
    output: str = "tanh"


@pytree
class Layer:
    """One LSTM layer in one direction. One bias: see the layouts for frameworks that keep two.

    Its structure is its configuration: no peephole weights, no peepholes; no projection, and R = H. With three gate
    blocks **i, g, o** in place of four the input and forget gates are coupled, f = 1 - i.
    """

    w_x: Array  # (D, 4H)  from the inputs
    w_h: Array  # (R, 4H)  from the previous output
    b: Array  # (4H,)
    peepholes: Array | None = None  # (3, H)  from the cell state to i, f (from c_{t-1}) and o (from c_t); coupled: (2, H), i and o
    projection: Array | None = None  # (H, R)  from the cell's output to h
    activations: Activations = static(default=Activations())
    clip: CellClip | None = static(default=None)

    @property
    def recurrent_size(self) -> int:
        """R: of h."""
        return self.w_h.shape[0]

    @property
    def hidden_size(self) -> int:
        """H: of the cell state."""
        return self.recurrent_size if self.projection is None else self.projection.shape[0]

    @property
    def coupled(self) -> bool:
        """f = 1 - i?"""
        return self.b.shape[-1] == 3 * self.hidden_size

    @property
    def gates(self) -> tuple[str, ...]:
        """The gate blocks along the last axis, in order."""
        return tuple(gate for gate in GATES if not (self.coupled and gate == "f"))


@pytree
class Reversed:
    """A layer that runs from each sequence's last valid timestep to its first. Outputs come in input order."""

    layer: Any  # a Layer; in gradients too


@pytree
class Bidirectional:
    """Two layers over the same inputs, one reversed; their outputs side by side, forward first: (T, B, 2R).

    Also holds what belongs to the two: their states, residuals and gradients.
    """

    forward: Any
    reverse: Any


@pytree
class Masks:
    """Arrays that one layer multiplies by, in one direction; None where there is none. Nothing is drawn at random here.

    Dropout masks hold 0 or 1/(1 - rate); zoneout masks hold 1 where the old value is kept (or its probability).
    """

    inputs: Array | None = None  # (T, B, D)  on the layer's inputs: dropout between layers
    recurrent: Array | None = None  # (T, B, R)  on h_{t-1} before its matrix product: recurrent dropout
    zoneout_h: Array | None = None  # (T, B, R)  h_t = m h_{t-1} + (1 - m) h~_t
    zoneout_c: Array | None = None  # (T, B, H)  c_t = m c_{t-1} + (1 - m) c~_t


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
    """Layers, lowest first, and the readout (None: the predictions are the outputs).

    Each of ``layers`` is a `Layer`, a `Reversed` or a `Bidirectional` of two layers.
    """

    layers: tuple[Any, ...]
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
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise BadInput(f"seed: expected an integer of at least 0; got {described(seed)}")
    try:
        dtype = np.dtype(dtype)
    except (TypeError, ValueError):
        raise BadInput(f"dtype: expected float32 or float64; got {described(dtype)}") from None
    if dtype not in FLOATS:
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
