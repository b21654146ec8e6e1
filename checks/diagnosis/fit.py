"""Which mistake, or which two, give exactly this wrong gradient?

Tried in the order of simplicity: one bug of the catalogue; one mistake in single arrays; one bug in a single layer or
direction; then two mistakes. Whatever makes the
candidate's numbers, to rounding and in every array given, is named; if several do, all of them are, since nothing that
was given tells them apart. If none does, nothing is named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from checks.catalogue import BUGS, Bug
from checks.catalogue.cost import clipped_in_loop, largest_gate_gradient, scaled, temperature
from checks.diagnosis.cause import Cause, Hypothesis
from checks.diagnosis.fitted import Afterwards, Make, searched
from checks.diagnosis.generic import cause_of, explanations, factors_of, in_words
from checks.diagnosis.observation import Observation
from checks.diagnosis.pairs import pairs
from checks.diagnosis.planted import Planted

# An error of a few tolerances may be rounding that was underestimated, and many a bug would fit it
LEAST_EXCESS = 30.0
# 10^-9: how likely chance alone may make an error of this size in these entries fit, over the thousands of hypotheses tried
LEAST_EVIDENCE = 9.0
SIGN_FLIPPED = next(bug for bug in BUGS if bug.name == "sign-flipped")
MOST_LAYERS = 6
NEAR, SHOWN_NEAR = 0.5, 3  # near misses: the share of the error that they explain at least, and how many are listed


@dataclasses.dataclass(frozen=True)
class Explained:
    """A hypothesis and the share of the error that it explains."""

    causes: tuple[Cause, ...]
    share: float

    @property
    def name(self) -> str:
        return " + ".join(sorted(cause.name for cause in self.causes))


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What came of trying.

    Attributes:
        claims: that fit to rounding, equally well and equally simple; empty if nothing does, or if fitting proves nothing.
        near: the best of those that do not fit, best first.
        tried: how many bugs were planted, 0 where the network is one that bugs cannot be planted in.
        pairs_tried: how many pairs of them.
        withheld: why nothing is claimed, though something may fit; empty otherwise.
    """

    claims: tuple[Explained, ...]
    near: tuple[Explained, ...]
    tried: int
    pairs_tried: int
    withheld: str = ""


def fit(observation: Observation, planted: Planted | None, sizes: Mapping[str, int]) -> Fitted:
    """Explain the candidate's error. ``sizes``: as `Case.sizes`; ``planted``: None where bugs cannot be planted."""
    with np.errstate(all="ignore"):  # a wrong gradient may be huge; what overflows fits nothing
        return _Fit(observation, planted, sizes).result()


class _Fit:
    def __init__(self, observation: Observation, planted: Planted | None, sizes: Mapping[str, int]):
        self.observation, self.planted = observation, planted
        self.factors = factors_of(sizes)
        self.afterwards = Afterwards(observation)
        self.bugs: list[Bug] = []
        self.vectors: list[np.ndarray] = []
        self.pairs_tried = 0

    def result(self) -> Fitted:
        withheld = self._inconclusive()
        if withheld:
            return Fitted((), (), 0, 0, withheld)
        self._plant_all()
        for level in (self._one_bug, self._one_array_kind, self._one_layer, self._two):
            found = level()
            if found:
                claims = {each.name: Explained(each.causes, 1.0) for each in found}
                return Fitted(tuple(claims.values()), (), len(self.bugs), self.pairs_tried)
        return Fitted((), self._near(), len(self.bugs), self.pairs_tried)

    def _inconclusive(self) -> str:
        """Why a fit would prove nothing; empty if it would."""
        excess = self.observation.excess
        if not self.observation.wrong.any():
            return "no entry is wrong"
        if excess.max() < LEAST_EXCESS:
            return f"the error is {excess.max():.2g} times what rounding may do; a name is given from {LEAST_EXCESS:.0f} times on"
        return ""

    def _plant(self, bugs: Sequence[Bug]) -> np.ndarray | None:
        arrays = None if self.planted is None else self.planted.arrays(bugs)
        return None if arrays is None else self.observation.vector(arrays)

    def _plant_all(self) -> None:
        if self.planted is None:
            return
        for bug in self.planted.bugs:
            vector = self._plant((bug,))
            if vector is not None:
                self.bugs.append(bug)
                self.vectors.append(vector)

    def _conclusive(self, vector: np.ndarray) -> bool:
        """Would an error of this size hardly ever fit by chance? Only entries that the hypothesis changes count."""
        o = self.observation
        counted = o.wrong & (np.abs(vector - o.expected) > o.allowed)
        return float(np.log10(np.maximum(o.excess[counted], 1)).sum()) >= min(LEAST_EVIDENCE, 3 * counted.sum())

    def _one_bug(self) -> list[Hypothesis]:
        o = self.observation
        found = [Hypothesis((Cause.of_bug(bug),), v) for bug, v in zip(self.bugs, self.vectors, strict=True) if o.fits(v)]
        if not found:
            found = list(self.afterwards.of(o.expected))
        if not found and self.planted is not None:
            case = self.planted.case
            ranges: list[tuple[Make, float, float]] = []
            if case.is_cost and case.loss == "cross_entropy" and case.sizes["K"] > 1:
                ranges.append((temperature, 0.02, 50.0))
            largest = largest_gate_gradient(case)
            ranges += [(clipped_in_loop, largest * 1e-3, largest)] if largest > 0 else []
            found = [each for each in searched(o, self._plant, ranges) if o.fits(each.vector)]
        return [each for each in found if self._conclusive(each.vector)]

    def _one_array_kind(self) -> list[Hypothesis]:
        return self._of_arrays(1)

    def _one_layer(self) -> list[Hypothesis]:
        """A bug in one layer or direction only. Not tried beyond a number of layers where that would take long."""
        if self.planted is None or len(self.planted.case.layers) > MOST_LAYERS:
            return []
        vectors = ((bug, self._plant((bug,))) for bug in self.planted.in_one_layer)
        found = [Hypothesis((Cause.of_bug(bug),), v) for bug, v in vectors if v is not None and self.observation.fits(v)]
        return [each for each in found if self._conclusive(each.vector)]

    def _of_arrays(self, count: int) -> list[Hypothesis]:
        o = self.observation
        sets = [kinds for kinds in explanations(o, self.factors) if len(kinds) == count]
        return [Hypothesis(tuple(cause_of(kind, o, self.factors, kinds) for kind in kinds), o.got) for kinds in sets]

    def _two(self) -> list[Hypothesis]:
        found = self._of_arrays(2) + self._bug_and_more()
        if self.planted is not None:
            fitting, self.pairs_tried = pairs(self.observation, self.planted, self.bugs, self.vectors)
            found += [each for each in fitting if self._conclusive(each.vector)]
        # "the bias is doubled" and "2 times, in the array of the biases" are one mistake: the catalogue's words say more
        known = [each for each in found if not any(cause.name.startswith("array-") for cause in each.causes)]
        return known or found

    def _bug_and_more(self) -> list[Hypothesis]:
        """A bug of the catalogue, then a factor on some arrays, clipping or weight decay."""
        found = []
        for bug, vector in zip(self.bugs, self.vectors, strict=True):
            cause = Cause.of_bug(bug)
            for more in (*self.afterwards.of(vector), *self._scaled(vector)):
                if self._conclusive(more.vector):
                    found.append(Hypothesis((cause, *more.causes), more.vector))
        return found

    def _scaled(self, vector: np.ndarray) -> list[Hypothesis]:
        """One factor on all arrays in which the bug alone does not make the candidate."""
        o = self.observation
        room = o.room(vector)
        off = {name: bool((np.abs(o.got - vector)[where] > room[where]).any()) for name, where in o.slices.items()}
        wrong = np.concatenate([np.full(where.stop - where.start, off[name]) for name, where in o.slices.items()])
        size = float(((vector / o.allowed)[wrong] ** 2).sum())
        if size == 0:
            return []
        scale = float(((vector * o.got / o.allowed**2)[wrong]).sum()) / size
        found = []
        for name, value in self.factors.items():
            if abs(scale / value - 1) < 0.1:
                scaled = np.where(wrong, value * vector, vector)
                if o.fits(scaled):
                    found.append(Hypothesis((_factor_cause(name, value, [n for n in o.names if off[n]], o.names),), scaled))
        return found

    def _near(self) -> tuple[Explained, ...]:
        o = self.observation
        shares = [(o.explained(vector), bug) for bug, vector in zip(self.bugs, self.vectors, strict=True)]
        best = sorted((pair for pair in shares if pair[0] >= NEAR), key=lambda pair: -pair[0])[:SHOWN_NEAR]
        return tuple(Explained((Cause.of_bug(bug),), share) for share, bug in best)


def _factor_cause(name: str, value: float, arrays: list[str], of: tuple[str, ...]) -> Cause:
    """In the catalogue's own words where the factor is on every array."""
    if len(arrays) == len(of):
        return Cause.of_bug(SIGN_FLIPPED if value == -1 else scaled(name))
    return Cause(
        f"array-times-{name}", f"{', '.join(arrays)}: {in_words(name, value)} times what it should be", "(7)",
        "right direction, wrong length", "Match the loss: a mean divides by the number of timesteps that count, once; a sum does not.",
    )  # fmt: skip
