"""The forward pass of a case's layers, in NumPy and float64: what the mutable backward pass goes back over.

Numbers in parentheses are equations of docs/derivation.md. Nothing here calls `lstm`'s own passes: only its containers are shared.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

import lstm
from checks.catalogue.activations import activations_of
from lstm import Layer, State
from lstm.levels import directions

GATES = len(lstm.GATES)


class Given(Protocol):
    """What the forward pass needs of a `Case`."""

    @property
    def levels(self) -> tuple[Any, ...]: ...

    @property
    def inputs(self) -> np.ndarray: ...

    @property
    def initial_state(self) -> tuple[State, ...]: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """The forward pass of one layer, every value at every timestep."""

    layer: Layer
    inputs: np.ndarray  # (T, B, D)   zero past each sequence's length
    z: np.ndarray  # (T, B, 4H)  pre-activations, with what peepholes add; coupled: (T, B, 3H)
    gates: np.ndarray  # (T, B, 4H)  i, f, g, o; coupled too, with f = 1 - i
    r: np.ndarray  # (T, B, H)   the cell's output before any projection
    c: np.ndarray  # (T, B, H)   c_t, held past each sequence's length, as is h
    h: np.ndarray  # (T, B, R)
    c_previous: np.ndarray  # (T, B, H)   c_{t-1}
    h_previous: np.ndarray  # (T, B, R)
    valid: np.ndarray  # (T, B, 1)   does this timestep count?
    order: np.ndarray | None = None  # (T, B)  of a reversed layer: which timestep of the inputs each of its own is

    @property
    def outputs(self) -> np.ndarray:
        """In the inputs' order of time."""
        return self.turned(np.where(self.valid, self.h, 0))

    def turned(self, array: np.ndarray) -> np.ndarray:
        """The inputs' order of time <-> the layer's own: each sequence's valid prefix flipped."""
        return array if self.order is None else np.take_along_axis(array, self.order[:, :, None], axis=0)

    @functools.cached_property
    def ends(self) -> np.ndarray:
        """(T, B, 1): is this timestep the last one of its sequence?"""
        after = np.concatenate([self.valid[1:], np.zeros_like(self.valid[:1])])
        return self.valid & ~after

    @functools.cached_property
    def cut(self) -> np.ndarray:
        """(T, B, H): did the clip's bound cut the cell state here?"""
        clip = self.layer.clip
        return np.zeros(self.c.shape, bool) if clip is None else self.valid & (np.abs(self.c) >= clip.bound)


class Cell(NamedTuple):
    """One timestep: as the fields of a `Run`, without its time axis."""

    z: np.ndarray
    gates: np.ndarray
    r: np.ndarray
    c: np.ndarray
    h: np.ndarray


def cell(layer: Layer, z: np.ndarray, c_previous: np.ndarray, add: Callable[[str, Any], Any] = lambda name, value: value) -> Cell:
    """``z``: (1), without peepholes. ``add`` may change z, c and h on their way, under the names d_z, d_c and d_h of their gradients."""
    gate, candidate, output = activations_of(layer)
    parts = gate_blocks(layer, add("d_z", z))
    seen = peepholes_of(layer)
    for q in seen.keys() - {"o"}:
        parts[q] = parts[q] + seen[q] * c_previous  # (30)
    i, g = gate.forward(parts["i"]), candidate.forward(parts["g"])  # (2), (3)
    f = 1 - i if layer.coupled else gate.forward(parts["f"])  # (28)
    c = f * c_previous + i * g  # (4)
    if layer.clip is not None:
        c = np.clip(c, -layer.clip.bound, layer.clip.bound)  # (40)
    c = add("d_c", c)
    if seen:
        parts["o"] = parts["o"] + seen["o"] * c  # (30)
    o = gate.forward(parts["o"])
    r = o * output.forward(c)  # (5)
    h = r if layer.projection is None else r @ layer.projection  # (34)
    z = np.concatenate([parts[q] for q in layer.gates], axis=-1)
    return Cell(z=z, gates=np.concatenate([i, f, g, o], axis=-1), r=r, c=c, h=add("d_h", h))


def run_layers(case: Given, lengths: np.ndarray | None) -> tuple[Run, ...]:
    """Equations (1) to (5) and (26), and those of the variants, layer after layer."""
    valid = valid_steps(case, lengths)
    below = np.where(valid, case.inputs, 0)
    runs: list[Run] = []
    states = iter(case.initial_state)
    for level in case.levels:
        found = [_run_layer(each.layer, below, next(states), valid, each.reversed) for each in directions(level)]
        runs += found
        below = np.concatenate([run.outputs for run in found], axis=-1)
    return tuple(runs)


def _run_layer(layer: Layer, inputs: np.ndarray, state: State, valid: np.ndarray, is_reversed: bool) -> Run:
    timesteps = len(inputs)
    order = None
    if is_reversed:
        times = np.arange(timesteps)[:, None]
        order = np.where(valid[:, :, 0], valid.sum(axis=0)[:, 0] - 1 - times, times)
        inputs = np.take_along_axis(inputs, order[:, :, None], axis=0)
    z_x = inputs @ layer.w_x + layer.b
    h, c = np.empty((timesteps + 1, *state.h.shape)), np.empty((timesteps + 1, *state.c.shape))
    h[0], c[0] = state.h, state.c
    cells = []
    for t in range(timesteps):
        new = cell(layer, z_x[t] + h[t] @ layer.w_h, c[t])  # (1)
        c[t + 1] = np.where(valid[t], new.c, c[t])  # (26)
        h[t + 1] = np.where(valid[t], new.h, h[t])
        cells.append(new)
    z, gates, r = (np.stack([getattr(each, name) for each in cells]) for name in ("z", "gates", "r"))
    return Run(layer, inputs, z, gates, r, c=c[1:], h=h[1:], c_previous=c[:-1], h_previous=h[:-1], valid=valid, order=order)


def top_outputs(case: Given, runs: tuple[Run, ...]) -> np.ndarray:
    """(T, B, R), or (T, B, 2R) for two directions."""
    return np.concatenate([run.outputs for run in runs[-len(directions(case.levels[-1])) :]], axis=-1)


def valid_steps(case: Given, lengths: np.ndarray | None) -> np.ndarray:
    """(T, B, 1) booleans: does timestep t of sequence b count?"""
    timesteps, batch, _ = case.inputs.shape
    if lengths is None:
        return np.ones((timesteps, batch, 1), bool)
    return (np.arange(timesteps)[:, None] < lengths)[:, :, None]


def blocks(array: np.ndarray) -> list[np.ndarray]:
    """(..., 4H) -> its blocks i, f, g, o, views of (..., H) each."""
    hidden = array.shape[-1] // GATES
    return [array[..., q * hidden : (q + 1) * hidden] for q in range(GATES)]


def gate_blocks(layer: Layer, array: np.ndarray) -> dict[str, np.ndarray]:
    """What is laid out as the layer's weights are, (..., 4H) or coupled (..., 3H) -> its blocks by gate, views of (..., H) each."""
    return dict(zip(layer.gates, np.split(array, len(layer.gates), axis=-1), strict=True))


def peepholes_of(layer: Layer) -> dict[str, np.ndarray]:
    """gate -> its weights (H,), empty without peepholes. Coupled gates have none for f."""
    if layer.peepholes is None:
        return {}
    return dict(zip((q for q in layer.gates if q != "g"), layer.peepholes, strict=True))
