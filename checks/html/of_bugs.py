"""The page of `lstm-check bugs`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from checks.commands.bugs import CORRECT, LEGEND, NOT_GRADIENTS, SHORT, BugMatrix, Row, folded
from checks.html.elements import Markup, element, table
from checks.html.page import Section, page
from checks.pictures import Scene
from checks.pictures.grid import Cell, grid
from checks.pictures.heat_map import legend
from checks.pictures.palette import BEYOND, WITHIN
from checks.pictures.scale import Scale


class _Wide(Scale):
    """Differences see a bug at 10³ to 10⁹ times what they allow, exact methods at 10¹⁴: three decades a colour hold both."""

    @property
    def limits(self) -> list[tuple[float, int]]:
        return [(0.1, 0), (1.0, 1), *((10.0 ** (3 * k), WITHIN + k - 1) for k in range(1, BEYOND)), (1e18, WITHIN + BEYOND - 1)]


SCALE = _Wide(18)
SHOWN = 12  # missed bugs that are named
KEY = (
    "A cell holds the bug's error in units of what the estimate's own error and rounding allow, the further beyond it the stronger its "
    "colour; ✗: not caught; a dash: does not apply there. frozen and shared are not the gradient: they reject the correct one too."
)


def page_of(report: BugMatrix) -> str:
    headline, subject = str(report).split("\n\n")[:2]
    rows = [_row(row, report.columns) for row in report.rows]
    sections = [
        Section("What each checker misses", (_missed(report),)),
        Section("Every bug, every checker", (element("p", KEY), table("Bugs down, checkers across", _head(report), rows))),
        Section("The columns", (element("p", LEGEND, class_="answer"),)),
    ]
    return page("bugs and checkers", report.verdict, headline, " ".join(subject.split()), sections)


def _head(report: BugMatrix) -> list[str]:
    return ["bug", *(name.removeprefix("per_timestep.") for name in report.columns), "what it is"]


def _missed(report: BugMatrix) -> Markup:
    rows = []
    for name in report.columns:
        missed = report.missed(name)
        is_gradient = "no" if name in NOT_GRADIENTS else "yes"
        more = f" and {len(missed) - SHOWN} more" if len(missed) > SHOWN else ""
        which = element("td", ", ".join(missed[:SHOWN]) + more or "none", class_="words")
        rows.append([name, is_gradient, str(len(missed)), which])
    return table("Bugs that were planted and not caught", ("checker", "of the gradient?", "missed", "which"), rows)


def _row(row: Row, columns: tuple[str, ...]) -> list[Any]:
    return [row.name, *(_cell(row, column) for column in columns), element("td", row.title, class_="words")]


def _cell(row: Row, column: str) -> Markup:
    cell = row.cells.get(column)
    if cell is None:
        return element("td", "–")
    if row.name == CORRECT and not cell.caught:
        return element("td", "ok", class_="cell agrees")
    if not cell.caught:
        return element("td", "✗ not caught", class_="cell disagrees")
    if not math.isfinite(cell.excess):
        return element("td", "caught", class_="cell")
    return element("td", f"{cell.excess:.0e}", class_=f"cell c{int(SCALE.classes(np.array(cell.excess)))}")


def pictures_of(report: BugMatrix) -> list[Scene]:
    """The matrix, families of bugs folded into a row each as in the text, and what its colours mean."""
    rows = [(row.name, [_drawn(row, column) for column in report.columns]) for row in folded(report.rows)]
    headline = " ".join(str(report).split("\n\n")[0].split())
    drawn = grid("Bugs down, checkers across; ✗: not caught", headline, [SHORT[name] for name in report.columns], rows, SCALE)
    return [legend(SCALE), drawn]


def _drawn(row: Row, column: str) -> Cell | None:
    cell = row.cells.get(column)
    if cell is None:
        return None
    if row.name == CORRECT:
        return Cell(cell.excess, "✗ refused", wrong=True) if cell.caught and column not in NOT_GRADIENTS else Cell(0.0, row.shown(column))
    if not math.isfinite(cell.excess):
        return Cell(10.0, "caught")  # by how much is not told
    return Cell(cell.excess, "" if cell.caught else "✗", wrong=not cell.caught)
