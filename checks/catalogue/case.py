"""What a backward pass is run on: the layers, the data and where gradients come from.

Dimensions as in `lstm.parameters`. Everything is float64, and nothing here calls `lstm`'s own passes: only its containers are shared.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

import lstm
from checks.catalogue.forward import Run, run_layers
from checks.problem import Problem
from lstm import BadInput, Layer, Network, Readout, State
from lstm.levels import apart, directions, output_size


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
        levels = _float64(_known(network.layers))
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
        levels = _float64(_known((layers,) if isinstance(layers, Layer) else layers))
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


def layers_of(levels: Any) -> tuple[Layer, ...]:
    return tuple(direction.layer for level in levels for direction in directions(level))


def _known(levels: Any) -> tuple[Any, ...]:
    """Bugs are planted in stacks of layers of either direction or both."""
    for number, level in enumerate(levels):
        if not isinstance(level, (Layer, lstm.Reversed, lstm.Bidirectional)):
            raise BadInput(f"layers[{number}]: expected an lstm.Layer, Reversed or Bidirectional; got {type(level).__name__}")
    return tuple(levels)


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
