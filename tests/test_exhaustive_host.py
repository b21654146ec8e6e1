"""The exhaustive check without compilation: the same costs as the compiled one's, of every network that it takes, and of no other."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import tracemalloc

import numpy as np
import pytest
from network_cases import Case, draw

import checks
import lstm
from checks.estimate import flatten
from checks.exhaustive import blocks, evaluator, host, network
from checks.exhaustive.entries import Unit, all_entries
from checks.exhaustive.sweep import Place
from checks.network_problem import from_upstream

T, B, D, H, K = 5, 3, 2, 4, 6
GATES = Place(0, 0, "gates")


def plain_layer(rng, fan_in, hidden=H):
    return lstm.Layer(*(0.6 * rng.normal(size=shape) for shape in ((fan_in, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))))


def upstream(rng, layers):
    """Random upstream gradients of the outputs and of every final state."""
    each = [getattr(level, "layer", level) for level in layers]
    states = tuple(lstm.State(*rng.normal(size=(2, B, layer.hidden_size))) for layer in each)
    d_final = tuple(lstm.State(*rng.normal(size=(2, B, layer.hidden_size))) for layer in each)
    d_outputs = rng.normal(size=(T, B, each[-1].hidden_size))
    return from_upstream(layers, rng.normal(size=(T, B, D)), d_outputs, d_final, initial_state=states)


PROBLEMS = {
    "one layer": lambda rng: draw(Case(T, B, D, H, None), int(rng.integers(99))).problem("network"),
    "three layers and a readout": lambda rng: draw(Case(T, B, D, H, K, layers=3), int(rng.integers(99))).problem("network"),
    "backwards, of two sizes": lambda rng: upstream(rng, (lstm.Reversed(plain_layer(rng, D)), lstm.Reversed(plain_layer(rng, H, H + 3)))),
    "float32": lambda rng: draw(Case(T, B, D, H, None), int(rng.integers(99)), np.float32).problem("network"),
}


@pytest.fixture(params=PROBLEMS)
def problem(request, rng):
    return PROBLEMS[request.param](rng)


def costs(problem, monkeypatch, few, amounts):
    """Of copies of every weight in a layer, moved by the amounts: (K, B) for each layer."""
    monkeypatch.setattr(evaluator, "FEW", few)
    given = network.network_cost(problem)
    found = []
    with problem.scope():
        run = evaluator.Evaluator(given, network.unperturbed(given), problem.dtype, 10**7, evaluator.jax.devices()[:1])
        for entries in (each for each in all_entries(problem) if each.place.kind == "gates"):
            engine = run.engine(entries, len(entries))
            assert isinstance(engine, host.Engine) == (few > 0)
            unit = Unit(np.arange(len(entries)), amounts[: len(entries)], 0)
            found.append(engine.finish(engine.start(entries, [unit]))[0])
    return found


def test_costs_are_those_of_the_compiled_program(problem, monkeypatch, rng):
    """Moves so large that all that is not linear shows. Both round a few hundred times: 1e3 ε of the largest."""
    amounts = rng.choice([-1, 1], (problem.size, 1)) * rng.uniform(0.5, 2, (problem.size, 1))
    ours, compiled = (costs(problem, monkeypatch, few, amounts) for few in (np.inf, 0))
    assert len(ours) == len(network.network_cost(problem).layers)
    for one, other in zip(ours, compiled, strict=True):
        allowed = 1e3 * np.finfo(problem.dtype).eps * np.abs(other).max()
        assert np.abs(one - other).max() <= allowed
        assert np.ptp(other, axis=0).min() > 10 * allowed


def test_saturated_gates_overflow_to_what_they_are(monkeypatch, rng):
    """exp of a thousand and more is infinite, and a gate then 0: the same costs, and no warning."""
    problem = draw(Case(T, B, D, H, None), int(rng.integers(99)), scale=4000.0).problem("network")
    assert np.abs(np.asarray(problem.parameters.layers[0].b)).max() > 800
    ours, compiled = (costs(problem, monkeypatch, few, np.ones((problem.size, 1))) for few in (np.inf, 0))
    assert np.abs(ours[0] - compiled[0]).max() <= 1e3 * np.finfo(float).eps * np.abs(compiled[0]).max()


def agrees(problem):
    estimate = checks.exhaustive(problem)
    gradient, value, error = (flatten(tree) for tree in (problem.gradients(problem.parameters), estimate.value, estimate.error_estimate))
    return bool((np.abs(gradient - value) <= error).all())


def no_bias(self, *arguments):
    right(self, *arguments)
    self.z_x = self.z_x - self.z_x.mean(axis=(0, 1))


right = blocks.HostNetwork.__init__
sources, first, activate, add = (getattr(blocks.Blocks, name) for name in ("_sources", "_first", "_activate", "_add"))


def unmoved_at_first(self, t):
    amount, self.amount = self.amount, 0 * self.amount
    h = first(self, t)
    self.amount = amount
    return h


FAULTS = {
    "another source": (blocks.Blocks, "_sources", lambda self, t, h: sources(self, max(t - 1, 0), h)),
    "moved from the second timestep on": (blocks.Blocks, "_first", unmoved_at_first),
    "a cell that forgets": (blocks.Blocks, "_activate", lambda self, number: (self.c[number].fill(0), activate(self, number))[1]),
    "another timestep's target": (blocks.Blocks, "_add", lambda self, h, t: add(self, h, 0)),
    "no bias": (blocks.HostNetwork, "__init__", no_bias),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_it_is_seen(fault, rng, monkeypatch):
    problem = PROBLEMS["one layer"](rng)
    assert agrees(problem)
    monkeypatch.setattr(*FAULTS[fault])
    assert not agrees(problem)


@pytest.mark.parametrize("cores", [1, 5])
def test_the_number_of_cores_changes_no_bit(cores, rng, monkeypatch):
    """Nor does the order in which threads end. In many units, so that there is something to share out."""
    problem = PROBLEMS["one layer"](rng)
    monkeypatch.setattr(host, "UNIT", 30_000)
    units, start = [], host.Engine.start
    monkeypatch.setattr(host.Engine, "start", lambda self, entries, given: units.extend(given) or start(self, entries, given))
    usual = checks.exhaustive(problem)
    assert len(units) > 10
    monkeypatch.setattr(host, "cores", lambda: cores)
    other = checks.exhaustive(problem)
    np.testing.assert_array_equal(flatten(usual.value), flatten(other.value))
    np.testing.assert_array_equal(flatten(usual.error_estimate), flatten(other.error_estimate))


@pytest.mark.parametrize("memory", [300_000, 10**6, 40 * 2**20])
def test_stays_within_the_memory_it_is_given(memory, monkeypatch):
    """By Python's own account of what NumPy allocates while costs are computed, on one core and more."""
    problem = draw(Case(9, 4, 3, 20, None), 1).problem("network")
    monkeypatch.setattr(host, "cores", lambda: 2)
    checks.exhaustive(problem, memory=memory)  # what JAX and NumPy keep for good
    peaks, start = [], host.Engine.start

    def traced(self, *arguments):
        tracemalloc.start()
        started = start(self, *arguments)
        concurrent.futures.wait(started)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        return started

    monkeypatch.setattr(host.Engine, "start", traced)
    checks.exhaustive(problem, memory=memory)
    assert memory / 10 < max(peaks) <= memory  # and the bound is used


@pytest.mark.parametrize(
    ("size", "memory"),
    [((1, 64, 8, 128), 10**6), ((2000, 1, 1, 1), 10**8)],
    ids=["weights once for each sequence would not fit", "long"],
)
def test_what_numpy_is_no_good_at_is_compiled(size, memory):
    timesteps, batch, features, hidden = size
    problem = draw(Case(timesteps, batch, features, hidden, None), 1).problem("network")
    given = network.network_cost(problem)
    with problem.scope():
        run = evaluator.Evaluator(given, network.only_inputs(given), problem.dtype, memory, evaluator.jax.devices()[:1])
        (entries,) = all_entries(problem)
        assert not isinstance(run.engine(entries, 64), host.Engine)


def test_inputs_that_overflow_give_a_status_and_no_warning(rng):
    problem = draw(Case(T, B, D, H, None), 1).problem("network")
    layer = problem.parameters.layers[0]
    huge = lstm.Network((dataclasses.replace(layer, w_x=1e200 * layer.w_x),), None)
    inputs, targets = 1e200 * rng.normal(size=(T, B, D)), rng.normal(size=(T, B, H))
    assert checks.exhaustive(checks.Problem.from_network(huge, inputs, targets)).status is checks.Status.NON_FINITE


def given_for(layers, **changes):
    """The arrays of a problem of these levels."""
    problem = draw(Case(T, B, D, H, None), 1).problem("network")
    given = network.network_cost(problem)
    return dataclasses.replace(given, layers=layers or given.layers, **changes)


def changed(**changes):
    return dataclasses.replace(plain_layer(np.random.default_rng(2), D), **changes)


OTHERS = {
    "peepholes": {"layers": (changed(peepholes=np.ones((3, H))),)},
    "projection": {"layers": (changed(projection=np.ones((H, 3)), w_h=np.ones((3, 4 * H))),)},
    "clip": {"layers": (changed(clip=lstm.CellClip(1.0)),)},
    "coupled": {"layers": (changed(w_x=np.ones((D, 3 * H)), w_h=np.ones((H, 3 * H)), b=np.ones(3 * H)),)},
    "activations": {"layers": (changed(activations=lstm.Activations(output="identity")),)},
    "both directions": {"layers": (lstm.Bidirectional(forward=changed(), reverse=changed()),)},
    "two ways": {"layers": (changed(), lstm.Reversed(plain_layer(np.random.default_rng(3), H)))},
    "above it": {"layers": (changed(), dataclasses.replace(plain_layer(np.random.default_rng(3), H), clip=lstm.CellClip(1.0)))},
    "masks": {"masks": [[lstm.Masks(recurrent=np.ones((T, B, H)))]]},
    "lengths": {"valid": np.ones((T, B), bool)},
    "cross-entropy": {"loss": "cross_entropy"},
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_it_does_not_know_is_compiled(other):
    assert host.is_plain(given_for(None), GATES, np.dtype(float))
    changes = dict(OTHERS[other])
    assert not host.is_plain(given_for(changes.pop("layers", None), **changes), GATES, np.dtype(float))


@pytest.mark.parametrize("kind", ["peepholes", "projection", "inputs", "state", "readout"])
def test_other_places_are_compiled(kind):
    assert not host.is_plain(given_for(None), GATES._replace(kind=kind), np.dtype(float))
