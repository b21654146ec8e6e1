"""Errors in units of what rounding allows, drawn as a matrix: sources down, gates and units across; or timesteps across."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from checks.pictures.bins import Cells
from checks.pictures.scale import Scale
from checks.pictures.scene import Boxes, Line, Scene, Shape, Words

WIDTH = 680.0  # of all cells at most
LEFT, TOP, BOTTOM = 72.0, 40.0, 6.0
WIDEST, TALLEST = 40.0, 18.0  # of one cell
HIGHEST = 240.0  # of all cells
NARROW = 9.0  # blocks that have no room for a letter


@dataclasses.dataclass(frozen=True, eq=False)
class HeatMap:
    """One array's cells, ready to be drawn.

    Attributes:
        title: the array's name.
        says: the sentence beside it: how much is wrong, and where the worst is.
        across: what the columns are, in a word: "unit", "timestep".
        down: what the rows are.
    """

    title: str
    says: str
    cells: Cells
    scale: Scale
    across: str = ""
    down: str = ""
    wrong: bool = False

    @property
    def step(self) -> tuple[float, float]:
        """A cell's width and height."""
        rows, columns = self.cells.units.shape
        width = min(WIDEST, WIDTH / columns)
        return width, min(TALLEST, max(width, 14.0 if rows == 1 else 5.0), max(1.0, HIGHEST / rows))

    @property
    def edges(self) -> tuple[list[float], list[float]]:
        """Where cells begin and end, in pixels of the scene: across, down."""
        rows, columns = self.cells.units.shape
        width, height = self.step
        return [LEFT + width * k for k in range(columns + 1)], [TOP + height * k for k in range(rows + 1)]

    def scene(self) -> Scene:
        _, down = self.edges
        shapes: list[Shape] = [*self._headings(), *self._filled(), *self._lines()]
        return Scene(LEFT + WIDTH + 8, down[-1] + BOTTOM, f"{self.title}: {self.says}", tuple(shapes))

    def _headings(self) -> list[Shape]:
        across, down = self.edges
        shapes: list[Shape] = [
            Words("strong", 0, 14, self.title),
            Words("wrong-words" if self.wrong else "muted", 8.6 * len(self.title) + 14, 14, self.says),
        ]
        rows = len(down) - 1
        for k, words in enumerate(self.down.split(" ")[:2] if rows * self.step[1] >= 24 else self.down.split(" ")[:0]):
            shapes.append(Words("muted", LEFT - 6, TOP + 11 + 12 * k, words, "end"))
        shapes += [self._block_heading(number) for number in range(len(self.cells.blocks)) if self._has_heading(number)]
        if not self.cells.blocks and self.across:
            shapes += [Words("muted", across[0], TOP - 6, f"{self.across} 0")]
            if len(across) > 2:
                shapes.append(Words("muted", across[-1], TOP - 6, f"{self.cells.columns - 1}", "end"))
        return shapes

    def _has_heading(self, number: int) -> bool:
        """Narrow blocks have none, unless something is wrong there."""
        block = self.cells.blocks[number]
        return (block.stop - block.start) * self.step[0] >= NARROW or bool(self.cells.wrong[number][0])

    def _block_heading(self, number: int) -> Shape:
        """A gate's letter; where it is wrong and there is room, how much of it."""
        across, _ = self.edges
        block, (wrong, size) = self.cells.blocks[number], self.cells.wrong[number]
        middle, room = (across[block.start] + across[block.stop]) / 2, across[block.stop] - across[block.start]
        text = block.label
        if wrong:
            longer = f"{text}: {wrong:,} of {size:,} wrong"
            text = longer if room > 6.8 * len(longer) else f"{text} ✗" if room > 20 else text
        return Words("wrong-words" if wrong else "ink", middle, TOP - 6, text, "middle")

    def _filled(self) -> list[Shape]:
        """All cells of a class are one shape; runs of them along a row, one box."""
        across, down = self.edges
        _, height = self.step
        classes = self.scale.classes(self.cells.units)
        boxes: dict[int, list[tuple[float, float, float, float]]] = {}
        for row in range(classes.shape[0]):
            changes = np.flatnonzero(np.diff(classes[row])) + 1
            starts = [0, *changes.tolist(), classes.shape[1]]
            for first, stop in itertools.pairwise(starts):
                box = (across[first], down[row], across[stop] - across[first], height)
                boxes.setdefault(int(classes[row, first]), []).append(box)
        return [Boxes(f"e{number}", tuple(found)) for number, found in sorted(boxes.items())]

    def _lines(self) -> list[Shape]:
        across, down = self.edges
        left, right, top, bottom = across[0], across[-1], down[0], down[-1]
        lines: list[Shape] = [Line("frame", ((left, top), (right, top), (right, bottom), (left, bottom), (left, top)))]
        apart = [b for b in self.cells.blocks[1:] if (b.stop - b.start) * self.step[0] >= NARROW]
        lines += [Line("separator", ((across[b.start], top - 4), (across[b.start], bottom))) for b in apart]
        lines += [Line("frame", ((left, down[b.start]), (right, down[b.start]))) for b in self.cells.row_blocks[1:]]
        return lines


def legend(scale: Scale) -> Scene:
    """What the colours mean."""
    shapes: list[Shape] = [Words("ink", 0, 13, "error / what rounding allows:")]
    x = 188.0
    for number, words in scale.words:
        corners = ((x, 3), (x + 14, 3), (x + 14, 15), (x, 15), (x, 3))
        shapes += [Boxes(f"e{number}", ((x, 3, 14, 12),)), Line("frame", corners), Words("ink", x + 19, 13, words)]
        x += 32 + 6.6 * len(words)
    spoken = ", ".join(words for _, words in scale.words)
    return Scene(LEFT + WIDTH + 8, 20, f"Colours, from right to wrong: error in units of what rounding allows: {spoken}.", tuple(shapes))
