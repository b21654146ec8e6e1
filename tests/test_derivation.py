"""Sections 1 to 6 of docs/derivation.md, proved: the formulas, the code that cites them, and the numbering of all sections.

Every proof is also shown a wrong formula, which it must reject.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from derivation_citations import faults
from derivation_equations import CASES
from derivation_faults import FAULTS, planted
from derivation_symbols import differences, layer_problem, network_problem, running_on_objects, symbols, sympy_gradient, vanishes

from lstm import Layer, State, activations, losses, network, sequence

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = (ROOT / "docs" / "derivation.md").read_text(encoding="utf-8")
SOURCES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted((ROOT / "lstm").rglob("*.py"))}


# The numbering


def test_code_and_document_agree_on_equation_numbers():
    assert faults(DOCUMENT, SOURCES) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("**(13)**", "", "(13) is cited in lstm/cell.py and not in the document"),
        ("**(23)**", "**(23)** **(23)**", "numbers are not 1, 2, 3, …"),
        ("`lstm/losses.py` | (22)", "`lstm/losses.py` | (21) (22)", "(21) does not stand in lstm/losses.py, as the table says"),
        ("`lstm/losses.py` | (22)", "`lstm/losses.py` |", "(22) stands in lstm/losses.py, and the table does not say so"),
    ],
)
def test_numbering_faults_in_the_document_are_found(old, new, complaint):
    assert DOCUMENT.count(old) == 1
    assert any(complaint in one for one in faults(DOCUMENT.replace(old, new), SOURCES))


def test_numbering_faults_in_the_code_are_found():
    uncited = {name: text.replace("# (15)", "") for name, text in SOURCES.items()}
    assert "(15) is in the document and no code cites it" in faults(DOCUMENT, uncited)
    unknown = {name: text.replace("# (15)", "# (15), (99)") for name, text in SOURCES.items()}
    assert "(99) is cited in lstm/cell.py and not in the document" in faults(DOCUMENT, unknown)


# The formulas of the document


@pytest.mark.parametrize("case", CASES, ids=str)
def test_formula_of_the_document_is_the_derivative(case):
    assert sp.simplify(case.stated - case.derivative) == 0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_proof_rejects_a_wrong_formula(case):
    difference = case.wrong - case.derivative
    assert sp.simplify(difference) != 0
    generic = {one: sp.Rational(2 * n + 3, 11) for n, one in enumerate(sorted(difference.free_symbols, key=str))}
    assert abs(difference.subs(generic).evalf()) > 1e-3  # and wrong it is, not merely unsimplified


# The code, run on symbols


def test_code_computes_the_forward_pass_that_the_document_states():
    z = sp.Symbol("z", real=True)
    with running_on_objects():
        logistic = activations.sigmoid(z)
    assert sp.simplify((logistic - 1 / (1 + sp.exp(-z))).rewrite(sp.exp)) == 0  # (2)
    layer = Layer(w_x=symbols("w_x", 1, 8), w_h=symbols("w_h", 2, 8), b=symbols("b", 8))
    x, state = symbols("x", 1, 1), State(h=symbols("h", 1, 2), c=symbols("c", 1, 2))
    with running_on_objects():
        new = sequence.step(layer, x, state)
    z_t = (x @ layer.w_x + state.h @ layer.w_h + layer.b)[0]  # (1)
    for k in range(2):
        i, f, o = (logistic.subs(z, z_t[block + k]) for block in (0, 2, 6))
        c = f * state.c[0, k] + i * sp.tanh(z_t[4 + k])  # (3), (4)
        assert vanishes([new.c[0, k] - c])
        assert vanishes([new.h[0, k] - o * sp.tanh(new.c[0, k])])  # (5)


def test_backward_is_the_derivative_of_forward():
    assert vanishes(differences(layer_problem(2, 3, 1, 1, lengths=(2, 0, 1))))


def test_backward_is_the_derivative_of_forward_as_matrices():
    # Every fifth of the 48 entries has each gate's and each unit's columns among them, and SymPy is done in seconds
    assert vanishes(differences(layer_problem(2, 1, 2, 2), every=5))


@pytest.mark.parametrize("target", [np.array(2), symbols("p", 3)], ids=["label", "vector"])
def test_cross_entropy_of_the_code(target):
    y = symbols("y", 3)
    with running_on_objects():
        loss, gradient = losses.cross_entropy(y, target), losses.d_cross_entropy(y, target)
    for k in range(3):
        assert sp.simplify(gradient[k] - sp.diff(loss, y[k])) == 0


@pytest.fixture(scope="module")
def probes():
    """Small problems with unequal lengths, and SymPy's gradient of each."""
    layer, net = layer_problem(2, 2, 1, 1, (2, 1)), network_problem("mean")
    return {sequence: (layer, sympy_gradient(layer)), network: (net, sympy_gradient(net))}


@pytest.mark.parametrize(("module", "equation", "right", "wrong"), FAULTS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_proof_rejects_a_fault_in_the_code(probes, module, equation, right, wrong):
    problem, derivatives = probes[network if module in (network, losses) else sequence]
    with running_on_objects(), planted(module, equation, right, wrong):
        assert not vanishes(differences(problem, derivatives))


def test_gradient_of_the_cost_is_its_derivative(probes):
    assert vanishes(differences(network_problem("sum"), every=3))
    for problem, derivatives in probes.values():  # the very ones in which faults were found above
        assert vanishes(differences(problem, derivatives))
