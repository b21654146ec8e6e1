"""Which gate, which timestep: the two pictures that stand beside the verdict; and where in time the right gradient comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

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
from lstm.levels import apart, directions

FLOOR = 1e-2  # of errors in units of the tolerance: all below is as good as equal
MOST_ROWS = 14  # of the table beside the verdict
MOST_LEVELS = 4


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
    """The inputs' gradient by timestep: walking back, everything is right until a mistake first has an effect."""
    figure = next((one for one in figures if one.name == "inputs"), None)
    if figure is None:
        return None
    order = report.candidate.reading.order
    others = tuple(axis for axis, letter in enumerate(order) if letter != "T")
    largest = np.where(np.isnan(figure.compared.units), 0.0, figure.compared.units).max(axis=others)
    t = np.arange(len(largest))
    wrong = largest > 1
    parts = [(0, "within rounding", ~wrong), (1, "wrong", wrong)]
    series = [
        Series(name, t[of], largest[of], kind, titles=tuple(f"t = {k}: {largest[k]:.2g}" for k in t[of]), joined=False)
        for kind, name, of in parts
        if of.any()
    ]
    says = f"Right at all {len(t)} timesteps."
    notes: tuple[tuple[float, str], ...] = ()
    if wrong.any():
        first = int(t[wrong][-1])
        where = "wrong from the last timestep on" if first == len(t) - 1 else f"first departs at t = {first}"
        says, notes = f"Walking back from t = {len(t) - 1}: {where}; wrong at {wrong.sum()} of {len(t)} timesteps.", ((first, where),)
    title = "The inputs' gradient: error / what rounding allows"
    return Chart(title, says, "timestep", tuple(series), limits=((1.0, "rounding"),), notes=notes, floor=FLOOR).scene()


def time_charts(report: VerifyReport) -> list[Scene]:
    """For each direction of each layer: norms of dC/dh_t and dC/dc_t, and of each timestep's own term of the bias's gradient."""
    if report.evidence is None or report.candidate.case.inputs.shape[0] < 2:
        return []
    charts = []
    for words, internals in _inside(report):
        charts += [_through_time(words, internals), _contributions(words, internals)]
    return charts[: 2 * MOST_LEVELS]


def _inside(report: VerifyReport) -> Iterator[tuple[str, Any]]:
    assert report.evidence is not None
    levels = report.candidate.case.layers
    for level, (layers, belonging) in enumerate(zip(levels, report.evidence.internals, strict=True)):
        for direction, internals in zip(directions(layers), apart(layers, belonging), strict=True):
            which = f"layer {level}, " if len(levels) > 1 else ""
            turned = "reverse, " if direction.reversed else "forward, " if len(directions(layers)) > 1 else ""
            yield which + turned, internals


def _through_time(words: str, internals: Any) -> Scene:
    norms = {"dC/dh_t": _norms(internals.d_h), "dC/dc_t": _norms(internals.d_c)}
    series = tuple(_over_time(name, values, kind) for kind, (name, values) in enumerate(norms.items()))
    return Chart(f"{words}norm of the gradient at the state".capitalize(), _told(norms), "timestep", series).scene()


def _contributions(words: str, internals: Any) -> Scene:
    own = np.asarray(internals.d_z).sum(axis=1)  # (T, 4H): the batch's sum is what timestep t adds to the bias's gradient
    blocks = dict(zip(_gates(own, internals), np.split(own, own.shape[1] // internals.d_c.shape[2], axis=1), strict=True))
    norms = {f"gate {gate}": np.sqrt((block**2).sum(axis=1)) for gate, block in blocks.items()}
    series = tuple(_over_time(name, values, kind) for kind, (name, values) in enumerate(norms.items()))
    return Chart(f"{words}each timestep's own share of the bias's gradient".capitalize(), _told(norms), "timestep", series).scene()


def _gates(own: np.ndarray, internals: Any) -> tuple[str, ...]:
    """f has no pre-activation of its own where f = 1 - i."""
    return lstm.GATES if own.shape[1] == 4 * internals.d_c.shape[2] else tuple(gate for gate in lstm.GATES if gate != "f")


def _norms(array: Any) -> np.ndarray:
    return np.sqrt((np.asarray(array, np.float64) ** 2).sum(axis=(1, 2)))


def _over_time(name: str, values: np.ndarray, kind: int) -> Series:
    t = np.arange(len(values))
    return Series(name, t, values, kind, titles=tuple(f"{name}, t = {k}: {value:.3g}" for k, value in zip(t, values, strict=True)))


def _told(norms: dict[str, np.ndarray]) -> str:
    parts = [f"{name} from {values[-1]:.1e} at t = {len(values) - 1} to {values[0]:.1e} at t = 0" for name, values in norms.items()]
    return "; ".join(parts) + "."
