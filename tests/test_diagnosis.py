"""The diagnosis names every bug of the catalogue, most pairs, and nothing else."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # benchmarks are run from the root, not installed

from benchmarks import diagnosis as study
from benchmarks.diagnosis_cases import CORRUPTIONS, corrupted, probe_of, random_probe
from checks.catalogue import named
from checks.catalogue.cost import clipped_by_norm, clipped_elementwise, clipped_in_loop, temperature, weight_decay
from checks.diagnosis.fit import LEAST_EVIDENCE, LEAST_EXCESS
from checks.diagnosis.generic import WORDS
from checks.diagnosis.observation import Observation
from checks.diagnosis.pairs import MOST_PAIRS
from checks.files.draw import ExportOptions
from lstm.layouts import LAYOUTS

pytestmark = pytest.mark.long

OPTIONS = ExportOptions(LAYOUTS["torch"], timesteps=6, batch=3, inputs=4, hidden=5, outputs=7, seed=5)


def cost(**changes):
    return probe_of(dataclasses.replace(OPTIONS, loss="cross_entropy", **changes))


@pytest.fixture(scope="module")
def upstream():
    return probe_of(OPTIONS)


def diagnose(probe, got, only=None):
    keep = list(got) if only is None else only
    return probe.subject.diagnose(*({name: arrays[name] for name in keep} for arrays in (got, probe.right, probe.allowed)))


def plant(probe, *names):
    return probe.planted.arrays(tuple(named(name, probe.planted.case) for name in names))


@pytest.mark.parametrize("loss", [None, "squared_error", "cross_entropy"])
def test_every_bug_of_the_catalogue_is_named_on_a_network_of_random_size(loss, rng):
    found = study.single_bugs(rng, 1) if loss is None else _singles(rng, loss)
    assert found["unnamed"] == []
    assert found["named"] > 100


def _singles(rng, loss):
    probe = random_probe(rng, loss=loss, layers=1)
    bugs = [bug for bug in probe.planted.bugs if probe.planted.arrays((bug,)) is not None]
    unnamed = [bug for bug in bugs if bug.name not in diagnose(probe, probe.planted.arrays((bug,))).names]
    return {"unnamed": unnamed, "named": len(bugs) - len(unnamed)}


def test_random_pairs_are_named_eight_times_in_ten(rng):
    found = study.random_pairs(rng, 10)
    assert found["named"] >= 8, found
    assert "another named" not in found, found


def test_random_corruptions_are_never_named(rng):
    found = study.corruptions(rng, 30)
    assert found["false names"] == []
    assert set(found["by kind"]) <= set(CORRUPTIONS)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_kind_of_corruption_corrupts(kind, upstream, rng, monkeypatch):
    monkeypatch.setattr("benchmarks.diagnosis_cases.CORRUPTIONS", (kind,))
    drawn = [corrupted(rng, upstream.right, upstream.subject.arrangement.gates)[2] for _ in range(5)]
    assert any((got[name] != upstream.right[name]).any() for got in drawn for name in got)


def test_a_diagnosis_that_took_near_misses_would_be_caught(upstream, rng, monkeypatch):
    """The study of corruptions can fail: with a fit that accepts what explains half of the error, it reports false names."""
    monkeypatch.setattr(Observation, "fits", lambda self, vector: self.explained(vector) > 0.5)
    assert study.corruptions(rng, 5)["falsely named"] > 0


def test_one_entry_beside_a_bug_withholds_its_name(upstream):
    got = {name: array.copy() for name, array in plant(upstream, "no-dc-carry").items()}
    name = "network.layers[0].w_x"
    got[name][1, 2] += 1000 * upstream.allowed[name].max()
    found = diagnose(upstream, got)
    assert found.names == ()
    assert found.fitted.near[0].name == "no-dc-carry"
    assert "Near misses, not the cause as they stand" in str(found)


def test_an_error_near_rounding_is_not_named(upstream):
    bug = plant(upstream, "no-dc-carry")
    most = max(float((np.abs(bug[name] - right) / upstream.allowed[name]).max()) for name, right in upstream.right.items())
    got = {name: right + (bug[name] - right) * 10 / most for name, right in upstream.right.items()}
    assert "times what rounding may do" in diagnose(upstream, got).fitted.withheld


def test_mistakes_that_the_probe_cannot_tell_apart_are_all_named():
    probe = cost(batch=2)
    found = diagnose(probe, plant(probe, "times-b"))
    assert set(found.names) == {"times-2", "times-b"}
    assert "cannot be told apart" in str(found)
    assert [one["told_apart"] for one in found.to_json()] == [False, False]


def test_what_is_known_without_a_name(upstream):
    """Which blocks are right, which is scaled, at which timestep the inputs' gradient departs."""
    got = {name: array.copy() for name, array in upstream.right.items()}
    got["network.layers[0].w_h"][:, 5:10] *= 0.7345
    got["inputs"][:3] += 0.1
    place = diagnose(upstream, got).place
    block = next(block for block in place.blocks if block.name.endswith("w_h") and block.gate == "f")
    assert block.exactly_scaled
    assert block.scale == pytest.approx(0.7345)
    assert place.first_timestep == 2
    sentences = " ".join((*place.right, *place.arrays, *place.time))
    assert "gates i, g and o of network.layers[0].w_h" in sentences
    assert "is right down to t = 3 and first departs at t = 2" in sentences


def test_one_unit_is_pointed_at(upstream):
    got = {name: array.copy() for name, array in upstream.right.items()}
    got["network.layers[0].w_x"][:, 3::5] += 0.1
    assert any("all in unit 3" in sentence for sentence in diagnose(upstream, got).place.arrays)


@pytest.mark.parametrize(
    ("make", "value"),
    [(weight_decay, 3e-4), (temperature, 1.7), (clipped_in_loop, 0.01), (clipped_elementwise, 0.02), (clipped_by_norm, 0.25)],
)
def test_numbers_that_nobody_could_guess_are_read_off(make, value):
    probe = cost()
    (name,) = diagnose(probe, probe.planted.arrays((make(value),))).names
    assert name == make(value).name


def test_a_bug_and_a_factor_on_single_arrays(upstream):
    got = dict(plant(upstream, "forget-gate-uses-new-c"))
    got["network.layers[0].b"] = 2 * got["network.layers[0].b"]
    found = diagnose(upstream, got)
    assert found.names == ("bias-doubled + forget-gate-uses-new-c",)
    got = dict(plant(upstream, "forget-gate-uses-new-c"))
    got["inputs"] = -got["inputs"]
    (name,) = diagnose(upstream, got).names
    assert name == "array-times-minus-1 + forget-gate-uses-new-c"


def test_fewer_arrays_still_tell(upstream):
    got = plant(upstream, "recurrent-matrix-transposed")
    assert diagnose(upstream, got, ["network.layers[0].w_x"]).names == ("recurrent-matrix-transposed",)


def test_what_is_not_finite_is_left_out(upstream):
    got = dict(plant(upstream, "no-dh-carry"))
    got["inputs"] = np.full_like(got["inputs"], np.nan)
    found = diagnose(upstream, got)
    assert found.names == ("no-dh-carry",)
    assert "Left out, not being finite: inputs" in found.tried


def test_text_fits_a_terminal_and_names_equation_and_fix(upstream):
    text = str(diagnose(upstream, plant(upstream, "no-dh-carry")))
    assert text.startswith("Diagnosis: no-dh-carry.")
    assert "Breaks equation (9) of" in text
    assert "Fix: Add what the later timestep sent back" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_page_of_the_diagnosis_names_every_kind_and_its_own_numbers():
    page = (Path(__file__).parents[1] / "docs" / "diagnosis.md").read_text(encoding="utf-8")
    for kind in WORDS:
        assert f"`{kind}`" in page, kind
    assert f"less than {LEAST_EXCESS:.0f} times what rounding may do" in page
    assert f"at most {MOST_PAIRS} are" in page
    assert f"10⁻{'⁰¹²³⁴⁵⁶⁷⁸⁹'[int(LEAST_EVIDENCE)]}" in page
