"""``python -m benchmarks accuracy``: how far every way to a gradient is from the exact one, which is enclosed rigorously."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import checks
import lstm
from benchmarks import options, timing
from benchmarks.accuracy_frameworks import FRAMEWORKS
from benchmarks.options import Size
from checks.estimate import Estimate, flatten
from checks.tolerance import gradient_and_magnitudes

SIZE, OUTPUTS = Size(12, 3, 4, 5), 2
REGIMES = {"ordinary": 1.0, "saturated": 5.0}  # what weights of U(-1/√H, 1/√H) are multiplied by
Contestant = Callable[[checks.Problem], Any]  # -> an Estimate, or a pytree like the parameters

ESTIMATORS: dict[str, Contestant] = {
    "hand BPTT": lambda problem: problem.gradients(problem.parameters),
    "autodiff": checks.autodiff,
    "autodiff, forward": lambda problem: checks.autodiff(problem, mode="forward"),
    "complex step": checks.complex_step,
    "full sequence": checks.full_sequence,
    "per timestep, paired": lambda problem: checks.per_timestep(problem, "paired"),
    "per timestep, replayed": lambda problem: checks.per_timestep(problem, "replayed"),
    "per timestep, untied": lambda problem: checks.per_timestep(problem, "untied"),
}


def draw(size: Size, scale: float, seed: int, dtype: str) -> checks.Problem:
    """One layer, a readout, a squared error. Both precisions see the same numbers, which float32 holds exactly."""
    generator = np.random.default_rng([seed, *size])

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32).astype(dtype)

    def weights(*shape: int) -> np.ndarray:
        return (scale * generator.uniform(-1, 1, shape) / np.sqrt(size.H)).astype(np.float32).astype(dtype)

    layer = lstm.Layer(w_x=weights(size.D, 4 * size.H), w_h=weights(size.H, 4 * size.H), b=weights(4 * size.H))
    network = lstm.Network((layer,), lstm.Readout(w=weights(size.H, OUTPUTS), b=weights(OUTPUTS)))
    state = lstm.State(h=normal(size.B, size.H), c=normal(size.B, size.H))
    inputs, targets = normal(size.T, size.B, size.D), normal(size.T, size.B, OUTPUTS)
    return checks.Problem.from_network(network, inputs, targets, initial_state=(state,))


def errors(problem: checks.Problem, truth: checks.Certified, contestants: dict[str, Contestant]) -> dict[str, dict[str, Any]]:
    """Of each contestant, entry by entry: the error in ulps of the entry's natural scale, and whether its own claim covers it.

    The natural scale is Σ_t |timestep t's contribution|: what is added up to give the entry.
    """
    scales = flatten(gradient_and_magnitudes(problem)[1])[truth.positions].astype(problem.dtype)
    found = {}
    for name, contestant in contestants.items():
        try:
            result = contestant(problem)
        except ImportError:
            continue  # a framework that is not installed
        value = result.value if isinstance(result, Estimate) else result
        error = np.abs(truth.error_of(value))
        found[name] = {"ulps": error / np.spacing(scales).astype(np.float64), "covered": None}
        if isinstance(result, Estimate) and np.isfinite(claim := flatten(result.error_estimate)[truth.positions]).any():
            found[name]["covered"] = error <= claim
    return found


def measure(dtype: str, regime: str, given: Any) -> list[dict[str, Any]]:
    """One row for each contestant, over all problems of a regime."""
    contestants = ESTIMATORS | ({} if given.no_frameworks else FRAMEWORKS)
    collected: dict[str, list[dict[str, Any]]] = {}
    for number in range(given.problems):
        problem = draw(given.size, REGIMES[regime], given.seed + number, dtype)
        truth = checks.certified(problem, entries=given.entries, seed=number)
        assert truth.tight.all()
        for name, found in errors(problem, truth, contestants).items():
            collected.setdefault(name, []).append(found)
    return [_summary(dtype, regime, name, each) for name, each in collected.items()]


def _summary(dtype: str, regime: str, name: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    ulps = np.concatenate([one["ulps"] for one in found])
    covered = None if found[0]["covered"] is None else float(np.concatenate([one["covered"] for one in found]).mean())
    figures = {"median": np.median(ulps), "p99": np.quantile(ulps, 0.99), "max": ulps.max()}
    row = {"dtype": dtype, "regime": regime, "name": name, "entries": len(ulps)}
    return row | {key: float(value) for key, value in figures.items()} | {"covered": covered}


def table(report: dict[str, Any]) -> str:
    size = ", ".join(f"{name} = {value}" for name, value in report["size"].items())
    lines = [
        f"Errors against the certified gradient: {size}, K = {OUTPUTS}; {report['problems']} problems of each kind,",
        f"{report['entries']} entries of each, drawn with seed {report['seed']}.",
        "In units in the last place of each entry's natural scale, Σ_t |timestep t's contribution|.",
    ]
    rows = report["results"]
    for dtype, regime in dict.fromkeys((row["dtype"], row["regime"]) for row in rows):
        lines += ["", f"{dtype + ', ' + regime:<24s}{'median':>12s}{'99 %':>12s}{'max':>12s}{'covered':>10s}"]
        lines += [_row(row) for row in rows if (row["dtype"], row["regime"]) == (dtype, regime)]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    covered = "" if row["covered"] is None else f"{row['covered']:.1%}"
    return f"{row['name']:<24s}" + "".join(f"{row[key]:12.3g}" for key in ("median", "p99", "max")) + f"{covered:>10s}"


def main(arguments: Sequence[str]) -> int:
    parser = options.OneLineParser(prog="benchmarks accuracy", description=__doc__ or "")
    options.add_dtype(parser)
    parser.add_argument("--size", type=options.size, default=SIZE, metavar="T,B,D,H")
    parser.add_argument("--problems", type=options.positive, default=3, help="of each kind (default %(default)s)")
    parser.add_argument("--entries", type=options.positive, default=100, help="of each problem (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-frameworks", action="store_true", help="leave out PyTorch, Keras and Flax even where installed")
    parser.add_argument("--json", type=options.json_path, metavar="PATH", help="also write every figure as JSON; - for stdout")
    given = parser.parse_args(arguments)
    try:
        results = [row for dtype in options.dtypes(given.dtype) for regime in REGIMES for row in measure(dtype, regime, given)]
    except lstm.BadInput as problem:
        print(f"benchmarks accuracy: {problem}", file=sys.stderr)
        return 2
    report = {
        "benchmark": "accuracy",
        "machine": timing.machine(),
        "size": given.size._asdict(),
        "problems": given.problems,
        "entries": given.entries,
        "seed": given.seed,
        "results": results,
    }
    options.publish(report, table(report), given.json)
    return 0
