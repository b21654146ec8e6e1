"""What pictures of a cross-validation are drawn from."""

from __future__ import annotations

import dataclasses
from typing import Any

from checks.problem import Cost
from checks.sweep import Curve


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """``gradients``: those under test, or None; ``reference``: the right ones; ``curves``: of a sweep of the step, if there was one."""

    problem: Cost
    gradients: Any
    reference: Any
    curves: tuple[Curve, ...] = ()
