"""The mutable backward pass without bugs is the correct one; and the catalogue as a list."""

from __future__ import annotations

import pathlib
import re

import catalogue_probes as probes
import jax
import numpy as np
import pytest
from variant_probes import VARIANTS, case_of

import lstm
from checks.catalogue import BUGS, FAMILIES, Case, bugs_for, named
from checks.catalogue.cost import clipped_by_norm, clipped_elementwise, clipped_in_loop
from checks.catalogue.mutants import gradients
from checks.catalogue.recurrence import truncated
from checks.catalogue.sites import TERMS
from checks.complex_step import complex_step
from checks.problem import Problem

DERIVATION = pathlib.Path(__file__).parents[1] / "docs" / "derivation.md"
COSTS = [  # loss, reduction, lengths, layers, (T, B, D, H, K)
    ("squared_error", "mean", True, 1, (7, 3, 5, 4, 6)),
    ("squared_error", "sum", False, 3, (7, 3, 5, 4, 6)),
    ("cross_entropy", "mean", False, 1, (4, 5, 2, 7, 3)),
    ("cross_entropy", "sum", True, 3, (4, 5, 2, 7, 3)),
    ("squared_error", "mean", False, 1, (1, 1, 1, 1, 1)),
]
UPSTREAM = [(True, 1, (7, 3, 5, 4, 0)), (False, 3, (4, 5, 2, 7, 0)), (True, 3, (7, 3, 5, 4, 0)), (False, 1, (1, 1, 1, 1, 0))]


@pytest.mark.parametrize(("loss", "reduction", "lengths", "layers", "sizes"), COSTS)
def test_equals_the_hand_written_gradient_of_a_cost(loss, reduction, lengths, layers, sizes):
    probe = probes.draw(sum(sizes), loss, sizes=sizes, layers=layers, lengths=lengths, reduction=reduction)
    options = {"loss": loss, "reduction": reduction, "initial_state": probe.initial_state, "lengths": probe.lengths}
    _, expected = lstm.loss_and_all_gradients(probe.network, probe.inputs, probe.targets, **options)
    _assert_equal_to_rounding(gradients(probe.case), expected, probe)


@pytest.mark.parametrize(("lengths", "layers", "sizes"), UPSTREAM)
def test_equals_the_hand_written_gradient_of_upstream_gradients(lengths, layers, sizes):
    probe = probes.draw(sum(sizes), "linear", sizes=sizes, layers=layers, lengths=lengths)
    _, _, residuals = lstm.forward(probe.network.layers, probe.inputs, probe.initial_state, lengths=probe.lengths)
    expected = lstm.backward(probe.network.layers, residuals, *probe.targets)
    _assert_equal_to_rounding(gradients(probe.case), expected, probe)


@pytest.mark.parametrize("loss", ["linear", pytest.param("cross_entropy", marks=pytest.mark.long)])
def test_equals_the_complex_step(loss):
    probe = probes.draw(5, loss, layers=2)
    problem = probe.problem
    assert probes.excess(gradients(probe.case), complex_step(problem).value, probes.tolerances(problem)) <= 1


@pytest.mark.parametrize("loss", ["cross_entropy", "linear"])
def test_the_tolerance_of_these_tests_sees_one_part_in_a_hundred_billion(loss):
    """Every array's largest entry, off by 1e-11 of itself, is beyond what rounding allows."""
    probe = probes.draw(5, loss, layers=2)
    correct, allowed = gradients(probe.case), probes.rounding_of(probe)
    leaves, structure = jax.tree.flatten(correct)
    for which, leaf in enumerate(leaves):
        off = leaf + 1e-11 * np.where(np.abs(leaf) == np.abs(leaf).max(), leaf, 0)
        assert probes.excess(jax.tree.unflatten(structure, [*leaves[:which], off, *leaves[which + 1 :]]), correct, allowed) > 1


def test_labels_are_one_hot_vectors_and_padding_may_hold_any_label(rng):
    probe = probes.draw(1)
    labels = rng.integers(0, 6, (7, 3))
    past_the_end = np.arange(7)[:, None] >= probe.lengths
    with_labels = probe.but(targets=np.where(past_the_end, -100, labels))
    vectors = probe.but(targets=np.eye(6)[labels])
    assert probes.excess(gradients(with_labels.case), gradients(vectors.case), _exactly(with_labels)) == 0


def test_padding_may_hold_nan():
    probe = probes.draw(1)
    past_the_end = (np.arange(7)[:, None] >= probe.lengths)[:, :, None]
    hostile = probe.but(inputs=np.where(past_the_end, np.nan, probe.inputs), targets=np.where(past_the_end, np.nan, probe.targets))
    assert probes.excess(gradients(hostile.case), gradients(probe.case), _exactly(probe)) == 0


def test_float32_data_is_computed_in_float64():
    probe = probes.draw(1)
    case = Case.of_problem(probe.problem.astype(np.float32))
    assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(gradients(case)))


@pytest.mark.parametrize("wrt", ["network", "all"])
def test_a_problem_made_from_a_network_is_a_case(wrt):
    probe = probes.draw(2, lengths=False)
    options = {"loss": probe.loss, "initial_state": probe.initial_state, "wrt": wrt}
    problem = Problem.from_network(probe.network, probe.inputs, probe.targets, **options)
    assert probes.excess(gradients(Case.of_problem(problem)), gradients(probe.case), _exactly(probe)) == 0


def test_another_recurrent_cost_is_not_a_case():
    with pytest.raises(lstm.BadInput, match=r"^problem: expected one made by Problem\.from_network; got another cost$"):
        Case.of_problem(probes.draw(3, "linear").problem)


def test_what_is_no_layer_is_refused():
    probe = probes.draw(3, "linear")
    with pytest.raises(lstm.BadInput, match=r"^layers\[1\]: expected an lstm\.Layer, Reversed or Bidirectional; got str$"):
        Case.of_upstream((probe.network.layers[0], "another"), probe.inputs)


def test_bugs_are_not_planted_where_there_are_masks():
    probe = probes.draw(3, lengths=False)
    masks = (lstm.Masks(recurrent=np.ones((7, 3, 4))),)
    problem = Problem.from_network(probe.network, probe.inputs, probe.targets, loss=probe.loss, masks=masks)
    with pytest.raises(lstm.BadInput, match=r"^problem: expected one without masks; got some, and bugs are not planted there$"):
        Case.of_problem(problem)


@pytest.mark.parametrize("loss", ["squared_error", "linear"])
def test_a_window_over_the_whole_sequence_truncates_nothing(loss):
    probe = probes.draw(4, loss, layers=2)
    case = probe.case
    assert not truncated(7).applies(case)
    assert probes.excess(gradients(case, [truncated(7)]), gradients(case), probes.rounding_of(probe)) <= 1


@pytest.fixture(scope="module")
def everything():
    """Every bug that some case can have, by name."""
    standard = [probes.draw(0).case, probes.draw(0, "squared_error").case, probes.draw(0, "linear", sizes=(7, 3, 4, 4, 0)).case]
    cases = [*(case_of(variant) for variant in VARIANTS), *standard]
    return {bug.name: bug for case in cases for bug in bugs_for(case)}


def test_every_bug_and_every_family_can_be_reached(everything):
    assert {bug.name for bug in BUGS} <= set(everything)
    cases = [probes.draw(0).case, case_of("peepholes, projection, clip")]
    assert all(any(family.members(case) for case in cases) for family in FAMILIES)


def test_names_are_unique_for_one_case():
    for loss in ("cross_entropy", "squared_error", "linear"):
        names = [bug.name for bug in bugs_for(probes.draw(0, loss, sizes=(7, 3, 4, 4, 6)).case)]
        assert len(set(names)) == len(names)


def test_every_bug_is_described(everything):
    numbers = set(re.findall(r"\*\*\((\d+)\)\*\*", DERIVATION.read_text(encoding="utf-8")))
    for bug in everything.values():
        assert bug.title, bug
        assert bug.effect, bug
        assert bug.fix.endswith("."), bug
        assert re.fullmatch(r"\((\d+)\)", bug.equation), bug
        assert bug.equation.strip("()") in numbers, bug


def test_every_place_in_the_backward_pass_has_a_bug(everything):
    assert {term for bug in everything.values() for term in bug.modifies} == set(TERMS)


@pytest.mark.parametrize("limit", [1e-7, 0.5, 3.0, 1e9])
def test_a_limit_of_any_size_makes_a_name(limit):
    assert all(float(make(limit).name.rsplit("-at-")[-1]) == limit for make in (clipped_elementwise, clipped_in_loop))


def test_clipping_above_the_gradient_changes_nothing():
    """Not even where the gradient is zero, as with one output under a softmax."""
    case = probes.draw(3, sizes=(4, 3, 5, 2, 1)).case
    assert probes.excess(gradients(case, [clipped_by_norm(1.0)]), gradients(case), [0.0] * len(jax.tree.leaves(gradients(case)))) == 0


def test_a_bug_is_found_by_its_name():
    case = probes.draw(0).case
    assert named("no-dh-carry", case).equation == "(9)"
    assert named("truncated-to-3-steps", case).parameters == {"steps": 3}
    with pytest.raises(lstm.BadInput, match=r"^bug: expected one that this case can have, such as no-dh-carry, .*; got 'typo'$"):
        named("typo", case)


def _assert_equal_to_rounding(got, expected, probe):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    assert probes.excess(got, expected, probes.rounding_of(probe)) <= 1


def _exactly(probe):
    """No difference at all is allowed."""
    return [0.0] * len(jax.tree.leaves(gradients(probe.case)))
