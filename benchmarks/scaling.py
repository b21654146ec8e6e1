"""``python -m benchmarks scaling``: how the exhaustive check's time grows with T, with H (P grows with it), and with P.

The forward pass's own arithmetic says what to expect: 2 P forward passes, and a few more, of T B (D + H) 4H multiplications and 5H
activations. The exponent b of time ~ size^b is fitted over the larger half of each range, where dispatch no longer counts; compiled before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

import checks
import lstm
from benchmarks import options, timing
from benchmarks.options import Size
from checks.estimate import flatten

BASE = Size(16, 4, 16, 32)
RANGES = {"T": (8, 16, 32, 64), "H": (8, 16, 32, 64)}


def measure(size: Size, repetitions: int) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    network = lstm.init_network(0, input_size=size.D, hidden_size=size.H)
    data = generator.normal(size=(size.T, size.B, size.D)), generator.normal(size=(size.T, size.B, size.H))
    problem = checks.Problem.from_network(network, *data)
    estimate = checks.exhaustive(problem)
    off = np.abs(flatten(estimate.value) - flatten(problem.gradients(network)))
    if not (off <= flatten(estimate.error_estimate)).all():
        raise AssertionError(f"the check disagrees at {tuple(size)}")
    seconds = []
    for _ in range(repetitions):
        start = time.perf_counter()
        checks.exhaustive(problem)
        seconds.append(time.perf_counter() - start)
    flop = estimate.cell_steps * size.B * 2 * size.H * 4 * size.H
    return {**size._asdict(), "P": problem.size, "seconds": min(seconds), "flop": flop, "gflops": 1e-9 * flop / min(seconds)}


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of log value over log size, least squares over the larger half, of which there are at least two."""
    half = min(len(sizes) // 2, len(sizes) - 2)
    return float(np.polyfit(np.log(sizes[half:]), np.log(values[half:]), 1)[0])


def main(arguments: Sequence[str]) -> int:
    parser = options.common_parser("scaling", (__doc__ or "").split("\n")[0])
    parser.add_argument("--repetitions", type=options.positive, default=3)
    largest = min(max(each) for each in RANGES.values())
    parser.add_argument("--most", type=options.positive, default=largest, help="of T and of H, at least 32 (default %(default)s)")
    given = parser.parse_args(arguments)
    if given.most < 32:
        parser.error(f"argument --most: expected at least 32, so that there are two sizes to fit a line through; got {given.most}")
    results, fitted = [], {}
    for name, values in RANGES.items():
        rows = [measure(BASE._replace(**{name: value}), given.repetitions) for value in values if value <= given.most]
        results += [{"over": name, **row} for row in rows]
        times = [row["seconds"] for row in rows]
        fitted[name] = exponent([row[name] for row in rows], times)
        fitted[f"{name}: arithmetic"] = exponent([row[name] for row in rows], [row["flop"] for row in rows])
        if name == "H":
            fitted["P"] = exponent([row["P"] for row in rows], times)
            fitted["P: arithmetic"] = exponent([row["P"] for row in rows], [row["flop"] for row in rows])
    lines = [f"{'over':<6s}{'T,B,D,H':<14s}{'P':>8s}{'seconds':>10s}{'us/weight':>11s}{'GFLOP/s':>9s}"]
    for row in results:
        size = ",".join(str(row[name]) for name in "TBDH")
        cells = f"{row['seconds']:10.3f}{1e6 * row['seconds'] / row['P']:11.1f}{row['gflops']:9.1f}"
        lines.append(f"{row['over']:<6s}{size:<14s}{row['P']:>8,d}{cells}")
    lines.append("time ~ size^b: " + ", ".join(f"{name} {b:.2f}" for name, b in fitted.items()))
    report = {"benchmark": "scaling", "machine": timing.machine(), "results": results, "exponents": fitted}
    options.publish(report, "\n".join(lines), given.json)
    return 0
