"""The benchmarks' own checks: that equal results are asserted, and can fail. No test looks at a time."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks are run from the root, not installed

from benchmarks import __main__ as command, agreement, bptt, contestants, plain_scan, timing
from benchmarks.options import Size

TORCH = importlib.util.find_spec("torch") is not None
TINY = Size(T=5, B=3, D=2, H=4)
SIZES = "benchmarks bptt: argument --sizes: expected T,B,D,H, four integers of at least 1; got"
SECONDS = "benchmarks bptt: argument --seconds: expected a number of seconds, at least 0; got"
FAST = ["--seconds", "0", "--sizes", "5,3,2,4"]


@pytest.fixture
def one_block_is_one_call(monkeypatch):
    monkeypatch.setattr(timing, "BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(timing, "MINIMUM_ROUNDS", 1)
    monkeypatch.setattr("benchmarks.ceiling.SQUARES", {"cpu": (8,)})


@pytest.mark.usefixtures("one_block_is_one_call")
def test_bptt_reports_every_size_and_dtype(capsys):
    assert command.main(["bptt", *FAST, "7,2,3,5", "--json", "-"]) == 0
    captured = capsys.readouterr()
    full = json.loads(captured.out)
    means = {"geometric_mean_ratio", "geometric_mean_autodiff_against_jitted"}
    assert set(full) == {"benchmark", "machine", "seconds_per_size", "results"} | means
    assert {"device", "processor", "cores", "jax", "torch"} <= set(full["machine"])
    assert [(one["dtype"], one["T"], one["B"], one["D"], one["H"]) for one in full["results"]] == [
        (dtype, *size) for dtype in ("float32", "float64") for size in ((5, 3, 2, 4), (7, 2, 3, 5))
    ]
    for one in full["results"]:
        peers = {"jitted", "autodiff", "torch"} if TORCH else {"jitted", "autodiff"}
        assert set(one["seconds"]) == set(one["gflops"]) == {"hand"} | peers
        assert set(one["ratios"]) == set(one["largest_difference"]) == peers
        assert one["ratios"]["autodiff"] == one["seconds"]["autodiff"] / one["seconds"]["hand"]
        assert one["autodiff_against_jitted"] == one["seconds"]["autodiff"] / one["seconds"]["jitted"]
        assert one["gflops"]["hand"] == pytest.approx(one["flop"] / one["seconds"]["hand"] / 1e9)
        assert one["fraction_of_ceiling"] == one["gflops"]["hand"] / max(one["matmul_gflops"].values())
    assert max(map(len, captured.err.splitlines())) <= 80, captured.err  # fits a terminal
    assert "5,3,2,4" in captured.err


@pytest.mark.usefixtures("one_block_is_one_call")
def test_bptt_writes_json_and_leaves_torch_out(tmp_path, capsys):
    path = tmp_path / "bptt.json"
    assert command.main(["bptt", *FAST, "--dtype", "float32", "--no-torch", "--json", str(path)]) == 0
    (one,) = json.loads(path.read_text())["results"]
    assert set(one["seconds"]) == {"hand", "jitted", "autodiff"}
    assert "5,3,2,4" in capsys.readouterr().out


def test_flop_counts_the_matrix_products():
    # T = B = 1, H = 1, D = 2: z = x W_x + h W_h is 2 (2 + 1) 4 = 24, its weight gradients 24, d_h 8; readout 3 products
    assert contestants.flop(Size(1, 1, 2, 1)) == 24 + 24 + 8 + 3 * 2 * contestants.OUTPUTS
    assert contestants.flop(Size(7, 3, 2, 1)) == 21 * contestants.flop(Size(1, 1, 2, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("peer", ["hand", "jitted", "autodiff", *(["torch"] if TORCH else [])])
@pytest.mark.parametrize("array", contestants.NAMES)
def test_a_wrong_gradient_is_never_timed(monkeypatch, capsys, peer, array, dtype):
    honest = getattr(contestants, peer)

    def faulty(given):
        def results():
            found = {name: value.copy() for name, value in honest(given).results().items()}
            worst = np.unravel_index(np.argmax(np.abs(found[array])), found[array].shape)
            found[array][worst] *= np.asarray(1.001, dtype)  # one entry, a tenth of a percent
            return found

        return honest(given)._replace(results=results)

    monkeypatch.setattr(contestants, peer, faulty)
    monkeypatch.setattr(timing, "interleaved", lambda *_: pytest.fail("timed a wrong gradient"))
    assert command.main(["bptt", *FAST, "--dtype", dtype]) == 1
    assert f"not timed, since the gradients differ: {array}[" in capsys.readouterr().err


def test_a_wrong_derivation_is_never_timed(monkeypatch):
    """Not only an altered number: a peer whose derivative leaves the recurrent weights out."""

    def cost(weights, inputs, targets):
        return plain_scan.cost(weights._replace(w_h=jax.lax.stop_gradient(weights.w_h)), inputs, targets)

    monkeypatch.setattr(plain_scan, "cost_and_gradient", jax.value_and_grad(cost))
    monkeypatch.setattr(timing, "interleaved", lambda *_: pytest.fail("timed a wrong gradient"))
    with pytest.raises(agreement.DisagreementError, match=r"w_h\["):
        bptt.measure(TINY, "float64", 0.0, with_torch=False)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (lambda a: a.astype("float32"), "w_h: expected float64 everywhere"),
        (lambda a: a.T, "w_h: expected float64 everywhere"),
        (lambda a: a * np.nan, "w_h[0, 0]"),
    ],
)
def test_agreement_refuses(fault, says):
    generator = np.random.default_rng(3)
    expected = {name: generator.normal(size=(2, 8)) for name in ("cost", *contestants.NAMES)}
    with pytest.raises(agreement.DisagreementError) as caught:
        agreement.assert_equal({"a": expected, "b": expected | {"w_h": fault(expected["w_h"])}}, TINY, "float64")
    assert says in str(caught.value)


def test_tolerance_is_far_below_any_bug():
    """At the largest size that is benchmarked, rounding is allowed less than a percent in float32."""
    assert max(agreement.tolerance(size, "float32") for size in bptt.SIZES) < 1e-2
    assert max(agreement.tolerance(size, "float64") for size in bptt.SIZES) < 1e-11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], f"benchmarks: expected one of {', '.join(command.BENCHMARKS)}; got 'nothing'"),
        (["bptt", "--dtype", "half"], "benchmarks bptt: argument --dtype: invalid choice: 'half'"),
        (["bptt", "--sizes", "1,2,3"], f"{SIZES} '1,2,3'"),
        (["bptt", "--sizes", "1,2,3,0"], f"{SIZES} '1,2,3,0'"),
        (["bptt", "--sizes", "1,2,3,x"], f"{SIZES} '1,2,3,x'"),
        (["bptt", "--seconds", "-1"], f"{SECONDS} '-1'"),
        (["bptt", "--seconds", "nan"], f"{SECONDS} 'nan'"),
        (["bptt", "--json", "/nowhere/at/all.json"], "benchmarks bptt: argument --json: expected a file in an existing folder"),
        (["bptt", "--fast"], "benchmarks bptt: unrecognized arguments: --fast"),
    ],
)
def test_bad_options_cost_one_line(arguments, message, capsys):
    try:
        code = command.main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1


@pytest.mark.long
def test_verify_says_what_it_took_and_notices_a_wrong_verdict(capsys, monkeypatch):
    from benchmarks import verify

    monkeypatch.setitem(verify.LIMITS, Size(3, 2, 2, 4), verify.Limit(seconds=600, gigabytes=0.001))
    monkeypatch.setattr(verify, "EXPECTED", {"right": 0, "one gradient wrong": 0})
    assert command.main(["verify", "--sizes", "3,2,2,4", "--json", "-"]) == 1
    captured = capsys.readouterr()
    right, wrong = json.loads(captured.out)["results"]
    assert (right["verdict_right"], wrong["verdict_right"]) == (True, False)
    assert right["parameters"] == 4 * 4 * (2 + 4 + 2)
    assert 0.1 < right["seconds"] < 600
    assert 1e8 < right["peak_bytes"] < 4e9
    assert not right["within_limits"]  # no process with JAX in it fits a megabyte
    assert "EXCEEDED WRONG VERDICT" in captured.err
