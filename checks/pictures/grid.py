"""Named rows against named columns, each cell a colour and a short word: bugs against checkers."""

from __future__ import annotations

import dataclasses

import numpy as np

from checks.pictures.scale import Scale
from checks.pictures.scene import Boxes, Line, Scene, Shape, Words

ROW, COLUMN, LEFT, TOP = 16.0, 46.0, 330.0, 46.0


@dataclasses.dataclass(frozen=True)
class Cell:
    """``units``: the error in units of what is allowed, NaN where that is not known; ``word`` stands in the cell, if anything."""

    units: float
    word: str = ""
    wrong: bool = False


def grid(title: str, says: str, columns: list[str], rows: list[tuple[str, list[Cell | None]]], scale: Scale) -> Scene:
    """``rows``: a name, and a cell or None for each column."""
    width, height = LEFT + COLUMN * len(columns) + 8, TOP + ROW * len(rows) + 8
    shapes: list[Shape] = [Words("strong", 0, 14, title)]
    shapes += [Words("ink", LEFT + COLUMN * (k + 0.5), TOP - 8, name, "middle") for k, name in enumerate(columns)]
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    words: list[Shape] = []
    for number, (name, cells) in enumerate(rows):
        y = TOP + ROW * number
        words.append(Words("ink", LEFT - 8, y + 12, name, "end"))
        for k, cell in enumerate(cells):
            if cell is None:
                continue
            box = (LEFT + COLUMN * k, y, COLUMN - 1, ROW - 1)
            style = "page" if cell.wrong else f"e{int(scale.classes(np.array(cell.units)))}"
            boxes.setdefault(style, []).append(box)
            if cell.word:
                words.append(Words("wrong-words" if cell.wrong else "ink", box[0] + COLUMN / 2, y + 12, cell.word, "middle"))
    shapes += [Boxes(style, tuple(found)) for style, found in sorted(boxes.items())]
    shapes.append(Line("frame", ((LEFT, TOP - 1), (width - 8, TOP - 1))))
    return Scene(width, height, f"{title}: {says}", (*shapes, *words))
