"""Bugs at the entrance of the loop over time: upstream gradients, the loop's bounds, the ends of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from checks.catalogue.bug import Bug, both, either, final_c, final_h, padded, several_sequences, several_steps, square
from checks.catalogue.case import Case
from checks.catalogue.sites import LayerSite
from lstm import State


def _shifted(by: int) -> Any:
    """upstream[t] is read where upstream[t + by] belongs."""

    def modifier(upstream: np.ndarray, _: LayerSite) -> np.ndarray:
        result = np.zeros_like(upstream)
        if by > 0:
            result[by:] = upstream[:-by]
        else:
            result[:by] = upstream[-by:]
        return result

    return modifier


def _swapped(states: tuple[State, ...], _: Case) -> tuple[State, ...]:
    return tuple(State(h=s.c, c=s.h) for s in states)


def _without(field: str) -> Any:
    def modifier(states: tuple[State, ...], _: Case) -> tuple[State, ...]:
        kept = [{"h": s.h, "c": s.c} | {field: np.zeros_like(getattr(s, field))} for s in states]
        return tuple(State(**fields) for fields in kept)

    return modifier


def _lost_in_padding(states: tuple[State, ...], case: Case) -> tuple[State, ...]:
    if case.lengths is None:
        return states
    to_the_end = (case.lengths == case.sizes["T"])[:, None]
    return tuple(State(h=s.h * to_the_end, c=s.c * to_the_end) for s in states)


UPSTREAM = (
    Bug(
        "upstream-only-at-last-step", "the upstream gradient is used at the last timestep only", "(9)",
        "losses of all earlier timesteps are missing",
        "Add d_outputs[t] at every timestep, d_h = d_outputs[t] + d_h_next: do not overwrite one with the other.",
        {"upstream": lambda value, at: np.where(at.run.ends, value, 0)}, several_steps,
    ),
    Bug(
        "upstream-one-step-early", "the upstream gradient of t + 1 is used at t", "(9)",
        "every loss is credited to the state before", "Use d_outputs[t] at timestep t: check the loop's bounds and indices.",
        {"upstream": _shifted(-1)},
    ),
    Bug(
        "upstream-one-step-late", "the upstream gradient of t - 1 is used at t", "(9)",
        "every loss is credited to the state after", "Use d_outputs[t] at timestep t: check the loop's bounds and indices.",
        {"upstream": _shifted(1)},
    ),
    Bug(
        "upstream-reversed", "the upstream gradients are in reverse order", "(9)", "the loss of t is credited to T - 1 - t",
        "Index d_outputs by the timestep, not by the loop's counter; or flip it once if the loop reads it from the front.",
        {"upstream": lambda value, _: value[::-1]}, lambda case: case.sizes["T"] > 1,
    ),
    Bug(
        "upstream-axes-mixed", "batch-first upstream gradients are reshaped to time-major, not transposed", "(9)",
        "losses are credited to the wrong sequences and timesteps", "Swap the axes with a transpose; a reshape only relabels the memory.",
        {"upstream": lambda value, _: value.transpose(1, 0, 2).reshape(value.shape)},
        both(lambda case: case.sizes["T"] > 1, several_sequences),
    ),
    Bug(
        "d-h-n-ignored", "the upstream gradient on the final hidden state is ignored", "(9)", "whatever flows in through h_n is missing",
        "Start the loop from d_h_next = d_h_n instead of zeros.", {"d_final_state": _without("h")}, final_h,
    ),
    Bug(
        "d-c-n-ignored", "the upstream gradient on the final cell state is ignored", "(11)", "whatever flows in through c_n is missing",
        "Start the loop from d_c_next = d_c_n instead of zeros.", {"d_final_state": _without("c")}, final_c,
    ),
    Bug(
        "final-gradients-swapped", "d_h_n and d_c_n are swapped", "(9)", "each flows in where the other belongs",
        "Check the order of the state: (h, c) here, (c, h) in some frameworks.",
        {"d_final_state": _swapped}, either(final_h, final_c), kind=square,
    ),
)  # fmt: skip

LOOP = (
    Bug(
        "loop-skips-first-step", "the loop over time never reaches timestep 0", "(8)",
        "timestep 0 adds nothing to any weight and has no input gradient",
        "Run t from T - 1 down to 0, both included: range(T - 1, -1, -1).",
        {"order": lambda order, _: order[:-1]},
    ),
    Bug(
        "loop-skips-last-step", "the loop over time starts at T - 2", "(8)", "the last timestep and its loss are missing",
        "Run t from T - 1 down to 0, both included: range(T - 1, -1, -1).",
        {"order": lambda order, _: order[1:]}, lambda case: case.longest == case.sizes["T"],
    ),
    Bug(
        "padding-counted", "timesteps past a sequence's end are treated as real", "(27)",
        "padding adds to every weight, and losses there flow back into the sequence",
        "Where t >= length: ignore the upstream gradient, set d_z to zero, and hand d_h and d_c on unchanged.",
        {"lengths": lambda lengths, case: None}, padded,
    ),
    Bug(
        "final-gradient-lost-in-padding", "padding stops the gradient of the final state", "(27)",
        "sequences shorter than T receive nothing from h_n and c_n",
        "Where t >= length, hand d_h and d_c on unchanged instead of multiplying them by the mask.",
        {"d_final_state": _lost_in_padding}, both(padded, either(final_h, final_c)),
    ),
)  # fmt: skip

BUGS = (*UPSTREAM, *LOOP)
