"""The exact derivative, enclosed: every arithmetic error on the way is bounded, and nothing of the backward pass is used.

`checks.certified.forward` runs the forward pass in ball arithmetic on power series in ε, with one entry moved by ε. The
coefficient of ε in the cost *is* the derivative, and the ball around it holds the truth. The parameters and the data are taken
as the exact numbers that their floats are. Balls are Arb's: Johansson, IEEE Transactions on Computers 66 (2017).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from checks.arguments import described
from checks.certified.balls import UndecidedError, flint, float_above, is_tight, middle_and_radius, nearest_float, precision_of
from checks.problem import Cost, only_cost
from lstm import BadInput

FIRST_PRECISION = 96  # bits; enough for most entries, and as fast as fewer
RELATIVE_BITS = 60  # tight enough: a radius of 2^-60 of the midpoint


@dataclasses.dataclass(frozen=True, eq=False)
class Certified:
    """Enclosures of n entries of a gradient, and of the cost.

    Each truth lies within ``radius`` of ``value + remainder``, the sum taken exactly.

    Attributes:
        entries: (leaf name, index) of each.
        positions: (n,) of the entries in ``problem.flat``.
        value: (n,) float64: the midpoint rounded; where ``tight``, the float64 nearest to the truth. NaN where nothing
            could be enclosed, which is on a kink.
        remainder: (n,) what the rounding to ``value`` left of the midpoint, itself rounded; hardly 2^-106 of it is lost.
        radius: (n,) rigorous, rounded up, that loss included. 0 for a derivative known exactly; inf where value is NaN.
        tight: (n,) booleans: was the aim of `certified` reached? Else the ball is wide, but no less rigorous.
        precision: (n,) bits at which each was enclosed.
        balls: the enclosures themselves, flint's ``arb``.
        cost, cost_radius: the cost's own midpoint and radius.
        cost_ball: its ball.
    """

    entries: tuple[tuple[str, tuple[int, ...]], ...]
    positions: np.ndarray
    value: np.ndarray
    remainder: np.ndarray
    radius: np.ndarray
    tight: np.ndarray
    precision: np.ndarray
    balls: tuple[Any, ...]
    cost: float
    cost_radius: float
    cost_ball: Any

    def error_of(self, gradient: Any) -> np.ndarray:
        """(n,) gradient - truth, for a pytree like the parameters or its flat vector (P,); accurate far below an ulp."""
        leaves = [np.asarray(leaf, np.float64).ravel() for leaf in jax.tree.leaves(gradient)]
        return (np.concatenate(leaves)[self.positions] - self.value) - self.remainder


def certified(
    problem: Cost, *, entries: Any = "all", seed: int = 0, precision: int = FIRST_PRECISION, most: int = 4096
) -> Certified:
    """Enclose entries of the exact gradient of a problem made by `Problem.from_network`.

    About a millisecond an entry at T = 4, H = 3, and in proportion to the multiplications of a forward pass.

    Args:
        entries: "all"; a number of entries to draw at random; or a sequence of (leaf name, index), the names as in
            ``problem.leaf_names``.
        seed: of the draw.
        precision: bits to begin with. They are doubled, entry by entry, until the radius is below 2^-60 of the midpoint and
            the midpoint's float64 is the truth's.
        most: bits to end with. What is not tight by then is returned as it is: a derivative that is zero without being
            computed as zero, for one. Its radius is as rigorous as any.

    Clipping passed straight through does not matter here: what is enclosed is the derivative of the cost.

    Raises:
        BadInput: if the problem was not made by `from_network`, an entry is not there, or python-flint is not installed.
    """
    flint()
    positions = _positions(_of_network(problem), entries, seed)
    if not isinstance(precision, int) or not isinstance(most, int) or not 2 <= precision <= most:
        raise BadInput(f"precision, most: expected integers with 2 <= precision <= most; got {precision!r}, {most!r}")
    found = [_Enclosed(None, 0)] * len(positions)
    cost = _Enclosed(None, 0)
    left, bits = list(range(len(positions))), precision
    while left or not cost.tight:
        with precision_of(bits):
            cost, balls = _run(problem, bits, cost, positions[left])
        for entry, ball in zip(left, balls, strict=True):
            found[entry] = _Enclosed(ball, bits)
        left = [entry for entry in left if not found[entry].tight]
        if bits == most:
            break
        bits = min(2 * bits, most)
    return _result(problem, positions, found, cost)


@dataclasses.dataclass(frozen=True)
class _Enclosed:
    """A ball, or None where a kink was not decided; and the bits it took."""

    ball: Any
    bits: int

    @functools.cached_property
    def tight(self) -> bool:
        return self.ball is not None and is_tight(self.ball, RELATIVE_BITS)

    def numbers(self) -> tuple[float, float, float]:
        """value, remainder, radius: float64 of a ball however many bits its midpoint has."""
        if self.ball is None or not self.ball.is_finite():
            return math.nan, math.nan, math.inf
        middle, radius = middle_and_radius(self.ball)
        value = nearest_float(middle)
        if not math.isfinite(value):
            return value, 0.0, math.inf
        remainder = nearest_float(middle - Fraction(value))
        return value, remainder, float_above(abs(middle - Fraction(value) - Fraction(remainder)) + radius)


def _run(problem: Cost, bits: int, cost: _Enclosed, positions: np.ndarray) -> tuple[_Enclosed, list[Any]]:
    """At one precision: the cost's ball, unless it is tight already, and a ball or None for each entry."""
    from checks.certified.forward import Forward

    forward = Forward(problem)
    holders = [*forward.holders(), *(forward.data_holders() if len(problem.leaf_names) > _network_leaves(problem) else ())]
    assert len(holders) == problem.size
    if not cost.tight:
        cost = _Enclosed(_or_none(lambda: forward.cost()[0]), bits)
    return cost, [_or_none(lambda at=at: forward.derivative(holders[at], float(problem.flat[at]))) for at in positions]


def _or_none(compute: Any) -> Any:
    try:
        return compute()
    except UndecidedError:
        return None


def _network_leaves(problem: Cost) -> int:
    given = problem.parameters
    return len(jax.tree.leaves(getattr(given, "network", given)))


def _of_network(problem: Cost) -> Cost:
    if "targets" not in (only_cost(problem).origin or {}):
        raise BadInput("problem: expected one made by Problem.from_network, whose forward pass is known; got another cost")
    return problem


def _positions(problem: Cost, entries: Any, seed: int) -> np.ndarray:
    """Indices into ``problem.flat``."""
    if isinstance(entries, str) and entries == "all":
        return np.arange(problem.size)
    if isinstance(entries, (int, np.integer)) and not isinstance(entries, bool) and entries > 0:
        return np.sort(np.random.default_rng(seed).permutation(problem.size)[:entries])
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise BadInput(f'entries: expected "all", a number, or (leaf name, index) pairs; got {described(entries)}')
    leaves = dict(zip(problem.leaf_names, jax.tree.leaves(problem.parameters), strict=True))
    starts = dict(zip(leaves, np.cumsum([0, *(np.size(leaf) for leaf in leaves.values())]), strict=False))
    positions = []
    for entry in entries:
        name, index = entry if isinstance(entry, tuple) and len(entry) == 2 else (None, None)
        if name is None or name not in leaves:
            raise BadInput(f"entries: expected the name of one of {', '.join(leaves)}; got {entry!r}")
        try:
            positions.append(int(starts[name]) + int(np.ravel_multi_index(tuple(index or ()), np.shape(leaves[name]))))
        except (ValueError, TypeError):
            raise BadInput(f"entries: expected an index into {name}, of shape {np.shape(leaves[name])}; got {index!r}") from None
    return np.array(positions, int)


def _result(problem: Cost, positions: np.ndarray, found: list[_Enclosed], cost: _Enclosed) -> Certified:
    names, shapes = problem.leaf_names, [np.shape(leaf) for leaf in jax.tree.leaves(problem.parameters)]
    starts = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
    entries = []
    for position in positions:
        leaf = int(np.searchsorted(starts, position, side="right")) - 1
        index = np.unravel_index(int(position - starts[leaf]), shapes[leaf])
        entries.append((names[leaf], tuple(int(i) for i in index)))
    numbers = np.array([each.numbers() for each in found]).reshape(-1, 3)
    cost_value, _, cost_radius = cost.numbers()
    return Certified(
        entries=tuple(entries),
        positions=positions,
        value=numbers[:, 0],
        remainder=numbers[:, 1],
        radius=numbers[:, 2],
        tight=np.array([each.tight for each in found], bool),
        precision=np.array([each.bits for each in found], int),
        balls=tuple(each.ball for each in found),
        cost=cost_value,
        cost_radius=cost_radius,
        cost_ball=cost.ball,
    )  # fmt: skip
