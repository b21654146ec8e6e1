"""Every figure of the documentation, from computations made here: ``python docs/figures/make.py``. Needs the ``docs`` extra.

The network is the question's: T timesteps, input {1, 1}, target {0, 1}, squared error, mean over timesteps.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

import checks
from checks.commands.demo import DemoOptions, question_problem
from checks.estimate import flatten
from checks.sweep import sweep

STYLE = {
    "svg.hashsalt": "lstm-check",  # the same file from the same numbers
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "lines.linewidth": 1.8,
}
FOLDER = pathlib.Path(__file__).parent
# Okabe and Ito's colours, which the colour-blind tell apart; and each curve has a mark or a dash of its own
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#666666"


def save(figure: Any, name: str) -> None:
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    print(f"docs/figures/{name}.svg")


def reference(problem: checks.Problem) -> np.ndarray:
    return flatten(checks.complex_step(problem.astype(np.float64)).value)


def error(value: Any, truth: np.ndarray) -> float:
    return float(np.abs(flatten(value).astype(np.float64) - truth).max() / np.abs(truth).max())


def step_sizes() -> None:
    """Error against step size of approach 1 and of approach 2 (paired), in both precisions."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for panel, timesteps in zip(panels, (4, 64), strict=True):
        problem = question_problem(DemoOptions(timesteps=timesteps))
        truth = reference(problem)
        for dtype, colour in ((np.float32, ORANGE), (np.float64, BLUE)):
            one, two = sweep(problem.astype(dtype), truth)
            name = np.dtype(dtype).name
            panel.loglog(one.steps, one.rms_error, "o-", color=colour, ms=4, label=f"approach 1, {name}")
            panel.loglog(two.steps, two.rms_error, "s--", color=colour, ms=4, mfc="white", label=f"approach 2 paired, {name}")
        panel.set(title=f"T = {timesteps}", xlabel="step size")
    panels[0].set_ylabel("r.m.s. error / largest entry")
    panels[0].legend(fontsize=8)
    save(figure, "step-sizes")


def naive_readings() -> None:
    """Left: the frozen reading's error grows with T. Right: the shared reading grows like 1 / step."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    lengths = (1, 2, 3, 4, 6, 8, 12, 16)
    errors: dict[str, list[float]] = {"frozen": [], "paired": []}
    for timesteps in lengths:
        problem = question_problem(DemoOptions(timesteps=timesteps))
        truth = reference(problem)
        for reading, found in errors.items():
            found.append(error(checks.per_timestep(problem, reading).value, truth))
    left.semilogy(lengths, errors["frozen"], "o-", color=RED, label="frozen (the question's wording)")
    left.semilogy(lengths, errors["paired"], "s--", color=BLUE, label="paired")
    left.set(xticks=lengths, xlabel="timesteps T", ylabel="largest error / largest entry")
    left.legend(fontsize=8)
    problem = question_problem(DemoOptions())
    truth = reference(problem)
    steps = 10.0 ** np.arange(-8, 0)
    shared = [error(checks.per_timestep(problem, "shared", step=step).value, truth) for step in steps]
    right.loglog(steps, shared, "o-", color=RED, label="shared (one mutable state)")
    right.loglog(steps, shared[2] * steps[2] / steps, ":", color=GREY, label="1 / step")
    right.set(xlabel="step size")
    right.legend(fontsize=8)
    save(figure, "naive-readings")


def contributions() -> None:
    """Each timestep's own share of the gradient, by gate: what is summed over time."""
    problem = question_problem(DemoOptions(timesteps=16))
    terms = checks.untied_terms(problem).layers[0].b  # (T, 4H)
    gates = np.split(np.asarray(terms), 4, axis=-1)
    figure, panel = plt.subplots(figsize=(7, 3.2))
    for gate, block, colour, dash in zip("ifgo", gates, (BLUE, ORANGE, GREEN, RED), ("-", "--", "-.", ":"), strict=True):
        norms = np.sqrt((block**2).sum(axis=1))
        panel.semilogy(np.arange(1, 1 + len(norms)), norms, dash, marker="o", ms=4, color=colour, label=f"gate {gate}")
    panel.set(xlabel="timestep whose copy of the bias is perturbed", ylabel="norm of its share of dC/db")
    panel.legend(fontsize=8, ncols=4)
    save(figure, "contributions")


FIGURES = (step_sizes, naive_readings, contributions)


def main(names: Sequence[str] = ()) -> None:
    plt.switch_backend("svg")
    plt.rcParams.update(STYLE)
    for figure in FIGURES:
        if not names or figure.__name__ in names:
            figure()


if __name__ == "__main__":
    main(sys.argv[1:])
