"""What a layout's arrays alone do not say: the names of activations, a direction, sizes; given beside them by name."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from lstm.parameters import Activations, CellClip
from lstm.validation import BadInput, described, one_of, positive_integer

REQUIRED = object()
ACTIVATIONS = ("sigmoid", "tanh", "identity", "relu", "softsign", "hard_sigmoid(SLOPE)")


@dataclasses.dataclass(frozen=True)
class Attribute:
    """One of them. ``accept(name, value)`` returns the value to use, or raises `BadInput`."""

    meaning: str
    accept: Callable[[str, Any], Any]
    default: Any = REQUIRED


@dataclasses.dataclass(frozen=True)
class Configuration:
    """What a canonical `Layer` holds beside its arrays; named as its fields are."""

    activations: Activations = dataclasses.field(default_factory=Activations)
    clip: CellClip | None = None


def checked_attributes(layout: str, attributes: Mapping[str, Attribute], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Every attribute's value, given or by default."""
    given = dict(given or {})
    values = {}
    for name, attribute in attributes.items():
        value = given.pop(name, attribute.default)
        if value is REQUIRED:
            raise BadInput(f"{name}: expected with the layout {layout}: {attribute.meaning}; got none")
        values[name] = value if value is attribute.default else attribute.accept(name, value)
    for name in given:
        near = difflib.get_close_matches(str(name), list(attributes), n=1) or [", ".join(attributes) or "none"]
        raise BadInput(f"{described(name)}: expected an attribute of the layout {layout} ({near[0]}); got this name")
    return values


def choice(*choices: Any) -> Callable[[str, Any], Any]:
    """One of these texts or integers; an integer may come as its text."""

    def accept(name: str, value: Any) -> Any:
        found = [one for one in choices if value == one or str(value) == str(one)]
        if not found or isinstance(value, bool):
            raise BadInput(f"{name}: expected one of {', '.join(map(str, choices))}; got {described(value)}")
        return found[0]

    return accept


def integer(name: str, value: Any) -> int:
    """A positive integer, or its text."""
    value = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else value
    positive_integer(name, value)
    return int(value)


def positive_number(name: str, value: Any) -> float:
    number = finite_number(name, value)
    if number <= 0:
        raise BadInput(f"{name}: expected a positive number; got {described(value)}")
    return number


def finite_number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"{name}: expected a finite number; got {described(value)}")
    return number


def activation_name(name: str, value: Any) -> str:
    """One of our own names of activations."""
    if isinstance(value, str) and value in ACTIVATIONS[:-1]:
        return value
    match = re.fullmatch(r"hard_sigmoid\((.+)\)", value) if isinstance(value, str) else None
    if match is None:
        raise BadInput(f"{name}: expected one of {', '.join(ACTIVATIONS)}; got {described(value)}")
    positive_number(f"{name}'s slope", match.group(1))
    return value


class ActivationAttributes:
    """The attributes that name the activations of the gates, the candidate and the output, and their translation.

    ``names`` maps the framework's names to ours (None: they are ours). Two of ``keys`` may be the same: such a framework
    has one activation for both.
    """

    def __init__(self, keys: tuple[str, str, str], names: Mapping[str, str] | None = None) -> None:
        self.keys = keys
        self.names = names
        meanings = ("gates i, f, o", "candidate g", "cell state on its way out")
        self.attributes = {
            key: Attribute(
                f"activation of the {' and of the '.join(meaning for other, meaning in zip(keys, meanings, strict=True) if other == key)}",
                self._accept,
                self._theirs(key, default),
            )
            for key, default in zip(keys, dataclasses.astuple(Activations()), strict=True)
        }

    def _accept(self, name: str, value: Any) -> str:
        if self.names is None:
            return activation_name(name, value)
        one_of(name, value, self.names)
        return value

    def read(self, given: Mapping[str, Any]) -> Activations:
        return Activations(*(given[key] if self.names is None else self.names[given[key]] for key in self.keys))

    def write(self, layout: str, activations: Activations) -> dict[str, str]:
        """Raises BadInput where the framework has no name for one, or one name for two that differ."""
        written: dict[str, str] = {}
        for key, ours in zip(self.keys, dataclasses.astuple(activations), strict=True):
            theirs = self._theirs(key, ours)
            if theirs is None or written.setdefault(key, theirs) != theirs:
                raise BadInput(f"layers: the layout {layout} cannot hold the activations {', '.join(dataclasses.astuple(activations))}")
        return written

    def _theirs(self, key: str, ours: str) -> str | None:
        if self.names is None:
            return ours
        return next((theirs for theirs, mapped in self.names.items() if mapped == ours), None)
