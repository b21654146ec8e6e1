"""Exported files as values in memory, and the verdict on them: what the tests of verify and export share."""

from __future__ import annotations

from typing import Any

import numpy as np

import lstm
from checks.files.candidate import Reading
from checks.files.candidate_reading import understand
from checks.files.draw import ExportOptions, random_case
from checks.files.export import golden_vectors
from checks.oracle import Oracle
from checks.verify import verify_candidate
from checks.verify.report import VerifyReport
from lstm.layouts import LAYOUTS

Arrays = dict[str, np.ndarray]

KERAS_LIKE = lstm.Activations(f"hard_sigmoid({1 / 6})", "softsign", "softsign")
ONNX_LIKE = lstm.Activations("hard_sigmoid(0.2)", "softsign", "relu")

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two layers, both directions, lengths": {"layers": 2, "bidirectional": True, "lengths": True},
    "lengths": {"lengths": True},
    "reverse": {"reverse": True},
    "projection": {"projection": 2, "layers": 2},
    "peepholes": {"peepholes": True},
    "both directions, peepholes": {"bidirectional": True, "peepholes": True},
    "coupled": {"coupled": True},
    "activations of Keras": {"activations": KERAS_LIKE},
    "activations of ONNX": {"activations": ONNX_LIKE},
    "clip": {"clip": lstm.CellClip(0.5)},
    "clip, peepholes, projection": {"clip": lstm.CellClip(0.5), "peepholes": True, "projection": 2},
    "clip straight through": {"clip": lstm.CellClip(0.5, "straight_through")},
    "dropout": {"dropout": True, "recurrent_dropout": True},
    "zoneout": {"zoneout": True, "peepholes": True},
    "everything": {
        "layers": 2, "bidirectional": True, "projection": 2, "peepholes": True, "coupled": True, "lengths": True,
        "clip": lstm.CellClip(0.9), "loss": "cross_entropy", "dropout": True, "recurrent_dropout": True, "zoneout": True,
    },
}  # fmt: skip


def golden(layout: str = "torch", **options: Any) -> tuple[Arrays, Reading]:
    """The arrays that ``lstm-check export`` would write, and how to read them."""
    chosen = ExportOptions(LAYOUTS[layout], **options)
    case = random_case(chosen)
    attributes = chosen.layout.attributes_of(case.layers)
    reading = Reading(chosen.layout, chosen.axes, attributes, loss=chosen.loss, reduction=chosen.reduction)
    return golden_vectors(case, chosen), reading


def check(arrays: Arrays, reading: Reading, oracle: Oracle | None = None, **options: Any) -> VerifyReport:
    """As `lstm-check verify`. An oracle that is given must be of a file that differs in its results alone."""
    precision = options.pop("precision", None)
    candidate = understand(arrays, reading)
    return verify_candidate(candidate, oracle or Oracle(candidate.case, **options), name="file.npz", precision=precision)


def oracle_of(arrays: Arrays, reading: Reading) -> Oracle:
    return Oracle(understand(arrays, reading).case)


def changed(arrays: Arrays, name: str, index: tuple[int, ...], share: float) -> Arrays:
    """One entry moved by a share of its array's largest."""
    array = arrays[name].copy()
    array[index] += share * np.abs(array).max()
    return arrays | {name: array}


def without(arrays: Arrays, *names: str) -> Arrays:
    return {name: array for name, array in arrays.items() if name not in names}
