"""Curves over timesteps or step sizes, with logarithmic axes where errors are drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from checks.pictures.palette import SHAPES
from checks.pictures.scene import Dots, Line, Scene, Shape, Words

WIDTH, HEIGHT = 460.0, 190.0  # the frame's right edge and its height
LEFT, RIGHT, TOP, BELOW, LEGEND = 54.0, 12.0, 42.0, 34.0, 16.0
DIGITS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_TICKS = 7
MOST_DOTS = 200


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """``titles``: what each point says when it is pointed at. ``ring``: the index of a point to be marked, the best one."""

    name: str
    x: np.ndarray
    y: np.ndarray
    number: int  # of its colour, dash and shape
    ring: int | None = None
    titles: tuple[str, ...] = ()
    joined: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Chart:
    """``limits``: heights and their words; ``notes``: places along x and their words."""

    title: str
    says: str
    x_words: str
    series: tuple[Series, ...]
    log_x: bool = False
    limits: tuple[tuple[float, str], ...] = ()
    notes: tuple[tuple[float, str], ...] = ()
    corners: tuple[str, str] = ("", "")  # words at the lower left and the lower right, which a V leaves free
    floor: float = 0.0  # smaller values are drawn at it

    def scene(self) -> Scene:
        x_range, y_range = self._ranges()
        legend_rows = (len(self.series) + 1) // 2
        height = TOP + HEIGHT + BELOW + LEGEND * legend_rows
        across = _Axis(*x_range, LEFT, WIDTH - RIGHT, self.log_x)
        up = _Axis(*y_range, TOP + HEIGHT, TOP, True)
        shapes: list[Shape] = [Words("strong", 0, 15, self.title), *self._frame(across, up)]
        for series in self.series:
            shapes += self._drawn(series, across, up)
        shapes += self._notes(across, up)
        left, right = self.corners
        shapes += [Words("ink", LEFT + 6, TOP + HEIGHT - 7, left)] if left else []
        shapes += [Words("ink", WIDTH - RIGHT - 4, TOP + HEIGHT - 7, right, "end")] if right else []
        shapes += [shape for number, series in enumerate(self.series) for shape in _legend(series, number, height - LEGEND * legend_rows)]
        return Scene(WIDTH, height, f"{self.title}. {self.says}", tuple(shapes))

    def _ranges(self) -> tuple[tuple[float, float], tuple[float, float]]:
        x = np.concatenate([series.x for series in self.series]).astype(float)
        y = np.concatenate([np.maximum(series.y, self.floor) for series in self.series] + [[height for height, _ in self.limits]])
        y = y[np.isfinite(y) & (y > 0)]
        low, high = (float(y.min()), float(y.max())) if len(y) else (0.1, 1.0)
        bottom, top = math.floor(math.log10(low) - (0.6 if any(self.corners) else 0.1)), math.ceil(math.log10(high) + 0.1)
        first, last = float(x.min()), float(x.max())
        room = 0.25 if not self.log_x else 0.0
        return (first - room, last + room) if not self.log_x else (first / 1.3, last * 1.3), (10.0**bottom, 10.0**top)

    def _frame(self, across: _Axis, up: _Axis) -> list[Shape]:
        bottom, right = TOP + HEIGHT, WIDTH - RIGHT
        shapes: list[Shape] = []
        for value, words in up.ticks():
            shapes += [Line("grid", ((LEFT, up(value)), (right, up(value)))), Words("muted", LEFT - 5, up(value) + 4, words, "end")]
        for value, words in across.ticks():
            shapes += [Line("frame", ((across(value), bottom), (across(value), bottom + 4)))]
            shapes += [Words("muted", across(value), bottom + 15, words, "middle")]
        shapes += [Line("frame", ((LEFT, TOP), (LEFT, bottom), (right, bottom)))]
        shapes += [Words("muted", right, bottom + 28, self.x_words, "end")]
        for height, words in self.limits:
            shapes += [Line("limit", ((LEFT, up(height)), (right, up(height)))), Words("ink", LEFT + 4, up(height) - 4, words)]
        return shapes

    def _drawn(self, series: Series, across: _Axis, up: _Axis) -> list[Shape]:
        places = [(across(x), up(max(y, self.floor))) for x, y in zip(series.x.tolist(), series.y.tolist(), strict=True) if self._shown(y)]
        titles = tuple(title for title, y in zip(series.titles, series.y.tolist(), strict=bool(series.titles)) if self._shown(y))
        shapes: list[Shape] = [Line(f"s{series.number}", tuple(places), series.name)] if series.joined and len(places) > 1 else []
        if len(places) <= MOST_DOTS:
            shapes.append(Dots(f"d{series.number}", SHAPES[series.number], tuple(places), titles))
        if series.ring is not None and self._shown(float(series.y[series.ring])):
            shapes.append(_ring(across(float(series.x[series.ring])), up(max(float(series.y[series.ring]), self.floor))))
        return shapes

    def _shown(self, y: float) -> bool:
        """Nothing that is not a number, nor zero without a floor: a logarithm has no place for them. Infinity is drawn at the top."""
        return y > 0 or (y == 0 and self.floor > 0)

    def _notes(self, across: _Axis, up: _Axis) -> list[Shape]:
        shapes: list[Shape] = []
        for x, words in self.notes:
            place = across(x)
            anchor = "end" if place > WIDTH * 0.6 else "start"
            shapes.append(Line("marker", ((place, TOP - 16), (place, TOP + HEIGHT))))
            shapes.append(Words("wrong-words", place + (-5 if anchor == "end" else 5), TOP - 7, words, anchor))
        return shapes


def _ring(x: float, y: float) -> Line:
    angles = [k * math.pi / 8 for k in range(17)]
    return Line("separator", tuple((x + 7 * math.cos(angle), y + 7 * math.sin(angle)) for angle in angles))


def _legend(series: Series, number: int, top: float) -> list[Shape]:
    x, y = LEFT + (number % 2) * (WIDTH - LEFT) / 2, top + LEGEND * (number // 2) + 8
    line: list[Shape] = [Line(f"s{series.number}", ((x, y), (x + 28, y)))] if series.joined else []
    return [*line, Dots(f"d{series.number}", SHAPES[series.number], ((x + 14, y),)), Words("ink", x + 34, y + 4, series.name)]


class _Axis:
    """From values to pixels."""

    def __init__(self, low: float, high: float, start: float, stop: float, log: bool):
        self.low, self.high, self.start, self.stop, self.log = low, high, start, stop, log

    def __call__(self, value: float) -> float:
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(min(value, self.high)) - low) / ((high - low) or 1.0)
        return self.start + (self.stop - self.start) * min(1.0, max(0.0, share))

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value

    def ticks(self) -> list[tuple[float, str]]:
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            every = max(1, math.ceil((last - first + 1) / MOST_TICKS))
            return [(10.0**power, power_of_ten(power)) for power in range(first, last + 1, every)]
        first, last = math.ceil(self.low), math.floor(self.high)
        every = next(step for step in _round_steps() if (last - first) / step <= MOST_TICKS)
        return [(float(value), str(value)) for value in range(first, last + 1, every)]


def _round_steps() -> Sequence[int]:
    return [factor * 10**power for power in range(12) for factor in (1, 2, 5)]


def power_of_ten(power: int) -> str:
    return f"10{str(power).translate(DIGITS)}"
