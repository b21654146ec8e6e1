"""What may be wrong with one array by itself, whatever the network: a factor, gates in another order, a transpose, another's place.

These need no backward pass, only the right gradient, so they are tried on every network, also where bugs cannot be planted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

import lstm
from checks.catalogue import FACTORS
from checks.diagnosis.cause import Cause
from checks.diagnosis.observation import Observation

Kind = tuple[str, ...]  # such as ("times", "half"): one mistake, in whichever arrays


def factors_of(sizes: Mapping[str, int]) -> dict[str, float]:
    """Name -> value, of those that are not 1 at these sizes; -1 among them."""
    found = {name: float(value(dict(sizes))) for name, value in FACTORS.items()} | {"minus-1": -1.0}
    return {name: value for name, value in found.items() if value != 1}


def in_words(name: str, value: float) -> str:
    """2 is 2; 4 may be B, and 0.25 then is 1/B."""
    return f"{value:.6g}" if name in ("half", "2", "minus-1") else f"{value:.6g} ({name.upper().replace('-OVER-', '/')})"


def explanations(observation: Observation, factors: Mapping[str, float]) -> list[tuple[Kind, ...]]:
    """Sets of kinds, each of which explains every wrong array to rounding; the smallest sets, one kind or two."""
    right = observation.arrays(observation.expected)
    wrong = [name for name, where in observation.slices.items() if observation.wrong[where].any()]
    by_array = [{kind for kind, array in variants(name, right, observation, factors) if _fits(observation, name, array)} for name in wrong]
    if not by_array or not all(by_array):
        return []
    common = set.intersection(*by_array)
    if common:
        return [(kind,) for kind in sorted(common)]
    kinds = sorted(set.union(*by_array))
    return [pair for pair in itertools.combinations(kinds, 2) if all(set(pair) & of_array for of_array in by_array)]


def _fits(observation: Observation, name: str, array: np.ndarray) -> bool:
    where = observation.slices[name]
    vector = observation.expected.copy()
    vector[where] = array.ravel()
    return bool((np.abs(observation.got - vector)[where] <= observation.room(vector)[where]).all())


def variants(
    name: str, right: Mapping[str, np.ndarray], observation: Observation, factors: Mapping[str, float]
) -> Iterator[tuple[Kind, np.ndarray]]:
    """What may stand where the gradient of ``name`` belongs, and why."""
    array = right[name]
    yield ("zero",), np.zeros_like(array)
    for factor, value in factors.items():
        yield ("times", factor), value * array
    yield from _reordered(array)
    for other, values in right.items():
        if other != name and values.shape == array.shape:
            yield ("is-that-of", other), values
    if name == observation.arrangement.inputs:
        axis = observation.arrangement.order.index("T")
        yield ("time-reversed",), np.flip(array, axis)
        yield ("one-step-early",), _shifted(array, -1, axis)
        yield ("one-step-late",), _shifted(array, 1, axis)
    marks = observation.arrangement.gates.get(name)
    if marks is not None:
        yield from _by_gates(array, marks)


def _reordered(array: np.ndarray) -> Iterator[tuple[Kind, np.ndarray]]:
    if array.ndim == 2 and min(array.shape) > 1:
        yield ("memory-transposed",), array.T.reshape(array.shape)
        yield ("memory-transposed-back",), array.reshape(array.shape[::-1]).T
    if array.ndim == 3 and min(array.shape[:2]) > 1:
        yield ("axes-relabelled",), array.transpose(1, 0, 2).reshape(array.shape)


def _shifted(array: np.ndarray, by: int, axis: int) -> np.ndarray:
    moved = np.moveaxis(array, axis, 0)
    padding = np.zeros_like(moved[:1])
    kept = [moved[1:], padding] if by < 0 else [padding, moved[:-1]]
    return np.moveaxis(np.concatenate(kept), 0, axis)


def _by_gates(array: np.ndarray, marks: np.ndarray) -> Iterator[tuple[Kind, np.ndarray]]:
    present = [q for q in range(len(lstm.GATES)) if (marks == q).any()]
    sizes = {int((marks == q).sum()) for q in present}
    if len(present) < 2 or len(sizes) != 1:
        return
    for order in itertools.permutations(present):
        if list(order) != present:
            result = array.copy()
            for q, source in zip(present, order, strict=True):
                result[marks == q] = array[marks == source]
            yield ("gates", "".join(lstm.GATES[q] for q in order)), result
    transposed = array.copy()
    for q in present:
        block = _block(array, marks == q)
        if block is None or block.shape[0] != block.shape[1] or len(block) < 2:
            return
        transposed[marks == q] = block.T.ravel()
    yield ("blocks-transposed",), transposed


def _block(array: np.ndarray, chosen: np.ndarray) -> np.ndarray | None:
    """The entries chosen, as a matrix, if they are whole rows or whole columns of one."""
    if array.ndim != 2:
        return None
    rows, columns = chosen.any(axis=1), chosen.any(axis=0)
    if int(chosen.sum()) != int(rows.sum()) * int(columns.sum()):
        return None
    return array[np.ix_(rows, columns)]


WORDS: dict[str, tuple[str, str, str, str]] = {  # kind -> title, equation, effect, what to do
    "zero": (
        "{arrays}: all zeros", "(8)", "this gradient was never computed, or never written",
        "Compute it, and check that it is returned.",
    ),
    "times": (
        "{arrays}: {factor} times what it should be", "(7)", "right direction, wrong length, in these arrays alone",
        "Look at what happens to these arrays after the loop over time: a mean that belongs to the loss, a sum taken twice, a sign.",
    ),
    "is-that-of": (
        "{arrays}: holds the gradient of {detail}", "(8)", "right numbers in the place of others",
        "Check the order in which the gradients are returned or written.",
    ),
    "memory-transposed": (
        "{arrays}: the transposed matrix's memory, in this shape", "(16)", "right numbers in the wrong places",
        "Transpose before writing, or give the other shape: a reshape only relabels the memory.",
    ),
    "memory-transposed-back": (
        "{arrays}: column-major memory read as row-major", "(16)", "right numbers in the wrong places",
        "Say the order of the memory when writing, or transpose.",
    ),
    "axes-relabelled": (
        "{arrays}: batch-first memory under a time-major shape, or the reverse", "(19)",
        "right numbers at the wrong timesteps and sequences",
        "Swap the axes with a transpose; a reshape only relabels the memory.",
    ),
    "time-reversed": (
        "{arrays}: the timesteps are in reverse order", "(19)", "right numbers at the wrong timesteps",
        "The loop ran from T - 1 down: store at index t, or flip once.",
    ),
    "one-step-early": ("{arrays}: t holds what belongs to t + 1", "(19)", "right numbers, one timestep off", "Store at index t."),
    "one-step-late": ("{arrays}: t holds what belongs to t - 1", "(19)", "right numbers, one timestep off", "Store at index t."),
    "gates": (
        "{arrays}: the gate blocks are in the order {detail}", "(16)", "right numbers in the wrong blocks, in these arrays alone",
        "Write the gradient's blocks in the order of the weights' blocks.",
    ),
    "blocks-transposed": (
        "{arrays}: each gate's block is transposed", "(17)", "right numbers in the wrong places; shapes fit, because each block is square",
        "dW = x.T @ d_z where z = x @ W; its transpose where z = W @ x.",
    ),
}  # fmt: skip


def cause_of(kind: Kind, observation: Observation, factors: Mapping[str, float], among: tuple[Kind, ...]) -> Cause:
    """The kind in words, with the wrong arrays that it explains and no other kind of ``among`` does better."""
    right = observation.arrays(observation.expected)
    arrays = []
    for name, where in observation.slices.items():
        if observation.wrong[where].any():
            fitting = [k for k, array in variants(name, right, observation, factors) if k in among and _fits(observation, name, array)]
            arrays += [name] if kind in fitting else []
    title, equation, effect, fix = WORDS[kind[0]]
    detail = ", ".join(kind[1]) if kind[0] == "gates" else kind[-1]
    factor = in_words(kind[1], factors[kind[1]]) if kind[0] == "times" else ""
    listed = ", ".join(arrays) if len(arrays) <= 4 else f"{', '.join(arrays[:3])} and {len(arrays) - 3} more"
    name = "-".join(["array", *kind]).replace(" ", "-")
    return Cause(name, title.format(arrays=listed, detail=detail, factor=factor), equation, effect, fix)
