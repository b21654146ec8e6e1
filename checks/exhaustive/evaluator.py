"""Costs of perturbed copies, chunk by chunk: as many at a time as fit the memory, spread over devices."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from checks.exhaustive import host
from checks.exhaustive.blocks import HostNetwork
from checks.exhaustive.entries import Entries, Unit
from checks.exhaustive.network import NetworkCost, Unperturbed
from checks.exhaustive.sweep import Copies, Place, costs, is_one_way
from lstm.levels import directions

CACHE = 16 * 2**20  # bytes on a CPU: what a timestep touches is then read from its last-level cache
TOGETHER = 4  # chunks on a CPU come in so many, so that 2 or 4 cores end together
COPIES = "copies"
# Multiplications in the products of all copies at one place, of which each takes NumPy as long as a compiled program, within a half,
# or less: below about a second's worth the time to compile, 0.2 s and more, decides
FEW = 3e10
LONG = 500  # timesteps, each of which costs Python some 50 µs in NumPy, however little there is to do


class Evaluator:
    """Runs copies of one network on every device of a mesh, the same number on each. Knows which `host.Engine` runs instead."""

    has_fixed_shape = True  # units of any other size would be compiled anew

    def __init__(self, given: NetworkCost, run: Unperturbed, dtype: np.dtype, memory: int, devices: Sequence[Any]):
        self.mesh = Mesh(np.array(devices), (COPIES,))
        self.layers, self.dtype, self.memory = given.layers, dtype, memory
        self.shape = np.shape(given.inputs)[:2]
        self.given, self.run = given, run
        self.outputs = 0 if given.readout is None else given.readout.b.shape[0]

    @functools.cached_property
    def constants(self) -> Any:
        """The network and its unperturbed run, on every device."""
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda leaf: self._placed(np.asarray(leaf), everywhere), (self.given, self.run))

    @property
    def on_cpu(self) -> bool:
        return self.mesh.devices.flat[0].platform == "cpu"

    @property
    def unit(self) -> int:
        """Bytes of all that a device does at a time, if memory allows."""
        return CACHE if self.on_cpu else self.memory

    def chunk(self, entries: Entries, evaluations: int, engine: Evaluator | host.Engine) -> int:
        """How many entries, each with so many copies, a device or core takes at a time. The same for any number of them."""
        limit = min(self.memory, engine.unit)
        most = max(1, int(limit // (evaluations * self.bytes_per_copy(entries.place))))
        chunks = -(-len(entries) // most)
        if self.on_cpu and chunks > 1:
            chunks = -(-chunks // TOGETHER) * TOGETHER
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
        indices = 8 * 8  # of 64 bits: where in memory each copy is moved, and by which source
        return batch * (self.dtype.itemsize * (numbers + kept + sources + 4) + indices)

    def engine(self, entries: Entries, copies: int) -> Evaluator | host.Engine:
        """What runs so many copies at this place: NumPy where compiling would take longer, whatever the number of devices."""
        is_for_host = self._is_for_host(entries.place, copies)
        # As many units on cores at a time as fit the memory together
        most = max(1, int(self.memory // host.UNIT))
        return host.Engine(HostNetwork(self.given, self.run, entries.place, self.dtype), most) if is_for_host else self

    def _is_for_host(self, place: Place, copies: int) -> bool:
        if not self.on_cpu or not host.is_plain(self.given, place, self.dtype):
            return False
        timesteps, batch = self.shape
        above = self._above(place)
        weights = sum(d.layer.w_x.size + d.layer.w_h.size for d in above)
        # Each unit has the lowest layer's weights once for each sequence
        beside = batch * (above[0].layer.w_h.size + above[0].layer.b.size) * self.dtype.itemsize
        return timesteps <= LONG and beside <= min(self.memory, CACHE) / 4 and copies * timesteps * batch * weights <= FEW

    def _above(self, place: Place) -> list[Any]:
        return [direction for level in self.layers[place.level :] for direction in directions(level)]

    @property
    def at_once(self) -> int:
        return self.mesh.size

    def start(self, entries: Entries, units: Sequence[Unit]) -> Any:
        """Begin on one unit for each device; at most `at_once`. `finish` takes what this returns."""
        devices = self.mesh.size
        every = [units[min(n, len(units) - 1)] for n in range(devices)]
        chosen = np.concatenate([unit.chosen for unit in every])
        one_way = is_one_way(self.layers, entries.place)
        first = np.array([unit.first if one_way else 0 for unit in every], np.int32)
        numbers = np.concatenate([unit.amounts for unit in every]), entries.index[chosen], entries.column[chosen]
        dtypes = self.dtype, np.int32, np.int32
        spread = NamedSharding(self.mesh, PartitionSpec(COPIES))
        arrays = [self._placed(array.astype(dtype), spread) for array, dtype in zip(numbers, dtypes, strict=True)]
        return _compiled(self.mesh, entries.place)(*self.constants, Copies(*arrays), self._placed(first, spread)), len(units)

    def finish(self, started: Any) -> np.ndarray:
        """Costs (units, K, B) in float64."""
        found, units = started
        return np.asarray(found).reshape(self.mesh.size, -1, self.shape[1])[:units].astype(np.float64)

    def _placed(self, array: np.ndarray, sharding: NamedSharding) -> Any:
        """On this process's devices, its part; every process holds the whole array."""
        if self.mesh.size == 1:
            return jax.device_put(array, self.mesh.devices.flat[0])
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


@functools.cache
def _compiled(mesh: Mesh, place: Place) -> Any:
    """A function of (network, unperturbed run, copies, first timestep of each device) -> (K, B), all of it on every device."""

    def on_one_device(given: NetworkCost, run: Unperturbed, copies: Copies, first: Any) -> Any:
        return costs(given, run, copies, first[0], place=place)

    if mesh.size == 1:
        return jax.jit(on_one_device)

    def gathered(*arrays: Any) -> Any:
        return jax.lax.all_gather(on_one_device(*arrays), COPIES, tiled=True)

    shared, split = PartitionSpec(), PartitionSpec(COPIES)
    mapped = jax.shard_map(gathered, mesh=mesh, in_specs=(shared, shared, split, split), out_specs=shared, check_vma=False)
    return jax.jit(mapped)
