"""Bugs in what a timestep sends back to the one before: the carries, (14), (15), and their truncation."""

from __future__ import annotations

from typing import Any

import numpy as np

from checks.catalogue.activations import activations_of
from checks.catalogue.bug import (
    Bug,
    Family,
    as_many_inputs_as_outputs,
    both,
    either,
    final_c,
    final_h,
    gates_of,
    several_steps,
    several_units,
    square,
)
from checks.catalogue.forward import blocks, gate_blocks
from checks.catalogue.sites import LayerSite, Step


def _only_at_the_end(carried: np.ndarray, s: Step) -> np.ndarray:
    """What a later timestep sent back is lost; the gradient of the final state, which arrives the same way, is not."""
    return np.where(s.ends, carried, 0)


def _never_assigned(field: str) -> Any:
    def modifier(carried: np.ndarray, s: Step) -> np.ndarray:
        result = np.zeros_like(carried)
        result[0] = getattr(s.d_final_state, field)
        return result

    return modifier


def _previous_forget_gate(f: np.ndarray, s: Step) -> np.ndarray:
    return blocks(s.run.gates[s.t - 1])[1] if s.t > 0 else f


def _wrapped(previous: np.ndarray, s: Step) -> np.ndarray:
    return s.run.c[-1] if s.t == 0 else previous


def _wrapped_h(previous: np.ndarray, at: LayerSite) -> np.ndarray:
    return np.concatenate([at.run.h[-1:], previous[1:]])


def _wrapped_c(previous: np.ndarray, at: LayerSite) -> np.ndarray:
    return np.concatenate([at.run.c[-1:], previous[1:]])


def _recurrent_untransposed(_: np.ndarray, s: Step) -> Any:
    d_z, w_h = gate_blocks(s.layer, s.d_z), gate_blocks(s.layer, s.layer.w_h)
    return sum(d_z[q] @ w_h[q] for q in s.layer.gates)


def _without_gate(gate: str) -> Any:
    def modifier(d_h: np.ndarray, s: Step) -> np.ndarray:
        d_z, w_h = gate_blocks(s.layer, s.d_z), gate_blocks(s.layer, s.layer.w_h)
        return d_h - d_z[gate] @ w_h[gate].T

    return modifier


def _last_c(_: np.ndarray, at: LayerSite) -> np.ndarray:
    return np.broadcast_to(at.run.c[-1], at.run.c.shape)


def _output_of_last_c(s: Step) -> np.ndarray:
    return activations_of(s.layer)[2].forward(s.run.c[-1])


CARRIES = (
    Bug(
        "no-dh-carry", "the gradient that comes back through h is dropped", "(9)",
        "every path from a loss through h to an earlier timestep is lost: each timestep sees its own upstream term and the cell path",
        "Add what the later timestep sent back to the upstream gradient: d_h = d_outputs[t] + d_h_next.",
        {"carried_h": _only_at_the_end}, several_steps,
    ),
    Bug(
        "no-dc-carry", "the gradient that comes back through c is dropped", "(11)",
        "every path along the cell state is lost",
        "Add the carried cell gradient: d_c = d_c_next + d_h * o * (1 - tanh(c)**2), with d_c_next = d_c * f of timestep t + 1.",
        {"carried_c": _only_at_the_end}, several_steps,
        also=("`=` for `+=` where d_h * o * (1 - tanh(c)**2) is added to d_c",),
    ),
    Bug(
        "no-carries", "both carries are dropped: backpropagation is truncated to one timestep", "(9)",
        "no timestep learns of any later loss; finite differences of single timesteps from a frozen state agree with it",
        "At the end of each iteration assign d_h_next = d_z @ W_h.T and d_c_next = d_c * f.",
        {"carried_h": _only_at_the_end, "carried_c": _only_at_the_end}, several_steps,
        also=(
            "both carries are computed but never assigned (without a gradient on the final state)",
            "the state is detached at every timestep",
        ),
    ),
    Bug(
        "carries-never-assigned", "both carries keep the final state's gradient at every timestep", "(9)",
        "the gradient of the final state is added at every timestep and nothing else is carried",
        "At the end of each iteration assign d_h_next = d_z @ W_h.T and d_c_next = d_c * f; they start as d_h_n and d_c_n only once.",
        {"carried_h": _never_assigned("h"), "carried_c": _never_assigned("c")}, both(several_steps, either(final_h, final_c)),
    ),
    Bug(
        "dc-carry-without-f", "d_c is carried back without the forget gate", "(14)",
        "the cell path does not decay: too large, the more so the further back",
        "Multiply by the forget gate before carrying: d_c_next = d_c * f.",
        {"factor_c": lambda f, _: np.ones_like(f)},
    ),
    Bug(
        "dc-carry-uses-i", "d_c is carried back through the input gate", "(14)", "the cell path is scaled by the wrong gate",
        "Carry d_c_next = d_c * f, with the forget gate and not the input gate.",
        {"factor_c": lambda _, s: blocks(s.gates)[0]},
    ),
    Bug(
        "dc-carry-uses-f-of-wrong-step", "d_c is carried with the forget gate of the earlier timestep", "(14)",
        "the cell path from t to t - 1 is scaled by f[t - 1] instead of f[t]",
        "What comes from timestep t + 1 must be multiplied by f[t + 1]: multiply at the end of the iteration that computed d_c.",
        {"factor_c": _previous_forget_gate}, several_steps,
    ),
    Bug(
        "dc-carry-taken-too-early", "d_c is carried before what came from later was added to it", "(14)",
        "the cell path reaches back one timestep only",
        "Compute the whole d_c first (carried plus through h), then d_c_next = d_c * f.",
        {"d_c_previous": lambda _, s: (s.d_c - s.carried_c) * s.clip_slope * blocks(s.gates)[1]}, either(several_steps, final_c),
    ),
    Bug(
        "recurrent-matrix-transposed", "the recurrent matrix is transposed in d_z W_hᵀ", "(15)",
        "the hidden gradient reaches the wrong units of the earlier timestep; shapes fit, because each block is square",
        "Multiply by the transpose of what the forward pass multiplied by: d_h_next = d_z @ W_h.T where z = h @ W_h.",
        {"d_h_previous": _recurrent_untransposed}, several_units, kind=square,
    ),
    Bug(
        "dh-through-input-weights", "the hidden gradient goes back through W_x", "(15)",
        "d_h of the earlier timestep is that of the input; shapes fit where D = R",
        "Use the recurrent weights: d_h_next = d_z @ W_h.T.",
        {"d_h_previous": lambda _, s: s.d_z @ s.layer.w_x.T}, as_many_inputs_as_outputs,
    ),
)  # fmt: skip

STORED_STATES = (
    Bug(
        "states-wrap-around", "at t = 0 the last states are read for the initial ones", "(17)",
        "dW_h, the block f and what peepholes see take h and c of timestep T - 1 for h0 and c0",
        "Index -1 is the last entry: keep h0 and c0 in front of the stored states, or treat t = 0 apart.",
        {"w_h_inputs": _wrapped_h, "factor_f": _wrapped, "peephole_c_previous": _wrapped_c},
    ),
    Bug(
        "stored-states-aliased", "the stored states are all the same buffer, which holds the last one", "(17)",
        "every timestep's h_{t-1}, c_{t-1} and c_t are those of timestep T - 1",
        "Store copies: appending the array that the loop updates in place stores one array T times.",
        {
            "w_h_inputs": lambda _, at: np.broadcast_to(at.run.h[-1], at.run.h.shape),
            "factor_f": lambda _, s: s.run.c[-1],
            "factor_o": lambda _, s: _output_of_last_c(s),
            "output_slope": lambda _, s: activations_of(s.layer)[2].derivative(_output_of_last_c(s)),
            "peephole_c_previous": _last_c,
            "peephole_c": _last_c,
        },
    ),
)  # fmt: skip


def truncated(steps: int) -> Bug:
    return Bug(
        f"truncated-to-{steps}-steps", f"every loss is backpropagated over {steps} timesteps only", "(9)",
        f"paths that use the weights more than {steps - 1} timesteps before the loss are missing",
        "Backpropagate every loss to the first timestep, or state the truncation and compare with the truncated gradient.",
        {"window": lambda _, at: steps}, lambda case: case.longest > steps, parameters={"steps": steps},
    )  # fmt: skip


def detached(every: int) -> Bug:
    def dropped(carried: np.ndarray, s: Step) -> np.ndarray:
        return np.where(s.ends, carried, 0) if (s.t + 1) % every == 0 else carried

    return Bug(
        f"detached-every-{every}-steps", f"the state is detached after every {every} timesteps, counted from the first", "(9)",
        "no loss reaches back past the start of its own chunk",
        "Carry d_h and d_c from chunk to chunk, or state the truncation and compare with the truncated gradient.",
        {"carried_h": dropped, "carried_c": dropped}, lambda case: case.longest > every, parameters={"every": every},
    )  # fmt: skip


def dh_misses_gate(gate: str) -> Bug:
    return Bug(
        f"dh-misses-gate-{gate}", f"the path from h through gate {gate} back to the earlier timestep is forgotten", "(15)",
        f"d_h of the earlier timestep lacks the block {gate} of d_z W_hᵀ",
        f"Sum the blocks of all gates: d_h_next += d_z_{gate} @ W_h{gate}.T.",
        {"d_h_previous": _without_gate(gate)}, parameters={"gate": gate},
    )  # fmt: skip


BUGS = (*CARRIES, *STORED_STATES)
FAMILIES = (
    Family("truncated-to-k-steps", truncated, lambda case: range(2, case.longest)),
    Family("detached-every-k-steps", detached, lambda case: range(2, case.longest)),
    Family("dh-misses-gate", dh_misses_gate, gates_of),
)
