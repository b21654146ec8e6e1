"""A scene as PNG, through matplotlib, which is asked for only here."""

from __future__ import annotations

import io
from typing import Any

from checks.pictures.palette import STYLES, Style
from checks.pictures.scene import Boxes, Line, Scene, Shape, Words
from checks.pictures.svg import MARK, OUTLINES

PIXELS_PER_INCH = 96
SHARPNESS = 2  # pixels of the file for each of the scene


def png(scene: Scene) -> bytes:
    """The content of a file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(scene.width / PIXELS_PER_INCH, scene.height / PIXELS_PER_INCH), facecolor=STYLES["page"].light)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, scene.width)
    axes.set_ylim(scene.height, 0)
    for order, shape in enumerate(scene.shapes):
        _draw(axes, shape, STYLES[shape.style], order)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=SHARPNESS * PIXELS_PER_INCH, metadata={"Software": None, "Description": scene.label})
    return content.getvalue()


def _draw(axes: Any, shape: Shape, style: Style, order: int) -> None:
    from matplotlib.collections import PolyCollection

    if isinstance(shape, Words):
        middle = {"start": "left", "middle": "center", "end": "right"}[shape.anchor]
        size = style.size * 72 / PIXELS_PER_INCH
        weight = "bold" if style.bold else "normal"
        axes.text(shape.x, shape.y, shape.text, color=style.light, fontsize=size, weight=weight, ha=middle, va="baseline", zorder=order)
    elif isinstance(shape, Line):
        width = style.width * 72 / PIXELS_PER_INCH
        dash = (0, [float(part) / style.width for part in style.dash.split()]) if style.dash else "-"
        columns = list(zip(*shape.points, strict=True))
        axes.plot(*columns, color=style.light, linewidth=width, linestyle=dash, zorder=order)
    else:
        outlines: list[tuple[tuple[float, float], ...]]
        if isinstance(shape, Boxes):
            outlines = [((x, y), (x + w, y), (x + w, y + h), (x, y + h)) for x, y, w, h in shape.boxes]
        else:
            corners = _circle() if shape.shape == "circle" else OUTLINES[shape.shape]
            outlines = [tuple((x + MARK * a, y + MARK * b) for a, b in corners) for x, y in shape.points]
        axes.add_collection(PolyCollection(outlines, facecolors=style.light, edgecolors="none", zorder=order), autolim=False)


def _circle() -> tuple[tuple[float, float], ...]:
    from math import cos, pi, sin

    return tuple((cos(k * pi / 12), sin(k * pi / 12)) for k in range(24))
