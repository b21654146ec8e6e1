"""``python -m benchmarks plots``: every figure of the documentation, and the tables of docs/performance.md from docs/data.

Each file there is what a benchmark wrote: ``python -m benchmarks NAME --json docs/data/NAME.json``. What has no file is left out.
"""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import exhaustive, memory, options
from checks.pictures.curves import Chart, Series
from checks.pictures.svg import standalone

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
Report = dict[str, Any]


def exhaustive_charts(report: Report) -> dict[str, Chart]:
    rows = report["results"]
    names = list(dict.fromkeys(name for row in rows for name in row["seconds"]))
    series = []
    for number, name in enumerate(names):
        measured = [(row["P"], row["seconds"][name]) for row in rows if name in row["seconds"]]
        x, y = (np.array(column, float) for column in zip(*measured, strict=True))
        series.append(Series(name, x, y, number))
    says = "Seconds against the number of weights: the exhaustive check is the lowest curve."
    return {"exhaustive": Chart("Every weight by differences: seconds", says, "weights", tuple(series), log_x=True)}


def scaling_charts(report: Report) -> dict[str, Chart]:
    charts = {}
    for name, words in {"T": "timesteps", "H": "cell size"}.items():
        rows = [row for row in report["results"] if row["over"] == name]
        x, seconds = np.array([row[name] for row in rows], float), np.array([row["seconds"] for row in rows])
        flop = np.array([row["flop"] for row in rows], float)
        arithmetic = Series("the products' arithmetic, at the last point's rate", x, seconds[-1] * flop / flop[-1], 1)
        b = report["exponents"][name]
        says = f"Measured time grows like {words} to the power {b:.2f}."
        charts[f"scaling-{name}"] = Chart(f"The exhaustive check: seconds against {words}", says, words,
                                          (Series("measured", x, seconds, 0), arithmetic), log_x=True)  # fmt: skip
    return charts


def schemes_charts(report: Report) -> dict[str, Chart]:
    charts = {}
    longest = max(row["T"] for row in report["results"])
    for dtype in ("float32", "float64"):
        rows = [row for row in report["results"] if row["dtype"] == dtype and row["T"] == longest]
        series = []
        for number, row in enumerate(rows):
            y = np.array(row["rms_error"])
            series.append(Series(row["scheme"].replace("per_timestep.", ""), np.array(row["steps"]), y, number, int(np.argmin(y))))
        if series:
            says = "Paired, replayed, untied and the full sequence fall to rounding error; frozen and shared do not."
            title = f"Error against step size, {dtype}, T = {longest}"
            charts[f"schemes-{dtype}"] = Chart(title, says, "step", tuple(series), log_x=True, floor=1e-16)
    return charts


def bptt_table(report: Report) -> str:
    head = "| dtype | T,B,D,H | hand, ms | jitted, ms | autodiff / hand | autodiff / jitted | PyTorch / hand | of matmul |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for one in report["results"]:
        size = ",".join(str(one[name]) for name in "TBDH")
        peer = f"{one['ratios']['torch']:.2f}" if "torch" in one["ratios"] else "–"
        seconds = one["seconds"]
        ours = f"| {one['dtype']} | {size} | {1e3 * seconds['hand']:.2f} | {1e3 * seconds['jitted']:.2f}"
        against = f"{one['ratios']['autodiff']:.2f} | {one['autodiff_against_jitted']:.2f} | {peer}"
        lines.append(f"{ours} | {against} | {one['fraction_of_ceiling']:.0%} |")
    for dtype, means in report["geometric_mean_ratio"].items():
        against_jitted = report["geometric_mean_autodiff_against_jitted"][dtype]
        against = f"{means['autodiff']:.2f} | {against_jitted:.2f} | {means.get('torch', float('nan')):.2f}"
        lines.append(f"| {dtype} | geometric mean | | | {against} | |")
    return "\n".join(lines)


def schemes_table(report: Report) -> str:
    lines = ["| scheme | dtype | T | cell steps | best step | least rms error |", "|---|---|---|---|---|---|"]
    for row in report["results"]:
        head = f"| {row['scheme']} | {row['dtype']} | {row['T']} | {row['cell_steps']:,}"
        lines.append(f"{head} | {row['best_step']:.0e} | {row['least_error']:.1e} |")
    return "\n".join(lines)


def scaling_table(report: Report) -> str:
    return "Time ~ size^b, b fitted: " + ", ".join(f"{name} {b:.2f}" for name, b in report["exponents"].items()) + "."


def code(text: str) -> str:
    return f"```text\n{text}\n```"


SECTIONS: dict[str, tuple[str, Callable[[Report], str], Callable[[Report], dict[str, Chart]]]] = {
    "bptt": ("Hand-written BPTT", bptt_table, lambda report: {}),
    "memory": ("Memory of BPTT in segments", lambda report: code(memory.table(report["results"])), lambda report: {}),
    "exhaustive": ("Every weight", lambda report: code(exhaustive.table(report["results"])), exhaustive_charts),
    "scaling": ("How the exhaustive check grows", scaling_table, scaling_charts),
    "schemes": ("Approach 1 and the five readings of approach 2", schemes_table, schemes_charts),
}


def render(data: Path, figures: Path) -> str:
    """Write the figures; -> the measured part of the page."""
    parts = []
    for name, (title, table, charts) in SECTIONS.items():
        path = data / f"{name}.json"
        if not path.exists():
            continue
        report = json.loads(path.read_text(encoding="utf-8"))
        machine = report["machine"]
        where = f"{machine['processor']}, {machine['cores']} cores, {machine['device']}, Python {machine['python']}, JAX {machine['jax']}"
        parts.append(f"### {title}\n\n`python -m benchmarks {name}` on {where}.\n\n{table(report)}")
        for chart_name, chart in charts(report).items():
            (figures / f"performance-{chart_name}.svg").write_text(standalone(chart.scene()), encoding="utf-8")
            parts.append(f"![{chart.title}. {chart.says}](figures/performance-{chart_name}.svg)")
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> int:
    parser = options.OneLineParser(prog="benchmarks plots", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder with data, figures and performance.md")
    docs = parser.parse_args(arguments).docs
    page = docs / "performance.md"
    if not page.is_file():
        parser.error(f"--docs: expected a folder that holds performance.md; got {docs}")
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{render(docs / 'data', docs / 'figures')}\n\n{END}{after}", encoding="utf-8")
    print(page)
    return max(_draw(docs / "figures" / script) for script in ("make.py", "report.py"))


def _draw(script: Path) -> int:
    """Figures that are computed and not recorded: the tutorial's, which need matplotlib, and the report's, which needs Chromium."""
    if not script.is_file():
        return 0
    try:
        draw = runpy.run_path(str(script))["main"]
    except ModuleNotFoundError as missing:
        print(f"benchmarks plots: {script}: needs {missing.name} (pip install matplotlib)", file=sys.stderr)
        return 1
    draw()
    return 0
