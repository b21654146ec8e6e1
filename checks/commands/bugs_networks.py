"""The random networks that ``lstm-check bugs`` plants bugs in."""

from __future__ import annotations

from typing import Any

import lstm
from checks.catalogue import Case
from checks.diagnosis import case_like, case_of
from checks.files.draw import ExportOptions, random_case
from checks.network_problem import from_network, from_upstream
from checks.problem import Cost
from lstm.layouts import LAYOUTS

# As many inputs as units, so that the bugs are possible that other sizes refuse by their shapes
SIZES: dict[str, Any] = {"timesteps": 5, "batch": 2, "inputs": 3, "hidden": 3, "outputs": 4, "lengths": True}
# Whose bugs are planted in networks of their own, as far as costs see them: a gradient passed straight through is no cost's
VARIANTS: tuple[dict[str, Any], ...] = (
    {"peepholes": True, "projection": SIZES["hidden"], "clip": lstm.CellClip(0.5)},
    {"coupled": True, "activations": lstm.Activations("hard_sigmoid(0.2)", "softsign", "softsign")},
)


def random_cost(seed: int, **variant: Any) -> tuple[Case, Cost]:
    """``variant``: of the layer, as in `ExportOptions`."""
    drawn = random_case(ExportOptions(LAYOUTS["torch"], loss="cross_entropy", seed=seed, **SIZES, **variant))
    network = lstm.Network(drawn.layers, drawn.readout)
    problem = from_network(
        network, drawn.inputs, drawn.targets, loss=drawn.loss, lengths=drawn.lengths, initial_state=drawn.initial_state, wrt="all"
    )
    return case_like(case_of(problem)), problem


def random_upstream(seed: int) -> tuple[Case, Cost]:
    drawn = random_case(ExportOptions(LAYOUTS["torch"], seed=seed, **SIZES))
    problem = from_upstream(
        drawn.layers, drawn.inputs, drawn.d_outputs, drawn.d_final_state, initial_state=drawn.initial_state, lengths=drawn.lengths
    )
    return case_like(case_of(problem)), problem
