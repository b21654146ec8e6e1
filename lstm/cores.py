"""One call's sequences, spread over the cores of a CPU.

XLA's CPU backend runs the product of a timestep on one core unless it is large, the elementwise work of a timestep as well,
and one program's loops one after another. The cost (7) is a sum over sequences; so each core may have its own
sequences as a program of its own, started from a thread of its own.
"""

from __future__ import annotations

import concurrent.futures
import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm.levels import directions
from lstm.parameters import CostGradients
from lstm.validation import is_traced

# For each core, in float32, twice that much in float64: 1 to 2 ms, against 0.3 ms to start, join and add up the parts
ENOUGH = 1.5e8  # multiplications and additions
FEWEST_ROWS = 4  # of a product that one core runs; measured still near that core's rate


def number_of_parts(layers: tuple, inputs: Any, others: Any) -> int:
    """How many cores to use for inputs (T, B, D): 1 on anything but a CPU, for little work, and for arrays that are not at hand here.

    Equal parts, so that one compiled program serves all: a divisor of the batch. ``others``: the call's other arrays.
    """
    if jax.default_backend() != "cpu":
        return 1
    timesteps, batch, _ = inputs.shape
    each = [direction.layer for level in layers for direction in directions(level)]
    flop = timesteps * batch * sum(6 * (layer.w_x.size + layer.w_h.size) for layer in each)  # forward, and twice in reverse
    enough = ENOUGH * np.dtype(np.float32).itemsize / inputs.dtype.itemsize
    possible = [n for n in range(2, cores() + 1) if batch % n == 0 and batch // n >= FEWEST_ROWS and flop >= n * enough]
    if not possible or not all(map(_is_here, jax.tree.leaves((layers, inputs, others)))):
        return 1
    # Inside a trace, which belongs to its thread, even if no argument is traced
    return 1 if is_traced(jax.device_put(np.float32(0))) else max(possible)


def _is_here(array: Any) -> bool:
    return not is_traced(array) and (not isinstance(array, jax.Array) or len(array.devices()) == 1)


def spread(program: Callable[[Any, Any], tuple[Any, CostGradients]], given: Any, parts: int) -> tuple[Any, CostGradients]:
    """``program(given, part)`` for each part, numbered from 0, in a thread of its own, and the sum.

    What ``program``, compiled, returns belongs to that part's sequences; parts are in order.
    """
    # JAX's modes belong to a thread too; these two decide what is computed and where
    double, device = jax.config.read("jax_enable_x64"), getattr(jax.config, "jax_default_device")  # noqa: B009 (unknown to type checkers)

    def run(part: int) -> Any:
        with jax.enable_x64(double), jax.default_device(device):
            return jax.block_until_ready(program(given, jax.device_put(np.int32(part))))

    others = [_started(run, part) for part in range(1, parts)]
    try:
        first = run(0)
    finally:
        concurrent.futures.wait(others)
    return _together([first, *(other.result() for other in others)])


def _started(run: Callable[[int], Any], part: int) -> concurrent.futures.Future:
    try:
        return _threads().submit(run, part)
    except RuntimeError:  # the main thread has ended, and no thread can be started any more
        done: concurrent.futures.Future = concurrent.futures.Future()
        done.set_result(run(part))
        return done


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _threads() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(max(1, cores() - 1), thread_name_prefix="lstm")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # threads are not copied with a process


@jax.jit
def _together(found: list[tuple[Any, CostGradients]]) -> tuple[Any, CostGradients]:
    costs, gradients = zip(*found, strict=True)

    def side_by_side(arrays: list[Any], axis: int) -> Any:
        return jax.tree.map(lambda *each: jnp.concatenate(each, axis), *arrays)

    return sum(costs[1:], costs[0]), CostGradients(
        network=jax.tree.map(lambda *each: functools.reduce(jnp.add, each), *(d.network for d in gradients)),
        inputs=side_by_side([d.inputs for d in gradients], 1),
        initial_state=side_by_side([d.initial_state for d in gradients], 0),
    )
