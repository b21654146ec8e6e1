"""A level of a stack is a `Layer`, a `Reversed` layer, or a `Bidirectional` pair; here is what takes them apart.

Whatever belongs to a level (state, masks, residuals, gradients) has one entry per direction: alone for one direction, in a
`Bidirectional` for two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lstm.parameters import Bidirectional, Layer, Reversed


class Direction(NamedTuple):
    layer: Layer
    reversed: bool
    name: str  # where the layer stands in the level: "", ".layer", ".forward", ".reverse"


def directions(level: Any) -> list[Direction]:
    if isinstance(level, Bidirectional):
        return [Direction(level.forward, False, ".forward"), Direction(level.reverse, True, ".reverse")]
    if isinstance(level, Reversed):
        return [Direction(level.layer, True, ".layer")]
    return [Direction(level, False, "")]


def apart(level: Any, belonging: Any) -> list[Any]:
    """What belongs to each of the level's directions."""
    if isinstance(level, Bidirectional):
        return [None, None] if belonging is None else [belonging.forward, belonging.reverse]
    return [belonging]


def together(level: Any, belongings: list[Any]) -> Any:
    """The reverse of `apart`."""
    if isinstance(level, Bidirectional):
        return Bidirectional(forward=belongings[0], reverse=belongings[1])
    return belongings[0]


def together_as_layers(level: Any, layers: list[Any]) -> Any:
    """As `together`, for what stands in a layer's own place, such as its gradient."""
    return Reversed(layer=layers[0]) if isinstance(level, Reversed) else together(level, layers)


def output_size(level: Any) -> int:
    """The features of the level's outputs: R, or 2R for two directions."""
    return sum(direction.layer.recurrent_size for direction in directions(level))
