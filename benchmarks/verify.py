"""``python -m benchmarks verify``: how long ``lstm-check verify`` takes, a process of its own, compilation included, and its memory.

Files of golden vectors: as exported; with one gradient wrong; with the gates in another order, so that what would make the
forward pass match is searched for. Exit code 1 if a verdict is not the right one or a limit is exceeded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import options, timing
from benchmarks.options import Size
from checks.files.array_file import read_arrays, write_arrays
from checks.files.draw import ExportOptions
from checks.files.export import export
from lstm.layouts import LAYOUTS


class Limit(NamedTuple):
    """What one size may cost, on two cores."""

    seconds: float
    gigabytes: float


ORDINARY, TEN_MILLION = Size(32, 4, 32, 32), Size(32, 4, 1118, 1118)  # the second: 10 million parameters
LIMITS = {ORDINARY: Limit(10, 1), TEN_MILLION: Limit(60, 4)}
EXPECTED = {"right": 0, "one gradient wrong": 1, "gate order": 1}  # exit codes
NAMES = tuple(EXPECTED)

# The peak of a process counts that of the one that started it, so a small one does: it prints seconds, bytes, exit code
LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps([time.perf_counter() - start, unit * usage.ru_maxrss, os.waitstatus_to_exitcode(status)]))
"""


def write_files(size: Size, dtype: str, folder: Path) -> dict[str, Path]:
    """By what was done to it."""
    paths = {name: folder / f"{name.replace(' ', '_')}.npz" for name in NAMES}
    chosen = ExportOptions(LAYOUTS["torch"], timesteps=size.T, batch=size.B, inputs=size.D, hidden=size.H, dtype=dtype)
    export(paths["right"], chosen)
    arrays = read_arrays(paths["right"])
    wrong = arrays["grad.weight_hh_l0"].copy()
    wrong[size.H // 2] *= 1.5  # one unit of gate i
    write_arrays(paths["one gradient wrong"], arrays | {"grad.weight_hh_l0": wrong}, {})
    weights = [name for name in arrays if name.startswith(("weight", "bias"))]
    write_arrays(paths["gate order"], arrays | {name: _permuted(arrays[name]) for name in weights}, {})
    return paths


def _permuted(array: np.ndarray) -> np.ndarray:
    """i f g o -> i g f o"""
    i, f, g, o = np.split(array, 4)
    return np.concatenate([i, g, f, o])


def run_verify(path: Path) -> tuple[float, int, int]:
    """-> seconds, bytes at the peak, exit code."""
    command = [sys.executable, "-m", "checks", "verify", str(path), "--layout", "torch"]
    done = subprocess.run([sys.executable, "-c", LAUNCHER, *command], stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak, code = json.loads(done.stdout)
    return seconds, peak, code


def measure(size: Size, dtype: str) -> list[dict[str, Any]]:
    parameters = 4 * size.H * (size.D + size.H + 2)
    limit = LIMITS.get(size)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(size, dtype, Path(folder))
        for name, expected in EXPECTED.items():
            seconds, peak, code = run_verify(paths[name])
            results.append({
                "dtype": dtype, **size._asdict(), "file": name, "parameters": parameters, "seconds": seconds, "peak_bytes": peak,
                "verdict_right": code == expected, "limits": None if limit is None else limit._asdict(),
                "within_limits": limit is None or (seconds < limit.seconds and peak < limit.gigabytes * 1e9),
            })  # fmt: skip
    return results


def table(full: dict[str, Any]) -> str:
    machine = full["machine"]
    lines = [
        f"lstm-check verify: {machine['processor']}, {len(os.sched_getaffinity(0))} cores, jax {machine['jax']}",
        "Seconds from start to exit, compilation included, and memory at the peak.",
        "",
        f"{'dtype':<9}{'T,B,D,H':<16}{'parameters':>11}  {'file':<20}{'seconds':>8}{'GB':>7}  limits",
    ]
    for one in full["results"]:
        size = ",".join(str(one[letter]) for letter in "TBDH")
        limits = one["limits"]
        said = "" if limits is None else f"{limits['seconds']:g} s, {limits['gigabytes']:g} GB"
        said += "" if one["within_limits"] else " EXCEEDED"
        said += "" if one["verdict_right"] else " WRONG VERDICT"
        lines.append(
            f"{one['dtype']:<9}{size:<16}{one['parameters']:>11,}  {one['file']:<20}{one['seconds']:>8.1f}"
            f"{one['peak_bytes'] / 1e9:>7.2f}  {said}".rstrip()
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = options.OneLineParser(prog="benchmarks verify", description=(__doc__ or "").splitlines()[0])
    options.add_dtype(parser, default="float64")
    parser.add_argument("--sizes", type=options.size, nargs="+", default=(ORDINARY, TEN_MILLION), metavar="T,B,D,H")
    parser.add_argument("--json", type=options.json_path, metavar="PATH", help="also write every figure as JSON; - for stdout")
    given = parser.parse_args(arguments)
    results = [row for dtype in options.dtypes(given.dtype) for size in given.sizes for row in measure(size, dtype)]
    full = {"benchmark": "verify", "machine": timing.machine(), "results": results}
    options.publish(full, table(full), given.json)
    return 0 if all(row["verdict_right"] and row["within_limits"] for row in results) else 1
