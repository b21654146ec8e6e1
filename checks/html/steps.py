"""Curves of error against step size, with the best step ringed and the two branches named."""

from __future__ import annotations

import math
from collections.abc import Sequence

from checks.pictures.curves import Chart, Series
from checks.pictures.scene import Scene
from checks.sweep import Curve

NUMBERS = {
    "full_sequence": 0, "per_timestep.paired": 1, "per_timestep.replayed": 2, "per_timestep.untied": 3, "per_timestep.frozen": 4,
    "per_timestep.shared": 5,
}  # fmt: skip
SHORT = {"full_sequence": "approach 1"}


def step_chart(title: str, curves: Sequence[Curve]) -> Scene:
    """One precision, one T."""
    series = [
        Series(
            _name(curve), curve.steps, curve.rms_error, NUMBERS[curve.name], ring=curve.best if curve.converges else None,
            titles=tuple(f"{_name(curve)}, step {x:.0e}: {y:.1e}" for x, y in zip(curve.steps, curve.rms_error, strict=True)),
        )
        for curve in curves
    ]  # fmt: skip
    says = "; ".join(_told(curve) for curve in curves) + "."
    corners = _branches(curves[0]) if curves[0].converges else ("", "")
    return Chart(title, says, "step size; ringed: the best", tuple(series), log_x=True, corners=corners).scene()


def _branches(curve: Curve) -> tuple[str, str]:
    return f"rounding, slope {_signed(curve.rounding_slope)}", f"truncation, slope {_signed(curve.truncation_slope)}"


def _name(curve: Curve) -> str:
    return SHORT.get(curve.name, curve.name.removeprefix("per_timestep."))


def _signed(slope: float) -> str:
    return f"{slope:+.1f}".replace("-", "−")


def _told(curve: Curve) -> str:
    slopes = {"rounding": curve.rounding_slope, "truncation": curve.truncation_slope}
    known = [f"{words} slope {_signed(slope)}" for words, slope in slopes.items() if not math.isnan(slope)]
    best = f"best at step {curve.steps[curve.best]:.0e}, error {curve.rms_error[curve.best]:.1e}"
    return f"{_name(curve)}: {', '.join([*known, best])}"
