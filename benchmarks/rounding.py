"""``python -m benchmarks rounding``: correct BPTT really run in low precision, against what the tolerances allow it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import lstm
from benchmarks import low_precision, options
from benchmarks.low_precision import PRECISIONS, Precision
from benchmarks.options import Size
from checks.oracle.case import OracleCase
from checks.oracle.tolerance import RoundingModel

SIZES = (Size(1, 1, 2, 3), Size(9, 3, 4, 5), Size(60, 2, 3, 4), Size(500, 2, 3, 4))
OUTPUTS = 3
LOSSES = (None, "squared_error", "cross_entropy")  # None: upstream gradients instead of a cost
REGIMES = {  # what weights of N(0, 1)/√H, inputs and states, and upstream gradients are multiplied by
    "ordinary": (1.0, 1.0, 1.0),
    "half saturated": (3.0, 1.0, 1.0),
    "saturated": (8.0, 2.0, 1.0),
    "tiny": (2.0**-5, 2.0**-4, 2.0**-6),
    "huge": (1.0, 64.0, 2.0**6),
}
JUDGED = ("float32", "tf32", "float16", "bfloat16")


def draw(size: Size, regime: str, loss: str | None, seed: int, precision: Precision) -> OracleCase:
    """Everything in numbers that the precision holds exactly."""
    of_weights, of_data, of_upstream = REGIMES[regime]
    generator = np.random.default_rng([seed, *size])

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return precision.rounded(scale * generator.normal(size=shape))

    wide = of_weights / np.sqrt(size.H)
    T, B, D, H = size
    layer = lstm.Layer(w_x=normal(D, 4 * H, scale=wide), w_h=normal(H, 4 * H, scale=wide), b=normal(4 * H, scale=wide))
    given: dict[str, Any] = {"inputs": normal(T, B, D, scale=of_data)}
    given["initial_state"] = (lstm.State(h=normal(B, H, scale=min(of_data, 1.0)), c=normal(B, H, scale=of_data)),)
    if generator.random() < 0.3:
        given["lengths"] = generator.integers(1, T + 1, B)
    if loss is None:
        final = lstm.State(h=normal(B, H, scale=of_upstream), c=normal(B, H, scale=of_upstream))
        return OracleCase((layer,), d_outputs=normal(T, B, H, scale=of_upstream), d_final_state=(final,), **given)
    targets = generator.integers(0, OUTPUTS, (T, B)) if loss == "cross_entropy" else normal(T, B, OUTPUTS, scale=of_upstream)
    readout = lstm.Readout(w=normal(H, OUTPUTS, scale=wide), b=normal(OUTPUTS, scale=wide))
    return OracleCase((layer,), targets=targets, readout=readout, loss=loss, **given)


def ratios(case: OracleCase, precision: Precision, seed: int = 0, model: RoundingModel | None = None) -> dict[str, float]:
    """For each array of the results its largest error over what is allowed there; infinite where the result overflowed."""
    model = RoundingModel(case, seed=seed) if model is None else model
    outputs, finals, found = low_precision.gradients(case, precision)
    room = model.allowed(precision.name)
    truth = (model.true[0], model.true[1], case.hand_gradients()[0])
    paths = jax.tree_util.tree_leaves_with_path((outputs, finals, found))
    names = [("outputs", "final_state", "grad")[path[0].idx] + jax.tree_util.keystr(path[1:]) for path, _ in paths]
    every = (jax.tree.leaves(each) for each in ((outputs, finals, found), truth, (room.outputs, room.final_state, room.gradients)))
    return {name: _largest(*leaves) for name, leaves in zip(names, zip(*every, strict=True), strict=True)}


def _largest(got: np.ndarray, expected: np.ndarray, room: np.ndarray) -> float:
    if not np.isfinite(got).all():
        return float("inf")
    # Exact zeros have no room and need none
    return float((np.abs(got - expected) / np.maximum(room, np.finfo(np.float64).tiny)).max(initial=0))


def measure(problems: int, seed: int, sizes: Sequence[Size]) -> list[dict[str, Any]]:
    """One row for each precision and regime."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for number in range(problems):
        size, loss = sizes[number % len(sizes)], LOSSES[number // len(sizes) % len(LOSSES)]
        for regime in REGIMES:
            for name in JUDGED:
                case = draw(size, regime, loss, seed + number, PRECISIONS[name])
                every = ratios(case, PRECISIONS[name], seed + number)
                worst = max(every, key=every.__getitem__)
                one = {"size": list(size), "loss": loss, "seed": seed + number, "array": worst, "ratio": every[worst]}
                found.setdefault((name, regime), []).append(one)
        if sys.stderr.isatty():
            print(f"\r{number + 1}/{problems} problems of each kind ", end="", file=sys.stderr, flush=True)
    return [_summary(name, regime, each) for (name, regime), each in found.items()]


def _summary(name: str, regime: str, found: list[dict[str, Any]]) -> dict[str, Any]:
    finite = [one for one in found if np.isfinite(one["ratio"])]
    largest = max(finite, key=lambda one: one["ratio"], default=None)
    return {
        "precision": name,
        "regime": regime,
        "problems": len(found),
        "overflowed": len(found) - len(finite),
        "median": float(np.median([one["ratio"] for one in finite])) if finite else None,
        "max": largest and largest["ratio"],
        "worst": largest,
    }


def table(report: dict[str, Any]) -> str:
    lines = [
        "The largest error of correct BPTT in low precision over what is allowed there: of each problem the largest of all entries",
        "and arrays, of these the median and the largest. Above 1, a correct gradient would be refused.",
        "",
        f"{'precision':<12s}{'values':<16s}{'problems':>9s}{'overflowed':>12s}{'median':>10s}{'max':>10s}",
    ]
    for row in report["results"]:
        figures = "".join(f"{'' if row[key] is None else format(row[key], '.3f'):>10s}" for key in ("median", "max"))
        lines.append(f"{row['precision']:<12s}{row['regime']:<16s}{row['problems']:>9d}{row['overflowed']:>12d}{figures}")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = options.OneLineParser(prog="benchmarks rounding", description=__doc__ or "")
    parser.add_argument("--problems", type=options.positive, default=24, help="of each kind (default %(default)s)")
    parser.add_argument("--sizes", type=options.size, nargs="+", default=SIZES, metavar="T,B,D,H")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=options.json_path, metavar="PATH", help="also write every figure as JSON; - for stdout")
    given = parser.parse_args(arguments)
    results = measure(given.problems, given.seed, given.sizes)
    report = {"benchmark": "rounding", "problems": given.problems, "seed": given.seed, "results": results}
    options.publish(report, table(report), given.json)
    exceeded = [row for row in results if row["max"] is not None and row["max"] > 1]
    return 1 if exceeded else 0
