"""A network and its cost as arrays: what a problem was made of, and its unperturbed run, which perturbed ones start from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstm
from checks.arguments import described
from checks.exhaustive.timestep import hold, masked, matmul, one_step
from checks.problem import only_cost
from lstm import BadInput
from lstm.levels import apart, directions
from lstm.parameters import pytree, static

NO_MASKS = lstm.Masks()


@pytree
class NetworkCost:
    """A loss of predictions, or Σ d_outputs · outputs + Σ d_final_state · final state. What is absent is None.

    States and masks are lists over levels of lists over directions, as are `Unperturbed`'s arrays.
    """

    layers: tuple[Any, ...]  # levels, lowest first
    readout: Any
    inputs: Any  # (T, B, D)
    initial_state: list[list[Any]]
    masks: list[list[Any]]
    valid: Any  # (T, B) booleans: does timestep t of sequence b count?
    targets: Any  # (T, B, K) or labels (T, B)
    loss_weights: Any  # (T, B)
    d_outputs: Any  # (T, B, R)
    d_final_state: list[list[Any]]
    loss: str = static(default="")


@pytree
class Unperturbed:
    """One run of the network as it is. Everything in input order, whichever way a layer runs. None: not needed."""

    inputs: list[Any]  # per level (T, B, D)
    outputs: list[list[Any]]  # (T, B, R)  zero past each length
    before: list[list[Any]]  # states (T, B, ·) that each timestep started from


def network_cost(problem: Any) -> NetworkCost:
    """What the problem was made of. Raises BadInput for one that was not made of a network."""
    origin = only_cost(problem).origin
    if origin is None:
        raise BadInput(f"problem: expected one made by checks.Problem.from_network or from_upstream; got another {described(problem)}")
    layers, readout, inputs, states = parts(problem.parameters, origin)
    timesteps, batch = np.shape(inputs)[:2]
    lengths, dtype = origin.get("lengths"), problem.dtype
    valid = np.ones((timesteps, batch), bool) if lengths is None else np.arange(timesteps)[:, None] < np.asarray(lengths)
    is_loss = origin.get("targets") is not None
    if origin.get("loss_weights") is None:
        loss_weights = valid / (valid.sum() if origin.get("reduction") == "mean" else 1)
    else:
        loss_weights = origin["loss_weights"]
    masks, d_final = origin.get("masks") or (None,) * len(layers), origin.get("d_final_state") or (None,) * len(layers)
    return NetworkCost(
        layers=tuple(layers),
        readout=readout,
        inputs=inputs,
        initial_state=[apart(level, given) for level, given in zip(layers, states, strict=True)],
        masks=[[one or NO_MASKS for one in apart(level, given)] for level, given in zip(layers, masks, strict=True)],
        valid=None if lengths is None else valid,
        targets=origin.get("targets"),
        loss_weights=np.asarray(loss_weights, dtype) if is_loss else None,
        d_outputs=origin.get("d_outputs"),
        d_final_state=[apart(level, given) for level, given in zip(layers, d_final, strict=True)],
        loss=origin["loss"] if is_loss else "",
    )


def parts(parameters: Any, origin: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
    """-> layers, readout, inputs, states: of the parameters where those hold them, else the problem's own."""
    if isinstance(parameters, lstm.Gradients):
        return parameters.layers, None, parameters.inputs, parameters.initial_state
    if isinstance(parameters, lstm.CostGradients):
        return parameters.network.layers, parameters.network.readout, parameters.inputs, parameters.initial_state
    return parameters.layers, parameters.readout, origin["inputs"], origin["initial_state"]


def only_inputs(given: NetworkCost) -> Unperturbed:
    """All that is needed where a single layer's weights are perturbed: nothing is run."""
    return Unperturbed(inputs=[np.asarray(given.inputs)], outputs=[[None]], before=[[None]])


@jax.jit
def unperturbed(given: NetworkCost) -> Unperturbed:
    """Run the network once."""
    outputs = jnp.asarray(given.inputs)
    inputs, all_outputs, before = [], [], []
    for level, states, masks in zip(given.layers, given.initial_state, given.masks, strict=True):
        inputs.append(outputs)
        ran = [
            _run(d.layer, outputs, state, mask, given.valid, d.reversed)
            for d, state, mask in zip(directions(level), states, masks, strict=True)
        ]
        all_outputs.append([each[0] for each in ran])
        before.append([each[1] for each in ran])
        outputs = jnp.concatenate([each[0] for each in ran], axis=-1)
    return Unperturbed(inputs=inputs, outputs=all_outputs, before=before)


def _run(layer: Any, inputs: Any, state: Any, masks: Any, valid: Any, is_reversed: bool) -> tuple[Any, Any]:
    z_x = matmul(masked(inputs, masks.inputs), layer.w_x) + layer.b

    def body(state, at_t):
        z_x_t, masks_t, valid_t = at_t
        new = hold(valid_t, one_step(layer, z_x_t, state, masks_t), state)
        return new, (new.h if valid_t is None else jnp.where(valid_t[:, None], new.h, 0), state)

    start = jax.tree.map(lambda leaf: jnp.asarray(leaf, z_x.dtype), state)
    return jax.lax.scan(body, start, (z_x, masks, valid), reverse=is_reversed)[1]


def final_dot(d: Any, end: Any) -> Any:
    """Σ over features of upstream gradient times final state: (..., B)."""
    pairs = [] if d is None else [(given, state) for given, state in ((d.h, end.h), (d.c, end.c)) if given is not None]
    return sum(((given * state).sum(axis=-1) for given, state in pairs), start=jnp.zeros(end.h.shape[:-1], end.h.dtype))
