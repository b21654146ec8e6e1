"""Section 8 of docs/derivation.md, proved: the reverse passes of the variants, run on symbols.

Each probe is a small member of the family with SymPy's gradient of its cost. The hand-derived one is shown to be the same
function, and each fault planted in the reverse pass to make it another.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import pytest
import sympy as sp
from derivation_faults import REVERSE_FAULTS, planted
from derivation_members import (
    CutOff,
    RandomPoint,
    any_activations,
    clipping_by,
    decided_at,
    layer_of,
    masks_of,
    nudged_problem,
    stack_problem,
)
from derivation_symbols import SymbolicProblem, differences, running_on_objects, sympy_gradient, vanishes

from lstm import Activations, Bidirectional, CellClip, Reversed


class Probe(NamedTuple):
    problem: SymbolicProblem
    derivatives: list[Any]  # SymPy's
    every: int = 1  # one entry of so many is differentiated
    context: Callable[[], Any] = contextlib.nullcontext  # in which the reverse pass runs

    def difference(self) -> list[Any]:
        with any_activations(), self.context():
            return differences(self.problem, self.derivatives, self.every)


def probe(problem: SymbolicProblem, every: int = 1, **context: Any) -> Probe:
    return Probe(problem, sympy_gradient(problem, every), every, **context)


def with_everything(coupled: bool, timesteps: int, lengths: tuple[int, ...], sizes: Any = (1, 1, 1), **options: Any) -> SymbolicProblem:
    """Peepholes, projection and all four masks; ``sizes`` D, H, R."""
    layer = layer_of("l", *sizes, coupled=coupled, peepholes=True, **options)
    return stack_problem((layer,), timesteps, lengths, (masks_of(layer, timesteps, len(lengths)),))


def internals() -> Probe:
    layer = layer_of("l", 1, 1, 1, peepholes=True)
    problem = nudged_problem(layer, masks_of(layer, 2, 2), 2, (2, 1))
    no_nudge = {one: sp.Integer(0) for array in jax.tree.leaves(problem.variables) for one in array.flat}
    return Probe(problem, [one.xreplace(no_nudge) for one in sympy_gradient(problem)])


def straight_through() -> Probe:
    def context() -> Any:
        return clipping_by(lambda s: s + CutOff(s))

    with context():
        return probe(stack_problem((clipped_layer("straight_through"),), 2, (2,)), every=3, context=context)


def clipped_layer(derivative: str, **options: Any) -> Any:
    return layer_of("l", 1, peepholes=True, clip=CellClip(0.5, derivative), **options)


@functools.cache
def clipped(seed: int, derivative: str = "true") -> tuple[Probe, tuple[bool, ...]]:
    """In the region around a random point; and which region it is: is s_t above the bound, below it, for t = 1, 2?"""
    point = RandomPoint(seed)

    def context() -> Any:
        return decided_at(point)

    with context() as outcomes:  # with the standard activations, so that comparisons can be decided
        problem = stack_problem((clipped_layer(derivative, activations=Activations()),), 2, (2,))
    return probe(problem, every=3, context=context), tuple(outcomes)


PROBES: dict[str, Callable[[], Probe]] = {
    "peepholes": lambda: probe(with_everything(False, 2, (2, 1))),
    "coupled": lambda: probe(with_everything(True, 2, (2,))),
    "matrices": lambda: probe(with_everything(False, 1, (1,), (2, 2, 3)), every=3),
    "coupled standard activations": lambda: probe(with_everything(True, 1, (1,), (2, 2, 3), activations=Activations()), every=3),
    "internals": internals,
    "straight through": straight_through,
    "clipped": lambda: clipped(seed=3)[0],
    "directions": lambda: probe(stack_problem((Bidirectional(layer_of("f", 1), layer_of("r", 1, coupled=True)),), 3, (2, 1))),
    "layers": lambda: probe(stack_problem((Reversed(layer_of("r", 1, 1, 1)), layer_of("f", 1)), 3, (2,)), every=7),
}


@functools.cache
def probe_named(name: str) -> Probe:
    with any_activations():
        return PROBES[name]()


@pytest.mark.parametrize("name", PROBES)
def test_reverse_pass_is_the_derivative(name):
    assert vanishes(probe_named(name).difference())


@pytest.mark.parametrize(
    ("name", "module", "equation", "right", "wrong"), REVERSE_FAULTS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_proof_rejects_a_fault_in_the_reverse_pass(name, module, equation, right, wrong):
    with running_on_objects(), probe_named(name).context(), planted(module, equation, right, wrong):
        assert not vanishes(probe_named(name).difference())


# Clipping, region by region

SEEDS = (0, 2, 3, 7)


@pytest.mark.parametrize("seed", SEEDS)
def test_true_derivative_of_clipping_in_a_region(seed):
    assert vanishes(clipped(seed)[0].difference())


def test_each_timestep_was_cut_above_and_below_and_not_at_all():
    regions = [clipped(seed)[1] for seed in SEEDS]
    for t in (0, 1):
        assert {region[2 * t : 2 * t + 2] for region in regions} == {(True, False), (False, True), (False, False)}


def test_straight_through_is_not_the_derivative_where_the_bound_cut():
    assert not vanishes(clipped(3, "straight_through")[0].difference())
