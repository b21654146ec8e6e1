"""Golden vectors: a random network in somebody's layout, generic data, and every gradient, for somebody else's test suite.

Nothing is zero, equal or symmetric: sizes differ, states, biases and upstream gradients are drawn like everything else, so that
no permuted gate, transposed matrix or shifted timestep goes unseen. Results are computed in float64 from the numbers in the
file, and rounded to the file's precision at the end.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import lstm
from checks.files.array_file import write_arrays
from checks.files.candidate import READOUT_FIRST
from checks.files.candidate_arrays import moved
from checks.oracle.case import OracleCase
from checks.verdict import Verdict
from lstm import BadInput
from lstm.layouts import Layout
from lstm.levels import apart, directions, output_size


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """The network, its variant and the data. Sizes default to numbers that all differ."""

    layout: Layout
    timesteps: int = 7
    batch: int = 3
    inputs: int = 4
    hidden: int = 5
    layers: int = 1
    bidirectional: bool = False
    reverse: bool = False
    projection: int | None = None
    peepholes: bool = False
    coupled: bool = False
    activations: lstm.Activations = dataclasses.field(default_factory=lstm.Activations)
    clip: lstm.CellClip | None = None
    lengths: bool = False
    loss: str | None = None
    outputs: int = 2
    reduction: str = "mean"
    axes: str | None = None
    layout_file: str | None = None  # where the layout was described, for the command that reads the file again
    dtype: str = "float64"
    seed: int = 0


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


def random_case(options: ExportOptions) -> OracleCase:
    """Float64 arrays whose numbers the file's precision can hold."""
    draw = _Draw(options)
    layers, features = [], options.inputs
    for _ in range(options.layers):
        level: Any = lstm.Bidirectional(draw.layer(features), draw.layer(features)) if options.bidirectional else draw.layer(features)
        layers.append(lstm.Reversed(level) if options.reverse else level)
        features = output_size(layers[-1])
    case = OracleCase(
        layers=tuple(layers),
        inputs=draw(options.timesteps, options.batch, options.inputs),
        initial_state=draw.states(layers),
        lengths=draw.lengths() if options.lengths else None,
    )
    case = dataclasses.replace(case, inputs=np.where(case.valid[:, :, None], case.inputs, 0))
    if options.loss is not None:
        readout = lstm.Readout(w=draw(features, options.outputs, scale=features**-0.5), b=draw(options.outputs))
        targets = draw(options.timesteps, options.batch, options.outputs)
        if options.loss == "cross_entropy":
            targets = draw.generator.integers(0, options.outputs, targets.shape[:2])
        return dataclasses.replace(case, readout=readout, targets=targets, loss=options.loss, reduction=options.reduction)
    d_outputs = draw(options.timesteps, options.batch, features)
    return dataclasses.replace(case, d_outputs=np.where(case.valid[:, :, None], d_outputs, 0), d_final_state=draw.states(layers))


class _Draw:
    """Standard normal numbers of the asked shapes, rounded to the file's precision."""

    def __init__(self, options: ExportOptions):
        self.options = options
        self.generator = np.random.default_rng(options.seed)

    def __call__(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        return (scale * self.generator.standard_normal(shape)).astype(self.options.dtype).astype(np.float64)

    def layer(self, features: int) -> lstm.Layer:
        options = self.options
        hidden, recurrent = options.hidden, options.projection or options.hidden
        blocks = 3 if options.coupled else 4
        return lstm.Layer(
            w_x=self(features, blocks * hidden, scale=features**-0.5),
            w_h=self(recurrent, blocks * hidden, scale=recurrent**-0.5),
            b=self(blocks * hidden, scale=0.5),
            peepholes=self(blocks - 1, hidden, scale=0.5) if options.peepholes else None,
            projection=self(hidden, recurrent, scale=hidden**-0.5) if options.projection else None,
            activations=options.activations,
            clip=options.clip,
        )

    def states(self, layers: list[Any]) -> tuple[Any, ...]:
        batch = self.options.batch

        def of(layer: lstm.Layer) -> lstm.State:
            return lstm.State(h=self(batch, layer.recurrent_size, scale=0.5), c=self(batch, layer.hidden_size))

        states = [[of(direction.layer) for direction in directions(level)] for level in layers]
        return tuple(lstm.Bidirectional(*pair) if len(pair) == 2 else pair[0] for pair in states)

    def lengths(self) -> np.ndarray:
        """One sequence is whole; the others are at least one step long, and shorter where they can be."""
        timesteps, batch = self.options.timesteps, self.options.batch
        lengths = self.generator.integers(1, timesteps, batch, endpoint=timesteps == 1)
        lengths[0] = timesteps
        return lengths


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
    """The command line that checks the file."""
    layout = ["--layout", options.layout.name] if options.layout_file is None else ["--layout-file", options.layout_file]
    words = ["lstm-check", "verify", path, *layout]
    if options.axes is not None:
        words += ["--axes", options.axes]
    if options.loss is not None:
        words += ["--loss", options.loss, "--reduction", options.reduction]
    for name, value in attributes.items():
        if value is not None:
            words += ["--attribute", f"{name}={','.join(value) if isinstance(value, list) else value}"]
    return " ".join(words)


def check_options(options: ExportOptions) -> None:
    """What no layout could mean."""
    if options.bidirectional and options.reverse:
        raise BadInput("--reverse: expected one direction; got --bidirectional too")
    if options.dtype not in ("float64", "float32"):
        raise BadInput(f"--dtype: expected float64 or float32; got {options.dtype}")

