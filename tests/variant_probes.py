"""Generic probes of the variants of a layer, for the bugs that only they can have: random networks from `checks.files.draw`."""

from __future__ import annotations

from typing import Any

import lstm
from checks.catalogue import Case
from checks.diagnosis import case_like
from checks.files.draw import ExportOptions, random_case
from checks.oracle.case import OracleCase
from lstm.layouts import LAYOUTS

SIZES: dict[str, Any] = {"timesteps": 6, "batch": 3, "inputs": 4, "hidden": 5, "lengths": True}
KERAS_LIKE = lstm.Activations(f"hard_sigmoid({1 / 6})", "softsign", "softsign")
ONNX_LIKE = lstm.Activations("hard_sigmoid(0.2)", "softsign", "relu")
CUT, PASSED = lstm.CellClip(0.5), lstm.CellClip(0.5, "straight_through")
VARIANTS: dict[str, dict[str, Any]] = {
    "peepholes": {"peepholes": True},
    "projection": {"projection": 3, "layers": 2},
    "square projection": {"projection": 5},
    "clip": {"clip": CUT},
    "clip straight through": {"clip": PASSED, "bidirectional": True},
    "coupled": {"coupled": True, "loss": "cross_entropy", "outputs": 7},
    "coupled, peepholes": {"coupled": True, "peepholes": True, "reverse": True},
    "activations of Keras": {"activations": KERAS_LIKE},
    "activations of ONNX": {"activations": ONNX_LIKE, "loss": "squared_error", "outputs": 7, "reduction": "sum"},
    "identity": {"activations": lstm.Activations("relu", "identity", "identity"), "clip": lstm.CellClip(0.9)},
    "peepholes, projection, clip": {"peepholes": True, "projection": 5, "clip": CUT, "layers": 2, "bidirectional": True},
    "everything": {
        "peepholes": True, "projection": 3, "coupled": True, "clip": PASSED, "activations": KERAS_LIKE, "layers": 2,
        "loss": "cross_entropy", "outputs": 7,
    },
}  # fmt: skip


def oracle_case(variant: str, seed: int = 0, **changes: Any) -> OracleCase:
    return random_case(ExportOptions(LAYOUTS["canonical"], seed=seed, **(SIZES | VARIANTS[variant] | changes)))


def case_of(variant: str, seed: int = 0, **changes: Any) -> Case:
    return case_like(oracle_case(variant, seed, **changes))
