"""Probes that hide bugs: for each way of being special, the bugs of the catalogue that have no effect there, found by planting all.

Asserted as whole sets, so that what such a probe is good for is known too. Network gradients only, as most authors check them,
unless a test says otherwise. On the generic probe every bug shows, except those of other arrays (``ELSEWHERE``).
"""

from __future__ import annotations

import catalogue_probes as probes
import jax
import numpy as np
import pytest

from checks.catalogue import BUGS, bugs_for
from checks.catalogue.mutants import gradients
from lstm import State

SIZES = {"squared_error": (6, 3, 5, 4, 7), "linear": (6, 3, 4, 4, 0)}
GENERIC = {loss: probes.draw(41, loss, sizes=sizes) for loss, sizes in SIZES.items()}
ELSEWHERE = {"initial-gradients-swapped", "initial-gradients-one-step-late", "initial-gradients-zero"} | {
    f"inputs-miss-gate-{q}" for q in "ifgo"
}
INPUTS_WHERE_D_IS_H = {"inputs-matrix-transposed", "inputs-through-recurrent-weights"}
LENGTHS = {"padding-counted", "padding-in-mean", "mean-of-sequence-means"}
OVER_TIME = {
    "no-dh-carry", "no-dc-carry", "no-carries", "dc-carry-uses-f-of-wrong-step", "dc-carry-taken-too-early", "misplaced-parentheses",
    "misplaced-parentheses-in-o", "upstream-only-at-last-step", "upstream-reversed", "upstream-axes-mixed", "targets-one-step-late",
    "w-x-inputs-reversed", "w-x-axes-mixed", "gate-gradients-reversed", "bias-time-mean", "times-t", "times-1-over-t",
    "only-last-step-in-readout", *(f"only-{which}-step-in-{what}" for which in ("first", "last") for what in ("w-x", "w-h", "b", "all")),
    *(f"{kind}-{k}-steps" for kind in ("truncated-to", "detached-every") for k in range(2, 6)),
}  # fmt: skip
# With one step nothing flows from one step to another: carries may be anything
CARRIES = {"dc-carry-without-f", "dc-carry-uses-i", "recurrent-matrix-transposed", *(f"dh-misses-gate-{q}" for q in "ifgo")}
OVER_BATCH = {"bias-batch-mean", "bias-first-sequence-only", "times-b", "times-1-over-b", "upstream-axes-mixed", "w-x-axes-mixed"}


def weakened(loss, *, sizes=None, zero_state="", **changes):
    """The generic probe with other sizes, with some fields of the initial state zero, or with fields replaced."""
    probe = GENERIC[loss] if sizes is None else probes.draw(41, loss, sizes=sizes)
    return probe.but(initial_state=_without(probe.initial_state, zero_state), **changes)


def _without(states, fields):
    return tuple(State(h=s.h * ("h" not in fields), c=s.c * ("c" not in fields)) for s in states)


def effects(probe, generic):
    """bug -> does it change the network's gradient, does it change anything? For all that the generic probe can have."""
    case = probe.case
    correct, allowed = gradients(case), probes.rounding_of(probe)
    network = len(jax.tree.leaves(correct)) - 1 - 2 * len(case.layers)
    found = {}
    for bug in bugs_for(generic.case):
        if not bug.name.startswith(("clipped", "gate-gradients-clipped")):  # their limits are the generic gradient's own
            leaves = [jax.tree.leaves(tree) for tree in (gradients(case, [bug]), correct)]
            found[bug] = tuple(probes.excess(*(tree[:n] for tree in leaves), allowed[:n]) > 1 for n in (network, None))
    return found


def hidden(probe, loss):
    return {bug.name for bug, (seen, _) in effects(probe, GENERIC[loss]).items() if not seen}


ZERO_BIASES = jax.tree.map(lambda leaf: leaf if leaf.ndim == 2 else np.zeros_like(leaf), GENERIC["squared_error"].network)
CONSTANT = np.broadcast_to(GENERIC["squared_error"].inputs[:1], (6, 3, 5)).copy()
COST_PROBES = {
    "generic": ({}, set()),
    "T = 1": ({"sizes": (1, 3, 5, 4, 7)}, OVER_TIME | CARRIES | LENGTHS),
    "B = 1": ({"sizes": (6, 1, 5, 4, 7)}, OVER_BATCH | LENGTHS),
    "H = 1": ({"sizes": (6, 3, 5, 1, 7)}, {"recurrent-matrix-transposed", "w-h-transposed"}),
    "K = 1": ({"sizes": (6, 3, 5, 4, 1)}, {"times-k", "times-1-over-k"}),
    "zero h0": ({"zero_state": "h"}, {"w-h-misses-h0"}),
    "zero c0": ({"zero_state": "c"}, {"no-c0-in-forget-gate"}),
    "zero initial state": ({"zero_state": "hc"}, {"w-h-misses-h0", "no-c0-in-forget-gate"}),
    "no padding": ({"lengths": None}, LENGTHS),
    # Biases enter the backward pass through the gates only: zero ones hide bugs of a forward pass, none of these
    "zero biases": ({"network": ZERO_BIASES}, set()),
    "constant inputs, no padding": ({"inputs": CONSTANT, "lengths": None}, LENGTHS | {"w-x-inputs-reversed"}),
}


@pytest.mark.parametrize("kind", COST_PROBES)
def test_bugs_hidden_from_the_gradient_of_a_cost(kind):
    changes, expected = COST_PROBES[kind]
    assert hidden(weakened("squared_error", **changes), "squared_error") == expected | ELSEWHERE


D_OUTPUTS, D_FINAL = GENERIC["linear"].targets
NO_FINAL = _without(D_FINAL, "hc")
FINAL = {"d-h-n-ignored", "d-c-n-ignored", "final-gradients-swapped", "final-gradient-lost-in-padding"}
AT_LAST_STEP = D_OUTPUTS * (np.arange(6) == 5)[:, None, None]
UPSTREAM_PROBES = {
    "generic": ({}, set()),
    "no gradient on the final state": ({"targets": (D_OUTPUTS, NO_FINAL)}, FINAL),
    "only on h_n": ({"targets": (D_OUTPUTS, _without(D_FINAL, "c"))}, {"d-c-n-ignored"}),
    "all ones": (
        {"targets": (np.ones_like(D_OUTPUTS), NO_FINAL), "lengths": None},
        FINAL | {"upstream-reversed", "upstream-axes-mixed", "padding-counted"},
    ),
    "all ones, on the final state as well": (
        {"targets": (np.ones_like(D_OUTPUTS), tuple(State(h=np.ones_like(s.h), c=np.ones_like(s.c)) for s in D_FINAL)), "lengths": None},
        {"upstream-reversed", "upstream-axes-mixed", "final-gradients-swapped", "final-gradient-lost-in-padding", "padding-counted"},
    ),
    "at the last step only": (
        {"targets": (AT_LAST_STEP, NO_FINAL), "lengths": None}, FINAL | {"upstream-only-at-last-step", "padding-counted"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UPSTREAM_PROBES)
def test_bugs_hidden_from_the_gradient_of_upstream_gradients(kind):
    changes, expected = UPSTREAM_PROBES[kind]
    assert hidden(weakened("linear", **changes), "linear") == expected | ELSEWHERE | INPUTS_WHERE_D_IS_H


def test_as_many_inputs_as_units_hides_no_bug_but_lets_more_in():
    """D = H: shapes no longer tell the two weights, or a matrix and its transpose, apart."""
    square = probes.draw(41, "squared_error", sizes=(6, 3, 4, 4, 7))
    generic = GENERIC["squared_error"]
    assert {bug.name for bug in BUGS if bug.applies(square.case) and not bug.applies(generic.case)} == {
        "dh-through-input-weights", "w-h-uses-x", "w-x-and-w-h-swapped", "inputs-matrix-transposed", "inputs-through-recurrent-weights",
    }  # fmt: skip
    assert {bug.name for bug, (_, any_effect) in effects(square, square).items() if not any_effect} == set()


# Where values, not sizes or zeros, hide a bug, `applies` cannot know
BY_VALUE = {"w-x-inputs-reversed", "upstream-reversed", "upstream-axes-mixed", "upstream-only-at-last-step", "final-gradients-swapped"}


@pytest.mark.parametrize(
    ("loss", "kind"), [("squared_error", kind) for kind in COST_PROBES] + [("linear", kind) for kind in UPSTREAM_PROBES]
)
def test_applies_says_exactly_where_a_bug_has_an_effect(loss, kind):
    """On any array at all. The exception: a carry never assigned is the bug of no carries where d_h_n and d_c_n are zero."""
    changes, _ = (COST_PROBES if loss == "squared_error" else UPSTREAM_PROBES)[kind]
    probe = weakened(loss, **changes)
    case = probe.case
    wrong = {
        bug.name: (bug.applies(case), any_effect)
        for bug, (_, any_effect) in effects(probe, GENERIC[loss]).items()
        if bug.applies(case) != any_effect and bug.name != "carries-never-assigned"
    }
    assert set(wrong) <= BY_VALUE
    assert all(result == (True, False) for result in wrong.values())
