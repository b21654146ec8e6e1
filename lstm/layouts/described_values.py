"""The values of a layout's description, each checked; messages name the key as the file has it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from lstm.layouts.naming import shown
from lstm.parameters import GATES
from lstm.validation import BadInput, described


def checked_keys(where: str, table: Any, known: Iterable[str]) -> None:
    """A table with these keys only."""
    known = list(known)
    if not isinstance(table, dict):
        raise BadInput(f"{where}: expected a table; got {described(table)}")
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            meant = f"{near[0]}, perhaps" if near else f"one of {', '.join(known)}"
            raise BadInput(f"{where + '.' if where else ''}{shown(key)}: expected {meant}; got this key")


def text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise BadInput(f"{key}: expected a text on one line; got {described(value)}")
    return value


def texts(key: str, table: Any, keys: tuple[str, ...]) -> dict[str, str]:
    """A table of different texts for some of these keys; what it lacks is spelled as itself."""
    checked_keys(key, table, keys)
    spelled = {one: table.get(one, one) for one in keys}
    for one, value in spelled.items():
        if not isinstance(value, str) or not value.isprintable() or "{" in value:
            raise BadInput(f"{key}.{one}: expected a text to stand in names; got {described(value)}")
        same = [other for other in keys if spelled[other] == value]
        if len(same) > 1:
            raise BadInput(f"{key}: expected different texts; got {value!r} for {' and '.join(same)}")
    return spelled


def gate_order(key: str, value: Any) -> tuple[str, ...]:
    """i, f, g, o in some order; or i, g, o, where f = 1 - i."""
    words = tuple("g" if word == "c" else word for word in value.split()) if isinstance(value, str) else ()  # ONNX and Keras say c
    if sorted(words) not in (sorted(GATES), sorted("igo")):
        raise BadInput(f"{key}: expected i, f, g, o in some order (or i, g, o, where f = 1 - i), with spaces; got {described(value)}")
    return words


def whole_number(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1_000_000:
        raise BadInput(f"{key}: expected a whole number of at least 0; got {described(value)}")
    return value
