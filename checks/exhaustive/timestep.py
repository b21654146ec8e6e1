"""One timestep of one layer, for many perturbed copies of it at once that share one matrix product.

Arrays are (K, B, ·): K copies of the layer, B sequences each; or (B, ·) for the layer as it is. A copy in which the weight
from r to column q is larger by ε adds ε · source[:, r] to column q of the pre-activations, and differs in nothing else; so all copies
multiply by the same weights. Written from the equations of the forward pass, apart from `lstm`'s own.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import lstm
from lstm.activations import activation
from lstm.parameters import pytree, static


@pytree
class Moved:
    """What differs between the copies, at one timestep: ``amount * source`` is added in one column of each copy.

    ``kind`` says where: "gates": to the pre-activations, for a weight or a bias; "projection": to h; "inputs": to all of the
    pre-activations; "peepholes": to the peephole weights themselves, which are vectors.
    """

    amount: Any  # (K, 1), or (K, B) where each sequence's copy is moved by itself
    column: Any = None  # (K,)  of the pre-activations or of h; the peephole's unit
    index: Any = None  # (K,)  of h_{t-1}, negative: take `source`; of the unprojected output; the peephole's row
    source: Any = None  # (K, B)  where the weight does not multiply the recurrent state
    added: Any = None  # (K, B, 4H)  what a moved input adds
    kind: str = static(default="")


def one_step(layer: Any, z_x: Any, state: Any, masks: Any, moved: Moved | None = None) -> Any:
    """``z_x = x_t W_x + b``, (K, B, 4H) or (B, 4H), and the previous state -> the new state."""
    gate, candidate, output = (activation(name) for name in _names(layer))
    kind = "" if moved is None else moved.kind
    h_seen = masked(state.h, masks.recurrent)
    z = matmul(h_seen, layer.w_h) + z_x
    if moved is not None and kind == "gates":
        z = z + _in_column(moved, jnp.where((moved.index >= 0)[:, None], _picked(h_seen, moved), moved.source), z.shape[-1])
    if moved is not None and kind == "inputs":
        z = z + moved.added
    p = _moved_peepholes(layer.peepholes, moved) if kind == "peepholes" else layer.peepholes
    z_o = None
    if p is not None:
        blocks = jnp.split(z, len(layer.gates), axis=-1)
        z_o = blocks.pop()  # waits for the new cell state
        for number in range(len(p) - 1):  # i, and f unless it is coupled to i
            blocks[number] = blocks[number] + p[number] * state.c
        z = jnp.concatenate(blocks, axis=-1)
    a = _activated(layer, z, gate, candidate)
    c = (1 - a["i"] if layer.coupled else a["f"]) * state.c + a["i"] * a["g"]
    if layer.clip is not None:
        c = jnp.clip(c, -layer.clip.bound, layer.clip.bound)
    o = a["o"] if p is None else gate.forward(z_o + p[-1] * c)
    h = o * output.forward(c)
    if layer.projection is not None:
        unprojected, h = h, matmul(h, layer.projection)
        if kind == "projection":
            h = h + _in_column(moved, _picked(unprojected, moved), h.shape[-1])
    return lstm.State(h=_mixed(masks.zoneout_h, state.h, h), c=_mixed(masks.zoneout_c, state.c, c))


def matmul(a: Any, b: Any) -> Any:
    """One flat product in the arrays' own precision: (..., N) @ (N, M)."""
    flat = jnp.matmul(a.reshape(-1, a.shape[-1]), b, precision=jax.lax.Precision.HIGHEST)
    return flat.reshape(*a.shape[:-1], b.shape[-1])


def masked(array: Any, mask: Any) -> Any:
    return array if mask is None else array * mask


def hold(valid_t: Any, new: Any, old: Any) -> Any:
    """``new`` where this timestep counts (B,), else ``old``."""
    return new if valid_t is None else jax.tree.map(lambda a, b: jnp.where(valid_t[:, None], a, b), new, old)


def in_column(column: Any, values: Any, width: int) -> Any:
    """(K, B) numbers, each copy's in a column of its own (K,): (K, B, width), zero elsewhere."""
    return jnp.where(jnp.arange(width) == column[:, None, None], values[:, :, None], 0)


def _in_column(moved: Any, source: Any, width: int) -> Any:
    return in_column(moved.column, moved.amount * source, width)


def _picked(array: Any, moved: Any) -> Any:
    """(K, B, N) -> (K, B): each copy's own feature."""
    index = jnp.maximum(moved.index, 0)[:, None, None]
    return jnp.take_along_axis(array, index, axis=-1, mode="promise_in_bounds")[:, :, 0]


def _moved_peepholes(peepholes: Any, moved: Any) -> list[Any]:
    """Each row once for every copy: (K, 1, H)."""
    row, unit = moved.index[:, None, None], moved.column[:, None, None]
    here = jnp.arange(peepholes.shape[-1]) == unit
    return [jnp.where(here & (row == r), p + moved.amount[:, :, None], p) for r, p in enumerate(peepholes)]


def _names(layer: Any) -> tuple[str, str, str]:
    return layer.activations.gate, layer.activations.candidate, layer.activations.output


def _activated(layer: Any, z: Any, gate: Any, candidate: Any) -> dict[str, Any]:
    """Each block of z by its gate's name, activated; with peepholes z has no block for o."""
    names = layer.gates[: z.shape[-1] // layer.hidden_size]
    chosen = [candidate if name == "g" else gate for name in names]
    if any(one.tanh_scale is None for one in chosen):
        blocks = [one.forward(block) for one, block in zip(chosen, jnp.split(z, len(names), axis=-1), strict=True)]
    else:  # one tanh over all blocks is measured faster than one for each
        scale = jnp.repeat(jnp.array([one.tanh_scale for one in chosen], z.dtype), layer.hidden_size)
        blocks = jnp.split(scale * jnp.tanh(scale * z) + (1 - scale), len(names), axis=-1)
    return dict(zip(names, blocks, strict=True))


def _mixed(mask: Any, old: Any, new: Any) -> Any:
    return new if mask is None else mask * old + (1 - mask) * new
