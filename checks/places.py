"""Where in an array an entry is, in the words of an LSTM: gate, unit, and what the weight comes from."""

from __future__ import annotations

import lstm

_SOURCES = {"w_x": "from x", "w_h": "from h"}


def describe(name: str, index: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """``layers[0].w_h``, (7, 11), (8, 32) -> ``layers[0].w_h[f, unit 3, from h 7]``; other arrays keep their indices."""
    field = name.rpartition(".")[2]
    if "layers[" not in name or field not in ("w_x", "w_h", "b"):
        return f"{name}[{', '.join(map(str, index))}]" if index else name
    hidden_size = shape[-1] // len(lstm.GATES)
    gate, unit = divmod(index[-1], hidden_size)
    source = f", {_SOURCES[field]} {index[0]}" if field in _SOURCES else ""
    return f"{name}[{lstm.GATES[gate]}, unit {unit}{source}]"
