"""The mutable backward pass in every variant of a layer: without bugs it is the derived one, and JAX's."""

from __future__ import annotations

import catalogue_probes as probes
import jax
import numpy as np
import pytest
from variant_probes import VARIANTS, case_of, oracle_case

import lstm
from checks.catalogue import Case, bugs_for, cell_variants, variants
from checks.catalogue.mutants import gradients
from checks.diagnosis.rounding import rounding_of
from checks.oracle.tolerance import RoundingModel

# Rounding of order 1e-15 of each array's largest entry, amplified by a few timesteps
CLOSE = 1e-12
QUICK = ("coupled, peepholes", "peepholes, projection, clip", "everything")  # which have every variant between them


def as_cost(found):
    if isinstance(found, lstm.CostGradients):
        return found
    return lstm.CostGradients(network=lstm.Network(found.layers), inputs=found.inputs, initial_state=found.initial_state)


def assert_close(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert np.abs(a - b).max() <= CLOSE * np.abs(b).max()


@pytest.mark.parametrize("variant", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in VARIANTS])
def test_equals_the_hand_written_gradient(variant):
    assert_close(as_cost(gradients(case_of(variant))), oracle_case(variant).hand_gradients()[0])


@pytest.mark.long
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_automatic_differentiation(variant):
    """Told to pass the clip straight through where the layer says so."""
    expected = RoundingModel(oracle_case(variant, seed=1), samples=1).true[2]
    assert_close(as_cost(gradients(case_of(variant, seed=1))), expected)


@pytest.fixture(scope="module", params=VARIANTS)
def planted(request):
    """-> allowed rounding of each array, the correct gradient, and each bug's gradient by name."""
    case = case_of(request.param, seed=2)
    return rounding_of(case), gradients(case), {bug.name: gradients(case, [bug]) for bug in bugs_for(case)}


def test_every_bug_changes_the_gradient_by_far_more_than_rounding(planted):
    assert probes.faint(planted) == {}


def test_no_two_bugs_have_the_same_gradient(planted):
    assert probes.alike(planted) == []


def test_every_bug_of_the_variants_and_no_other_kind_is_planted():
    """Each on some variant; and on a standard layer none."""
    reached = {bug.name for variant in VARIANTS for bug in bugs_for(case_of(variant))}
    own = {bug.name for bug in (*variants.BUGS, *cell_variants.BUGS)}
    assert own <= reached
    standard = case_of("peepholes", peepholes=False)
    assert not own & {bug.name for bug in bugs_for(standard)}
    assert not any(bug.kind(standard) for bug in (*variants.BUGS, *cell_variants.BUGS))


def test_what_all_else_is_right_says_is_true():
    case = case_of("peepholes, projection, clip", layers=1, bidirectional=False)
    correct = gradients(case)
    claims = [bug for bug in bugs_for(case) if "all else is right" in bug.effect]
    assert {bug.name for bug in claims} >= {"peepholes-use-new-c", "projection-gradient-uses-h", "only-last-step-in-projection"}
    for bug in claims:
        pairs = zip(jax.tree.leaves(gradients(case, [bug])), jax.tree.leaves(correct), strict=True)
        assert sum(bool((a != b).any()) for a, b in pairs) == 1, bug


def test_a_clip_that_never_cuts_leaves_its_derivative_nothing_to_get_wrong():
    wide = case_of("clip", clip=lstm.CellClip(1e3))
    names = {bug.name for bug in bugs_for(wide)}
    assert not {bug.name for bug in cell_variants.CLIP} & names
    assert cell_variants.CLIP[0].kind(wide)


@pytest.mark.long
def test_a_stack_of_different_variants_has_the_bugs_of_all(rng):
    """A standard layer, a coupled one with peepholes, and one with a projection and a clip; nothing is square."""

    def normal(*shape):
        return rng.normal(size=shape)

    layers = (
        lstm.Layer(w_x=normal(4, 20) / 2, w_h=normal(5, 20) / 2, b=normal(20)),
        lstm.Layer(w_x=normal(5, 18) / 2, w_h=normal(6, 18) / 2, b=normal(18), peepholes=normal(2, 6)),
        lstm.Layer(
            w_x=normal(6, 28) / 2, w_h=normal(3, 28) / 2, b=normal(28), projection=normal(7, 3), clip=lstm.CellClip(0.5, "straight_through")
        ),
    )
    inputs, d_outputs = normal(6, 3, 4), normal(6, 3, 3)
    case = Case.of_upstream(layers, inputs, d_outputs)
    _, _, residuals = lstm.forward(layers, inputs)
    assert_close(gradients(case), jax.tree.map(np.asarray, lstm.backward(layers, residuals, d_outputs)))
    allowed, correct = rounding_of(case), gradients(case)
    bugs = {bug.name: bug for bug in bugs_for(case)}
    own = {"peephole-missing-in-dc", "coupled-path-forgotten", "projection-gradient-upstream-only", "clip-not-straight-through"}
    assert own <= set(bugs)
    assert probes.faint((allowed, correct, {name: gradients(case, [bug]) for name, bug in bugs.items()})) == {}
