"""Which layers a file has, read off the names of its arrays; and what their arrays are called."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from lstm.layouts.pieces import Piece
from lstm.parameters import Bidirectional, Layer, Reversed
from lstm.validation import BadInput, described


@dataclasses.dataclass(frozen=True)
class Slot:
    """One layer in one direction, and what ``{level}`` and ``{direction}`` in a name stand for there."""

    level: int
    direction: str  # "forward" or "reverse"
    level_text: str = ""
    direction_text: str = ""

    def name(self, piece: Piece) -> str:
        return piece.name.replace("{level}", self.level_text).replace("{direction}", self.direction_text)


@dataclasses.dataclass(frozen=True)
class Naming:
    """How a layout writes the layer's number and direction. The defaults are prefixes for what a framework builds of single
    cells: none for one layer; ``0/``, ``1/``, … for several; ``forward/`` and ``backward/`` for two directions."""

    level: str = "{}/"
    only_level: str = ""  # where there is a single level
    forward: str = ""
    forward_of_two: str = "forward/"
    reverse: str = "backward/"
    first: int = 0  # the number of the lowest level

    def numbered(self, level: int) -> str:
        return self.level.replace("{}", str(level + self.first))

    def slots(self, kinds: Sequence[Iterable[str]]) -> list[Slot]:
        """For each level its directions, as a file of such layers names them."""
        texts = [self.only_level] if len(kinds) == 1 else [self.numbered(level) for level in range(len(kinds))]
        return [slot for level, present in enumerate(kinds) for slot in self._level(level, texts[level], present)]

    def find(self, keys: Iterable[str], pieces: Sequence[Piece], reverse_alone: bool, uniform: bool) -> list[Slot]:
        """The slots of a file with these names: those of which at least one array is there, and those that must be beside them.

        ``reverse_alone``: a level may run in reverse only; ``uniform``: all levels run in the same directions.
        """
        keys = set(keys)
        texts = {"forward": self.forward}
        if any("{direction}" in piece.name for piece in pieces):
            texts |= {"both": self.forward_of_two, "reverse": self.reverse}

        def seen(level_text: str) -> set[str]:
            slots = {which: Slot(0, which, level_text, text) for which, text in texts.items()}
            return {which for which, slot in slots.items() if any(slot.name(piece) in keys for piece in pieces)}

        levels: list[tuple[str, set[str]]] = []
        if any("{level}" in piece.name for piece in pieces):
            while here := seen(self.numbered(len(levels))):
                levels.append((self.numbered(len(levels)), here))
        levels = levels or [(self.only_level, seen(self.only_level))]
        twos = [self._is_two(here, reverse_alone) for _, here in levels]
        if uniform:
            twos = [any(twos)] * len(twos)
        return [
            slot
            for level, ((text, here), two) in enumerate(zip(levels, twos, strict=True))
            for slot in self._level(level, text, {"forward", "reverse"} if two else here & {"reverse"} or {"forward"})
        ]

    def _is_two(self, seen: set[str], reverse_alone: bool) -> bool:
        if "reverse" in seen and not reverse_alone:
            return True
        return ("both" in seen and self.forward_of_two != self.forward) or seen >= {"forward", "reverse"}

    def _level(self, level: int, text: str, directions: Iterable[str]) -> list[Slot]:
        ordered = sorted(directions)  # forward first
        forward = self.forward_of_two if len(ordered) == 2 else self.forward
        return [Slot(level, which, text, forward if which == "forward" else self.reverse) for which in ordered]


def slots_of(layers: Any) -> list[tuple[int, str, Layer]]:
    """(level, direction, layer) for each layer, lowest level first, forward before reverse."""
    layers = (layers,) if isinstance(layers, (Layer, Reversed, Bidirectional)) else layers
    if not isinstance(layers, (tuple, list)) or not layers:
        raise BadInput(f"layers: expected an lstm.Layer or a sequence of them, lowest first; got {described(layers)}")
    found = []
    for level, one in enumerate(layers):
        if isinstance(one, Bidirectional):
            found += [(level, "forward", one.forward), (level, "reverse", one.reverse)]
        else:
            found.append((level, "reverse", one.layer) if isinstance(one, Reversed) else (level, "forward", one))
    for level, _, layer in found:
        if not isinstance(layer, Layer):
            raise BadInput(f"layers[{level}]: expected an lstm.Layer; got {described(layer)}")
    return found


def levels_of(slots: Sequence[Slot], belonging: Sequence[Any], wrap: bool = True) -> tuple[Any, ...]:
    """The reverse of `slots_of`. ``wrap=False`` for states, which a reversed layer's level does not wrap."""
    levels: list[Any] = []
    for slot, one in zip(slots, belonging, strict=True):
        if slot.level < len(levels):
            levels[slot.level] = Bidirectional(forward=levels[slot.level], reverse=one)
        else:
            alone = not any(other.level == slot.level and other.direction == "forward" for other in slots)
            levels.append(Reversed(layer=one) if wrap and alone else one)
    return tuple(levels)


def shown(name: str) -> str:
    """A name from somebody's file, on one line."""
    return name if name.isprintable() and len(name) <= 100 else ascii(name)[:100]


def check_names(
    layout: str, keys: Iterable[str], required: Sequence[str], possible: Iterable[str], suggested: Iterable[str] = ()
) -> None:
    """Every required name is there and none that is not possible; the message names a near one, of the possible or ``suggested``."""
    keys = list(keys)
    known = set(possible) | set(required)
    unknown = [key for key in keys if key not in known]
    for name in required:
        if name not in keys:
            near = difflib.get_close_matches(name, unknown, n=1)
            listed = ", ".join(map(shown, keys[:8])) + (", …" if len(keys) > 8 else "")
            came = f"{shown(near[0])}, perhaps misspelt" if near else listed or "no arrays"
            raise BadInput(f"{name}: expected an array of this name, for the layout {layout}; got {came}")
    for key in unknown:
        near = difflib.get_close_matches(key, sorted(known.union(suggested).difference(keys)), n=1)
        hint = f"did you mean {near[0]}?" if near else "no array of the layout has a name like it"
        raise BadInput(f"{shown(key)}: expected only arrays of the layout {layout}; got this name too; {hint}")
