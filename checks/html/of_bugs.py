"""The page of `lstm-check bugs`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from checks.commands.bugs import CORRECT, LEGEND, NOT_GRADIENTS, BugMatrix, Row
from checks.html.elements import Markup, element, table
from checks.html.page import Section, page
from checks.pictures import Scene
from checks.pictures.scale import Scale

SHOWN = 12  # missed bugs that are named
KEY = (
    "A cell holds the bug's error in units of what the estimate's own error and rounding allow, the further beyond it the stronger its "
    "colour; ✗: not caught; a dash: does not apply there. frozen and shared are not the gradient: they reject the correct one too."
)


def page_of(report: BugMatrix) -> str:
    headline, subject = str(report).split("\n\n")[:2]
    excesses = [cell.excess for row in report.rows for name, cell in row.cells.items() if name not in NOT_GRADIENTS]
    scale = Scale.of([np.array(excesses, float)])
    rows = [_row(row, report.columns, scale) for row in report.rows]
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


def _row(row: Row, columns: tuple[str, ...], scale: Scale) -> list[Any]:
    return [row.name, *(_cell(row, column, scale) for column in columns), element("td", row.title, class_="words")]


def _cell(row: Row, column: str, scale: Scale) -> Markup:
    cell = row.cells.get(column)
    if cell is None:
        return element("td", "–")
    if row.name == CORRECT and not cell.caught:
        return element("td", "ok", class_="cell agrees")
    if not cell.caught:
        return element("td", "✗ not caught", class_="cell disagrees")
    if not math.isfinite(cell.excess):
        return element("td", "caught", class_="cell")
    return element("td", f"{cell.excess:.0e}", class_=f"cell c{int(scale.classes(np.array(cell.excess)))}")


def pictures_of(report: BugMatrix) -> list[Scene]:
    """None: the page is tables."""
    return []
