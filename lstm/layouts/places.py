"""Words for what stands where in a layout's arrays, read off the same codes as the arrays themselves."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lstm.layouts.codes import FIELDS, Codes, Decoded
from lstm.parameters import GATES

_FROM = {"w_x": "from x", "w_h": "from h", "b": "bias", "peepholes": "from c", "projection": "to h"}
_NUMBERED = ("w_x", "w_h", "projection")  # fields whose entries have a source, or destination, to number
_AXES = {1: ["entries"], 2: ["rows", "columns"]}

Values = dict[str, np.ndarray]  # the attributes of `Decoded` that are to be told, for some entries


def describe(name: str, index: tuple[int, ...], codes: Codes) -> str:
    """``weight_hh_l0[f, unit 3, from h 7]``; an array that is none of the weights keeps its indices."""
    return describe_all(name, [index], codes)[0]


def describe_all(name: str, indices: Sequence[tuple[int, ...]], codes: Codes) -> list[str]:
    """`describe` for many entries of one array, of which what they share is found once."""
    if name not in codes.of:
        return [f"{name}[{', '.join(map(str, index))}]" if index else name for index in indices]
    array = codes.of[name]
    slots, fields, copies = codes.mixture(array)
    entries = codes.decoded(np.array([array[index] for index in indices]))
    told = [one for one in Decoded._fields if (one != "slot" or slots > 1) and (one != "copy" or copies > 1)]
    if fields == copies == 1 and (entries.field[entries.slot >= 0] == FIELDS.index("b")).all():
        told = [one for one in told if one not in ("field", "source")]
    columns = _values(entries, told)
    return [
        f"{name}[{_words({one: values[k : k + 1] for one, values in columns.items()}, codes)}]"
        if entries.slot[k] >= 0
        else f"{name}[{', '.join(map(str, index))}, unused]"
        for k, index in enumerate(indices)
    ]


def explained(name: str, codes: Codes) -> list[str]:
    """What the rows and columns of an array are: a heading, and a line for each run of them."""
    array = codes.of[name]
    slices = [_slices(array, codes, axis) for axis in range(array.ndim)]
    constant = [one for one in Decoded._fields if all(_constant(part, one) for pair in slices for part in pair)]
    used = _values(slices[0][0], [one for one in constant if one in ("slot", "field", "gate")])
    heading = {one: values[slices[0][0].slot >= 0] for one, values in used.items()}
    if len(codes.slots) == 1:
        heading.pop("slot", None)
    lines = [f"{name}, shape {array.shape}: {_words(heading, codes, 'gate ')}".removesuffix(": ")]
    labels = _AXES.get(array.ndim, [f"axis {axis}:" for axis in range(array.ndim)])
    for label, (first, last) in zip(labels, slices, strict=True):
        told = [one for one in Decoded._fields if one not in constant and np.array_equal(getattr(first, one), getattr(last, one))]
        if ("source" in told or "copy" in told) and "field" in constant:
            told.append("field")
        runs = {"unused": first.slot < 0} | _values(first, told) if told else {}
        for start, stop in _runs(runs):
            words = _words({one: values[start:stop] for one, values in runs.items()}, codes, "gate ")
            where = f"{label} {_range(np.arange(start, stop))}"
            lines.append(f"  {where:16} {words}".rstrip())
    return lines


def _slices(array: np.ndarray, codes: Codes, axis: int) -> tuple[Decoded, Decoded]:
    """The entries along an axis, through the first and through the last used entry. What differs is not this axis's to say."""
    used = np.flatnonzero(array >= 0)[[0, -1]]
    first, last = (
        array[tuple(slice(None) if at == axis else where for at, where in enumerate(np.unravel_index(one, array.shape)))] for one in used
    )
    return codes.decoded(first), codes.decoded(last)


def _constant(decoded: Decoded, attribute: str) -> bool:
    values = getattr(decoded, attribute)[decoded.slot >= 0]
    return bool((values == values[:1]).all())


def _values(decoded: Decoded, attributes: Iterable[str]) -> Values:
    return {one: getattr(decoded, one) for one in attributes}


def _runs(told: Values) -> Iterator[tuple[int, int]]:
    """Where slot, field, copy and gate stay the same, as far as they are told."""
    columns = [values for one, values in told.items() if one in ("unused", "slot", "field", "copy", "gate")]
    size = len(next(iter(told.values()), ()))
    changes = np.zeros(max(size - 1, 0), bool)
    for values in columns:
        changes |= values[1:] != values[:-1]
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), size]
    return itertools.pairwise(edges) if size else iter(())


def _words(told: Values, codes: Codes, before_gate: str = "") -> str:
    """Of entries that share slot, field, copy and gate: those, and their units and sources."""
    words = []
    if "unused" in told and told["unused"][0]:
        return "unused, since f = 1 - i"
    if "slot" in told:
        words.append(_layer(int(told["slot"][0]), codes))
    if "gate" in told and told["gate"][0] >= 0:
        words.append(before_gate + GATES[int(told["gate"][0])])
    if "unit" in told:
        words.append(f"unit{'s' if len(np.unique(told['unit'])) > 1 else ''} {_range(told['unit'])}")
    if "field" in told:
        field = FIELDS[int(told["field"][0])]
        numbers = f" {_range(told['source'])}" if "source" in told and field in _NUMBERED else ""
        which = ("", "second ")[int(told["copy"][0])] if "copy" in told and field == "b" else ""
        words.append(f"{which}{_FROM[field]}{numbers}")
    return ", ".join(words)


def _layer(slot: int, codes: Codes) -> str:
    one = codes.slots[slot]
    several = one.level > 0 or any(other.level > 0 for other in codes.slots)
    return f"layer {one.level} {one.direction}" if several else one.direction


def _range(numbers: np.ndarray) -> str:
    low, high = int(numbers.min()), int(numbers.max())
    return str(low) if low == high else f"{low}-{high}"
