"""What rounding is allowed: correct gradients of PyTorch pass in their own precision, small errors do not, and neither is luck."""

from __future__ import annotations

import jax
import ml_dtypes
import numpy as np
import pytest
from verify_cases import VARIANTS, check, golden, oracle_of, without

import checks.oracle
from checks.files.candidate_reading import understand
from checks.oracle.confirmation import Confirmation
from checks.oracle.rounding_strand import product_rounding
from checks.oracle.tolerance import LAMBDA, RoundingModel
from checks.verdict import Verdict

pytestmark = pytest.mark.long

CASES = {  # sizes of the network, what its weights are multiplied by
    "one step, one sequence": ({"timesteps": 1, "batch": 1, "inputs": 2, "hidden": 3}, 1),
    "ordinary": ({"timesteps": 32, "batch": 4, "inputs": 32, "hidden": 32}, 1),
    "a hundred steps": ({"timesteps": 100, "batch": 2, "inputs": 3, "hidden": 5}, 1),
    "half saturated": ({"timesteps": 20, "batch": 3, "inputs": 4, "hidden": 8}, 3),
    "saturated": ({"timesteps": 12, "batch": 3, "inputs": 4, "hidden": 8}, 8),
    "both directions, projected": (
        {"timesteps": 20, "batch": 3, "bidirectional": True, "projection": 3, "hidden": 7}, 1,
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def believed(monkeypatch):
    """The oracle's confirmation has tests of its own; here it would be compiled for every case."""
    monkeypatch.setattr(checks.oracle, "confirm", lambda *_, **__: Confirmation(True, 0.0, 0, 0, 0.0, 0.0, 0))


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")  # PyTorch's, of its own speed
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_pytorch_passes_in_its_own_precision_and_not_by_a_wide_tolerance(name, dtype):
    pytest.importorskip("torch")
    from verify_torch import torch_candidate

    sizes, scale = CASES[name]
    arrays, reading = golden("torch", **sizes, seed=1)
    report = check(torch_candidate(arrays, dtype, scale), reading)
    assert report.verdict is Verdict.AGREES, f"\n{report}"
    assert {each.precision for each in (*report.forward, *report.parameters)} == {dtype}
    # The errors that PyTorch really makes fill a fair part of what is allowed: λ = 8 deviations, of models that err upward
    largest = max(each.in_tolerances for each in report.parameters)
    assert 0.005 < largest < 0.7


def test_float32_is_not_accepted_as_float64():
    pytest.importorskip("torch")
    from verify_torch import torch_candidate

    arrays, reading = golden("torch", timesteps=20, seed=1)
    given = without(torch_candidate(arrays, "float32"), "outputs", "h_n", "c_n")  # else those are what disagrees
    report = check(given, reading, precision="float64")
    assert {each.verdict for each in report.parameters} == {Verdict.DISAGREES}


@pytest.mark.parametrize("name", ["a hundred steps", "saturated"])
def test_following_the_rounding_through_time_is_needed(name):
    """Without it, by the sums over time alone, PyTorch's correct float32 gradient would be rejected."""
    pytest.importorskip("torch")
    from verify_torch import torch_candidate

    sizes, scale = CASES[name]
    arrays, reading = golden("torch", **sizes, seed=1)
    candidate = understand(torch_candidate(arrays, "float32", scale), reading)
    model = RoundingModel(candidate.case)
    truth, _ = candidate.case.hand_gradients()
    factor = LAMBDA * 2.0**-24
    errors = np.abs(candidate.gradients["h0"][0] - truth.initial_state[0].h)
    assert (errors > factor * model.local[2].initial_state[0].h).any()
    assert (errors <= factor * model.spread[2].initial_state[0].h).all()


@pytest.mark.parametrize("seed", [4, 5])
def test_three_percent_of_one_term_at_one_timestep_is_found(seed):
    """T = 100, float32: δ of one gate at one timestep of one sequence 3 % too large, in the sum for the weights only."""
    pytest.importorskip("torch")
    from verify_torch import torch_candidate

    arrays, reading = golden("torch", timesteps=100, batch=2, inputs=3, hidden=5, seed=seed)
    given = torch_candidate(arrays, "float32")
    oracle = oracle_of(given, reading)
    t, b, gate = 37, 1, slice(5, 10)
    delta = np.zeros((100, 2, 20))
    delta[t, b, gate] = 0.03 * oracle.internals[0].d_z[t, b, gate]
    wrong = given["grad.weight_ih_l0"] + np.einsum("tbz,tbx->zx", delta, oracle.case.inputs)
    given["grad.weight_ih_l0"] = wrong.astype(np.float32)
    report = check(given, reading, oracle)
    (one,) = [each for each in report.parameters if each.verdict is Verdict.DISAGREES]
    assert one.name == "weight_ih_l0"
    assert [block.name for block in one.blocks if block.verdict is Verdict.DISAGREES] == ["f"]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precisions_are_judged_as_such(dtype):
    """The exact gradient of rounded numbers, rounded; and the same with one gate's block half as large again."""
    arrays, reading = golden("torch", timesteps=5, seed=2)
    inputs = {name: array.astype(dtype) for name, array in arrays.items() if not name.startswith(("grad.", "internal."))}
    oracle = oracle_of({**inputs, "outputs": arrays["outputs"].astype(dtype)}, reading)
    right = {f"grad.{name}": array.astype(dtype) for name, array in _weight_gradients(oracle, reading).items()}
    outputs = {"outputs": np.asarray(oracle.forward[0]).astype(dtype)}
    given = {name: array for name, array in inputs.items() if name not in ("h_n", "c_n")} | outputs
    report = check(given | right, reading, oracle)
    assert report.verdict is Verdict.AGREES, f"\n{report}"
    wrong = right["grad.weight_hh_l0"].copy()
    wrong[5:10] = (1.5 * wrong[5:10].astype(np.float64)).astype(dtype)
    report = check(given | right | {"grad.weight_hh_l0": wrong}, reading, oracle)
    assert report.verdict is Verdict.DISAGREES
    assert {each.precision for each in report.parameters} == {np.dtype(dtype).name}


def _weight_gradients(oracle, reading):
    return reading.layout.write_gradients(oracle.gradients.network.layers, reading.layout.write(oracle.case.layers))


@pytest.mark.parametrize("variant", ["everything", "clip straight through", "zoneout"])
def test_undisturbed_the_recurrence_is_the_network(variant):
    """The model's own forward pass and its JAX gradient, against those of `lstm`: to rounding, as it itself allows."""
    arrays, reading = golden("canonical", **VARIANTS[variant], seed=7)
    case = understand(arrays, reading).case
    model = RoundingModel(case, samples=2)
    outputs, finals = case.forward()
    gradients, _ = case.hand_gradients()
    allowed = model.allowed(np.float64)
    results = model.true, (outputs, finals, gradients), (allowed.outputs, allowed.final_state, allowed.gradients)
    for ours, theirs, room in zip(*map(jax.tree.leaves, results), strict=True):
        assert (np.abs(ours - theirs) <= room).all()


@pytest.mark.parametrize("size", [1e-170, 1e-20, 1e150])
def test_the_size_of_the_upstream_gradients_does_not_matter(size):
    """The gradient is linear in them, and so must be what is allowed: no square under- or overflows."""
    arrays, reading = golden("torch", timesteps=6, seed=3)
    scaled = {name: size * array if name.startswith(("d_", "grad.")) else array for name, array in arrays.items()}
    assert check(scaled, reading).verdict is Verdict.AGREES
    plain, other = (RoundingModel(understand(each, reading).case).allowed(np.float64) for each in (arrays, scaled))
    for one, two in zip(jax.tree.leaves(plain.gradients), jax.tree.leaves(other.gradients), strict=True):
        np.testing.assert_allclose(two, size * one, rtol=1e-6)


@pytest.mark.parametrize("ordered", [False, True])
def test_the_rounding_of_a_product_is_modelled(ordered, rng):
    """float32 sums, term after term, against float64: within λ deviations, and no more than some tens of times less than that."""
    a, b = rng.standard_normal((40, 300)).astype(np.float32), rng.standard_normal((300, 30)).astype(np.float32)
    if ordered:
        a, b = np.abs(a), np.abs(b)
    total = np.zeros((40, 30), np.float32)
    for k in range(300):
        total += a[:, k : k + 1] * b[k]
    wide = a.astype(np.float64), b.astype(np.float64)
    deviations = np.abs(total - wide[0] @ wide[1]) / (2.0**-24 * product_rounding(*wide))
    assert 0.2 < deviations.max() < LAMBDA
