"""The table ``[arrays]`` of a layout's description: pieces from axes in words, and what they must hold between them."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import Any

from lstm.layouts.described_values import checked_keys
from lstm.layouts.naming import shown
from lstm.layouts.pieces import SINGLE, SOURCES, Piece
from lstm.parameters import GATES
from lstm.validation import BadInput, described

WORDS = (*SOURCES, "gates", *SINGLE)


def pieces_from(table: Any, gates: tuple[str, ...], gate_names: dict[str, str]) -> tuple[Piece, ...]:
    """The pieces of all arrays. Raises BadInput where they do not make up one LSTM."""
    if not isinstance(table, dict) or not table:
        raise BadInput(f"arrays: expected a table of the arrays, each with its axes; got {described(table)}")
    pieces = []
    for name, said in table.items():
        piece = _piece(name, said, gates)
        if "{gate}" in name:
            pieces += [
                dataclasses.replace(piece, name=piece.name.replace("{gate}", gate_names[gate]), gate=gate)
                for gate in (gates if piece.sources != ("peephole",) else [gate for gate in gates if gate != "g"])
            ]
        else:
            pieces.append(piece)
    _check_names(pieces)
    return tuple(_check_content(pieces, gates))


def _piece(name: str, said: Any, gates: tuple[str, ...]) -> Piece:
    """One entry of the table, ``{gate}`` still in its name."""
    where = f"arrays.{shown(name)}"
    if not name.isprintable() or not re.fullmatch(r"([^{}]|\{gate\}|\{layer\}|\{direction\})+", name):
        raise BadInput(f"{where}: expected a name with no braces but {{gate}}, {{layer}}, {{direction}}; got {name!a}")
    said = said if isinstance(said, dict) else {"axes": said}
    checked_keys(where, said, ("axes", "holds", "gate", "optional"))
    single = said.get("gate", "")
    if single and (single not in gates or "{gate}" in name):
        raise BadInput(f"{where}.gate: expected one of {', '.join(gates)}, for a name without {{gate}}; got {described(single)}")
    axes = _axes(where, said.get("axes"), gates)
    holds, optional = said.get("holds", "bias"), said.get("optional", False)
    piece = Piece(name.replace("{layer}", "{level}"), axes, gate=single, optional=optional, holds=holds)
    if "holds" in said and (holds not in ("bias", "peephole") or {"sources", "projected"} & set(piece.kinds)):
        raise BadInput(f"{where}.holds: expected bias or peephole, for an array none of whose axes says it; got {described(holds)}")
    _check_axes(where, piece, bool(single) or "{gate}" in name)
    if not isinstance(optional, bool) or (optional and {"x", "h"} & set(piece.sources)):
        raise BadInput(f"{where}.optional: expected true or false, and false for weights on x or h; got {described(optional)}")
    return piece if piece.sources != ("peephole",) else _without_candidate(piece, said)


def _axes(where: str, axes: Any, gates: tuple[str, ...]) -> tuple[str, ...]:
    """The texts of the axes, each of known words, ``gates`` spelled out."""
    if not isinstance(axes, list) or not axes or not all(isinstance(axis, str) for axis in axes):
        raise BadInput(f"{where}: expected a list of texts, one for each axis; got {described(axes)}")
    for axis in axes:
        words = axis.split()
        alone = [word for word in words if word in (*SINGLE, "gates")]
        known = bool(words) and (set(words) <= set(SOURCES) or set(words) <= set(gates) or len(words) == len(alone) == 1)
        if not known or len(set(words)) < len(words):
            raise BadInput(f"{where}: expected an axis of {', '.join(WORDS)} or gates such as {' '.join(gates)!r}; got {described(axis)}")
    return tuple(" ".join(gates) if axis.split() == ["gates"] else " ".join(axis.split()) for axis in axes)


def _check_axes(where: str, piece: Piece, one_gate: bool) -> None:
    """Each kind of axis at most once, and those that this kind of array must have."""
    kinds = list(piece.kinds)
    if len(set(kinds)) < len(kinds):
        raise BadInput(f"{where}: expected each kind of axis once; got {', '.join(piece.axes)}")
    if "projected" in kinds:
        if sorted(set(kinds) - {"layers", "directions"}) != ["projected", "unit"] or one_gate:
            raise BadInput(f"{where}: expected the projection to have the axes unit and projected; got {', '.join(piece.axes)}")
    elif one_gate and ("gates" in kinds or "unit" not in kinds):
        raise BadInput(f"{where}: expected an array of one gate to have an axis unit and none of gates; got {', '.join(piece.axes)}")
    elif not one_gate and "gates" not in kinds:
        raise BadInput(f"{where}: expected an axis of gates (or {{gate}} in the name); got {', '.join(piece.axes)}")


def _without_candidate(piece: Piece, said: dict[str, Any]) -> Piece:
    """The candidate has no peephole: where ``gates`` stands for all gates, it is left out."""
    spelled = [axis.split() == ["gates"] for axis in said["axes"]]
    axes = [
        " ".join(word for word in axis.split() if word != "g") if everything else axis
        for axis, everything in zip(piece.axes, spelled, strict=True)
    ]
    return dataclasses.replace(piece, axes=tuple(axes))


def _check_names(pieces: list[Piece]) -> None:
    for name, count in Counter(piece.name for piece in pieces).items():
        if count > 1:
            raise BadInput(f"arrays: expected different names; got {name} {count} times")
    for placeholder, axis in (("{level}", "layers"), ("{direction}", "directions")):
        ways = {(placeholder in piece.name, axis in piece.stacks) for piece in pieces}
        if len(ways) > 1 or (True, True) in ways:
            shown_as = placeholder.replace("level", "layer")
            raise BadInput(f"arrays: expected {shown_as} in every name, or the axis {axis} in every array, or neither; got a mixture")


def _check_content(pieces: list[Piece], gates: tuple[str, ...]) -> list[Piece]:
    """Every gate's weights on x and h once, its bias up to twice, peepholes of all gates but g or none. -> with biases told apart."""
    seen: Counter[tuple[str, str]] = Counter()
    numbered = []
    for piece in pieces:
        copies = {seen["bias", gate] for gate in piece.gates} if "bias" in piece.sources else {0}
        if len(copies) > 1:
            raise BadInput(f"arrays.{piece.name}: expected its gates' biases to be all the first, or all the second; got both")
        numbered.append(dataclasses.replace(piece, copy=copies.pop()))
        seen.update((source, gate) for source in piece.sources for gate in piece.gates or ("",))
    for source in ("x", "h"):
        for gate in gates:
            if seen[source, gate] != 1:
                raise BadInput(f"arrays: expected the weights of gate {gate} on {source} in one array; got {seen[source, gate]}")
    counts = {seen["bias", gate] for gate in gates}
    if len(counts) > 1 or max(counts) > 2:
        got = _listed({gate: seen["bias", gate] for gate in gates})
        raise BadInput(f"arrays: expected no bias, or one or two for each gate; got {got}")
    peepholes = {gate: seen["peephole", gate] for gate in GATES if seen["peephole", gate]}
    if peepholes and peepholes != {gate: 1 for gate in gates if gate != "g"}:
        raise BadInput(f"arrays: expected one peephole for each gate but g; got {_listed(peepholes)}")
    if seen["projection", ""] > 1:
        raise BadInput(f"arrays: expected one projection at most; got {seen['projection', '']}")
    return numbered


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} for {gate}" for gate, count in counts.items())
