"""The page of `lstm-check sweep`."""

from __future__ import annotations

import math
from typing import Any

from checks.commands.sweep import SweepReport, Swept
from checks.html.elements import Markup, details, element, number, table
from checks.html.page import Section, page
from checks.html.steps import step_chart
from checks.pictures.scene import Scene
from checks.pictures.svg import inline

HEAD = ("scheme", "best step", "error there", "rounding slope", "truncation slope", "noise", "dC/dw?", "should be")


def page_of(report: SweepReport) -> str:
    drawn = [element("figure", Markup(inline(chart))) for chart in pictures_of(report)]
    sections = [
        Section("Error against step size", (element("div", *drawn, class_="charts"),)),
        Section("Which is less noisy", tuple(element("p", line, class_="answer") for line in report.reading())),
        Section("The branches", tuple(_table(*group) for group in report.groups())),
        Section("Every point", tuple(_points(*group) for group in report.groups())),
    ]
    return page("sweep of the step size", report.verdict, report.headline(), " ".join(report.subject().split()), sections)


def pictures_of(report: SweepReport) -> list[Scene]:
    return [step_chart(f"T = {t}, {dtype}", [one.curve for one in curves]) for t, dtype, curves in report.groups()]


def _table(timesteps: int, dtype: str, curves: list[Swept]) -> Markup:
    return table(f"T = {timesteps}, {dtype}: slopes of log error against log step", HEAD, map(_row, curves))


def _row(each: Swept) -> list[Any]:
    curve = each.curve
    found = {True: "yes", False: "no", None: "unsure"}[curve.converges]
    cell = element("td", found, class_="agrees" if bool(curve.converges) == each.expected else each.verdict.value)
    slopes = [_slope(curve.rounding_slope), _slope(curve.truncation_slope)]
    best = [f"{curve.steps[curve.best]:.0e}", number(curve.rms_error[curve.best])]
    return [curve.name, *best, *slopes, _slope(each.noise), cell, "yes" if each.expected else "no"]


def _slope(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"


def _points(timesteps: int, dtype: str, curves: list[Swept]) -> Markup:
    steps = curves[0].curve.steps
    rows = [[f"{step:.1e}", *(number(one.curve.rms_error[k]) for one in curves)] for k, step in enumerate(steps)]
    words = f"T = {timesteps}, {dtype}"
    return details(words, table(f"Root-mean-square error, {words}", ("step", *(one.curve.name for one in curves)), rows))
