"""``python -m benchmarks study``: what `lstm-check verify` says of random gradients, correct ones and ones with a bug planted."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import options, study_cases, timing
from benchmarks.study_cases import DTYPES, STRUCTURES, Drawn, Structure
from checks.files.candidate_reading import understand
from checks.oracle import Oracle
from checks.progress import counted
from checks.verdict import Verdict
from checks.verify import verify_candidate

Row = dict[str, Any]
OVERFLOW = "not finite"


def judge(seed: int, number: int, planted: bool, structures: tuple[Structure, ...] = STRUCTURES) -> Row:
    """One case, drawn and verified as a file is."""
    drawn = study_cases.draw(seed, number, planted, structures)
    row = {
        "number": number,
        "planted": planted,
        "bug": drawn.bug,
        "structure": str(drawn.structure),
        "T": drawn.structure.options["timesteps"],
        "layout": drawn.structure.layout,
        "dtype": drawn.dtype,
        "regime": drawn.regime,
        "method": drawn.method,
    }
    if not all(np.isfinite(array.astype(np.float64)).all() for array in drawn.arrays.values()):
        # The candidate overflowed in its own precision: verify refuses the file, and names the array
        return row | {"verdict": OVERFLOW, "confirmed": True, "arrays": {}, "tolerances": None}
    candidate = understand(drawn.arrays, drawn.reading)
    oracle = Oracle(candidate.case, seed=number)
    report = verify_candidate(candidate, oracle)
    row |= {
        "verdict": report.verdict.value,
        "confirmed": oracle.confirmation.confirmed,
        "arrays": dict(Counter(each.verdict.value for each in report.parameters)),
        "tolerances": _finite(max(each.in_tolerances for each in report.parameters)),
    }
    if planted:
        row |= _effect(drawn, oracle, candidate)
        if report.verdict is Verdict.AGREES and report.examination is not None:  # then the report has to have said so
            row["said"] = report.examination.strength.hides(drawn.bug or "")
    return row


def _effect(drawn: Drawn, oracle: Oracle, candidate: Any) -> Row:
    """The bug's own effect on what was given, known exactly: in units of what is allowed, and of each array's largest entry."""
    allowed = oracle.model.allowed(DTYPES[drawn.dtype]).gradients
    given = [drawn.effect.network] + ([drawn.effect] if "inputs" in candidate.gradients else [])
    room = [allowed.network] + ([allowed] if "inputs" in candidate.gradients else [])
    truth = [oracle.gradients.network] + ([oracle.gradients] if "inputs" in candidate.gradients else [])
    tiny = np.finfo(np.float64).tiny
    with np.errstate(all="ignore"):
        trees = [jax.tree.leaves(tree) for tree in (given, room, truth)]
        over = max(float((np.abs(effect) / np.maximum(room, tiny)).max()) for effect, room, _ in zip(*trees, strict=True))
        relative = max(float(np.abs(effect).max() / max(np.abs(right).max(), tiny)) for effect, _, right in zip(*trees, strict=True))
    return {"effect_in_tolerances": _finite(over), "effect_relative": _finite(relative)}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def run(cases: int, seed: int, log: Path | None, seconds: float, structures: tuple[Structure, ...] = STRUCTURES) -> list[Row]:
    """``cases`` correct and as many wrong ones, alternating, or what fits the time. A log is appended to, and resumed."""
    rows = _logged(log, seed)
    done = {(row["number"], row["planted"]) for row in rows}
    left = [(number, planted) for number in range(cases) for planted in (False, True) if (number, planted) not in done]
    stream = None if log is None else log.open("a")
    end = time.monotonic() + seconds
    for number, planted in counted(left, "cases"):
        if time.monotonic() > end:
            break
        rows.append(judge(seed, number, planted, structures))
        if stream is not None:
            print(json.dumps({"seed": seed} | rows[-1]), file=stream, flush=True)
    if stream is not None:
        stream.close()
    return rows


def _logged(log: Path | None, seed: int) -> list[Row]:
    if log is None or not log.exists():
        return []
    return [row for line in log.read_text().splitlines() if (row := json.loads(line)).pop("seed") == seed]


def summary(rows: list[Row]) -> dict[str, Any]:
    """What the study is about, and what would refute it."""
    correct, wrong = ([row for row in rows if row["planted"] == planted] for planted in (False, True))
    accepted = [row for row in wrong if row["verdict"] == Verdict.AGREES.value]
    return {
        "correct": len(correct),
        "wrong": len(wrong),
        "correct_verdicts": dict(Counter(row["verdict"] for row in correct)),
        "wrong_verdicts": dict(Counter(row["verdict"] for row in wrong)),
        "refused": [row for row in correct if row["verdict"] == Verdict.DISAGREES.value],
        "unconfirmed": [row for row in rows if not row["confirmed"]],
        # A candidate's own rounding takes up to one tolerance, so a bug of up to two may hide behind it
        "missed": [row for row in accepted if row["effect_in_tolerances"] is None or row["effect_in_tolerances"] > 2],
        "accepted": _accepted(accepted),
        "bugs": len({row["bug"] for row in wrong}),
        "largest": {dtype: _largest(correct, dtype) for dtype in DTYPES},
    }


def _accepted(rows: list[Row]) -> dict[str, Any]:
    """By precision: how many bugs went unseen, how many of these had no effect at all, the largest effect on any array."""
    found = {}
    for dtype in DTYPES:
        effects = [row["effect_relative"] for row in rows if row["dtype"] == dtype]
        none = sum(effect == 0 for effect in effects)
        said = sum(bool(row.get("said")) for row in rows if row["dtype"] == dtype)
        found[dtype] = {"accepted": len(effects), "without_effect": none, "said": said, "largest_effect": max(effects, default=0.0)}
    return found


def _largest(rows: list[Row], dtype: str) -> float | None:
    values = [row["tolerances"] for row in rows if row["dtype"] == dtype and row["tolerances"] is not None]
    return max(values, default=None)


def table(report: dict[str, Any]) -> str:
    about, rows = report["summary"], report["rows"]
    verdicts = [*(verdict.value for verdict in (Verdict.AGREES, Verdict.INCONCLUSIVE, Verdict.DISAGREES)), OVERFLOW]
    lines = [f"{about['correct']} correct gradients, {about['wrong']} with one of {about['bugs']} bugs planted; seed {report['seed']}", ""]
    for key, title in (("dtype", "precision"), ("regime", "values"), ("layout", "layout"), ("method", "computed by")):
        lines.append(f"{title:<24s}" + "".join(f"{verdict:>15s}" for verdict in verdicts) + "   correct / wrong")
        for value in sorted({row[key] for row in rows}):
            lines.append(f"{value:<24s}" + "".join(f"{_count(rows, key, value, verdict):>15s}" for verdict in verdicts))
        lines.append("")
    for dtype, one in about["accepted"].items():
        effect = f"the largest effect is {one['largest_effect']:.0e} of an array's largest entry"
        counts = f"{one['said']} named by the report as unseen, {one['without_effect']} without any effect"
        lines.append(f"{dtype}: {one['accepted']} bugs accepted, {counts}; {effect}")
    lines.append(f"refused though correct: {len(about['refused'])}; accepted though visible: {len(about['missed'])}")
    lines.append(f"oracle not confirmed: {len(about['unconfirmed'])}")
    return "\n".join(lines)


def _count(rows: list[Row], key: str, value: str, verdict: str) -> str:
    found = Counter(row["planted"] for row in rows if row[key] == value and row["verdict"] == verdict)
    return f"{found[False]} / {found[True]}"


def main(arguments: Sequence[str]) -> int:
    parser = options.OneLineParser(prog="benchmarks study", description=__doc__ or "")
    parser.add_argument("--cases", type=options.positive, default=200, help="of each kind (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=options.seconds, default=float("inf"), help="stop after so long, whatever is done")
    parser.add_argument("--log", type=Path, metavar="PATH", help="a line of JSON for each case; what it holds already is not run again")
    parser.add_argument("--json", type=options.json_path, metavar="PATH", help="also write every figure as JSON; - for stdout")
    given = parser.parse_args(arguments)
    start = time.monotonic()
    rows = run(given.cases, given.seed, given.log, given.seconds)
    report = {"benchmark": "study", "machine": timing.machine(), "seed": given.seed, "summary": summary(rows), "rows": rows}
    report["seconds"] = time.monotonic() - start
    options.publish(report, table(report), given.json)
    about = report["summary"]
    return 1 if about["refused"] or about["missed"] else 0
