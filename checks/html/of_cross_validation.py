"""The page of `lstm-check demo`, and of any other cross-validation."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from checks.html.compared import of_problem
from checks.html.elements import Markup, element, number, table
from checks.html.heat_figures import HeatFigure, heat_figures, heat_maps
from checks.html.page import Section, page
from checks.html.steps import step_chart
from checks.per_timestep import per_timestep, untied_terms
from checks.pictures.curves import Chart, Series
from checks.pictures.heat_map import legend
from checks.pictures.scene import Scene
from checks.pictures.svg import inline
from checks.problem import Problem
from checks.report import Report, Row
from checks.verdict import Verdict

FROZEN = "per_timestep.frozen"
HEAD = ("estimate", "largest error", "cell steps", "states held", "dC/dw?", "should be", "why")


def page_of(report: Report) -> str:
    charts = [element("figure", Markup(inline(chart))) for chart in _charts(report)]
    candidate, frozen = _figures(report)
    ways = table("Errors in units of the gradient's largest entry", HEAD, [_row(row) for row in report.rows])
    words = "The reading frozen of approach 2, as the question words it, is backpropagation cut to one timestep."
    sections = [
        Section("Every way to the gradient", (ways,)),
        Section("Step sizes, and time", (element("div", *charts, class_="charts"),) if charts else ()),
        Section("The answer", tuple(_answer(report))),
        Section("Every entry of the hand-written gradient", tuple(heat_maps(candidate, "hand-"))),
        Section("What the naive approach 2 gets wrong", (element("p", words), *heat_maps(frozen, "frozen-")) if frozen else ()),
        Section("Where gradients disagree", tuple(_disagreements(report))),
    ]
    subject = " ".join(report.subject().split())
    return page("cross-validation", report.verdict, report.headline(), subject, [each for each in sections if each.content])


def pictures_of(report: Report) -> list[Scene]:
    candidate, _ = _figures(report)
    return [*_charts(report), *(legend(one.scale) for one in candidate[:1]), *(figure.map.scene() for figure in candidate)]


def _row(row: Row) -> list[Any]:
    found = {Verdict.AGREES: "yes", Verdict.DISAGREES: "no", Verdict.INCONCLUSIVE: "unsure"}[row.verdict]
    as_expected = "agrees" if row.agrees == row.expected_to_agree else row.verdict.value
    cell = element("td", found, class_=as_expected)
    held = f"{row.cell_steps:,}", f"{row.states_held:,}"
    why = element("td", row.says, class_="words")
    return [row.name, number(row.max_relative_error), *held, cell, "yes" if row.expected_to_agree else "no", why]


def _answer(report: Report) -> list[Markup]:
    """Paragraphs, each under the question that is its first line."""
    found = []
    for paragraph in report.answer.split("\n\n") if report.answer else []:
        question, _, text = paragraph.partition("\n")
        found += [element("h3", question), element("p", " ".join(text.split()), class_="answer")]
    return found + ([element("p", f"Note: {report.note}")] if report.note else [])


def _charts(report: Report) -> list[Scene]:
    evidence = report.evidence
    if evidence is None:
        return []
    by_dtype = {curve.dtype: [one for one in evidence.curves if one.dtype == curve.dtype] for curve in evidence.curves}
    charts = [step_chart(f"Error against step size, {dtype}", curves) for dtype, curves in by_dtype.items()]
    if isinstance(evidence.problem, Problem) and any(row.name == "per_timestep.untied" for row in report.rows):
        charts.append(_contributions(evidence.problem))
    return charts


def _contributions(problem: Problem) -> Scene:
    """Norms of what each timestep's own copy of a weight contributes; their sum over time is the gradient."""
    terms = jax.tree.leaves(untied_terms(problem))
    t = np.arange(problem.timesteps)
    series, told = [], []
    for kind, (name, leaf) in enumerate(zip(problem.leaf_names[:6], terms, strict=False)):
        norms = np.sqrt((np.asarray(leaf, np.float64).reshape(len(t), -1) ** 2).sum(axis=1))
        titles = tuple(f"{name}, t = {k}: {norm:.3g}" for k, norm in zip(t, norms, strict=True))
        series.append(Series(name, t, norms, kind, titles=titles))
        told.append(f"{name} from {norms[0]:.1e} at t = 0 to {norms[-1]:.1e} at t = {t[-1]}")
    says = f"The norm of what each timestep's own copy of a weight contributes: {'; '.join(told)}."
    return Chart("Each timestep's own share of the gradient", says, "timestep", tuple(series)).scene()


def _figures(report: Report) -> tuple[list[HeatFigure], list[HeatFigure]]:
    """Of the gradient under test, and of the frozen reading where that is not the gradient."""
    evidence = report.evidence
    if evidence is None or evidence.gradients is None:
        return [], []
    row = report.rows[0]
    candidate = heat_figures(of_problem(evidence.problem, evidence.gradients, evidence.reference, row.comparisons))
    if not any(row.name == FROZEN and not row.expected_to_agree for row in report.rows):
        return candidate, []
    frozen = per_timestep(evidence.problem, "frozen").value
    return candidate, heat_figures(of_problem(evidence.problem, frozen, evidence.reference, row.comparisons))


def _disagreements(report: Report) -> list[Markup]:
    found = []
    for row in report.rows:
        bad = [str(one) for one in row.comparisons if one.verdict is not Verdict.AGREES]
        if row.expected_to_agree and bad:
            found += [element("h3", row.name), element("ul", *(element("li", line) for line in bad))]
    return found
