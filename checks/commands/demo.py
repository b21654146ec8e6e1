"""The question's network, checked every way, and the asker's questions answered with this run's numbers.

The question: a network sees the input {1, 1} and the target {0, 1} at each of 4 timesteps. To check its gradient, does one
perturb a weight and run the whole sequence (approach 1), or perturb it timestep by timestep and sum the deltas (approach 2)?
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable

import jax
import numpy as np

import lstm
from checks.cross_validation import choose_reference, cross_validate
from checks.estimate import flatten
from checks.per_timestep import differencer as per_timestep_differencer
from checks.perturbation import default_step
from checks.problem import Problem
from checks.report import WIDTH, Report
from checks.sweep import Curve, noise_ratio, sweep

PAIRED, FROZEN, SHARED = "per_timestep.paired", "per_timestep.frozen", "per_timestep.shared"


@dataclasses.dataclass(frozen=True)
class DemoOptions:
    timesteps: int = 4
    hidden: int = 8
    batch: int = 1
    loss: str = "squared_error"
    dtype: str = "float64"
    seed: int = 0


def question_problem(options: DemoOptions) -> Problem:
    """Input {1, 1} and target {0, 1} at every timestep; random weights and biases, numbers that float32 holds exactly."""
    dtype = np.dtype(options.dtype)
    drawn = lstm.init_network(options.seed, input_size=2, hidden_size=options.hidden, output_size=2, dtype=np.float32)
    network = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), drawn)  # so that both precisions see the same network
    inputs = np.ones((options.timesteps, options.batch, 2), dtype)
    targets = np.broadcast_to(np.array([0, 1], dtype), inputs.shape).copy()
    problem = Problem.from_network(network, inputs, targets, loss=options.loss)
    assert isinstance(problem, Problem)  # one direction, so it has timesteps
    return problem


def demo(options: DemoOptions, progress: Callable[[int, int], None] | None = None) -> Report:
    """Cross-validate the question's network and answer the question."""
    problem = question_problem(options)
    report = cross_validate(problem, progress=progress)
    network = {
        "T": options.timesteps,
        "B": options.batch,
        "D": 2,
        "H": options.hidden,
        "K": 2,
        "loss": options.loss,
        "reduction": problem.reduction,
        "dtype": options.dtype,
        "seed": options.seed,
    }
    reference = choose_reference(problem).value
    curves = tuple(curve for dtype in (np.float32, np.float64) for curve in sweep(problem.astype(dtype), reference))
    evidence = dataclasses.replace(report.evidence, curves=curves)
    return dataclasses.replace(report, problem=network, answer=answer(problem, report, curves), evidence=evidence)


def answer(problem: Problem, report: Report, curves: tuple[Curve, ...]) -> str:
    """The asker's questions, one paragraph each, every number from this run."""
    questions = {
        "Which approach is the derivative?": _which(report),
        "What does the naive approach 2 compute?": _naive(problem, report),
        "May the deltas be summed, and where does 1/T go?": _summing(problem),
        "Which is less noisy?": _noise(curves),
        "Which holds less in memory?": _memory(problem, report),
    }
    paragraphs = []
    for question, text in questions.items():
        paragraphs.append(question + "\n" + textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  "))
    return "\n\n".join(paragraphs)


def _which(report: Report) -> str:
    return (
        f"Approach 1: it lands within {report.row('full_sequence').max_relative_error:.0e} of the gradient's largest entry. "
        "Approach 2 depends on where the state before step N comes from. If the + pass and the - pass each carry their own state "
        f"(paired: within {report.row(PAIRED).max_relative_error:.0e}), or each N re-runs steps 0..N (replayed), or only step "
        "N's copy of the weight moves and the sequence runs to its end (untied), it is the derivative too."
    )


def _naive(problem: Problem, report: Report) -> str:
    """The two readings that are not the gradient."""
    step = default_step(problem.dtype)
    differences = per_timestep_differencer(problem, "shared")
    truth = flatten(choose_reference(problem).value)
    off = [np.abs(differences(size).value.astype(np.float64) - truth).max() for size in (step / 10, step)]
    frozen, shared = report.row(FROZEN), report.row(SHARED)
    cut = (
        "With one timestep there is no past to cut off, and starting from the unperturbed state is the gradient."
        if frozen.expected_to_agree
        else "As the question words it, each step starts from the unperturbed run's state (frozen): that is BPTT truncated to one "
        f"timestep, here off by {100 * frozen.max_relative_error:.1g}% of the largest entry at any step size."
    )
    return (
        f"{cut} With one mutable state that every pass advances (shared), the - pass starts a step later than the + pass, and "
        f"the deltas do not vanish with the step: off by {shared.max_relative_error:.0e} times the largest entry, and "
        f"{off[0] / off[1]:.1f} times as much with a tenth of the step."
    )


def _summing(problem: Problem) -> str:
    timesteps = problem.timesteps
    batch = np.shape(problem.targets)[1]
    many = f"T B = {timesteps * batch}" if batch > 1 else f"T = {timesteps}"
    return (
        "Yes: the cost is a sum over timesteps, so its difference is the sum of the timesteps' differences. 1/T goes where it is "
        f"in the cost, once: divide the summed deltas by {many} if each was the difference of an undivided loss, or the "
        f"result is {timesteps * batch} times the gradient; divide nothing if the losses were divided already. And divide as many as you "
        f"sum: t = 0..T is {timesteps + 1} terms, one too many for 1/T."
    )


def _noise(curves: tuple[Curve, ...]) -> str:
    """From a sweep of the step in both precisions, of the same network: of each approach 1 and approach 2."""
    parts = [_noise_sentence(one, two) for one, two in zip(curves[::2], curves[1::2], strict=True)]
    return (
        " ".join(parts) + " The subtraction of two nearly equal costs is where the noise comes from. Approach 1 subtracts two means of "
        "T losses, once; approach 2 subtracts T pairs of single losses. Choosing the step matters far more than choosing between them."
    )


def _noise_sentence(one: Curve, two: Curve) -> str:
    ratio = noise_ratio(two, one)
    if 0.8 < ratio < 1.25:
        compared = f"as noisy as approach 1 to within a quarter ({ratio:.2f} times)"
    else:
        compared = f"{ratio:.2f} times as noisy as approach 1"
    return (
        f"In {one.dtype}, over steps from {one.steps[0]:.0e} to {one.steps[-1]:.0e}, approach 1 is best at {one.steps[one.best]:.0e} "
        f"(error {one.largest_error[one.best]:.0e}), approach 2 (paired) at {two.steps[two.best]:.0e} "
        f"({two.largest_error[two.best]:.0e}); below those steps approach 2 is {compared}."
    )


def _memory(problem: Problem, report: Report) -> str:
    return (
        "Neither needs the history: a pass of approach 1 keeps one state and a running cost, the paired reading two states and a "
        f"running difference, whatever T is. Backpropagation is what keeps all {problem.timesteps} states, and costs about three forward "
        f"passes where approach 1 takes {report.row('full_sequence').cell_steps:,} cell steps (two step sizes, for the error estimate)."
    )
