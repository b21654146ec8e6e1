"""Colour where a person reads; elsewhere the text, byte for byte."""

from __future__ import annotations

import io
import re
import sys
import time

import numpy as np
import pytest
from html_pages import reports
from verify_cases import VARIANTS, golden

from checks.files.candidate_reading import understand
from checks.oracle import Oracle
from checks.progress import Progress, counted
from checks.terminal import BOLD, GREEN, RED, RESET, YELLOW, Waiting, is_coloured, painted, show

ESCAPE = re.compile(r"\x1b\[\d+m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(("name", "colour"), [("right", GREEN), ("wrong", RED), ("another forward", RED)])
def test_a_terminal_gets_the_same_characters_in_colour(name, colour):
    report = reports()[name]
    stream = Terminal()
    show(report, stream)
    text = stream.getvalue()
    assert ESCAPE.sub("", text) == f"{report}\n"
    assert text.startswith(f"{BOLD}{colour}{report.verdict.value.upper()}{RESET}: ")
    assert f"{BOLD}Oracle{RESET}:" in text
    assert text.count(RESET) == len(ESCAPE.findall(text)) - text.count(RESET) - 1  # the verdict has two escapes


def test_what_is_wrong_stands_out():
    text = painted(str(reports()["wrong"]))
    assert f"{RED}DISAGREES{RESET}" in text
    assert f"{RED}f!{RESET}" in text
    assert painted("INCONCLUSIVE: no.").startswith(f"{BOLD}{YELLOW}INCONCLUSIVE{RESET}")
    assert painted("a layout: gate i\n") == "a layout: gate i\n"


@pytest.mark.parametrize(
    ("variables", "stream"),
    [({"NO_COLOR": "1"}, Terminal()), ({"TERM": "dumb"}, Terminal()), ({}, io.StringIO()), ({"FORCE_COLOR": "1"}, io.StringIO())],
)
def test_everything_else_gets_plain_text(variables, stream, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    show(reports()["wrong"], stream)
    assert stream.getvalue() == f"{reports()['wrong']}\n"


def test_what_takes_long_says_so_on_a_terminal_and_wipes_it():
    stream = Terminal()
    with Waiting("thinking", stream, silent=0.01, every=0.01):
        time.sleep(0.2)
    lines = stream.getvalue().split("\r")
    assert re.fullmatch(r"thinking … \d s", lines[1])
    assert set(lines[-2]) == {" "}
    assert lines[-1] == ""


@pytest.mark.parametrize(("stream", "silent"), [(io.StringIO(), 0.01), (Terminal(), 60.0)])
def test_nothing_is_said_elsewhere_nor_of_what_is_quick(stream, silent):
    began = time.monotonic()
    with Waiting("thinking", stream, silent=silent, every=0.01):
        time.sleep(0.05)
    assert stream.getvalue() == ""
    assert time.monotonic() - began < 30


def test_an_empty_no_color_is_none(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "")
    assert is_coloured(Terminal())


@pytest.mark.parametrize("variant", ["plain", "clip straight through"])
def test_verify_counts_its_passes_to_the_last(variant):
    """As many as were foretold, one by one, where nothing is left out; and to the end where differences are."""
    arrays, reading = golden("canonical", timesteps=3, batch=2, inputs=2, hidden=3, **VARIANTS[variant])
    told = []
    oracle = Oracle(understand(arrays, reading).case, progress=lambda finished, total: told.append((finished, total)))
    assert oracle.confirmation.confirmed
    finished, totals = zip(*told, strict=True)
    assert set(totals) == {finished[-1]}
    assert finished[0] == 0
    if variant == "plain":
        assert list(finished) == list(range(finished[-1] + 1))
    else:
        assert list(finished) == sorted(finished)


def test_what_is_counted_off_is_all_there_and_files_are_spared(monkeypatch, capsys):
    assert list(counted("abc", "letters")) == list("abc")
    assert capsys.readouterr().err == ""
    ticks = iter(np.arange(0.0, 30.0, 1.5))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(Progress.__init__, "__defaults__", (None, lambda: next(ticks), "perturbed networks"))
    assert list(counted("abc", "letters")) == list("abc")
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.rstrip().endswith("3 of 3 letters, 0.7 a second")
    assert last.endswith("\n")
