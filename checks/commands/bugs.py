"""``lstm-check bugs``: every bug of the catalogue against every estimator and the frameworks' own checkers, computed live.

One random network on which every bug shows. Each estimate is computed once; then each bug's gradient is compared with it, and is
caught where it differs by more than the estimate's own error and what rounding allows.
"""

from __future__ import annotations

import dataclasses
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from checks.autodiff import autodiff
from checks.catalogue import FAMILIES, Bug, Case, bugs_for
from checks.catalogue.bug import always
from checks.catalogue.mutants import gradients
from checks.commands.bugs_networks import VARIANTS, random_cost, random_upstream
from checks.commands.bugs_peers import peers
from checks.complex_step import complex_step
from checks.diagnosis.rounding import rounding_of
from checks.estimate import Estimate, Status, flatten
from checks.full_sequence import full_sequence
from checks.per_timestep import READINGS, per_timestep
from checks.problem import Cost, Problem
from checks.report import WIDTH
from checks.verdict import Verdict

FROM_HERE = 2.0  # seconds, from which on progress is shown
NOT_GRADIENTS = ("per_timestep.frozen", "per_timestep.shared")
SHORT = {
    "full_sequence": "full", "autodiff": "auto", "complex_step": "cplx", "per_timestep.paired": "pair", "per_timestep.replayed": "repl",
    "per_timestep.untied": "unti", "per_timestep.frozen": "froz", "per_timestep.shared": "shar", "torch gradcheck": "tor",
    "jax check_grads": "jax",
}  # fmt: skip
LEGEND = (
    "A number: caught, its error being 10 to that power times what the estimate's own error and rounding allow. x: caught, size not told. "
    "MISS: not caught. ok: accepted, as it should be. -: does not apply there. A family of bugs is one line, of the least caught "
    "member, with their number in parentheses. full: full_sequence, approach 1; auto: autodiff; cplx: complex_step; the five readings "
    "of approach 2: paired, replayed, untied, frozen, shared; tor: torch.autograd.gradcheck; jax: jax.test_util.check_grads, both "
    "as installed, with their own defaults. froz and shar are not the gradient: they reject the correct one too, and frozen accepts "
    "truncation to one step, which is what it estimates."
)

CORRECT = "(none: correct)"


@dataclasses.dataclass(frozen=True)
class Cell:
    """One gradient against one estimator. ``excess``: its error in units of what is allowed; NaN where the checker does not tell."""

    caught: bool
    excess: float

    def __str__(self) -> str:
        if not self.caught:
            return "MISS"
        return "x" if not np.isfinite(self.excess) else f"{max(0, int(np.log10(max(self.excess, 1)))):d}"


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    equation: str
    cells: dict[str, Cell]
    family: str = ""  # of bugs that differ in a parameter

    def shown(self, column: str) -> str:
        if column not in self.cells:
            return "-"
        return "ok" if self.name == CORRECT and not self.cells[column].caught else str(self.cells[column])


@dataclasses.dataclass(frozen=True)
class BugMatrix:
    """``print(matrix)`` shows it; its verdict is whether every estimator of the gradient caught all bugs and took the correct one."""

    seed: int
    sizes: dict[str, int]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    seconds: float

    def sound(self) -> list[str]:
        """The columns that estimate the gradient, the frameworks' checkers apart, which this program does not answer for."""
        return [name for name in self.columns if name not in NOT_GRADIENTS and " " not in name]

    @property
    def verdict(self) -> Verdict:
        cells = [(row.name == CORRECT, row.cells[name].caught) for row in self.rows for name in self.sound() if name in row.cells]
        return Verdict.AGREES if all(caught != correct for correct, caught in cells) else Verdict.DISAGREES

    def missed(self, column: str) -> list[str]:
        return [row.name for row in self.rows if row.name != CORRECT and column in row.cells and not row.cells[column].caught]

    def to_json(self) -> dict[str, Any]:
        def cells(row: Row) -> dict[str, Any]:
            told = {name: cell.excess if np.isfinite(cell.excess) else None for name, cell in row.cells.items()}
            return {name: {"caught": cell.caught, "in_tolerances": told[name]} for name, cell in row.cells.items()}

        rows = [{"name": row.name, "title": row.title, "equation": row.equation, "checkers": cells(row)} for row in self.rows]
        missed = {name: self.missed(name) for name in self.columns}
        network = {"seed": self.seed, **self.sizes}
        return {"verdict": self.verdict.value, "network": network, "checkers": list(self.columns), "bugs": rows, "missed": missed}

    def __str__(self) -> str:
        width = WIDTH - 5 * len(self.columns) - 1
        header = f"{'bug':<{width}}" + "".join(f"{SHORT[name]:>5}" for name in self.columns)
        lines = [header, "-" * len(header)]
        for row in folded(self.rows):
            name = row.name if len(row.name) < width else f"{row.name[: width - 2]}…"
            lines.append(f"{name:<{width}}" + "".join(f"{row.shown(column):>5}" for column in self.columns))
        sizes = ", ".join(f"{key} = {value}" for key, value in self.sizes.items())
        others = "Bugs that this network cannot have are planted in other random ones, on which three estimators are run."
        subject = textwrap.fill(f"One random network, {sizes}, float64, seed {self.seed}. {others}", WIDTH)
        return "\n\n".join([self._headline(), subject, "\n".join(lines), textwrap.fill(LEGEND, WIDTH)])

    def _headline(self) -> str:
        bugs = len(self.rows) - 1
        said = "all are caught by every estimator of the gradient that can be run on them"
        if self.verdict is not Verdict.AGREES:
            said = "an estimator missed one, or rejected the correct gradient"
        peers_missed = [f"{name} misses {len(self.missed(name))}" for name in self.columns if " " in name]
        others = f" Of the frameworks' checkers, {' and '.join(peers_missed)}." if peers_missed else ""
        return textwrap.fill(f"{self.verdict.value.upper()}: {bugs} bugs planted, {said}.{others}", WIDTH)


def folded(rows: Sequence[Row]) -> list[Row]:
    """Families as one row each, with the least caught member's cells."""
    result: list[Row] = []
    for family in dict.fromkeys(row.family or row.name for row in rows):
        members = [row for row in rows if (row.family or row.name) == family]
        cells = {
            column: min((row.cells[column] for row in members if column in row.cells), key=lambda cell: (cell.caught, cell.excess))
            for column in members[0].cells
        }
        name = family if len(members) == 1 else f"{family} ({len(members)})"
        result.append(dataclasses.replace(members[0], name=members[0].name if len(members) == 1 else name, cells=cells))
    return result


class _Progress:
    """A line on stderr for each estimator, once the whole takes long."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def __call__(self, what: str) -> None:
        if time.monotonic() - self.start > FROM_HERE:
            print(f"lstm-check bugs: {what} …", file=sys.stderr, flush=True)


def bugs(seed: int = 0) -> BugMatrix:
    """Plant every bug on a random cost; those that need a gradient on the final state on random upstream gradients; and those
    that only a variant of the layer can have on random costs of such layers.
    """
    progress = _Progress()
    case, problem = random_cost(seed)
    columns: dict[str, Any] = {name: estimate for name, estimate in _estimators(problem, progress)}
    checkers = peers(case, problem)
    rows = _rows(case, problem, columns, checkers, [None, *bugs_for(case)], progress)
    whole: dict[str, Callable[[Cost], Estimate]] = {"full_sequence": full_sequence, "autodiff": autodiff, "complex_step": complex_step}
    others = [random_upstream(seed), *(random_cost(seed, **variant) for variant in VARIANTS)]
    for number, (other, other_problem) in enumerate(others, 1):
        progress(f"network {number + 1} of {len(others) + 1}")
        seen = {row.name for row in rows}
        left = [bug for bug in bugs_for(other) if bug.name not in seen and not _is_member_of_any_network(bug)]
        estimates = {name: estimator(other_problem) for name, estimator in whole.items()}
        rows += _rows(other, other_problem, estimates, {}, left, progress)
    return BugMatrix(seed, case.sizes, (*columns, *checkers), tuple(rows), time.monotonic() - progress.start)


def _is_member_of_any_network(bug: Bug) -> bool:
    """Of a family with members in the first network too: other ones here, such as the limit of a clipping, tell nothing new."""
    return bool(bug.parameters) and bug.kind is always


def _estimators(problem: Cost, progress: Callable[[str], None]) -> list[tuple[str, Estimate]]:
    found = []
    for name, estimator in (("full_sequence", full_sequence), ("autodiff", autodiff), ("complex_step", complex_step)):
        progress(name)
        found.append((name, estimator(problem)))
    for reading in sorted(READINGS, key=lambda reading: f"per_timestep.{reading}" in NOT_GRADIENTS):
        progress(f"per_timestep.{reading}")
        assert isinstance(problem, Problem)
        found.append((f"per_timestep.{reading}", per_timestep(problem, reading)))
    return found


def _rows(
    case: Case, problem: Cost, estimates: dict[str, Estimate], checkers: dict[str, Any], planted: Sequence[Bug | None], progress: Any
) -> list[Row]:
    """A row for each bug; None stands for the correct gradient."""
    leaves = jax.tree.leaves(problem.parameters)
    rounding = np.concatenate([np.full(np.size(leaf), room) for leaf, room in zip(leaves, rounding_of(case), strict=True)])
    families = {bug.name: family.name for family in FAMILIES for bug in family.members(case)}
    rows = []
    for number, bug in enumerate(planted):
        if number % 40 == 0:
            progress(f"bug {number} of {len(planted)}")
        gradient = flatten(gradients(case, [] if bug is None else [bug]))
        cells = {name: _cell(gradient, estimate, rounding) for name, estimate in estimates.items()}
        for name, accepts in checkers.items():
            accepted, excess = accepts(gradient)
            cells[name] = Cell(not accepted, excess)
        about = (CORRECT, "the correct gradient", "") if bug is None else (bug.name, bug.title, bug.equation)
        rows.append(Row(*about, cells, "" if bug is None else families.get(bug.name, "")))
    return rows


def _cell(gradient: np.ndarray, estimate: Estimate, rounding: np.ndarray) -> Cell:
    """What an estimate makes no claim of is allowed rounding alone. The frozen reading says nothing of initial states."""
    assert estimate.status is Status.COMPUTED, estimate.status.value
    allowed = np.nan_to_num(flatten(estimate.error_estimate)) + rounding
    off = np.abs(gradient - flatten(estimate.value)) / allowed
    if estimate.name == "per_timestep.frozen":
        states = jax.tree.map(lambda leaf: np.zeros(np.shape(leaf)), estimate.value)
        states = dataclasses.replace(states, initial_state=jax.tree.map(np.ones_like, states.initial_state))
        off = off[flatten(states) == 0]
    return Cell(bool(off.max() > 1), float(off.max()))
