"""How far the roundings of a computation move its result: Monte Carlo arithmetic on the program that JAX traces.

Every operation of the program that rounds is disturbed at random by about τ of what it rounds, as rounding would disturb it
by about the unit roundoff u; the result moves, and for small τ it moves in proportion: what it moves by, divided by τ, times
u, is what rounding does in a precision with that u. Nothing is assumed of the network, and what a bound would miss is there:
near saturation 1 - a is off by u, however small it is itself; a large pre-activation is off by u times its terms; and the
error of one timestep is carried through all the others. (D. S. Parker, "Monte Carlo Arithmetic", UCLA CSD-970002, 1997.)

    operation              what is rounded
    sum, matrix product    Σ |terms|, times √(1 + m/9) for m terms added one after the other: u/√3 of each partial sum
    sigmoid                1: ½ tanh(½z) + ½ is a correct sigmoid, and its error is absolute
    all others             the result
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

TAU = 2.0**-24  # large against float64's roundings, small enough that nothing but the first order counts
DRAWS = 8

# Operations that move, choose or compare numbers and round nothing
EXACT = frozenset(
    (
        "abs", "argmax", "argmin", "broadcast_in_dim", "clamp", "concatenate", "convert_element_type", "copy", "copy_p",
        "cummax", "cummin", "device_put", "dynamic_slice", "dynamic_update_slice", "expand_dims", "gather", "imag", "iota",
        "max", "min", "neg", "optimization_barrier", "pad", "pvary", "real", "reduce_max", "reduce_min", "reduce_precision",
        "reshape", "rev", "scatter", "select_n", "select_and_gather_add", "sign", "slice", "sort", "split", "squeeze",
        "stop_gradient", "transpose",
    )
)
SUMS = frozenset(("reduce_sum", "cumsum", "scatter-add"))


def propagated(function: Callable[..., Any], *arguments: Any) -> Any:
    """How far roundings move ``function(*arguments)``, per unit roundoff: the root mean square of `DRAWS` draws.

    Args:
        function: traceable by JAX; floating-point results.
        arguments: pytrees of arrays, taken as exact. Call this where 64-bit JAX is on.

    Returns:
        A pytree of NumPy arrays like the function's result.
    """
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
    flat = jax.tree.leaves(arguments)

    def deviations(flat: list[Any]) -> list[Any]:
        def add(carry: Any, draw: Any) -> tuple[Any, None]:
            seed, tau = draw
            moved = _Disturbed(tau).run(program.jaxpr, program.consts, flat, seed)
            still = [jnp.where(tau == 0, m, s) for m, s in zip(moved, carry[0], strict=True)]
            total = [t + (m - s) ** 2 for t, m, s in zip(carry[1], moved, still, strict=True)]
            return (still, total), None

        # One draw after the other, the first undisturbed: many draws need no more memory than one
        nothing = [jnp.zeros(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(shapes)]
        seeds = jnp.arange(1 + DRAWS, dtype=jnp.uint32)
        (_, total), _ = jax.lax.scan(add, (nothing, nothing), (seeds, jnp.where(seeds > 0, TAU, 0.0)))
        return [jnp.sqrt(one / DRAWS) / TAU for one in total]

    # Run a few times at most: compiling is what takes time
    compiled = jax.jit(deviations, compiler_options={"xla_backend_optimization_level": 0})
    leaves = [np.asarray(leaf) for leaf in compiled(flat)]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


class _Disturbed:
    """Runs a jaxpr, each rounding disturbed by ``tau``."""

    def __init__(self, tau: Any):
        self.tau = tau

    def run(self, jaxpr: Any, consts: Any, arguments: Any, seed: Any) -> list[Any]:
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arguments], strict=True))

        def read(variable: Any) -> Any:
            return variable.val if isinstance(variable, jex.Literal) else values[variable]

        sizes = [sum(out.aval.size for out in equation.outvars) if _rounds(equation) else 0 for equation in jaxpr.eqns]
        noise = self.tau * _noise(sum(sizes), seed)  # of the whole program at once: one hash compiles faster than a hundred
        ends = itertools.accumulate(sizes)
        for site, (equation, size, end) in enumerate(zip(jaxpr.eqns, sizes, ends, strict=True)):
            operands = [read(variable) for variable in equation.invars]
            results = self._of_equation(equation, operands, noise[end - size : end], functools.partial(_mixed, seed, site))
            values.update(zip(equation.outvars, results, strict=True))
        return [read(variable) for variable in jaxpr.outvars]

    def _of_equation(self, equation: Any, operands: list[Any], noise: Any, inner_seed: Any) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if name == "scan":
            return self._scan(params, operands, inner_seed())
        if name == "cond":
            seed = inner_seed()
            branches = [lambda *given, b=branch: self.run(b.jaxpr, b.consts, given, seed) for branch in params["branches"]]
            return jax.lax.switch(operands[0], branches, *operands[1:])
        inner = _inner(equation)
        if inner is not None:
            return self.run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), operands, inner_seed())
        results = _bind(equation, operands)
        if not _rounds(equation):
            return results
        scale = _rounded(equation, operands)
        parts = jnp.split(noise, np.cumsum([result.size for result in results[:-1]]))
        return [_moved(result, scale, part.reshape(result.shape)) for result, part in zip(results, parts, strict=True)]

    def _scan(self, params: dict[str, Any], operands: list[Any], seed: Any) -> list[Any]:
        body, consts, carries = params["jaxpr"], params["num_consts"], params["num_carry"]

        def step(carry: Any, at_t: Any) -> Any:
            t, state = carry
            results = self.run(body.jaxpr, body.consts, [*operands[:consts], *state, *at_t], _mixed(seed, t))
            return (t + jnp.uint32(1), results[:carries]), results[carries:]

        start = (jnp.uint32(0), operands[consts : consts + carries])
        options = {"length": params["length"], "reverse": params["reverse"]}
        (_, state), along = jax.lax.scan(step, start, operands[consts + carries :], **options)
        return [*state, *along]


def _moved(result: Any, scale: Any, noise: Any) -> Any:
    if scale is None:
        return result * (1 + noise).astype(result.dtype)  # infinity stays infinity
    return result + (noise * scale).astype(result.dtype)


def _inner(equation: Any) -> Any:
    """The function that a function calls, as ``jax.jit`` inside ``jax.jit`` does."""
    return next((equation.params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in equation.params), None)


def _rounds(equation: Any) -> bool:
    calls = equation.primitive.name in ("scan", "cond", "while") or _inner(equation) is not None
    floats = all(jnp.issubdtype(out.aval.dtype, jnp.floating) for out in equation.outvars)
    return floats and not calls and equation.primitive.name not in EXACT


def _bind(equation: Any, operands: list[Any]) -> list[Any]:
    results = equation.primitive.bind(*operands, **equation.params)
    return list(results) if equation.primitive.multiple_results else [results]


def _rounded(equation: Any, operands: list[Any]) -> Any:
    """What the operation's rounding is relative to; None for its result."""
    name = equation.primitive.name
    if name == "logistic":
        return 1.0
    if name != "dot_general" and name not in SUMS:
        return None
    sizes = [jnp.abs(one) if jnp.issubdtype(jnp.result_type(one), jnp.inexact) else one for one in operands]
    (magnitude,) = _bind(equation, sizes)
    if name == "dot_general":
        contracted = equation.params["dimension_numbers"][0][0]
        terms = math.prod(operands[0].shape[axis] for axis in contracted)
    else:
        terms = max(1, operands[0].size // max(1, magnitude.size))
    return magnitude * np.sqrt(1 + terms / 9)


def _mixed(seed: Any, number: Any) -> Any:
    """Another seed: a hash of 32 bits (lowbias32), since a generator of jax.random at every operation compiles slowly."""
    bits = jnp.asarray(seed, jnp.uint32) + (jnp.asarray(number, jnp.uint32) + jnp.uint32(1)) * jnp.uint32(0x9E3779B9)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> jnp.uint32(shift))) * jnp.uint32(factor)
    return bits ^ (bits >> jnp.uint32(16))


def _noise(size: int, seed: Any) -> Any:
    """(size,) independent numbers, uniform, of mean 0 and variance 1."""
    bits = _mixed(seed, jnp.arange(size, dtype=jnp.uint32))
    return (bits.astype(jnp.float64) * 2.0**-32 - 0.5) * np.sqrt(12)
