"""What a check of some entries says about all: the wrong ones that it would have missed, and with what probability.

n of P entries are drawn at random without replacement, and each agrees with its difference. If w of the P were wrong by more
than is visible, then none of them was drawn, which has the probability C(P - w, n) / C(P, n). An error is visible in an entry that is
drawn if it exceeds twice the difference's own error estimate: once for the difference, and once for the comparison that allows it.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from checks.arguments import described
from checks.estimate import Estimate, flatten
from lstm import BadInput


@dataclasses.dataclass(frozen=True)
class Guarantee:
    """Of a sample in which nothing wrong was found.

    Attributes:
        of: P, how many entries there are.
        sampled: n, how many were drawn.
        visible: the size of error that shows in every entry drawn, absolute.
    """

    of: int
    sampled: int
    visible: float

    def missed(self, wrong: int) -> float:
        """The probability that the sample holds none of so many wrong entries."""
        if not 0 <= wrong <= self.of:
            raise BadInput(f"wrong: expected an integer from 0 to P = {self.of}; got {described(wrong)}")
        if wrong > self.of - self.sampled:
            return 0.0
        rest = self.of - wrong
        return math.exp(_log_choose(rest, self.sampled) - _log_choose(self.of, self.sampled))

    def excluded(self, probability: float = 0.01) -> int:
        """The least number of wrong entries that would have been missed with at most this probability."""
        if not 0 < probability < 1:
            raise BadInput(f"probability: expected a number between 0 and 1; got {described(probability)}")
        few, many = 0, self.of
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if self.missed(middle) <= probability else (middle, many)
        return many

    def __str__(self) -> str:
        wrong = self.excluded()
        if self.sampled == self.of:
            return f"Of a gradient that agrees in all {self.of:,} entries, none is wrong by more than {self.visible:.1e}."
        return (
            f"Had {wrong:,} of the {self.of:,} entries ({wrong / self.of:.1%}) been wrong by more than {self.visible:.1e}, the "
            f"{self.sampled:,} drawn at random would have held none of them with a probability of {self.missed(wrong):.1%}."
        )


def sample_guarantee(estimate: Estimate) -> Guarantee:
    """For an `Estimate` of `checks.exhaustive` with ``sample``, every drawn entry of which a gradient agreed with."""
    errors = flatten(estimate.error_estimate)
    drawn = np.isfinite(errors)
    if not drawn.any():
        raise BadInput("estimate: expected one with an error estimate for the entries drawn; got none")
    return Guarantee(of=errors.size, sampled=int(drawn.sum()), visible=2 * float(errors[drawn].max()))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
