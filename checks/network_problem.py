"""An LSTM and its data as a cost: only the network's public *forward* step goes in.

The hand-written gradient comes along as the candidate under test, in ``gradients``; no estimator reads it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstm
from checks.network_forward import is_causal, network_forward, zero_states
from checks.problem import Cost, Problem, cast, own

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
    masks: Any = None,
    wrt: str = "network",
) -> Cost:
    """The cost of `lstm.loss_and_gradients` as a `Problem`. Arguments as there, and:

    Args:
        wrt: ``"network"``: perturb the network's parameters; the problem's parameters are the network.
            ``"all"``: the inputs and the initial state as well; the problem's parameters are an
            `lstm.CostGradients` of the three.

    Returns:
        A `Problem`; a plain `Cost` if a layer runs backward in time, since such a network has no step N.
    """
    if wrt not in WRT:
        raise lstm.BadInput(f"wrt: expected one of {', '.join(WRT)}; got {wrt!r}")
    inputs, targets, initial_state, lengths, masks = own((inputs, targets, initial_state, lengths, masks))
    options = {"loss": loss, "reduction": reduction, "lengths": lengths, "masks": masks}
    # Checks every argument, so that a bad one is reported here and not from inside a trace
    lstm.loss_and_gradients(network, inputs, targets, initial_state=initial_state, **options)
    network = lstm.Network(tuple(network.layers), network.readout)
    inputs, targets = _without_padding(inputs, lengths), _without_padding(targets, lengths)
    states = _per_level(initial_state)
    states = zero_states(network.layers, inputs.shape[1], inputs.dtype) if states is None else states
    masks = _per_level(masks)

    def hand(p: lstm.CostGradients) -> lstm.CostGradients:
        dtype = p.inputs.dtype
        given = options | {"masks": cast(masks, dtype)}
        return lstm.loss_and_all_gradients(p.network, p.inputs, cast(targets, dtype), initial_state=p.initial_state, **given)[1]

    def everything(p: Any) -> lstm.CostGradients:
        """What is perturbed, completed by what is not, in the same precision."""
        if wrt == "all":
            return p
        data = cast((inputs, states), np.finfo(jax.tree.leaves(p)[0].dtype).dtype)  # real, under the complex step too
        return lstm.CostGradients(network=p, inputs=data[0], initial_state=data[1])

    def gradients(p: Any) -> Any:
        found = hand(everything(p))
        return found if wrt == "all" else found.network

    parameters = lstm.CostGradients(network=network, inputs=inputs, initial_state=states) if wrt == "all" else network
    origin = {"inputs": inputs, "targets": targets, "initial_state": states, "masks": masks}
    origin |= {"loss": loss, "reduction": reduction, "lengths": lengths}
    if not is_causal(network.layers):
        weights = _loss_weights(reduction, lengths, inputs.shape[:2])

        def function(p: Any) -> Any:
            p = everything(p)
            outputs, _ = network_forward(p.network.layers, p.inputs, p.initial_state, lengths, masks)
            readout = p.network.readout
            y = outputs if readout is None else jnp.matmul(outputs, readout.w, precision="highest") + readout.b
            return (lstm.LOSSES[loss].forward(y, targets) * weights.astype(inputs.dtype)).sum()

        return Cost(parameters=parameters, function=function, gradients=gradients, origin=origin)

    def step(p: Any, state: Any, x_t: Any) -> Any:
        at_t, masks_t = x_t
        if wrt == "all":
            return lstm.step(p.network, state, jnp.asarray(p.inputs)[at_t], masks_t)
        return lstm.step(p, state, at_t, masks_t)

    return Problem(
        parameters=parameters,
        step=step,
        loss=lstm.LOSSES[loss].forward,
        inputs=(np.arange(len(inputs)) if wrt == "all" else inputs, masks),
        targets=targets,
        initial_state=(lambda p: p.initial_state) if wrt == "all" else states,
        reduction=reduction,
        lengths=lengths,
        gradients=gradients,
        origin=origin,
    )


def from_upstream(
    layers: Any,
    inputs: Any,
    d_outputs: Any = None,
    d_final_state: Any = None,
    *,
    initial_state: Any = None,
    lengths: Any = None,
    masks: Any = None,
) -> Cost:
    """The cost whose gradient `lstm.backward` gives: Σ d_outputs · outputs + Σ d_final_state · final state.

    Its parameters are an `lstm.Gradients` of the layers, the inputs and the initial state, as is the hand-written gradient.
    Arguments as for `lstm.forward` and `lstm.backward`, ``layers`` a sequence of levels.
    """
    layers = tuple(layers)
    inputs, d_outputs, d_final_state = own((inputs, d_outputs, d_final_state))
    initial_state, lengths, masks = own((initial_state, lengths, masks))
    residuals = lstm.forward(layers, inputs, initial_state, lengths=lengths, masks=masks)[2]
    lstm.backward(layers, residuals, d_outputs, d_final_state)  # checks the upstream gradients too
    inputs = _without_padding(inputs, lengths)
    states = _per_level(initial_state)
    states = zero_states(layers, inputs.shape[1], inputs.dtype) if states is None else states
    masks, upstream = _per_level(masks), _per_level(d_final_state)
    d_outputs = None if d_outputs is None else _without_padding(d_outputs, lengths)

    def function(p: lstm.Gradients) -> Any:
        outputs, final = network_forward(p.layers, p.inputs, p.initial_state, lengths, masks)
        total = jnp.zeros((), outputs.dtype) if d_outputs is None else (outputs * d_outputs).sum()
        return total + sum(_dot(d, end) for d, end in zip(upstream or (), final, strict=False))

    def hand(p: lstm.Gradients) -> lstm.Gradients:
        kept = lstm.forward(p.layers, p.inputs, p.initial_state, lengths=lengths, masks=masks)[2]
        return lstm.backward(p.layers, kept, d_outputs, d_final_state)

    return Cost(
        parameters=lstm.Gradients(layers=layers, inputs=inputs, initial_state=states),
        function=function,
        gradients=hand,
        origin={"lengths": lengths, "masks": masks, "d_outputs": d_outputs, "d_final_state": upstream},
    )


def _dot(d: Any, final: Any) -> Any:
    """Σ of d · final over the arrays of a level's state; what is None counts for nothing."""
    if isinstance(final, lstm.Bidirectional):
        return 0 if d is None else _dot(d.forward, final.forward) + _dot(d.reverse, final.reverse)
    pairs = [] if d is None else [(d.h, final.h), (d.c, final.c)]
    return sum((given * end).sum() for given, end in pairs if given is not None)


def _per_level(given: Any) -> tuple | None:
    """A tuple with one entry per level; a single one stands for a single level."""
    if given is None or isinstance(given, (tuple, list)):
        return None if given is None else tuple(given)
    return (given,)


def _loss_weights(reduction: str, lengths: Any, shape: tuple[int, int]) -> np.ndarray:
    """(T, B): 1 or 1/N where the timestep counts, else 0."""
    counted = np.ones(shape, bool) if lengths is None else np.arange(shape[0])[:, None] < np.asarray(lengths)
    return counted / (counted.sum() if reduction == "mean" else 1)


def _without_padding(array: Any, lengths: Any) -> np.ndarray:
    """Zeros past each sequence's length, where anything may stand."""
    array = np.asarray(array)
    if lengths is None:
        return array
    valid = np.arange(len(array))[:, None] < np.asarray(lengths)
    return np.where(valid if array.ndim == 2 else valid[:, :, None], array, np.zeros((), array.dtype))


