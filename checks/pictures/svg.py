"""A scene as SVG: inside a page, which brings the styles, or as a file with its own."""

from __future__ import annotations

import html
from collections.abc import Iterable

from checks.pictures.palette import css
from checks.pictures.scene import Boxes, Dots, Line, Scene, Shape, Words

MARK = 3.6  # half the width of a dot


def inline(scene: Scene, *, identity: str = "", extra: str = "") -> str:
    """An ``<svg>`` element whose label is read aloud. ``extra``: more attributes, as written."""
    names = f' id="{html.escape(identity)}"' if identity else ""
    size = f'viewBox="0 0 {_n(scene.width)} {_n(scene.height)}" width="{_n(scene.width)}" height="{_n(scene.height)}"'
    body = "".join(_shape(shape) for shape in scene.shapes)
    return f'<svg{names} {size} role="img" aria-label="{html.escape(scene.label)}"{extra}>{body}</svg>'


def standalone(scene: Scene) -> str:
    """A file for a paper: in light, on white."""
    size = f'viewBox="0 0 {_n(scene.width)} {_n(scene.height)}" width="{_n(scene.width)}" height="{_n(scene.height)}"'
    label = html.escape(scene.label)
    body = "".join(_shape(shape) for shape in scene.shapes)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">\n<title>{label}</title>\n'
        f'<style>\n{css(dark=False)}\n</style>\n<rect width="100%" height="100%" class="p-page"/>\n{body}\n</svg>\n'
    )


def _shape(shape: Shape) -> str:
    if isinstance(shape, Boxes):
        path = "".join(f"M{_n(x)} {_n(y)}h{_n(w)}v{_n(h)}h{_n(-w)}z" for x, y, w, h in shape.boxes)
        return f'<path class="p-{shape.style}" d="{path}"{_titled(shape.title, "path")}'
    if isinstance(shape, Line):
        return f'<polyline class="p-{shape.style}" points="{_points(shape.points)}"{_titled(shape.title, "polyline")}'
    if isinstance(shape, Words):
        anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
        return f'<text class="p-{shape.style}" x="{_n(shape.x)}" y="{_n(shape.y)}"{anchor}>{html.escape(shape.text)}</text>'
    return "".join(_dot(shape, number, x, y) for number, (x, y) in enumerate(shape.points))


def _dot(dots: Dots, number: int, x: float, y: float) -> str:
    title = dots.titles[number] if dots.titles else ""
    if dots.shape == "circle":
        return f'<circle class="p-{dots.style}" cx="{_n(x)}" cy="{_n(y)}" r="{MARK}"{_titled(title, "circle")}'
    corners = _points((x + MARK * a, y + MARK * b) for a, b in OUTLINES[dots.shape])
    return f'<polygon class="p-{dots.style}" points="{corners}"{_titled(title, "polygon")}'


OUTLINES = {
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0, -1.2), (1.1, 0.9), (-1.1, 0.9)),
    "diamond": ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    "cross": (
        (-1.2, -0.7), (-0.7, -1.2), (0, -0.5), (0.7, -1.2), (1.2, -0.7), (0.5, 0), (1.2, 0.7), (0.7, 1.2), (0, 0.5), (-0.7, 1.2),
        (-1.2, 0.7), (-0.5, 0),
    ),
}  # fmt: skip


def _titled(title: str, tag: str) -> str:
    return f"><title>{html.escape(title)}</title></{tag}>" if title else "/>"


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{_n(x)},{_n(y)}" for x, y in points)


def _n(number: float) -> str:
    """Two decimals at most."""
    return f"{number:.2f}".rstrip("0").rstrip(".") if number else "0"
