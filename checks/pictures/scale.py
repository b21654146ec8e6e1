"""Which colour an error has. Beyond rounding the classes are the decades below the largest error of all that is shown.

Fixed ones would say little: a mistake in float64 is off by 10¹² times what rounding allows wherever it reaches, and it is the
decades below its largest effect that point at its place.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from checks.pictures.curves import power_of_ten
from checks.pictures.palette import BEYOND, UNKNOWN, WITHIN


@dataclasses.dataclass(frozen=True)
class Scale:
    """``top``: the power of ten at or above the largest finite error, in units of what rounding allows; 0 if none is beyond."""

    top: int

    @staticmethod
    def of(units: Iterable[np.ndarray]) -> Scale:
        largest = max((float(one[np.isfinite(one)].max(initial=0)) for one in units), default=0.0)
        return Scale(math.ceil(math.log10(largest)) if largest > 1 else 0)

    @property
    def limits(self) -> list[tuple[float, int]]:
        """(up to and including, class) in increasing order; above the last, the darkest class."""
        beyond = [(10.0 ** (self.top - k), WITHIN + BEYOND - 1 - k) for k in range(BEYOND - 1, -1, -1) if self.top - k > 0]
        return [(0.1, 0), (1.0, 1), *beyond]

    @property
    def words(self) -> list[tuple[int, str]]:
        """Of the legend, by class."""
        within = [(0, "≤ 0.1"), (1, "≤ 1: rounding")]
        beyond = [(number, f"≤ {power_of_ten(round(math.log10(limit)))}") for limit, number in self.limits[2:]]
        return within + (beyond or [(UNKNOWN - 1, "beyond")])

    def classes(self, units: np.ndarray) -> np.ndarray:
        """The class of each error: NaN is unknown, infinity the darkest."""
        limits, numbers = zip(*self.limits, strict=True)
        found = np.searchsorted(limits, np.nan_to_num(units, nan=0.0, posinf=np.inf), side="left")
        return np.where(np.isnan(units), UNKNOWN, np.array([*numbers, UNKNOWN - 1])[found])
