"""A `Report`: what was compared and what came of it, as text for a terminal and as JSON."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import Any

from checks.compare import Comparison
from checks.verdict import Verdict

WIDTH = 80


@dataclasses.dataclass(frozen=True)
class Row:
    """One way of getting the gradient, against the reference."""

    name: str
    max_relative_error: float
    cell_steps: int
    states_held: int
    verdict: Verdict
    expected_to_agree: bool
    says: str
    comparisons: tuple[Comparison, ...]

    @property
    def agrees(self) -> bool:
        return self.verdict is Verdict.AGREES

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "max_relative_error": self.max_relative_error,
            "cell_steps": self.cell_steps,
            "states_held": self.states_held,
            "agrees": self.agrees,
            "expected_to_agree": self.expected_to_agree,
            "says": self.says,
        }


@dataclasses.dataclass(frozen=True)
class Report:
    """The outcome of a cross-validation. ``print(report)`` shows it; ``report.verdict`` decides."""

    problem: dict[str, Any]
    rows: tuple[Row, ...]
    reference: str
    verdict: Verdict
    note: str = ""
    answer: str = ""
    evidence: Any = dataclasses.field(default=None, compare=False, repr=False)  # a `checks.evidence.Evidence`, for pictures

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def to_json(self) -> dict[str, Any]:
        return {
            "network": self.problem,
            "estimates": [row.to_json() for row in self.rows],
            "reference": self.reference,
            "note": self.note,
            "answer": self.answer,
            "verdict": self.verdict.value,
        }

    def __str__(self) -> str:
        parts = [self.headline(), self.subject(), self._table(), *self._disagreements()]
        if self.note:
            parts.append(textwrap.fill(f"Note: {self.note}", WIDTH))
        if self.answer:
            parts.append(self.answer)
        return "\n\n".join(parts)

    def headline(self) -> str:
        """The verdict, in one sentence that starts with it."""
        should = [row for row in self.rows if row.expected_to_agree]
        wrong = [row.name for row in should if row.verdict is Verdict.DISAGREES]
        unsure = [row.name for row in should if row.verdict is Verdict.INCONCLUSIVE]
        if wrong and self.verdict is Verdict.DISAGREES:
            text = f"not the gradient, though expected to be: {', '.join(wrong)}."
        elif unsure and not self.note.startswith("no reference"):
            text = f"the check cannot tell, noise being above signal or a value not finite: {', '.join(unsure)}."
        elif self.verdict is Verdict.INCONCLUSIVE:
            text = "there is no confirmed reference to compare with."
        else:
            text = f"all {len(should)} that should equal dC/dw do" if len(should) > 1 else f"{should[0].name} equals dC/dw"
            readings = [row for row in self.rows if row.name.startswith("per_timestep.")]
            differ = sum(not row.expected_to_agree and not row.agrees for row in readings)
            if differ:
                text += f"; {differ} reading{'s' if differ > 1 else ''} of approach 2 {'do' if differ > 1 else 'does'} not, as proved"
            text += "."
        return textwrap.fill(f"{self.verdict.value.upper()}: {text}", WIDTH)

    def subject(self) -> str:
        sizes = ", ".join(f"{key} = {value}" for key, value in self.problem.items() if not isinstance(value, str))
        words = ", ".join(value for value in self.problem.values() if isinstance(value, str))
        return textwrap.fill(f"{sizes}; {words}. Largest error: in units of the largest entry of {self.reference}.", WIDTH)

    def _table(self) -> str:
        lines = [f"{'estimate':<22}{'largest':>8}{'cell':>9}{'states':>7}  {'dC/dw?':<7}why"]
        lines.append(f"{'':<22}{'error':>8}{'steps':>9}{'held':>7}")
        lines.append("-" * WIDTH)
        for row in self.rows:
            lines.append(
                f"{row.name:<22}{row.max_relative_error:>8.1e}{_count(row.cell_steps):>9}{row.states_held:>7}  "
                f"{_is_gradient(row):<7}{row.says}"
            )
        return "\n".join(lines)

    def _disagreements(self) -> list[str]:
        """Where the rows that should agree do not: one line for each array that differs."""
        sections = []
        for row in self.rows:
            bad = [c for c in row.comparisons if c.verdict is not Verdict.AGREES]
            if row.expected_to_agree and bad:
                lines = [f"{row.name}:"] + [
                    textwrap.fill(f"{c.verdict.value}: {c}", WIDTH, initial_indent="  ", subsequent_indent="    ") for c in bad
                ]
                sections.append("\n".join(lines))
        return sections


def _count(number: int) -> str:
    """As many digits as the column holds."""
    return f"{number:,}" if number < 10**6 else f"{number:.2e}"


def _is_gradient(row: Row) -> str:
    if row.verdict is Verdict.INCONCLUSIVE:
        return "unsure"
    if row.agrees:
        return "yes" if row.expected_to_agree else "here"  # a reading that is not the gradient in general
    return "NO" if row.expected_to_agree else "no"
