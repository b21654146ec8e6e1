"""A framework and `lstm`, given the same arrays: what is drawn, our side of it through a layout, and the judgement.

Everything is in the framework's own names, shapes and axes, so that its results and ours compare entry by entry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

import lstm
from lstm.layouts import LAYOUTS, Layout

T, B, D, H, P = 6, 3, 4, 5, 2  # P: the size after a projection

Arrays = dict[str, np.ndarray]
Results = tuple[Any, Any, Any]  # outputs, h_n, c_n


class Peer(NamedTuple):
    """A framework's LSTM, set up. Its shapes are its own: nothing here comes from the layout."""

    layout: str | Layout
    weights: Mapping[str, tuple[int, ...]]  # names and shapes as the framework has them
    data: Mapping[str, tuple[int, ...]]  # shapes of inputs, h0, c0, outputs
    run: Callable[[Any, Any, Any, Any], Results]  # weights, inputs, h0, c0 -> outputs, h_n, c_n
    attributes: Mapping[str, Any] = {}
    differentiate: Callable[..., tuple[Results, Any]] | None = None  # default: by JAX's reverse mode


@dataclasses.dataclass(frozen=True)
class Case:
    """A peer, the arrays that it and we were given, and its results."""

    layout: Layout
    attributes: Mapping[str, Any]
    weights: Arrays
    given: Arrays  # inputs, h0, c0, d_outputs, d_h_n, d_c_n
    expected: Arrays


def draw(rng: np.random.Generator, peer: Peer) -> Case:
    """Generic values, both signs, nothing zero; the framework's results and its own gradients of them."""

    def normal(shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
        return {name: 0.7 * rng.standard_normal(shape) for name, shape in shapes.items()}

    weights, data = normal(peer.weights), normal(peer.data)
    given = {name: data[name] for name in ("inputs", "h0", "c0")}
    results = {"outputs": data["outputs"], "h_n": data["h0"], "c_n": data["c0"]}
    given |= normal({f"d_{name}": array.shape for name, array in results.items()})
    layout = LAYOUTS[peer.layout] if isinstance(peer.layout, str) else peer.layout
    return Case(layout, peer.attributes, weights, given, compute(peer, weights, given))


def compute(peer: Peer, weights: Arrays, given: Arrays) -> Arrays:
    """The framework's ``outputs``, ``h_n``, ``c_n`` and ``grad.<name>`` of every weight, the inputs and the initial states."""
    arguments = [given[name] for name in ("inputs", "h0", "c0")]
    upstream = tuple(given[f"d_{name}"] for name in ("outputs", "h_n", "c_n"))
    results, (d_weights, *d_arguments) = (peer.differentiate or by_jax)(peer.run, upstream, weights, *arguments)
    found = dict(zip(("outputs", "h_n", "c_n"), results, strict=True))
    found |= {f"grad.{name}": gradient for name, gradient in d_weights.items()}
    found |= {f"grad.{name}": gradient for name, gradient in zip(("inputs", "h0", "c0"), d_arguments, strict=True)}
    return {name: np.asarray(array) for name, array in found.items()}


def by_jax(run: Callable[..., Results], upstream: Any, *arguments: Any) -> tuple[Results, Any]:
    """The results and JAX's reverse mode through the framework, in the precision of the arguments."""

    @jax.jit
    def both(upstream: Any, *arguments: Any) -> Any:
        results, pull_back = jax.vjp(run, *arguments)
        return results, pull_back(upstream)

    with jax.enable_x64(True):
        return both(upstream, *arguments)


def run_ours(case: Case, layout: Layout | None = None) -> Arrays:
    """The same results from `lstm.forward` and `lstm.backward`, by way of the layout."""
    layout, given = layout or case.layout, case.given
    layers = layout.read(case.weights, case.attributes)
    states = layout.read_states(given["h0"], given["c0"], layers)
    outputs, final, residuals = lstm.forward(layers, layout.read_sequence("inputs", given["inputs"]), states)
    d_final = layout.read_states(given["d_h_n"], given["d_c_n"], layers, names=("d_h_n", "d_c_n"))
    d_outputs = layout.read_outputs("d_outputs", given["d_outputs"])
    gradients = lstm.backward(layers, residuals, d_outputs, d_final)
    h_n, c_n = layout.write_states(final, like=given["h0"])
    d_h0, d_c0 = layout.write_states(gradients.initial_state, like=given["h0"])
    written = layout.write_gradients(gradients.layers, case.weights)
    written |= {"inputs": layout.write_sequence(gradients.inputs), "h0": d_h0, "c0": d_c0}
    results = {"outputs": layout.write_outputs(outputs, layers), "h_n": h_n, "c_n": c_n}
    return results | {f"grad.{name}": array for name, array in written.items()}


def in_float32(case: Case) -> Case:
    """The same with every array rounded to float32; the results of that still to be computed."""

    def rounded(arrays: Arrays) -> Arrays:
        return {name: array.astype(np.float32) for name, array in arrays.items()}

    return dataclasses.replace(case, weights=rounded(case.weights), given=rounded(case.given))


def float32_tolerance(case: Case) -> float:
    """How far from float64 results a float32 computation of this case may be, as a fraction of an array's largest entry.

    Our own float32 run is as far as it is by as many roundings of either sign as anybody's. Eight times that: the largest of
    some hundred entries varies by two from one order of operations to another, and a library's tanh errs by up to four units in
    the last place where a rounding errs by half to one.
    """
    exact, rounded = run_ours(case), run_ours(in_float32(case))
    return 8 * largest_error(exact, rounded)[0]


def largest_error(expected: Arrays, got: Arrays) -> tuple[float, str]:
    """The largest error of any array, in units of its largest entry, and the array's name."""
    assert got.keys() == expected.keys(), f"expected {sorted(expected)}, got {sorted(got)}"
    errors = []
    for name, array in expected.items():
        assert got[name].shape == array.shape, f"{name}: expected {array.shape}, got {got[name].shape}"
        scale = np.abs(array).max()
        error = np.abs(got[name] - array).max()
        errors.append((float(error / scale) if scale else float(error > 0), name))
    return max(errors)
