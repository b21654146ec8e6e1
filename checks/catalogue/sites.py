"""The places of the backward pass where a bug can act, and what its modifiers see there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from checks.catalogue.activations import activations_of
from checks.catalogue.case import Case
from checks.catalogue.forward import Run
from lstm import State

# value, where (a `Case`, `CostSite`, `LayerSite` or `Step`) -> the value that the bug makes of it
Modifier = Callable[[Any, Any], Any]

TERMS: dict[str, str] = {  # the name of each place -> the equation that it belongs to
    "lengths": "(27)", "counted": "(7)", "step_weights": "(7)", "d_y": "(21)", "readout_outputs": "(21)", "readout_d_y": "(21)",
    "upstream": "(9)", "d_final_state": "(9)", "order": "(9)", "window": "(9)", "carried_h": "(9)",
    "gates": "(2)", "factor_o": "(10)", "carried_c": "(11)", "through_o": "(11)", "output_slope": "(11)", "through_h": "(11)",
    "factor_i": "(12)", "factor_f": "(12)", "factor_g": "(12)", "slopes": "(13)", "d_z_o": "(13)", "d_z": "(13)",
    "factor_c": "(14)", "d_c_previous": "(14)", "d_h_previous": "(15)",
    "d_i": "(29)", "peephole_d_c": "(31)", "peephole_d_c_previous": "(32)", "d_r": "(35)", "clip_slope": "(41)",
    "w_x_inputs": "(16)", "w_x_d_z": "(16)", "w_h_inputs": "(17)", "w_h_d_z": "(17)", "w_h": "(17)",
    "b_d_z": "(18)", "b": "(18)", "peephole_c_previous": "(33)", "peephole_c": "(33)", "peephole_d_z": "(33)", "peepholes": "(33)",
    "projection_r": "(36)", "projection_d_h": "(36)", "projection": "(36)",
    "inputs_d_z": "(19)", "inputs": "(19)", "initial_state": "(20)", "gradients": "(8)",
}  # fmt: skip


class Mutation(Protocol):
    """What the backward pass needs to know of a bug: at which places it acts, and how."""

    @property
    def modifies(self) -> Mapping[str, Modifier]: ...


class Terms:
    """The modifiers of the bugs switched on, by the name of the place."""

    def __init__(self, bugs: Iterable[Mutation]):
        self._modifiers: dict[str, list[Modifier]] = {}
        for bug in bugs:
            for name, modifier in bug.modifies.items():
                self._modifiers.setdefault(name, []).append(modifier)

    def __call__(self, name: str, value: Any, at: Any) -> Any:
        for modifier in self._modifiers.get(name, ()):
            value = modifier(value, at)
        return value


class LayerSite:
    """One layer's backward pass, as its modifiers see it."""

    def __init__(self, case: Case, run: Run, d_final_state: State):
        self.case, self.run, self.layer, self.d_final_state = case, run, run.layer, d_final_state
        self.last_step: Step | None = None  # after the loop: the timestep that it visited last
        self.upstream: Any = None  # before the loop: (T, B, R)
        self.d_z: Any = None  # after the loop: (T, B, 4H), coupled (T, B, 3H),
        self.d_h: Any = None  # and (T, B, R)


class Step:
    """One timestep of one layer; `cell_backward` fills in what it computes, under the names of the derivation.

    The carried gradients and all that follows from them are (A, B, ·): A = 1, or one slot for each age up to a window.
    """

    d_h: Any  # (A, B, R)
    d_r: Any  # (A, B, H)  at the cell's output: d_h, taken back through the projection where there is one
    through_h: Any  # what reaches d_c through h,
    through_o: Any  # and through the output gate's peephole
    d_c: Any
    d_sum: Any  # d_c before the clip
    factors: Any  # (B, 4H)  ∂c/∂i, ∂c/∂f, ∂c/∂g, ∂h/∂o
    slopes: Any  # (B, 4H)
    d_gates: Any  # d_i, d_f, d_g of (12)
    d_z_o: Any  # (A, B, H)
    d_z: Any  # (A, B, 4H), coupled (A, B, 3H)

    def __init__(self, site: LayerSite, t: int, upstream_h: np.ndarray, carried_h: np.ndarray, carried_c: np.ndarray):
        run = site.run
        self.case, self.run, self.layer, self.t, self.d_final_state = site.case, run, site.layer, t, site.d_final_state
        self.gates, self.c, self.h = run.gates[t], run.c[t], run.h[t]
        self.c_previous, self.h_previous = run.c_previous[t], run.h_previous[t]
        self.output_c = activations_of(run.layer)[2].forward(self.c)
        self.ends = run.ends[t]
        self.upstream_h, self.carried_h, self.carried_c = upstream_h, carried_h, carried_c

    @property
    def clip_slope(self) -> np.ndarray:
        """(B, H): the derivative of the clip as the layer states it, (41)."""
        clip = self.layer.clip
        kept = np.ones_like(self.c)
        return kept if clip is None or clip.derivative != "true" else np.where(self.run.cut[self.t], 0, kept)

    def before_projection(self, d_h: np.ndarray) -> np.ndarray:
        """(..., R) -> (..., H), (35)."""
        return d_h if self.layer.projection is None else d_h @ self.layer.projection.T
