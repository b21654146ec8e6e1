"""Where in an array an entry is, in the words of an LSTM: gate, unit, and what the weight comes from."""

from __future__ import annotations

from typing import Any

import jax

import lstm

_SOURCES = {"w_x": "from x", "w_h": "from h"}


def describe(name: str, index: tuple[int, ...], shape: tuple[int, ...], gates: tuple[str, ...] = lstm.GATES) -> str:
    """``layers[0].w_h``, (7, 11), (8, 32), i f g o -> ``layers[0].w_h[f, unit 3, from h 7]``; other arrays keep their indices."""
    if gate_blocks(name, gates) == 1:
        return f"{name}[{', '.join(map(str, index))}]" if index else name
    field = name.rpartition(".")[2]
    gate, unit = divmod(index[-1], shape[-1] // len(gates))
    source = f", {_SOURCES[field]} {index[0]}" if field in _SOURCES else ""
    return f"{name}[{gates[gate]}, unit {unit}{source}]"


def gate_blocks(name: str, gates: tuple[str, ...]) -> int:
    """How many blocks, one for each gate, the array's last axis has; 1 where it has none, as peepholes."""
    return len(gates) if gates and "layers[" in name and name.rpartition(".")[2] in ("w_x", "w_h", "b") else 1


def gates_of_leaves(parameters: Any) -> list[tuple[str, ...]]:
    """For each array: the gates of the LSTM layer that it belongs to, three if they are coupled; () for other arrays."""
    found: list[tuple[str, ...]] = []
    for part in jax.tree.leaves(parameters, is_leaf=lambda part: isinstance(part, lstm.Layer)):
        gates = tuple(part.gates) if isinstance(part, lstm.Layer) else ()
        found += [gates] * len(jax.tree.leaves(part))
    return found
