"""Central differences of the whole cost for every weight, without a copy of the weights for each.

A weight W[r, c] that is larger by ε adds ε · source[:, r] to column c of the pre-activations and changes nothing else. So many
perturbed networks share one matrix product, and what a perturbation does not reach is not run at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import lstm
from checks.arguments import described
from checks.estimate import Estimate, Status
from checks.exhaustive.differences import differences
from checks.exhaustive.entries import Entries, all_entries
from checks.exhaustive.evaluator import Evaluator
from checks.exhaustive.network import NetworkCost, network_cost, only_inputs, unperturbed
from checks.exhaustive.saved import Saved, digest
from checks.exhaustive.sweep import RECURRENT
from checks.perturbation import DEFAULT_MEMORY, default_step, positive_memory, positive_step
from checks.problem import Cost
from checks.progress import Progress
from lstm import BadInput

UNITS = "C at plus and minus one step, or two"  # what a kept file's units hold
FROM_THE_START = (*RECURRENT, "state")


def exhaustive(
    problem: Cost,
    *,
    step: float | None = None,
    memory: int = DEFAULT_MEMORY,
    entries: Any = None,
    sample: int | None = None,
    seed: int = 0,
    devices: Any = None,
    resume: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[int, int], None] = False,
) -> Estimate:
    """What `checks.full_sequence` estimates, entry by entry, of a network's cost, many times faster.

    Args:
        problem: made by `checks.Problem.from_network` or `checks.network_problem.from_upstream`.
        step: relative to max(1, |w|) of each weight; default ε^(1/3) of the problem's dtype. Twice it is used as well for
            the entries of an array in which truncation is not seen to be small beside rounding.
        memory: bytes, on each device, that the copies of a chunk may take.
        entries: indices into the flat parameters (`Cost.flat`); default all. The others' value and error estimate are NaN.
        sample: that many entries, drawn with ``seed`` without replacement; see `checks.Guarantee` for what they tell.
        devices: JAX devices to spread the copies over; default all that JAX knows of, of every process. The result does
            not depend on how many there are. On CPUs, little work on layers without extensions is done in NumPy
            instead, by this process's cores.
        resume: a file that keeps what is finished; a run that was killed, started again, goes on from there.
        progress: True for a line on stderr, once the run has taken two seconds; or a function of (finished, all) copies.

    Returns:
        An `Estimate` with an error estimate for each entry. Cell steps, but for a readout, which runs no cell: for each timestep that
        an entry reaches 2, or 4 with a second step; up to 65 T for each kind of entry to measure the cost's own rounding; and 2 T
        for each entry in which truncation is measured, at most half of them.
    """
    given = network_cost(problem)
    step = default_step(problem.dtype) if step is None else step
    positive_step(step)
    positive_memory(memory)
    if resume is not None and not isinstance(resume, (str, os.PathLike)):
        raise BadInput(f"resume: expected a path; got {described(resume)}")
    devices = _devices(devices)
    wanted = _wanted(problem, entries, sample, seed)
    with problem.scope():
        chosen = [each for each in (every.only(wanted) for every in all_entries(problem)) if len(each)]
        run = unperturbed(given) if _is_run_needed(given, chosen) else only_inputs(given)
        evaluator = Evaluator(given, run, problem.dtype, memory, devices)
        about = (problem.parameters, given, wanted, step, memory, np.array([devices[0].platform, UNITS]))
        saved = Saved(resume, "" if resume is None else digest(about))
        found = differences(problem, evaluator, chosen, step, saved, _reporter(progress))
    status = Status.STEP_VANISHED if found.vanished else Status.COMPUTED
    if status is Status.COMPUTED and not np.isfinite(found.value[wanted]).all():
        status = Status.NON_FINITE
    value = found.value.astype(problem.dtype)
    return Estimate("exhaustive", problem.unflatten(value), problem.unflatten(found.error), found.cell_steps, 1, status)


def _reporter(progress: Any) -> Callable[[int, int], None]:
    if callable(progress):
        return progress
    return Progress() if progress and jax.process_index() == 0 else lambda finished, total: None


def _is_run_needed(given: NetworkCost, chosen: list[Entries]) -> bool:
    """Not where all perturbations reach from a single layer's first timestep to the cost."""
    single = len(given.layers) == 1 and not isinstance(given.layers[0], lstm.Bidirectional)
    return not single or any(each.place.kind not in FROM_THE_START for each in chosen)


def _devices(given: Any) -> list[jax.Device]:
    devices = jax.devices() if given is None else list(given) if isinstance(given, (list, tuple, np.ndarray)) else []
    if not devices or not all(isinstance(device, jax.Device) for device in devices):
        raise BadInput(f"devices: expected a list of JAX devices, as jax.devices() gives; got {described(given)}")
    return devices


def _wanted(problem: Cost, entries: Any, sample: int | None, seed: int) -> np.ndarray:
    """(P,) booleans."""
    wanted = np.zeros(problem.size, bool)
    if entries is not None and sample is not None:
        raise BadInput("entries, sample: expected one of the two; got both")
    if sample is not None:
        if isinstance(sample, bool) or not isinstance(sample, (int, np.integer)) or not 1 <= sample <= problem.size:
            raise BadInput(f"sample: expected an integer from 1 to P = {problem.size}; got {described(sample)}")
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise BadInput(f"seed: expected an integer of at least 0; got {described(seed)}")
        entries = np.random.default_rng(seed).choice(problem.size, sample, replace=False)
    if entries is None:
        return ~wanted
    chosen = np.asarray(entries)
    if chosen.ndim != 1 or chosen.size == 0 or chosen.dtype.kind not in "iu" or chosen.min() < 0 or chosen.max() >= problem.size:
        raise BadInput(f"entries: expected (N,) integers from 0 to P - 1 = {problem.size - 1}; got {described(chosen)}")
    wanted[chosen] = True
    return wanted
