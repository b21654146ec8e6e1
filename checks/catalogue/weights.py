"""Bugs where a timestep's gate gradients become gradients of weights, inputs and initial state, (16) to (20)."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from checks.catalogue.bug import (
    Bug,
    Family,
    as_many_inputs_as_outputs,
    as_many_inputs_as_units,
    both,
    gates_of,
    initial_h,
    only_timestep,
    reordered,
    replace_blocks,
    several_rows,
    several_sequences,
    several_steps,
    several_units,
    square,
)
from checks.catalogue.case import Case
from checks.catalogue.cell import other_orders
from checks.catalogue.forward import gate_blocks
from checks.catalogue.sites import LayerSite
from lstm import CostGradients, Layer, State


def each_layer(change: Callable[[Layer], Layer]) -> Any:
    """A modifier of all the gradients that changes every layer's."""

    def is_layer(node: Any) -> bool:
        return isinstance(node, Layer)

    def modifier(gradients: Any, _: Case) -> Any:
        if isinstance(gradients, CostGradients):
            layers = jax.tree.map(change, gradients.network.layers, is_leaf=is_layer)
            return dataclasses.replace(gradients, network=dataclasses.replace(gradients.network, layers=layers))
        return dataclasses.replace(gradients, layers=jax.tree.map(change, gradients.layers, is_leaf=is_layer))

    return modifier


def _shifted(array: np.ndarray, by: int) -> np.ndarray:
    """Row t is the array's row t - by, or zeros where there is none."""
    result = np.zeros_like(array)
    kept = len(array) - abs(by)
    result[max(by, 0) : max(by, 0) + kept] = array[max(-by, 0) : max(-by, 0) + kept]
    return result


def _reshaped(array: np.ndarray, _: LayerSite) -> np.ndarray:
    return array.transpose(1, 0, 2).reshape(array.shape)


def _flipped(array: np.ndarray, _: LayerSite) -> np.ndarray:
    return array[::-1]


def _without_initial(h_previous: np.ndarray, _: LayerSite) -> np.ndarray:
    result = h_previous.copy()
    result[0] = 0
    return result


def _transposed_blocks(array: np.ndarray, at: LayerSite) -> np.ndarray:
    return np.concatenate([block.T for block in gate_blocks(at.layer, array).values()], axis=-1)


def _untransposed(_: np.ndarray, at: LayerSite) -> Any:
    """The input gradient through blocks of W_x as they are; needs the gate gradients, so it acts where those are chosen."""
    d_z, w_x = gate_blocks(at.layer, at.d_z), gate_blocks(at.layer, at.layer.w_x)
    return sum(d_z[q] @ w_x[q] for q in at.layer.gates)


def _states_at_first_step(initial: State, at: LayerSite) -> State:
    step = at.last_step
    return initial if step is None else State(h=step.d_h.sum(axis=0), c=step.d_c.sum(axis=0))


WEIGHTS = (
    Bug(
        "w-x-uses-previous-x", "x of the timestep before is paired with d_z in dW_x", "(16)",
        "the input weights are wrong, all else is right",
        "Pair what the forward pass paired: dW_x += x[t].T @ d_z[t].", {"w_x_inputs": lambda x, _: _shifted(x, 1)},
    ),
    Bug(
        "w-x-uses-next-x", "x of the timestep after is paired with d_z in dW_x", "(16)",
        "the input weights are wrong, all else is right",
        "Pair what the forward pass paired: dW_x += x[t].T @ d_z[t].", {"w_x_inputs": lambda x, _: _shifted(x, -1)},
    ),
    Bug(
        "w-x-inputs-reversed", "the inputs are in reverse order in dW_x", "(16)", "the input weights are wrong, all else is right",
        "Index the inputs by the timestep: dW_x += x[t].T @ d_z[t].", {"w_x_inputs": _flipped}, several_rows,
    ),
    Bug(
        "w-x-axes-mixed", "batch-first inputs are reshaped to time-major, not transposed, in dW_x", "(16)",
        "inputs meet the gate gradients of other sequences and timesteps", "Flatten inputs and gate gradients in the same order.",
        {"w_x_inputs": _reshaped}, both(several_rows, several_sequences),
    ),
    Bug(
        "w-h-uses-new-h", "h_t is used for h_{t-1} in dW_h", "(17)", "the recurrent weights are wrong, all else is right",
        "The forward pass multiplied the *previous* hidden state: dW_h += h[t - 1].T @ d_z[t], with h0 at t = 0.",
        {"w_h_inputs": lambda _, at: at.run.h},
    ),
    Bug(
        "w-h-misses-h0", "the initial state's term of dW_h is dropped", "(17)", "the recurrent weights lack the contribution of timestep 0",
        "At t = 0 add h0.T @ d_z[0].", {"w_h_inputs": _without_initial}, initial_h,
    ),
    Bug(
        "w-h-uses-x", "the inputs are used for the hidden states in dW_h", "(17)",
        "dW_h is dW_x; shapes fit where D = R", "Use the previous hidden state: dW_h += h[t - 1].T @ d_z[t].",
        {"w_h_inputs": lambda _, at: at.run.inputs}, as_many_inputs_as_outputs,
    ),
    Bug(
        "w-h-transposed", "each block of dW_h is transposed", "(17)",
        "right numbers in the wrong places; shapes fit, because each block is square",
        "dW_h = h_previous.T @ d_z where z = h @ W_h; its transpose where z = W_h @ h.",
        {"w_h": _transposed_blocks}, several_units, kind=square,
    ),
    Bug(
        "w-x-and-w-h-swapped", "dW_x and dW_h are swapped", "(16)", "each stands in the other's place; shapes fit where D = R",
        "Check the order in which the gradients are returned.",
        {"gradients": each_layer(lambda layer: dataclasses.replace(layer, w_x=layer.w_h, w_h=layer.w_x))}, as_many_inputs_as_outputs,
    ),
    Bug(
        "gate-gradients-reversed", "gate gradients collected by the reverse loop are never put back in order", "(16)",
        "dW_x, dW_h, the peepholes' and the inputs' gradient pair t with T - 1 - t; the bias, a plain sum, is right",
        "The loop ran from T - 1 down: store d_z[t] at index t, or flip the list once.",
        {"w_x_d_z": _flipped, "w_h_d_z": _flipped, "inputs_d_z": _flipped, "peephole_d_z": _flipped}, several_rows,
    ),
)  # fmt: skip

BIAS = (
    Bug(
        "bias-doubled", "the bias gradient is doubled", "(18)", "exactly 2 on the bias, all else is right",
        "Each of two biases gets the full gradient, once: don't add both to one array.", {"b": lambda b, _: 2 * b},
    ),
    Bug(
        "bias-halved", "the bias gradient is halved", "(18)", "exactly ½ on the bias, all else is right",
        "Where a layer has two biases, each gets the full gradient: don't share it out.", {"b": lambda b, _: b / 2},
    ),
    Bug(
        "bias-batch-mean", "the bias gradient is averaged over the batch", "(18)", "exactly 1/B on the bias, all else is right",
        "Sum over the batch: db = d_z.sum(axis=(0, 1)).", {"b": lambda b, at: b / at.case.sizes["B"]}, several_sequences,
    ),
    Bug(
        "bias-time-mean", "the bias gradient is averaged over time", "(18)", "exactly 1/T on the bias, all else is right",
        "Sum over the timesteps: db = d_z.sum(axis=(0, 1)).", {"b": lambda b, at: b / at.case.sizes["T"]}, several_rows,
    ),
    Bug(
        "bias-first-sequence-only", "the bias gradient is that of the first sequence", "(18)", "the other sequences are missing",
        "Sum over the batch: db = d_z.sum(axis=(0, 1)).", {"b_d_z": lambda d_z, _: d_z[:, :1]}, several_sequences,
    ),
)  # fmt: skip

INPUTS_AND_STATE = (
    Bug(
        "inputs-matrix-transposed", "W_x is not transposed in the inputs' gradient", "(19)", "shapes fit where D = H",
        "Multiply by the transpose of what the forward pass multiplied by: d_x = d_z @ W_x.T.",
        {"inputs": _untransposed}, both(as_many_inputs_as_units, several_units),
    ),
    Bug(
        "inputs-through-recurrent-weights", "the inputs' gradient goes through W_h", "(19)", "shapes fit where D = R",
        "Use the input weights: d_x = d_z @ W_x.T.", {"inputs": lambda _, at: at.d_z @ at.layer.w_h.T}, as_many_inputs_as_outputs,
    ),
    Bug(
        "initial-gradients-swapped", "the gradients of h0 and c0 are swapped", "(20)", "each stands in the other's place",
        "Check the order of the state: (h, c) here, (c, h) in some frameworks.",
        {"initial_state": lambda state, _: State(h=state.c, c=state.h)}, kind=square,
    ),
    Bug(
        "initial-gradients-one-step-late", "h0 and c0 get the gradients of h and c after timestep 0", "(20)",
        "d_h0 misses d_z W_hᵀ and d_c0 the forget gate", "Return what timestep 0 hands back: d_z[0] @ W_h.T and d_c[0] * f[0].",
        {"initial_state": _states_at_first_step},
    ),
    Bug(
        "initial-gradients-zero", "the initial state has no gradient", "(20)", "h0 and c0 cannot be learned",
        "Return d_h_next and d_c_next as they are after timestep 0.",
        {"initial_state": lambda state, _: State(h=np.zeros_like(state.h), c=np.zeros_like(state.c))},
    ),
)  # fmt: skip


def overwritten(arrays: tuple[str, int]) -> Bug:
    """``=`` for ``+=``: only one timestep is left, of one array or of all. ``arrays``: ("b", -1), ("w_x", 0), ("all", 0), …"""
    array, step = arrays
    names = ("w_x", "w_h", "b", "peephole") if array == "all" else (array,)
    which = "first" if step == 0 else "last"
    what = "every weight" if array == "all" else array
    return Bug(
        f"only-{which}-step-in-{array.replace('_', '-')}", f"only the {which} timestep counts in the gradient of {what}",
        {"w_x": "(16)", "w_h": "(17)", "b": "(18)", "all": "(8)"}[array],
        "a weight is used at every timestep; the sum over the others is missing",
        "Accumulate over the timesteps: += and not =, and nothing reset inside the loop.",
        dict.fromkeys([f"{name}_d_z" for name in names] + ["projection_d_h"] * (array == "all"), only_timestep(step)), several_steps,
        parameters={"array": array, "step": step},
    )  # fmt: skip


def inputs_miss_gate(gate: str) -> Bug:
    return Bug(
        f"inputs-miss-gate-{gate}", f"the path from the inputs through gate {gate} is forgotten", "(19)",
        f"the inputs' gradient lacks the block {gate} of d_z W_xᵀ", f"Sum the blocks of all gates: d_x += d_z_{gate} @ W_x{gate}.T.",
        {"inputs_d_z": lambda d_z, at: replace_blocks(d_z, gate, lambda _: 0.0, at.layer)}, parameters={"gate": gate},
    )  # fmt: skip


def permuted(order: str) -> Bug:
    """``order``: whose gradients stand in the blocks that the weights have as i, f, g, o."""

    def change(layer: Layer) -> Layer:
        moved: dict[str, Any] = {name: reordered(layer, getattr(layer, name), order) for name in ("w_x", "w_h", "b")}
        return dataclasses.replace(layer, **moved)

    return Bug(
        f"gates-in-order-{order}", f"the gate blocks of the gradient are in the order {', '.join(order)}", "(16)",
        "right numbers in the wrong blocks of w_x, w_h and b",
        "Write the gradient's blocks in the order of the weights' blocks: one list of gate names for both.",
        {"gradients": each_layer(change)}, parameters={"order": order},
    )  # fmt: skip


BUGS = (*WEIGHTS, *BIAS, *INPUTS_AND_STATE)
FAMILIES = (
    Family("only-one-step", overwritten, lambda case: itertools.product(("w_x", "w_h", "b", "all"), (0, -1))),
    Family("inputs-miss-gate", inputs_miss_gate, gates_of),
    Family("gates-permuted", permuted, other_orders),
)
