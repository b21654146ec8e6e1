"""What pictures of a verdict are drawn from: every entry of what was compared, not the worst of them alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """By the name of what a gradient is of, in the candidate's shapes.

    Attributes:
        expected: the oracle's gradient.
        allowed: name -> what rounding may do to each entry, for a gradient that was given.
        gates: an index into `lstm.GATES` for each entry of a weight, -1 where there is none.
        places: (name, indices) -> each entry's place in words.
        internals: the oracle's gradients at the pre-activations, at h_t and at c_t; an `lstm.Internals` per level.
    """

    expected: Mapping[str, np.ndarray]
    allowed: Callable[[str], np.ndarray]
    gates: Mapping[str, np.ndarray]
    places: Callable[[str, Sequence[tuple[int, ...]]], list[str]]
    internals: tuple[Any, ...]
