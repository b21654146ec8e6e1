"""What the report of `lstm-check verify` says of the forward pass, which comes before any gradient."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from checks.precision import TF32
from checks.verdict import Verdict
from checks.verify.compare import Judgement

TRIED = "gate order, transposes, forget offset, missing tanh, biases, (h, c)"
# Rounding of a forward pass in float32 stays within some hundred units in the last place of the largest entry
OF_FLOAT32 = 200 * float(np.finfo(np.float32).eps)
OF_TF32 = 5 * TF32.eps  # its products' factors alone are rounded, and errors of some units are what users report


def forward_lines(report: Any) -> list[str]:
    """One paragraph each, of a `checks.verify.report.VerifyReport`."""
    if not report.forward:
        return [_not_compared(report)]
    agreeing = [each.name for each in report.forward if each.verdict is Verdict.AGREES]
    verb = "agree" if len(agreeing) > 1 or agreeing == ["outputs"] else "agrees"
    lines = [f"Forward pass: {listed(agreeing)} {verb}."] if agreeing else []
    differing = [each for each in report.forward if each.verdict is not Verdict.AGREES]
    lines += [
        f"Forward pass: {each.name}: {each.verdict.value}, in {each.wrong} of {each.size} entries; worst at {each.place}: {numbers(each)}"
        for each in differing
    ]
    lines += [f"What would make it match: your results are those {words}." for words in report.guesses]
    if report.forward_verdict is Verdict.DISAGREES and not report.guesses:
        lines += _other_reasons(report, differing)
    return lines


def _not_compared(report: Any) -> str:
    text = "Forward pass: not compared, since no outputs, h_n or c_n are in the file."
    if report.verdict is Verdict.DISAGREES:
        text += " A gate order, layout or order of axes other than the one named would look like wrong gradients: add outputs to tell."
    return text


def _other_reasons(report: Any, differing: list[Judgement]) -> list[str]:
    if all(each.precision == "float64" and each.max_relative_error <= OF_FLOAT32 for each in differing):
        return ["So little is what float32 rounds: if your program computes in float32, say --precision float32."]
    agreeing = [each.name for each in report.forward if each.verdict is Verdict.AGREES]
    if "outputs" in agreeing:
        names = listed([each.name for each in differing])
        return [f"The outputs agree, so it is this network: what did your program store as {names}, the state after the last step?"]
    lines = [f"None of the usual reasons makes it match: {TRIED}. Are the axes as --axes says?"]
    if not any(np.any(leaf) for leaf in jax.tree.leaves(report.candidate.case.initial_state)):
        lines.append("The initial state is zero here, as it is where the file has no h0 and c0: was yours?")
    if all(each.precision == "float32" and each.max_relative_error <= OF_TF32 for each in differing):
        lines.append("On a GPU, so little may be products rounded to TF32: ask for full precision, or say --precision tf32.")
    return lines


def listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def numbers(each: Judgement) -> str:
    return (
        f"expected {each.expected:.9g}, got {each.got:.9g} (off by {abs(each.got - each.expected):.1e}; rounding in "
        f"{each.precision} allows {each.tolerance:.1e})"
    )
