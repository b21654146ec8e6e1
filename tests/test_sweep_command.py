"""``lstm-check sweep``: the branches as theory has them, a scheme that is off is found out, and the demo's and the sweep's pages."""

from __future__ import annotations

import dataclasses
import json

import jax
import numpy as np
import pytest
from html_pages import Seen, problems

from checks import cli
from checks.commands.demo import DemoOptions, demo, question_problem
from checks.commands.sweep import SCHEMES, SweepOptions, SweepReport, Swept, run_sweep
from checks.cross_validation import choose_reference
from checks.html import page_of, pictures_of
from checks.pictures.files import picture
from checks.sweep import HALF_DECADES, Curve, sweep
from checks.verdict import Verdict

pytestmark = pytest.mark.long

SMALL = SweepOptions(timesteps=(3,), dtypes=("float64",), hidden=2)
DERIVATIVES = ("full_sequence", "per_timestep.paired", "per_timestep.replayed", "per_timestep.untied")


@pytest.fixture(scope="module")
def report() -> SweepReport:
    seen = []
    found = run_sweep(SMALL, progress=lambda finished, total: seen.append((finished, total)))
    assert seen == [(k, len(SCHEMES)) for k in range(1, len(SCHEMES) + 1)]
    return found


def test_the_branches_have_the_slopes_of_theory(report):
    assert report.verdict is Verdict.AGREES
    curves = {each.curve.name: each for each in report.curves}
    assert tuple(curves) == SCHEMES
    for name in DERIVATIVES:
        each = curves[name]
        assert each.expected
        assert each.curve.converges is True
        assert each.curve.truncation_slope == pytest.approx(2, abs=0.1)
        assert each.curve.rounding_slope == pytest.approx(-1, abs=0.15)
        assert each.curve.floor < 4
    frozen, shared = curves["per_timestep.frozen"], curves["per_timestep.shared"]
    assert (frozen.expected, frozen.curve.converges) == (shared.expected, shared.curve.converges) == (False, False)
    assert np.ptp(np.log(frozen.curve.rms_error)) < 0.1  # truncated BPTT at any step
    assert shared.curve.rounding_slope == pytest.approx(-1, abs=0.15)  # no derivative at all


def test_a_gradient_that_is_off_is_found_out():
    """One entry of the reference moved by little: what no step removes is left at the best one."""
    problem = question_problem(DemoOptions(timesteps=3, hidden=2))
    right = choose_reference(problem).value
    largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(right))
    (curve,) = sweep(problem, right, ("full_sequence",))
    assert curve.converges is True
    for off in (1e-8, 1e-5, 1e-2):
        wrong = jax.tree.map(lambda leaf: np.array(leaf), right)
        wrong.layers[0].w_h[1, 2] += off * largest
        (curve,) = sweep(problem, wrong, ("full_sequence",))
        assert curve.converges is False, off
        swept = Swept(3, curve, True, 1.0)
        found = dataclasses.replace(SweepReport(SMALL, (swept,), True))
        assert found.verdict is Verdict.DISAGREES
        assert str(found).startswith("DISAGREES: not the derivative: full_sequence (T = 3, float64).")


STEPS = HALF_DECADES[np.dtype(np.float64)]


def curve_of(error: np.ndarray) -> Curve:
    return Curve("full_sequence", "float64", STEPS, error, error)


@pytest.mark.parametrize(
    ("error", "converges"),
    [
        (1e-17 / STEPS + STEPS**2, True),
        (1e-17 / STEPS + STEPS, False),  # a one-sided difference
        (1e-17 / STEPS + STEPS**3, False),
        (1e-17 / STEPS + STEPS**2 + 1e-9, False),
        (1e-17 / STEPS + 0.1, False),
        (1e-3 / STEPS, False),
        (1e-17 / STEPS, None),  # no step is too long: what comes above is not seen
    ],
)
def test_what_counts_as_the_derivative(error, converges):
    assert curve_of(error).converges is converges


def test_nothing_is_said_without_a_reference_or_without_steps():
    unsure = Swept(3, curve_of(1e-17 / STEPS), True, 1.0)
    assert SweepReport(SMALL, (unsure,), True).verdict is Verdict.INCONCLUSIVE
    assert str(SweepReport(SMALL, (unsure,), True)).startswith("INCONCLUSIVE: too few steps above the best one to tell: full_sequence")
    assert SweepReport(SMALL, (unsure,), False).verdict is Verdict.INCONCLUSIVE


def test_the_text_fits_a_terminal(report):
    lines = str(report).splitlines()
    assert lines[0].startswith("AGREES: ")
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("per_timestep.frozen")]
    assert row.endswith("no: cut BPTT")


def test_the_json_holds_every_point(report):
    said = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert said["verdict"] == "agrees"
    assert said["network"]["timesteps"] == [3]
    for curve, each in zip(said["curves"], report.curves, strict=True):
        assert curve["steps"] == STEPS.tolist()
        assert curve["rms_error"] == each.curve.rms_error.tolist()
        assert curve["is_the_derivative"] == curve["expected_to_be"] == (curve["name"] in DERIVATIVES)


def test_the_page_and_the_picture(report):
    seen = Seen(page_of(report))
    assert problems(page_of(report)) == []
    assert seen.texts["h1"][0].startswith("AGREES ")
    (label,) = [one["aria-label"] for one in seen.all("svg")]
    assert "truncation slope +2.0" in label
    assert "rounding slope −1.0" in label
    svg = picture(pictures_of(report), "a.svg").decode()
    inside = page_of(report).partition("<svg")[2].partition("</svg>")[0].partition(">")[2]
    assert "truncation, slope +2.0" in inside
    assert svg.count("<circle") >= len(STEPS)
    assert svg.count("<circle") == inside.count("<circle")


def test_the_demos_page():
    """Its errors by entry, the frozen reading's too, and each timestep's share."""
    found = demo(DemoOptions(timesteps=3, hidden=2))
    text = page_of(found)
    assert problems(text) == []
    seen = Seen(text)
    labels = " ".join(str(one["aria-label"]) for one in seen.all("svg"))
    assert "Each timestep's own share of the gradient" in labels
    assert "layers[0].w_h: right" in labels
    assert "entries differ" in labels  # of the frozen reading
    assert "Which is less noisy?" in seen.texts["h3"]
    assert [scene.label for scene in pictures_of(found)]


def test_the_command(monkeypatch, tmp_path, capsys, report):
    asked = []

    def run(options, *, progress):
        asked.append(options)
        return report

    monkeypatch.setattr("checks.commands.sweep.run_sweep", run)
    paths = {flag: tmp_path / f"a.{flag}" for flag in ("json", "html", "svg")}
    words = ["--timesteps", "3", "8", "3", "--hidden", "2", "--dtype", "float64", "--seed", "5"]
    words += ["--json", str(paths["json"]), "--html", str(paths["html"]), "--plot", str(paths["svg"])]
    assert cli.main(["sweep", *words]) == 0
    assert asked == [SweepOptions((3, 8), ("float64",), 2, 1, "squared_error", 5)]
    assert capsys.readouterr().out == f"{report}\n"
    assert json.loads(paths["json"].read_text())["verdict"] == "agrees"
    assert paths["html"].read_text().startswith("<!DOCTYPE html>")
    assert paths["svg"].read_text().startswith("<?xml")


@pytest.mark.parametrize("words", [["--timesteps", "0"], ["--dtype", "float16"], ["--timesteps"]])
def test_bad_options_are_one_line(words, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["sweep", *words])
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
