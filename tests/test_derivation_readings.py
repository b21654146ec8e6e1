"""Section 7 of docs/derivation.md, proved in numbers: the triangle of contributions, the five readings and their cell steps."""

from __future__ import annotations

import re
from pathlib import Path

import derivation_readings as readings
import mpmath
import numpy as np
import pytest
import sympy as sp
from derivation_numbers import generic, high_precision, terms_of_the_code

DOCUMENT = (Path(__file__).resolve().parent.parent / "docs" / "derivation.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(readings.DIGITS):
        yield


@pytest.fixture(scope="module")
def question():
    """T = 4 timesteps, as in the original question, in generic numbers -> run, parameters, some entries, the triangle of each."""
    generator = np.random.default_rng(3)
    shapes = [(3, 8), (2, 8), (8,), (2, 2), (2,)]

    def draw(*shape):
        return high_precision(generic(generator, shape))

    with mpmath.workdps(readings.DIGITS):
        run = readings.Sequence(inputs=draw(4, 3), targets=draw(4, 2), state=draw(2, 2), shapes=shapes)
        w = draw(sum(int(np.prod(shape)) for shape in shapes))
        entries = [0, 21, 26, 37, 42, 45, 49, 52]  # two of each of w_x, w_h, b; then one of w_y and one of b_y
        return run, w, entries, np.array([readings.triangle(run, w, k) for k in entries])


CLOSE = mpmath.mpf(10) ** -25  # differences at a step of 1e-15 err by about its square


def distance(a, b):
    return max(abs(one) for one in np.ravel(a - b))


def test_future_has_no_effect_on_the_past_and_the_triangle_sums_to_the_gradient(question):
    run, w, entries, triangles = question
    assert all(one == 0 for triangle in triangles for one in triangle[np.triu_indices(4, 1)])
    assert distance(triangles.sum(axis=(1, 2)), readings.approach_1(run, w, entries)) < CLOSE


def test_frozen_is_the_diagonal_and_not_the_gradient(question):
    run, w, entries, triangles = question
    deltas = readings.frozen(run, w, entries)
    assert distance(deltas, np.array([np.diag(triangle) for triangle in triangles])) < CLOSE
    off = np.abs(deltas.sum(axis=1) - triangles.sum(axis=(1, 2)))
    assert min(off[:6]) > 1e-4  # the layer's weights
    assert max(off[6:]) < CLOSE  # the readout's: no state depends on them


def test_shared_grows_as_the_document_says(question):
    run, w, entries, triangles = question
    leading = readings.shared_leading_term(run, w)
    remainders = [
        readings.shared(run, w, entries, step).sum(axis=1) - leading / (2 * step) for step in (mpmath.mpf(10) ** -9, mpmath.mpf(10) ** -12)
    ]
    assert abs(leading) > 1e-4
    assert distance(*remainders) < 1e-7  # the remainder is O(1): at steps a thousandfold apart it is the same number
    assert min(np.abs(remainders[0][:6] - triangles.sum(axis=(1, 2))[:6])) > 1e-4  # and is not the gradient either


def test_paired_and_replayed_are_approach_1_and_rows(question):
    run, w, entries, triangles = question
    for step in (mpmath.mpf("0.25"), readings.STEP):  # equal at every step, a large one too
        paired, replayed = readings.paired(run, w, entries, step), readings.replayed(run, w, entries, step)
        assert distance(paired, replayed) == 0
        assert distance(paired.sum(axis=1), readings.approach_1(run, w, entries, step)) < CLOSE  # rounding: 1e-60 / 1e-15
    assert distance(paired, triangles.sum(axis=2)) < CLOSE


def test_untied_is_columns(question):
    run, w, entries, triangles = question
    assert distance(readings.untied(run, w, entries), triangles.sum(axis=1)) < CLOSE
    large = mpmath.mpf("0.25")  # at a finite step it differs from approach 1, as another error term of second order
    assert distance(readings.untied(run, w, entries, large).sum(axis=1)[:6], readings.approach_1(run, w, entries, large)[:6]) > 1e-4


def test_columns_are_what_the_code_adds_at_each_timestep(question):
    run, w, entries, triangles = question
    assert distance(terms_of_the_code(run, w)[:, entries[:6]].T, triangles[:6].sum(axis=1)) < CLOSE


def test_diagonal_is_what_the_code_adds_without_its_two_carries(question):
    run, w, entries, triangles = question
    diagonals = np.array([np.diag(one) for one in triangles[:6]])
    assert distance(terms_of_the_code(run, w, carries=False)[:, entries[:6]].T, diagonals) < CLOSE


@pytest.mark.parametrize("scheme", ["approach_1", "frozen", "shared", "paired", "replayed", "untied"])
def test_cell_steps_are_those_of_the_table(question, scheme):
    run, w, entries, _ = question
    before = run.cell_steps
    getattr(readings, scheme)(run, w, entries)
    row = re.search(rf"^\| {scheme.replace('_', ' ')} \| \$([^$]+)\$", DOCUMENT, re.MULTILINE)
    formula = row[1].replace("2TP", "2*T*P").replace("T(T+1)P", "T*(T+1)*P")
    assert run.cell_steps - before == sp.sympify(formula).subs({"T": 4, "P": len(entries)})
