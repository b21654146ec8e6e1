"""Run the package's own modules on SymPy expressions, or on any other numbers that NumPy can hold as objects.

`running_on_objects` puts NumPy in the place of jax.numpy inside `lstm`, for the length of a ``with`` block. What then
comes out of ``lstm.sequence.backward`` and the others is what their lines say, as formulas. `vanishes` decides whether
an expression is identically zero.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
import sympy as sp
from sympy.core.sympify import converter
from sympy.polys.rings import ring

from lstm import CostGradients, Gradients, Layer, Network, Readout, State, network, sequence

SHIFT = sp.Symbol("m", real=True)  # stands for max(y) in the log-normalizer: (24) holds for every shift


class SymbolicProblem(NamedTuple):
    cost: Any  # a SymPy expression
    variables: Any  # what it depends on: a pytree of symbols
    backward: Callable[[], Any]  # the hand-derived gradient, the same pytree


def exact(values: Any) -> np.ndarray:
    """Numbers and booleans -> SymPy rationals, so that ½ stays ½; everything else stays as it is."""
    return each(lambda one: sp.Rational(one) if isinstance(one, (bool, int, float, np.number)) else one)(np.asarray(values, object))


def symbols(name: str, *shape: int) -> np.ndarray:
    names = [f"{name}_{'_'.join(map(str, index))}" for index in np.ndindex(*shape)]
    return np.array([sp.Symbol(one, real=True) for one in names], object).reshape(shape)


def each(function: Callable[[Any], Any]) -> Any:
    return np.vectorize(function, otypes=[object])


def _function(name: str) -> Any:
    """A number that knows the function (``a.tanh()``) computes it; SymPy does for its own expressions."""
    return each(lambda one: getattr(one, name)() if hasattr(one, name) else getattr(sp, name)(one))


class ObjectNumpy:
    """The part of jax.numpy that `lstm` uses, for arrays of objects. What is not here is NumPy's own."""

    tanh, exp, log = (staticmethod(_function(name)) for name in ("tanh", "exp", "log"))
    array = staticmethod(lambda values, dtype=None: exact(values))
    ones = staticmethod(lambda shape, dtype=None: exact(np.ones(shape)))
    matmul = staticmethod(lambda a, b, precision=None: a @ b)
    maximum = staticmethod(lambda a, b: exact(np.maximum(a, b)))

    @staticmethod
    def max(a: Any, axis: int, keepdims: bool) -> Any:
        if isinstance(a.flat[0], sp.Expr):
            return np.full((*a.shape[:-1], 1), SHIFT, object)
        return np.max(a, axis=axis, keepdims=keepdims)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


def scan(body: Any, carry: Any, over: Any, reverse: bool = False) -> Any:
    timesteps = len(jax.tree.leaves(over)[0])
    results: list[Any] = [None] * timesteps
    for t in reversed(range(timesteps)) if reverse else range(timesteps):
        carry, results[t] = body(carry, jax.tree.map(lambda array, t=t: array[t], over))
    return carry, jax.tree.map(lambda *steps: np.stack(steps), *results)


def _one_hot(labels: Any, size: int, dtype: Any) -> np.ndarray:
    return exact(np.eye(size))[labels]


def _updated(array: np.ndarray, value: np.ndarray, index: Any, axis: int) -> np.ndarray:
    array = np.moveaxis(array.copy(), axis, 0)
    array[index] = value
    return np.moveaxis(array, 0, axis)


class Instead:
    """A module with some of its functions replaced."""

    def __init__(self, module: Any, **replaced: Any):
        self.__dict__ |= replaced
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


OBJECT_NUMPY = ObjectNumpy()
OBJECT_JAX = Instead(
    jax,
    lax=Instead(
        jax.lax,
        scan=scan,
        dynamic_index_in_dim=lambda array, index, axis, keepdims: np.take(array, [index] if keepdims else index, axis),
        dynamic_update_index_in_dim=_updated,
    ),
    nn=Instead(jax.nn, one_hot=_one_hot),
)


@contextlib.contextmanager
def running_on_objects() -> Iterator[None]:
    """Everything in `lstm` computes on arrays of objects. Call inner functions only: the public ones are compiled."""
    with contextlib.ExitStack() as until_the_end:
        for module in [module for name, module in sys.modules.items() if name.startswith("lstm.")]:
            for name, substitute in {"jnp": OBJECT_NUMPY, "jax": OBJECT_JAX}.items():
                if hasattr(module, name):
                    until_the_end.enter_context(mock.patch.object(module, name, substitute))
        until_the_end.enter_context(mock.patch.dict(converter, {float: sp.Rational}))  # the code's 0.5 is ½ exactly
        as_booleans = network.valid_steps  # which NumPy cannot turn into 0 and 1 among objects
        until_the_end.enter_context(mock.patch.object(network, "valid_steps", lambda *a: exact(as_booleans(*a))))
        yield


def layer_problem(timesteps: int, batch: int, input_size: int, hidden_size: int, lengths: Any = None) -> SymbolicProblem:
    """The real forward scan, and the real reverse scan, on symbols."""
    layer = Layer(
        w_x=symbols("w_x", input_size, 4 * hidden_size), w_h=symbols("w_h", hidden_size, 4 * hidden_size), b=symbols("b", 4 * hidden_size)
    )
    inputs, d_outputs = symbols("x", timesteps, batch, input_size), symbols("u", timesteps, batch, hidden_size)
    initial, d_final = (State(h=symbols(f"h_{name}", batch, hidden_size), c=symbols(f"c_{name}", batch, hidden_size)) for name in "0u")
    valid = None if lengths is None else (np.arange(timesteps)[:, None] < lengths)[:, :, None]
    with running_on_objects():
        outputs, final, residuals = sequence.forward(layer, inputs, initial, valid)
    # To first order a cost depends on outputs and final state linearly; its coefficients are the upstream gradients
    cost = (d_outputs * outputs).sum() + (d_final.h * final.h).sum() + (d_final.c * final.c).sum()

    def backward() -> Gradients:
        with running_on_objects():
            return sequence.backward(layer, residuals, d_outputs, d_final)[0]

    return SymbolicProblem(cost, Gradients(layers=layer, inputs=inputs, initial_state=initial), backward)


def network_problem(reduction: str) -> SymbolicProblem:
    """The real cost of a small network on symbols, squared error, two sequences of lengths 2 and 1."""
    layer, readout = Layer(symbols("w_x", 1, 4), symbols("w_h", 1, 4), symbols("b", 4)), Readout(symbols("w_y", 1, 2), symbols("b_y", 2))
    inputs, targets = symbols("x", 2, 2, 1), symbols("target", 2, 2, 2)
    initial = (State(h=symbols("h_0", 2, 1), c=symbols("c_0", 2, 1)),)
    given = CostGradients(Network((layer,), readout), inputs, initial)

    def cost_and_gradients() -> Any:
        with running_on_objects():
            options = {"initial_state": initial, "lengths": np.array([2, 1]), "masks": None}
            return network.loss_and_all_gradients(
                given.network, inputs, targets, loss="squared_error", reduction=reduction, **options
            )

    return SymbolicProblem(cost_and_gradients()[0], given, lambda: cost_and_gradients()[1])


def sympy_gradient(problem: SymbolicProblem, every: int = 1) -> list[Any]:
    """The derivative by every entry of the variables, or by one entry of ``every``."""
    # At each step of the chain rule SymPy walks the whole result in search of derivatives that it could not evaluate, to
    # put them in order. There are none here, and that walk would take three quarters of the time.
    with mock.patch.object(sp.Basic, "replace", lambda self, *_: self):
        found = [sp.diff(problem.cost, entry) for entry in _entries(problem.variables)[::every]]
    assert not any(one.has(sp.Derivative) for one in found)
    return found


def differences(problem: SymbolicProblem, derivatives: list[Any] | None = None, every: int = 1) -> list[Any]:
    """The hand-derived gradient minus SymPy's, entry by entry, or one entry of ``every``."""
    derivatives = sympy_gradient(problem, every) if derivatives is None else derivatives
    return [ours - theirs for ours, theirs in zip(_entries(problem.backward())[::every], derivatives, strict=True)]


def _entries(tree: Any) -> list[Any]:
    return [entry for leaf in jax.tree.leaves(tree) for entry in leaf.flat]


def vanishes(expressions: Iterable[Any]) -> bool:
    """Are all of these identically zero?

    Each function value (tanh of something, exp of something) counts as one more indeterminate, and what remains is a
    polynomial with rational coefficients, multiplied out exactly. If every polynomial is zero, so is every expression.
    """
    indeterminates: dict[Any, sp.Symbol] = {}
    polynomials = [_without_functions(sp.sympify(one), indeterminates, {}) for one in expressions]
    generators = sorted(set().union(*(one.free_symbols for one in polynomials)), key=str)
    if not generators:
        return all(one == 0 for one in polynomials)
    polynomial_ring, *members = ring(generators, sp.QQ)
    known = dict(zip(generators, members, strict=True))
    return all(_multiplied_out(one, polynomial_ring, known) == 0 for one in polynomials)


def _without_functions(expression: Any, indeterminates: dict[Any, sp.Symbol], known: dict[Any, Any]) -> Any:
    if expression not in known:
        if isinstance(expression, sp.Function):
            known[expression] = indeterminates.setdefault(expression, sp.Symbol(f"function_{len(indeterminates)}"))
        elif expression.args:
            known[expression] = expression.func(*(_without_functions(one, indeterminates, known) for one in expression.args))
        else:
            known[expression] = expression
    return known[expression]


def _multiplied_out(expression: Any, polynomial_ring: Any, known: dict[Any, Any]) -> Any:
    if expression not in known:
        parts = [] if expression.is_Pow else [_multiplied_out(one, polynomial_ring, known) for one in expression.args]
        if expression.is_Rational:
            value = polynomial_ring(sp.QQ(expression.p, expression.q))
        elif expression.is_Add:
            value = sum(parts, polynomial_ring(0))
        elif expression.is_Mul:
            value = sp.prod(sorted(parts, key=len), start=polynomial_ring(1))
        elif expression.is_Pow and expression.exp.is_Integer and expression.exp > 0:
            value = _multiplied_out(expression.base, polynomial_ring, known) ** int(expression.exp)
        else:
            raise TypeError(f"not a polynomial in functions: {expression}")
        known[expression] = value
    return known[expression]
