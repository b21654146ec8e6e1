"""One layer's recurrence with a disturbance at every place where arithmetic rounds, and its derivative by JAX.

Not a way to a gradient: a way to learn what the rounding of a correct implementation does to one (see
`checks.oracle.tolerance`). Undisturbed, it is the forward pass. Each disturbance is a number in units of a virtual unit
roundoff; JAX differentiates the disturbed recurrence, so how one timestep's rounding travels through the others, forward and
backward, needs no derivation.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checks.oracle.cost import COMPILED_QUICKLY
from lstm import Layer, Masks, State
from lstm.activations import activation
from lstm.parameters import pytree

SMOOTH = ("sigmoid", "tanh", "softsign")  # the derivative is computed from the rounded value; elsewhere it is 0, 1 or the slope


@pytree
class Disturbance:
    """What is added where. ``z`` and ``h`` absolutely; the others are signs, times what one operation rounds by."""

    z: Any  # (T, B, 4H)  the pre-activations' sums of products
    gates: Any  # (T, B, 4H)  the activations' values
    slopes: Any  # (T, B, 4H)  their derivatives
    c: Any  # (T, B, H)
    output: Any  # (T, B, H)  tanh(c)
    output_slope: Any  # (T, B, H)
    h: Any  # (T, B, R)


@pytree
class Upstream:
    """Gradients from outside: ``h`` on the outputs; on ``z`` and ``c`` only what the backward pass itself rounds by."""

    h: Any  # (T, B, R)
    c: Any  # (T, B, H)
    z: Any  # (T, B, 4H)
    final: State  # (B, R), (B, H)


@pytree
class Adjoints:
    """What comes back."""

    z: Any  # (T, B, 4H)  δ
    h: Any  # (T, B, R)  at h_t, all paths
    c: Any  # (T, B, H)  at c_t, all paths
    start: State
    peepholes: Any
    projection: Any


@functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)
def disturbed_forward(
    layer: Layer, z_x: Any, start: State, valid: Any, masks: Masks, disturbance: Disturbance, unit: Any
) -> tuple:
    """-> h (T, B, R), c (T, B, H), z (T, B, 4H), c and h of the cell itself, (T, B, H) both, and the final state.

    The cell's own c is from before zoneout, its own h from before the projection.

    Args:
        layer: float64; only w_h, the peepholes and the projection are used.
        z_x: x W_x + b, (T, B, 4H), in the layer's own order of time.
        valid: (T, B) booleans.
        masks: those on the recurrence; the one on the inputs is in ``z_x`` already.
        unit: the virtual unit roundoff that the disturbance's signs are multiplied by.
    """
    return _recurrence(layer, z_x, start, valid, masks, disturbance, unit)


@functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)
def disturbed_backward(
    layer: Layer, z_x: Any, start: State, valid: Any, masks: Masks, disturbance: Disturbance, unit: Any, upstream: Upstream
) -> Adjoints:
    """The gradient of the disturbed recurrence, by ``jax.vjp``. Arguments as for `disturbed_forward`."""

    def function(z_x, h_disturbance, c_disturbance, start, peepholes, projection):
        changed = Layer(layer.w_x, layer.w_h, layer.b, peepholes, projection, layer.activations, layer.clip)
        noise = Disturbance(**{**vars(disturbance), "h": h_disturbance})
        h, c, z, *_, final = _recurrence(changed, z_x, start, valid, masks, noise, unit, c_disturbance)
        return h, c, z, final

    at = (z_x, disturbance.h, jnp.zeros_like(disturbance.c), start, layer.peepholes, layer.projection)
    _, pullback = jax.vjp(function, *at)
    d_z, d_h, d_c, d_start, d_peepholes, d_projection = pullback((upstream.h, upstream.c, upstream.z, upstream.final))
    return Adjoints(z=d_z, h=d_h, c=d_c, start=d_start, peepholes=d_peepholes, projection=d_projection)


def _recurrence(
    layer: Layer, z_x: Any, start: State, valid: Any, masks: Masks, disturbance: Disturbance, unit: Any, extra_c: Any = 0.0
) -> tuple:
    extra_c = jnp.broadcast_to(extra_c, disturbance.c.shape)

    def step(state, at_t):
        z_x_t, valid_t, masks_t, noise, extra = at_t
        seen = state.h if masks_t.recurrent is None else state.h * masks_t.recurrent
        h, own_c, z, own_h = _cell(layer, z_x_t, State(h=seen, c=state.c), noise, unit, extra)
        c = own_c
        h = _mixed(masks_t.zoneout_h, state.h, h) + noise.h
        if masks_t.zoneout_c is not None:
            c = _mixed(masks_t.zoneout_c, state.c, c)
            c = c + unit * noise.c * jax.lax.stop_gradient(mixing(masks_t.zoneout_c, state.c, c))
        keep = valid_t[:, None]
        new = State(h=jnp.where(keep, h, state.h), c=jnp.where(keep, c, state.c))
        return new, (jnp.where(keep, h, 0), new.c, z, own_c, own_h)

    final, (h, c, z, own_c, own_h) = jax.lax.scan(step, start, (z_x, valid, masks, disturbance, extra_c))
    return h, c, z, own_c, own_h, final


def _cell(layer: Layer, z_x_t: Any, state: State, noise: Disturbance, unit: Any, extra_c: Any) -> tuple:
    names = layer.activations
    z = z_x_t + jnp.matmul(state.h, layer.w_h, precision="highest") + noise.z
    blocks = dict(zip(layer.gates, _blocks(layer, z), strict=True))
    values = dict(zip(layer.gates, _blocks(layer, noise.gates * unit), strict=True))
    slopes = dict(zip(layer.gates, _blocks(layer, noise.slopes * unit), strict=True))
    if layer.peepholes is not None:
        for gate, row in zip(layer.gates[:-2], layer.peepholes[:-1], strict=True):
            blocks[gate] = blocks[gate] + row * state.c
    i = _rounded(names.gate, blocks["i"], values["i"], slopes["i"])
    f = 1 - i if layer.coupled else _rounded(names.gate, blocks["f"], values["f"], slopes["f"])
    g = _rounded(names.candidate, blocks["g"], values["g"], slopes["g"])
    c = f * state.c + i * g
    # Two products and a sum: each rounds by at most u of what it computes
    size = jax.lax.stop_gradient(jnp.abs(f * state.c) + jnp.abs(i * g) + jnp.abs(c))
    c = c + unit * noise.c * size + extra_c
    if layer.clip is not None:
        clipped = jnp.clip(c, -layer.clip.bound, layer.clip.bound)
        c = clipped if layer.clip.derivative == "true" else c + jax.lax.stop_gradient(clipped - c)
    if layer.peepholes is not None:
        blocks["o"] = blocks["o"] + layer.peepholes[-1] * c
    o = _rounded(names.gate, blocks["o"], values["o"], slopes["o"])
    h = o * _rounded(names.output, c, unit * noise.output, unit * noise.output_slope)
    unprojected = h
    if layer.projection is not None:
        h = jnp.matmul(h, layer.projection, precision="highest")
    return h, c, z, unprojected


def _mixed(mask: Any, old: Any, new: Any) -> Any:
    """Zoneout: m old + (1 - m) new."""
    return new if mask is None else mask * old + (1 - mask) * new


def mixing(mask: Any, old: Any, mixed: Any) -> Any:
    """What two products and their sum round by, in units of u: |m old| + |(1 - m) new| + |mixed|."""
    return abs(mask * old) + abs(mixed - mask * old) + abs(mixed)


def _rounded(name: str, z: Any, value: Any, slope: Any) -> Any:
    """act(z) with its value and its derivative disturbed separately.

    The value of a sigmoid computed as ½ tanh(½ z) + ½ is off by u, absolutely; any other by a few u of itself. The
    derivatives a (1 - a), 1 - a², (1 - |a|)² are off by u of what is subtracted, however small the difference is: that is
    what saturation does to a correct gradient. 1 - a² doubles what a is off by, and XLA's tanh in float32 is off by up to 4 u.
    """
    a = activation(name).forward(z)
    size = 1.0 if name == "sigmoid" else 2 * jax.lax.stop_gradient(jnp.abs(a))
    a = a + size * value
    if name in SMOOTH:
        off_by = 4 if name == "tanh" else 2
        a = a + off_by * slope * (z - jax.lax.stop_gradient(z))
    return a


def _blocks(layer: Layer, array: Any) -> list[Any]:
    return jnp.split(array, len(layer.gates), axis=-1)


def undisturbed(timesteps: int, batch: int, layer: Layer) -> Disturbance:
    """No disturbance at all."""
    blocks, hidden, recurrent = layer.w_h.shape[1], layer.hidden_size, layer.recurrent_size
    widths = {"z": blocks, "gates": blocks, "slopes": blocks, "c": hidden, "output": hidden, "output_slope": hidden, "h": recurrent}
    return Disturbance(**{name: np.zeros((timesteps, batch, width)) for name, width in widths.items()})
