"""``lstm-check sweep``: which scheme is less noisy, and at which step? Error against step size, for every scheme, precision and T."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import os
import textwrap
from typing import Any

from checks.commands.demo import DemoOptions, question_problem
from checks.cross_validation import WHY, choose_reference, expected_to_agree
from checks.per_timestep import READINGS
from checks.problem import Problem
from checks.report import WIDTH
from checks.sweep import Curve, noise_ratio, sweep
from checks.verdict import Verdict

SCHEMES = ("full_sequence", *(f"per_timestep.{reading}" for reading in READINGS))
DTYPES = ("float32", "float64")


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    """Of the question's network, as `DemoOptions`; ``timesteps`` and ``dtypes`` are several."""

    timesteps: tuple[int, ...] = (4, 16)
    dtypes: tuple[str, ...] = DTYPES
    hidden: int = 8
    batch: int = 1
    loss: str = "squared_error"
    seed: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Swept:
    """One curve, of which network it is, and whether it should be the derivative."""

    timesteps: int
    curve: Curve
    expected: bool
    noise: float  # below both best steps, as a multiple of approach 1's

    @property
    def verdict(self) -> Verdict:
        if not self.expected:
            return Verdict.AGREES
        return {True: Verdict.AGREES, False: Verdict.DISAGREES, None: Verdict.INCONCLUSIVE}[self.curve.converges]

    def to_json(self) -> dict[str, Any]:
        curve = self.curve
        numbers = {
            "best_step": curve.steps[curve.best], "best_error": curve.rms_error[curve.best], "rounding_slope": curve.rounding_slope,
            "truncation_slope": curve.truncation_slope, "noise_of_full_sequence": self.noise,
        }  # fmt: skip
        points = {"steps": curve.steps, "rms_error": curve.rms_error, "largest_error": curve.largest_error}
        return {
            "T": self.timesteps, "dtype": curve.dtype, "name": curve.name, "is_the_derivative": curve.converges,
            "expected_to_be": self.expected, **{key: _finite(value) for key, value in numbers.items()},
            **{key: [_finite(value) for value in values] for key, values in points.items()},
        }  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class SweepReport:
    """``print(report)`` shows it."""

    options: SweepOptions
    curves: tuple[Swept, ...]
    confirmed: bool

    @property
    def verdict(self) -> Verdict:
        return Verdict.of_all(each.verdict for each in self.curves) if self.confirmed else Verdict.INCONCLUSIVE

    def to_json(self) -> dict[str, Any]:
        network = {"D": 2, "K": 2, **dataclasses.asdict(self.options)}
        return {"verdict": self.verdict.value, "network": network, "curves": [each.to_json() for each in self.curves]}

    def groups(self) -> list[tuple[int, str, list[Swept]]]:
        """The curves of one T and one precision belong together."""
        keys = dict.fromkeys((each.timesteps, each.curve.dtype) for each in self.curves)
        return [(t, dtype, [one for one in self.curves if (one.timesteps, one.curve.dtype) == (t, dtype)]) for t, dtype in keys]

    def __str__(self) -> str:
        tables = [_table(t, dtype, curves) for t, dtype, curves in self.groups()]
        return "\n\n".join([self.headline(), self.subject(), *tables, "\n".join(_filled(line) for line in self.reading())])

    def headline(self) -> str:
        if not self.confirmed:
            text = "there is no confirmed gradient to compare with."
        elif self.verdict is Verdict.AGREES:
            text = "every scheme that should be the derivative is: its error falls like step² to the best step, then rises like 1/step."
        else:
            wrong = [f"{one.curve.name} (T = {one.timesteps}, {one.curve.dtype})" for one in self.curves if one.verdict is self.verdict]
            says = "too few steps above the best one to tell" if self.verdict is Verdict.INCONCLUSIVE else "not the derivative"
            text = f"{says}: {', '.join(wrong)}."
        return _filled(f"{self.verdict.value.upper()}: {text}")

    def subject(self) -> str:
        options = self.options
        return _filled(
            f"The question's network: B = {options.batch}, D = 2, H = {options.hidden}, K = 2, {options.loss}, seed {options.seed}. Errors "
            "are root mean squares over all weights, in units of the gradient's largest entry. Slopes are of log error against log step, "
            "below the best step (rounding: -1) and above it (truncation: 2). Noise: below the best step, times that of full_sequence."
        )

    def reading(self) -> list[str]:
        """What the numbers say of the question, in sentences."""
        lines = []
        for t, dtype, curves in self.groups():
            one = next(each for each in curves if each.curve.name == "full_sequence")
            two = next((each for each in curves if each.curve.name == "per_timestep.paired"), None)
            if two is not None:
                lines.append(
                    f"T = {t}, {dtype}: approach 1 is best at step {one.curve.steps[one.curve.best]:.0e}; approach 2 (paired) is "
                    f"{two.noise:.2f} times as noisy below the best step."
                )
        return lines


def run_sweep(options: SweepOptions, *, progress: Any = None) -> SweepReport:
    """All curves, on as many threads as there are cores: most of the time goes into compiling a program for each."""
    jobs: list[tuple[Problem, str, Any]] = []
    confirmed = True
    for timesteps in options.timesteps:
        problem = question_problem(DemoOptions(timesteps, options.hidden, options.batch, options.loss, "float64", options.seed))
        reference = choose_reference(problem)
        confirmed &= reference.confirmed
        jobs += [(problem.astype(dtype), scheme, reference) for dtype in options.dtypes for scheme in SCHEMES]
    curves: list[Curve] = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        for curve in threads.map(lambda job: sweep(job[0], job[2].value, (job[1],))[0], jobs):
            curves.append(curve)
            if progress is not None:
                progress(len(curves), len(jobs))
    swept, baseline = [], curves[0]
    for (problem, scheme, reference), curve in zip(jobs, curves, strict=True):
        baseline = curve if scheme == "full_sequence" else baseline
        expected = expected_to_agree(problem, scheme, reference)
        swept.append(Swept(problem.timesteps, curve, expected, noise_ratio(curve, baseline) if expected else math.nan))
    return SweepReport(options, tuple(swept), confirmed)


def _table(timesteps: int, dtype: str, curves: list[Swept]) -> str:
    steps = curves[0].curve.steps
    lines = [f"T = {timesteps}, {dtype}, steps {steps[0]:.0e} to {steps[-1]:.0e}"]
    lines.append(f"{'scheme':<22}{'best':>7}{'error':>9}{'rounding':>10}{'truncation':>11}{'noise':>7}  dC/dw?")
    lines.append(f"{'':<22}{'step':>7}{'there':>9}{'slope':>10}{'slope':>11}")
    lines.append("-" * WIDTH)
    for each in curves:
        curve = each.curve
        noise = "" if math.isnan(each.noise) else f"{each.noise:.2f}"
        lines.append(
            f"{curve.name:<22}{curve.steps[curve.best]:>7.0e}{curve.rms_error[curve.best]:>9.1e}{_slope(curve.rounding_slope):>10}"
            f"{_slope(curve.truncation_slope):>11}{noise:>7}  {_is_gradient(each)}"
        )
    return "\n".join(lines)


def _slope(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def _is_gradient(each: Swept) -> str:
    found = {True: "yes", False: "NO", None: "unsure"}[each.curve.converges]
    if each.expected:
        return found
    short = {"per_timestep.frozen": "cut BPTT", "per_timestep.shared": "~ 1/step"}
    return "here" if each.curve.converges else f"no: {short.get(each.curve.name, WHY[each.curve.name])}"


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH)


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
