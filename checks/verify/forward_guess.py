"""A candidate's forward pass differs: what would make it match? Tried and reported, never applied.

Each `Change` is one convention that people get wrong: the order of the gates, a transposed matrix, an offset on the forget gate,
a missing tanh, biases, h and c, the axes. All are tried alone, then in pairs, and only what brings *every* given forward
result within rounding is reported.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import lstm
from checks.files.candidate import Candidate
from checks.files.candidate_reading import configured
from checks.oracle.case import OracleCase
from checks.verify.layout_marks import FIELDS, Marks
from lstm.levels import directions, together_as_layers

Results = dict[str, np.ndarray]  # outputs, h_n, c_n: canonical, (T, B, R) and the layout's states

AFFORDABLE = 2e10  # parameters times timesteps of all sequences, times passes tried: some seconds
MOST_PASSES, FEWEST_PASSES = 3000, 40
SLACK = 4  # a changed network rounds like the given one, not exactly so


@dataclasses.dataclass(frozen=True)
class Change:
    """In words that follow "your outputs are those", and as what it does to the case before the forward pass, or to its results."""

    words: str
    of_case: Callable[[OracleCase], OracleCase] = lambda case: case
    of_results: Callable[[Results], Results] = lambda results: results


def guesses(candidate: Candidate, run: Callable[[OracleCase], Results], allowed: Results, marks: Marks) -> list[str]:
    """The changes that make the forward pass match, in words; empty if none of those tried does.

    Args:
        run: the forward pass of a case, its results in the shapes of ``candidate.forward``.
        allowed: what rounding may do to each of them.
    """
    case = candidate.case
    work = sum(np.size(leaf) for leaf in jax.tree.leaves(case.layers)) * case.valid.size
    passes = int(np.clip(AFFORDABLE / work, FEWEST_PASSES, MOST_PASSES))
    single = list(changes(candidate, marks))
    found = _matching(([change] for change in single), candidate, run, allowed, passes)
    if not found:
        found = _matching(itertools.combinations(single, 2), candidate, run, allowed, passes - len(single))
    return found


def _matching(combinations: Any, candidate: Candidate, run: Any, allowed: Results, passes: int) -> list[str]:
    found = []
    for combination in itertools.islice(combinations, max(passes, 0)):
        case = candidate.case
        for change in combination:
            case = change.of_case(case)
        results = run(case)
        for change in combination:
            results = change.of_results(results)
        if all(_close(results[name], candidate.forward[name], allowed[name]) for name in candidate.forward):
            found.append(" and ".join(change.words for change in combination))
    return found


def _close(got: np.ndarray, given: np.ndarray, allowed: np.ndarray) -> bool:
    return got.shape == given.shape and bool((np.abs(got - given) <= SLACK * float(allowed.max())).all())


def changes(candidate: Candidate, marks: Marks) -> Iterator[Change]:
    """Every single change that this network can be put to."""
    yield from _of_layers(candidate)
    yield from _of_biases_and_swaps(candidate, marks)
    yield from _of_data(candidate)
    yield from _of_results(candidate)
    yield from _gate_orders(candidate, marks)


def _gate_orders(candidate: Candidate, marks: Marks) -> Iterator[Change]:
    """Blocks in the file's order, each acting as another gate than the layout reads."""
    gates = next(direction.layer.gates for direction in directions(candidate.case.layers[0]))
    read = marks.gate_order or gates
    for order in itertools.permutations(read):
        if order == read:
            continue
        acts_as = dict(zip(read, order, strict=True))  # the block read as this gate acts as that one
        sources = {acts: reads for reads, acts in acts_as.items()}

        def of_case(case: OracleCase, sources: dict[str, str] = sources) -> OracleCase:
            return _on_layers(case, lambda layer: _permuted(layer, sources))

        yield Change(f"of gate order {' '.join(order)} (the layout reads {' '.join(read)})", of_case)


def _permuted(layer: lstm.Layer, sources: dict[str, str]) -> lstm.Layer:
    """Gate q takes what stood at gate ``sources[q]``."""

    def moved(array: np.ndarray) -> np.ndarray:
        blocks = dict(zip(layer.gates, np.split(array, len(layer.gates), axis=-1), strict=True))
        return np.concatenate([blocks[sources[gate]] for gate in layer.gates], axis=-1)

    return dataclasses.replace(layer, w_x=moved(layer.w_x), w_h=moved(layer.w_h), b=moved(layer.b))


def _of_layers(candidate: Candidate) -> Iterator[Change]:
    layers = [direction.layer for level in candidate.case.layers for direction in directions(level)]
    if all(layer.recurrent_size == layer.hidden_size for layer in layers):
        yield _layer_change("with each gate's block of the recurrent matrix transposed", lambda layer: _transposed(layer, "w_h"))
    if all(layer.w_x.shape[0] == layer.hidden_size for layer in layers):
        yield _layer_change("with each gate's block of the input matrix transposed", lambda layer: _transposed(layer, "w_x"))
        if all(layer.recurrent_size == layer.hidden_size for layer in layers):
            yield _layer_change("with the input and recurrent matrices swapped", _swapped)
    if not any(layer.coupled for layer in layers):
        for offset in (1.0, -1.0):
            words = f"with {'1 added to' if offset > 0 else '1 taken from'} the forget gate's bias"
            yield _layer_change(words, functools.partial(_offset, offset=offset))
    if any(layer.activations.output != "identity" for layer in layers):
        missing = dict.fromkeys(("output",), "identity")
        yield _layer_change(
            f"of h = o * c, without the {layers[0].activations.output}",
            lambda layer: dataclasses.replace(layer, activations=dataclasses.replace(layer.activations, **missing)),
        )
    if any(layer.peepholes is not None for layer in layers):
        yield _layer_change(
            "without the peepholes",
            lambda layer: layer if layer.peepholes is None else dataclasses.replace(layer, peepholes=np.zeros_like(layer.peepholes)),
        )


def _layer_change(words: str, change: Callable[[lstm.Layer], lstm.Layer]) -> Change:
    return Change(words, lambda case: _on_layers(case, change))


def _on_layers(case: OracleCase, change: Callable[[lstm.Layer], lstm.Layer]) -> OracleCase:
    levels = [together_as_layers(level, [change(direction.layer) for direction in directions(level)]) for level in case.layers]
    return dataclasses.replace(case, layers=tuple(levels))


def _transposed(layer: lstm.Layer, field: str) -> lstm.Layer:
    blocks = np.split(getattr(layer, field), len(layer.gates), axis=-1)
    transposed: dict[str, Any] = {field: np.concatenate([block.T for block in blocks], axis=-1)}
    return dataclasses.replace(layer, **transposed)


def _swapped(layer: lstm.Layer) -> lstm.Layer:
    return dataclasses.replace(layer, w_x=layer.w_h, w_h=layer.w_x)


def _offset(layer: lstm.Layer, offset: float) -> lstm.Layer:
    shift = np.repeat([offset * (gate == "f") for gate in layer.gates], layer.hidden_size)
    return dataclasses.replace(layer, b=layer.b + shift)


def _of_biases_and_swaps(candidate: Candidate, marks: Marks) -> Iterator[Change]:
    """Changes to the file's own arrays: a bias left out; two arrays of one shape exchanged."""
    reading, weights = candidate.reading, candidate.weights
    fixed = {field: getattr(_first(candidate.case), field) for field in ("activations", "clip")}

    def of_weights(changed: dict[str, np.ndarray]) -> Callable[[OracleCase], OracleCase]:
        def of_case(case: OracleCase) -> OracleCase:
            levels = reading.layout.read(weights | changed, reading.attributes)
            return dataclasses.replace(case, layers=tuple(configured(level, fixed) for level in levels))

        return of_case

    biases = [name for name in weights if set(np.unique(marks.fields[name])) == {FIELDS.index("b")}]
    for names in [*([name] for name in biases), *([biases] if len(biases) > 1 else [])]:
        words = f"without {', '.join(names)}" if len(names) < 4 else "without any bias"
        yield Change(words, of_weights({name: np.zeros_like(weights[name]) for name in names}))
    pairs = [pair for pair in itertools.combinations(weights, 2) if weights[pair[0]].shape == weights[pair[1]].shape]
    for first, second in pairs[:40]:
        yield Change(f"with {first} and {second} swapped", of_weights({first: weights[second], second: weights[first]}))


def _first(case: OracleCase) -> lstm.Layer:
    return directions(case.layers[0])[0].layer


def _of_data(candidate: Candidate) -> Iterator[Change]:
    case = candidate.case
    if all(direction.layer.recurrent_size == direction.layer.hidden_size for level in case.layers for direction in directions(level)):
        yield Change(
            "with h0 and c0 swapped",
            lambda case: dataclasses.replace(case, initial_state=_swap_states(case.initial_state)),
        )
    shape = case.inputs.shape
    for axes in itertools.permutations(range(3)):
        if axes != (0, 1, 2) and tuple(shape[axis] for axis in axes) == shape:
            order = "".join(candidate.reading.order[axis] for axis in axes)
            yield Change(f"of inputs in the axes {order}", functools.partial(_with_axes, axes=axes))
    if case.masks is not None:
        yield Change("without the masks", lambda case: dataclasses.replace(case, masks=None))
    if len(shape) and shape[0] > 1:
        yield Change("of inputs in the reverse order of time", lambda case: _with_inputs(case, case.inputs[::-1]))


def _with_inputs(case: OracleCase, inputs: np.ndarray) -> OracleCase:
    return dataclasses.replace(case, inputs=np.ascontiguousarray(inputs))


def _swap_states(states: Any) -> Any:
    return jax.tree.map(lambda state: lstm.State(h=state.c, c=state.h), states, is_leaf=lambda leaf: isinstance(leaf, lstm.State))


def _of_results(candidate: Candidate) -> Iterator[Change]:
    """What was done to the results after a forward pass that is right."""
    given = candidate.forward
    if "h_n" in given and "c_n" in given and given["h_n"].shape == given["c_n"].shape:
        yield Change("with h_n and c_n swapped", of_results=lambda r: r | {"h_n": r["c_n"], "c_n": r["h_n"]})
    if "outputs" not in given:
        return
    if len(given["outputs"]) > 1:
        yield Change("with the outputs in the reverse order of time", of_results=lambda r: r | {"outputs": r["outputs"][::-1]})
    if isinstance(candidate.case.layers[-1], lstm.Bidirectional):
        yield Change("with the reverse direction's outputs first", of_results=lambda r: r | {"outputs": _halves(r["outputs"], 1, 0)})
        yield Change(
            "with the reverse direction's outputs in its own order of time",
            of_results=lambda r: r | {"outputs": np.concatenate([_half(r["outputs"], 0), _half(r["outputs"], 1)[::-1]], axis=-1)},
        )


def _half(outputs: np.ndarray, which: int) -> np.ndarray:
    return np.split(outputs, 2, axis=-1)[which]


def _halves(outputs: np.ndarray, *order: int) -> np.ndarray:
    return np.concatenate([_half(outputs, which) for which in order], axis=-1)


def _with_axes(case: OracleCase, axes: tuple[int, ...]) -> OracleCase:
    return _with_inputs(case, case.inputs.transpose(axes))
