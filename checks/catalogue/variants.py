"""Bugs that only layers with peepholes can have, (30) to (33), and those with a projection, (34) to (36)."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from checks.catalogue.bug import (
    Bug,
    Family,
    both,
    either,
    final_h,
    initial_c,
    only_timestep,
    projected,
    several_sequences,
    several_steps,
    several_units,
    square,
    uncoupled,
    with_peepholes,
)
from checks.catalogue.case import Case
from checks.catalogue.forward import blocks, gate_blocks, peepholes_of
from checks.catalogue.sites import LayerSite, Step


def _nothing(value: np.ndarray, _: Any) -> np.ndarray:
    return np.zeros_like(value)


def _with_o(d_c_previous: np.ndarray, s: Step) -> np.ndarray:
    return d_c_previous + s.d_z_o * peepholes_of(s.layer)["o"]


def _without(gate: str) -> Any:
    def modifier(d_c_previous: np.ndarray, s: Step) -> np.ndarray:
        return d_c_previous - gate_blocks(s.layer, s.d_z)[gate] * peepholes_of(s.layer)[gate]

    return modifier


def _without_first(array: np.ndarray, _: LayerSite) -> np.ndarray:
    result = array.copy()
    result[0] = 0
    return result


def _one_step_late(array: np.ndarray, _: LayerSite) -> np.ndarray:
    return np.concatenate([np.zeros_like(array[:1]), array[:-1]])


def _carried_as_it_is(_: np.ndarray, s: Step) -> np.ndarray:
    d_r = s.carried_h.copy()
    d_r[0] += s.before_projection(s.upstream_h)
    return d_r


def _upstream_as_it_is(_: np.ndarray, s: Step) -> np.ndarray:
    d_r = s.before_projection(s.carried_h)
    d_r[0] += s.upstream_h
    return d_r


def _without_output_gate(r: np.ndarray, at: LayerSite) -> np.ndarray:
    o = blocks(at.run.gates)[-1]
    return np.divide(r, o, out=np.zeros_like(r), where=o != 0)


PEEPHOLES = (
    Bug(
        "peephole-missing-in-dc", "the output gate's peephole is forgotten where d_c is put together", "(31)",
        "what reaches the cell state through the output gate is missing: the blocks i, f and g, and all that flows back along c",
        "The output gate sees c_t: d_c += d_z_o * p_o, before d_c is used for the other gates.",
        {"peephole_d_c": _nothing}, kind=with_peepholes,
    ),
    Bug(
        "peepholes-missing-in-dc-carry", "the peepholes of the input and forget gates are forgotten where d_c is carried back", "(32)",
        "what reaches c_{t-1} through these gates is missing",
        "They see c_{t-1}: d_c_next = d_c * f + d_z_i * p_i + d_z_f * p_f.",
        {"peephole_d_c_previous": _nothing}, kind=with_peepholes,
    ),
    Bug(
        "no-peephole-paths", "nothing flows back through the peepholes", "(31)",
        "the peepholes themselves learn, but the cell state hears of no gate that sees it",
        "Add d_z_o * p_o to d_c, and d_z_i * p_i + d_z_f * p_f to what is carried to c_{t-1}.",
        {"peephole_d_c": _nothing, "peephole_d_c_previous": _nothing}, kind=with_peepholes,
    ),
    Bug(
        "peephole-o-reaches-previous-c", "the output gate's peephole is taken back to c_{t-1} instead of c_t", "(31)",
        "its term arrives one timestep too early in the cell state's gradient, past the forget gate",
        "The output gate sees the new cell state: add d_z_o * p_o to d_c, not to what is carried back.",
        {"peephole_d_c": _nothing, "peephole_d_c_previous": _with_o}, kind=with_peepholes,
    ),
    Bug(
        "peepholes-use-new-c", "c_t is used for c_{t-1} in the gradients of the input and forget gates' peepholes", "(33)",
        "their rows of the peepholes are wrong, all else is right",
        "These gates saw the previous cell state: dp_i += d_z_i[t] * c[t - 1], with c0 at t = 0.",
        {"peephole_c_previous": lambda _, at: at.run.c}, kind=with_peepholes,
    ),
    Bug(
        "peephole-o-uses-previous-c", "c_{t-1} is used for c_t in the gradient of the output gate's peephole", "(33)",
        "its row of the peepholes is wrong, all else is right", "The output gate saw the new cell state: dp_o += d_z_o[t] * c[t].",
        {"peephole_c": lambda _, at: at.run.c_previous}, kind=with_peepholes,
    ),
    Bug(
        "peepholes-miss-c0", "the initial cell state's term of the peepholes is dropped", "(33)",
        "the rows of the input and forget gates lack the contribution of timestep 0, all else is right", "At t = 0 add d_z_i[0] * c0.",
        {"peephole_c_previous": _without_first}, initial_c, kind=with_peepholes,
    ),
    Bug(
        "peepholes-batch-mean", "the peepholes' gradient is averaged over the batch", "(33)",
        "exactly 1/B on the peepholes, all else is right",
        "Sum over the batch: dp = (d_z * c).sum(axis=(0, 1)).",
        {"peepholes": lambda value, at: value / at.case.sizes["B"]}, several_sequences, kind=with_peepholes,
    ),
    Bug(
        "peepholes-first-sequence-only", "the peepholes' gradient is that of the first sequence", "(33)",
        "the other sequences are missing, all else is right", "Sum over the batch: dp = (d_z * c).sum(axis=(0, 1)).",
        {"peephole_d_z": lambda d_z, _: d_z * (np.arange(d_z.shape[1]) == 0)[:, None]}, several_sequences, kind=with_peepholes,
    ),
)  # fmt: skip

PROJECTION = (
    Bug(
        "projection-skipped", "d_h is not taken back through the projection", "(35)",
        "the cell receives the gradient of h for that of its own output; shapes fit where R = H",
        "Multiply by the projection's transpose first: d_r = d_h @ W_p.T.",
        {"d_r": lambda _, s: s.d_h}, square, kind=projected,
    ),
    Bug(
        "projection-transposed", "the projection is not transposed on the way back", "(35)",
        "the cell's units receive one another's gradients; shapes fit where R = H",
        "Multiply by the transpose of what the forward pass multiplied by: d_r = d_h @ W_p.T where h = r @ W_p.",
        {"d_r": lambda _, s: s.d_h @ s.layer.projection}, both(square, several_units), kind=projected,
    ),
    Bug(
        "carry-skips-projection", "what is carried back in h skips the projection", "(35)",
        "only the upstream gradient is taken through it; shapes fit where R = H",
        "Add the two first, then go back through the projection: d_r = (d_outputs[t] + d_h_next) @ W_p.T.",
        {"d_r": _carried_as_it_is}, both(square, either(several_steps, final_h)), kind=projected,
    ),
    Bug(
        "upstream-skips-projection", "the upstream gradient skips the projection", "(35)",
        "only what is carried back is taken through it; shapes fit where R = H",
        "Add the two first, then go back through the projection: d_r = (d_outputs[t] + d_h_next) @ W_p.T.",
        {"d_r": _upstream_as_it_is}, square, kind=projected,
    ),
    Bug(
        "projection-gradient-transposed", "the projection's gradient is transposed", "(36)",
        "right numbers in the wrong places; shapes fit where R = H", "dW_p = r.T @ d_h where h = r @ W_p.",
        {"projection": lambda value, _: value.T}, both(square, several_units), kind=projected,
    ),
    Bug(
        "projection-gradient-uses-h", "h_t is used for o * tanh(c) in the projection's gradient", "(36)",
        "the projection is wrong, all else is right; shapes fit where R = H",
        "Use what the projection was applied to: dW_p += r[t].T @ d_h[t], with r = o * tanh(c) before the projection.",
        {"projection_r": lambda _, at: at.run.h}, square, kind=projected,
    ),
    Bug(
        "projection-gradient-uses-previous-r", "o * tanh(c) of the timestep before is used in the projection's gradient", "(36)",
        "the projection is wrong, all else is right", "Pair what the forward pass paired: dW_p += r[t].T @ d_h[t].",
        {"projection_r": _one_step_late}, kind=projected,
    ),
    Bug(
        "projection-gradient-without-o", "the output gate is missing in the projection's gradient", "(36)",
        "the projection is wrong, all else is right", "The projection was applied to o * tanh(c), not to tanh(c).",
        {"projection_r": _without_output_gate}, kind=projected,
    ),
    Bug(
        "projection-gradient-upstream-only", "the projection's gradient counts the upstream gradient alone", "(36)",
        "the projection lacks what later timesteps sent back, all else is right",
        "Use all of d_h: dW_p += r[t].T @ (d_outputs[t] + d_h_next).",
        {"projection_d_h": lambda _, at: at.upstream}, either(several_steps, final_h), kind=projected,
    ),
)  # fmt: skip


def dc_carry_misses_peephole(gate: str) -> Bug:
    return Bug(
        f"dc-carry-misses-peephole-{gate}", f"the peephole of gate {gate} is forgotten where d_c is carried back", "(32)",
        f"what reaches c_{{t-1}} through gate {gate} is missing", "Add both: d_c_next = d_c * f + d_z_i * p_i + d_z_f * p_f.",
        {"peephole_d_c_previous": _without(gate)}, kind=both(with_peepholes, uncoupled), parameters={"gate": gate},
    )  # fmt: skip


def peepholes_permuted(order: str) -> Bug:
    """``order``: whose gradients stand in the rows that the peepholes have as i, f, o."""

    def moved(value: np.ndarray, at: LayerSite) -> np.ndarray:
        rows = dict(zip(peepholes_of(at.layer), value, strict=True))
        return np.stack([rows[q] for q in order])

    return Bug(
        f"peepholes-in-order-{order}", f"the rows of the peepholes' gradient are in the order {', '.join(order)}", "(33)",
        "right numbers in the wrong rows of the peepholes, all else is right",
        "Write the gradient's rows in the order of the weights' rows: ONNX, for one, has i, o, f.",
        {"peepholes": moved}, kind=with_peepholes, parameters={"order": order},
    )  # fmt: skip


def only_one_step(arrays: tuple[str, int]) -> Bug:
    """``=`` for ``+=``: only one timestep is left. ``arrays``: ("peepholes", -1), ("projection", 0), …"""
    array, step = arrays
    which = "first" if step == 0 else "last"
    equation, place, kind = {
        "peepholes": ("(33)", "peephole_d_z", with_peepholes), "projection": ("(36)", "projection_d_h", projected)
    }[array]  # fmt: skip
    return Bug(
        f"only-{which}-step-in-{array}", f"only the {which} timestep counts in the gradient of the {array}", equation,
        "a weight is used at every timestep; the sum over the others is missing, all else is right",
        "Accumulate over the timesteps: += and not =, and nothing reset inside the loop.",
        {place: only_timestep(step)}, several_steps, kind=kind, parameters={"array": array, "step": step},
    )  # fmt: skip


def _other_orders(case: Case) -> list[str]:
    rows = {"".join(peepholes_of(layer)) for layer in case.layers} - {""}
    return ["".join(order) for order in itertools.permutations(rows.pop())][1:] if len(rows) == 1 else []


BUGS = (*PEEPHOLES, *PROJECTION)
FAMILIES = (
    Family("dc-carry-misses-peephole", dc_carry_misses_peephole, lambda case: "if"),
    Family("peepholes-permuted", peepholes_permuted, _other_orders),
    Family("only-one-step-of-a-variant", only_one_step, lambda case: itertools.product(("peepholes", "projection"), (0, -1))),
)
