"""What `lstm-check verify` says: the verdict first, then where and how far off, and what was not checked."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from typing import Any

import numpy as np

from checks.diagnosis.examination import Examination
from checks.files.candidate import Candidate
from checks.oracle.confirmation import Confirmation
from checks.report import WIDTH
from checks.verdict import Verdict
from checks.verify.compare import Judgement
from checks.verify.evidence import Evidence
from checks.verify.forward_report import forward_lines, listed, numbers
from lstm.levels import directions

NAME_WIDTH = 34
SHOWN_PLACES = 12  # sections about single arrays; the table has them all


@dataclasses.dataclass(frozen=True)
class VerifyReport:
    """``print(report)`` shows it; ``report.verdict`` decides."""

    name: str
    candidate: Candidate
    confirmation: Confirmation
    forward: tuple[Judgement, ...]
    guesses: tuple[str, ...]
    parameters: tuple[Judgement, ...]
    examination: Examination | None = None
    examined: bool = True  # False where that would have taken long and was not asked for
    evidence: Evidence | None = None  # for pictures

    @property
    def verdict(self) -> Verdict:
        if not self.confirmation.confirmed:
            return Verdict.INCONCLUSIVE
        return Verdict.of_all(each.verdict for each in (*self.forward, *self.parameters))

    @property
    def forward_verdict(self) -> Verdict | None:
        return Verdict.of_all(each.verdict for each in self.forward) if self.forward else None

    @property
    def judged(self) -> tuple[Judgement, ...]:
        """The gradients that were judged: none of them where the forward pass is another function."""
        return () if self.forward_verdict is Verdict.DISAGREES else self.parameters

    @property
    def not_given(self) -> list[str]:
        """What there is a gradient of, of which none was in the file."""
        return [name for name in self.candidate.differentiable if name not in self.candidate.gradients]

    def to_json(self) -> dict[str, Any]:
        forward = {
            "verdict": None if self.forward_verdict is None else self.forward_verdict.value,
            "would_match": list(self.guesses),
            "results": [each.to_json() for each in self.forward],
        }
        with np.errstate(over="ignore", invalid="ignore"):
            found = {"diagnosis": []} if self.examination is None else self.examination.to_json()
        return _finite(
            {
                "verdict": self.verdict.value,
                "file": self.name,
                "layout": self.candidate.reading.layout.name,
                "network": self.sizes(),
                "forward": forward,
                "parameters": [each.to_json() for each in self.parameters],
                "checked": [each.name for each in self.judged],
                "not_given": self.not_given,
                "oracle": self.confirmation.to_json(),
            }
            | found
        )

    def sizes(self) -> dict[str, Any]:
        case = self.candidate.case
        timesteps, batch, features = case.inputs.shape
        top = directions(case.layers[-1])
        layer = top[0].layer
        sizes = {"T": timesteps, "B": batch, "D": features, "H": layer.hidden_size}
        if layer.projection is not None:
            sizes["R"] = layer.recurrent_size
        return sizes | {"layers": len(case.layers), "directions": len(top)}

    def __str__(self) -> str:
        parts = [self.headline(), self.subject(), self._forward_paragraph()]
        if self.judged:
            found = [self.not_examined()] if not self.examined else []
            if self.examination is not None:
                with np.errstate(over="ignore", invalid="ignore"):  # a gradient may be 1e300, and its square explains nothing
                    found = self.examination.sections()
            parts += [self._table(), *found, *self._places()]
        parts += [_filled(f"Oracle: {self.confirmation.sentence}"), self._ledger()]
        return "\n\n".join(parts)

    def not_examined(self) -> str:
        wrong = any(each.verdict is Verdict.DISAGREES for each in self.parameters)
        cause = ", and which of them explains what is wrong" if wrong else ""
        return _filled(
            f"Probe: in a network as large as this one it takes minutes to say which bugs would show{cause}; --diagnose does. "
            "A small network's file says the same of the same code in seconds."
        )

    def headline(self) -> str:
        return _filled(f"{self.verdict.value.upper()}: {self._summary()}")

    def _summary(self) -> str:
        if not self.confirmation.confirmed:
            return "there is no confirmed gradient to compare with, see below."
        if self.forward_verdict is Verdict.DISAGREES:
            wrong = ", ".join(each.name for each in self.forward if each.verdict is Verdict.DISAGREES)
            because = f"; your {wrong} are those {self.guesses[0]}" if self.guesses else ""
            agreeing = {each.name for each in self.forward if each.verdict is Verdict.AGREES}
            if "outputs" in agreeing and not self.guesses:
                return f"outputs agree but {wrong} not, so no gradient was judged."
            return f"the forward pass is another function ({wrong} differ), so no gradient was judged{because}."
        wrong_ones = [each for each in self.parameters if each.verdict is Verdict.DISAGREES]
        if wrong_ones:
            names = [f"{each.name}{_wrong_gates(each)}" for each in wrong_ones[:3]]
            names += [f"{len(wrong_ones) - 3} more"] if len(wrong_ones) > 3 else []
            count = f"{len(wrong_ones)} of {len(self.parameters)} gradients {'is' if len(wrong_ones) == 1 else 'are'} wrong"
            worst = max(wrong_ones, key=lambda each: each.in_tolerances)
            return f"{count}: {listed(names)}; worst at {worst.place}."
        unsure = [each.name for each in (*self.forward, *self.parameters) if each.verdict is Verdict.INCONCLUSIVE]
        if unsure:
            return f"no error found, but nothing can be said of {', '.join(unsure)}: rounding drowns it."
        if not self.parameters:
            return "the forward pass is this network's; no gradient was given."
        return f"all {len(self.parameters)} gradients given are right." if len(self.parameters) > 1 else "the gradient given is right."

    def subject(self) -> str:
        case = self.candidate.case
        sizes = ", ".join(f"{key} = {value}" for key, value in self.sizes().items())
        if case.is_cost:
            of = f"{case.loss}, {case.reduction}{'' if case.readout is None else ', with a readout'}"
        else:
            of = "of the upstream gradients given"
        precisions = sorted({each.precision for each in (*self.forward, *self.parameters)})
        return _filled(
            f"{self.name}, layout {self.candidate.reading.layout.name}: {sizes}; {of}; judged as {' and '.join(precisions)}. "
            "Errors are in units of the array's largest entry, and of what rounding allows."
        )

    def _forward_paragraph(self) -> str:
        return "\n".join(_filled(line) for line in forward_lines(self))

    def _table(self) -> str:
        width = min(NAME_WIDTH, max(len(name) for name in ["gradient of", *(each.name for each in self.parameters)]) + 2)
        lines = [f"{'gradient of':<{width}}{'verdict':<14}{'largest':>9}{'allowed':>11}  {'gates':<12}".rstrip()]
        lines += [f"{'':<{width}}{'':<14}{'error':>9}{'(units)':>11}", "-" * (width + 46)]
        for each in self.parameters:
            verdict = each.verdict.value.upper() if each.verdict is Verdict.DISAGREES else each.verdict.value
            name = each.name if len(each.name) < width else each.name[: width - 2] + "…"
            lines.append(
                f"{name:<{width}}{verdict:<14}{each.max_relative_error:>9.1e}{each.in_tolerances:>11.2g}  {_gates(each)}".rstrip()
            )
        return "\n".join(lines)

    def _places(self) -> list[str]:
        """For each array that does not agree: where, in which gates."""
        sections = []
        for each in self.parameters:
            if each.verdict is Verdict.AGREES:
                continue
            lines = [f"{each.name}: {each.reason}." if not each.wrong else f"{each.name}: {each.wrong} of {each.size} entries differ."]
            for block in each.blocks or (each,):
                if block.verdict is Verdict.DISAGREES or (each.wrong and not each.blocks):
                    share = "" if block is each else f"gate {block.name}, {block.wrong} of {block.size} entries; "
                    lines.append(_filled(f"{share}worst at {block.place}: {numbers(block)}", "  "))
            sections.append("\n".join([_filled(lines[0]), *lines[1:]]))
        hidden = len(sections) - SHOWN_PLACES
        return sections[:SHOWN_PLACES] + ([f"… and {hidden} more arrays in the table."] if hidden > 0 else [])

    def _ledger(self) -> str:
        """Which gradients were checked, and which that exist were not."""
        missing, checked = self.not_given, [each.name for each in self.judged]
        if len(checked) < len(self.parameters):
            text = "Checked: the forward pass only; a gradient is worth comparing once that agrees."
        elif not missing:
            text = f"Checked: all {len(checked)} gradients that there are."
        else:
            text = f"Checked: {f'the gradients of {listed(checked)}' if checked else 'no gradient'}."
        if missing:
            text += f" Not given, so not checked: {listed(missing)}."
        if self.candidate.internals:
            text += f" Compared, but part of no verdict: {len(self.candidate.internals)} gradients inside the network."
        return _filled(text)


def _wrong_gates(each: Judgement) -> str:
    """`` (gate f)``, `` (gates i and o)``; nothing if all are, or there are none."""
    wrong = [block.name for block in each.blocks if block.verdict is Verdict.DISAGREES]
    if not wrong or len(wrong) == len(each.blocks):
        return ""
    return f" (gate{'s' if len(wrong) > 1 else ''} {listed(wrong)})"


def _gates(each: Judgement) -> str:
    """i f g o, with what each gate's block is: right, wrong or drowned by rounding."""
    marks = {Verdict.AGREES: "", Verdict.DISAGREES: "!", Verdict.INCONCLUSIVE: "?"}
    return " ".join(block.name + marks[block.verdict] for block in each.blocks)


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + ("  " if indent else ""),
        break_long_words=True, break_on_hyphens=False,
    )  # fmt: skip


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
