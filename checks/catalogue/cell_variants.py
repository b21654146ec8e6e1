"""Bugs inside a timestep that only some cells can have: clipped (40), (41), coupled (28), (29), or with other activations."""

from __future__ import annotations

import numpy as np

from checks.catalogue.bug import Bug, Condition, replace_blocks
from checks.catalogue.case import Case
from checks.catalogue.forward import blocks
from checks.catalogue.sites import Step


def _clipped(derivative: str) -> Condition:
    return lambda case: any(layer.clip is not None and layer.clip.derivative == derivative for layer in case.layers)


def _cut(derivative: str) -> Condition:
    """Did such a clip cut anywhere? Where none did, its derivative is that of the identity."""
    return lambda case: any(run.layer.clip is not None and run.layer.clip.derivative == derivative and run.cut.any() for run in case.runs)


def _coupled(case: Case) -> bool:
    return any(layer.coupled for layer in case.layers)


def _other(field: str, *names: str) -> Condition:
    """Has some layer an activation there that is none of these?"""
    return lambda case: any(getattr(layer.activations, field) not in names for layer in case.layers)


def _exact(slope: np.ndarray, s: Step) -> np.ndarray:
    """0 where the bound cut, in a layer with either derivative."""
    return np.where(s.run.cut[s.t], 0, slope)


def _exact_on_carry_only(value: np.ndarray, s: Step) -> np.ndarray:
    return value * s.clip_slope


def _carried_past_the_clip(value: np.ndarray, s: Step) -> np.ndarray:
    return np.where(s.clip_slope == 0, s.d_c * blocks(s.gates)[1], value)


CLIP = (
    Bug(
        "clip-derivative-ignored", "the clip of the cell state is ignored on the way back", "(41)",
        "gradients flow on where the bound cut and c no longer depends on the gates",
        "Zero what goes back where |c| reached the bound: d_s = d_c * (|c| < bound). Or state the clip as straight-through.",
        {"clip_slope": lambda slope, _: np.ones_like(slope)}, _cut("true"), kind=_clipped("true"),
    ),
    Bug(
        "clip-derivative-missing-in-carry", "the clip's derivative is forgotten where d_c is carried back", "(41)",
        "the gates are right at their own timestep, but gradients flow on along c where the bound cut",
        "Carry what is left after the clip: d_c_next = d_c * (|c| < bound) * f.",
        {"d_c_previous": _carried_past_the_clip}, _cut("true"), kind=_clipped("true"),
    ),
    Bug(
        "clip-derivative-in-carry-only", "the clip's derivative is applied to what is carried back and not to the gates", "(41)",
        "the blocks i, f and g are too large where the bound cut",
        "Zero d_c where |c| reached the bound before it is used for the gates i, f and g.",
        {"clip_slope": lambda slope, _: np.ones_like(slope), "d_c_previous": _exact_on_carry_only}, _cut("true"), kind=_clipped("true"),
    ),
    Bug(
        "clip-derivative-on-output-gate", "the clip's derivative is applied to the output gate as well", "(41)",
        "the block o is zero where the bound cut; but o multiplies the clipped value, and has its gradient there",
        "Zero d_c alone where |c| reached the bound: d_o = d_h * tanh(c) stays as it is.",
        {"d_z_o": _exact}, _cut("true"), kind=_clipped("true"),
    ),
    Bug(
        "clip-not-straight-through", "the clip's derivative is applied where the gradient is stated to go straight through", "(41)",
        "the gradient of the cost, but not the one that was stated, wherever the bound cut",
        "Pass d_c on as if nothing had been cut; or state the clip with its true derivative.",
        {"clip_slope": _exact}, _cut("straight_through"), kind=_clipped("straight_through"),
    ),
)  # fmt: skip

COUPLED = (
    Bug(
        "coupled-path-forgotten", "the forget gate's path to the input gate is forgotten", "(29)",
        "the block i is that of a layer whose gates are not coupled, and all that flows through it is wrong",
        "f is 1 - i, so i has two uses: d_i = d_c * g - d_c * c_previous.",
        {"d_i": lambda _, s: s.d_gates[0]}, kind=_coupled,
    ),
    Bug(
        "coupled-path-with-wrong-sign", "the forget gate's path to the input gate has the wrong sign", "(29)",
        "the block i is wrong, and all that flows through it",
        "The derivative of 1 - i is -1: d_i = d_c * g - d_c * c_previous.",
        {"d_i": lambda _, s: s.d_gates[0] + s.d_gates[1]}, kind=_coupled,
    ),
    Bug(
        "coupled-path-alone", "the input gate receives the forget gate's path alone", "(29)",
        "the block i lacks d_c * g, and all that flows through it is wrong",
        "i has two uses, the two add up: d_i = d_c * g - d_c * c_previous.",
        {"d_i": lambda _, s: -s.d_gates[1]}, kind=_coupled,
    ),
)  # fmt: skip

ACTIVATIONS = (
    Bug(
        "gates-use-sigmoid-derivative", "the gates have the sigmoid's derivative, but another activation", "(13)",
        "the blocks i, f and o are scaled wrongly", "Use the derivative of the gates' own activation, not a * (1 - a).",
        {"slopes": lambda slopes, s: np.where(_of_gates(s), s.gates * (1 - s.gates), slopes)}, kind=_other("gate", "sigmoid"),
    ),
    Bug(
        "candidate-uses-tanh-derivative", "the candidate has the derivative of tanh, but another activation", "(13)",
        "the block g is scaled wrongly", "Use the derivative of the candidate's own activation, not 1 - g**2.",
        {"slopes": lambda slopes, s: np.where(_of_gates(s), slopes, 1 - s.gates**2)}, kind=_other("candidate", "tanh"),
    ),
    Bug(
        "output-uses-tanh-derivative", "d_h enters the cell with the derivative of tanh, but c leaves it by another activation", "(11)",
        "d_h reaches the cell with the wrong factor", "Use the derivative of the activation that h = o * act(c) has, not 1 - a**2.",
        {"output_slope": lambda _, s: 1 - s.output_c**2}, kind=_other("output", "tanh"),
    ),
    Bug(
        "no-output-derivative", "the derivative of the activation that c leaves the cell by is forgotten", "(11)",
        "d_h reaches the cell with the wrong factor", "Multiply by it: d_c += d_h * o * act'(c).",
        {"output_slope": lambda slope, _: np.ones_like(slope)}, kind=_other("output", "tanh", "identity"),
    ),
)  # fmt: skip


def _of_gates(s: Step) -> np.ndarray:
    """(B, 4H) booleans: the blocks i, f and o."""
    return replace_blocks(np.ones(s.gates.shape), "g", lambda _: 0).astype(bool)


BUGS = (*CLIP, *COUPLED, *ACTIVATIONS)
