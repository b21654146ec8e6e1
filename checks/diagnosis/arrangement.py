"""How the gradients of a case are laid out: named arrays, each entry with its gate, as the candidate has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

import lstm
from checks.places import describe, gates_of_leaves

NOT_PARAMETERS = ("inputs", "h0", "c0")


@dataclasses.dataclass(frozen=True, eq=False)
class Arrangement:
    """What turns canonical gradients into the candidate's arrays, and says what their entries are.

    Attributes:
        write: `lstm.CostGradients` -> arrays by name, in the candidate's shapes.
        parameters: the values of what is trained, by name: weights and readout.
        gates: by name, an index into `lstm.GATES` for each entry, -1 where there is none; arrays without gates may be absent.
        order: the letters T, B, D in the order of the axes of ``inputs``.
        place: (name, index) -> the entry in words.
        inputs, states: the names that hold the gradients of the inputs and of the initial states.
    """

    write: Callable[[Any], dict[str, np.ndarray]]
    parameters: Mapping[str, np.ndarray]
    gates: Mapping[str, np.ndarray]
    order: str = "TBD"
    place: Callable[[str, tuple[int, ...]], str] = lambda name, index: f"{name}[{', '.join(map(str, index))}]"
    inputs: str = "inputs"
    states: tuple[str, ...] = NOT_PARAMETERS[1:]


def of_pytree(parameters: Any, leaf_names: list[str]) -> Arrangement:
    """Of gradients that are pytrees like ``parameters``, a `lstm.Network`, `lstm.CostGradients` or `lstm.Gradients`."""
    prefix = "network." if isinstance(parameters, lstm.CostGradients) else ""
    values = dict(zip(leaf_names, map(np.asarray, jax.tree.leaves(parameters)), strict=True))
    chosen = {name: array for name, array in values.items() if name.startswith((f"{prefix}layers", f"{prefix}readout"))}

    def write(gradients: Any) -> dict[str, np.ndarray]:
        if isinstance(parameters, lstm.Network):
            gradients = gradients.network
        elif isinstance(parameters, lstm.Gradients):
            gradients = lstm.Gradients(gradients.network.layers, gradients.inputs, gradients.initial_state)
        return dict(zip(leaf_names, jax.tree.leaves(gradients), strict=True))

    of_layer = dict(zip(leaf_names, gates_of_leaves(parameters), strict=True))
    gates = {name: _gates_of(name, array, of_layer[name]) for name, array in chosen.items()}
    states = tuple(name for name in leaf_names if name.startswith("initial_state"))
    return Arrangement(
        write=write, parameters=chosen, gates={name: marks for name, marks in gates.items() if marks is not None},
        place=lambda name, index: describe(name, index, values[name].shape, of_layer[name]), states=states,
    )  # fmt: skip


def _gates_of(name: str, array: np.ndarray, gates: tuple[str, ...]) -> np.ndarray | None:
    """Blocks along the last axis of w_x, w_h and b, by their place among i, f, g, o; a coupled layer has no f."""
    if name.rpartition(".")[2] not in ("w_x", "w_h", "b") or not gates:
        return None
    marks = np.array([lstm.GATES.index(gate) for gate in gates], np.int8)
    return np.broadcast_to(np.repeat(marks, array.shape[-1] // len(gates)), array.shape)
