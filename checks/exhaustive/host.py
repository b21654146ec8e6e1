"""Costs of perturbed copies in NumPy, which compiles nothing: for networks so small that compiling would take longer than all else.

Each product is small enough for one core, so that every core can have copies of its own. For layers without extensions only;
`checks.exhaustive.sweep` knows all of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

import lstm
from checks.exhaustive.blocks import HostNetwork
from checks.exhaustive.entries import Entries, Unit
from checks.exhaustive.network import NetworkCost
from checks.exhaustive.sweep import Place
from lstm.levels import directions

UNIT = 48 * 2**20  # bytes of all that a core does at a time: of less, two cores would wait for Python's lock more often


def cores() -> int:
    """Those that this process may use. As `lstm`'s own, which is no public name."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_plain(given: NetworkCost, place: Place, dtype: np.dtype) -> bool:
    """A weight or bias of a layer that runs one way, as do all above it, without extensions; and a squared error or upstream gradients."""
    above = given.layers[place.level :]
    if place.kind != "gates" or given.valid is not None or given.loss not in ("", "squared_error") or dtype not in (np.float32, np.float64):
        return False
    if any(len(directions(level)) == 2 for level in above) or jax.tree.leaves(given.masks[place.level :]):
        return False
    each = [directions(level)[0] for level in above]
    return all(d.reversed == each[0].reversed and _has_no_extension(d.layer) for d in each)


def _has_no_extension(layer: lstm.Layer) -> bool:
    extended = layer.coupled or layer.activations != lstm.Activations()
    return not extended and layer.peepholes is None and layer.projection is None and layer.clip is None


class Engine:
    """Runs copies of one network on the cores of this machine, a unit on each, as `checks.exhaustive.evaluator.Evaluator` on devices."""

    has_fixed_shape = False

    @property
    def unit(self) -> int:
        return UNIT

    def __init__(self, network: HostNetwork, most: int):
        """``most``: units at a time, however many cores there are."""
        self.network, self.at_once = network, min(cores(), most)
        self.threads = ThreadPoolExecutor(self.at_once, thread_name_prefix="exhaustive")  # they end with this object

    def start(self, entries: Entries, units: Sequence[Unit]) -> list[Future]:
        """Begin on at most `at_once` units, once there is a thread for them. `finish` takes what this returns."""

        def run(unit: Unit) -> np.ndarray:
            return self.network.costs(unit.amounts.astype(self.network.dtype), entries.index[unit.chosen], entries.column[unit.chosen])

        return [self.threads.submit(run, unit) for unit in units]

    def finish(self, started: list[Future]) -> np.ndarray:
        """(units, K, B) in float64."""
        return np.stack([each.result() for each in started]).astype(np.float64)
