"""A candidate's file, understood: the network, the data, and the results that are to be checked, under the candidate's own names.

The keys are those of the file contract: ``inputs``, the layout's weight names, ``h0``, ``c0``, ``lengths``; ``d_outputs``,
``d_h_n``, ``d_c_n``, or ``targets`` with ``readout.weight`` and ``readout.bias``; ``outputs``, ``h_n``, ``c_n``; ``grad.NAME``; and
the masks of dropout and zoneout, `checks.files.masks`. What `lstm-check export` adds under ``internal.`` is let through.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

import lstm
from checks.oracle.case import OracleCase
from lstm.layouts import Layout

DATA = ("inputs", "h0", "c0", "lengths")
UPSTREAM = ("d_outputs", "d_h_n", "d_c_n")
COST = ("targets", "readout.weight", "readout.bias")
FORWARD = ("outputs", "h_n", "c_n")
RESERVED = (*DATA, *UPSTREAM, *COST, *FORWARD)
READOUT_FIRST = ("torch", "equinox", "onnx", "onnx-batch-major", "jax-cudnn")  # readout.weight is (K, R) there, else (R, K)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the file is to be read."""

    layout: Layout
    axes: str | None = None  # of sequences; default the layout's
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # what the layout asks for beside the arrays
    activations: lstm.Activations | None = None
    clip: lstm.CellClip | None = None
    loss: str | None = None
    reduction: str = "mean"

    @property
    def order(self) -> str:
        """The letters T, B, D in the order of the axes of sequences."""
        return self.axes or self.layout.axes


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """Everything in float64, the file's own numbers.

    Attributes:
        reading: how it was read.
        weights: the layout's arrays, in the candidate's names and shapes.
        case: the same as canonical layers, and the data.
        forward: those of ``outputs``, ``h_n``, ``c_n`` that were given, in the candidate's axes.
        gradients: by the name of what they are of.
        internals: what was under ``internal.``.
        shapes: of each array of the file.
        dtypes: of each array of the file.
    """

    reading: Reading
    weights: dict[str, np.ndarray]
    case: OracleCase
    forward: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    internals: dict[str, np.ndarray]
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, np.dtype]

    @property
    def readout_transposed(self) -> bool:
        """Is readout.weight (K, R)?"""
        return self.reading.layout.name in READOUT_FIRST

    @property
    def differentiable(self) -> list[str]:
        """The names of everything that there is a gradient of."""
        readout = ["readout.weight", "readout.bias"] if self.case.readout is not None else []
        return [*self.weights, *readout, "inputs", "h0", "c0"]

    def precision(self, name: str) -> np.dtype:
        """That of the coarsest of all floating-point arrays that a result was computed from, and of the result itself."""
        used = [dtype for key, dtype in self.dtypes.items() if not key.startswith(("grad.", "internal.")) and key not in FORWARD]
        result = self.dtypes[name if name in FORWARD else f"grad.{name}"]
        return max((d for d in (*used, result) if d.kind not in "iu"), key=lambda dtype: float(ml_dtypes.finfo(dtype).eps))
