"""``lstm-check bugs``: the table is computed, every miss is shown, and a checker that misses turns the verdict."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from checks.catalogue import BUGS, FAMILIES
from checks.catalogue.mutants import gradients
from checks.catalogue.value import at, cost
from checks.commands import bugs as command
from checks.commands.bugs_networks import random_cost
from checks.commands.bugs_peers import jax_check_grads, torch_gradcheck
from checks.estimate import flatten
from checks.verdict import Verdict

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def matrix():
    """One reading and no framework: the whole table is what users run, and takes longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "READINGS", ("frozen",))
        patch.setattr(command, "peers", lambda case, problem: {})
        patch.setattr(command, "complex_step", command.autodiff)  # one program fewer to compile, twice
        return command.bugs(seed=1)


def test_every_estimator_catches_every_bug_and_takes_the_correct_gradient(matrix):
    assert matrix.verdict is Verdict.AGREES
    assert matrix.missed("per_timestep.frozen") == ["no-carries"]
    assert {name: matrix.missed(name) for name in matrix.sound()} == {name: [] for name in ("full_sequence", "autodiff", "complex_step")}
    assert matrix.rows[0].cells["per_timestep.frozen"].caught  # the correct gradient, which is not what it estimates


def test_the_table_holds_the_whole_catalogue(matrix):
    """But for the bug of a gradient stated to be no cost's, which differences of a cost cannot judge."""
    assert {bug.name for bug in BUGS} - {row.name for row in matrix.rows} == {"clip-not-straight-through"}
    assert {row.family for row in matrix.rows} >= {family.name for family in FAMILIES}


def test_text_fits_a_terminal_and_json_holds_every_bug(matrix):
    text = str(matrix)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("AGREES")
    shown = json.loads(json.dumps(matrix.to_json(), allow_nan=False))
    assert len(shown["bugs"]) == len(matrix.rows)
    assert shown["bugs"][1]["checkers"]["autodiff"]["caught"] is True
    assert shown["bugs"][1]["checkers"]["autodiff"]["in_tolerances"] > 1e6


def test_a_miss_turns_the_verdict(matrix):
    cells = matrix.rows[5].cells | {"autodiff": command.Cell(False, 0.5)}
    rows = list(matrix.rows)
    rows[5] = command.dataclasses.replace(rows[5], cells=cells)
    missing = command.dataclasses.replace(matrix, rows=tuple(rows))
    assert missing.verdict is Verdict.DISAGREES
    assert "MISS" in str(missing)


@pytest.fixture(scope="module")
def probe():
    return random_cost(2)


def test_the_numpy_cost_is_the_problems(probe):
    case, problem = probe
    with problem.scope():
        theirs = float(jax.jit(problem.cost)(jax.tree.map(jnp.asarray, problem.parameters)))
    assert cost(at(case, problem.parameters)) == pytest.approx(theirs, rel=1e-13)


@pytest.mark.parametrize("checker", ["torch", "jax"])
def test_the_frameworks_checkers_are_really_run(checker, probe):
    """They take the correct gradient, refuse one with an error of 1 % everywhere, and miss one far under their tolerance."""
    case, problem = probe
    if checker == "torch":
        pytest.importorskip("torch")
    accepts = torch_gradcheck(case, problem) if checker == "torch" else jax_check_grads(problem)
    correct = flatten(gradients(case))
    assert accepts(correct)[0]
    assert not accepts(1.01 * correct)[0]
    assert accepts(correct + 1e-7 * np.abs(correct).max())[0]
