"""A large batch is spread over the cores of a CPU: the same cost and gradients, from threads of their own."""

from __future__ import annotations

from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from group_cases import EQUAL, B, D, H, T, everything, largest_error, little

import lstm
from lstm import cores, network


def _spread(parts: int) -> Any:
    """Whatever the work and however many the cores."""
    return mock.patch.object(cores, "number_of_parts", return_value=parts)


def _given(which: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    given = dict(which())
    return {name: given.pop(name) for name in ("network", "inputs", "targets")}, given


@pytest.mark.parametrize(("which", "parts"), [(everything, 3), (little, 2)])
def test_parts_of_the_batch_add_up_to_the_whole(which, parts):
    positional, options = _given(which)
    call = positional | options
    with _spread(1):
        whole = lstm.loss_and_all_gradients(**call)
    with _spread(parts):
        found = lstm.loss_and_all_gradients(**call)
        weights_alone = lstm.loss_and_gradients(**call)
    assert jax.tree.structure(found) == jax.tree.structure(whole)
    assert all(np.asarray(leaf).any() for leaf in jax.tree.leaves(whole))
    assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(found))  # the mode of the thread that called
    assert largest_error(found, whole) <= EQUAL
    assert largest_error(weights_alone, (whole[0], whole[1].network)) <= EQUAL


def test_a_part_computed_twice_is_seen():
    positional, options = _given(little)
    with _spread(1):
        whole = lstm.loss_and_all_gradients(**positional, **options)
    jax.clear_caches()  # so that the fault is compiled, and is not kept
    with _spread(2), mock.patch.object(network, "cut", lambda batch, start, groups, cut=network.cut: cut(batch, 0 * start, groups)):
        found = lstm.loss_and_all_gradients(**positional, **options)
    jax.clear_caches()
    assert largest_error(found, whole) > 0.1


@pytest.mark.parametrize("parts", [1, 2])
def test_a_gradient_function_is_loss_and_gradients_with_its_options_chosen(parts):
    positional, options = _given(little)
    of_each_call = {name: options.pop(name) for name in ("initial_state", "lengths", "masks")}
    function = lstm.gradient_function(**options)
    with _spread(1):
        expected = lstm.loss_and_gradients(**positional, **options, **of_each_call)
    with _spread(parts):
        assert largest_error(function(**positional, **of_each_call), expected) <= EQUAL
        zero_state = function(**positional)
    with _spread(1):
        assert largest_error(zero_state, lstm.loss_and_gradients(**positional, **options)) <= EQUAL


def test_inside_a_trace_nothing_is_spread():
    positional, _ = _given(little)
    with jax.enable_x64(True), mock.patch.multiple(cores, ENOUGH=0.0, FEWEST_ROWS=1, cores=lambda: 3):
        constant = jax.tree.map(jnp.asarray, positional)
        assert cores.number_of_parts(constant["network"].layers, constant["inputs"], None) == 3
        expected = lstm.loss_and_gradients(**constant, reduction="sum")
        traced = jax.jit(lambda net: lstm.loss_and_gradients(net, constant["inputs"], constant["targets"], reduction="sum"))
        nothing_traced = jax.jit(lambda: lstm.loss_and_gradients(**constant, reduction="sum"))
        each = jax.vmap(lambda x: lstm.loss_and_gradients(constant["network"], x, constant["targets"], reduction="sum"))
        function = lstm.gradient_function(reduction="sum")  # which makes no array of its own, so that no argument at all is traced
        no_argument_traced = jax.jit(lambda: function(**constant))
        with mock.patch.object(cores, "spread", side_effect=AssertionError("spread")):
            in_vmap = jax.tree.map(lambda a: a[0], each(constant["inputs"][None]))
            results = traced(constant["network"]), nothing_traced(), no_argument_traced(), in_vmap
        for found in results:
            assert largest_error(found, expected) <= EQUAL


@pytest.mark.parametrize("remat", [True, 2])
def test_with_remat_nothing_is_spread(remat):
    """A part's copy of its sequences takes memory that grows like T."""
    positional, options = _given(little)
    of_each_call = {name: options.pop(name) for name in ("initial_state", "lengths", "masks")}
    with _spread(2), mock.patch.object(cores, "spread", side_effect=AssertionError("spread")):
        lstm.loss_and_gradients(**positional, **options, **of_each_call, remat=remat)
        lstm.gradient_function(**options, remat=remat)(**positional, **of_each_call)
        with pytest.raises(AssertionError, match="spread"):
            lstm.gradient_function(**options)(**positional, **of_each_call)


def test_what_a_part_raises_reaches_the_caller():
    def program(given, part):
        if part == 1:
            raise ZeroDivisionError("in a thread")
        return given

    with pytest.raises(ZeroDivisionError, match="in a thread"):
        cores.spread(program, jnp.zeros(()), 2)


@pytest.mark.parametrize(
    ("shape", "dtype", "hidden_size", "available", "parts"),
    [
        ((64, 32, 64), np.float32, 64, 2, 2),  # 4.0e8 operations
        ((64, 20, 64), np.float32, 64, 2, 1),  # 2.5e8: not enough for two
        ((64, 20, 64), np.float64, 64, 2, 2),  # but in float64
        ((128, 32, 128), np.float32, 128, 64, 8),  # no fewer than 4 rows
        ((128, 33, 128), np.float32, 128, 2, 1),  # 33 has no half
        ((128, 33, 128), np.float32, 128, 4, 3),
        ((128, 32, 128), np.float32, 128, 1, 1),
    ],
)
def test_parts_are_equal_and_have_enough_to_do(shape, dtype, hidden_size, available, parts):
    sizes = (shape[-1], 4 * hidden_size), (hidden_size, 4 * hidden_size), (4 * hidden_size,)
    layer = lstm.Layer(*(np.empty(size, dtype) for size in sizes))
    inputs = np.empty(shape, dtype)
    with mock.patch.object(cores, "cores", return_value=available):
        assert cores.number_of_parts((layer,), inputs, None) == parts
        with mock.patch.object(jax, "default_backend", return_value="gpu"):
            assert cores.number_of_parts((layer,), inputs, None) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, "loss: expected one of squared_error, cross_entropy; got 'hinge'"),
        ({"reduction": "max"}, "reduction: expected one of mean, sum; got 'max'"),
        ({"remat": 0}, "remat: expected True, False or the length of a segment, at least 1; got 0"),
    ],
)
def test_a_gradient_function_refuses_an_option_at_once(options, message):
    with pytest.raises(lstm.BadInput) as error:
        lstm.gradient_function(**options)
    assert str(error.value) == message


def test_a_gradient_function_refuses_arrays_that_do_not_fit_and_computes_with_nan():
    function = lstm.gradient_function()
    positional, _ = _given(little)
    with pytest.raises(lstm.BadInput, match=r"network: expected an lstm\.Network; got dict"):
        function({}, positional["inputs"], positional["targets"])
    with pytest.raises(lstm.BadInput, match=f"inputs: expected axis 2 of .T, B, D. to have size {D}|layers.0..w_x: expected axis 0"):
        function(positional["network"], np.zeros((T, B, D + 1)), positional["targets"])
    with pytest.raises(lstm.BadInput, match="targets: expected axis 2"):
        function(positional["network"], positional["inputs"], np.zeros((T, B, H + 1)))
    cost, _ = function(positional["network"], positional["inputs"] * np.nan, positional["targets"])
    assert np.isnan(cost)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("targets", lambda a: a.astype(">f8")),  # which jax.jit reads as the machine's own
        ("targets", lambda a: a.astype(np.float32)),
        ("targets", lambda a: np.ma.masked_array(a, mask=a > 0)),
        ("inputs", lambda a: "inputs"),
        ("inputs", lambda a: a.astype(object)),
        ("network", lambda a: "network"),
        ("network", lambda a: lstm.Network(("layer",), None)),
        ("lengths", lambda a: "lengths"),
        ("lengths", lambda a: np.full(B, T, ">i8")),
        ("initial_state", lambda a: "state"),
    ],
)
@pytest.mark.parametrize("parts", [1, 2])
def test_a_gradient_function_refuses_what_loss_and_gradients_refuses(name, change, parts):
    positional, options = _given(little)
    given = positional | {each: options[each] for each in ("initial_state", "lengths", "masks")}
    given[name] = change(given[name])
    with _spread(parts), pytest.raises(lstm.BadInput) as expected:
        lstm.loss_and_gradients(**given)
    with _spread(parts), pytest.raises(lstm.BadInput) as error:
        lstm.gradient_function()(**given)
    assert str(error.value) == str(expected.value)


def test_float64_targets_beside_float32_are_refused():
    positional, _ = _given(little)
    single = jax.tree.map(lambda a: a.astype(np.float32), positional)
    with pytest.raises(lstm.BadInput, match="targets: expected float32, as inputs has; got float64"):
        lstm.gradient_function()(single["network"], single["inputs"], positional["targets"])


def test_a_thread_that_outlives_the_main_one_still_computes():
    def program(given, part):
        return given, lstm.CostGradients(network=given, inputs=None, initial_state=())

    with mock.patch.object(cores, "_threads", side_effect=RuntimeError("cannot schedule new futures after shutdown")):
        cost, _ = cores.spread(program, jnp.ones(()), 3)
    assert cost == 3
