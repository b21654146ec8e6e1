"""The benchmarks of the exhaustive check: what they report, and that they refuse to time what disagrees. No test looks at a time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks are run from the root, not installed

from benchmarks import __main__ as command, exhaustive, plots, scaling

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def docs(tmp_path_factory):
    """A folder like docs, with a run of each benchmark at tiny sizes."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "data").mkdir()
    (folder / "figures").mkdir()
    (folder / "performance.md").write_text(f"Before.\n{plots.BEGIN}\nold\n{plots.END}\nAfter.\n")
    runs = {
        "exhaustive": ["--sizes", "3,2,3,4", "--no-torch"],
        "schemes": ["--timesteps", "2", "--schemes", "full_sequence", "per_timestep.frozen"],
    }
    for name, options in runs.items():
        assert command.main([name, *options, "--json", str(folder / "data" / f"{name}.json")]) == 0
    return folder


def results(docs, name):
    return json.loads((docs / "data" / f"{name}.json").read_text())["results"]


def test_exhaustive_reports_every_contestant(docs):
    (one,) = results(docs, "exhaustive")
    assert (one["T"], one["B"], one["D"], one["H"], one["P"]) == (3, 2, 3, 4, 16 * (3 + 4 + 1))
    assert set(one["seconds"]) == {"ours", "ours, compiled before", "vmap", "numpy"}
    assert one["ratios"]["vmap"] == one["seconds"]["vmap"] / one["seconds"]["ours"]


def test_exhaustive_times_nothing_that_disagrees(monkeypatch, capsys):
    right = exhaustive.by_numpy

    def wrong(*arguments):
        found, seconds = right(*arguments)
        return found + 1e-4 * np.abs(found).max(), seconds

    monkeypatch.setattr(exhaustive, "by_numpy", wrong)
    assert command.main(["exhaustive", "--sizes", "3,2,3,4", "--no-torch"]) == 1
    assert "the NumPy loop at (3, 2, 3, 4) differs" in capsys.readouterr().err


def test_schemes_tell_a_derivative_from_what_is_none(docs):
    """At every step frozen is off by what truncation to one timestep drops; the full sequence comes down to rounding."""
    rows = {(row["scheme"], row["dtype"]): row for row in results(docs, "schemes")}
    assert set(rows) == {(scheme, dtype) for scheme in ("full_sequence", "per_timestep.frozen") for dtype in ("float32", "float64")}
    assert rows["full_sequence", "float64"]["least_error"] < 1e-9
    assert rows["full_sequence", "float32"]["least_error"] < 1e-3
    for dtype in ("float32", "float64"):
        assert rows["per_timestep.frozen", dtype]["least_error"] > 1e-3
        assert len(rows["per_timestep.frozen", dtype]["steps"]) == len(rows["per_timestep.frozen", dtype]["rms_error"])
    assert rows["full_sequence", "float64"]["cell_steps"] == 2 * 2 * 204  # two runs of two timesteps for each weight


def test_a_fitted_exponent_is_the_slope_of_the_larger_half():
    assert scaling.exponent([1, 2, 4, 8], [9.0, 9.0, 4.0**1.5, 8.0**1.5]) == pytest.approx(1.5)


def test_plots_replace_the_measured_part_and_draw_what_there_is(docs, capsys):
    assert command.main(["plots", "--docs", str(docs)]) == 0
    page = (docs / "performance.md").read_text()
    assert page.startswith("Before.\n")
    assert page.endswith("After.\n")
    assert "old" not in page
    assert "python -m benchmarks exhaustive" in page
    assert "| full_sequence | float64 | 2 |" in page
    drawn = {path.name for path in (docs / "figures").iterdir()}
    assert drawn == {"performance-exhaustive.svg", "performance-schemes-float32.svg", "performance-schemes-float64.svg"}
    for name in drawn:
        assert f"(figures/{name})" in page
        assert "<svg" in (docs / "figures" / name).read_text()
    assert command.main(["plots", "--docs", str(docs)]) == 0
    assert (docs / "performance.md").read_text() == page  # drawn again, nothing changes


def test_plots_need_a_page(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["plots", "--docs", str(tmp_path)])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("benchmarks plots: --docs: expected a folder that holds performance.md; got ")


def test_one_size_is_no_exponent(capsys):
    with pytest.raises(SystemExit):
        command.main(["scaling", "--most", "16"])
    says = "argument --most: expected at least 32, so that there are two sizes to fit a line through; got 16"
    assert capsys.readouterr().err.strip().endswith(says)
    assert scaling.exponent([1, 2, 4], [9.0, 2.0**1.5, 4.0**1.5]) == pytest.approx(1.5)
