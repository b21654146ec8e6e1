"""``python -m benchmarks memory``: peak memory and time of plain BPTT and of BPTT in segments (``remat=True``).

Each way runs in a process of its own, whose peak resident memory is read before the gradient is compiled and after it ran:
the difference is what the backward pass costs.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import options, timing
from benchmarks.options import Size

SIZE = Size(20_000, 8, 32, 128)
OUTPUTS = 2
REPETITIONS = 3


def one_way(size: Size, dtype: str, remat: bool) -> dict[str, Any]:
    """Run in this very process: MiB, seconds (the fastest of a few), and the gradient's norm."""
    import jax

    import lstm

    network = lstm.init_network(0, input_size=size.D, hidden_size=size.H, output_size=OUTPUTS, dtype=dtype)
    generator = np.random.default_rng(0)
    inputs = jax.device_put(generator.normal(size=(size.T, size.B, size.D)).astype(dtype))
    targets = jax.device_put(generator.normal(size=(size.T, size.B, OUTPUTS)).astype(dtype))
    small = lstm.loss_and_gradients(network, inputs[:4], targets[:4], remat=remat)  # the compiler's own memory, mostly
    jax.block_until_ready(small)
    before = _peak()
    seconds = []
    for _ in range(1 + REPETITIONS):
        start = time.perf_counter()
        cost, gradients = jax.block_until_ready(lstm.loss_and_gradients(network, inputs, targets, remat=remat))
        seconds.append(time.perf_counter() - start)
    norm = float(np.sqrt(sum(np.square(np.asarray(leaf, np.float64)).sum() for leaf in jax.tree.leaves(gradients))))
    return {"mebibytes": _peak() - before, "seconds": min(seconds[1:]), "cost": float(cost), "norm": norm}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(size: Size, dtype: str) -> dict[str, Any]:
    found = {}
    for name, remat in (("plain", False), ("remat", True)):
        program = f"import json, benchmarks.memory as m; print(json.dumps(m.one_way(m.Size(*{tuple(size)}), {dtype!r}, {remat})))"
        if dtype == "float64":
            program = f"import jax; jax.config.update('jax_enable_x64', True); {program}"
        ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        found[name] = json.loads(ran.stdout)
    plain, segments = found["plain"], found["remat"]
    allowed = size.T * float(np.finfo(dtype).eps)
    for key in ("cost", "norm"):
        if not abs(plain[key] - segments[key]) <= allowed * abs(plain[key]):
            raise AssertionError(f"{key} differs: {plain[key]} by the plain backward pass, {segments[key]} in segments")
    ratios = {"memory": segments["mebibytes"] / plain["mebibytes"], "time": segments["seconds"] / plain["seconds"]}
    return {"dtype": dtype, **size._asdict(), **found, "ratios": ratios}


def main(arguments: Sequence[str]) -> int:
    parser = options.common_parser("memory", __doc__ or "")
    options.add_dtype(parser)
    parser.add_argument("--size", type=options.size, default=SIZE, metavar="T,B,D,H")
    given = parser.parse_args(arguments)
    results = [measure(given.size, dtype) for dtype in options.dtypes(given.dtype)]
    full = {"benchmark": "memory", "machine": timing.machine(), "results": results}
    options.publish(full, table(results), given.json)
    return 0


def table(results: list[dict[str, Any]]) -> str:
    lines = [f"{'T,B,D,H':<20s}{'dtype':<9s}{'plain MiB':>10s}{'remat':>8s}{'ratio':>7s}{'plain s':>9s}{'remat':>8s}{'ratio':>7s}"]
    for one in results:
        plain, segments, ratios = one["plain"], one["remat"], one["ratios"]
        memory = f"{plain['mebibytes']:10.0f}{segments['mebibytes']:8.0f}{ratios['memory']:7.3f}"
        times = f"{plain['seconds']:9.2f}{segments['seconds']:8.2f}{ratios['time']:7.2f}"
        lines.append(f"{','.join(str(one[name]) for name in 'TBDH'):<20s}{one['dtype']:<9s}{memory}{times}")
    return "\n".join(lines)
