"""``python -m benchmarks exhaustive``: every weight's gradient by differences, by four programs, compilation included.

    ours            checks.exhaustive: 2 evaluations for each weight, 4 where truncation matters; with an error estimate
    vmap            checks.full_sequence: 4 evaluations for each, with its own copy of the weights; extrapolated, with an error estimate
    numpy           a loop over the weights in NumPy: 2 evaluations for each, as a first check is written
    torch gradcheck torch.autograd.gradcheck: 2 evaluations for each

All compute in float64, on a single layer whose targets are of its own outputs. The last two take the same time for each weight, so
they run on part of the weights and the time for all is predicted; ``--whole`` has gradcheck run on all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

import checks
import lstm
from benchmarks import options, timing
from benchmarks.options import Size
from checks.estimate import flatten

SIZES = (Size(16, 4, 4, 8), Size(16, 4, 16, 32), Size(32, 4, 32, 64))
EPSILON = 1e-6
NUMPY_WEIGHTS = 400  # timed, at most


def problem(size: Size) -> tuple[Any, lstm.Layer, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    network = lstm.init_network(0, input_size=size.D, hidden_size=size.H)
    inputs = generator.normal(size=(size.T, size.B, size.D))
    targets = generator.normal(size=(size.T, size.B, size.H))
    layer = jax.tree.map(np.asarray, network.layers[0])
    return checks.Problem.from_network(network, inputs, targets), layer, inputs, targets


def by_numpy(layer: lstm.Layer, inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, float]:
    """Differences of the first weights of w_h, and the seconds that all would take."""
    weights = {name: np.array(getattr(layer, name)) for name in ("w_x", "w_h", "b")}
    size = layer.hidden_size

    def cost() -> float:
        h, c, total = np.zeros((inputs.shape[1], size)), np.zeros((inputs.shape[1], size)), 0.0
        x_w = inputs @ weights["w_x"] + weights["b"]
        for z_x, target in zip(x_w, targets, strict=True):
            i, f, g, o = np.split(z_x + h @ weights["w_h"], 4, axis=1)
            c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
            h = np.tanh(c) / (1 + np.exp(-o))
            total += ((h - target) ** 2).sum()
        return total / targets.shape[0] / targets.shape[1]

    flat = weights["w_h"].reshape(-1)
    count = min(NUMPY_WEIGHTS, flat.size)
    found = np.empty(count)
    start = time.perf_counter()
    for n in range(count):
        saved = flat[n]
        flat[n] = saved + EPSILON
        plus = cost()
        flat[n] = saved - EPSILON
        found[n] = (plus - cost()) / (2 * EPSILON)
        flat[n] = saved
    return found, (time.perf_counter() - start) / count * sum(weight.size for weight in weights.values())


def by_gradcheck(layer: lstm.Layer, inputs: np.ndarray, targets: np.ndarray, whole: bool) -> float:
    """Seconds: of all weights, or predicted from the bias's. It computes PyTorch's own gradient as well, a small part."""
    import torch

    module = torch.nn.LSTM(inputs.shape[2], layer.hidden_size, bias=True, dtype=torch.float64)
    zeros = torch.zeros(4 * layer.hidden_size, dtype=torch.float64)
    start = [torch.zeros(1, inputs.shape[1], layer.hidden_size, dtype=torch.float64)] * 2
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets)

    def cost(w_x: Any, w_h: Any, b: Any) -> Any:
        parameters = {"weight_ih_l0": w_x, "weight_hh_l0": w_h, "bias_ih_l0": b, "bias_hh_l0": zeros}
        h, _ = torch.func.functional_call(module, parameters, (x, tuple(start)))
        return ((h - y) ** 2).sum(dim=-1).mean()

    weights = [torch.from_numpy(array.copy()) for array in (layer.w_x.T, layer.w_h.T, layer.b)]
    checked = weights if whole else weights[2:]
    for each in checked:
        each.requires_grad_()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faster at these sizes, and does not wait for cores that others use
    torch.autograd.grad(cost(*weights), checked)
    begin = time.perf_counter()
    assert torch.autograd.gradcheck(cost, weights, eps=EPSILON)
    torch.set_num_threads(threads)
    return (time.perf_counter() - begin) * sum(each.numel() for each in weights) / sum(each.numel() for each in checked)


def timed(call: Callable[[], Any], *, compiling: bool = True) -> tuple[Any, float]:
    """What it returns, and the seconds it takes: of what takes less than one, which a moment's noise could double, the median of 5."""
    seconds: list[float] = []
    while not seconds or (len(seconds) < 5 and seconds[0] < 1):
        if compiling:
            jax.clear_caches()
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return result, float(np.median(seconds))


def measure(size: Size, with_torch: bool, whole: bool) -> dict[str, Any]:
    """Assert that all agree, each to within what it claims or can; then compare the times."""
    given, layer, inputs, targets = problem(size)
    exact = flatten(checks.autodiff(given).value)
    scale = np.abs(exact).max()
    ours, compiled = timed(lambda: checks.exhaustive(given))
    _, again = timed(lambda: checks.exhaustive(given), compiling=False)
    vmap, generic = timed(lambda: checks.full_sequence(given))
    for estimate in (ours, vmap):
        if not (np.abs(flatten(estimate.value) - exact) <= flatten(estimate.error_estimate)).all():
            raise AssertionError(f"{estimate.name} at {tuple(size)} is off by more than it claims")
    loop, numpy_seconds = by_numpy(layer, inputs, targets)
    expected = np.asarray(checks.autodiff(given).value.layers[0].w_h).reshape(-1)[: len(loop)]
    # One step size, ε = 1e-6: truncation about ε², rounding about u / ε = 1e-10, far below a thousandth
    if not np.abs(loop - expected).max() <= 1e-6 * scale:
        raise AssertionError(f"the NumPy loop at {tuple(size)} differs")
    seconds = {"ours": compiled, "ours, compiled before": again, "vmap": generic, "numpy": numpy_seconds}
    if with_torch:
        seconds["torch gradcheck"] = by_gradcheck(layer, inputs, targets, whole)
    return {
        **size._asdict(),
        "P": given.size,
        "seconds": seconds,
        "ratios": {name: value / compiled for name, value in seconds.items() if not name.startswith("ours")},
        "numpy_measured_weights": len(loop),
        "gradcheck_measured_weights": given.size if whole else layer.b.size,
        "microseconds_per_weight": 1e6 * again / given.size,
    }


def main(arguments: Sequence[str]) -> int:
    parser = options.common_parser("exhaustive", (__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", type=options.size, nargs="+", default=SIZES, metavar="T,B,D,H")
    parser.add_argument("--no-torch", action="store_true", help="leave PyTorch out even where it is installed")
    parser.add_argument("--whole", action="store_true", help="run gradcheck on every weight: minutes")
    given = parser.parse_args(arguments)
    with_torch = not given.no_torch and _has_torch()
    results = []
    for size in given.sizes:
        try:
            results.append(measure(size, with_torch, given.whole))
        except AssertionError as error:
            print(f"benchmarks exhaustive: not timed: {error}", file=sys.stderr)
            return 1
    options.publish({"benchmark": "exhaustive", "machine": timing.machine(), "results": results}, table(results), given.json)
    return 0


def table(results: list[dict[str, Any]]) -> str:
    names = ["ours", "ours, compiled before", "vmap", "numpy", "torch gradcheck"]
    lines = ["Seconds for every weight, float64; x = time / ours. numpy and gradcheck: predicted from part of the weights, unless --whole."]
    lines.append(f"{'T,B,D,H':<14s}{'P':>8s}" + "".join(f"{name:>24s}" for name in names))
    for one in results:
        cells = []
        for name in names:
            value = one["seconds"].get(name)
            ratio = f" ({one['ratios'][name]:.1f}x)" if name in one["ratios"] else ""
            cells.append(f"{'-' if value is None else f'{value:.2f}{ratio}':>24s}")
        lines.append(f"{one['T']},{one['B']},{one['D']},{one['H']}".ljust(14) + f"{one['P']:>8,d}" + "".join(cells))
    return "\n".join(lines)


def _has_torch() -> bool:
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True
