"""A mutable backward pass: the equations of docs/derivation.md as an explicit loop over time, one place for each bug.

Without bugs it equals the hand-written pass of `lstm` to rounding. Every quantity that a bug may get wrong goes through
``terms(name, value, at)``: a bug is a function that takes the right value and returns the wrong one. Any number of
bugs may be switched on at once; at the same place they act one after another, in the order given. A bug is in every layer,
as it is where one piece of code serves them all.

Written for clarity and for a few milliseconds a pass in NumPy, float64: a wrong gradient is compared with many mutants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from checks.catalogue.case import Case, Run, blocks, run_layers, top_outputs, valid_steps
from lstm import CostGradients, Gradients, Layer, Network, Readout, State
from lstm.levels import directions, together, together_as_layers

# value, where (a `Case`, `CostSite`, `LayerSite` or `Step`) -> the value that the bug makes of it
Modifier = Callable[[Any, Any], Any]

TERMS: dict[str, str] = {  # the name of each place -> the equation that it belongs to
    "lengths": "(27)", "counted": "(7)", "step_weights": "(7)", "d_y": "(21)", "readout_outputs": "(21)", "readout_d_y": "(21)",
    "upstream": "(9)", "d_final_state": "(9)", "order": "(9)", "window": "(9)", "carried_h": "(9)",
    "gates": "(2)", "factor_o": "(10)", "carried_c": "(11)", "through_o": "(11)", "tanh_slope": "(11)", "through_h": "(11)",
    "factor_i": "(12)", "factor_f": "(12)", "factor_g": "(12)", "slopes": "(13)", "d_z": "(13)",
    "factor_c": "(14)", "d_c_previous": "(14)", "d_h_previous": "(15)",
    "w_x_inputs": "(16)", "w_x_d_z": "(16)", "w_h_inputs": "(17)", "w_h_d_z": "(17)", "w_h": "(17)",
    "b_d_z": "(18)", "b": "(18)", "inputs_d_z": "(19)", "inputs": "(19)", "initial_state": "(20)", "gradients": "(8)",
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


class CostSite:
    """Where the cost's derivative is taken: predictions and probabilities (T, B, K), top layer's outputs (T, B, R)."""

    def __init__(self, case: Case, outputs: np.ndarray):
        assert case.targets is not None
        self.case = case
        self.outputs = outputs
        self.y = outputs if case.readout is None else outputs @ case.readout.w + case.readout.b  # (6)
        self.targets = _one_hot(case.targets, self.y.shape[-1])


class LayerSite:
    """One layer's backward pass, as its modifiers see it."""

    def __init__(self, case: Case, run: Run, d_final_state: State):
        self.case, self.run, self.layer, self.d_final_state = case, run, run.layer, d_final_state
        self.last_step: Step | None = None  # after the loop: the timestep that it visited last
        self.d_z: Any = None  # after the loop: (T, B, 4H)


class Step:
    """One timestep of one layer; `cell_backward` fills in what it computes, under the names of the derivation.

    The carried gradients and all that follows from them are (A, B, ·): A = 1, or one slot for each age up to a window.
    """

    def __init__(self, site: LayerSite, t: int, upstream_h: np.ndarray, carried_h: np.ndarray, carried_c: np.ndarray):
        run = site.run
        self.case, self.run, self.layer, self.t, self.d_final_state = site.case, run, site.layer, t, site.d_final_state
        self.gates, self.c, self.h = run.gates[t], run.c[t], run.h[t]
        self.c_previous, self.h_previous = run.c_previous[t], run.h_previous[t]
        self.tanh_c = np.tanh(self.c)
        self.ends = run.ends[t]
        self.upstream_h, self.carried_h, self.carried_c = upstream_h, carried_h, carried_c
        self.d_h: Any = None
        self.d_c: Any = None
        self.through_h: Any = None
        self.factors: Any = None  # (B, 4H)  ∂c/∂i, ∂c/∂f, ∂c/∂g, ∂h/∂o
        self.slopes: Any = None  # (B, 4H)
        self.d_z: Any = None  # (A, B, 4H)


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
    return d_y @ case.readout.w.T, Readout(w=_accumulate(rows, columns), b=columns.sum(axis=(0, 1)))  # (21)


def layer_backward(at: LayerSite, d_outputs: np.ndarray, terms: Terms) -> tuple[Layer, np.ndarray, State]:
    """Upstream gradient on the outputs (T, B, R) -> the gradients of the layer, of its inputs and of its initial state."""
    run = at.run
    upstream = terms("upstream", np.where(run.valid, run.turned(d_outputs), 0), at)  # (27)
    window = terms("window", None, at)
    order = terms("order", range(len(run.inputs) - 1, -1, -1), at)
    h, c = _by_age(at.d_final_state.h, window), _by_age(at.d_final_state.c, window)
    d_initial = at.d_final_state
    d_z = at.d_z = np.zeros_like(run.z)
    for t in order:
        step = at.last_step = Step(at, t, upstream[t], h, c)
        d_z_t, h_back, c_back = cell_backward(step, terms)
        valid = run.valid[t]
        d_z[t] = np.where(valid, d_z_t.sum(axis=0), 0)  # (27)
        d_initial = State(h=np.where(valid, h_back, h).sum(axis=0), c=np.where(valid, c_back, c).sum(axis=0))
        if window is not None:
            h_back, c_back = _older(h_back), _older(c_back)
        h, c = np.where(valid, h_back, h), np.where(valid, c_back, c)
    d_layer = Layer(
        w_x=_accumulate(terms("w_x_inputs", run.inputs, at), terms("w_x_d_z", d_z, at)),  # (16)
        w_h=terms("w_h", _accumulate(terms("w_h_inputs", run.h_previous, at), terms("w_h_d_z", d_z, at)), at),  # (17)
        b=terms("b", terms("b_d_z", d_z, at).sum(axis=(0, 1)), at),  # (18)
    )
    d_inputs = terms("inputs", terms("inputs_d_z", d_z, at) @ at.layer.w_x.T, at)  # (19)
    return d_layer, run.turned(d_inputs), terms("initial_state", d_initial, at)  # (20)


def cell_backward(s: Step, terms: Terms) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-> gradients at z (A, B, 4H), at h_{t-1} (A, B, R) and at c_{t-1} (A, B, H)."""
    s.carried_h = terms("carried_h", s.carried_h, s)
    s.d_h = s.carried_h.copy()
    s.d_h[0] += s.upstream_h  # (9)
    gates = terms("gates", s.gates, s)
    i, f, g, o = blocks(gates)
    slope = terms("through_o", o, s) * terms("tanh_slope", 1 - s.tanh_c**2, s)
    s.through_h = terms("through_h", s.d_h * slope, s)
    s.carried_c = terms("carried_c", s.carried_c, s)
    s.d_c = s.carried_c + s.through_h  # (11)
    of_cell = [terms("factor_i", g, s), terms("factor_f", s.c_previous, s), terms("factor_g", i, s)]  # (12)
    s.factors = np.concatenate([*of_cell, terms("factor_o", s.tanh_c, s)], axis=-1)  # (10)
    s.slopes = terms("slopes", slopes(gates), s)
    d_z = np.concatenate([s.d_c, s.d_c, s.d_c, s.d_h], axis=-1) * (s.factors * s.slopes)
    d_z = s.d_z = terms("d_z", d_z, s)  # (13)
    d_c_previous = terms("d_c_previous", s.d_c * terms("factor_c", f, s), s)  # (14)
    d_h_previous = terms("d_h_previous", d_z @ s.layer.w_h.T, s)  # (15)
    return d_z, d_h_previous, d_c_previous


def slopes(gates: np.ndarray) -> np.ndarray:
    """a (1 - a) on the blocks i, f, o of (..., 4H) and 1 - a² on g."""
    derivative = gates * (1 - gates)
    blocks(derivative)[2][...] = 1 - blocks(gates)[2] ** 2
    return derivative


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


def _by_age(array: np.ndarray, window: int | None) -> np.ndarray:
    """(B, ·) -> (A, B, ·), all of it in the youngest slot."""
    return np.concatenate([array[None], np.zeros((0 if window is None else window - 1, *array.shape))])


def _older(array: np.ndarray) -> np.ndarray:
    """Every slot moves one up: the youngest is empty again, the oldest falls out of the window."""
    return np.concatenate([np.zeros_like(array[:1]), array[:-1]])


def _accumulate(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Σ over t and b of the outer products: (T, B, N), (T, B, M) -> (N, M)."""
    return rows.reshape(-1, rows.shape[-1]).T @ columns.reshape(-1, columns.shape[-1])
