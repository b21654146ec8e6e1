"""The cost itself, in NumPy: what black-box checkers perturb. It shares the forward pass with the mutants, and nothing with `lstm`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from checks.catalogue.case import Case
from checks.catalogue.forward import run_layers, top_outputs, valid_steps
from checks.catalogue.mutants import CostSite
from lstm import CostGradients


def cost(case: Case) -> float:
    """Equations (6), (7) and (22) or (24), of a case that is a cost."""
    at = CostSite(case, top_outputs(case, run_layers(case, case.lengths)))
    if case.loss == "squared_error":
        losses = ((at.y - at.targets) ** 2).sum(axis=-1)  # (22)
    else:
        largest = at.y.max(axis=-1, keepdims=True)
        logs = at.y - largest - np.log(np.exp(at.y - largest).sum(axis=-1, keepdims=True))
        losses = -(at.targets * logs).sum(axis=-1)  # (24)
    total = float(np.where(valid_steps(case, case.lengths)[:, :, 0], losses, 0).sum())
    return total / case.sizes["N"] if case.reduction == "mean" else total


def at(case: Case, parameters: CostGradients) -> Case:
    """The same case with other weights, inputs and initial states; of layers forward in time."""
    network = parameters.network
    changes: dict[str, Any] = {"layers": network.layers, "levels": network.layers, "readout": network.readout}
    return dataclasses.replace(case, **changes, inputs=parameters.inputs, initial_state=parameters.initial_state)
