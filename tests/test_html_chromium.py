"""Pages in a real browser, headless and with no network: no errors, keyboard and pointer, two widths, light and dark.

The browser is Debian's package chromium, or whatever stands in the path under one of its names.
"""

from __future__ import annotations

import functools
import html
import re
import shutil
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest
from html_pages import DEPARTS, page

from checks.html.elements import element
from checks.html.page import Section, page as page_with
from checks.verdict import Verdict

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--enable-logging=stderr",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"

# What a page tells of itself, as attributes of its root, after its own script has run
PROBE = """
const root = document.documentElement, svg = document.querySelector("figure.heat svg");
const figure = svg && svg.closest("figure"), read = () => figure.querySelector("output").textContent;
const told = {wide: root.scrollWidth, inner: innerWidth, paper: getComputedStyle(document.body).backgroundColor};
if (svg) {
  told.before = read();
  svg.focus();
  told.focused = document.activeElement === svg;
  told.after = read();
  const press = key => { svg.dispatchEvent(new KeyboardEvent("keydown", {key})); return read(); };
  told.left = press("ArrowLeft");
  for (let k = 0; k < 99; k++) press("ArrowLeft"), press("ArrowUp");
  told.corner = read();
  told.home = press("Home");
  svg.scrollIntoView();
  const box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
  const data = JSON.parse(figure.querySelector("script").textContent);
  const at = (edges, k) => (edges[k] + edges[k + 1]) / 2 * scale;
  svg.dispatchEvent(new PointerEvent("pointermove", {clientX: box.x + at(data.across, 7), clientY: box.y + at(data.down, 1)}));
  told.pointed = read();
  scrollTo(0, 0);
  const bottom = of => Math.round(of.getBoundingClientRect().bottom);
  const wrong = [...document.querySelectorAll("td.cell")].filter(cell => cell.textContent.includes("✗"));
  told.gate = Math.max(...wrong.map(bottom));
  const note = [...document.querySelectorAll("text")].find(text => text.textContent.startsWith("first departs"));
  told.timestep = note ? bottom(note) : -1;
}
for (const [name, value] of Object.entries(told)) root.setAttribute("data-" + name, value);
"""


# A browser's window has a least width, 500, that phones are below: there the page stands in a frame
FRAME = """<!DOCTYPE html><html><body><iframe width="{width}" height="844" srcdoc="{page}"></iframe><script>
onload = () => {{
  const inside = document.querySelector("iframe").contentDocument.documentElement;
  for (const {{name, value}} of inside.attributes) document.documentElement.setAttribute(name, value);
}};
</script></body></html>"""


class Shown(NamedTuple):
    told: dict[str, str]
    errors: list[str]


@functools.cache
def browser() -> str:
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")


def run(text: str, *flags: str) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "page.html")
        path.write_text(text, encoding="utf-8")
        command = [browser(), *FLAGS, f"--user-data-dir={folder}/profile", "--host-resolver-rules=MAP * ~NOTFOUND", *flags, path.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def shown(text: str, *flags: str, framed: int | None = None) -> Shown:
    probed = text.replace("</body>", f"<script>{PROBE}</script></body>")
    if framed is not None:
        probed = FRAME.format(width=framed, page=html.escape(probed))
    done = run(probed, "--window-size=1280,800", "--dump-dom", *flags)
    root = re.findall(r"<html[^>]*>", done.stdout)[0]
    told = {name: html.unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', root)}
    return Shown(told, re.findall(r"CONSOLE.*", done.stderr))


@pytest.fixture(scope="module")
def wrong() -> Shown:
    return shown(page("wrong"))


def test_no_error_reaches_the_console(wrong):
    assert wrong.errors == []
    assert wrong.told["inner"] == "1280"


@pytest.mark.parametrize(
    ("planted", "message"),
    [("<script>nowhere()</script>", "nowhere is not defined"), ('<img src="https://example.org/a.png" alt="">', "Content Security Policy")],
)
def test_a_planted_error_is_seen(planted, message):
    plain = page_with("", Verdict.AGREES, "", "", [Section("", (element("p", ""),))])
    assert any(message in one for one in shown(plain.replace("</main>", f"{planted}</main>")).errors)


def test_arrow_keys_walk_from_the_worst_entry(wrong):
    told = wrong.told
    assert told["focused"] == "true"
    assert told["before"] == told["after"] == told["home"]
    assert told["before"].startswith("weight_hh_l0[f, unit 3, from h 2]: expected ")
    assert told["left"].startswith("weight_hh_l0[f, unit 2, from h 2]: expected ")
    assert told["corner"].startswith("weight_hh_l0[i, unit 0, from h 0]: expected ")


def test_pointing_at_a_cell_says_its_entry(wrong):
    assert wrong.told["pointed"].startswith("weight_hh_l0[f, unit 2, from h 1]: expected ")


def test_gate_and_timestep_are_seen_without_scrolling(wrong):
    assert 0 < int(wrong.told["gate"]) <= 800
    assert 0 < int(wrong.told["timestep"]) <= 800
    assert f"first departs at t = {DEPARTS}" in page("wrong")


def test_a_phone_in_the_dark():
    """Nothing is wider than the screen but what scrolls by itself."""
    told, errors = shown(page("wrong"), DARK, framed=390)
    assert errors == []
    assert int(told["wide"]) <= int(told["inner"]) == 390
    assert told["paper"] == "rgb(18, 22, 27)"


def test_what_is_too_wide_for_a_phone_is_seen():
    plain = page_with("", Verdict.AGREES, "", "", [Section("", (element("p", "wide", style="width:900px"),))])
    told = shown(plain, framed=390).told
    assert int(told["wide"]) > int(told["inner"]) == 390


def test_screenshots_are_light_and_dark(tmp_path):
    """The first pixel is the paper's."""
    for flags, pixel in (((), (255, 255, 255)), ((DARK,), (18, 22, 27))):
        path = tmp_path / "shot.png"
        run(page("right"), "--window-size=640,480", f"--screenshot={path}", *flags)
        width, height, first = _png(path.read_bytes())
        assert (width, height) == (640, 480)
        assert first == pixel


def _png(content: bytes) -> tuple[int, int, tuple[int, ...]]:
    """Size and first pixel: whatever the filter of the first row, it has nothing to its left or above it."""
    width, height = struct.unpack(">II", content[16:24])
    data, place = b"", 8
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        if content[place + 4 : place + 8] == b"IDAT":
            data += content[place + 8 : place + 8 + length]
        place += length + 12
    return width, height, tuple(zlib.decompress(data)[1:4])
