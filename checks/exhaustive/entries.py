"""Which entry of the flat parameters is perturbed where: entries that share a compiled program lie together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from checks.exhaustive.network import parts
from checks.exhaustive.sweep import Place
from checks.problem import Cost
from lstm.levels import apart, directions


@dataclasses.dataclass(frozen=True)
class Entries:
    """Entries at one place.

    Attributes:
        flat: (E, 1), or (E, B) where one perturbed copy serves every sequence: indices into the flat parameters; -1: not asked for.
        index, column: (E,) see `checks.exhaustive.sweep.Copies`.
        first: (E,) the timestep, in the layer's own order, before which nothing differs.
    """

    place: Place
    flat: np.ndarray
    index: np.ndarray
    column: np.ndarray
    first: np.ndarray

    def only(self, wanted: np.ndarray) -> Entries:
        """Without what is not asked for: (P,) booleans."""
        flat = np.where(wanted[self.flat], self.flat, -1)
        keep = (flat >= 0).any(axis=1)
        return Entries(self.place, flat[keep], self.index[keep], self.column[keep], self.first[keep])

    def __len__(self) -> int:
        return len(self.flat)


class Unit(NamedTuple):
    """What a device or core does at a time: copies of entries number ``chosen`` (K,), moved by ``amounts`` (K, 1 or B).

    They start from the timestep ``first``, and only costs of units that start from the same one can be compared.
    """

    chosen: np.ndarray
    amounts: np.ndarray
    first: int


def all_entries(problem: Cost) -> list[Entries]:
    """Every entry of the problem's parameters, each exactly once."""
    numbered = problem.unflatten(np.arange(problem.size))
    assert problem.origin is not None
    layers, readout, _, _ = parts(problem.parameters, problem.origin)
    whole = hasattr(problem.parameters, "initial_state")  # inputs and states are among the parameters
    index_layers, index_readout, index_inputs, index_states = parts(numbered, problem.origin)
    found: list[Entries] = []
    for level, (given, numbers) in enumerate(zip(layers, index_layers, strict=True)):
        for way, (direction, own) in enumerate(zip(directions(given), directions(numbers), strict=True)):
            found.extend(_of_layer(level, way, direction.layer, own.layer))
            if whole:
                found.append(_of_state(Place(level, way, "state"), apart(given, index_states[level])[way]))
    if readout is not None:
        table = np.concatenate([index_readout.w, index_readout.b[None]])
        found.append(_of_table(Place(len(layers) - 1, 0, "readout"), table))
    if whole:
        found.append(_of_inputs(index_inputs, directions(layers[0])[0].reversed))
    return found


def _of_layer(level: int, way: int, layer: Any, numbers: Any) -> Iterator[Entries]:
    yield _of_table(Place(level, way, "gates"), np.concatenate([numbers.w_x, numbers.b[None], numbers.w_h]))
    if layer.peepholes is not None:
        yield _of_table(Place(level, way, "peepholes"), numbers.peepholes)
    if layer.projection is not None:
        yield _of_table(Place(level, way, "projection"), numbers.projection)


def _of_table(place: Place, flat: np.ndarray) -> Entries:
    """A matrix of indices: its rows are sources, its columns what they are added to."""
    index, column = np.indices(flat.shape).reshape(2, -1)
    return Entries(place, flat.reshape(-1, 1), index, column, np.zeros(flat.size, int))


def _of_state(place: Place, numbers: Any) -> Entries:
    """One copy moves the same unit of every sequence, and each sequence's cost is its own entry's."""
    flat = np.concatenate([np.asarray(numbers.h).T, np.asarray(numbers.c).T])
    sizes = [np.shape(numbers.h)[1], np.shape(numbers.c)[1]]
    column = np.concatenate([np.arange(size) for size in sizes])
    return Entries(place, flat, np.repeat([0, 1], sizes), column, np.zeros(len(flat), int))


def _of_inputs(numbers: np.ndarray, is_reversed: bool) -> Entries:
    """(T, B, D) -> a copy for each (t, d), in the order in which the first layer comes to them."""
    timesteps, batch, features = numbers.shape
    index, column = np.indices((timesteps, features)).reshape(2, -1)
    flat = np.moveaxis(numbers, 1, 2).reshape(-1, batch)
    first = timesteps - 1 - index if is_reversed else index
    order = np.argsort(first, kind="stable")
    return Entries(Place(0, 0, "inputs"), flat[order], index[order], column[order], first[order])
