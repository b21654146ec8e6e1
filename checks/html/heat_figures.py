"""The heat maps of a file's verdict: every gradient that was given, entry by entry, and what a page needs to say each entry."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np

from checks.html.elements import Markup, element
from checks.pictures.bins import Matrix, cells_of, units_of
from checks.pictures.heat_map import HeatMap
from checks.pictures.layouts import of_other, of_sequence, of_weight
from checks.pictures.scale import Scale
from checks.pictures.svg import inline
from checks.verdict import Verdict
from checks.verify.compare import Judgement
from checks.verify.evidence import Evidence
from checks.verify.report import VerifyReport

MOST_CELLS = 24_000  # on a page: what each says takes up to 100 bytes
MOST_ROWS, MOST_COLUMNS = 48, 320  # of one array: no cell is narrower than two pixels
LEAST_CELLS = 256


class HeatFigure:
    """One array."""

    def __init__(self, report: VerifyReport, evidence: Evidence, judgement: Judgement, most_cells: int):
        self.scale = Scale(0)  # until all are known
        self.judgement, self.name = judgement, judgement.name
        self.evidence = evidence
        self.got, self.expected = report.candidate.gradients[self.name], evidence.expected[self.name]
        self.units = units_of(self.got, self.expected, evidence.allowed(self.name))
        self.matrix, self.across, self.down = _laid_out(self.name, report, evidence)
        columns = min(MOST_COLUMNS, most_cells)
        self.cells = cells_of(self.units, self.matrix, max(1, min(MOST_ROWS, most_cells // columns)), columns)

    @property
    def map(self) -> HeatMap:
        each = self.judgement
        wrong = each.verdict is Verdict.DISAGREES
        if wrong:
            says = f"{each.wrong:,} of {each.size:,} entries wrong"
        elif each.verdict is Verdict.AGREES:
            says = "right"
        else:
            says = "not judged" if each.reason.startswith("not judged") else "inconclusive"
        down = self.down or self._source()
        return HeatMap(self.name, says, self.cells, self.scale, self.across, down, wrong)

    def _source(self) -> str:
        """What the rows come from, in the words of their entries: ``from h``."""
        if self.cells.units.shape[0] < 2:
            return ""
        words = self.evidence.places(self.name, [self.matrix.index(0, 0)])[0].rstrip("]").split(", ")[-1]
        return re.sub(r" \d+$", "", words) if words.startswith("from ") else ""

    def markup(self, number: int) -> Markup:
        drawn = self.map
        picture = element("div", Markup(inline(drawn.scene())), class_="wide")
        data = json.dumps(self._data(drawn), separators=(",", ":")).replace("<", "\\u003c")
        script = Markup(f'<script type="application/json">{data}</script>')
        output = element("output", self._worst_words(), id=f"entry-{number}", aria_live="polite")
        return element("figure", picture, output, *self._binned(), script, class_="heat", id=f"heat-{number}")

    def _worst_words(self) -> str:
        each = self.judgement
        return f"{each.place}: expected {each.expected:.9g}, got {each.got:.9g} ({each.in_tolerances:.2g} × what rounding allows)"

    def _binned(self) -> list[Markup]:
        if not self.cells.is_binned:
            return []
        rows, columns = self.cells.most
        words = f"{self.units.size:,} entries: each cell shows the largest error of up to {rows} × {columns} of them (binned by maximum)."
        return [element("figcaption", words)]

    def _data(self, drawn: HeatMap) -> dict:
        """For the script. Words without the array's name, which all share."""
        cells = self.cells
        across, down = drawn.edges
        places = self.evidence.places(self.name, cells.worst)
        inside = [words.removeprefix(self.name).removeprefix("[").removesuffix("]").replace("|", "/") for words in places]
        shown = {"expected": (self.expected, 9), "got": (self.got, 9)}
        index = tuple(np.array(cells.worst).T) if self.expected.ndim else ()
        values = {key: ",".join(f"{value:.{digits}g}" for value in np.atleast_1d(array[index])) for key, (array, digits) in shown.items()}
        return {
            "name": self.name,
            "across": [round(x, 2) for x in across],
            "down": [round(y, 2) for y in down],
            "worst": int(np.argmax(np.nan_to_num(cells.units, nan=-1.0, posinf=np.inf))),
            "words": "|".join(inside),
            **values,
            "units": ",".join(f"{value:.2g}" for value in cells.units.ravel()),
        }


def heat_figures(report: VerifyReport, parameters: Sequence[Judgement] | None = None) -> list[HeatFigure]:
    """In the order of the file's arrays. Scalars and empty arrays have no picture."""
    evidence = report.evidence
    if evidence is None:
        return []
    shown = [each for each in (report.parameters if parameters is None else parameters) if each.size]
    share = max(LEAST_CELLS, MOST_CELLS // max(1, len(shown)))
    small = sum(min(each.size, share) for each in shown)
    large = sum(each.size > share for each in shown)
    share += max(0, MOST_CELLS - small) // max(1, large)  # what the small ones leave
    figures = [HeatFigure(report, evidence, each, share) for each in shown]
    scale = Scale.of(figure.units for figure in figures)
    for figure in figures:
        figure.scale = scale
    return figures


def _laid_out(name: str, report: VerifyReport, evidence: Evidence) -> tuple[Matrix, str, str]:
    shape = evidence.expected[name].shape
    if name == "inputs":
        return of_sequence(shape, report.candidate.reading.order), "t =", "sequence, feature"
    if name in evidence.gates and shape:
        return of_weight(evidence.gates[name]), "", ""
    return of_other(shape), "unit" if name in ("h0", "c0") else "column", ""


def binned_words(figures: Sequence[HeatFigure]) -> str:
    """Of the whole page: which arrays are binned."""
    names = [figure.name for figure in figures if figure.cells.is_binned]
    return f"Binned by maximum, never by mean: {', '.join(names)}." if names else "Each cell is one entry."
