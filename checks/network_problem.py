"""An `lstm.Network` and its data as a `Problem`: only the network's public *forward* step goes in.

The hand-written gradient comes along as the candidate under test, in ``Problem.gradients``; no estimator reads it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import lstm
from checks.problem import Problem

WRT = ("network", "all")


def from_network(
    network: lstm.Network,
    inputs: Any,
    targets: Any,
    *,
    loss: str = "squared_error",
    reduction: str = "mean",
    initial_state: Any = None,
    lengths: Any = None,
    wrt: str = "network",
) -> Problem:
    """The cost of `lstm.loss_and_gradients` as a `Problem`. Arguments as there, and:

    Args:
        wrt: ``"network"``: perturb the network's parameters; ``Problem.parameters`` is the network.
            ``"all"``: the inputs and the initial state as well; ``Problem.parameters`` is an
            `lstm.CostGradients` of the three.
    """
    if wrt not in WRT:
        raise lstm.BadInput(f"wrt: expected one of {', '.join(WRT)}; got {wrt!r}")
    options = {"loss": loss, "reduction": reduction, "lengths": lengths}
    # Checks every argument, so that a bad one is reported here and not from inside a trace
    lstm.loss_and_gradients(network, inputs, targets, initial_state=initial_state, **options)
    inputs, targets = np.asarray(inputs), np.asarray(targets)
    if lengths is not None:
        inputs, targets = _without_padding(inputs, lengths), _without_padding(targets, lengths)
    states = _states(network, initial_state, inputs.shape[1], inputs.dtype)
    common = {"loss": lstm.LOSSES[loss].forward, "targets": targets, "reduction": reduction, "lengths": lengths}
    if wrt == "network":
        return Problem(
            parameters=network,
            step=lstm.step,
            inputs=inputs,
            initial_state=states,
            gradients=lambda n: lstm.loss_and_gradients(n, inputs, targets, initial_state=states, **options)[1],
            **common,
        )

    def all_gradients(p: lstm.CostGradients) -> lstm.CostGradients:
        return lstm.loss_and_all_gradients(p.network, p.inputs, targets, initial_state=p.initial_state, **options)[1]

    return Problem(
        parameters=lstm.CostGradients(network=network, inputs=inputs, initial_state=states),
        step=lambda p, state, t: lstm.step(p.network, state, p.inputs[t]),
        inputs=np.arange(len(inputs)),
        initial_state=lambda p: p.initial_state,
        gradients=all_gradients,
        **common,
    )


def _states(network: lstm.Network, initial_state: Any, batch: int, dtype: Any) -> tuple[lstm.State, ...]:
    if initial_state is not None:
        return (initial_state,) if isinstance(initial_state, lstm.State) else tuple(initial_state)
    zeros = []
    for layer in network.layers:
        recurrent, hidden = layer.w_h.shape[0], layer.hidden_size
        zeros.append(lstm.State(h=np.zeros((batch, recurrent), dtype), c=np.zeros((batch, hidden), dtype)))
    return tuple(zeros)


def _without_padding(array: np.ndarray, lengths: Any) -> np.ndarray:
    """Zeros past each sequence's length, where anything may stand."""
    valid = np.arange(len(array))[:, None] < np.asarray(lengths)
    return np.where(valid if array.ndim == 2 else valid[:, :, None], array, np.zeros((), array.dtype))
