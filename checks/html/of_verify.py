"""The page of `lstm-check verify`."""

from __future__ import annotations

from typing import Any

from checks.html.compared import of_file
from checks.html.diagnosis import cause_blocks, inside_blocks, known_blocks, probe_blocks
from checks.html.elements import Markup, element, listing, number, pairs, table, text
from checks.html.heat_figures import HeatFigure, heat_figures, heat_maps
from checks.html.in_time import time_charts
from checks.html.page import Section, page
from checks.html.where import departure_chart, gate_table
from checks.pictures.heat_map import legend
from checks.pictures.scene import Scene
from checks.pictures.svg import inline
from checks.verdict import Verdict
from checks.verify.compare import Judgement
from checks.verify.report import VerifyReport


def page_of(report: VerifyReport) -> str:
    said = report.to_json()
    forward, agrees = _forward(report), report.verdict is Verdict.AGREES
    ledger = Section("What was checked", tuple(_ledger(report, said)))
    title, subject = report.name or "gradients", " ".join(report.subject().split())
    if report.forward_verdict is Verdict.DISAGREES:  # whose gradients, judged by another function's, would look wrong everywhere
        wrong = Section("What is wrong", tuple(_diagnosis(report, said)))
        return page(title, report.verdict, report.headline(), subject, [wrong, *forward, ledger])
    figures = heat_figures(of_file(report))
    probe = Section("What this probe can show", tuple(probe_blocks(said.get("probe"))), first=agrees)
    sections = [
        Section("What is wrong" if report.verdict is Verdict.DISAGREES else "What was found", tuple(_diagnosis(report, said)), first=True),
        *((probe,) if agrees else ()),
        Section("Where" if report.verdict is Verdict.DISAGREES else "How close", tuple(_where(report, figures)), first=True),
        Section("Every entry", tuple(heat_maps(figures))),
        Section("Every gradient", (_parameters(report),)),
        *forward,
        *_time(report),
        *(() if agrees else (probe,)),
        ledger,
    ]
    return page(title, report.verdict, report.headline(), subject, [each for each in sections if each.content])


def pictures_of(report: VerifyReport) -> list[Scene]:
    """The same pictures alone; none where no gradient was judged."""
    if report.forward_verdict is Verdict.DISAGREES:
        return []
    figures = heat_figures(of_file(report))
    departure = departure_chart(figures, report)
    scenes = [*(legend(one.scale) for one in figures[:1]), *(figure.map.scene() for figure in figures)]
    return scenes + ([departure] if departure else []) + time_charts(report)


def _diagnosis(report: VerifyReport, said: dict[str, Any]) -> list[Markup]:
    if report.forward_verdict is Verdict.DISAGREES:
        words = said["forward"]["would_match"]
        guess = [element("p", "What would make it match: your results are those"), listing(words)] if words else []
        return [element("p", "The forward pass is another function, so its gradient is too, and no gradient was judged."), *guess]
    if not report.confirmation.confirmed:
        return [element("p", report.confirmation.sentence)]
    if not report.examined:
        return [element("p", report.not_examined())]
    if report.verdict is Verdict.DISAGREES:
        return [*cause_blocks(said), *inside_blocks(said), *known_blocks(said)]
    unseen = (said.get("probe") or {}).get("unseen") or {}
    hidden = f"; {len(unseen)} bugs of the catalogue would stay unseen on this input" if unseen else ""
    return [element("p", f"No error in {len(report.judged)} gradients, each entry within what rounding allows{hidden}.")]


def _where(report: VerifyReport, figures: list[HeatFigure]) -> list[Markup]:
    found = [gate_table(report)] if report.parameters else []
    departure = departure_chart(figures, report)
    return found + ([element("figure", Markup(inline(departure)))] if departure else [])


def _forward(report: VerifyReport) -> list[Section]:
    if not report.forward:
        return []
    rows = [_row(each) for each in report.forward]
    return [Section("The forward pass", (table("Your results beside the oracle's", HEAD, rows),))]


HEAD = ("array", "verdict", "largest error / largest entry", "× what rounding allows", "entries wrong", "worst at", "expected", "got")


def _parameters(report: VerifyReport) -> Markup:
    return table("Each array, and its worst entry", HEAD, [_row(each) for each in report.parameters])


def _row(each: Judgement) -> list[Any]:
    verdict = element("td", each.verdict.value, class_=f"words {each.verdict.value}")
    place = element("td", element("span", each.place, class_="name"), class_="words")
    return [
        element("span", each.name, class_="name"), verdict, number(each.max_relative_error), number(each.in_tolerances),
        f"{each.wrong:,} of {each.size:,}", place, f"{each.expected:.9g}", f"{each.got:.9g}",
    ]  # fmt: skip


def _time(report: VerifyReport) -> list[Section]:
    charts = time_charts(report)
    if not charts:
        return []
    words = (
        "The right gradient's way back through time, from the oracle: how large it still is at h and c of each timestep, and what each "
        "timestep's own copy of the weights contributes. A steep fall towards t = 0 is a vanishing gradient, a rise an exploding one."
    )
    drawn = element("div", *(element("figure", Markup(inline(chart))) for chart in charts), class_="charts")
    return [Section("Where in time the gradient comes from", (element("p", words), drawn))]


def _ledger(report: VerifyReport, said: dict[str, Any]) -> list[Markup]:
    checked = ", ".join(said["checked"]) or "no gradient"
    shown = {"checked": checked, "not given, so not checked": ", ".join(said["not_given"]) or "nothing"}
    if report.candidate.internals:
        shown["not compared"] = ", ".join(report.candidate.internals)
    shown["oracle"] = report.confirmation.sentence
    return [pairs({name: text(value) for name, value in shown.items()})]
