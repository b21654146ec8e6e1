"""Command-line options that the benchmarks share. A bad value costs one line on stderr and exit code 2."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn


class Size(NamedTuple):
    """Timesteps, batch, input features, cell size."""

    T: int
    B: int
    D: int
    H: int


class OneLineParser(argparse.ArgumentParser):
    """argparse prints its usage before an error; here the error is the whole message."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}", file=sys.stderr)
        sys.exit(2)


def size(text: str) -> Size:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"expected T,B,D,H, four integers of at least 1; got {text!r}")
    return Size(*numbers)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"expected a number of seconds, at least 0; got {text!r}")
    return value


def positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1; got {text!r}")
    return value


def json_path(text: str) -> str:
    """Refused before anything is timed rather than after."""
    if text != "-" and (Path(text).is_dir() or not Path(text).resolve().parent.is_dir()):
        raise argparse.ArgumentTypeError(f"expected a file in an existing folder, or -; got {text!r}")
    return text


def dtypes(choice: str) -> tuple[str, ...]:
    return ("float32", "float64") if choice == "both" else (choice,)


def common_parser(name: str, description: str) -> OneLineParser:
    parser = OneLineParser(prog=f"benchmarks {name}", description=description)
    parser.add_argument("--json", type=json_path, metavar="PATH", help="also write every figure as JSON; - for stdout")
    return parser


def add_dtype(parser: OneLineParser, default: str = "both") -> None:
    parser.add_argument("--dtype", choices=("float32", "float64", "both"), default=default)


def publish(report: dict[str, Any], table: str, path: str | None) -> None:
    """The table on stdout, or on stderr where stdout carries the JSON."""
    print(table, file=sys.stderr if path == "-" else sys.stdout)
    if path is None:
        return
    text = json.dumps(report, indent=1) + "\n"
    if path == "-":
        sys.stdout.write(text)
    else:
        Path(path).write_text(text)
