"""Pictures: cells binned by maximum, colours by decades, axes, and one scene written three ways."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree

import numpy as np
import pytest

from checks.pictures import Scene, stacked
from checks.pictures.bins import Block, Matrix, cells_of, units_of
from checks.pictures.curves import Chart, Series, power_of_ten
from checks.pictures.files import picture
from checks.pictures.heat_map import HeatMap, legend
from checks.pictures.layouts import of_other, of_sequence, of_weight
from checks.pictures.palette import BEYOND, STYLES, UNKNOWN, WITHIN
from checks.pictures.scale import Scale
from checks.pictures.scene import Boxes, Dots, Line, Words
from checks.pictures.svg import inline
from lstm import BadInput


@pytest.mark.parametrize("most", [(1, 1), (3, 8), (7, 9), (100, 100)])
def test_every_cell_holds_the_largest_of_its_entries(most, rng):
    """Whatever is binned: the maximum, its index, and every entry in one cell only."""
    units = rng.exponential(size=(12, 7)).round(6)
    gates = np.repeat(np.arange(4), 3)[:, None].repeat(7, axis=1)
    matrix = of_weight(gates)
    cells = cells_of(units, matrix, *most)
    assert cells.units.max() == units.max()
    assert [units[index] for index in cells.worst] == cells.units.ravel().tolist()
    assert len(set(cells.worst)) == cells.units.size
    assert sum(wrong for wrong, _ in cells.wrong) == (units > 1).sum()
    assert sum(size for _, size in cells.wrong) == units.size
    if most[1] >= 4:
        gates_of_cells = [gates[index] for index in cells.worst[: cells.units.shape[1]]]
        blocks = [block.label for block in cells.blocks for _ in range(block.start, block.stop)]
        assert blocks == ["ifgo"[gate] for gate in gates_of_cells]
    assert cells.is_binned is (cells.units.size < units.size)


def test_an_entry_finds_its_way_back(rng):
    array = rng.normal(size=(3, 4, 5))
    for matrix in (of_sequence((3, 4, 5), "DTB"), of_other((3, 4, 5)), Matrix((3, 4, 5), (1, 2, 0), 1)):
        laid = matrix.of(array)
        for _ in range(10):
            row, column = int(rng.integers(laid.shape[0])), int(rng.integers(laid.shape[1]))
            assert array[matrix.index(row, column)] == laid[row, column]
    assert of_sequence((3, 4, 5), "DTB").of(array).shape == (15, 4)
    assert of_sequence((3, 4, 5), "DTB").row_blocks[1] == Block("sequence 1", 3, 6)


@pytest.mark.parametrize("order", ["ifgo", "ifog"])
def test_gates_lie_across_in_the_arrays_own_order(order):
    marks = np.repeat(["ifgo".index(gate) for gate in order], 2)
    tall = marks[:, None]
    for shaped in (marks, np.broadcast_to(tall, (8, 3)), np.broadcast_to(marks, (3, 8)), np.broadcast_to(tall, (1, 8, 3))):
        matrix = of_weight(shaped)
        assert [(block.label, block.start, block.stop) for block in matrix.blocks] == [(g, 2 * k, 2 * k + 2) for k, g in enumerate(order)]


def test_units_of_what_is_not_finite():
    got = np.array([1.0, np.nan, np.inf, 2.0, 1.0])
    expected = np.array([1.0, 1.0, 1.0, np.nan, 1.0])
    allowed = np.array([1e-3, 1e-3, 1e-3, 1e-3, np.inf])
    units = units_of(got, expected, allowed)
    assert units[0] == 0
    assert np.isposinf(units[1:3]).all()
    assert np.isnan(units[3:]).all()
    cells = cells_of(units, of_other((5,)), 1, 2)
    assert cells.units.tolist() == [[np.inf, np.inf]]


def test_colours_are_the_decades_below_the_largest():
    scale = Scale.of([np.array([0.3, 4e7, np.inf])])
    assert scale.top == 8
    units = np.array([0, 0.1, 0.5, 1, 1.5, 2e4, 2e5, 3e6, 4e6, 4e7, np.inf, np.nan])
    assert scale.classes(units).tolist() == [0, 0, 1, 1, 2, 3, 4, 5, 5, 6, 6, UNKNOWN]
    assert [words for _, words in scale.words] == ["≤ 0.1", "≤ 1: rounding", "≤ 10⁴", "≤ 10⁵", "≤ 10⁶", "≤ 10⁷", "≤ 10⁸"]
    assert Scale.of([np.array([0.3])]).classes(np.array([0.05, 0.9, np.inf])).tolist() == [0, 1, WITHIN + BEYOND - 1]
    assert Scale.of([np.array([5.0])]).classes(np.array([0.9, 1.1, 5])).tolist() == [1, 6, 6]


def luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_told_apart_without_colour(theme):
    """Lightness alone orders the classes; text and curves stand out from the page (WCAG: 4.5 for text, 3 for graphics)."""
    of = {name: getattr(style, theme) for name, style in STYLES.items()}
    errors = [luminance(of[f"e{k}"]) for k in range(WITHIN + BEYOND)]
    assert errors == sorted(errors, reverse=theme == "light")
    assert contrast(of["e1"], of["e2"]) > 1.1
    for name, style in STYLES.items():
        if style.kind == "text":
            assert contrast(of[name], of["page"]) >= 4.5, name
        elif re.match("[sd]\\d", name):
            assert contrast(of[name], of["page"]) >= 3, name


def chart() -> Chart:
    t = np.arange(5)
    values = np.array([1e-3, 1e-2, 0.0, np.inf, 10.0])
    series = Series("a < b", t, values, 0, titles=tuple("abcde"))
    return Chart("title", "says", "timestep", (series,), limits=((1.0, "rounding"),), floor=1e-3)


def test_zero_is_drawn_at_the_floor_and_infinity_at_the_top():
    (dots,) = [shape for shape in chart().scene().shapes if isinstance(shape, Dots) and len(shape.points) > 1]
    heights = [y for _, y in dots.points]
    assert heights[2] == heights[0]
    assert heights[3] == min(heights)
    assert heights[0] > heights[1] > heights[4]
    assert [x for x, _ in dots.points] == sorted(x for x, _ in dots.points)
    assert power_of_ten(-12) == "10⁻¹²"


def everything() -> Scene:
    shapes = [Dots("d1", shape, ((10.0, 60.0),), ("words",)) for shape in ("circle", "square", "triangle", "diamond", "cross")]
    rest = (Boxes("e6", ((50.0, 50.0, 20.0, 10.0),)), Line("s1", ((0.0, 0.0), (30.0, 30.0))), Words("ink", 5, 20, "a < b", "end"))
    return Scene(100, 80, "what it shows & more", (*shapes, *rest))


def test_a_file_is_what_the_page_shows():
    """The same shapes; the file is XML by itself, labelled, with its styles."""
    scenes = [everything(), chart().scene()]
    root = xml.etree.ElementTree.fromstring(picture(scenes, "a.svg"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == "what it shows & more title. says"
    drawn = [element for element in root if element.get("class") and element.get("class") != "p-page"]
    inside = xml.etree.ElementTree.fromstring(inline(stacked(scenes)))
    assert [(element.tag.rpartition("}")[2], element.attrib) for element in drawn] == [(element.tag, element.attrib) for element in inside]
    classes = {str(element.get("class")).removeprefix("p-") for element in drawn}
    assert classes <= STYLES.keys()
    assert all(f".p-{name}{{" in str(root.find("{*}style").text) for name in classes)


def test_png_shows_the_same(tmp_path):
    pytest.importorskip("matplotlib")
    content = picture([everything()], "a.PNG")
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    size = struct.unpack(">II", content[16:24])
    whole = stacked([everything()])
    assert size == (round(2 * whole.width), round(2 * whole.height))
    from matplotlib.image import imread

    path = tmp_path / "a.png"
    path.write_bytes(content)
    pixels = imread(path)[..., :3]
    x, y = 2 * (50 + 9 + 10), 2 * (50 + 9 + 5)  # the middle of the box, half a gap further on
    colour = STYLES["e6"].light
    assert np.abs(pixels[y, x] * 255 - [int(colour[k : k + 2], 16) for k in (1, 3, 5)]).max() < 2
    assert pixels[1, 1].tolist() == [1, 1, 1]


def test_nothing_to_draw_is_said():
    with pytest.raises(BadInput, match="nothing to draw"):
        picture([], "a.svg")


def test_a_heat_map_marks_the_wrong_gate():
    units = np.full((8, 3), 0.5)
    units[3] = 50
    cells = cells_of(units, of_weight(np.repeat(np.arange(4), 2)[:, None].repeat(3, axis=1)), 99, 99)
    drawn = HeatMap("w", "3 of 24 entries wrong", cells, Scale.of([units]), wrong=True).scene()
    words = {shape.text: shape.style for shape in drawn.shapes if isinstance(shape, Words)}
    assert words["i"] == words["g"] == words["o"] == "ink"
    assert words["f ✗"] == "wrong-words"
    assert drawn.label == "w: 3 of 24 entries wrong"
    filled = {shape.style: len(shape.boxes) for shape in drawn.shapes if isinstance(shape, Boxes)}
    assert filled == {"e1": 6, "e6": 3}  # three rows: runs left and right of the wrong unit
    assert "rounding" in legend(Scale(3)).label
