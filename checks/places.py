"""Where in an array an entry is, in the words of an LSTM: gate, unit, and what the weight comes from."""

from __future__ import annotations

from typing import Any

import jax

import lstm

_SOURCES = {"w_x": "from x", "w_h": "from h"}


def describe(name: str, index: tuple[int, ...], shape: tuple[int, ...], gates: tuple[str, ...] = lstm.GATES) -> str:
    """``layers[0].w_h``, (7, 11), (8, 32), i f g o -> ``layers[0].w_h[f, unit 3, from h 7]``; other arrays keep their indices."""
    field = name.rpartition(".")[2]
    if not gates or "layers[" not in name or field not in ("w_x", "w_h", "b"):
        return f"{name}[{', '.join(map(str, index))}]" if index else name
    gate, unit = divmod(index[-1], shape[-1] // len(gates))
    source = f", {_SOURCES[field]} {index[0]}" if field in _SOURCES else ""
    return f"{name}[{gates[gate]}, unit {unit}{source}]"


def gates_of_leaves(parameters: Any) -> list[tuple[str, ...]]:
    """For each array: the gates of the LSTM layer that it belongs to, three if they are coupled; () for other arrays."""
    found: list[tuple[str, ...]] = []
    for part in jax.tree.leaves(parameters, is_leaf=lambda part: isinstance(part, lstm.Layer)):
        gates = tuple(part.gates) if isinstance(part, lstm.Layer) else ()
        found += [gates] * len(jax.tree.leaves(part))
    return found
