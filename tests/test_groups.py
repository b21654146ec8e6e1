"""A large batch is computed in groups of sequences: the same cost and gradients, whatever the network has."""

from __future__ import annotations

import functools
from typing import Any
from unittest import mock

import jax
import numpy as np
import pytest
from group_cases import EQUAL, everything, largest_error, little, normal

import lstm
from lstm import network, precision


def _computed(groups: int, given: dict[str, Any]) -> Any:
    with jax.enable_x64(True), mock.patch.object(network, "number_of_groups", return_value=groups):
        arguments = {name: value if isinstance(value, str) else jax.tree.map(jax.numpy.asarray, value) for name, value in given.items()}
        return jax.tree.map(np.asarray, network.loss_and_all_gradients(**arguments))


@functools.cache
def _whole(which: Any) -> Any:
    return _computed(1, which())


@pytest.mark.parametrize(("which", "groups"), [pytest.param(everything, 3, marks=pytest.mark.long), (little, 2)])
def test_groups_of_sequences_add_up_to_the_whole_batch(which, groups):
    found, whole = _computed(groups, which()), _whole(which)
    assert jax.tree.structure(found) == jax.tree.structure(whole)
    assert all(leaf.any() for leaf in jax.tree.leaves(whole))
    assert largest_error(found, whole) <= EQUAL


@pytest.mark.parametrize(
    "fault",
    [
        {"cut": lambda batch, start, groups, cut=network.cut: cut(batch, 0 * start, groups)},  # the same group each time
        {"_put": lambda arrays, of_group, start, axis: arrays},  # no group's own gradients
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_a_group_lost_is_seen(fault):
    with mock.patch.multiple(network, **fault):
        found = _computed(2, little())
    assert largest_error(found, _whole(little)) > 0.1


@pytest.mark.parametrize(
    ("shape", "dtype", "hidden_size", "groups"),
    [
        ((128, 32, 128), np.float32, 128, 1),  # 18 MiB
        ((128, 32, 128), np.float64, 128, 2),  # 36 MiB
        ((128, 64, 256), np.float32, 256, 4),  # 72 MiB; 64 has no third
        ((128, 64, 256), np.float64, 256, 4),  # 144 MiB: 8 groups would have 8 sequences each
        ((128, 48, 256), np.float32, 256, 2),  # 54 MiB
        ((1000, 15, 256), np.float32, 256, 1),  # 132 MiB, too few sequences
        ((1000, 37, 256), np.float32, 256, 1),  # 325 MiB, no common divisor
    ],
)
def test_the_number_of_groups_is_the_least_that_leaves_each_below_32_mebibytes(shape, dtype, hidden_size, groups):
    sizes = (shape[-1], 4 * hidden_size), (hidden_size, 4 * hidden_size), (4 * hidden_size,)
    layer = lstm.Layer(*(jax.ShapeDtypeStruct(size, dtype) for size in sizes))
    inputs = jax.ShapeDtypeStruct(shape, dtype)
    assert network.number_of_groups((layer,), inputs) == groups
    assert network.number_of_groups((layer, lstm.Reversed(layer)), inputs) >= groups
    assert network.number_of_groups((layer,), inputs, one_core=True) >= groups
    with mock.patch.object(jax, "default_backend", return_value="gpu"):
        assert network.number_of_groups((layer,), inputs) == 1


@pytest.mark.parametrize(("hidden_size", "one_core", "rows"), [(256, False, 16), (256, True, 8), (257, False, 32), (257, True, 32)])
def test_a_matrix_beyond_the_cores_cache_wants_more_rows(hidden_size, one_core, rows):
    """4 · 256² numbers of 8 bytes are 2 MiB."""
    sizes = (3, 4 * hidden_size), (hidden_size, 4 * hidden_size), (4 * hidden_size,)
    layer = lstm.Layer(*(jax.ShapeDtypeStruct(size, np.float64) for size in sizes))
    assert network.fewest_rows((layer,), np.float64, one_core) == rows


@pytest.mark.parametrize("features", [3, 128, 129])
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_accumulate_is_the_sum_of_outer_products_however_it_reads_its_rows(features, backend):
    rows, columns = normal(4, 3, features), normal(4, 3, 5)
    with jax.enable_x64(True), mock.patch.object(jax, "default_backend", return_value=backend):
        found = np.asarray(precision.accumulate(jax.numpy.asarray(rows), jax.numpy.asarray(columns)))
    assert largest_error(found, np.einsum("tbi,tbj->ij", rows, columns)) <= 1e-15 * 12  # 12 terms each
