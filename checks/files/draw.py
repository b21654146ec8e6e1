"""A random network, of the size and variant that was asked for, and generic data for it.

Nothing but a mask is zero, equal or symmetric: sizes differ, states, biases and upstream gradients are drawn like everything
else, so that no permuted gate, transposed matrix or shifted timestep goes unseen.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

import lstm
from checks.oracle.case import OracleCase
from lstm import BadInput
from lstm.layouts import Layout
from lstm.levels import directions, output_size, together

RATE = 0.3  # of dropout and of zoneout


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
    dropout: bool = False
    recurrent_dropout: bool = False
    zoneout: bool = False
    loss: str | None = None
    outputs: int = 2
    reduction: str = "mean"
    axes: str | None = None
    layout_file: str | None = None  # where the layout was described, for the command that reads the file again
    dtype: str = "float64"
    seed: int = 0


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
    case = dataclasses.replace(case, inputs=np.where(case.valid[:, :, None], case.inputs, 0), masks=draw.masks(layers))
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

    def masks(self, layers: list[Any]) -> tuple[Any, ...] | None:
        """None unless asked for, so that the other numbers of a seed do not depend on it."""
        options = self.options
        wanted = {"inputs": options.dropout, "recurrent": options.recurrent_dropout}
        wanted |= {"zoneout_h": options.zoneout, "zoneout_c": options.zoneout}
        if not any(wanted.values()):
            return None

        def of(layer: lstm.Layer) -> lstm.Masks:
            sizes = (layer.w_x.shape[0], layer.recurrent_size, layer.recurrent_size, layer.hidden_size)
            chosen = [(name, size) for (name, asked), size in zip(wanted.items(), sizes, strict=True) if asked]
            return lstm.Masks(**{name: self.mask(size, name.startswith("zoneout")) for name, size in chosen})

        return tuple(together(level, [of(direction.layer) for direction in directions(level)]) for level in layers)

    def mask(self, features: int, zoneout: bool) -> np.ndarray:
        """(T, B, features): 0 or 1 / (1 - RATE); of zoneout, 1 where the old value stays, else 0."""
        stays = self.generator.random((self.options.timesteps, self.options.batch, features)) < RATE
        mask = stays * 1.0 if zoneout else ~stays / (1 - RATE)
        return mask.astype(self.options.dtype).astype(np.float64)

    def lengths(self) -> np.ndarray:
        """One sequence is whole; the others are at least one step long, and shorter where they can be."""
        timesteps, batch = self.options.timesteps, self.options.batch
        lengths = self.generator.integers(1, timesteps, batch, endpoint=timesteps == 1)
        lengths[0] = timesteps
        return lengths


def check_options(options: ExportOptions) -> None:
    """What no layout could mean."""
    if options.bidirectional and options.reverse:
        raise BadInput("--reverse: expected one direction; got --bidirectional too")
    if options.dtype not in ("float64", "float32"):
        raise BadInput(f"--dtype: expected float64 or float32; got {options.dtype}")

