"""``python -m benchmarks bptt``: hand-written BPTT against automatic differentiation and against PyTorch."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from typing import Any

import jax

from benchmarks import agreement, ceiling, contestants, options, timing
from benchmarks.options import Size

SIZES = (Size(32, 4, 32, 32), Size(64, 32, 64, 64), Size(128, 32, 128, 128), Size(128, 64, 256, 256), Size(64, 64, 512, 512))


def measure(size: Size, dtype: str, seconds: float, with_torch: bool) -> dict[str, Any]:
    """Assert that the contestants agree, then time them and the matrix products in the same rounds.

    Raises agreement.DisagreementError, before timing anything.
    """
    with jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext():
        given = contestants.problem(size, dtype)
        runners = {"hand": contestants.hand(given), "jitted": contestants.jitted(given)}
        runners["autodiff"] = contestants.autodiff(given)
        if with_torch:
            runners["torch"] = contestants.torch(given)
        results = {name: contestant.results() for name, contestant in runners.items()}
        differences = agreement.assert_equal(results, size, dtype)
        calls = {name: contestant.run for name, contestant in runners.items()}
        medians = timing.interleaved(calls | ceiling.contestants(size, dtype), seconds)
    products = ceiling.rates(size, medians)
    gflops = {name: 1e-9 * contestants.flop(size) / medians[name] for name in runners}
    return {
        "dtype": dtype,
        **size._asdict(),
        "K": contestants.OUTPUTS,
        "flop": contestants.flop(size),
        "seconds": {name: medians[name] for name in runners},
        "ratios": {name: medians[name] / medians["hand"] for name in runners if name != "hand"},
        "autodiff_against_jitted": medians["autodiff"] / medians["jitted"],
        "gflops": gflops,
        "matmul_gflops": products,
        "ceiling_gflops": max(products.values()),
        "fraction_of_ceiling": gflops["hand"] / max(products.values()),
        "largest_difference": differences,
    }


def report(measured: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    means: dict[str, dict[str, float]] = {}
    against_jitted: dict[str, float] = {}
    for dtype in dict.fromkeys(one["dtype"] for one in measured):
        rows = [one for one in measured if one["dtype"] == dtype]
        means[dtype] = {peer: timing.geometric_mean(row["ratios"][peer] for row in rows) for peer in rows[0]["ratios"]}
        against_jitted[dtype] = timing.geometric_mean(row["autodiff_against_jitted"] for row in rows)
    return {
        "benchmark": "bptt",
        "machine": timing.machine() | {"torch": _torch_version(measured)},
        "seconds_per_size": seconds,
        "results": measured,
        "geometric_mean_ratio": means,
        "geometric_mean_autodiff_against_jitted": against_jitted,
    }


def table(full: dict[str, Any]) -> str:
    machine = full["machine"]
    lines = [
        f"BPTT: {machine['device']}, {machine['processor']}, {machine['cores']} cores",
        f"jax {machine['jax']}, torch {machine['torch'] or 'not timed'}",
        "Median milliseconds for cost and weight gradients; x = time / hand's time.",
        "hand: lstm.gradient_function; jitted: jax.jit of lstm.loss_and_gradients;",
        "matmul: hand's GFLOP/s over the best matrix product's in the same run.",
    ]
    peers = list(full["results"][0]["ratios"])
    for dtype, means in full["geometric_mean_ratio"].items():
        columns = "".join(f"{peer:>10s}{'x':>6s}" for peer in peers)
        lines += ["", f"{dtype + ' T,B,D,H':<15s}{'hand':>8s}{columns}{'matmul':>8s}"]
        lines += [_row(one) for one in full["results"] if one["dtype"] == dtype]
        lines.append(f"{'geometric mean':<23s}" + "".join(f"{_ratio(means[peer]):>16s}" for peer in peers))
        against_jitted = full["geometric_mean_autodiff_against_jitted"][dtype]
        lines.append(f"autodiff / jitted, geometric mean: {_ratio(against_jitted)}")
    return "\n".join(lines)


def _row(one: dict[str, Any]) -> str:
    size = f"{one['T']},{one['B']},{one['D']},{one['H']}"
    peers = "".join(f"{1e3 * one['seconds'][peer]:10.3f}{_ratio(ratio):>6s}" for peer, ratio in one["ratios"].items())
    return f"{size:<15s}{1e3 * one['seconds']['hand']:8.3f}{peers}{one['fraction_of_ceiling']:8.0%}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _torch_version(measured: list[dict[str, Any]]) -> str | None:
    if "torch" not in measured[0]["seconds"]:
        return None
    import torch

    return str(torch.__version__)


def main(arguments: Sequence[str]) -> int:
    parser = options.common_parser("bptt", __doc__ or "")
    options.add_dtype(parser)
    parser.add_argument("--seconds", type=options.seconds, default=5.0, help="how long to time each size (default %(default)s)")
    parser.add_argument("--sizes", type=options.size, nargs="+", default=SIZES, metavar="T,B,D,H")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out even where it is installed")
    given = parser.parse_args(arguments)
    with_torch = not given.no_torch and contestants.torch_device() is not None
    measured = []
    for dtype in options.dtypes(given.dtype):
        for size in given.sizes:
            try:
                measured.append(measure(size, dtype, given.seconds, with_torch))
            except agreement.DisagreementError as error:
                print(f"benchmarks bptt: not timed, since the gradients differ: {error}", file=sys.stderr)
                return 1
    full = report(measured, given.seconds)
    options.publish(full, table(full), given.json)
    return 0
