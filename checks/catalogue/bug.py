"""What the catalogue is made of: a bug, a family of bugs with a parameter, and when a case can have a bug."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from checks.catalogue.case import Case
from checks.catalogue.forward import blocks, gate_blocks
from checks.catalogue.sites import TERMS, Modifier
from lstm import Layer

Condition = Callable[[Case], bool]


def always(case: Case) -> bool:
    return True


@dataclasses.dataclass(frozen=True, eq=False)
class Bug:
    """One mistake in a backward pass. Its gradient is ``checks.catalogue.mutants.gradients(case, [bug])``.

    Attributes:
        name: kebab-case, unique for one case.
        title: what is wrong, in one phrase.
        equation: of docs/derivation.md, the one it breaks, as in ``"(9)"``.
        effect: what it does to the gradient.
        fix: what the author should do.
        modifies: place of `checks.catalogue.sites.TERMS` -> what becomes of the value there.
        applies: can this case have it? False where sizes or zeros rule out any effect on any gradient, where shapes or the
            kind of cost rule the bug out, and where it would be another bug of the catalogue.
        kind: is the case's network of a kind that has the place at all? Beside ``applies``, which it is part of.
        also: other ways of writing the same mistake, which give the same gradient.
        parameters: of a member of a family, such as ``{"steps": 3}``.
    """

    name: str
    title: str
    equation: str
    effect: str
    fix: str
    modifies: Mapping[str, Modifier]
    applies: Condition = always
    kind: Condition = always
    also: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[a-z0-9]+([-.][a-z0-9]+)*", self.name), self.name
        assert self.modifies, self.name
        assert set(self.modifies) <= set(TERMS), self.name
        if self.kind is not always:
            object.__setattr__(self, "applies", both(self.kind, self.applies))

    def __repr__(self) -> str:
        return f"Bug({self.name})"


@dataclasses.dataclass(frozen=True)
class Family:
    """Bugs that differ in a parameter. ``values`` are those worth trying on a case; `make` takes any."""

    name: str
    make: Callable[[Any], Bug]
    values: Callable[[Case], Iterable[Any]]

    def members(self, case: Case) -> list[Bug]:
        """Those that this case can have."""
        return [bug for bug in map(self.make, self.values(case)) if bug.applies(case)]


def several_steps(case: Case) -> bool:
    return case.longest > 1


def several_rows(case: Case) -> bool:
    return case.sizes["T"] > 1


def several_sequences(case: Case) -> bool:
    return case.sizes["B"] > 1


def several_units(case: Case) -> bool:
    return any(layer.hidden_size > 1 for layer in case.layers)


def as_many_inputs_as_units(case: Case) -> bool:
    """D = H in every layer, so that the blocks of W_x are square."""
    return all(layer.w_x.shape[0] == layer.hidden_size for layer in case.layers)


def as_many_inputs_as_outputs(case: Case) -> bool:
    """D = R in every layer, so that W_x and W_h may take each other's place."""
    return all(layer.w_x.shape == layer.w_h.shape for layer in case.layers)


def square(case: Case) -> bool:
    """R = H in every layer, so that h may take the place of c, and the blocks of W_h are square."""
    return all(layer.recurrent_size == layer.hidden_size for layer in case.layers)


def unprojected(case: Case) -> bool:
    return all(layer.projection is None for layer in case.layers)


def projected(case: Case) -> bool:
    return not unprojected(case)


def with_peepholes(case: Case) -> bool:
    return any(layer.peepholes is not None for layer in case.layers)


def uncoupled(case: Case) -> bool:
    return not any(layer.coupled for layer in case.layers)


def sigmoid_gates(case: Case) -> bool:
    return all(layer.activations.gate == "sigmoid" for layer in case.layers)


def tanh_candidate(case: Case) -> bool:
    return all(layer.activations.candidate == "tanh" for layer in case.layers)


def tanh_output(case: Case) -> bool:
    return all(layer.activations.output == "tanh" for layer in case.layers)


def gates_of(case: Case) -> str:
    """The gate blocks that every layer has, "ifgo" or "igo"; empty where the layers differ."""
    found = {"".join(layer.gates) for layer in case.layers}
    return found.pop() if len(found) == 1 else ""


def padded(case: Case) -> bool:
    return case.lengths is not None and int(case.lengths.min()) < case.sizes["T"]


def final_h(case: Case) -> bool:
    """An upstream gradient on the final hidden state."""
    return case.d_final_state is not None and any(bool(state.h.any()) for state in case.d_final_state)


def final_c(case: Case) -> bool:
    """An upstream gradient on the final cell state."""
    return case.d_final_state is not None and any(bool(state.c.any()) for state in case.d_final_state)


def initial_h(case: Case) -> bool:
    """A hidden state before step 0 that is not zero, in a sequence that has a step 0."""
    return any(bool(state.h[_started(case)].any()) for state in case.initial_state)


def initial_c(case: Case) -> bool:
    return any(bool(state.c[_started(case)].any()) for state in case.initial_state)


def _started(case: Case) -> np.ndarray:
    return np.full(case.sizes["B"], True) if case.lengths is None else case.lengths > 0


def both(*conditions: Condition) -> Condition:
    return lambda case: all(condition(case) for condition in conditions)


def either(first: Condition, second: Condition) -> Condition:
    return lambda case: first(case) or second(case)


def short(number: float) -> str:
    """Four digits, as names of bugs hold them."""
    return f"{number:.4g}".replace("+", "")


def only_timestep(step: int) -> Modifier:
    """``=`` for ``+=`` in a loop over time: of a sum's terms (T, …) those of one timestep are left."""

    def kept(terms: np.ndarray, _: Any) -> np.ndarray:
        result = np.zeros_like(terms)
        result[step] = terms[step]
        return result

    return kept


def replace_blocks(array: np.ndarray, gates: str, by: Callable[[np.ndarray], Any], layer: Layer | None = None) -> np.ndarray:
    """A copy of ``array`` with ``by(block)`` in place of each block named in ``gates``, such as "ifo".

    The array is (..., 4H), or laid out as the weights of the ``layer`` if one is given, which coupled is (..., 3H).
    """
    result = np.array(array, np.float64)
    named = dict(zip("ifgo", blocks(result), strict=True)) if layer is None else gate_blocks(layer, result)
    for gate, block in named.items():
        if gate in gates:
            block[...] = by(block)
    return result


def reordered(layer: Layer, array: np.ndarray, order: str) -> np.ndarray:
    """The gates' blocks in another order: ``order`` says whose stand where the weights have the layer's own."""
    named = gate_blocks(layer, array)
    return np.concatenate([named[q] for q in order], axis=-1)
