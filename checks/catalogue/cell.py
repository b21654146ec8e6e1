"""Bugs inside one timestep: the output gate and tanh(c), the factors of (12), the derivatives of the gates."""

from __future__ import annotations

import itertools

import numpy as np

from checks.catalogue.activations import sigmoid
from checks.catalogue.bug import (
    Bug,
    Condition,
    Family,
    always,
    both,
    either,
    final_c,
    final_h,
    gates_of,
    initial_c,
    reordered,
    replace_blocks,
    several_steps,
    sigmoid_gates,
    tanh_candidate,
    tanh_output,
    uncoupled,
    unprojected,
)
from checks.catalogue.case import Case
from checks.catalogue.forward import GATES, blocks
from checks.catalogue.sites import Step

GATE_NAMES = {"i": "input", "f": "forget", "g": "candidate", "o": "output", "ifo": "every sigmoid", "ifgo": "every"}


def _carried_misses_slope(d_z: np.ndarray, s: Step) -> np.ndarray:
    """δ = carried ∂ + through_h ∂ q' on the blocks i, f, g."""
    result = d_z.copy()
    for q in range(GATES - 1):
        factor, slope = blocks(s.factors)[q], blocks(s.slopes)[q]
        blocks(result)[q][...] += s.carried_c * s.clip_slope * factor * (1 - slope)
    return result


def _carried_h_misses_slope(d_z_o: np.ndarray, s: Step) -> np.ndarray:
    return d_z_o + s.before_projection(s.carried_h) * blocks(s.factors)[-1] * (1 - blocks(s.slopes)[-1])


def _activated_gates(case: Case) -> bool:
    """Do the gates of every layer have an activation, whose derivative can be wrong?"""
    return all(layer.activations.gate != "identity" for layer in case.layers)


def _activated_candidate(case: Case) -> bool:
    return all(layer.activations.candidate != "identity" for layer in case.layers)


_activated = either(_activated_gates, _activated_candidate)


def _has(gates: str) -> Condition:
    """Weights for these gates; for f none has where it is coupled, and alone nothing to get wrong."""
    return lambda case: gates != "f" or uncoupled(case)


def _slopes_of_pre_activations(slopes: np.ndarray, s: Step) -> np.ndarray:
    z = replace_blocks(s.run.z[s.t], "ifo", lambda block: block * (1 - block))
    return replace_blocks(z, "g", lambda block: 1 - block**2)


OUTPUT = (
    Bug(
        "output-gate-uses-c", "c is used for tanh(c) in the output gate's gradient", "(10)",
        "the block o is off, and all that flows through it",
        "The forward pass multiplies o by tanh(c), so d_o = d_h * tanh(c).",
        {"factor_o": lambda _, s: s.c}, kind=tanh_output,
    ),
    Bug(
        "no-tanh-derivative", "the derivative of tanh(c) is forgotten", "(11)", "too much of d_h reaches the cell",
        "Multiply by it: d_c += d_h * o * (1 - tanh(c)**2).",
        {"output_slope": lambda slope, _: np.ones_like(slope)}, kind=tanh_output,
    ),
    Bug(
        "tanh-derivative-of-tanh", "the derivative of tanh is taken at tanh(c)", "(11)", "d_h reaches the cell with the wrong factor",
        "1 - tanh(c)**2 where tanh_c is already tanh(c) is 1 - tanh_c**2, not 1 - tanh(tanh_c)**2.",
        {"output_slope": lambda _, s: 1 - np.tanh(s.output_c) ** 2}, kind=tanh_output,
    ),
    Bug(
        "tanh-derivative-without-tanh", "1 - c² is used for 1 - tanh(c)²", "(11)",
        "d_h reaches the cell with the wrong factor, even the wrong sign where |c| > 1",
        "Use 1 - tanh(c)**2: 1 - a**2 needs the activated value.",
        {"output_slope": lambda _, s: 1 - s.c**2}, kind=tanh_output,
    ),
    Bug(
        "tanh-derivative-of-h", "1 - h² is used for 1 - tanh(c)²", "(11)", "d_h reaches the cell with the wrong factor",
        "Use 1 - tanh(c)**2: h is o * tanh(c), not tanh(c).",
        {"output_slope": lambda _, s: 1 - s.h**2}, kind=both(tanh_output, unprojected),
    ),
    Bug(
        "no-output-gate-in-dc", "the output gate is missing where d_h enters the cell", "(11)", "too much of d_h reaches the cell",
        "Multiply by it: d_c += d_h * o * (1 - tanh(c)**2).",
        {"through_o": lambda o, _: np.ones_like(o)},
    ),
    Bug(
        "no-path-from-h-to-c", "nothing flows from h into the cell", "(11)", "the gates i, f and g learn nothing of any loss on h",
        "Add d_h * o * (1 - tanh(c)**2) to d_c.",
        {"through_h": lambda value, _: np.zeros_like(value)},
    ),
)  # fmt: skip

CELL = (
    Bug(
        "forget-gate-uses-new-c", "c_t is used for c_{t-1} in the forget gate's gradient", "(12)",
        "the block f is wrong (coupled: i), and what flows through it to h_{t-1}",
        "The forward pass multiplied f by the *previous* cell state: d_f = d_c * c_previous. Check what is stored, and when.",
        {"factor_f": lambda _, s: s.c},
    ),
    Bug(
        "no-c0-in-forget-gate", "the initial cell state is taken as zero in the forget gate's gradient", "(12)",
        "timestep 0 adds nothing to the block f (coupled: through f to the block i)",
        "At t = 0 the previous cell state is c0: d_f = d_c * c0.",
        {"factor_f": lambda c, s: np.zeros_like(c) if s.t == 0 else c}, initial_c,
    ),
    Bug(
        "input-and-candidate-swapped", "i and g are swapped in their gradients", "(12)", "the blocks i and g are wrong",
        "c gains i * g, so d_i = d_c * g and d_g = d_c * i.",
        {"factor_i": lambda _, s: blocks(s.gates)[0], "factor_g": lambda _, s: blocks(s.gates)[2]},
    ),
    Bug(
        "candidate-squashed-twice", "tanh is applied to the candidate a second time in the input gate's gradient", "(12)",
        "the block i is too small", "g is already tanh(z_g): d_i = d_c * g.",
        {"factor_i": lambda g, _: np.tanh(g)}, kind=tanh_candidate,
    ),
    Bug(
        "pre-activations-for-gates", "pre-activations are used where the gates' activated values belong", "(2)",
        "every factor and every derivative of a gate is wrong",
        "Store i, f, g, o *after* their activation for the backward pass.",
        {"gates": lambda _, s: s.run.z[s.t]}, kind=both(_activated, uncoupled),
    ),
    Bug(
        "misplaced-parentheses", "the carried cell gradient misses the gates' derivatives: d_c_next·∂ + base·∂·q'", "(13)",
        "the blocks i, f and g are too large by what came from later timesteps",
        "Put parentheses around the whole of d_c: (d_c_next + d_h * o * (1 - tanh(c)**2)) * g * i * (1 - i).",
        {"d_z": _carried_misses_slope}, either(several_steps, final_c), kind=both(_activated, uncoupled),
    ),
    Bug(
        "misplaced-parentheses-in-o", "the carried hidden gradient misses the output gate's derivative", "(13)",
        "the block o is too large by what came from later timesteps",
        "Put parentheses around the whole of d_h: (d_outputs[t] + d_h_next) * tanh(c) * o * (1 - o).",
        {"d_z_o": _carried_h_misses_slope}, either(several_steps, final_h), kind=_activated_gates,
    ),
)  # fmt: skip

SLOPES = (
    Bug(
        "candidate-derivative-of-tanh", "the derivative of tanh is taken at the activated candidate", "(13)", "the block g is too large",
        "g is already tanh(z_g): the derivative is 1 - g**2, not 1 - tanh(g)**2.",
        {"slopes": lambda slopes, s: replace_blocks(slopes, "g", lambda _: 1 - np.tanh(blocks(s.gates)[2]) ** 2)}, kind=tanh_candidate,
    ),
    Bug(
        "candidate-uses-sigmoid-derivative", "the candidate has the sigmoid's derivative", "(13)", "the block g is wrong, often in sign",
        "The candidate is a tanh: its derivative is 1 - g**2, not g * (1 - g).",
        {"slopes": lambda slopes, s: replace_blocks(slopes, "g", lambda _: blocks(s.gates)[2] * (1 - blocks(s.gates)[2]))},
        kind=tanh_candidate,
    ),
    Bug(
        "gates-use-tanh-derivative", "the sigmoid gates have the derivative of tanh", "(13)", "the blocks i, f and o are too large",
        "The gates are sigmoids: the derivative is a * (1 - a), not 1 - a**2.",
        {"slopes": lambda slopes, s: np.where(_sigmoid_blocks(slopes), 1 - s.gates**2, slopes)}, kind=sigmoid_gates,
    ),
    Bug(
        "derivatives-of-pre-activations", "the gates' derivatives are taken with pre-activations for activated values", "(13)",
        "every block is scaled wrongly", "a * (1 - a) and 1 - a**2 need the activated values.",
        {"slopes": _slopes_of_pre_activations}, kind=both(sigmoid_gates, tanh_candidate, uncoupled),
    ),
)  # fmt: skip


def _sigmoid_blocks(like: np.ndarray) -> np.ndarray:
    return replace_blocks(np.ones(like.shape), "g", lambda _: 0).astype(bool)


def derivative_omitted(gates: str) -> Bug:
    return Bug(
        f"no-derivative-of-{gates}", f"the derivative of {GATE_NAMES[gates]} gate's activation is omitted", "(13)",
        f"the block(s) {', '.join(gates)} are too large: the gradient at the gate stands for that at its pre-activation",
        "Multiply by the activation's derivative: a * (1 - a) of a sigmoid a, 1 - g**2 of a tanh g.",
        {"slopes": lambda slopes, _: replace_blocks(slopes, gates, lambda _: 1.0)}, parameters={"gates": gates},
        kind=both(_has(gates), _activated_gates if set(gates) & set("ifo") else always, _activated_candidate if "g" in gates else always),
    )  # fmt: skip


def derivative_activated_twice(gates: str) -> Bug:
    def twice(slopes: np.ndarray, s: Step) -> np.ndarray:
        a = sigmoid(s.gates)
        affected = np.repeat([q in gates for q in "ifgo"], slopes.shape[-1] // GATES)
        return np.where(affected, a * (1 - a), slopes)

    return Bug(
        f"sigmoid-twice-in-derivative-of-{gates}", f"the sigmoid is applied again in the derivative of {GATE_NAMES[gates]} gate", "(13)",
        f"the block(s) {', '.join(gates)} are scaled wrongly",
        "The stored gate is already activated: use a * (1 - a), not sigmoid(a) * (1 - sigmoid(a)).",
        {"slopes": twice}, parameters={"gates": gates}, kind=both(_has(gates), sigmoid_gates),
    )  # fmt: skip


def gate_missing(gate: str) -> Bug:
    return Bug(
        f"gate-{gate}-missing", f"the {GATE_NAMES[gate]} gate has no gradient", "(13)",
        f"the block {gate} is zero, and nothing flows through it", f"Compute the block {gate} of d_z and use it like the others.",
        {"d_z_o": lambda d_z_o, _: np.zeros_like(d_z_o)} if gate == "o" else
        {"d_z": lambda d_z, s: replace_blocks(d_z, gate, lambda _: 0.0, s.layer)}, parameters={"gate": gate}, kind=_has(gate),
    )  # fmt: skip


def other_orders(case: Case) -> list[str]:
    return ["".join(order) for order in itertools.permutations(gates_of(case))][1:]


def gate_gradients_permuted(order: str) -> Bug:
    """``order``: whose gradients stand in the blocks of d_z that the weights have as i, f, g, o."""
    return Bug(
        f"gate-gradients-in-order-{order}", f"the gate gradients are put together in the order {', '.join(order)} inside the loop", "(13)",
        "the blocks of every weight's gradient are exchanged, and what goes back to h and to the inputs meets the wrong weights",
        "Put d_z together in the order of the forward pass: one list of gate names for both.",
        {"d_z": lambda d_z, s: reordered(s.layer, d_z, order)}, parameters={"order": order},
    )  # fmt: skip


BUGS = (*OUTPUT, *CELL, *SLOPES)
FAMILIES = (
    Family("derivative-omitted", derivative_omitted, lambda case: ("i", "f", "g", "o", "ifo", "ifgo")),
    Family("sigmoid-twice-in-derivative", derivative_activated_twice, lambda case: ("i", "f", "o", "ifo")),
    Family("gate-missing", gate_missing, gates_of),
    Family("gate-gradients-permuted", gate_gradients_permuted, other_orders),
)
