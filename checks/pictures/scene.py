"""A picture: shapes at places in pixels, each with the name of a style. Nothing here knows how it will be written."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

Corners = tuple[float, float, float, float]  # x, y, width, height


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Filled rectangles of one style."""

    style: str
    boxes: tuple[Corners, ...]
    title: str = ""

    def moved(self, x: float, y: float) -> Boxes:
        return dataclasses.replace(self, boxes=tuple((a + x, b + y, w, h) for a, b, w, h in self.boxes))


@dataclasses.dataclass(frozen=True)
class Line:
    """Straight pieces from point to point."""

    style: str
    points: tuple[tuple[float, float], ...]
    title: str = ""

    def moved(self, x: float, y: float) -> Line:
        return dataclasses.replace(self, points=tuple((a + x, b + y) for a, b in self.points))


@dataclasses.dataclass(frozen=True)
class Dots:
    """Marks of one shape, each with words of its own that show when it is pointed at."""

    style: str
    shape: str  # circle, square, triangle, diamond, cross
    points: tuple[tuple[float, float], ...]
    titles: tuple[str, ...] = ()

    def moved(self, x: float, y: float) -> Dots:
        return dataclasses.replace(self, points=tuple((a + x, b + y) for a, b in self.points))


@dataclasses.dataclass(frozen=True)
class Words:
    """One line of text; ``anchor`` is which of its ends, or its middle, stands at x. The baseline is at y."""

    style: str
    x: float
    y: float
    text: str
    anchor: str = "start"  # middle, end

    def moved(self, x: float, y: float) -> Words:
        return dataclasses.replace(self, x=self.x + x, y=self.y + y)


Shape = Boxes | Line | Dots | Words


@dataclasses.dataclass(frozen=True)
class Scene:
    """``label`` says in words what the picture shows, for those who cannot see it."""

    width: float
    height: float
    label: str
    shapes: tuple[Shape, ...]

    def moved(self, x: float, y: float) -> list[Shape]:
        return [shape.moved(x, y) for shape in self.shapes]


def stacked(scenes: Iterable[Scene], gap: float = 18) -> Scene:
    """One below the other."""
    shapes: list[Shape] = []
    labels, width, bottom = [], 0.0, gap / 2
    for scene in scenes:
        shapes += scene.moved(gap / 2, bottom)
        labels.append(scene.label)
        width = max(width, scene.width)
        bottom += scene.height + gap
    return Scene(width + gap, bottom - gap / 2, " ".join(labels), tuple(shapes))
