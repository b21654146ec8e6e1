"""One layer in one direction under `checks.oracle.tolerance`: its sums of products, and the disturbances that each run draws."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from checks.oracle.rounding_noise import Disturbance, Upstream, disturbed_backward, disturbed_forward, mixing, undisturbed
from lstm import Gradients, Layer, Masks, State

VIRTUAL = 2.0**-24  # float32's unit roundoff: far above float64's own rounding, and hardly anywhere does the response bend below it


class Rounding(NamedTuple):
    """Disturbances of the size that rounding has where the unit roundoff is ``unit``."""

    generator: np.random.Generator
    unit: float


Generator = Rounding | None

# What a library's function is off by depends on its argument alone: at a unit that is as saturated at every timestep the
# same error comes again and again, and does not average out
OF_FUNCTIONS = ("gates", "slopes", "output", "output_slope")


def product_rounding(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The standard deviation, in units of u, of the rounding in a b, the terms of each sum in no particular order."""
    scale = float(np.abs(a).max()) or 1.0  # the square of a tiny or huge upstream gradient would leave float64
    squares = times(np.square(a / scale), np.square(b))
    return np.sqrt(b.shape[0] / 3) * (scale * np.sqrt(squares) + np.abs(times(a, b)))


def times(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(…, M) times (M, N) as one plain product: NumPy's own loops over the leading axes."""
    return (rows.reshape(-1, rows.shape[-1]) @ matrix).reshape(*rows.shape[:-1], matrix.shape[-1])


def noise(generator: Generator, size: np.ndarray) -> Any:
    """±size, in units of the roundoff."""
    return 0.0 if generator is None else generator.unit * size * _signs(generator, size.shape)


def _signs(generator: Rounding, shape: tuple[int, ...]) -> np.ndarray:
    return 2.0 * generator.generator.integers(0, 2, shape, np.int8) - 1.0


class Strand:
    """A layer, its order of time, its initial state, its masks; and, after the first undisturbed run, the sizes of all its roundings."""

    def __init__(self, layer: Layer, is_reversed: bool, valid: np.ndarray, start: State, masks: Masks | None = None):
        self.layer, self.start, self.valid = layer, start, valid
        timesteps = np.broadcast_to(np.arange(len(valid))[:, None], valid.shape)
        self.order = np.where(valid, valid.sum(axis=0) - 1 - timesteps, timesteps) if is_reversed else None
        given = masks or Masks()
        self.masks = jax.tree.map(lambda mask: self._ordered(np.where(valid[:, :, None], mask, 0)), given)
        self.alike = False  # in every other run
        self.h: Any = None
        self.d_z: Any = None
        self.sizes_backward: Any = None
        self.size_inputs: Any = None
        self.sizes_start: Any = None

    def _ordered(self, array: np.ndarray) -> np.ndarray:
        """Input order <-> the layer's own: each sequence's valid prefix flipped."""
        return array if self.order is None else np.take_along_axis(array, self.order[:, :, None], axis=0)

    def forward(self, inputs: np.ndarray, generator: Generator) -> tuple[np.ndarray, State]:
        """-> outputs (T, B, R) in input order, final state. Remembers what `backward` of the same run needs."""
        x = self._ordered(np.where(self.valid[:, :, None], inputs, 0))
        x = _masked(x, self.masks.inputs)
        self.x_now = x
        self.z_x_now = times(x, self.layer.w_x) + self.layer.b
        self.disturbance = self._disturbance(generator)
        unit = 0.0 if generator is None else generator.unit
        ran = disturbed_forward(self.layer, self.z_x_now, self.start, self.valid, self.masks, self.disturbance, unit)
        h, c, z, own_c, unprojected, final = jax.tree.map(np.asarray, ran)
        self.h_now = h
        if generator is None:
            self.x, self.h, self.c, self.z, self.own_c, self.unprojected = x, h, c, z, own_c, unprojected
            self._size_forward()
        return self._ordered(h), final

    def backward(self, d_outputs: np.ndarray, d_final: Any, generator: Generator) -> Gradients:
        """The gradients of the run that `forward` just did."""
        upstream_h = self._ordered(np.where(self.valid[:, :, None], d_outputs, 0))
        zero = jax.tree.map(np.zeros_like, self.start)
        d_final = zero if d_final is None else d_final
        d_final = State(h=zero.h if d_final.h is None else d_final.h, c=zero.c if d_final.c is None else d_final.c)
        upstream = Upstream(h=upstream_h, c=np.zeros_like(self.c), z=np.zeros_like(self.z), final=d_final)
        unit = 0.0
        if generator is not None:
            unit = generator.unit
            size_h, size_c, size_z = self.sizes_backward
            upstream = Upstream(
                h=upstream_h + noise(generator, size_h), c=noise(generator, size_c), z=noise(generator, size_z), final=d_final
            )
        ran = disturbed_backward(self.layer, self.z_x_now, self.start, self.valid, self.masks, self.disturbance, unit, upstream)
        back = jax.tree.map(np.asarray, ran)
        if generator is None:
            self.d_z, self.d_h, self.d_c = back.z, back.h, back.c
            self._size_backward()
        d_inputs = times(back.z, self.layer.w_x.T) + noise(generator, self.size_inputs)
        d_layer = dataclasses.replace(
            self.layer,
            w_x=_accumulated(self.x_now, back.z),
            w_h=_accumulated(self._before(self.h_now), back.z),
            b=back.z.sum(axis=(0, 1)),
            peepholes=back.peepholes,
            projection=back.projection,
        )
        start_h, start_c = self.sizes_start
        d_start = State(h=back.start.h + noise(generator, start_h), c=back.start.c + noise(generator, start_c))
        return Gradients(layers=d_layer, inputs=self._ordered(_masked(d_inputs, self.masks.inputs)), initial_state=d_start)

    def local(self) -> tuple[Layer, Layer]:
        """√(n/3) Σ |x| |δ| for each parameter, and n, the number of terms that may underflow."""
        count = int(self.valid.sum())
        d_z = np.abs(self.d_z)
        sums = {
            "w_x": _accumulated(np.abs(self.x), d_z),
            "w_h": _accumulated(np.abs(self._before(self.h)), d_z),
            "b": d_z.sum(axis=(0, 1)),
        }
        if self.layer.peepholes is not None:
            blocks = dict(zip(self.layer.gates, np.split(d_z, len(self.layer.gates), axis=-1), strict=True))
            c, before = np.abs(self.own_c), np.abs(_shifted(self.start.c, self.c))
            rows = [(blocks[gate] * (c if gate == "o" else before)).sum(axis=(0, 1)) for gate in self.layer.gates if gate != "g"]
            sums["peepholes"] = np.stack(rows)
        if self.layer.projection is not None:
            sums["projection"] = _accumulated(np.abs(self.unprojected), np.abs(self.d_h))
        local = dataclasses.replace(self.layer, **{name: np.sqrt(count / 3) * array for name, array in sums.items()})
        return local, jax.tree.map(lambda leaf: float(count), local)

    def _before(self, h: np.ndarray) -> np.ndarray:
        """(T, B, R): what the recurrent matrix multiplies."""
        return _masked(_shifted(self.start.h, h), self.masks.recurrent)

    def _disturbance(self, generator: Generator) -> Disturbance:
        timesteps, batch = self.valid.shape
        nothing = undisturbed(timesteps, batch, self.layer)
        if generator is None:
            return nothing
        signs = {name: _signs(generator, array.shape) for name, array in vars(nothing).items()}
        self.alike = not self.alike
        if self.alike:
            for name in OF_FUNCTIONS:
                width = signs[name].shape[-1]
                signs[name] = np.broadcast_to(_signs(generator, (1, 1, width)), signs[name].shape)
        unit = generator.unit
        return Disturbance(**{**signs, "z": unit * self.size_z * signs["z"], "h": unit * self.size_h * signs["h"]})

    def _size_forward(self) -> None:
        layer, before = self.layer, self._before(self.h)
        terms = layer.w_x.shape[0] + layer.w_h.shape[0] + 1
        squares = times(np.square(self.x), np.square(layer.w_x)) + times(np.square(before), np.square(layer.w_h)) + np.square(layer.b)
        parts = np.abs(times(self.x, layer.w_x)) + np.abs(times(before, layer.w_h)) + np.abs(layer.b)
        self.size_z = np.sqrt(terms / 3) * (np.sqrt(squares) + parts)
        projected = 0 if layer.projection is None else product_rounding(self.unprojected, layer.projection)
        mixed = 0 if self.masks.zoneout_h is None else mixing(self.masks.zoneout_h, _shifted(self.start.h, self.h), self.h)
        self.size_h = np.abs(self.h) + projected + mixed

    def _size_backward(self) -> None:
        layer = self.layer
        d_z_next, d_c_next = _shifted_back(self.d_z), _shifted_back(self.d_c)
        recurrent = product_rounding(d_z_next, layer.w_h.T)
        if self.masks.recurrent is not None:
            recurrent = recurrent * np.abs(_shifted_back(self.masks.recurrent))
        # Through a projection each d_h is a sum of R terms again: √R u of each, before it
        through = 1 if layer.projection is None else np.sqrt(layer.recurrent_size)
        valid = self.valid[:, :, None]
        through = through + 2 * (self.masks.zoneout_h is not None)  # m d and (1 - m) d
        size_h = np.where(valid, recurrent + through * np.abs(self.d_h), 0)
        size_c = np.where(valid, 4 * (np.abs(self.d_c) + np.abs(d_c_next)), 0)
        self.sizes_backward = size_h, size_c, 4 * np.abs(self.d_z)
        self.size_inputs = product_rounding(self.d_z, layer.w_x.T)
        # What the reverse of step 0 rounds by; a sequence of length 0 has no step and hands its upstream gradient through
        start_h = product_rounding(self.d_z[0], layer.w_h.T)
        if self.masks.recurrent is not None:
            start_h = start_h * np.abs(self.masks.recurrent[0])
        if self.masks.zoneout_h is not None:
            start_h = start_h + np.abs(self.d_h[0])
        self.sizes_start = start_h, 4 * np.abs(self.d_c[0])


def _masked(array: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return array if mask is None else array * mask


def _accumulated(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Σ over (t, b) of the outer products."""
    return rows.reshape(-1, rows.shape[-1]).T @ columns.reshape(-1, columns.shape[-1])


def _shifted(first: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(value before step 0, value after step 0, …)."""
    return np.concatenate([first[None], values[:-1]])


def _shifted_back(values: np.ndarray) -> np.ndarray:
    """(value of step 1, value of step 2, …, 0)."""
    return np.concatenate([values[1:], np.zeros_like(values[:1])])
