"""Heat maps of gradients: every entry's error, and what a page needs to say each entry in words."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Sequence

import numpy as np

from checks.html.elements import Markup, details, element
from checks.pictures.bins import Cells, Matrix, cells_of, units_of
from checks.pictures.heat_map import HeatMap, legend
from checks.pictures.scale import Scale
from checks.pictures.svg import inline

MOST_CELLS = 24_000  # on a page: what each says takes up to 100 bytes
MOST_ROWS, MOST_COLUMNS = 48, 320  # of one array: no cell is narrower than two pixels
LEAST_CELLS = 256
OPEN = 12  # heat maps shown where none is wrong; further ones are folded away


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """One array of a gradient beside the right one.

    Attributes:
        got, expected, allowed: of one shape; ``allowed`` is what rounding may do to each entry.
        matrix: how it is laid out; ``across`` and ``down`` say what columns and rows are, where gates do not.
        verdict: in a few words, such as "right".
        places: indices -> each entry in words.
    """

    name: str
    got: np.ndarray
    expected: np.ndarray
    allowed: np.ndarray
    matrix: Matrix
    verdict: str
    wrong: bool
    places: Callable[[Sequence[tuple[int, ...]]], list[str]]
    across: str = ""
    down: str = ""

    @functools.cached_property
    def units(self) -> np.ndarray:
        return units_of(self.got, self.expected, np.broadcast_to(self.allowed, self.expected.shape))

    @property
    def rows(self) -> str:
        """What the rows come from, in the words of their entries: ``from h``."""
        if self.down or self.matrix.of(self.expected).shape[0] < 2:
            return self.down
        words = self.places([self.matrix.index(0, 0)])[0].rstrip("]").split(", ")[-1]
        return re.sub(r" \d+$", "", words) if words.startswith("from ") else ""


class HeatFigure:
    """One array in at most so many cells, in the colours of ``scale``."""

    def __init__(self, compared: Compared, scale: Scale, most_cells: int):
        self.compared, self.name, self.scale = compared, compared.name, scale
        columns = min(MOST_COLUMNS, most_cells)
        self.cells: Cells = cells_of(compared.units, compared.matrix, max(1, min(MOST_ROWS, most_cells // columns)), columns)

    @property
    def map(self) -> HeatMap:
        one = self.compared
        return HeatMap(self.name, one.verdict, self.cells, self.scale, one.across, one.rows, one.wrong)

    def markup(self, identity: str) -> Markup:
        drawn, data = self.map, self._data()
        picture = element("div", Markup(inline(drawn.scene())), class_="wide")
        across, down = drawn.edges
        edges = {"across": [round(x, 2) for x in across], "down": [round(y, 2) for y in down]}
        written = json.dumps(data | edges, separators=(",", ":")).replace("<", "\\u003c")
        script = Markup(f'<script type="application/json">{written}</script>')
        output = element("output", self.worst_words(data), id=f"entry-{identity}", aria_live="polite")
        return element("figure", picture, output, *self._binned(), script, class_="heat", id=f"heat-{identity}")

    def worst_words(self, data: dict) -> str:
        """As the script says it, for readers without."""
        words, expected, got, units = (data[key].split(mark)[data["worst"]] for key, mark in MARKS)
        inside = f"[{words}]" if words else ""
        return f"{self.name}{inside}: expected {expected}, got {got} ({units} × what rounding allows)"

    def _binned(self) -> list[Markup]:
        if not self.cells.is_binned:
            return []
        rows, columns = self.cells.most
        size = self.compared.expected.size
        words = f"{size:,} entries: each cell shows the largest error of up to {rows} × {columns} of them (binned by maximum, not mean)."
        return [element("figcaption", words)]

    def _data(self) -> dict:
        """For the script. Words are without the array's name, which all share."""
        cells, one = self.cells, self.compared
        inside = [words.removeprefix(self.name).removeprefix("[").removesuffix("]").replace("|", "/") for words in one.places(cells.worst)]
        index = tuple(np.array(cells.worst).T) if one.expected.ndim else ()
        return {
            "name": self.name,
            "worst": int(np.argmax(np.nan_to_num(cells.units, nan=-1.0, posinf=np.inf))),
            "words": "|".join(inside),
            "expected": ",".join(f"{value:.9g}" for value in np.atleast_1d(one.expected[index])),
            "got": ",".join(f"{value:.9g}" for value in np.atleast_1d(one.got[index])),
            "units": ",".join(f"{value:.2g}" for value in cells.units.ravel()),
        }


MARKS = (("words", "|"), ("expected", ","), ("got", ","), ("units", ","))


def heat_figures(arrays: Sequence[Compared]) -> list[HeatFigure]:
    """In the arrays' order, as many cells in all as a page may hold. Empty arrays have no picture."""
    shown = [one for one in arrays if one.expected.size]
    share = max(LEAST_CELLS, MOST_CELLS // max(1, len(shown)))
    small = sum(min(one.expected.size, share) for one in shown)
    large = sum(one.expected.size > share for one in shown)
    share += max(0, MOST_CELLS - small) // max(1, large)  # what the small ones leave
    scale = Scale.of(one.units for one in shown)
    return [HeatFigure(one, scale, share) for one in shown]


def heat_maps(figures: Sequence[HeatFigure], identity: str = "") -> list[Markup]:
    """With a legend, and how to read them. Where some are wrong, the others are folded away."""
    if not figures:
        return []
    binned = [figure.name for figure in figures if figure.cells.is_binned]
    how = f"Binned by maximum, never by mean: {', '.join(binned)}." if binned else "Each cell is one entry."
    words = (
        "Gates and units across, what the weight comes from down. Point at a cell, or focus a picture and use the arrow keys, to read the "
        f"entry. {how}"
    )
    drawn = [figure.markup(f"{identity}{number}") for number, figure in enumerate(figures)]
    wrong = [one for one, figure in zip(drawn, figures, strict=True) if figure.compared.wrong]
    right = [one for one, figure in zip(drawn, figures, strict=True) if not figure.compared.wrong]
    shown, folded = (wrong, right) if wrong else (right[:OPEN], right[OPEN:])
    more = [details(f"{len(folded)} more, with nothing beyond what rounding allows", *folded)] if folded else []
    return [element("p", words), element("div", Markup(inline(legend(figures[0].scale))), class_="wide"), *shown, *more]
