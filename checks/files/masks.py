"""The masks of a file: dropout and zoneout as somebody drew them, ``mask.inputs_l0``, ``mask.zoneout_c_l1_reverse``, …

Each has the file's axes, with as many features as what it multiplies; or lacks the axis of timesteps, and is the same at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import lstm
from checks.files.candidate_arrays import exact_shape, floats, moved, near_name
from checks.files.npz_file import shown
from lstm import BadInput
from lstm.levels import directions, together

PREFIX = "mask."
FIELDS = ("inputs", "recurrent", "zoneout_h", "zoneout_c")


class Place(NamedTuple):
    """Which mask of which layer, and the features that it has."""

    level: int
    direction: int
    field: str
    features: int


def places(layers: Sequence[Any]) -> dict[str, Place]:
    """Every mask that these layers could have, by its name."""
    found = {}
    for number, level in enumerate(layers):
        for index, direction in enumerate(directions(level)):
            layer = direction.layer
            sizes = (layer.w_x.shape[0], layer.recurrent_size, layer.recurrent_size, layer.hidden_size)
            for field, features in zip(FIELDS, sizes, strict=True):
                name = f"{PREFIX}{field}_l{number}{'_reverse' if direction.reversed else ''}"
                found[name] = Place(number, index, field, features)
    return found


def read_masks(arrays: Mapping[str, np.ndarray], layers: Sequence[Any], order: str, counted: np.ndarray) -> tuple[Any, ...] | None:
    """Those that are in the file, one per level as `lstm.forward` takes them; None if there are none.

    Args:
        order: the letters T, B, D in the order of the file's axes.
        counted: (T, B) booleans; elsewhere a mask may hold anything.
    """
    known = places(layers)
    chosen: dict[tuple[int, int], dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        if not name.startswith(PREFIX):
            continue
        if name not in known:
            such = next(iter(known))
            raise BadInput(f"{shown(name)}: expected a mask of one of the layers, as {such}; got this name{near_name(name, known)}")
        place = known[name]
        chosen.setdefault((place.level, place.direction), {})[place.field] = _read(name, array, place.features, order, counted)
    if not chosen:
        return None
    pairs = [[lstm.Masks(**chosen.get((n, k), {})) for k in range(len(directions(level)))] for n, level in enumerate(layers)]
    return tuple(together(level, pair) for level, pair in zip(layers, pairs, strict=True))


def _read(name: str, array: np.ndarray, features: int, order: str, counted: np.ndarray) -> np.ndarray:
    """-> (T, B, features), zero where nothing counts."""
    sizes = {"T": counted.shape[0], "B": counted.shape[1], "D": features}
    constant = array.ndim == 2
    axes = order.replace("T", "") if constant else order
    exact_shape(name, array, tuple(sizes[letter] for letter in axes), f"the axes ({', '.join(axes)}) of what it multiplies")
    if constant:
        values = np.broadcast_to(moved(floats(name, array), axes, "BD"), (*counted.shape, features))
    else:
        values = floats(name, moved(array, order), counted)
    return np.where(counted[:, :, None], values, 0)


def write_masks(masks: tuple[Any, ...] | None, layers: Sequence[Any], order: str) -> dict[str, np.ndarray]:
    """The reverse of `read_masks`, with all axes."""
    if masks is None:
        return {}
    found = {}
    for name, place in places(layers).items():
        level = masks[place.level]
        one = (level.forward, level.reverse)[place.direction] if isinstance(level, lstm.Bidirectional) else level
        array = getattr(one, place.field)
        if array is not None:
            found[name] = moved(array, "TBD", order)
    return found
