"""Balls, which are intervals with a rigorous radius, and power series in ε of them; to float64 and back.

Everything here is python-flint's `arb_series` with two terms, value + derivative · ε + O(ε²). python-flint is an optional
dependency (``pip install 'lstm-check[certified]'``), so nothing imports it before it is needed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from lstm import BadInput

TERMS = 2  # of every series: the value and the coefficient of ε


class UndecidedError(ArithmeticError):
    """A ball lies on both sides of a kink, so which branch the function takes is not known at this precision."""


def flint() -> Any:
    """The module, or one line that says what to install."""
    try:
        import flint
    except ImportError:
        raise BadInput("certified: expected python-flint to be installed, as by pip install 'lstm-check[certified]'; got none") from None
    return flint


@contextlib.contextmanager
def precision_of(bits: int) -> Iterator[None]:
    """Series of two terms in arithmetic of so many bits, and afterwards what it was before: flint's settings are global."""
    context = flint().ctx
    before = context.prec, context.cap
    context.prec, context.cap = bits, TERMS
    try:
        yield
    finally:
        context.prec, context.cap = before


def constant(number: Any) -> Any:
    """A float taken as the exact number that it is."""
    module = flint()
    return module.arb_series([module.arb(float(number))])


def variable(number: Any) -> Any:
    """number + ε."""
    module = flint()
    return module.arb_series([module.arb(float(number)), module.arb(1)])


def is_certainly_above(ball: Any, bound: Any) -> bool:
    """ball > bound? Raises `UndecidedError` where the ball holds numbers on either side, or touches the bound."""
    if ball > bound:
        return True
    if ball < bound:
        return False
    raise UndecidedError


def middle_and_radius(ball: Any) -> tuple[Fraction, Fraction]:
    """Of a finite ball, exactly, whatever flint's precision is now."""
    return _fraction(ball.mid()), _fraction(ball.rad())


def _fraction(ball: Any) -> Fraction:
    mantissa, exponent = (int(part) for part in ball.man_exp())
    return Fraction(mantissa) * Fraction(2) ** exponent


def nearest_float(number: Fraction) -> float:
    """The float64 nearest to it, subnormal numbers included; ±inf beyond the largest."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)


def float_above(number: Fraction) -> float:
    """A float64 that is no less than a nonnegative number, and barely more."""
    return 0.0 if number == 0 else math.nextafter(nearest_float(number), math.inf)


def is_tight(ball: Any, relative_bits: int) -> bool:
    """Is the radius at most 2^-relative_bits of the midpoint, and the midpoint's float64 that of every number in the ball?"""
    if not ball.is_finite():
        return False
    middle, radius = middle_and_radius(ball)
    return radius <= abs(middle) / 2**relative_bits and nearest_float(middle - radius) == nearest_float(middle + radius)
