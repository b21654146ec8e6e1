"""Generic random problems for the comparison suite: every dimension different, nothing zero, both signs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import checks
import lstm


@dataclasses.dataclass(frozen=True)
class Case:
    """What `draw` draws. ``K=None``: no readout. ``targets``: "vectors", "labels" or "probabilities"."""

    T: int
    B: int
    D: int
    H: int
    K: int | None
    loss: str = "squared_error"
    targets: str = "vectors"
    reduction: str = "mean"
    lengths: tuple[int, ...] | None = None
    initial_state: bool = True
    layers: int = 1

    def __str__(self) -> str:
        words = [f"T{self.T} B{self.B} D{self.D} H{self.H} K{self.K}", self.targets, self.reduction]
        words += [f"{self.layers} layers"] * (self.layers > 1) + [f"lengths {self.lengths}"] * (self.lengths is not None)
        return ", ".join(words + ["zero state"] * (not self.initial_state))


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Arguments for `lstm.loss_and_all_gradients` and `checks.Problem.from_network` alike."""

    network: lstm.Network
    inputs: np.ndarray
    targets: np.ndarray
    options: dict[str, Any]

    def problem(self, wrt: str = "all") -> checks.Problem:
        return checks.Problem.from_network(self.network, self.inputs, self.targets, wrt=wrt, **self.options)


def draw(case: Case, seed: int, dtype: Any = np.float64, scale: float = 1.0) -> Drawn:
    """Values that float32 holds exactly, so that both precisions see the same problem. ``scale`` multiplies the weights."""
    generator = np.random.default_rng([seed, case.T, case.B, case.D, case.H])

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32).astype(dtype)

    def weights(*shape: int) -> np.ndarray:
        return (scale * normal(*shape) / np.sqrt(case.H)).astype(np.float32).astype(dtype)

    sizes = [case.D] + [case.H] * case.layers
    layers = tuple(lstm.Layer(w_x=weights(n, 4 * case.H), w_h=weights(case.H, 4 * case.H), b=weights(4 * case.H)) for n in sizes[:-1])
    readout = None if case.K is None else lstm.Readout(w=weights(case.H, case.K), b=weights(case.K))
    outputs = case.H if case.K is None else case.K
    targets = normal(case.T, case.B, outputs)
    if case.targets == "labels":
        targets = generator.integers(0, outputs, (case.T, case.B))
    if case.targets == "probabilities":  # multiples of 1/64 that sum to 1 exactly
        targets = (generator.multinomial(64, np.full(outputs, 1 / outputs), (case.T, case.B)) / 64).astype(dtype)
    states = tuple(lstm.State(h=normal(case.B, case.H), c=normal(case.B, case.H)) for _ in layers)
    options = {
        "loss": case.loss,
        "reduction": case.reduction,
        "lengths": None if case.lengths is None else np.array(case.lengths),
        "initial_state": states if case.initial_state else None,
    }
    return Drawn(lstm.Network(layers, readout), normal(case.T, case.B, case.D), targets, options)
