"""A gradient compared with a reference, rounding allowed for."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from checks.compare import Comparison, compare, excess_of
from checks.problem import Cost
from checks.tolerance import gradient_and_magnitudes, largest_in_blocks, tolerance_of, tolerance_of_sums
from checks.verdict import Verdict

ROUNDED = 2  # the candidate's gradient and the reference, each in the same way


def within_rounding(
    problem: Cost, value: Any, reference: Any, *, error: Any = None, dtype: Any = None, rounded: int = ROUNDED
) -> list[Comparison]:
    """`checks.compare`, with the tolerance of `checks.tolerance` for ``rounded`` gradients.

    What the sums of products explain is tried first; how far all other roundings reach takes a program of its own to measure,
    and is asked only where something is left to explain, of those gates' blocks alone.

    Args:
        problem: whose gradient both are.
        value: the candidate's gradient, a pytree like the parameters; so is ``reference``.
        error: what else may separate them, a pytree like the parameters; NaN for "no claim". Default nothing.
        dtype: the candidate's precision; default the problem's.
    """
    magnitudes = gradient_and_magnitudes(problem)[1]
    dtype = dtype or problem.dtype
    errors = [0.0] * len(problem.leaf_names) if error is None else [np.nan_to_num(leaf) for leaf in jax.tree.leaves(error)]

    def allowed(rooms: list[np.ndarray]) -> list[np.ndarray]:
        return [e + rounded * room for e, room in zip(errors, rooms, strict=True)]

    sums = tolerance_of_sums(problem, magnitudes, dtype)
    comparisons = compare(problem, value, reference, allowed(sums))
    if Verdict.of_all(one.verdict for one in comparisons) is not Verdict.DISAGREES:
        return comparisons
    beyond = largest_in_blocks(problem, list(map(excess_of, jax.tree.leaves(value), jax.tree.leaves(reference), allowed(sums))))
    whole = tolerance_of(problem, magnitudes, dtype)
    # A block that the sums explain keeps their tolerance: the wider one is no evidence that the block itself is noise
    rooms = [np.where(excess > 1, wide, narrow) for excess, wide, narrow in zip(beyond, whole, sums, strict=True)]
    return compare(problem, value, reference, allowed(rooms))
