"""``python -m benchmarks schemes``: approach 1 and the five readings of approach 2, error against step size, T and cost.

Plain central differences, nothing extrapolated, in float32 and float64 on the same float32 weights; the reference is complex-step in
float64. Errors are root mean squares in units of the gradient's largest entry. What the curves are to show is in the report too: which
readings converge (their least error falls far below that of the others), how the best step and the least error depend on T,
and what an evaluation costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import checks
import lstm
from benchmarks import options, timing
from checks.estimate import flatten
from checks.per_timestep import READINGS
from checks.sweep import sweep

SCHEMES = ("full_sequence", *(f"per_timestep.{reading}" for reading in READINGS))
TIMESTEPS = (2, 4, 8, 16)
HIDDEN, BATCH, FEATURES, OUTPUTS = 5, 2, 3, 4
CONVERGENT = ("full_sequence", "per_timestep.paired", "per_timestep.replayed", "per_timestep.untied")


def cell_steps(scheme: str, timesteps: int, weights: int) -> int:
    """Of the network, for one difference of every weight, as the estimators document it."""
    once = 2 * timesteps * weights
    return {
        "full_sequence": once,
        "per_timestep.frozen": once + timesteps,
        "per_timestep.shared": once,
        "per_timestep.paired": once,
        "per_timestep.replayed": timesteps * (timesteps + 1) * weights,
        "per_timestep.untied": timesteps * (timesteps + 1) * weights + timesteps,
    }[scheme]


def measure(timesteps: int, schemes: Sequence[str]) -> list[dict[str, Any]]:
    generator = np.random.default_rng(timesteps)
    network = lstm.init_network(0, input_size=FEATURES, hidden_size=HIDDEN, output_size=OUTPUTS, dtype=np.float32)
    draw = [generator.normal(size=(timesteps, BATCH, size)).astype(np.float32) for size in (FEATURES, OUTPUTS)]
    single = checks.Problem.from_network(network, *draw)
    double = single.astype(np.float64)
    reference = checks.complex_step(double).value
    if not np.abs(flatten(reference) - flatten(checks.autodiff(double).value)).max() <= 1e-12 * np.abs(flatten(reference)).max():
        raise AssertionError(f"complex step and autodiff disagree at T = {timesteps}")
    found = []
    for problem in (single, double):
        for curve in sweep(problem, reference, tuple(schemes)):
            found.append({
                "scheme": curve.name,
                "dtype": curve.dtype,
                "T": timesteps,
                "cell_steps": cell_steps(curve.name, timesteps, problem.size),
                "steps": [float(step) for step in curve.steps],
                "rms_error": [float(error) for error in curve.rms_error],
                "best_step": float(curve.steps[curve.best]),
                "least_error": float(curve.rms_error[curve.best]),
            })  # fmt: skip
    return found


def main(arguments: Sequence[str]) -> int:
    parser = options.common_parser("schemes", (__doc__ or "").split("\n")[0])
    parser.add_argument("--timesteps", type=_positive, nargs="+", default=TIMESTEPS, metavar="T")
    parser.add_argument("--schemes", choices=SCHEMES, nargs="+", default=SCHEMES, metavar="NAME", help=", ".join(SCHEMES))
    given = parser.parse_args(arguments)
    results = [row for timesteps in given.timesteps for row in measure(timesteps, given.schemes)]
    lines = [f"{'scheme':<24s}{'dtype':<9s}{'T':>4s}{'cell steps':>12s}{'best step':>11s}{'least rms error':>17s}"]
    for row in results:
        name = f"{row['scheme']:<24s}{row['dtype']:<9s}{row['T']:>4d}{row['cell_steps']:>12,d}"
        lines.append(f"{name}{row['best_step']:>11.0e}{row['least_error']:>17.1e}")
    options.publish({"benchmark": "schemes", "machine": timing.machine(), "results": results}, "\n".join(lines), given.json)
    return 0


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1; got {text!r}")
    return int(text)
