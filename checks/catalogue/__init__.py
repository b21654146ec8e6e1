"""The bug catalogue: mistakes that people really make in a hand-written LSTM backward pass, each ready to be planted.

They were found in public code, issues and question threads. `checks.catalogue.mutants.gradients(case, [bug])` is the gradient that a
backward pass with the bug computes.
"""

from __future__ import annotations

from checks.catalogue import cell, cell_variants, cost, recurrence, upstream, variants, weights
from checks.catalogue.bug import Bug as Bug, Family as Family
from checks.catalogue.case import Case as Case
from checks.catalogue.cost import FACTORS as FACTORS
from lstm import BadInput

BUGS: tuple[Bug, ...] = (
    *recurrence.BUGS,
    *upstream.BUGS,
    *cell.BUGS,
    *weights.BUGS,
    *variants.BUGS,
    *cell_variants.BUGS,
    *cost.BUGS,
)
FAMILIES: tuple[Family, ...] = (
    *recurrence.FAMILIES,
    *cell.FAMILIES,
    *weights.FAMILIES,
    *variants.FAMILIES,
    *cost.FAMILIES,
)


def bugs_for(case: Case) -> tuple[Bug, ...]:
    """Every bug that this case can have, families with the members worth trying on it."""
    alone = [bug for bug in BUGS if bug.applies(case)]
    return (*alone, *(bug for family in FAMILIES for bug in family.members(case)))


def named(name: str, case: Case) -> Bug:
    """The bug of that name, among those that this case can have."""
    found = {bug.name: bug for bug in bugs_for(case)}
    if name not in found:
        raise BadInput(f"bug: expected one that this case can have, such as {', '.join(list(found)[:5])}; got {name!r}")
    return found[name]
