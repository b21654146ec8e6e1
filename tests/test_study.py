"""A small draw of ``python -m benchmarks study``, over few structures, and that the study can fail."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks are run from the root, not installed

from benchmarks import study, study_cases
from benchmarks.study_cases import REGIMES, STRUCTURES, Structure
from checks.files.export import ExportOptions, golden_vectors, random_case
from lstm.layouts import LAYOUTS

pytestmark = pytest.mark.long

FEW = (
    Structure("torch", study_cases.SIZES[0]),
    Structure("keras", study_cases.SIZES[0]),  # of the same sizes: the same compiled programs
    Structure("canonical", study_cases.SIZES[0] | {"reverse": True, "peepholes": True}),
)
CASES = 24


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return study.run(CASES, 1, None, np.inf, FEW)


def test_no_correct_gradient_is_refused_and_no_bug_that_shows_is_accepted(rows):
    about = study.summary(rows)
    assert (about["correct"], about["wrong"]) == (CASES, CASES)
    assert about["refused"] == []
    assert about["missed"] == []
    assert about["unconfirmed"] == []
    assert about["correct_verdicts"]["agrees"] > CASES / 2
    assert about["wrong_verdicts"]["disagrees"] > CASES / 2
    assert about["bugs"] > 15
    assert {row["regime"] for row in rows} == set(REGIMES)
    accepted = [row for row in rows if row["planted"] and row["verdict"] == "agrees"]
    assert all(row["said"] for row in accepted if row["effect_in_tolerances"] <= 1)
    table = study.table({"summary": about, "rows": rows, "seed": 1})
    assert "refused though correct: 0; accepted though visible: 0" in table
    assert all(structure.layout in table for structure in FEW)


def test_in_finer_precisions_accepted_bugs_have_next_to_no_effect(rows):
    """Two tolerances of float32 are some 1e-4 of an ordinary array at most; of float64, 1e-13."""
    for dtype, most in (("float32", 1e-3), ("float64", 1e-11)):
        found = study.summary(rows)["accepted"][dtype]
        assert found["accepted"] == 0 or found["largest_effect"] < most


def test_a_judge_that_is_wrong_is_seen(rows):
    """Verdicts exchanged: the summary has to name every case."""
    other = {"agrees": "disagrees", "disagrees": "agrees", "inconclusive": "inconclusive"}
    about = study.summary([row | {"verdict": other[row["verdict"]]} for row in rows])
    assert len(about["refused"]) == sum(not row["planted"] and row["verdict"] == "agrees" for row in rows)
    visible = [row for row in rows if row["planted"] and row["verdict"] == "disagrees" and row["effect_in_tolerances"] > 2]
    assert len(about["missed"]) == len(visible) > CASES / 2


def test_a_case_is_the_same_again_and_a_log_is_resumed(rows, tmp_path, monkeypatch):
    log = tmp_path / "study.jsonl"
    first = study.run(2, 1, log, np.inf, FEW)
    assert first == rows[:4]
    judged = []
    monkeypatch.setattr(study, "judge", lambda seed, number, planted, _: judged.append((number, planted)) or {"number": number})
    again = study.run(3, 1, log, np.inf, FEW)
    assert judged == [(2, False), (2, True)]
    assert again[:4] == json.loads(json.dumps(first))
    assert study.run(1, 2, log, -1.0, FEW) == []  # of another seed nothing is there, and there is no time for more


def test_every_layout_and_variant_is_among_the_structures():
    assert {one.layout for one in STRUCTURES} == set(LAYOUTS)
    options = {name for one in STRUCTURES for name in one.options}
    fields = {field.name for field in dataclasses.fields(ExportOptions)} - {"layout", "axes", "layout_file", "dtype", "seed"}
    assert fields == options
    assert max(one.options["timesteps"] for one in STRUCTURES) == 500
    for structure in STRUCTURES:
        ExportOptions(LAYOUTS[structure.layout], **structure.options).layout.attributes_of(
            random_case(ExportOptions(LAYOUTS[structure.layout], **structure.options)).layers
        )


def test_the_effect_of_a_bug_is_what_stands_in_the_file():
    """A right gradient and the effect add up to the catalogue's wrong one, in the file's own names."""
    for number in range(40):
        drawn = study_cases.draw(3, number, True, FEW[:1])
        if (drawn.dtype, drawn.method) == ("float64", "hand BPTT") and drawn.regime == "ordinary":
            break
    options = ExportOptions(drawn.reading.layout, **drawn.structure.options)
    layers = drawn.reading.layout.read({name: drawn.arrays[name] for name in drawn.arrays if name.startswith(("weight", "bias"))})
    case = dataclasses.replace(
        random_case(options),
        layers=layers,
        inputs=drawn.arrays["inputs"],
        initial_state=drawn.reading.layout.read_states(drawn.arrays["h0"], drawn.arrays["c0"], layers),
        d_outputs=drawn.arrays["d_outputs"],
        d_final_state=drawn.reading.layout.read_states(drawn.arrays["d_h_n"], drawn.arrays["d_c_n"], layers),
    )
    right = golden_vectors(case, options)["grad.weight_hh_l0"]
    effect = drawn.effect.network.layers[0].w_h.T
    scale = np.abs(right).max()
    np.testing.assert_allclose(drawn.arrays["grad.weight_hh_l0"], right + effect, atol=1e-12 * scale)
    assert any(leaf.any() for leaf in jax.tree.leaves(drawn.effect))
