"""Colour and weight for a report where a person reads it: on a terminal, and not with NO_COLOR. Everywhere else the text as it is."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from typing import TextIO

BOLD, RED, GREEN, YELLOW, DIM, RESET = (f"\x1b[{code}m" for code in ("1", "31", "32", "33", "2", "0"))
VERDICTS = {"AGREES": GREEN, "DISAGREES": RED, "INCONCLUSIVE": YELLOW}

# What begins a section, as the reports write it; and the words of tables that decide
HEADINGS = re.compile(
    r"^(Diagnosis|No diagnosis|Where|What is known|Near misses[^:\n]*|Inside the network|Forward pass|What would make it match|"
    r"Probe|Oracle|Checked|Note|  Fix)(?=[:.,])",
    re.MULTILINE,
)
QUESTIONS = re.compile(r"^[A-Z][^\n]*\?$", re.MULTILINE)
TABLE_HEADS = re.compile(r"^(?:(?!-{8})[^\n]+\n){1,2}(?=-{8,}$)", re.MULTILINE)
RULES = re.compile(r"^-{8,}$", re.MULTILINE)
WORDS = (
    (re.compile(r"(?<=[ \t])(DISAGREES|NO|MISS|unsure)(?=[ \t\n]|$)"), RED),
    (re.compile(r"(?<=[ \t])(inconclusive)(?=[ \t\n]|$)"), YELLOW),
    (re.compile(r"(?<=[ \t]{2})(agrees|yes)(?=[ \t\n]|$)"), GREEN),
    (re.compile(r"\b([ifgo][!])(?=[ \t\n]|$)"), RED),
)


def is_coloured(stream: TextIO) -> bool:
    """NO_COLOR is any value that is not empty (no-color.org); a terminal that says it is dumb shows escapes as they are."""
    return not os.getenv("NO_COLOR") and os.getenv("TERM") != "dumb" and stream.isatty()


def painted(text: str) -> str:
    """The same characters with escapes between them. The first word is the verdict."""
    first, colon, rest = text.partition(":")
    if first in VERDICTS:
        text = f"{BOLD}{VERDICTS[first]}{first}{RESET}{colon}{rest}"
    text = TABLE_HEADS.sub(lambda found: "".join(f"{BOLD}{line}{RESET}\n" for line in found[0].splitlines()), text)
    text = RULES.sub(lambda found: f"{DIM}{found[0]}{RESET}", text)
    for pattern in (HEADINGS, QUESTIONS):
        text = pattern.sub(lambda found: f"{BOLD}{found[0]}{RESET}", text)
    for pattern, colour in WORDS:
        text = pattern.sub(rf"{colour}\1{RESET}", text)
    return text


def show(report: object, stream: TextIO | None = None) -> None:
    """Print it as the stream takes it."""
    stream = sys.stdout if stream is None else stream
    with Waiting("looking for the mistake"):  # which reports put off until they are shown
        text = str(report)
    print(painted(text) if is_coloured(stream) else text, file=stream)


class Waiting:
    """How long something has taken that cannot tell how far it is: on a terminal's stderr, from two seconds on, wiped at the end."""

    def __init__(self, what: str, stream: TextIO | None = None, *, silent: float = 2.0, every: float = 0.5):
        self.what, self.stream = what, sys.stderr if stream is None else stream
        self.silent, self.every = silent, every
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> Waiting:
        if self.stream.isatty():
            self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join()

    def _tell(self) -> None:
        began, wait, shown = time.monotonic(), self.silent, ""
        while not self.ended.wait(wait):
            wait = self.every
            shown = f"{self.what} … {time.monotonic() - began:.0f} s"
            self.stream.write(f"\r{shown}")
            self.stream.flush()
        if shown:
            self.stream.write(f"\r{' ' * len(shown)}\r")
            self.stream.flush()
