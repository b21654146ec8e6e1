"""Where one step size is enough for every entry, and that the error claimed then holds; and where it is not."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from network_cases import Case, draw

import checks
import lstm
from checks.estimate import flatten
from checks.exhaustive import evaluator, network, truncation, work
from checks.exhaustive.differences import _Ledger
from checks.exhaustive.entries import all_entries
from checks.network_problem import from_upstream
from checks.perturbation import default_step, extrapolate

T, B, D, H = 6, 3, 5, 12


@pytest.fixture(autouse=True)
def passes(monkeypatch):
    """Over each place, as they are made: 1 or 2 steps."""
    made, pairs = [], _Ledger.pairs

    def counted(self, place, steps):
        made.append(steps)
        return pairs(self, place, steps)

    monkeypatch.setattr(_Ledger, "pairs", counted)
    return made


def single(seed, inputs=1.0, dtype=np.float64):
    """``inputs``: their scale, feature by feature."""
    problem = draw(Case(T, B, D, H, None), seed, dtype).problem("network")
    origin = problem.origin
    return checks.Problem.from_network(problem.parameters, (origin["inputs"] * inputs).astype(dtype), origin["targets"])


def over_claim(problem, **options):
    """The largest error over what is claimed, of all entries; the gradient is right to rounding."""
    estimate = checks.exhaustive(problem, **options)
    assert estimate.status is checks.Status.COMPUTED  # so that only what was not asked for is NaN
    exact = flatten(checks.autodiff(problem.astype(np.float64)).value)
    return np.nanmax(np.abs(flatten(estimate.value) - exact) / flatten(estimate.error_estimate))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("few", [np.inf, 0], ids=["numpy", "compiled"])
def test_one_step_where_rounding_is_more_than_truncation(few, dtype, passes, monkeypatch):
    monkeypatch.setattr(evaluator, "FEW", few)
    for seed in (1, 2, 3):
        assert over_claim(single(seed, dtype=dtype)) <= 1
    assert passes == [1, 1, 1]


@pytest.mark.parametrize("options", [{"step": 1e-3}, {}], ids=["a large step", "one large input"])
def test_two_where_it_is_not(options, passes):
    problem = single(4, 1.0 if options else np.array([1, 1, 300, 1, 1]))
    assert over_claim(problem, **options) <= 1
    assert passes == [1, 2]


def test_one_step_claims_no_more_than_two_would(passes, monkeypatch):
    """Up to the factor that it may: rounding of two is 1.35 times that of one, and truncation no more than rounding."""
    problem = single(5)
    one = flatten(checks.exhaustive(problem).error_estimate)
    monkeypatch.setattr(work.Work, "error_of_one_step", lambda *_: None)
    two = flatten(checks.exhaustive(problem).error_estimate)
    assert passes == [1, 1, 2]
    assert (one <= 2 / 1.35 * two).all()


def spread(rng):
    """A network whose inputs and units are of different scales."""
    timesteps, batch, features, hidden = (int(n) for n in rng.integers((2, 1, 2, 6), (10, 4, 6, 14)))

    def scales(*shape):
        return np.exp(rng.normal(size=shape) * rng.choice([0, 0.5, 1]))

    shapes = (features, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,)
    w_x, w_h, b = (rng.normal(size=shape) / np.sqrt(shape[0]) for shape in shapes)
    layer = lstm.Layer(w_x * scales(4 * hidden), w_h * scales(hidden, 1) * scales(4 * hidden), b)
    inputs, targets = (rng.normal(size=(timesteps, batch, size)) for size in (features, hidden))
    return checks.Problem.from_network(lstm.Network((layer,), None), inputs * scales(features), targets)


@pytest.mark.long
def test_the_margin_is_more_than_random_networks_need():
    """`MARGIN` is 10; here the largest truncation of all entries is asked to be below 3 times the largest of those measured."""
    for seed in range(60):
        problem = spread(np.random.default_rng(seed))
        given, (entries,) = network.network_cost(problem), all_entries(problem)
        with problem.scope():
            run = evaluator.Evaluator(given, network.only_inputs(given), problem.dtype, 10**7, jax.devices()[:1])
            each = work.Work(problem, run, entries, default_step(problem.dtype))
            near, far = (
                work.Pairs(moves.width, np.concatenate([costs for _, costs in each.run(range(each.units), moves.amounts)]))
                for moves in map(each.moves, (1, truncation.FAR))
            )
            chosen = truncation.representatives(entries, near.costs[:, 0] - near.costs[:, 1], each._second(near))
        removed = each.scale * truncation.at_one_step(near.slope(), far.slope())
        assert removed.max() <= 3 * removed[chosen].max()
        assert len(chosen) < len(entries)


def odd():
    """At zero weights the cost is odd in the candidate's: no second derivative, and a third. And nothing rounds."""
    rng = np.random.default_rng(6)
    shapes = (D, 4 * H), (H, 4 * H), (4 * H,)
    layer = lstm.Layer(*(np.zeros(shape) for shape in shapes))
    return from_upstream((layer,), rng.normal(size=(T, B, D)), rng.normal(size=(T, B, H)))


def test_the_candidate_of_a_network_of_zeros(passes):
    assert over_claim_of_zeros() <= 1
    assert passes == [1, 2] * 3  # of weights, states and inputs


def over_claim_of_zeros():
    problem = odd()
    estimate, gradient = checks.exhaustive(problem), flatten(problem.gradients(problem.parameters))
    off, claim = np.abs(flatten(estimate.value) - gradient), flatten(estimate.error_estimate)
    return (off[off > 0] / claim[off > 0]).max(initial=0)


def odd_beside_others():
    """A unit without weights, whose cost has no second derivative and a large third, among units that have both."""
    rng = np.random.default_rng(0)
    timesteps, batch, features, hidden = 3, 3, 40, 16
    w_x, w_h, b = (0.3 * rng.normal(size=shape) for shape in ((features, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,)))
    b += 0.5
    w_h[0] = 0
    for array in (w_x, w_h, b):
        array[..., ::hidden] = 0
    d_outputs = np.abs(rng.normal(size=(timesteps, batch, hidden)))
    d_outputs[:, :, 0] *= 1000
    problem = from_upstream((lstm.Layer(w_x, w_h, b),), 0.03 * rng.normal(size=(timesteps, batch, features)), d_outputs)
    return over_claim(problem, entries=np.arange(w_x.size + w_h.size + b.size))


def one_large_input():
    return over_claim(single(4, np.array([1, 1, 300, 1, 1])))


def inputs_of_ten():
    return over_claim(single(4, 10.0))


def beyond_convergence():
    """In float32 the step is 5e-3: of a thousand times that, not even the first differences have to do with the derivative."""
    return over_claim(single(5, 1000.0, np.float32))


def two_steps_beyond_convergence():
    return over_claim(single(3, 100.0, np.float32))


def least(entries, first, second):
    return np.argsort(np.abs(second).max(axis=1))[: len(entries) // 4]


def second_only(entries, first, second, right=truncation.representatives):
    return right(entries, second, second)


def without_guard(near, far, moved):
    return truncation.MARGIN * (moved * truncation.at_one_step(near, far)).max()


def slopes_only(self, near, double):
    return extrapolate(near.slope(), double.slope(), self._at_rest.noise / (np.sqrt(2) * self.step * self.scale))


FAULTS = {
    "measured where second differences are least": (truncation, "representatives", least, one_large_input),
    "measured by second differences alone": (truncation, "representatives", second_only, odd_beside_others),
    "no truncation": (truncation, "at_one_step", lambda near, far: 0 * near, inputs_of_ten),
    "measured nearer, not farther": (truncation, "FAR", 0.1, inputs_of_ten),
    "a series that does not converge": (truncation, "bound", without_guard, beyond_convergence),
    "two steps too large that agree": (work.Work, "extrapolated", slopes_only, two_steps_beyond_convergence),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_with_a_fault_the_claim_does_not_hold(fault, monkeypatch):
    *place, wrong, error = FAULTS[fault]
    assert error() <= 1
    monkeypatch.setattr(*place, wrong)
    assert error() > 1


def test_measured_in_every_row_and_column_and_where_differences_are_largest(rng):
    (entries,) = all_entries(single(8))
    first, second = rng.normal(size=(2, len(entries), 1))
    second[5] = np.nan
    chosen = truncation.representatives(entries, first, second)
    assert 5 in chosen
    assert len(chosen) < truncation.LARGEST + len(set(entries.index)) + len(set(entries.column))
    one, other = np.abs(first[:, 0]), np.nan_to_num(np.abs(second[:, 0]), nan=np.inf)
    size = one / one.max() + other / np.nanmax(np.abs(second))
    assert set(np.argsort(size)[-truncation.LARGEST :]) <= set(chosen)
    for of in (entries.index, entries.column):
        for each in set(of):
            (inside,) = np.nonzero(of == each)
            assert inside[np.argmax(size[inside])] in chosen


def test_few_entries_are_moved_by_two_steps(passes):
    """Measuring truncation in most of them would take as long."""
    assert checks.exhaustive(single(7), sample=50).status is checks.Status.COMPUTED
    assert passes == [1, 2]


@pytest.mark.parametrize("inputs", [1.0, 100.0], ids=["one step", "two"])
def test_progress_ends_once_and_never_before(inputs, passes):
    seen = []
    checks.exhaustive(single(9, inputs), memory=200_000, progress=lambda finished, total: seen.append((finished, total)))
    size = 2 * len(passes) * single(9).size
    assert len(seen) > 4
    assert seen[-1] == (size, size)
    assert [finished for finished, _ in seen] == sorted({finished for finished, _ in seen})
    assert all(finished < total for finished, total in seen[:-1])
