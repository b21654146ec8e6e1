"""Random networks and data for the study of the diagnosis, and random corruptions of their gradients that are no known mistake."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

import lstm
from checks.diagnosis import Subject, of_pytree
from checks.diagnosis.planted import Planted
from checks.diagnosis.rounding import rounding_of
from checks.files.draw import ExportOptions, random_case
from lstm.layouts import LAYOUTS

Arrays = dict[str, np.ndarray]
KINDS = (None, "squared_error", "cross_entropy")  # upstream gradients, and two costs


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """A case, the right gradients in float64 by name, and what rounding may do to them."""

    options: ExportOptions
    subject: Subject
    planted: Planted
    allowed: Arrays

    @property
    def right(self) -> Arrays:
        return self.planted.correct


def random_probe(rng: np.random.Generator, dtype: str = "float64", **fixed: Any) -> Probe:
    """Sizes from 3 up: below, a random reordering is now and then a transpose or a reversal, and a row an array."""
    loss = KINDS[int(rng.integers(len(KINDS)))]
    drawn: dict[str, Any] = {
        "timesteps": int(rng.integers(4, 11)), "batch": int(rng.integers(3, 6)), "inputs": int(rng.integers(3, 8)),
        "hidden": int(rng.integers(3, 8)), "layers": int(rng.integers(1, 3)), "lengths": bool(rng.integers(2)),
        "outputs": int(rng.integers(3, 7)), "loss": loss, "reduction": str(rng.choice(["mean", "sum"])), "seed": int(rng.integers(2**31)),
    }  # fmt: skip
    if rng.random() < 0.3:
        drawn["inputs"] = drawn["hidden"]
    options = ExportOptions(LAYOUTS["torch"], **(drawn | fixed))
    return probe_of(options, dtype)


def probe_of(options: ExportOptions, dtype: str = "float64") -> Probe:
    case = random_case(options)
    everything = case.parameters
    names = [jax.tree_util.keystr(path).removeprefix(".") for path, _ in jax.tree_util.tree_leaves_with_path(everything)]
    subject = Subject.of(case, of_pytree(everything, names))
    assert subject.planted is not None, subject.obstacle
    rooms = rounding_of(subject.planted.case, dtype=dtype)
    allowed = {name: np.full(np.shape(leaf), room) for name, leaf, room in zip(names, jax.tree.leaves(everything), rooms, strict=True)}
    return Probe(options, subject, subject.planted, allowed)


def subset(rng: np.random.Generator, names: list[str], always: str) -> list[str]:
    """All of them half of the time, else a random half with one that must be there."""
    if rng.random() < 0.5:
        return names
    return [name for name in names if name == always or rng.random() < 0.5]


CORRUPTIONS = (
    "entry", "row", "zero row", "row negated", "rows swapped", "noise on a gate", "noise on all", "gate scaled", "array scaled",
    "units permuted", "noise on early timesteps", "shuffled", "constant added",
)  # fmt: skip


def corrupted(rng: np.random.Generator, right: Arrays, gates: Any) -> tuple[str, str, Arrays]:
    """-> the kind of corruption, the array that it is in, and all arrays with it. None is a mistake of any catalogue."""
    kind = str(rng.choice(CORRUPTIONS))
    arrays = {name: array.copy() for name, array in right.items()}
    name = list(arrays)[int(rng.integers(len(arrays)))]
    if kind == "noise on early timesteps":
        name = "inputs"
    array = arrays[name]
    size = float(10 ** rng.uniform(-3, 1)) * float(np.abs(array).max() or 1.0)
    factor = float(rng.choice([-1, 1])) * float(np.exp(rng.uniform(-1.5, 1.5)))
    if kind == "noise on all":
        return kind, name, {key: each + size * rng.standard_normal(each.shape) for key, each in arrays.items()}
    if kind in ("entry", "shuffled", "constant added", "array scaled", "noise on early timesteps"):
        _whole(rng, kind, array, size, factor)
    elif kind in ("noise on a gate", "gate scaled", "units permuted"):
        _by_gates(rng, kind, array, gates.get(name), size, factor)
    else:
        _row(rng, kind, array, size)
    return kind, name, arrays


def _whole(rng: np.random.Generator, kind: str, array: np.ndarray, size: float, factor: float) -> None:
    if kind == "entry":
        array[tuple(int(rng.integers(n)) for n in array.shape)] += size * rng.choice([-1, 1])
    elif kind == "shuffled":
        array[...] = rng.permutation(array.ravel()).reshape(array.shape)
    elif kind == "constant added":
        array += size
    elif kind == "array scaled":
        array *= factor
    else:
        until = int(rng.integers(len(array))) + 1
        array[:until] += size * rng.standard_normal(array[:until].shape)


def _by_gates(rng: np.random.Generator, kind: str, array: np.ndarray, marks: Any, size: float, factor: float) -> None:
    chosen = np.ones(array.shape, bool) if marks is None else marks == rng.integers(len(lstm.GATES))
    if kind == "noise on a gate":
        array[chosen] += size * rng.standard_normal(int(chosen.sum()))
    elif kind == "gate scaled":
        array[chosen] *= factor
    else:
        units = array.shape[-1] // (1 if marks is None else len(lstm.GATES))
        order = rng.permutation(units)
        array[...] = array[..., np.concatenate([start + order for start in range(0, array.shape[-1], units)])]


def _row(rng: np.random.Generator, kind: str, array: np.ndarray, size: float) -> None:
    turned = np.moveaxis(array, int(rng.integers(array.ndim)), 0)  # a view: what is written there is written in the array
    chosen, other = int(rng.integers(len(turned))), int(rng.integers(len(turned)))
    if turned.ndim == 1 and kind in ("zero row", "row negated"):
        kind = "row"  # of a vector: an entry
    if kind == "row":
        turned[chosen] += size * rng.standard_normal(turned[chosen].shape)
    elif kind == "rows swapped":
        turned[[chosen, other]] = turned[[other, chosen]]
    else:
        turned[chosen] *= 0 if kind == "zero row" else -1
