"""A mutable backward pass: the equations of docs/derivation.md as an explicit loop over time, one place for each bug.

Without bugs it equals the hand-written pass of `lstm` to rounding. Every quantity that a bug may get wrong goes through
``terms(name, value, at)``: a bug is a function that takes the right value and returns the wrong one. Any number of
bugs may be switched on at once; at the same place they act one after another, in the order given. A bug is in every layer,
as it is where one piece of code serves them all.

Written for clarity and for a few milliseconds a pass in NumPy, float64: a wrong gradient is compared with many mutants.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from checks.catalogue.case import Case
from checks.catalogue.forward import run_layers, top_outputs, valid_steps
from checks.catalogue.layer_backward import accumulate, layer_backward
from checks.catalogue.sites import LayerSite, Mutation, Terms
from lstm import CostGradients, Gradients, Network, Readout, State
from lstm.levels import directions, together, together_as_layers


class CostSite:
    """Where the cost's derivative is taken: predictions and probabilities (T, B, K), top layer's outputs (T, B, R)."""

    def __init__(self, case: Case, outputs: np.ndarray):
        assert case.targets is not None
        self.case = case
        self.outputs = outputs
        self.y = outputs if case.readout is None else outputs @ case.readout.w + case.readout.b  # (6)
        self.targets = _one_hot(case.targets, self.y.shape[-1])


def gradients(case: Case, bugs: Iterable[Mutation] = ()) -> Any:
    """The gradient with these bugs: `lstm.CostGradients` of a cost, `lstm.Gradients` of upstream gradients; NumPy, float64."""
    terms = Terms(bugs)
    lengths = terms("lengths", case.lengths, case)
    runs = case.runs if lengths is case.lengths else run_layers(case, lengths)
    if case.is_cost:
        d_outputs, d_readout = _cost_backward(CostSite(case, top_outputs(case, runs)), lengths, terms)
        d_final_state = tuple(State(h=np.zeros_like(s.h), c=np.zeros_like(s.c)) for s in case.initial_state)
    else:
        assert case.d_outputs is not None
        assert case.d_final_state is not None
        d_outputs, d_final_state = case.d_outputs, terms("d_final_state", case.d_final_state, case)
    d_levels: list[Any] = []
    d_states: list[Any] = []
    remaining = list(zip(runs, d_final_state, strict=True))
    for level in reversed(case.levels):
        count = len(directions(level))
        of_level, remaining = remaining[-count:], remaining[:-count]
        parts = np.split(d_outputs, np.cumsum([run.h.shape[-1] for run, _ in of_level])[:-1], axis=-1)
        found = [layer_backward(LayerSite(case, *one), part, terms) for one, part in zip(of_level, parts, strict=True)]
        d_outputs = np.sum([each[1] for each in found], axis=0)
        d_levels.insert(0, together_as_layers(level, [each[0] for each in found]))
        d_states.insert(0, together(level, [each[2] for each in found]))
    if case.is_cost:
        network = Network(layers=tuple(d_levels), readout=d_readout)
        result: Any = CostGradients(network=network, inputs=d_outputs, initial_state=tuple(d_states))
    else:
        result = Gradients(layers=tuple(d_levels), inputs=d_outputs, initial_state=tuple(d_states))
    return terms("gradients", result, case)


def _cost_backward(at: CostSite, lengths: np.ndarray | None, terms: Terms) -> tuple[np.ndarray, Readout | None]:
    case = at.case
    step_weights = valid_steps(case, lengths)[:, :, 0].astype(np.float64)
    if case.reduction == "mean":
        step_weights /= terms("counted", case.sizes["N"], case)
    step_weights = terms("step_weights", step_weights, at)  # (7)
    # Past a sequence's end targets may hold anything: exclude, don't multiply by 0
    d_y = np.where(step_weights[:, :, None] != 0, step_weights[:, :, None] * terms("d_y", d_loss(case, at.y, at.targets), at), 0)
    if case.readout is None:
        return d_y, None
    rows, columns = terms("readout_outputs", at.outputs, at), terms("readout_d_y", d_y, at)
    return d_y @ case.readout.w.T, Readout(w=accumulate(rows, columns), b=columns.sum(axis=(0, 1)))  # (21)


def d_loss(case: Case, y: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if case.loss == "squared_error":
        return 2 * (y - targets)  # (23)
    return softmax(y) * targets.sum(axis=-1, keepdims=True) - targets  # (25)


def softmax(y: np.ndarray) -> np.ndarray:
    e = np.exp(y - y.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _one_hot(targets: np.ndarray, outputs: int) -> np.ndarray:
    """Labels (T, B) as vectors (T, B, K), all zeros for a label out of range, which padding may hold; vectors stay."""
    if np.issubdtype(targets.dtype, np.integer) and targets.ndim == 2:
        return (targets[:, :, None] == np.arange(outputs)).astype(np.float64)
    return targets
