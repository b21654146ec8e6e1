"""The checkers checked: right gradients pass, wrong ones are caught and named, doubtful references are owned up to."""

from __future__ import annotations

import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from network_cases import Case, draw

import checks
from checks import Status, Verdict
from checks.estimate import flatten

CASE = Case(T=3, B=2, D=4, H=3, K=5, lengths=(3, 1))
FAULT = 1e-6  # of the gradient's largest entry


@functools.cache
def problem_of(dtype: str = "float64") -> checks.Problem:
    return draw(CASE, seed=5, dtype=np.dtype(dtype)).problem()


@functools.cache
def gradients_of(dtype: str = "float64"):
    problem = problem_of(dtype)
    return jax.tree.map(np.asarray, problem.gradients(problem.parameters))


@functools.cache
def report_of(dtype: str) -> checks.Report:
    return checks.cross_validate(problem_of(dtype), readings=READINGS[dtype])


READINGS = {"float64": ("frozen", "shared"), "float32": ()}  # all five: see test_cli


def planted(gradients, leaf: int, index: tuple[int, ...], amount: float):
    """One entry of one array moved by ``amount``."""
    leaves, structure = jax.tree.flatten(gradients)
    leaves[leaf] = leaves[leaf].copy()
    leaves[leaf][index] += amount
    return jax.tree.unflatten(structure, leaves)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_correct_gradients_agree_in_either_precision(dtype):
    report = report_of(dtype)
    assert report.verdict is Verdict.AGREES, report
    assert report.reference == "complex_step"
    expected = {"hand_bptt", "autodiff", "full_sequence", "complex_step", *(f"per_timestep.{r}" for r in READINGS[dtype])}
    assert {row.name for row in report.rows} == expected
    not_gradients = {"per_timestep.frozen", "per_timestep.shared"}
    for row in report.rows:
        assert row.agrees == row.expected_to_agree == (row.name not in not_gradients), str(report)
    if dtype == "float64":
        headline = "AGREES: all 4 that should equal dC/dw do; 2 readings of approach 2 do not, as proved."
        assert " ".join(str(report).split("\n\n")[0].split()) == headline


def test_every_array_with_one_entry_off_by_a_millionth_is_caught_and_the_entry_named(rng):
    problem, gradients = problem_of(), gradients_of()
    reference, tolerance = checks.complex_step(problem).value, checks.rounding_tolerance(problem)
    assert [c.verdict for c in checks.compare(problem, gradients, reference, tolerance)] == [Verdict.AGREES] * len(tolerance)
    for leaf, array in enumerate(jax.tree.leaves(gradients)):
        index = tuple(int(rng.integers(size)) for size in array.shape)
        amount = FAULT * np.abs(flatten(gradients)).max()
        comparisons = checks.compare(problem, planted(gradients, leaf, index, amount), reference, tolerance)
        wrong = [c for c in comparisons if c.verdict is not Verdict.AGREES]
        assert [(c.name, c.worst_index, c.verdict) for c in wrong] == [(problem.leaf_names[leaf], index, Verdict.DISAGREES)]
        assert wrong[0].max_error == pytest.approx(amount, rel=1e-6)


def test_assert_gradients_raises_the_report_with_the_entry_in_words():
    problem, gradients = problem_of(), gradients_of()
    checks.assert_gradients(gradients, problem)
    recurrent = problem.leaf_names.index("network.layers[0].w_h")
    wrong = planted(gradients, recurrent, (2, 4), FAULT * np.abs(flatten(gradients)).max())  # column 4 of i0 i1 i2 f0 f1 …
    with pytest.raises(AssertionError) as caught:
        checks.assert_gradients(wrong, problem)
    message = str(caught.value)
    assert message.startswith("\nDISAGREES: not the gradient, though expected to be: gradients.")
    assert "disagrees: network.layers[0].w_h[f, unit 1, from h 2]: expected " in message
    expected, got = re.search(r"expected\s+(\S+),\s+got\s+(\S+)\s", message).groups()
    value = gradients.network.layers[0].w_h[2, 4]
    assert float(expected) == pytest.approx(value, rel=1e-8)
    assert float(got) - float(expected) == pytest.approx(FAULT * np.abs(flatten(gradients)).max(), rel=1e-2)
    assert message.count("disagrees:") == 1


def test_assert_gradients_judges_float32_as_float32():
    """Correct float32 gradients pass; the same ones off by a thousandth of the largest entry do not."""
    gradients, problem = gradients_of("float32"), problem_of("float64")
    checks.assert_gradients(gradients, problem)
    wrong = planted(gradients, 0, (1, 2), 1e-3 * np.abs(flatten(gradients)).max())
    with pytest.raises(AssertionError, match=re.escape("layers[0].w_x[i, unit 2, from x 1]")):
        checks.assert_gradients(wrong, problem)


def test_reports_start_with_the_verdict_fit_a_terminal_and_serialise():
    for report in (report_of("float64"), report_of("float32"), checks.check_function(lambda w: (w**2).sum(), -1e6 * WEIGHTS, WEIGHTS)):
        assert str(report).startswith(report.verdict.value.upper())
        assert max(map(len, str(report).splitlines())) <= 80, str(report)
        assert json.loads(json.dumps(report.to_json()))["verdict"] == report.verdict.value


WEIGHTS = np.array([[0.3, -1.2, 2.0], [0.7, 1.1, -0.4]])


def test_every_status_is_reached():
    smooth = checks.Cost(parameters=WEIGHTS, function=lambda w: (w**2).sum())
    overflowing = checks.Cost(parameters=WEIGHTS, function=lambda w: jnp.exp(1000 * w).sum())
    found = [
        checks.full_sequence(smooth).status,
        checks.full_sequence(smooth, step=1e-17).status,
        checks.full_sequence(overflowing).status,
    ]
    assert found == [Status.COMPUTED, Status.STEP_VANISHED, Status.NON_FINITE]
    assert set(found) == set(Status)
    assert checks.complex_step(overflowing).status is Status.NON_FINITE
    assert checks.autodiff(overflowing).status is Status.NON_FINITE
    recurrent = problem_of()
    assert checks.per_timestep(recurrent, "paired", step=1e-17).status is Status.STEP_VANISHED


def test_every_verdict_is_reached_and_has_its_exit_code():
    smooth = checks.Cost(parameters=WEIGHTS, function=lambda w: (w**2).sum())
    judge = [
        checks.compare(smooth, 2 * WEIGHTS, 2 * WEIGHTS, [1e-9]),
        checks.compare(smooth, 3 * WEIGHTS, 2 * WEIGHTS, [1e-9]),
        checks.compare(smooth, np.full_like(WEIGHTS, np.nan), 2 * WEIGHTS, [1e-9]),
        checks.compare(smooth, 2 * WEIGHTS, 2 * WEIGHTS, [100.0]),  # noise above signal
        checks.compare(smooth, 2 * WEIGHTS, np.inf * WEIGHTS, [1e-9]),
    ]
    verdicts = [comparison.verdict for (comparison,) in judge]
    A, D, I = Verdict.AGREES, Verdict.DISAGREES, Verdict.INCONCLUSIVE  # noqa: E741  the row below is read at a glance
    assert verdicts == [A, D, D, I, I]
    assert {verdict: verdict.exit_code for verdict in Verdict} == {A: 0, D: 1, I: 1}
    assert [Verdict.of_all(several) for several in ([A, A], [A, I], [I, D, A], [])] == [A, I, D, A]


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_error_estimates_cover_the_error(dtype):
    """Of 99 % of the entries at least, over several seeds: each claims eight deviations and all of the truncation."""
    inside = []
    for seed in range(3):
        problem = tanh_network(seed, dtype)
        estimate = checks.full_sequence(problem)
        reference = checks.complex_step(problem.astype(np.float64)).value
        inside.append(np.abs(flatten(estimate.value).astype(np.float64) - flatten(reference)) <= flatten(estimate.error_estimate))
        # And it is worth something: the claim is not "anything"
        assert np.median(flatten(estimate.error_estimate)) <= (1e-8 if dtype == "float64" else 1e-1) * np.abs(flatten(reference)).max()
    assert np.mean(inside) >= 0.99


def tanh_network(seed: int, dtype: str) -> checks.Problem:
    """A vanilla RNN of 88 weights."""
    T, B, D, H = 4, 3, 2, 8
    generator = np.random.default_rng(seed)

    def normal(*shape):
        return generator.normal(size=shape).astype(dtype)

    def step(w, h, x):
        h = jnp.tanh(x @ w["x"] + h @ w["h"] + w["b"])
        return h, h

    return checks.Problem(
        parameters={"x": normal(D, H), "h": normal(H, H) / np.sqrt(H).astype(dtype), "b": normal(H)},
        step=step,
        loss=lambda y, target: ((y - target) ** 2).sum(axis=-1),
        inputs=normal(T, B, D),
        targets=normal(T, B, H),
        initial_state=normal(B, H),
    )
