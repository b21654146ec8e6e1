"""The gradient that candidates are held against, and why it may be believed.

It is the hand-written backward pass of `lstm`, in float64, on the candidate's own numbers. It counts only once it is confirmed
on this very input by what sees the forward pass alone: autodiff in every entry, differences in a sample of entries or in all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import lstm
from checks.estimate import max_relative_error
from checks.oracle.case import OracleCase
from checks.oracle.confirmation import Confirmation, confirm, passes
from checks.oracle.tolerance import SAMPLES, RoundingModel

Tell = Callable[[int, int], None]


class _Passes:
    """Called after each pass; tells how many of how many there were."""

    def __init__(self, total: int, told: Tell | None):
        self.finished, self.total, self.told = 0, total, told
        if told is not None:
            told(0, total)

    def __call__(self, count: int = 1) -> None:
        self.finished += count
        if self.told is not None:
            self.told(self.finished, self.total)

    def end(self) -> None:
        """What was not needed after all counts as made."""
        if self.finished < self.total:
            self(self.total - self.finished)


class Oracle:
    """Everything known of one case.

    Attributes:
        case: what was asked.
        gradients: of everything that there is a gradient of.
        internals: the gradients inside, an `lstm.Internals` for each level.
        forward: outputs (T, B, R) and final states.
        confirmation: what came of asking others.
        model: what rounding may do to a correct implementation's results, in any precision.
    """

    def __init__(self, case: OracleCase, *, exhaustive: bool = False, seed: int = 0, progress: Tell | None = None):
        """``progress`` is told how many passes over the network of how many have been made; of exhaustive ones its own option tells."""
        self.case = case
        self._ran = _Passes(SAMPLES + 1 + passes(sum(map(np.size, jax.tree.leaves(case.parameters))), case.valid.size), progress)
        self.model = RoundingModel(case, seed=seed, ran=self._ran)
        self.gradients, self.internals = case.hand_gradients()
        self.forward = case.forward()
        self.confirmation = self._confirmed(exhaustive, seed)
        self._ran.end()

    def _confirmed(self, exhaustive: bool, seed: int) -> Confirmation:
        case, allowed = self.case, self.model.allowed(np.float64).gradients
        if case.straight_through:
            return self._confirmed_straight_through(allowed, seed)
        options: Any = {"rows": case.valid.size, "exhaustive": exhaustive, "seed": seed, "ran": self._ran}
        return confirm(case.parameters, case.data, self.gradients, allowed, **options)

    def _confirmed_straight_through(self, allowed: lstm.CostGradients, seed: int) -> Confirmation:
        """Such a gradient is not the forward pass's, so differences cannot see it; JAX can, told to pass it straight through."""
        by_autodiff = self.model.true[2]
        close = jax.tree.map(lambda a, b, room: bool((np.abs(a - b) <= 2 * room).all()), by_autodiff, self.gradients, allowed)
        error = max_relative_error(by_autodiff, self.gradients)
        note = (
            "a gradient passed straight through the clipping is not the derivative of the forward pass, so differences cannot "
            f"confirm it; this one is within {error:.0e} of JAX's, told to pass it straight through."
        )
        return Confirmation(all(jax.tree.leaves(close)), error, 0, 0, float("nan"), float("nan"), seed, note)
