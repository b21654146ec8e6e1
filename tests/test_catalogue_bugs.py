"""Every bug of the catalogue, planted alone on generic probes, changes the gradient, and differently from every other."""

from __future__ import annotations

import catalogue_probes as probes
import jax
import numpy as np
import pytest

from checks.catalogue import BUGS, bugs_for, named
from checks.catalogue.mutants import gradients
from checks.catalogue.recurrence import truncated
from checks.catalogue.weights import permuted
from checks.estimate import flatten

GENERIC = {  # T, B, D, H, K and the count of timesteps all differ, except where a bug needs D = H
    "cross_entropy": {"sizes": (7, 3, 5, 4, 6)},
    "squared_error": {"sizes": (8, 4, 3, 5, 6), "layers": 2},
    "linear": {"sizes": (6, 3, 4, 4, 0)},
}


@pytest.fixture(scope="module", params=[(loss, seed) for loss in GENERIC for seed in (0, 1)], ids=lambda p: f"{p[0]}-{p[1]}")
def planted(request):
    """-> allowed rounding of each array, the correct gradient, and each bug's gradient by name."""
    loss, seed = request.param
    probe = probes.draw(seed, loss, **GENERIC[loss])
    case = probe.case
    return probes.rounding_of(probe), gradients(case), {bug.name: gradients(case, [bug]) for bug in bugs_for(case)}


def test_every_bug_changes_the_gradient_by_far_more_than_rounding(planted):
    assert probes.faint(planted) == {}


def test_no_two_bugs_have_the_same_gradient(planted):
    assert probes.alike(planted) == []


def test_the_probes_cover_the_whole_catalogue():
    """As far as standard layers can have it."""
    cases = [probes.draw(0, loss, **options).case for loss, options in GENERIC.items()]
    reached = {bug.name for case in cases for bug in bugs_for(case)}
    assert {bug.name for bug in BUGS if bug.kind(cases[0])} - reached == set()


def test_what_all_else_is_right_says_is_true():
    """A bug whose effect says that all else is right changes one array."""
    case = probes.draw(0).case
    correct = gradients(case)
    claims = [bug for bug in bugs_for(case) if "all else is right" in bug.effect]
    assert len(claims) > 5
    for bug in claims:
        pairs = zip(jax.tree.leaves(gradients(case, [bug])), jax.tree.leaves(correct), strict=True)
        assert sum(bool((a != b).any()) for a, b in pairs) == 1, bug


def test_dropping_both_carries_is_truncation_to_one_step():
    """The documented synonym, which is why truncation starts from 2 steps."""
    for loss in GENERIC:
        probe = probes.draw(2, loss, **GENERIC[loss])
        case = probe.case
        both = gradients(case, [truncated(1)]), gradients(case, [named("no-carries", case)])
        assert probes.excess(*both, probes.rounding_of(probe)) <= 1


def test_a_carry_never_assigned_is_no_carry_where_the_final_state_has_no_gradient():
    probe = probes.draw(2, "squared_error")
    case = probe.case
    never = next(bug for bug in BUGS if bug.name == "carries-never-assigned")
    assert not never.applies(case)
    allowed = [0.0] * len(jax.tree.leaves(gradients(case)))
    assert probes.excess(gradients(case, [never]), gradients(case, [named("no-carries", case)]), allowed) == 0


def test_bugs_at_different_places_act_together():
    """Each of the two still shows: undoing the one that is exactly undone leaves the other."""
    probe = probes.draw(3)
    case = probe.case
    one, other = named("w-h-uses-new-h", case), named("bias-doubled", case)
    alone, together = gradients(case, [one]), gradients(case, [one, other])
    assert np.array_equal(together.network.layers[0].w_h, alone.network.layers[0].w_h)
    assert np.array_equal(together.network.layers[0].b, 2 * alone.network.layers[0].b)


def test_bugs_at_the_same_place_act_one_after_the_other():
    probe = probes.draw(3)
    case = probe.case
    half, permutation, back = named("times-half", case), permuted("fgoi"), permuted("oifg")
    exactly = [0.0] * len(jax.tree.leaves(gradients(case)))
    assert probes.excess(gradients(case, [permutation, back]), gradients(case), exactly) == 0
    # Halving is exact in binary floating point
    halved = gradients(case, [named("no-dc-carry", case), half])
    assert probes.excess(halved, jax.tree.map(lambda leaf: leaf / 2, gradients(case, [named("no-dc-carry", case)])), exactly) == 0


def test_two_bugs_change_more_than_one():
    """Random pairs on a generic probe: the pair's gradient is that of neither alone, unless the later one hides the earlier."""
    probe = probes.draw(4)
    case = probe.case
    allowed = probes.rounding_of(probe)
    bugs = [bug for bug in bugs_for(case) if "gradients" not in bug.modifies]
    generator = np.random.default_rng(0)
    for _ in range(200):
        first, second = generator.choice(len(bugs), 2, replace=False)
        pair = [bugs[first], bugs[second]]
        if set(pair[0].modifies) & set(pair[1].modifies):
            continue
        alone = [probes.excess(gradients(case, pair), gradients(case, [bug]), allowed) for bug in pair]
        assert max(alone) > probes.FAR_ABOVE_ROUNDING, pair


def test_gradients_without_bugs_are_left_alone():
    """Planting a bug changes nothing that a later pass over the same case sees."""
    case = probes.draw(6, "linear", sizes=(6, 3, 4, 4, 0)).case
    before = flatten(gradients(case)).copy()
    for bug in bugs_for(case):
        gradients(case, [bug])
    assert np.array_equal(flatten(gradients(case)), before)
