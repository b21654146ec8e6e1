"""``python -m benchmarks diagnosis``: how often the diagnosis names the right mistake, and how often a wrong one.

Three studies on random networks: every bug of the catalogue alone, random pairs of bugs, and random corruptions that are no known
mistake, for which any name is a false one. The study of pairs counts a pair as named only if its own two names are given; where the
pair's gradient is that of one bug alone, because the other hides behind it, the simpler name is right and counted apart.
"""

from __future__ import annotations

import collections
import json
import sys
import time
from typing import Any

import numpy as np

from benchmarks.diagnosis_cases import Probe, corrupted, random_probe, subset
from benchmarks.options import OneLineParser, json_path, publish

PER_PROBE = 25  # pairs, or corruptions, on one network: planting the catalogue is the cost
PROGRESS_SECONDS = 2.0


class Progress:
    """One line on stderr, rewritten, once the whole has taken more than two seconds."""

    def __init__(self, what: str, total: int):
        self.what, self.total, self.start, self.shown = what, total, time.monotonic(), 0.0

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if now - self.start > PROGRESS_SECONDS and now - self.shown > PROGRESS_SECONDS / 4 and sys.stderr.isatty():
            self.shown = now
            print(f"\r{self.what}: {done} of {self.total}", end="\n" if done >= self.total else "", file=sys.stderr, flush=True)


def single_bugs(rng: np.random.Generator, probes: int, dtype: str = "float64") -> dict[str, Any]:
    """Every bug that each random network can have, planted alone."""
    counts: collections.Counter[str] = collections.Counter()
    unnamed, progress = [], Progress("single bugs: networks", probes)
    for number in range(probes):
        probe = random_probe(rng, dtype)
        for bug in probe.planted.bugs:
            got = probe.planted.arrays((bug,))
            if got is None or not _differs(probe, got):
                counts["without effect"] += 1
                continue
            names = probe.subject.diagnose(_rounded(got, dtype), probe.right, probe.allowed).names
            counts["named" if bug.name in names else "another named" if names else "none named"] += 1
            counts["not told apart"] += bug.name in names and len(names) > 1
            if bug.name not in names:
                unnamed.append({"bug": bug.name, "said": names, "network": _sizes(probe)})
        progress(number + 1)
    return dict(counts) | {"unnamed": unnamed}


def random_pairs(rng: np.random.Generator, count: int) -> dict[str, Any]:
    counts: collections.Counter[str] = collections.Counter()
    unnamed, progress = [], Progress("pairs", count)
    probe = random_probe(rng)
    while sum(counts[key] for key in ("named", "simpler named", "another named", "none named")) < count:
        if sum(counts.values()) % PER_PROBE == 0:
            probe = random_probe(rng)
        chosen = rng.choice(len(probe.planted.bugs), 2, replace=False)
        pair = tuple(probe.planted.bugs[i] for i in chosen)
        got = probe.planted.arrays(pair)
        if got is None or not _differs(probe, got):
            counts["without effect"] += 1
            continue
        name = " + ".join(sorted(bug.name for bug in pair))
        names = probe.subject.diagnose(got, probe.right, probe.allowed).names
        single = any(" + " not in each for each in names)
        counts["named" if name in names else "simpler named" if single else "another named" if names else "none named"] += 1
        if name not in names:
            unnamed.append({"bugs": name, "said": names, "network": _sizes(probe)})
        progress(sum(counts.values()))
    return dict(counts) | {"unnamed": unnamed}


def corruptions(rng: np.random.Generator, count: int) -> dict[str, Any]:
    """Random corruptions; half of the time with some arrays left out, which makes it easier to be fooled."""
    by_kind: collections.Counter[str] = collections.Counter()
    named, progress = [], Progress("corruptions", count)
    probe = random_probe(rng)
    for number in range(count):
        if number % PER_PROBE == 0:
            probe = random_probe(rng)
        kind, where, got = corrupted(rng, probe.right, probe.subject.arrangement.gates)
        keep = subset(rng, list(got), where)
        given, right, allowed = ({name: arrays[name] for name in keep} for arrays in (got, probe.right, probe.allowed))
        names = probe.subject.diagnose(given, right, allowed).names
        by_kind[kind] += 1
        if names:
            named.append({"corruption": kind, "array": where, "given": len(keep), "said": names, "network": _sizes(probe)})
        progress(number + 1)
    return {"corruptions": count, "by kind": dict(by_kind), "falsely named": len(named), "false names": named}


def _differs(probe: Probe, got: dict[str, np.ndarray]) -> bool:
    """By enough for a name to be given at all?"""
    return any(bool((np.abs(got[name] - right) > 30 * probe.allowed[name]).any()) for name, right in probe.right.items())


def _rounded(arrays: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    return {name: array.astype(dtype).astype(np.float64) for name, array in arrays.items()}


def _sizes(probe: Probe) -> str:
    sizes = ", ".join(f"{key} = {value}" for key, value in probe.subject.sizes.items())
    return f"{sizes}, layers = {probe.options.layers}, loss {probe.options.loss}, seed {probe.options.seed}"


def table(report: dict[str, Any]) -> str:
    lines = []
    for study, result in report["studies"].items():
        numbers = {key: value for key, value in result.items() if isinstance(value, int)}
        lines += [f"{study} ({result['seconds']:.0f} s)", *(f"  {key:<20}{value:>7}" for key, value in numbers.items())]
        for one in (result.get("unnamed") or result.get("false names") or [])[:10]:
            lines.append("  ! " + json.dumps(one, default=list)[:74])
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = OneLineParser(prog="benchmarks diagnosis", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--networks", type=int, default=20, help="on which every bug is planted (default %(default)s)")
    parser.add_argument("--pairs", type=int, default=200, help="of bugs (default %(default)s)")
    parser.add_argument("--corruptions", type=int, default=1000, help="(default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=json_path, metavar="PATH", help="also write every figure as JSON; - for stdout")
    chosen = parser.parse_args(arguments)
    studies: dict[str, Any] = {}
    for name, study, size in (
        ("single bugs", single_bugs, chosen.networks), ("pairs of bugs", random_pairs, chosen.pairs),
        ("corruptions", corruptions, chosen.corruptions),
    ):  # fmt: skip
        start = time.monotonic()
        studies[name] = study(np.random.default_rng([chosen.seed, size]), size)
        studies[name]["seconds"] = time.monotonic() - start
    report = {"benchmark": "diagnosis", "seed": chosen.seed, "studies": studies}
    publish(json.loads(json.dumps(report, default=list)), table(report), chosen.json)
    false = studies["corruptions"]["falsely named"]
    missed = studies["single bugs"].get("none named", 0) + studies["single bugs"].get("another named", 0)
    return int(bool(false or missed))
