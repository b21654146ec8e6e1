"""Timing several contestants against one another on a machine that others use too.

Absolute times drift with the machine's load; a ratio of medians taken in the same minute does not, much.
"""

from __future__ import annotations

import math
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

MINIMUM_ROUNDS = 3
BLOCK_SECONDS = 0.02


def interleaved(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """-> the median time of each call, in seconds.

    In each round, in shuffled order, each contestant runs for one block of calls. The first call of a block
    is not timed: it refills the caches and outlasts the previous contestant's threads, which spin for a
    while before they sleep (PyTorch's would otherwise slow whoever comes next).
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = list(calls)
    shuffle = random.Random(0).shuffle
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < MINIMUM_ROUNDS or time.perf_counter() < deadline:
        shuffle(order)
        for name in order:
            _one_block(calls[name], times[name])
        rounds += 1
    return {name: statistics.median(measured) for name, measured in times.items()}


def _one_block(call: Callable[[], object], times: list[float]) -> None:
    call()
    end_of_block = time.perf_counter() + BLOCK_SECONDS
    while True:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        times.append(end - start)
        if end >= end_of_block:
            return


def geometric_mean(values: Iterable[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    device = jax.devices()[0]
    return {
        "device": f"{device.platform}:{device.device_kind}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
