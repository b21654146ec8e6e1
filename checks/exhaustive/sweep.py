"""The costs of many perturbed copies of a network: only what a perturbation reaches is run.

A perturbation of one layer in one direction leaves the layers below, and the level's other direction, as they are. Consecutive
levels that run the same way go through time together, one state each; only where the direction changes is a whole sequence of
outputs kept for every copy.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import lstm
from checks.exhaustive.network import NetworkCost, Unperturbed, final_dot
from checks.exhaustive.timestep import Moved, hold, in_column, masked, matmul, one_step
from lstm.levels import directions
from lstm.parameters import pytree

RECURRENT = ("gates", "peepholes", "projection")


class Place(NamedTuple):
    """What is perturbed. ``kind``: one of RECURRENT, "inputs", "state" or "readout"."""

    level: int
    direction: int
    kind: str


@pytree
class Copies:
    """How each of K copies differs; see `Moved`. For a state, ``index`` is 0 for h and 1 for c; for inputs, a timestep."""

    amount: Any  # (K, 1) or (K, B)
    index: Any  # (K,)
    column: Any  # (K,)


class _Run(NamedTuple):
    """One layer on its way through time."""

    layer: Any
    masks: Any  # (T, B, ·)
    start: Any  # state (K, B, ·)
    d_final: Any


def costs(given: NetworkCost, run: Unperturbed, copies: Copies, first: Any, *, place: Place) -> Any:
    """(K, B): what each sequence of each copy contributes to the cost, but for a constant of each sequence.

    ``first``: no copy differs before the layer's ``first``-th timestep, in its own order; 0 unless the place `is_one_way`.
    """
    if place.kind == "readout":
        return _readout_costs(given, run, copies)
    total = jnp.zeros((copies.amount.shape[0], jnp.shape(given.inputs)[1]), given.inputs.dtype)
    feed, level = None, place.level
    while level < len(given.layers):
        ways = directions(given.layers[level])
        group = _group(given.layers, level)
        touched = range(len(ways)) if feed is not None or place.kind == "inputs" else [place.direction]
        outputs = list(run.outputs[level + len(group) - 1])
        for way in touched:
            sweep = _Sweep(given, run, copies, place, level, way, feed, first)
            last = level + len(group) == len(given.layers) and way == touched[-1]
            emitted, contribution = sweep.through([level + n for n in range(len(group))], outputs if last else None)
            outputs[way] = emitted
            total = total + contribution
        feed, level = outputs, level + len(group)
    return total


def is_one_way(layers: tuple, place: Place) -> bool:
    """Does all that the perturbation reaches run through time together, from the perturbed layer to the cost?"""
    both = len(directions(layers[place.level])) == 2
    return len(_group(layers, place.level)) == len(layers) - place.level and not (both and place.kind == "inputs")


def _group(layers: tuple, level: int) -> list[Any]:
    """The levels from this one on that run the same, one, way."""
    group = [layers[level]]
    while len(directions(group[0])) == 1 and level + len(group) < len(layers):
        above = directions(layers[level + len(group)])
        if len(above) == 2 or above[0].reversed != directions(group[0])[0].reversed:
            break
        group.append(layers[level + len(group)])
    return group


class _Sweep:
    """One direction of consecutive levels, through time, for every copy."""

    def __init__(self, given, run, copies, place, level, way, feed, first):
        self.given, self.run, self.copies, self.place, self.level, self.way, self.feed = given, run, copies, place, level, way, feed
        self.timesteps, self.batch = jnp.shape(given.inputs)[:2]
        self.dtype = given.inputs.dtype
        self.is_reversed = directions(given.layers[level])[way].reversed
        self.first = first
        self.is_source = level == place.level

    def through(self, levels: list[int], beside: list[Any] | None) -> tuple[Any, Any]:
        """-> outputs (T, K, B, R), or None at the top; the contribution (K, B) to the cost.

        ``beside``: at the top, the outputs of every direction, this one's to be replaced at each timestep.
        """
        runs = [self._prepared(level) for level in levels]
        z_x_at = self._z_x(runs[0].layer, runs[0].masks.inputs)
        moved_at = self._moved(runs[0].layer, runs[0].masks)
        copies, dtype = self.copies.amount.shape[0], self.dtype
        size = runs[-1].layer.recurrent_size
        kept = jnp.zeros((self.timesteps, copies, self.batch, size), dtype) if beside is None else None

        def body(n, carry):
            states, total, kept = carry
            t = self.timesteps - 1 - n if self.is_reversed else n
            valid_t = None if self.given.valid is None else jnp.asarray(self.given.valid)[t]
            new_states: list[Any] = []
            z_x, moved = z_x_at(t), moved_at(t)
            for number, (each, state) in enumerate(zip(runs, states, strict=True)):
                masks_t = _at(each.masks, t)
                if number > 0:
                    z_x, moved = matmul(masked(new_states[-1].h, masks_t.inputs), each.layer.w_x) + each.layer.b, None
                new_states.append(hold(valid_t, one_step(each.layer, z_x, state, masks_t, moved), state))
            h = new_states[-1].h if valid_t is None else jnp.where(valid_t[:, None], new_states[-1].h, 0)
            if beside is None:
                return new_states, total, kept.at[t].set(h)
            outputs = [h if way == self.way else _at(other, t) for way, other in enumerate(beside)]
            total = total + self._contribution(outputs, t)
            return new_states, total, kept

        start = [each.start for each in runs], jnp.zeros((copies, self.batch), dtype), kept
        finals, total, kept = jax.lax.fori_loop(self.first, self.timesteps, body, start)
        for each, final in zip(runs, finals, strict=True):
            total = total + final_dot(each.d_final, final)
        return kept, total

    def _prepared(self, level: int) -> _Run:
        given, copies = self.given, self.copies
        layer = directions(given.layers[level])[self.way].layer
        state = given.initial_state[level][self.way]
        if self.place.kind == "inputs":  # nothing differs before: start from the state that was stored
            t = self.timesteps - 1 - self.first if self.is_reversed else self.first
            state = _at(self.run.before[level][self.way], t)
        start = jax.tree.map(
            lambda leaf: jnp.broadcast_to(jnp.asarray(leaf, self.dtype), (len(copies.index), *leaf.shape)), state
        )
        if self.place == (level, self.way, "state"):
            moved = [jnp.where((copies.index == which)[:, None], copies.amount, 0) for which in (0, 1)]
            start = lstm.State(
                h=start.h + in_column(copies.column, moved[0], start.h.shape[-1]),
                c=start.c + in_column(copies.column, moved[1], start.c.shape[-1]),
            )
        masks = jax.tree.map(jnp.asarray, given.masks[level][self.way])
        return _Run(layer, masks, start, given.d_final_state[level][self.way])

    def _z_x(self, layer: Any, mask: Any) -> Any:
        """A function t -> x_t W_x + b: of the unperturbed inputs (B, 4H), or of the level below's (K, B, 4H)."""
        if self.feed is None:
            z_x = matmul(masked(self.run.inputs[self.level], mask), layer.w_x) + layer.b
            return lambda t: z_x[t]

        def at(t):
            x_t = _side_by_side([_at(part, t) for part in self.feed])
            return matmul(masked(x_t, _at(mask, t)), layer.w_x) + layer.b

        return at

    def _moved(self, layer: Any, masks: Any) -> Any:
        """A function t -> what differs at this timestep."""
        copies, kind = self.copies, self.place.kind
        if not self.is_source or kind == "state":
            return lambda t: None
        if kind == "inputs":
            rows = jnp.asarray(layer.w_x)[copies.column]  # (K, 4H)

            def added(t):
                amount = copies.amount
                if masks.inputs is not None:
                    amount = amount * jnp.moveaxis(masks.inputs[t], 0, 1)[copies.column]
                here = jnp.where((copies.index == t)[:, None], amount, 0)
                return Moved(amount=amount, added=here[:, :, None] * rows[:, None, :], kind=kind)

            return added
        if kind != "gates":
            return lambda t: Moved(amount=copies.amount, column=copies.column, index=copies.index, kind=kind)
        x = masked(self.run.inputs[self.level], masks.inputs)
        sources = jnp.concatenate([x, jnp.ones_like(x[:, :, :1])], axis=-1)  # inputs, and the bias's 1
        features = x.shape[-1]
        # Weights in the order w_x, b, w_h; the first two multiply what no perturbation reaches
        chosen = jnp.moveaxis(sources[:, :, jnp.minimum(copies.index, features)], 1, 2)  # (T, K, B)
        index = copies.index - features - 1
        return lambda t: Moved(amount=copies.amount, column=copies.column, index=index, source=chosen[t], kind=kind)

    def _contribution(self, parts: list[Any], t: Any) -> Any:
        """The cost of timestep t, from the top level's outputs in each direction."""
        given = self.given
        if given.targets is None:
            if given.d_outputs is None:
                return 0
            return (_side_by_side(parts) * _at(jnp.asarray(given.d_outputs), t)).sum(axis=-1)
        y = _side_by_side(parts)
        if given.readout is not None:
            y = matmul(y, given.readout.w) + given.readout.b
        return _loss(given, y, t)


def _loss(given: NetworkCost, y: Any, t: Any) -> Any:
    return lstm.LOSSES[given.loss].forward(y, _at(jnp.asarray(given.targets), t)) * _at(jnp.asarray(given.loss_weights), t)


def _readout_costs(given: NetworkCost, run: Unperturbed, copies: Copies) -> Any:
    """No timestep is run: the readout of outputs that are known."""
    outputs = _side_by_side(run.outputs[-1])
    sources = jnp.concatenate([outputs, jnp.ones_like(outputs[:, :, :1])], axis=-1)  # and the bias's 1
    y = matmul(outputs, given.readout.w) + given.readout.b

    def body(t, total):
        source = jnp.moveaxis(sources[t][:, copies.index], 0, 1)  # (K, B)
        y_t = y[t] + in_column(copies.column, copies.amount * source, y.shape[-1])
        return total + _loss(given, y_t, t)

    start = jnp.zeros((len(copies.index), y.shape[1]), y.dtype)
    return jax.lax.fori_loop(0, len(y), body, start)


def _side_by_side(parts: list[Any]) -> Any:
    """Both directions' features; what all copies share, (B, R), beside what differs, (K, B, R)."""
    if len(parts) == 1:
        return parts[0]
    shape = functools.reduce(jnp.broadcast_shapes, [part.shape[:-1] for part in parts])
    return jnp.concatenate([jnp.broadcast_to(part, (*shape, part.shape[-1])) for part in parts], axis=-1)


def _at(arrays: Any, t: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[t], arrays)
