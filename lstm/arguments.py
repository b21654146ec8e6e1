"""Inputs, readout and targets, checked against each other. `lstm.layer_arguments` does the layers.

Each function returns arguments that the inner modules may rely on.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm.parameters import Array, Network, Readout
from lstm.validation import BadInput, Dimensions, described, finite, is_integer, is_traced, only_array, within


def check_inputs(inputs: Array, lengths: Array | None, dimensions: Dimensions) -> tuple[Array, np.ndarray | None]:
    """-> inputs as an array, and (T, B) booleans: which timesteps count (None: all, or unknown while tracing)."""
    inputs = dimensions.floats("inputs", inputs, "T B D")
    counted = None
    if lengths is not None:
        dimensions.integers("lengths", lengths, "B")
        within("lengths", lengths, 0, dimensions.sizes["T"])
        if not is_traced(lengths):
            counted = np.arange(dimensions.sizes["T"])[:, None] < np.asarray(lengths)
    if lengths is None or counted is not None:
        finite("inputs", inputs, counted)
    return inputs, counted


def check_readout(network: Network, dimensions: Dimensions) -> Dimensions:
    """-> dimensions with K, the number of predictions per timestep."""
    readout = network.readout
    if readout is None:
        return dimensions.rename(T="T", B="B", K="R")
    if not isinstance(readout, Readout):
        raise BadInput(f"readout: expected an lstm.Readout or None; got {described(readout)}")
    dimensions.floats("readout.w", readout.w, "R K")
    dimensions.floats("readout.b", readout.b, "K")
    finite("readout.w", readout.w)
    finite("readout.b", readout.b)
    return dimensions


def check_targets(targets: Array, loss: str, counted: np.ndarray | None, padded: bool, dimensions: Dimensions) -> Array:
    """Vectors (T, B, K), or for cross-entropy also integer labels (T, B)."""
    if counted is not None and not counted.any():
        raise BadInput("lengths: expected at least one timestep in all, to have a cost; got zeros only")
    targets = only_array("targets", targets)
    if loss == "cross_entropy" and is_integer(targets.dtype):
        dimensions.integers("targets", targets, "T B")
        if not padded or counted is not None:
            within("targets", targets, 0, dimensions.sizes["K"] - 1, counted)
        return targets
    targets = dimensions.floats("targets", targets, "T B K")
    if is_traced(targets) or (padded and counted is None):
        return targets
    finite("targets", targets, counted)
    if loss == "cross_entropy":
        _check_probabilities(np.asarray(targets), counted)
    return targets


def _check_probabilities(targets: np.ndarray, counted: np.ndarray | None) -> None:
    counted = np.ones(targets.shape[:2], bool) if counted is None else counted
    totals = targets.sum(axis=-1)
    # A sum of K roundings to nearest is off by at most K/2 units in the last place of 1
    slack = targets.shape[-1] * np.finfo(targets.dtype).eps
    bad = counted & ((targets < 0).any(axis=-1) | (np.abs(totals - 1) > slack))
    if bad.any():
        t, b = (int(index) for index in np.argwhere(bad)[0])
        shown = np.array2string(targets[t, b], precision=4, threshold=8, max_line_width=1000)
        raise BadInput(
            "targets: expected probability vectors (entries at least 0 that sum to 1) or integer labels (T, B); "
            f"got {shown}, which sums to {totals[t, b]:.6g}, at t = {t}, b = {b}"
        )


def as_jax(*trees: Any) -> Any:
    return jax.tree.map(jnp.asarray, trees)
