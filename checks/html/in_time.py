"""Where in time the right gradient comes from: how it fades on its way back, and what each timestep adds to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

import lstm
from checks.oracle.case import OracleCase
from checks.pictures.curves import Chart, Series
from checks.pictures.scene import Scene
from checks.verify.report import VerifyReport
from lstm.levels import apart, directions, output_size

MOST_DIRECTIONS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Inside:
    """One direction of one level. ``inputs`` (T, B, D) and ``h_previous`` (T, B, R) are None where masks or lengths hide them."""

    words: str
    internals: Any  # an `lstm.Internals`
    gates: tuple[str, ...]
    inputs: np.ndarray | None = None
    h_previous: np.ndarray | None = None


def time_charts(report: VerifyReport) -> list[Scene]:
    """For each direction of each level: norms of dC/dh_t and dC/dc_t, and of each timestep's own term of the weights' gradients."""
    case = report.candidate.case
    if report.evidence is None or case.inputs.shape[0] < 2:
        return []
    charts = []
    for one in list(inside(case, report.evidence.internals))[:MOST_DIRECTIONS]:
        internals = one.internals
        fading = {"dC/dh_t": _norms(internals.d_h), "dC/dc_t": _norms(internals.d_c)}
        charts.append(_chart(f"{one.words}norm of the gradient at the state", fading))
        charts.append(_chart(f"{one.words}each timestep's own share of the gradient", shares(one)))
        charts.append(_chart(f"{one.words}the same by gate, of the bias", shares_by_gate(one)))
    return charts


def inside(case: OracleCase, internals: tuple[Any, ...]) -> Iterator[Inside]:
    """With what each direction multiplied its weights by, as far as that can be told from outputs alone."""
    inputs: np.ndarray | None = case.inputs if case.masks is None else None
    for number, (level, belonging) in enumerate(zip(case.layers, internals, strict=True)):
        outputs = None
        if case.masks is None:
            below = slice(0, number + 1)
            outputs = np.asarray(lstm.forward(case.layers[below], case.inputs, case.initial_state[below], lengths=case.lengths)[0])
        start = 0
        for direction, own, state in zip(directions(level), apart(level, belonging), apart(level, case.initial_state[number]), strict=True):
            h_previous = None
            if outputs is not None:
                h = outputs[:, :, start : start + direction.layer.recurrent_size]
                h_previous = _previous(h, np.asarray(state.h), direction.reversed, case.lengths is not None)
            start += direction.layer.recurrent_size
            which = f"layer {number}, " if len(case.layers) > 1 else ""
            turned = ("reverse, " if direction.reversed else "forward, ") if len(directions(level)) > 1 else ""
            yield Inside(which + turned, own, direction.layer.gates, inputs, h_previous)
        assert outputs is None or outputs.shape[2] == output_size(level)
        inputs = outputs


def _previous(h: np.ndarray, initial: np.ndarray, is_reversed: bool, with_lengths: bool) -> np.ndarray | None:
    """(T, B, R): the state that each timestep started from. What a reversed layer starts a shorter sequence from stands elsewhere."""
    if is_reversed:
        return None if with_lengths else np.concatenate([h[1:], initial[None]])
    return np.concatenate([initial[None], h[:-1]])


def shares(one: Inside) -> dict[str, np.ndarray]:
    """(T,) each: the norm of what timestep t's own copy of the weights contributes, Σ_b source_b ⊗ δ_b."""
    d_z = np.asarray(one.internals.d_z, np.float64)
    sources = {"w_x": one.inputs, "w_h": one.h_previous, "bias": np.ones((*d_z.shape[:2], 1))}
    return {name: _norms_of_products(source, d_z) for name, source in sources.items() if source is not None}


def shares_by_gate(one: Inside) -> dict[str, np.ndarray]:
    own = np.asarray(one.internals.d_z, np.float64).sum(axis=1)  # (T, gates · H)
    blocks = np.split(own, len(one.gates), axis=1)
    return {f"gate {gate}": np.sqrt((block**2).sum(axis=1)) for gate, block in zip(one.gates, blocks, strict=True)}


def _norms_of_products(source: np.ndarray, d_z: np.ndarray) -> np.ndarray:
    """‖source_tᵀ δ_t‖ for each t, by the Gram matrices of the batch: no timestep's product is ever formed."""
    grams = [np.einsum("tbi,tci->tbc", each, each) for each in (np.asarray(source, np.float64), d_z)]
    return np.sqrt(np.maximum((grams[0] * grams[1]).sum(axis=(1, 2)), 0))


def _norms(array: Any) -> np.ndarray:
    return np.sqrt((np.asarray(array, np.float64) ** 2).sum(axis=(1, 2)))


def _chart(title: str, norms: dict[str, np.ndarray]) -> Scene:
    series = tuple(_over_time(name, values, kind) for kind, (name, values) in enumerate(norms.items()))
    told = [f"{name} from {values[-1]:.1e} at t = {len(values) - 1} to {values[0]:.1e} at t = 0" for name, values in norms.items()]
    return Chart(title[0].upper() + title[1:], f"{'; '.join(told)}.", "timestep", series).scene()


def _over_time(name: str, values: np.ndarray, kind: int) -> Series:
    t = np.arange(len(values))
    return Series(name, t, values, kind, titles=tuple(f"{name}, t = {k}: {value:.3g}" for k, value in zip(t, values, strict=True)))
