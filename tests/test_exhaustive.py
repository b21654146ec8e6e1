"""Every entry by differences without copies of the weights: equal to the generic estimator's, and wrong where it is made wrong."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from network_cases import Case, draw

import checks
import lstm
from checks.estimate import flatten
from checks.exhaustive import evaluator, network, sweep, timestep
from checks.exhaustive.entries import all_entries
from checks.exhaustive.work import PAIR
from checks.network_problem import from_upstream

pytestmark = pytest.mark.long

T, B, D, H, R = 5, 3, 2, 4, 3


def layer(rng, fan_in, *, blocks=4, peepholes=False, projection=False, activations=None, clip=None):
    def normal(*shape):
        return 0.6 * rng.normal(size=shape)

    r = R if projection else H
    return lstm.Layer(
        w_x=normal(fan_in, blocks * H), w_h=normal(r, blocks * H), b=normal(blocks * H),
        peepholes=normal(blocks - 1, H) if peepholes else None, projection=normal(H, R) if projection else None,
        activations=activations or lstm.Activations(), clip=clip,
    )  # fmt: skip


def upstream(rng, layers, *, masked=False, lengths=None):
    """A problem of these levels; everything about it random."""
    states, masks, fan_in = [], [], D
    for level in layers:
        own = [level.forward, level.reverse] if isinstance(level, lstm.Bidirectional) else [getattr(level, "layer", level)]
        sizes = [each.recurrent_size for each in own]
        pair = lstm.Bidirectional if len(own) == 2 else lambda only: only
        states.append(pair(*(lstm.State(h=rng.normal(size=(B, r)), c=rng.normal(size=(B, H))) for r in sizes)))
        drawn = [
            lstm.Masks(
                inputs=rng.normal(size=(T, B, fan_in)), recurrent=rng.normal(size=(T, B, r)),
                zoneout_h=rng.random((T, B, r)), zoneout_c=rng.random((T, B, H)),
            )
            for r in sizes
        ]  # fmt: skip
        masks.append(pair(*drawn))
        fan_in = sum(sizes)
    d_final = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), tuple(states))
    return from_upstream(
        layers, rng.normal(size=(T, B, D)), rng.normal(size=(T, B, fan_in)), d_final,
        initial_state=tuple(states), lengths=lengths, masks=tuple(masks) if masked else None,
    )  # fmt: skip


def both_ways_below_one_way(rng):
    """Perturbations that fan out into two directions, and come back into one."""
    hard = lstm.Activations(gate="hard_sigmoid(0.2)", candidate="softsign", output="identity")
    pair = lstm.Bidirectional(
        forward=layer(rng, D, blocks=3, peepholes=True, projection=True), reverse=layer(rng, D, activations=hard, clip=lstm.CellClip(0.5))
    )
    return upstream(rng, (pair, lstm.Reversed(layer(rng, R + H))), masked=True)


def one_way_below_both_ways(rng):
    pair = lstm.Bidirectional(forward=layer(rng, H), reverse=layer(rng, H, projection=True))
    return upstream(rng, (layer(rng, D), pair), lengths=np.array([T, 0, T - 2]))


def cost_of_two_layers(rng):
    case = Case(T, B, D, H, 3, loss="cross_entropy", targets="labels", layers=2, lengths=(T, 2, T - 1))
    return draw(case, int(rng.integers(1000))).problem("all")


PROBLEMS = (both_ways_below_one_way, one_way_below_both_ways, cost_of_two_layers)


@pytest.fixture(scope="module", params=PROBLEMS, ids=lambda make: make.__name__)
def problem(request):
    return request.param(np.random.default_rng(5))


@pytest.fixture(scope="module")
def estimate(problem):
    if not isinstance(problem.parameters, lstm.Gradients):
        return checks.exhaustive(problem)
    # Each place costs a compilation: here only what the costs of a readout lack
    numbers = problem.unflatten(np.arange(problem.size))
    low, top = numbers.layers
    if isinstance(top, lstm.Bidirectional):
        chosen = [low.w_h, low.b, top.reverse.projection]
    else:
        chosen = [low.forward.w_x, low.forward.peepholes, low.forward.projection, low.reverse.w_h, low.reverse.b, numbers.inputs]
    return checks.exhaustive(problem, entries=np.concatenate([each.ravel() for each in chosen]))


def test_equals_the_generic_estimator_entry_by_entry():
    problem = cost_of_two_layers(np.random.default_rng(5))
    generic, estimate = checks.full_sequence(problem), checks.exhaustive(problem)
    ours, theirs = flatten(estimate.value), flatten(generic.value)
    allowed = flatten(estimate.error_estimate) + flatten(generic.error_estimate)
    assert (np.abs(ours - theirs) <= allowed).all()
    assert allowed.max() < 1e-6 * np.abs(theirs).max()  # so that agreeing means something
    assert estimate.status is checks.Status.COMPUTED


def test_confirms_the_gradient_and_sees_a_millionth(problem, estimate):
    """The hand-written gradient is right to rounding, so differences may be off by what they claim and no more."""
    value, error = flatten(estimate.value), flatten(estimate.error_estimate)
    drawn = np.isfinite(value)
    gradient, value, error = (each[drawn] for each in (flatten(problem.gradients(problem.parameters)), value, error))
    assert (np.abs(gradient - value) <= error).all()
    assert error.max() < 1e-6 * np.abs(gradient).max()  # so that agreeing means something
    largest = np.argmax(np.abs(gradient))
    assert not np.abs(gradient[largest] * (1 + 1e-6) - value[largest]) <= error[largest]


def test_every_entry_has_one_place(problem):
    flat = np.concatenate([each.flat.ravel() for each in all_entries(problem)])
    assert sorted(flat) == list(range(problem.size))


def single(rng, dtype=np.float64, **options):
    return draw(Case(T, B, D, H, None, **options), int(rng.integers(1000)), dtype).problem("network")


def test_only_what_was_asked_for(rng):
    """Chosen entries lie in other chunks, beside other copies, and are what they are."""
    problem = single(rng)
    every, chosen = checks.exhaustive(problem), rng.choice(problem.size, 40, replace=False)
    some = checks.exhaustive(problem, entries=chosen)
    rest = np.delete(np.arange(problem.size), chosen)
    value, error = flatten(some.value), flatten(some.error_estimate)
    assert np.isnan(value[rest]).all()
    assert np.isnan(error[rest]).all()
    assert some.status is checks.Status.COMPUTED
    # What can differ is the rounding of sums, which the claim covers
    assert (np.abs(value - flatten(every.value))[chosen] <= error[chosen]).all()


def test_float32_claims_what_float32_can(rng):
    problem = single(rng, np.float32)
    estimate, exact = checks.exhaustive(problem), flatten(checks.autodiff(problem.astype(np.float64)).value)
    assert {leaf.dtype for leaf in jax.tree.leaves(estimate.value)} == {np.dtype(np.float32)}
    assert (np.abs(flatten(estimate.value) - exact) <= flatten(estimate.error_estimate)).all()
    assert flatten(estimate.error_estimate).max() < 0.05 * np.abs(exact).max()


FAULTS = {
    "the wrong source": (timestep, "_picked", lambda array, moved: array[:, :, 0]),
    "no recurrence": (sweep, "hold", lambda valid, new, old: dataclasses.replace(new, h=0 * new.h)),
    "half the cost": (sweep, "_loss", lambda given, y, t: lstm.LOSSES[given.loss].forward(y, given.targets[t]) * given.loss_weights[t] / 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_it_is_seen(fault, rng, monkeypatch):
    problem = single(rng)
    monkeypatch.setattr(evaluator, "FEW", 0)  # compiled, however little; `test_exhaustive_host` plants faults in the other engine
    monkeypatch.setattr(*FAULTS[fault])
    evaluator._compiled.cache_clear()
    try:
        estimate = checks.exhaustive(problem)
    finally:
        evaluator._compiled.cache_clear()
    gradient, value, error = (flatten(tree) for tree in (problem.gradients(problem.parameters), estimate.value, estimate.error_estimate))
    assert not (np.abs(gradient - value) <= error).all()


def test_stays_within_the_memory_it_is_given():
    """By the compiler's own account of a chunk's temporaries and result."""
    memory = 10**6
    problem = draw(Case(9, 4, 3, 20, None, layers=1), 1).problem("network")
    given = network.network_cost(problem)
    with problem.scope():
        run = evaluator.Evaluator(given, network.only_inputs(given), problem.dtype, memory, jax.local_devices()[:1])
        (entries,) = all_entries(problem)
        each = run.chunk(entries, PAIR, run)
        count = PAIR * each
        numbers = jax.ShapeDtypeStruct((count,), "int32")
        copies = sweep.Copies(jax.ShapeDtypeStruct((count, 1), float), numbers, numbers)
        first = jax.ShapeDtypeStruct((1,), "int32")
        compiled = evaluator._compiled(run.mesh, entries.place).lower(*run.constants, copies, first).compile()
    needed = compiled.memory_analysis()
    assert needed.temp_size_in_bytes + needed.output_size_in_bytes <= memory
    assert needed.temp_size_in_bytes > memory / 10  # the bound is used


def test_random_directions_confirm_a_gradient_and_see_a_wrong_entry(rng):
    """For networks too large for anything else: a few pairs of costs see an entry that is off by a thousandth of the largest."""
    problem = single(rng)
    gradient = problem.gradients(problem.parameters)
    assert all(each.agrees for each in checks.directional_checks(problem, gradient))
    wrong = flatten(gradient)
    wrong[7] += 1e-3 * np.abs(wrong).max()
    assert not any(each.agrees for each in checks.directional_checks(problem, problem.unflatten(wrong)))


class TestSample:
    def test_draws_as_many_as_asked_and_others_with_another_seed(self, rng):
        problem = single(rng)
        drawn = [np.isfinite(flatten(checks.exhaustive(problem, sample=25, seed=seed).value)) for seed in (0, 0, 1)]
        assert [each.sum() for each in drawn] == [25, 25, 25]
        assert (drawn[0] == drawn[1]).all()
        assert (drawn[0] != drawn[2]).any()

    def test_the_probability_is_counted(self):
        """Against every way to draw."""
        guarantee = checks.Guarantee(of=7, sampled=3, visible=1e-9)
        for wrong in range(8):
            draws = list(itertools.combinations(range(7), 3))
            assert guarantee.missed(wrong) == pytest.approx(sum(min(each) >= wrong for each in draws) / len(draws))

    def test_the_least_number_excluded(self):
        guarantee = checks.Guarantee(of=6272, sampled=300, visible=1e-9)
        wrong = guarantee.excluded(0.01)
        assert guarantee.missed(wrong) <= 0.01 < guarantee.missed(wrong - 1)
        assert f"Had {wrong} of the 6,272 entries" in str(guarantee)

    def test_of_an_estimate(self, rng):
        problem = single(rng)
        guarantee = checks.sample_guarantee(checks.exhaustive(problem, sample=25))
        assert (guarantee.of, guarantee.sampled) == (problem.size, 25)
        assert 0 < guarantee.visible < 1e-6
        assert "drawn at random" in str(guarantee)

    def test_of_every_entry(self, rng):
        problem = single(rng)
        says = str(checks.sample_guarantee(checks.exhaustive(problem)))
        assert says.startswith(f"Of a gradient that agrees in all {problem.size:,} entries, none is wrong by more than ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entries": [0], "sample": 3}, "entries, sample: expected one of the two; got both"),
        ({"sample": 0}, "sample: expected an integer from 1 to P = "),
        ({"entries": np.array([-1])}, "entries: expected (N,) integers from 0 to P - 1 = "),
        ({"step": -1.0}, "step: expected a positive number; got -1.0"),
        ({"memory": "1GB"}, "memory: expected a positive number of bytes; got '1GB'"),
        ({"memory": 0}, "memory: expected a positive number of bytes; got 0"),
        ({"devices": []}, "devices: expected a list of JAX devices, as jax.devices() gives; got list"),
        ({"devices": "cpu"}, "devices: expected a list of JAX devices, as jax.devices() gives; got 'cpu'"),
        ({"resume": 5}, "resume: expected a path; got 5"),
        ({"sample": 3, "seed": -1}, "seed: expected an integer of at least 0; got -1"),
    ],
)
def test_bad_options_are_named(options, message, rng):
    with pytest.raises(lstm.BadInput) as raised:
        checks.exhaustive(single(rng), **options)
    assert str(raised.value).startswith(message)


def test_another_cost_is_refused():
    other = checks.Cost(parameters={"w": np.ones(3)}, function=lambda w: (w["w"] ** 2).sum())
    message = "problem: expected one made by checks.Problem.from_network or from_upstream; got another Cost"
    with pytest.raises(lstm.BadInput, match=f"^{message}$"):
        checks.exhaustive(other)
