"""Costs of perturbed copies, chunk by chunk: as many at a time as fit the memory, spread over devices."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from checks.exhaustive.entries import Entries
from checks.exhaustive.network import NetworkCost, Unperturbed
from checks.exhaustive.sweep import Copies, Place, costs, is_one_way
from lstm.levels import directions

CACHE = 16 * 2**20  # bytes on a CPU: what a timestep touches is then read from its last-level cache
COPIES = "copies"


class Evaluator:
    """Runs copies of one network on every device of a mesh, the same number on each."""

    def __init__(self, given: NetworkCost, run: Unperturbed, dtype: np.dtype, memory: int, devices: Sequence[Any]):
        self.mesh = Mesh(np.array(devices), (COPIES,))
        self.layers, self.dtype, self.memory = given.layers, dtype, memory
        self.shape = np.shape(given.inputs)[:2]
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        self.constants = jax.tree.map(lambda leaf: self._placed(np.asarray(leaf), everywhere), (given, run))
        self.outputs = 0 if given.readout is None else given.readout.b.shape[0]

    def chunk(self, entries: Entries, evaluations: int) -> int:
        """How many entries, each with so many copies, one device takes at a time. The same for any number of devices."""
        limit = min(self.memory, CACHE) if self.mesh.devices.flat[0].platform == "cpu" else self.memory
        most = max(1, int(limit // (evaluations * self.bytes_per_copy(entries.place))))
        chunks = -(-len(entries) // most)
        return -(-len(entries) // chunks)

    def bytes_per_copy(self, place: Place) -> int:
        """At most, with what XLA needs beside: two states, and the arrays on the way from one to the other."""
        timesteps, batch = self.shape
        if place.kind == "readout":
            return self.dtype.itemsize * batch * (6 * self.outputs + 8)
        sizes = [(len(d.layer.gates) * d.layer.hidden_size, d.layer.recurrent_size, d.layer.hidden_size) for d in self._above(place)]
        numbers = sum(2 * (r + h) for _, r, h in sizes) + max(3 * z + 2 * r + 3 * h for z, r, h in sizes) + 3 * self.outputs
        kept = 0 if is_one_way(self.layers, place) else 2 * timesteps * sum(r for _, r, _ in sizes)
        sources = 2 * timesteps if place.kind == "gates" else 2 * max(z for z, _, _ in sizes) if place.kind == "inputs" else 0
        return self.dtype.itemsize * batch * (numbers + kept + sources + 4)

    def _above(self, place: Place) -> list[Any]:
        return [direction for level in self.layers[place.level :] for direction in directions(level)]

    def __call__(self, entries: Entries, chosen: np.ndarray, amounts: np.ndarray, size: int) -> np.ndarray:
        """Costs (N, B) of N copies: of ``entries`` number ``chosen`` (N,), by ``amounts`` (N, 1 or B).

        ``size``: copies that a device takes; N is at most that times the number of devices.
        """
        asked, count = len(chosen), size * self.mesh.size
        padding = np.minimum(np.arange(count), len(chosen) - 1)
        chosen, amounts = chosen[padding], amounts[padding]
        first = int(entries.first[chosen].min()) if is_one_way(self.layers, entries.place) else 0
        spread = NamedSharding(self.mesh, PartitionSpec(COPIES))
        numbers = (amounts.astype(self.dtype), entries.index[chosen].astype(np.int32), entries.column[chosen].astype(np.int32))
        copies = Copies(*(self._placed(array, spread) for array in numbers))
        found = _compiled(self.mesh, entries.place)(*self.constants, copies, np.int32(first))
        return np.asarray(found)[:asked]

    def _placed(self, array: np.ndarray, sharding: NamedSharding) -> Any:
        """On this process's devices, its part; every process holds the whole array."""
        if self.mesh.size == 1:
            return jax.device_put(array, self.mesh.devices.flat[0])
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


@functools.cache
def _compiled(mesh: Mesh, place: Place) -> Any:
    """A function of (network, unperturbed run, copies, first timestep) -> (K, B), every device holding all of it."""
    own = functools.partial(costs, place=place)
    if mesh.size == 1:
        return jax.jit(own)

    def on_one_device(given: NetworkCost, run: Unperturbed, copies: Copies, first: Any) -> Any:
        return jax.lax.all_gather(own(given, run, copies, first), COPIES, tiled=True)

    shared, split = PartitionSpec(), PartitionSpec(COPIES)
    mapped = jax.shard_map(on_one_device, mesh=mesh, in_specs=(shared, shared, split, shared), out_specs=shared, check_vma=False)
    return jax.jit(mapped)

