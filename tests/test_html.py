"""The page of verify: self-contained, labelled, with real tables, small, and true to the verdict that it shows."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from html_pages import DEPARTS, HIDDEN, Seen, page, problems, reports

from checks import cli
from checks.commands.bugs import CORRECT, BugMatrix, Cell, Row
from checks.html import page_of, pictures_of
from checks.html.elements import Markup, element, emphasised, table
from checks.html.heat_figures import MOST_CELLS, Compared, heat_figures, heat_maps
from checks.html.page import Section, page as page_with
from checks.pictures.layouts import of_weight
from checks.pictures.scene import Boxes, Words
from checks.verdict import Verdict

PAGES = ("right", "wrong", "no gradients", "another forward", "huge")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_sound(name):
    assert problems(page(name)) == []


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("<svg></svg>", "svg without a label"),
        ("<table><thead></thead></table>", "a table without a caption"),
        ("<table><caption></caption></table>", "headings of columns"),
        ("<th>gate</th>", "th without scope"),
        ('<img src="https://example.org/a.png">', "fetches"),
        ('<link rel="stylesheet" href="style.css">', "link href"),
        ("<style>body{background:url(a.png)}</style>", "fetches"),
        ('<p id="heat-0"></p><p id="heat-0"></p>', "id used twice"),
        ("<h1>again</h1>", "no single heading"),
    ],
)
def test_a_planted_fault_is_seen(planted, found):
    assert any(found in one for one in problems(page("right").replace("</main>", f"{planted}</main>")))


def test_the_verdict_comes_first_then_the_gate_and_the_timestep():
    seen = Seen(page("wrong"))
    assert seen.texts["h1"][0].startswith("DISAGREES ")
    assert seen.texts["title"][0] == "DISAGREES: file.npz"
    assert seen.texts["h2"][:2] == ["What is wrong", "Where"]
    first = page("wrong").partition("Every entry")[0]
    assert f"first departs at t = {DEPARTS}" in first
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr>.*?</tr>", first)]
    (recurrent,) = [row for row in rows if row[0] == "weight_hh_l0"]
    marks = [word for word in recurrent if word == "✗"]
    assert len(marks) == 2  # gate f, and the whole
    assert recurrent.index("✗") == 3  # name, i, f


def test_the_worst_entry_is_said_in_words():
    worst = next(each for each in reports()["wrong"].parameters if each.name == "weight_hh_l0")
    assert worst.place == "weight_hh_l0[f, unit 3, from h 2]"
    words = f"{worst.place}: expected {worst.expected:.9g}, got {worst.got:.9g} ("
    assert any(text.startswith(words) for text in Seen(page("wrong")).texts["output"])


def test_every_cell_says_its_entry():
    """The numbers that the script shows are the report's, cell by cell, wherever the layout puts them."""
    report = reports()["wrong"]
    found = {}
    for text in re.findall(r'<script type="application/json">(.*?)</script>', page("wrong")):
        data = json.loads(text)
        found[data["name"]] = data
    assert list(sorted(found)) == sorted(each.name for each in report.parameters)
    data = found["weight_hh_l0"]
    got, expected = report.candidate.gradients["weight_hh_l0"], report.evidence.expected["weight_hh_l0"]
    assert len(data["across"]) == 4 * HIDDEN + 1
    assert len(data["down"]) == HIDDEN + 1
    words, shown_got, shown_expected = data["words"].split("|"), data["got"].split(","), data["expected"].split(",")
    for row in range(HIDDEN):
        for column in range(4 * HIDDEN):
            cell = row * 4 * HIDDEN + column
            gate, unit = divmod(column, HIDDEN)
            assert words[cell] == f"{'ifgo'[gate]}, unit {unit}, from h {row}"
            assert shown_got[cell] == f"{got[column, row]:.9g}"
            assert shown_expected[cell] == f"{expected[column, row]:.9g}"
    assert words[data["worst"]] == "f, unit 3, from h 2"


def test_what_was_not_checked_is_said():
    seen = Seen(page("no gradients"))
    assert seen.texts["h1"][0].startswith("AGREES ")
    assert "not given, so not checked" in seen.text
    assert "weight_hh_l0, bias_ih_l0" in seen.text
    assert "no gradient was judged" in Seen(page("another forward")).text
    assert not any(one.get("class") == "heat" for one in seen.all("figure"))
    assert Seen(page("another forward")).all("svg") == []
    assert pictures_of(reports()["another forward"]) == []


def test_names_from_a_file_cannot_become_markup():
    evil = '</script><script>alert(1)</script>"&'
    one = Compared(
        evil, np.ones((2, 4)), np.zeros((2, 4)), np.ones((2, 4)), of_weight(np.zeros((2, 4), int)), evil, True,
        lambda indices: [f"{evil}[{evil}]" for _ in indices],
    )  # fmt: skip
    text = page_with(evil, Verdict.AGREES, evil, evil, [Section(evil, tuple(heat_maps(heat_figures([one]))))])
    seen = Seen(text)
    assert len(seen.all("script")) == 2  # the data and the page's own
    assert problems(text) == []
    assert Seen(text).texts["h2"] == [evil]
    assert str(element("p", evil)) == "<p>&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;</p>"
    assert str(element("p", Markup("<b>a</b>"))) == "<p><b>a</b></p>"
    assert 'scope="row"' in table("c", ("a", "b"), [("x", 1)])


def test_one_wrong_entry_of_ten_million_is_seen_on_a_small_page():
    """Binned by maximum: the mean of its cell would be a hundred-thousandth of it."""
    shape = (4 * 1118, 1118)
    gates = of_weight(np.broadcast_to(np.repeat(np.arange(4), 1118)[:, None], shape))
    right = np.ones(shape)
    wrong = right.copy()
    wrong[1118 + 700, 321] = 1.5

    def places(indices):
        return ["w[f, unit 700, from h 321]"] * len(indices)

    arrays = [
        Compared(name, got, right, np.full(shape, 1e-6), gates, "", got is wrong, places) for name, got in (("a", right), ("b", wrong))
    ]
    figures = heat_figures(arrays)
    assert sum(figure.cells.units.size for figure in figures) <= MOST_CELLS * 1.1
    cells = figures[1].cells
    assert cells.units.max() == pytest.approx(5e5)
    assert (cells.units > 1).sum() == 1
    assert cells.worst[int(cells.units.argmax())] == (1118 + 700, 321)
    assert cells.wrong == ((0, 1118 * 1118), (1, 1118 * 1118), (0, 1118 * 1118), (0, 1118 * 1118))
    text = page_with("", Verdict.DISAGREES, "", "", [Section("", tuple(heat_maps(figures)))])
    assert len(text) < 3_000_000
    assert "binned by maximum, not mean" in text
    assert "Binned by maximum, never by mean: b, a." in text or "Binned by maximum, never by mean: a, b." in text


def test_pictures_alone_are_those_of_the_page():
    (report,) = [reports()["wrong"]]
    text = page("wrong")
    for scene in pictures_of(report):
        assert scene.label.replace("'", "&#x27;") in text


@pytest.mark.parametrize(("path", "reason"), [("a.pdf", ".svg or .png"), ("none/a.svg", "No such file")])
def test_a_plot_that_cannot_be_is_refused_first(path, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(["verify", "v.npz", "--layout", "torch", "--plot", path])
    except SystemExit as end:  # argparse's own
        code = end.code
    assert code == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


def few_bugs() -> BugMatrix:
    cells = {"full_sequence": Cell(True, 3e7), "per_timestep.frozen": Cell(False, 0.2), "jax check_grads": Cell(True, float("nan"))}
    right = {"full_sequence": Cell(False, 0.1), "per_timestep.frozen": Cell(True, 1e6)}
    rows = (Row(CORRECT, "the correct gradient", "", right), Row("no-dh-carry", "h's <carry> is dropped", "(9)", cells))
    return BugMatrix(0, {"T": 5}, tuple(cells), rows, 1.0)


def test_the_picture_of_bugs_shows_what_the_table_says():
    _, drawn = pictures_of(few_bugs())
    words = {(word.text, word.style): word for word in drawn.shapes if isinstance(word, Words)}
    missed = words["✗", "wrong-words"]
    assert missed.x == words["froz", "ink"].x
    assert missed.y == words["no-dh-carry", "ink"].y
    told = words["caught", "ink"]
    assert (told.x, told.y) == (words["jax", "ink"].x, missed.y)
    assert words["ok", "ink"].x == words["full", "ink"].x
    (caught,) = [boxes for boxes in drawn.shapes if isinstance(boxes, Boxes) and boxes.style == "e4"]  # 3e7, up to 1e9
    assert len(caught.boxes) == 1


def test_a_stressed_word_is_stressed_and_a_product_is_not():
    assert emphasised("the *previous* state: d_f = d_c * c < 1") == "the <em>previous</em> state: d_f = d_c * c &lt; 1"
    assert emphasised("`=` for `+=`") == "<code>=</code> for <code>+=</code>"


def test_the_page_of_bugs_says_which_are_missed():
    text = page_of(few_bugs())
    assert problems(text) == []
    found = [re.sub(r"<[^>]+>", "|", row).replace("||", "|") for row in re.findall(r"<tr>.*?</tr>", text)]
    assert "|no-dh-carry|3e+07|✗ not caught|caught|h&#x27;s &lt;carry&gt; is dropped|" in found
    assert f"|{CORRECT}|ok|1e+06|–|the correct gradient|" in found
    assert "|per_timestep.frozen|no|1|no-dh-carry|" in found


@pytest.mark.parametrize("others", [["--json", "a.html"], ["--plot", "a.svg", "--json", "./a.svg"]])
def test_two_outputs_are_two_files(others, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["sweep", "--html", "a.html", *others]) == 2
    assert "expected a file of its own; got " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_png_without_matplotlib_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as end:
        cli.main(["verify", "v.npz", "--layout", "torch", "--plot", "a.png"])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "expected matplotlib for PNG (pip install " in error
    assert error.count("\n") == 1


