"""What a backward pass is run on: the layers, the data and where gradients come from; and the forward pass, in NumPy.

Dimensions as in `lstm.parameters`; numbers in parentheses are equations of docs/derivation.md. Everything is float64, and
nothing here calls `lstm`'s own passes: only its containers are shared.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

import lstm
from checks.problem import Problem
from lstm import BadInput, Layer, Network, Readout, State
from lstm.levels import apart, directions, output_size

GATES = len(lstm.GATES)


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One backward pass to be run, of a cost or of upstream gradients. Make it by `of_cost`, `of_upstream` or `of_problem`.

    Attributes:
        layers: lowest first; of a level with two directions, the forward one and then the reverse one.
        inputs: (T, B, D); past a sequence's length anything may stand.
        initial_state: a `State` per layer.
        levels: the network's own levels, in which a layer may be `lstm.Reversed` or one of an `lstm.Bidirectional` pair.
        lengths: (B,) integers, or None where every timestep counts.
        readout, targets, loss, reduction: of a cost, as for `lstm.loss_and_gradients`; targets None otherwise.
        d_outputs, d_final_state: upstream gradients, (T, B, R) and a `State` per layer; None for a cost.
    """

    layers: tuple[Layer, ...]
    inputs: np.ndarray
    initial_state: tuple[State, ...]
    levels: tuple[Any, ...]
    lengths: np.ndarray | None = None
    readout: Readout | None = None
    targets: np.ndarray | None = None
    loss: str = "squared_error"
    reduction: str = "mean"
    d_outputs: np.ndarray | None = None
    d_final_state: tuple[State, ...] | None = None

    @staticmethod
    def of_cost(
        network: Network,
        inputs: Any,
        targets: Any,
        *,
        loss: str = "squared_error",
        reduction: str = "mean",
        initial_state: Any = None,
        lengths: Any = None,
    ) -> Case:
        """Arguments as for `lstm.loss_and_gradients`, which checks them."""
        levels = _float64(_standard(network.layers))
        return Case(
            layers=layers_of(levels),
            levels=levels,
            inputs=_float64(inputs),
            initial_state=_states(levels, initial_state, np.shape(inputs)[1]),
            lengths=None if lengths is None else np.asarray(lengths),
            readout=_float64(network.readout),
            targets=_float64(targets),
            loss=loss,
            reduction=reduction,
        )

    @staticmethod
    def of_upstream(
        layers: Any,
        inputs: Any,
        d_outputs: Any = None,
        d_final_state: Any = None,
        *,
        initial_state: Any = None,
        lengths: Any = None,
    ) -> Case:
        """Arguments as for `lstm.forward` and `lstm.backward`, which check them."""
        levels = _float64(_standard((layers,) if isinstance(layers, Layer) else layers))
        timesteps, batch, _ = np.shape(inputs)
        no_gradient = np.zeros((timesteps, batch, output_size(levels[-1])))
        return Case(
            layers=layers_of(levels),
            levels=levels,
            inputs=_float64(inputs),
            initial_state=_states(levels, initial_state, batch),
            lengths=None if lengths is None else np.asarray(lengths),
            d_outputs=no_gradient if d_outputs is None else _float64(d_outputs),
            d_final_state=_states(levels, d_final_state, batch),
        )

    @staticmethod
    def of_problem(problem: Problem) -> Case:
        """The case of `Problem.from_network`, with either ``wrt``."""
        losses = {loss.forward: name for name, loss in lstm.LOSSES.items()}
        given = problem.parameters
        everything = isinstance(given, lstm.CostGradients)
        if not (everything or isinstance(given, Network)) or getattr(problem, "loss", None) not in losses:
            raise BadInput("problem: expected one made by Problem.from_network; got another cost")
        assert problem.loss is not None
        inputs, masks = problem.inputs
        if masks is not None:
            raise BadInput("problem: expected one without masks; got some, and bugs are not planted there")
        return Case.of_cost(
            given.network if everything else given,
            given.inputs if everything else inputs,
            problem.targets,
            loss=losses[problem.loss],
            reduction=problem.reduction,
            initial_state=given.initial_state if everything else problem.initial_state,
            lengths=problem.lengths,
        )

    @property
    def is_cost(self) -> bool:
        return self.targets is not None

    @property
    def sizes(self) -> dict[str, int]:
        """T, B, D, H (of the top layer), K (of a cost, else 0), and N, the number of timesteps that count."""
        timesteps, batch, features = self.inputs.shape
        outputs = output_size(self.levels[-1]) if self.readout is None else self.readout.w.shape[1]
        counted = timesteps * batch if self.lengths is None else int(self.lengths.sum())
        hidden = self.layers[-1].hidden_size
        return {"T": timesteps, "B": batch, "D": features, "H": hidden, "K": outputs if self.is_cost else 0, "N": counted}

    @property
    def longest(self) -> int:
        """Timesteps of the longest sequence."""
        return self.sizes["T"] if self.lengths is None else int(self.lengths.max())

    @functools.cached_property
    def runs(self) -> tuple[Run, ...]:
        """The forward pass, once for all the backward passes."""
        return run_layers(self, self.lengths)


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """The forward pass of one layer, every value at every timestep."""

    layer: Layer
    inputs: np.ndarray  # (T, B, D)   zero past each sequence's length
    z: np.ndarray  # (T, B, 4H)  pre-activations
    gates: np.ndarray  # (T, B, 4H)  i, f, g, o
    c: np.ndarray  # (T, B, H)   c_t, held past each sequence's length, as is h
    h: np.ndarray  # (T, B, R)
    c_previous: np.ndarray  # (T, B, H)   c_{t-1}
    h_previous: np.ndarray  # (T, B, R)
    valid: np.ndarray  # (T, B, 1)   does this timestep count?
    order: np.ndarray | None = None  # (T, B)  of a reversed layer: which timestep of the inputs each of its own is

    @property
    def outputs(self) -> np.ndarray:
        """In the inputs' order of time."""
        return self.turned(np.where(self.valid, self.h, 0))

    def turned(self, array: np.ndarray) -> np.ndarray:
        """The inputs' order of time <-> the layer's own: each sequence's valid prefix flipped."""
        return array if self.order is None else np.take_along_axis(array, self.order[:, :, None], axis=0)

    @functools.cached_property
    def ends(self) -> np.ndarray:
        """(T, B, 1): is this timestep the last one of its sequence?"""
        after = np.concatenate([self.valid[1:], np.zeros_like(self.valid[:1])])
        return self.valid & ~after


def run_layers(case: Case, lengths: np.ndarray | None) -> tuple[Run, ...]:
    """Equations (1) to (5) and (26), layer after layer."""
    valid = valid_steps(case, lengths)
    below = np.where(valid, case.inputs, 0)
    runs: list[Run] = []
    states = iter(case.initial_state)
    for level in case.levels:
        found = [_run_layer(each.layer, below, next(states), valid, each.reversed) for each in directions(level)]
        runs += found
        below = np.concatenate([run.outputs for run in found], axis=-1)
    return tuple(runs)


def top_outputs(case: Case, runs: tuple[Run, ...]) -> np.ndarray:
    """(T, B, R), or (T, B, 2R) for two directions."""
    return np.concatenate([run.outputs for run in runs[-len(directions(case.levels[-1])) :]], axis=-1)


def layers_of(levels: Any) -> tuple[Layer, ...]:
    return tuple(direction.layer for level in levels for direction in directions(level))


def valid_steps(case: Case, lengths: np.ndarray | None) -> np.ndarray:
    """(T, B, 1) booleans: does timestep t of sequence b count?"""
    timesteps, batch, _ = case.inputs.shape
    if lengths is None:
        return np.ones((timesteps, batch, 1), bool)
    return (np.arange(timesteps)[:, None] < lengths)[:, :, None]


def _run_layer(layer: Layer, inputs: np.ndarray, state: State, valid: np.ndarray, is_reversed: bool) -> Run:
    timesteps = len(inputs)
    order = None
    if is_reversed:
        times = np.arange(timesteps)[:, None]
        order = np.where(valid[:, :, 0], valid.sum(axis=0)[:, 0] - 1 - times, times)
        inputs = np.take_along_axis(inputs, order[:, :, None], axis=0)
    z = inputs @ layer.w_x + layer.b
    gates = np.empty_like(z)
    h, c = np.empty((timesteps + 1, *state.h.shape)), np.empty((timesteps + 1, *state.c.shape))
    h[0], c[0] = state.h, state.c
    for t in range(timesteps):
        z[t] += h[t] @ layer.w_h  # (1)
        gates[t] = activated(z[t])  # (2), (3)
        i, f, g, o = blocks(gates[t])
        new_c = f * c[t] + i * g  # (4)
        new_h = o * np.tanh(new_c)  # (5)
        c[t + 1] = np.where(valid[t], new_c, c[t])  # (26)
        h[t + 1] = np.where(valid[t], new_h, h[t])
    return Run(layer, inputs, z, gates, c=c[1:], h=h[1:], c_previous=c[:-1], h_previous=h[:-1], valid=valid, order=order)


def activated(z: np.ndarray) -> np.ndarray:
    """σ on the blocks i, f, o of ``z (..., 4H)`` and tanh on g."""
    gates = sigmoid(z)
    hidden = z.shape[-1] // GATES
    gates[..., 2 * hidden : 3 * hidden] = np.tanh(z[..., 2 * hidden : 3 * hidden])
    return gates


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * np.tanh(0.5 * z) + 0.5


def blocks(array: np.ndarray) -> list[np.ndarray]:
    """(..., 4H) -> its blocks i, f, g, o, views of (..., H) each."""
    hidden = array.shape[-1] // GATES
    return [array[..., q * hidden : (q + 1) * hidden] for q in range(GATES)]


def _standard(levels: Any) -> tuple[Any, ...]:
    """Bugs are planted in stacks of standard layers, of either direction or both."""
    for number, level in enumerate(levels):
        known = isinstance(level, (Layer, lstm.Reversed, lstm.Bidirectional))
        if not known or not all(_is_standard(direction.layer) for direction in directions(level)):
            raise BadInput(f"layers[{number}]: expected a standard lstm.Layer, in which bugs can be planted; got another variant")
    return tuple(levels)


def _is_standard(layer: Layer) -> bool:
    extras = (layer.peepholes, layer.projection, layer.clip)
    return all(extra is None for extra in extras) and not layer.coupled and layer.activations == lstm.Activations()


def _states(levels: tuple[Any, ...], given: Any, batch: int) -> tuple[State, ...]:
    """One `State` per layer; zeros where None stands."""
    given = (given,) if isinstance(given, (State, lstm.Bidirectional)) else given
    states = []
    for level, of_level in zip(levels, (None,) * len(levels) if given is None else given, strict=True):
        for direction, state in zip(directions(level), apart(level, of_level), strict=True):
            layer = direction.layer
            shapes = {"h": (batch, np.shape(layer.w_h)[0]), "c": (batch, layer.hidden_size)}
            fields = {name: getattr(state, name, None) for name in shapes}
            filled = {name: np.zeros(shapes[name]) if value is None else _float64(value) for name, value in fields.items()}
            states.append(State(**filled))
    return tuple(states)


def _float64(tree: Any) -> Any:
    """Every array in float64; integers, which are labels, stay."""

    def cast(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf)
        return array if np.issubdtype(array.dtype, np.integer) else array.astype(np.float64)

    return jax.tree.map(cast, tree)
