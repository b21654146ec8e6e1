"""The documentation's code runs. A page's blocks run in order, in one folder: Python blocks in one namespace, or saved where
they have a title; ``console`` blocks as commands, which succeed unless the line says which exit code is expected."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checks.cli import main

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^```(python|console)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXIT_CODE = re.compile(r"#\s*exit code (\d)$")


def blocks(text: str) -> list[tuple[str, str, str]]:
    return BLOCK.findall(text)


def run_console(line: str) -> int:
    words = shlex.split(EXIT_CODE.sub("", line))
    if words[0] == "lstm-check":  # in this process, which has JAX loaded
        return main(words[1:])
    words[0] = {"python": sys.executable}.get(words[0], words[0])
    return subprocess.run(words, capture_output=True, check=False).returncode


def run_page(text: str) -> None:
    namespace: dict[str, object] = {}
    for kind, title, code in blocks(text):
        if kind == "console":
            for line in re.findall(r"^\$ (.*)$", code, re.MULTILINE):
                expected = EXIT_CODE.search(line)
                assert run_console(line) == (int(expected[1]) if expected else 0), line
        elif title:
            Path(title).write_text(code, encoding="utf-8")
        else:
            exec(compile(code, "page", "exec"), namespace)


@pytest.fixture
def page_folder(tmp_path, monkeypatch):
    """A folder as a reader's: the examples are there, and what the page makes."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    environment = Path(sys.executable).parent
    monkeypatch.setenv("PATH", str(environment), prepend=":")
    monkeypatch.chdir(tmp_path)


WITH_BLOCKS = [page for page in PAGES if BLOCK.search((ROOT / "docs" / page).read_text(encoding="utf-8"))]
SLOW = ("files.md", "how-to/pytest.md", "tutorial.md")  # they run many commands


@pytest.mark.parametrize("page", [pytest.param(page, marks=[pytest.mark.long] * (page in SLOW)) for page in WITH_BLOCKS])
@pytest.mark.usefixtures("page_folder")
def test_every_block_of_the_page_runs(page):
    run_page((ROOT / "docs" / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("broken", ["```python\nassert False\n```", "```console\n$ lstm-check verify none.npz --layout torch\n```"])
@pytest.mark.usefixtures("page_folder")
def test_a_block_that_fails_is_noticed(broken):
    with pytest.raises(AssertionError):
        run_page(broken)


def test_the_page_of_bugs_is_the_catalogue():
    made = runpy.run_path(str(ROOT / "docs" / "make_bugs.py"))["page"]()
    assert (ROOT / "docs" / "bugs.md").read_text(encoding="utf-8") == made, "run python docs/make_bugs.py"


def test_every_figure_has_its_function():
    """Those of docs/performance.md are made from recorded runs by ``python -m benchmarks plots``."""
    drawn = set(re.findall(r'save\(figure, "([a-z-]+)"\)', (ROOT / "docs" / "figures" / "make.py").read_text(encoding="utf-8")))
    text = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in PAGES)
    shown = set(re.findall(r"figures/([a-zA-Z0-9-]+)\.svg", text))
    there = {path.stem for path in (ROOT / "docs" / "figures").glob("*.svg")}
    assert shown == there
    assert drawn == {name for name in there if not name.startswith("performance-")}


def test_every_page_is_in_the_navigation():
    navigation = set(re.findall(r": ([a-z/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert navigation == set(PAGES)
