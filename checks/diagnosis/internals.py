"""A candidate's gradients inside the network, timestep by timestep: where, walking back, they first depart, and in which gate.

What rounding may do to them: data off by one rounding in every number would give internals off by this much (backward error
analysis), measured by disturbing all data at random, `SAMPLES` times, and taking the deviation over each timestep's entries.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

import lstm
from checks.diagnosis.localise import FEW, listed
from checks.oracle.case import OracleCase
from checks.precision import precision_of
from lstm.levels import apart, directions

SAMPLES = 4
DISTURBANCE = 2.0**-30  # far above float64's own rounding, far below where the response bends
LAMBDA = 8.0  # deviations, as in `checks.oracle.tolerance`
OPERATIONS = 4  # roundings of a number on its way for each one that the disturbed data stand for, added as squares
WORDS = {"d_z": "the gate gradients", "d_h": "the gradient at h_t", "d_c": "the gradient at c_t"}


@dataclasses.dataclass(frozen=True)
class Departure:
    """One internal array. ``timestep``: the first that is wrong in the order of the backward pass; None if all are right."""

    name: str
    timestep: int | None
    gates: tuple[str, ...]  # that are wrong there, of gate gradients
    wrong_timesteps: int
    of: int
    sentence: str
    by_timestep: tuple[float, ...] = ()  # the largest error at each, in units of what rounding allows

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def departures(case: OracleCase, expected: tuple[Any, ...], given: Mapping[str, np.ndarray], dtype: Any) -> list[Departure]:
    """``expected``: `lstm.Internals` of each level; ``given``: as `Candidate.internals`, time-major and canonical."""
    rooms = _rooms(case, expected, dtype)
    found = []
    for number, level in enumerate(case.layers):
        for place, direction in enumerate(directions(level)):
            for field in WORDS:
                name = f"{field}_l{number}{'_reverse' if direction.reversed else ''}"
                right = getattr(apart(level, expected[number])[place], field)
                room = getattr(apart(level, rooms[number])[place], field)
                got = given.get(f"internal.{name}")
                if got is not None and got.shape == right.shape:
                    found.append(_departure(name, field, got, right, room, direction, case.valid))
    return found


def _rooms(case: OracleCase, expected: tuple[Any, ...], dtype: Any) -> Any:
    """Like ``expected``: (T, 1, 1) each, λ u times the deviation of a timestep's entries, and u |entry| itself."""
    generator = np.random.default_rng(0)
    squares = jax.tree.map(lambda leaf: np.zeros((len(leaf), 1, 1)), expected)
    for _ in range(SAMPLES):
        moved = _disturbed(case, generator).hand_gradients()[1]
        squares = jax.tree.map(_add_square, squares, moved, expected)
    unit = (precision_of(dtype).eps + float(np.finfo(np.float64).eps)) / 2
    factor = LAMBDA * np.sqrt(OPERATIONS) * unit
    return jax.tree.map(lambda s, leaf: factor * (np.sqrt(s / SAMPLES) + np.abs(leaf)), squares, expected)


def _add_square(total: np.ndarray, moved: np.ndarray, right: np.ndarray) -> np.ndarray:
    return total + (((moved - right) / DISTURBANCE) ** 2).mean(axis=(1, 2), keepdims=True)


def _disturbed(case: OracleCase, generator: np.random.Generator) -> OracleCase:
    def moved(leaf: Any) -> Any:
        array = np.asarray(leaf)
        if array.dtype.kind != "f":
            return leaf
        return array * (1 + DISTURBANCE * generator.choice([-1.0, 1.0], array.shape))

    fields = ("layers", "inputs", "initial_state", "d_outputs", "d_final_state", "readout")
    return dataclasses.replace(case, **{name: jax.tree.map(moved, getattr(case, name)) for name in fields})


def _departure(name: str, field: str, got: Any, right: Any, room: Any, direction: Any, valid: np.ndarray) -> Departure:
    off = np.abs(got - right)
    bad = (off > room) & valid[:, :, None]
    with np.errstate(over="ignore", invalid="ignore"):
        units = np.where(valid[:, :, None], off / np.maximum(room, np.finfo(np.float64).tiny), 0).max(axis=(1, 2))
    by_timestep = tuple(units.tolist())
    steps = np.flatnonzero(bad.any(axis=(1, 2)))
    total = len(bad)
    if not len(steps):
        return Departure(name, None, (), 0, total, f"{name}, {WORDS[field]}: right at every timestep.", by_timestep)
    backward_in_time = not direction.reversed
    first = int(steps[-1] if backward_in_time else steps[0])
    start, before = (total - 1, first + 1) if backward_in_time else (0, first - 1)
    gates = _gates(bad[first], direction.layer) if field == "d_z" else ()
    walk = f"walking {'back' if backward_in_time else 'forward, as a reversed layer does,'} from t = {start}"
    where = f"it is right to t = {before} and first departs at t = {first}" if first != start else "it is wrong from the start"
    which = f", in gate{'s' if len(gates) > 1 else ''} {listed(gates)}" if gates else _units(bad[first])
    return Departure(name, first, gates, len(steps), total, f"{name}, {WORDS[field]}: {walk} {where}{which}.", by_timestep)


def _gates(bad: np.ndarray, layer: lstm.Layer) -> tuple[str, ...]:
    parts = np.split(bad, len(layer.gates), axis=-1)
    return tuple(gate for gate, part in zip(layer.gates, parts, strict=True) if part.any())


def _units(bad: np.ndarray) -> str:
    """The few units that are wrong, if it is only a few."""
    wrong = np.flatnonzero(bad.any(axis=0))
    if len(wrong) > FEW or len(wrong) == bad.shape[1]:
        return ""
    return f", in unit{'s' if len(wrong) > 1 else ''} {listed(map(str, wrong))}"
