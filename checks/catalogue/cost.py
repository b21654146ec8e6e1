"""Bugs outside the recurrence: the loss and its mean, the readout, constant factors, clipping."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from checks.catalogue.bug import Bug, Family, both, padded, several_rows, several_steps, short
from checks.catalogue.case import Case
from checks.catalogue.mutants import CostSite, d_loss, gradients, softmax
from checks.catalogue.sites import Step
from lstm import CostGradients, Network
from lstm.levels import directions

# A name for each factor by which a whole gradient may be off -> its value, of `Case.sizes`
FACTORS: dict[str, Callable[[dict[str, int]], float]] = {
    "half": lambda n: 0.5, "2": lambda n: 2.0,
    "t": lambda n: n["T"], "1-over-t": lambda n: 1 / n["T"],
    "b": lambda n: n["B"], "1-over-b": lambda n: 1 / n["B"],
    "k": lambda n: n["K"] or 1, "1-over-k": lambda n: 1 / (n["K"] or 1),
    "count": lambda n: n["N"], "1-over-count": lambda n: 1 / n["N"],
}  # fmt: skip


def scaled(name: str) -> Bug:
    """The whole gradient times `FACTORS` [name]; ``count`` is the number of timesteps that count, of all sequences."""

    def modifier(value: Any, case: Case) -> Any:
        return jax.tree.map(lambda leaf: leaf * FACTORS[name](case.sizes), value)

    return Bug(
        f"times-{name}", f"the whole gradient is multiplied by {name.replace('-over-', '/')}", "(7)", "right direction, wrong length",
        "Match the loss: a mean divides by the number of timesteps that count, once; a sum does not; ‖·‖² has the factor 2, ½‖·‖² has not.",
        {"gradients": modifier}, lambda case: FACTORS[name](case.sizes) != 1, parameters={"factor": name},
        also=("gradients are not set to zero before the second backward pass",) if name == "2" else (),
    )  # fmt: skip


def _mean_reduction(case: Case) -> bool:
    return case.is_cost and case.reduction == "mean"


def _uneven(case: Case) -> bool:
    return case.lengths is not None and len(set(case.lengths[case.lengths > 0])) > 1


def _softmax_cost(case: Case) -> bool:
    return case.is_cost and case.loss == "cross_entropy"


def _several_outputs(case: Case) -> bool:
    return case.sizes["K"] > 1


def _with_readout(case: Case) -> bool:
    return case.is_cost and case.readout is not None


def _each_sequence_alike(step_weights: np.ndarray, at: CostSite) -> np.ndarray:
    """1 / (sequences · length) for 1 / (sum of the lengths)."""
    lengths = at.case.lengths
    if lengths is None:
        return step_weights
    return step_weights * lengths.sum() / (np.count_nonzero(lengths) * np.maximum(lengths, 1))


def _softmax_jacobian_again(d_y: np.ndarray, at: CostSite) -> np.ndarray:
    p = softmax(at.y)
    return p * (d_y - (p * d_y).sum(axis=-1, keepdims=True))


def _last_steps_only(d_y: np.ndarray, at: CostSite) -> np.ndarray:
    result = np.zeros_like(d_y)
    result[-1] = d_y[-1]
    return result


def _previous_outputs(outputs: np.ndarray, at: CostSite) -> np.ndarray:
    top = at.case.initial_state[-len(directions(at.case.levels[-1])) :]
    return np.concatenate([np.concatenate([state.h for state in top], axis=-1)[None], outputs[:-1]])


COST = (
    Bug(
        "sign-flipped", "the whole gradient has the wrong sign", "(23)", "exactly -1: descent climbs",
        "The derivative of (y - target)**2 is 2 * (y - target), that of the cross-entropy softmax(y) - target.",
        {"gradients": lambda value, _: jax.tree.map(np.negative, value)},
    ),
    Bug(
        "padding-in-mean", "the mean divides by T·B, padding included", "(7)", "too small by the share of padding",
        "Divide by the number of timesteps that count, sum(lengths).",
        {"counted": lambda _, case: case.sizes["T"] * case.sizes["B"]}, both(_mean_reduction, padded),
    ),
    Bug(
        "mean-of-sequence-means", "each sequence is averaged by itself, then the sequences", "(7)",
        "short sequences count too much, long ones too little",
        "Divide the sum over all sequences by sum(lengths); or declare this the cost and compare with its gradient.",
        {"step_weights": _each_sequence_alike}, both(_mean_reduction, _uneven),
    ),
    Bug(
        "softmax-jacobian-twice", "the softmax's Jacobian is applied to softmax(y) - target", "(25)",
        "the gradient is bent at every timestep, and too small",
        "softmax(y) - target is already the gradient at the logits: pass it on as it is.",
        {"d_y": _softmax_jacobian_again}, both(_softmax_cost, _several_outputs),
    ),
    Bug(
        "probabilities-for-logits", "the loss's derivative takes probabilities for logits", "(25)",
        "softmax(softmax(y)) - target: almost uniform predictions", "Apply the softmax once, to the logits.",
        {"d_y": lambda _, at: softmax(softmax(at.y)) - at.targets}, both(_softmax_cost, _several_outputs),
    ),
    Bug(
        "softmax-forgotten", "the loss's derivative takes logits for probabilities", "(25)", "y - target instead of softmax(y) - target",
        "Apply the softmax to the logits before subtracting the target.", {"d_y": lambda _, at: at.y - at.targets}, _softmax_cost,
    ),
    Bug(
        "softmax-over-batch", "the softmax in the loss's derivative runs over the batch", "(25)",
        "probabilities that sum to 1 over the sequences instead of over the outputs", "Take the softmax over the last axis, the outputs.",
        {"d_y": lambda _, at: softmax(at.y.swapaxes(1, 2)).swapaxes(1, 2) - at.targets}, _softmax_cost,
    ),
    Bug(
        "targets-one-step-late", "the loss's derivative compares with the target of the timestep before", "(21)",
        "every prediction is pulled to the wrong target; index -1 wraps around at t = 0",
        "Use the target of the same timestep as the loss does.",
        {"d_y": lambda _, at: d_loss(at.case, at.y, np.roll(at.targets, 1, axis=0))}, both(lambda case: case.is_cost, several_rows),
    ),
    Bug(
        "readout-uses-previous-h", "h_{t-1} is used for h_t in the readout's gradient", "(21)",
        "the readout weights are wrong, all else is right",
        "The readout saw the new hidden state: dW_y += h[t].T @ d_y[t].", {"readout_outputs": _previous_outputs}, _with_readout,
    ),
    Bug(
        "only-last-step-in-readout", "only the last timestep counts in the readout's gradient", "(21)",
        "the sum over the others is missing",
        "Accumulate over the timesteps: += and not =.", {"readout_d_y": _last_steps_only}, both(_with_readout, several_steps),
    ),
)  # fmt: skip


def temperature(tau: float) -> Bug:
    return Bug(
        f"softmax-at-temperature-{short(tau)}", f"the softmax in the loss's derivative has the temperature {short(tau)}", "(25)",
        "the gradient of another loss",
        "Take the softmax of the same logits as the loss does, scaled alike; its derivative then has the factor 1/τ.",
        {"d_y": lambda _, at: softmax(at.y / tau) - at.targets}, both(_softmax_cost, _several_outputs), parameters={"temperature": tau},
    )  # fmt: skip


def _parameters_clipped(clip: Callable[[Any], Any]) -> Any:
    """Clipping acts on the parameters' gradients, not on those of inputs and initial state."""

    def modifier(value: Any, _: Case) -> Any:
        field = "network" if isinstance(value, CostGradients) else "layers"
        return dataclasses.replace(value, **{field: clip(getattr(value, field))})

    return modifier


def clipped_elementwise(limit: float) -> Bug:
    return Bug(
        f"clipped-elementwise-at-{short(limit)}", f"every entry is clipped to ±{short(limit)}", "(8)",
        "large entries are cut off, small ones are right",
        "Switch clipping off while checking: the clipped gradient is not the gradient.",
        {"gradients": _parameters_clipped(lambda tree: jax.tree.map(lambda leaf: np.clip(leaf, -limit, limit), tree))},
        lambda case: limit < largest_entry(case), parameters={"limit": limit},
    )  # fmt: skip


def clipped_by_norm(limit: float) -> Bug:
    def clip(tree: Any) -> Any:
        norm = _norm(tree)
        return jax.tree.map(lambda leaf: leaf * (limit / norm), tree) if norm > limit else tree

    return Bug(
        f"clipped-to-norm-{short(limit)}", f"the norm of all parameters' gradients is clipped to {short(limit)}", "(8)",
        "right direction, wrong length; inputs and initial state are not scaled",
        "Switch clipping off while checking: the clipped gradient is not the gradient.",
        {"gradients": _parameters_clipped(clip)}, lambda case: limit < _norm(parameters_of(gradients(case))), parameters={"limit": limit},
    )  # fmt: skip


def clipped_in_loop(limit: float) -> Bug:
    return Bug(
        f"gate-gradients-clipped-at-{short(limit)}", f"the gate gradients are clipped to ±{short(limit)} at every timestep", "(13)",
        "large gate gradients are cut off, at their own timestep and in all that flows back from it",
        "Switch clipping off while checking: the clipped gradient is not the gradient.",
        dict.fromkeys(("d_z_o", "d_z"), lambda d_z, _: np.clip(d_z, -limit, limit)), lambda case: limit < largest_gate_gradient(case),
        parameters={"limit": limit},
    )  # fmt: skip


def weight_decay(rate: float) -> Bug:
    def modifier(value: Any, case: Case) -> Any:
        is_cost = isinstance(value, CostGradients)
        field, weights = ("network", Network(case.levels, case.readout)) if is_cost else ("layers", case.levels)
        return dataclasses.replace(value, **{field: jax.tree.map(lambda d, w: d + rate * w, getattr(value, field), weights)})

    return Bug(
        f"weight-decay-{short(rate)}", f"{short(rate)} times the weights is added to their gradient", "(8)",
        "the gradient of another cost, with the term ½ · rate · ‖w‖²; inputs and initial state are right",
        "Switch weight decay off while checking, or add its term to the cost as well.",
        {"gradients": modifier}, parameters={"rate": rate},
    )  # fmt: skip


def parameters_of(value: Any) -> Any:
    return value.network if isinstance(value, CostGradients) else value.layers


def largest_entry(case: Case) -> float:
    """Of the parameters' gradient."""
    return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(parameters_of(gradients(case))))


def _norm(tree: Any) -> float:
    return float(np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(tree))))


@dataclasses.dataclass
class _Recorder:
    """Not a bug: leaves every gate gradient as it is and keeps the largest."""

    largest: float = 0.0

    @property
    def modifies(self) -> dict[str, Any]:
        return {"d_z": self._record}

    def _record(self, d_z: np.ndarray, s: Step) -> np.ndarray:
        self.largest = max(self.largest, float(np.abs(d_z * s.run.valid[s.t]).max()))
        return d_z


def largest_gate_gradient(case: Case) -> float:
    recorder = _Recorder()
    gradients(case, [recorder])
    return recorder.largest


BUGS = (*COST, *map(scaled, FACTORS))
FAMILIES = (
    Family("softmax-at-temperature", temperature, lambda case: (0.5, 2.0)),
    Family("weight-decay", weight_decay, lambda case: (0.01,)),
    Family("clipped-elementwise", clipped_elementwise, lambda case: (largest_entry(case) / 2,)),
    Family("clipped-to-norm", clipped_by_norm, lambda case: (_norm(parameters_of(gradients(case))) / 2,)),
    Family("gate-gradients-clipped", clipped_in_loop, lambda case: (largest_gate_gradient(case) / 2,)),
)
