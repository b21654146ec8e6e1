"""The arrays of a report as pictures need them: of a file's verdict, or of gradients of a problem."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

import lstm
from checks.compare import Comparison
from checks.html.heat_figures import Compared
from checks.pictures.bins import Matrix
from checks.pictures.layouts import of_other, of_sequence, of_weight
from checks.places import describe
from checks.problem import Cost
from checks.verdict import Verdict
from checks.verify.compare import Judgement
from checks.verify.report import VerifyReport


def of_file(report: VerifyReport) -> list[Compared]:
    """Every gradient that the file holds."""
    return [] if report.evidence is None else [_of_judgement(report, each) for each in report.parameters]


def _of_judgement(report: VerifyReport, each: Judgement) -> Compared:
    evidence, name = report.evidence, each.name
    assert evidence is not None
    matrix, across, down = _laid_out(name, report)
    verdict = "right" if each.verdict is Verdict.AGREES else "inconclusive"
    if each.verdict is Verdict.DISAGREES:
        verdict = f"{each.wrong:,} of {each.size:,} entries wrong"
    elif each.reason.startswith("not judged"):
        verdict = "not judged"
    return Compared(
        name, report.candidate.gradients[name], evidence.expected[name], evidence.allowed(name), matrix, verdict,
        each.verdict is Verdict.DISAGREES, functools.partial(evidence.places, name), across, down,
    )  # fmt: skip


def _laid_out(name: str, report: VerifyReport) -> tuple[Matrix, str, str]:
    evidence = report.evidence
    assert evidence is not None
    shape = evidence.expected[name].shape
    if name == "inputs":
        return of_sequence(shape, report.candidate.reading.order), "t =", "sequence, feature"
    if name in evidence.gates and shape:
        return of_weight(evidence.gates[name]), "", ""
    return of_other(shape), "unit" if name in ("h0", "c0") else "column", ""


def of_problem(problem: Cost, gradients: Any, reference: Any, candidate: tuple[Comparison, ...]) -> list[Compared]:
    """Two gradients of a problem, in units of what rounding alone may do: the tolerance of ``candidate``, a hand-written gradient's."""
    leaves = (jax.tree.leaves(tree) for tree in (gradients, reference))
    found = []
    for name, got, expected, each in zip(problem.leaf_names, *leaves, candidate, strict=True):
        got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
        wrong = int((np.abs(got - expected) > each.tolerance).sum())
        verdict = f"{wrong:,} of {got.size:,} entries differ" if wrong else "right"
        places = functools.partial(_places, name, expected.shape, each.gates)
        allowed = np.full(expected.shape, each.tolerance)
        found.append(Compared(name, got, expected, allowed, _matrix(name, expected), verdict, wrong > 0, places, "column"))
    return found


def _places(name: str, shape: tuple[int, ...], gates: tuple[str, ...], indices: Any) -> list[str]:
    return [describe(name, index, shape, gates) for index in indices]


def _matrix(name: str, array: np.ndarray) -> Matrix:
    """Layers' arrays have their gates i f g o along the last axis."""
    if "layers[" in name and name.rpartition(".")[2] in ("w_x", "w_h", "b") and array.shape[-1] % len(lstm.GATES) == 0:
        gates = np.repeat(np.arange(len(lstm.GATES)), array.shape[-1] // len(lstm.GATES))
        return of_weight(np.broadcast_to(gates, array.shape))
    return of_other(array.shape)
