"""Each timestep's own share of a gradient, drawn from the oracle's internals, against the untied weights of approach 2."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import lstm
from checks import Problem, untied_terms
from checks.files.draw import ExportOptions, random_case
from checks.html.in_time import inside, shares, shares_by_gate
from lstm.layouts import LAYOUTS

pytestmark = pytest.mark.long

OPTIONS = {"timesteps": 4, "batch": 3, "inputs": 2, "hidden": 3}


def test_shares_are_those_of_untied_weights():
    """Finite differences of one timestep's copy of the weights at a time: nothing of the backward pass is in them."""
    case = random_case(ExportOptions(LAYOUTS["torch"], loss="squared_error", layers=2, lengths=True, **OPTIONS))
    problem = Problem.from_network(
        lstm.Network(case.layers, case.readout), case.inputs, case.targets, lengths=case.lengths, initial_state=case.initial_state
    )
    terms = untied_terms(problem).layers
    found = list(inside(case, case.hand_gradients()[1]))
    assert len(found) == 2
    for one, layer in zip(found, terms, strict=True):
        norms = {name: np.sqrt((np.asarray(getattr(layer, field)).reshape(4, -1) ** 2).sum(axis=1)) for name, field in FIELDS.items()}
        for name, values in shares(one).items():
            np.testing.assert_allclose(values, norms[name], rtol=1e-6, atol=1e-9)
        by_gate = np.sqrt((np.asarray(layer.b).reshape(4, 4, -1) ** 2).sum(axis=2))
        np.testing.assert_allclose(np.stack(list(shares_by_gate(one).values()), axis=1), by_gate, rtol=1e-6, atol=1e-9)


FIELDS = {"w_x": "w_x", "w_h": "w_h", "bias": "b"}


@pytest.mark.parametrize("variant", [{"bidirectional": True}, {"reverse": True}, {"projection": 2, "bidirectional": True, "layers": 2}])
def test_shares_add_up_to_the_gradient(variant):
    """What each direction multiplied its weights by is found in the right order: Σ_t source_tᵀ δ_t is the gradient."""
    layout = "canonical" if "reverse" in variant else "torch"
    case = random_case(ExportOptions(LAYOUTS[layout], **OPTIONS, **variant))
    gradients, internals = case.hand_gradients()
    directions = [one for level in gradients.network.layers for one in lstm.levels.directions(level)]
    found = list(inside(case, internals))
    assert len(found) == len(directions)
    for one, direction in zip(found, directions, strict=True):
        for source, field in ((one.inputs, "w_x"), (one.h_previous, "w_h")):
            np.testing.assert_allclose(np.einsum("tbi,tbj->ij", source, one.internals.d_z), getattr(direction.layer, field), atol=1e-12)


def test_what_masks_or_lengths_hide_is_left_out():
    case = random_case(ExportOptions(LAYOUTS["torch"], dropout=True, **OPTIONS))
    (one,) = inside(case, case.hand_gradients()[1])
    assert list(shares(one)) == ["bias"]
    case = random_case(ExportOptions(LAYOUTS["torch"], bidirectional=True, lengths=True, **OPTIONS))
    forward, reverse = inside(case, case.hand_gradients()[1])
    assert list(shares(forward)) == ["w_x", "w_h", "bias"]
    assert list(shares(reverse)) == ["w_x", "bias"]
    assert not jax.tree.leaves(reverse.h_previous)
