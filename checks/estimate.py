"""What every estimator returns: a value, how far off it may be, what it cost, how it went."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import jax
import numpy as np

from checks.problem import Cost


class Status(enum.Enum):
    """How an estimate went; the value is the message."""

    COMPUTED = "computed"
    NON_FINITE = "holds NaN or infinity: the cost or its derivative overflows here"
    STEP_VANISHED = "the step vanishes: some parameter plus the step rounds to the parameter itself"


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimated gradient.

    Attributes:
        name: of the estimator, as reports print it.
        value: pytree like the parameters, NumPy leaves.
        error_estimate: pytree like ``value``: how far off, at most, the estimator believes each entry to be,
            *as an estimate of what it computes*. NaN means "no claim".
        cell_steps: timesteps of the network evaluated, a whole batch counting as one.
        states_held: recurrent states that one pass keeps at a time.
        status: see `Status`.
    """

    name: str
    value: Any
    error_estimate: Any
    cell_steps: int
    states_held: int
    status: Status

    @staticmethod
    def from_flat(
        name: str, problem: Cost, value: Any, error: Any, *, cell_steps: int, states_held: int, status: Status = Status.COMPUTED
    ) -> Estimate:
        """From flat vectors in the order of ``problem.flat``; ``error=None`` claims nothing."""
        value = np.asarray(value)
        error = np.full(value.shape, np.nan) if error is None else np.asarray(error)
        if status is Status.COMPUTED and not np.isfinite(value).all():
            status = Status.NON_FINITE
        return Estimate(name, problem.unflatten(value), problem.unflatten(error), int(cell_steps), int(states_held), status)


def flatten(tree: Any) -> np.ndarray:
    """A pytree of arrays as one vector, leaf after leaf."""
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])


def max_relative_error(value: Any, reference: Any) -> float:
    """The largest difference between two gradients, in units of the reference's largest entry."""
    value, reference = flatten(value), flatten(reference).astype(np.float64)
    difference = np.abs(value.astype(np.float64) - reference).max()
    return float(difference / np.maximum(np.abs(reference).max(), np.finfo(np.float64).tiny))
