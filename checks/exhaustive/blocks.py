"""Blocks of perturbed copies on their way through time, in NumPy.

Arrays are (N, B, features, L): N blocks of L copies each. With the copies innermost, everything elementwise runs over contiguous
memory. Written from the equations of the forward pass once more, for layers without extensions.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import numpy as np

import lstm
from checks.exhaustive.network import NetworkCost, Unperturbed
from checks.exhaustive.sweep import Place
from lstm.levels import directions

COPIES = 256  # in a block, at most: of fewer, NumPy's loops are short
# Multiplications in a product, at most: of larger ones NumPy's BLAS would give each core a part, and two that call it wait for one another
LARGEST_PRODUCT = 1e6
CACHE = 8 * 2**20  # bytes of pre-activations at a time
LINE = 64  # bytes that a processor fetches, or computes with, at a time
EVERY = slice(None)


class Level:
    """One layer's weights as the product wants them: rows i, f, o, g, those of gates negated; columns: features, h and 1."""

    def __init__(self, layer: lstm.Layer, state: lstm.State, d_final: Any, fan_in: int, dtype: np.dtype):
        self.hidden, self.fan_in, self.state, self.d_final = layer.hidden_size, fan_in, _arrays(state, dtype), _arrays(d_final, dtype)
        names = list(layer.gates)
        blocks = np.arange(4 * self.hidden).reshape(4, self.hidden)
        self.rows = np.concatenate([blocks[names.index(name)] for name in "ifog"])
        self.sign = np.repeat(np.array([-1, -1, -1, 1], dtype), self.hidden)
        w_x, w_h, b = (np.asarray(array, dtype) for array in (layer.w_x, layer.w_h, layer.b))
        self.weights = self.of_columns(np.concatenate([w_x, w_h, b[None]] if fan_in else [w_h, b[None]]))

    def of_columns(self, table: np.ndarray) -> np.ndarray:
        """(..., 4H) in the layer's own order -> rows in this one."""
        return np.ascontiguousarray((table[..., self.rows] * self.sign).T)


class HostNetwork:
    """A network in which the weights at one place are perturbed."""

    def __init__(self, given: NetworkCost, run: Unperturbed, place: Place, dtype: np.dtype):
        self.dtype, self.batch = np.dtype(dtype), np.shape(given.inputs)[1]
        self.in_line = LINE // self.dtype.itemsize  # numbers
        each = [directions(level)[0] for level in given.layers[place.level :]]
        states, finals = ([one[0] for one in whole[place.level :]] for whole in (given.initial_state, given.d_final_state))
        fan_ins = [0] + [d.layer.w_x.shape[0] for d in each[1:]]  # the lowest one's inputs are no copy's own
        self.levels = [Level(d.layer, *others, dtype) for d, others in zip(each, zip(states, finals, fan_ins, strict=True), strict=True)]
        inputs, lowest = np.asarray(run.inputs[place.level], dtype), each[0].layer
        with np.errstate(all="ignore"):  # what overflows is said by the status
            z_x = inputs @ np.asarray(lowest.w_x, dtype) + np.asarray(lowest.b, dtype)
        self.z_x = z_x[..., self.levels[0].rows] * self.levels[0].sign  # (T, B, 4H)
        self.sources = np.concatenate([inputs, np.ones_like(inputs[..., :1])], axis=-1)  # and the bias's 1
        self.order = range(len(inputs))[:: -1 if each[0].reversed else 1]
        self.readout = _arrays(given.readout, dtype)
        self.targets, self.loss_weights, self.d_outputs = (_arrays(a, dtype) for a in (given.targets, given.loss_weights, given.d_outputs))

    def costs(self, amount: np.ndarray, index: np.ndarray, column: np.ndarray) -> np.ndarray:
        """(K, 1) amounts, (K,) sources and columns as in `checks.exhaustive.sweep.Copies` -> (K, B)."""
        hidden = max(level.hidden for level in self.levels)
        length = int(np.clip(LARGEST_PRODUCT // max(level.weights.size for level in self.levels), self.in_line, COPIES))
        length = length // self.in_line * self.in_line
        most = max(length, int(CACHE // (4 * hidden * self.batch * self.dtype.itemsize)))
        ends = np.linspace(0, len(amount), 1 + math.ceil(len(amount) / most)).astype(int)
        pieces = [slice(*pair) for pair in itertools.pairwise(ends)]
        with np.errstate(all="ignore"):  # as in compiled code; exp may well overflow
            return np.concatenate([Blocks(self, amount[piece], index[piece], column[piece], length).costs() for piece in pieces])


class Blocks:
    """So many copies on their way through time, in memory that is used again at each timestep."""

    def __init__(self, network: HostNetwork, amount: np.ndarray, index: np.ndarray, column: np.ndarray, length: int):
        self.network, self.copies = network, len(amount)
        blocks = -(-self.copies // length)
        self.shape = blocks, network.batch, -(-self.copies // (blocks * network.in_line)) * network.in_line
        self.a, self.z, self.c = zip(*(self._memory(level) for level in network.levels), strict=True)
        self.total = np.zeros(self.shape, network.dtype)
        self.off = None if network.targets is None else self._empty(network.targets.shape[2])
        self._place(amount, index, column)

    def _memory(self, level: Level) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, z, c = (self._empty(size) for size in (level.weights.shape[1], 4 * level.hidden, level.hidden))
        a[:, :, level.fan_in : -1], a[:, :, -1], c[:] = level.state.h[:, :, None], 1, level.state.c[:, :, None]
        return a, z, c

    def _empty(self, features: int) -> np.ndarray:
        """(N, B, features, L), every row of which begins a cache line: a tenth faster."""
        blocks, batch, length = self.shape
        size = blocks * batch * features * length * self.network.dtype.itemsize
        memory = np.empty(size + LINE, np.uint8)
        begin = -memory.ctypes.data % LINE
        return memory[begin : begin + size].view(self.network.dtype).reshape(blocks, batch, features, length)

    def _place(self, amount: np.ndarray, index: np.ndarray, column: np.ndarray) -> None:
        """Where each copy's z is moved, and by what times what; the last block's places without a copy are not."""
        level, features = self.network.levels[0], self.network.sources.shape[-1] - 1
        self.row = np.argsort(level.rows)[column]
        self.moved = self._where(4 * level.hidden, self.row)
        self.amount = (amount * level.sign[self.row][:, None]).T  # (1 or B, K)
        self.from_h = np.flatnonzero(index > features)
        self.from_x = np.flatnonzero(index <= features)
        self.feature = index[self.from_x]
        self.unit = (index - features - 1)[self.from_h]
        self.h_seen = self._where(level.hidden + 1, self.unit, self.from_h)

    def _where(self, features: int, feature: np.ndarray, copies: np.ndarray | slice = EVERY) -> np.ndarray:
        """(B, K): where each copy's feature is in memory, in each sequence, of an array of so many features."""
        block, inside = np.divmod(np.arange(self.copies)[copies], self.shape[2])
        return ((block * self.shape[1] + np.arange(self.shape[1])[:, None]) * features + feature) * self.shape[2] + inside

    def costs(self) -> np.ndarray:
        """(copies, B)."""
        levels = self.network.levels
        lowest = np.repeat(levels[0].weights[None], self.shape[1], axis=0)  # (B, 4H, H + 1)
        for step, t in enumerate(self.network.order):
            if step == 0:
                h = self._first(t)
            else:
                lowest[:, :, -1] = self.network.z_x[t]
                np.matmul(lowest, self.a[0], out=self.z[0])
                self.z[0].reshape(-1)[self.moved] += self.amount * self._sources(t, self.a[0].reshape(-1)[self.h_seen])
                h = self._activate(0)
            for number in range(1, len(levels)):
                self.a[number][:, :, : levels[number].fan_in] = h
                np.matmul(levels[number].weights, self.a[number], out=self.z[number])
                h = self._activate(number)
            self._add(h, t)
        for level, a, c in zip(levels, self.a, self.c, strict=True):
            for name, end in ("h", a[:, :, level.fan_in : -1]), ("c", c):
                d = getattr(level.d_final, name, None)
                if d is not None:
                    self.total += np.einsum("nbhl,bh->nbl", end, d)
        return np.moveaxis(self.total, 1, 2).reshape(-1, self.shape[1])[: self.copies]

    def _sources(self, t: int, h: np.ndarray) -> np.ndarray:
        """(B, K), of which ``h`` holds those that are outputs of the layer itself."""
        source = np.empty(self.moved.shape, self.network.dtype)
        source[:, self.from_x] = self.network.sources[t][:, self.feature]
        source[:, self.from_h] = h
        return source

    def _first(self, t: int) -> np.ndarray:
        """The lowest layer's first timestep, before which all copies are alike: after it, each differs in one unit."""
        level, a, c = self.network.levels[0], self.a[0], self.c[0]
        hidden, state = level.hidden, level.state
        z = state.h @ level.weights[:, :-1].T + self.network.z_x[t]  # (B, 4H)
        gate, unit = np.divmod(self.row, hidden)
        own = z.reshape(-1, 4, hidden)[:, :, unit]  # (B, 4, K)
        own[:, gate, np.arange(self.copies)] += self.amount * self._sources(t, state.h[:, self.unit])
        h_all, c_all = _new_cell(z[..., None], state.c[..., None])
        h_own, c_own = _new_cell(own, state.c[:, None, unit])
        a[:, :, :-1], c[:] = h_all, c_all
        a.reshape(-1)[self._where(hidden + 1, unit)] = h_own[:, 0]
        c.reshape(-1)[self._where(hidden, unit)] = c_own[:, 0]
        return a[:, :, :-1]

    def _activate(self, number: int) -> np.ndarray:
        """z -> the new c, and the new h where the next product finds it."""
        h = self.a[number][:, :, self.network.levels[number].fan_in : -1]
        _cell(self.z[number], self.c[number], h)
        return h

    def _add(self, h: np.ndarray, t: int) -> None:
        """What timestep t contributes to the cost."""
        network = self.network
        if network.targets is None:
            if network.d_outputs is not None:
                self.total += np.einsum("nbhl,bh->nbl", h, network.d_outputs[t])
            return
        y = h if network.readout is None else np.matmul(network.readout.w.T, h) + network.readout.b[:, None]
        off = np.subtract(y, network.targets[t][:, :, None], out=self.off)
        self.total += np.einsum("nbkl,nbkl->nbl", off, off) * network.loss_weights[t][:, None]


def _cell(z: np.ndarray, c: np.ndarray, h: np.ndarray) -> None:
    """z (…, 4H, L), overwritten, and c (…, H, L) -> the new c and h, in their place."""
    hidden = c.shape[-2]
    gates = z[..., : 3 * hidden, :]
    np.exp(gates, out=gates)
    gates += 1  # 1 + exp(-z) = 1 / σ(z)
    i, f, o, g = (z[..., n * hidden : (n + 1) * hidden, :] for n in range(4))
    np.tanh(g, out=g)
    c /= f
    g /= i
    c += g
    np.tanh(c, out=h)
    h /= o


def _new_cell(z: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> the new h and c, beside the old."""
    new_c, h = c.copy(), np.empty_like(c)
    _cell(z, new_c, h)
    return h, new_c


def _arrays(tree: Any, dtype: np.dtype) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype), tree)
