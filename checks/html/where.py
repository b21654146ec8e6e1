"""Which gate, which timestep: the two pictures that stand beside the verdict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import lstm
from checks.html.elements import Markup, element, number, table
from checks.html.heat_figures import HeatFigure
from checks.pictures.curves import Chart, Series
from checks.pictures.scale import Scale
from checks.pictures.scene import Scene
from checks.verdict import Verdict
from checks.verify.compare import Judgement
from checks.verify.report import VerifyReport

FLOOR = 1e-2  # of errors in units of the tolerance: all below is as good as equal
MOST_ROWS = 14  # of the table beside the verdict
MOST_SERIES = 6  # of one chart: as many as there are colours, dashes and marks


def gate_table(report: VerifyReport) -> Markup:
    """A row for each gradient, a column for each gate: the largest error in units of what rounding allows."""
    worst_first = sorted(report.parameters, key=lambda each: each.verdict is not Verdict.DISAGREES)
    shown = [each for each in report.parameters if each in worst_first[:MOST_ROWS]]
    hidden = len(report.parameters) - len(shown)
    scale = Scale.of(np.array([each.in_tolerances]) for each in report.parameters)
    rows = []
    for each in shown:
        by_gate = {block.name: block for block in each.blocks}
        cells = [_cell(by_gate.get(gate), scale) for gate in lstm.GATES]
        rows.append([element("span", each.name, class_="name"), *cells, _cell(each, scale)])
    more = f"; {hidden} more below" if hidden else ""
    head = ("gradient of", *(f"gate {gate}" for gate in lstm.GATES), "all")
    return table(f"Largest error, × what rounding allows (✗: wrong){more}", head, rows)


def _cell(judgement: Judgement | None, scale: Scale) -> Markup:
    if judgement is None:
        return element("td", "")
    units = judgement.in_tolerances
    wrong = " ✗" if judgement.verdict is Verdict.DISAGREES else ""
    number_of_class = int(scale.classes(np.array(units)))
    return element("td", number(units) + wrong, class_=f"cell c{number_of_class}", title=judgement.place)


def departure_chart(figures: Sequence[HeatFigure], report: VerifyReport) -> Scene | None:
    """Error by timestep, of the gradients inside the network that are given and of the inputs' gradient.

    Walking back from the last timestep everything is right until a mistake first has an effect.
    """
    found = _inside_by_timestep(report) | _inputs_by_timestep(figures, report)
    if not found:
        return None
    series, first, wrong_ones = [], -1, 0
    for kind, (name, largest) in enumerate(found.items()):
        t = np.arange(len(largest))
        titles = tuple(f"{name}, t = {k}: {value:.2g}" for k, value in zip(t, largest, strict=True))
        series.append(Series(name, t, largest, kind, titles=titles))
        wrong = np.flatnonzero(largest > 1)
        if len(wrong):
            first, wrong_ones = max(first, int(wrong[-1])), max(wrong_ones, len(wrong))
    last = len(next(iter(found.values()))) - 1
    says = f"Right at all {last + 1} timesteps."
    notes: tuple[tuple[float, str], ...] = ()
    if wrong_ones:
        where = "wrong from the last timestep on" if first == last else f"first departs at t = {first}"
        says, notes = f"Walking back from t = {last}: {where}; wrong at {wrong_ones} of {last + 1} timesteps.", ((first, where),)
    title = "Error by timestep / what rounding allows"
    return Chart(title, says, "timestep", tuple(series), limits=((1.0, "rounding"),), notes=notes, floor=FLOOR).scene()


def _inputs_by_timestep(figures: Sequence[HeatFigure], report: VerifyReport) -> dict[str, np.ndarray]:
    figure = next((one for one in figures if one.name == "inputs"), None)
    if figure is None:
        return {}
    order = report.candidate.reading.order
    others = tuple(axis for axis, letter in enumerate(order) if letter != "T")
    units = figure.compared.units
    return {"inputs": np.where(np.isnan(units), 0.0, units).max(axis=others)}


def _inside_by_timestep(report: VerifyReport) -> dict[str, np.ndarray]:
    """Of directions that run forward: others depart the other way round, as the words say."""
    if report.examination is None or report.forward_verdict is Verdict.DISAGREES:
        return {}
    given = [one for one in report.examination.departures if one.by_timestep and not one.name.endswith("_reverse")]
    return {one.name: np.nan_to_num(np.array(one.by_timestep), nan=0.0, posinf=np.inf) for one in given[: MOST_SERIES - 1]}
