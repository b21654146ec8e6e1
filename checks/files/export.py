"""Golden vectors: a random network in somebody's layout, generic data, and every gradient, for somebody else's test suite.

Results are computed in float64 from the numbers in the file, and rounded to the file's precision at the end.
"""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

import numpy as np

import lstm
from checks.files.array_file import write_arrays
from checks.files.candidate import READOUT_FIRST
from checks.files.candidate_arrays import moved
from checks.files.draw import ExportOptions, check_options, random_case
from checks.files.masks import write_masks
from checks.oracle.case import OracleCase
from checks.verdict import Verdict
from lstm.levels import apart, directions


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written, and how to read it again."""

    path: str
    arrays: dict[str, np.ndarray]
    command: str
    verdict: Verdict = Verdict.AGREES

    def to_json(self) -> dict[str, Any]:
        arrays = [{"name": name, "shape": list(a.shape), "dtype": str(a.dtype)} for name, a in self.arrays.items()]
        return {"file": self.path, "arrays": arrays, "verify": self.command}

    def __str__(self) -> str:
        width = max(len(name) for name in self.arrays) + 2
        lines = [f"{self.path}: {len(self.arrays)} arrays", ""]
        lines += [f"{name:<{width}}{a.dtype!s:<9}{a.shape}" for name, a in self.arrays.items()]
        lines += [
            "",
            "internal.d_z, d_h, d_c: gradients at the pre-activations (gates i f g o, time",
            "major), at h_t and at c_t, of each timestep.",
            "",
            "Check it: " + self.command,
        ]
        return "\n".join(lines)


def export(path: Any, options: ExportOptions) -> Exported:
    """Write golden vectors to ``path`` (``.npz``, ``.safetensors`` or ``.json``).

    Raises:
        BadInput: if the layout cannot hold such a network, or the file cannot be written.
    """
    check_options(options)
    case = random_case(options)
    attributes = options.layout.attributes_of(case.layers)
    arrays = golden_vectors(case, options)
    command = verify_command(str(path), options, attributes)
    write_arrays(path, arrays, {"verify": command})
    return Exported(str(path), arrays, command)


def golden_vectors(case: OracleCase, options: ExportOptions) -> dict[str, np.ndarray]:
    """Every array of the file, in the layout's names, shapes and axes."""
    layout, order = options.layout, options.axes or options.layout.axes
    weights = layout.write(case.layers)
    outputs, finals = case.forward()
    gradients, internals = case.hand_gradients()
    transposed = layout.name in READOUT_FIRST
    arrays: dict[str, Any] = {"inputs": moved(case.inputs, "TBD", order), **weights}
    arrays["h0"], arrays["c0"] = layout.write_states(case.initial_state)
    if case.lengths is not None:
        arrays["lengths"] = case.lengths
    arrays |= write_masks(case.masks, case.layers, order)
    if case.is_cost:
        targets = case.targets
        assert targets is not None
        arrays["targets"] = moved(targets, "TBD"[: targets.ndim], order if targets.ndim == 3 else order.replace("D", ""))
        arrays |= _readout("", case.readout, transposed)
    else:
        assert case.d_outputs is not None
        arrays["d_outputs"] = moved(case.d_outputs, "TBD", order)
        arrays["d_h_n"], arrays["d_c_n"] = layout.write_states(case.d_final_state)
    arrays["outputs"] = moved(outputs, "TBD", order)
    arrays["h_n"], arrays["c_n"] = layout.write_states(finals)
    arrays |= {f"grad.{name}": array for name, array in layout.write_gradients(gradients.network.layers, weights).items()}
    arrays |= _readout("grad.", gradients.network.readout, transposed)
    arrays["grad.inputs"] = moved(gradients.inputs, "TBD", order)
    arrays["grad.h0"], arrays["grad.c0"] = layout.write_states(gradients.initial_state)
    arrays |= _internals(case, internals)
    return {name: _rounded(array, options.dtype) for name, array in arrays.items()}


def _readout(prefix: str, readout: lstm.Readout | None, transposed: bool) -> dict[str, np.ndarray]:
    if readout is None:
        return {}
    return {f"{prefix}readout.weight": readout.w.T if transposed else readout.w, f"{prefix}readout.bias": readout.b}


def _internals(case: OracleCase, internals: tuple[Any, ...]) -> dict[str, np.ndarray]:
    """Time-major and canonical, whatever the layout: ``internal.d_z_l0``, ``internal.d_h_l0_reverse``, …"""
    found: dict[str, np.ndarray] = {}
    for number, (level, belonging) in enumerate(zip(case.layers, internals, strict=True)):
        for direction, one in zip(directions(level), apart(level, belonging), strict=True):
            suffix = f"_l{number}{'_reverse' if direction.reversed else ''}"
            found |= {f"internal.{name}{suffix}": getattr(one, name) for name in ("d_z", "d_h", "d_c")}
    return found


def _rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    array = np.ascontiguousarray(array)
    return array.astype(dtype) if array.dtype.kind == "f" else array


def verify_command(path: str, options: ExportOptions, attributes: dict[str, Any]) -> str:
    """The command line that checks the file, quoted for a shell."""
    layout = ["--layout", options.layout.name] if options.layout_file is None else ["--layout-file", options.layout_file]
    words = ["lstm-check", "verify", path, *layout]
    if options.axes is not None:
        words += ["--axes", options.axes]
    if options.loss is not None:
        words += ["--loss", options.loss, "--reduction", options.reduction]
    for name, value in attributes.items():
        if value is not None:
            words += ["--attribute", f"{name}={','.join(value) if isinstance(value, list) else value}"]
    return shlex.join(words)
