"""How far a long run is, on stderr, in plain text: nothing for what takes less than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TextIO, TypeVar

Item = TypeVar("Item")

SILENT = 2.0  # seconds
ON_TERMINAL, IN_FILE = 0.2, 10.0  # seconds between two lines
WIDTH = 30


class Progress:
    """Called with the number finished and the number in all, of whatever ``what`` says."""

    def __init__(self, stream: TextIO | None = None, clock=time.monotonic, what: str = "perturbed networks"):
        self.what = what
        self.stream = sys.stderr if stream is None else stream
        self.clock = clock
        self.terminal = self.stream.isatty()
        self.began = self.last = clock()
        self.before: int | None = None  # finished by an earlier run
        self.shown = False

    def __call__(self, finished: int, total: int) -> None:
        now = self.clock()
        if self.before is None:
            self.before = finished
            self.began = now
            return
        ended = finished >= total
        if now - self.began < SILENT or (now - self.last < (ON_TERMINAL if self.terminal else IN_FILE) and not (ended and self.shown)):
            return
        self.last, self.shown = now, True
        rate = (finished - self.before) / (now - self.began)
        filled = WIDTH * finished // total
        line = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {finished:,} of {total:,} {self.what}, {rate:,.{0 if rate > 10 else 1}f} a second"
        line += f", {_duration((total - finished) / rate)} left" if rate > 0 and not ended else ""
        if self.terminal:
            self.stream.write("\r" + line.ljust(100) + ("\n" if ended else ""))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()


def counted(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, counted off where a person watches; files are spared."""
    told = Progress(what=what) if sys.stderr.isatty() else None
    for done, item in enumerate(items):
        if told is not None:
            told(done, len(items))
        yield item
    if told is not None:
        told(len(items), len(items))


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
