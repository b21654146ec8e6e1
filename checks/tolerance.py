"""How far apart two correct gradients may be because of rounding alone.

Model (probabilistic rounding analysis, Higham and Mary, SIAM J. Sci. Comput. 41, 2019): after n roundings, each of
relative size at most u and independent of the others, a sum of products is off by at most λ √n u times the sum of the
magnitudes added, except with probability 2 exp(-λ²/2). Here

    u        the unit roundoff of the candidate's precision, ε / 2
    n        roundings on the longest path from a parameter to the cost and back: in each of T timesteps, forward and
             backward, a contraction over m terms and about 16 more operations; then a sum over the T B rows
    λ = 8    2 exp(-32) = 3e-14: never seen in a billion entries
    sum      Σ_t |timestep t's own contribution|, what cancels between timesteps counts: the largest entry of each gate's block
             of an LSTM layer's arrays, since entries of a block share their roundings; of other arrays, the largest entry of all

That counts roundings relative to what is added up. Some are larger than that: a saturated gate's a (1 - a) and softmax(y)
less the target are rounded relative to 1, large pre-activations relative to their terms, and what a timestep gets wrong the
others inherit. How far these reach is measured, not bounded: `checks.rounding.propagated`, in units of u, the largest entry of
each block; a correct implementation may take up to 4 operations where `jax.grad` takes one, so λ √4 u times that is added.

The same number applies to the reference, in its own precision, so two float64 gradients may differ by twice that.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checks.places import gate_blocks, gates_of_leaves
from checks.problem import Cost, Problem, only_cost
from checks.rounding import propagated

LAMBDA = 8.0
OPERATIONS_FOR_ONE = 4  # 1 / (1 + exp(-z)) is as correct as ½ tanh(½z) + ½
OTHER_OPERATIONS = 16  # per timestep and direction: activations, products of gates, additions, the loss
LARGEST_UNTIED = 50_000_000  # T P entries above which the untied gradient is not formed


def rounding_tolerance(problem: Cost, dtype: Any = None) -> list[float]:
    """For each array of the parameters: how far off a correct gradient in ``dtype`` may be, absolutely.

    Args:
        problem: the cost; its magnitudes are computed in float64.
        dtype: the candidate's precision; default the problem's own.
    """
    rooms = tolerance_of(only_cost(problem), gradient_and_magnitudes(problem)[1], dtype or problem.dtype)
    return [float(np.max(room)) for room in rooms]


def tolerance_of(problem: Cost, magnitudes: Any, dtype: Any) -> list[np.ndarray]:
    """For each array of the parameters, an array of its shape: what is allowed at each entry, the same all over a gate's block."""
    factor = LAMBDA * np.sqrt(OPERATIONS_FOR_ONE) * float(np.finfo(dtype).eps) / 2
    reaches = [factor * leaf for leaf in largest_in_blocks(problem, reach(problem))]
    return [one + other for one, other in zip(tolerance_of_sums(problem, magnitudes, dtype), reaches, strict=True)]


def tolerance_of_sums(problem: Cost, magnitudes: Any, dtype: Any) -> list[np.ndarray]:
    """The part of `tolerance_of` that needs no program of its own, and allows less: who keeps within it agrees."""
    factor = LAMBDA * np.sqrt(roundings(problem)) * float(np.finfo(dtype).eps) / 2
    return [factor * leaf for leaf in largest_in_blocks(problem, magnitudes)]


def largest_in_blocks(problem: Cost, tree: Any) -> list[np.ndarray]:
    """The arrays of a pytree like the parameters, every entry replaced by the largest of its gate's block; NaN if one is NaN."""
    found = []
    for leaf, count in zip(jax.tree.leaves(tree), _blocks_of(problem), strict=True):
        width = np.shape(leaf)[-1] if np.ndim(leaf) else 1
        blocks = np.reshape(leaf, (-1, count, width // count))
        largest = np.max(blocks, axis=(0, 2), keepdims=True)
        found.append(np.broadcast_to(largest, blocks.shape).reshape(np.shape(leaf)))
    return found


def _blocks_of(problem: Cost) -> list[int]:
    """How many gates' blocks each array has."""
    gates = gates_of_leaves(problem.parameters)
    return [gate_blocks(name, of_leaf) for name, of_leaf in zip(problem.leaf_names, gates, strict=True)]


def reach(problem: Cost) -> Any:
    """How far roundings move the gradient, per unit roundoff: a pytree like the parameters; computed once for each problem."""
    double = problem.astype(np.float64)
    if "reach" not in double.memo:
        with double.scope():
            double.memo["reach"] = propagated(jax.grad(double.cost), double.parameters)
    return double.memo["reach"]


def roundings(problem: Cost) -> int:
    """n of the model."""
    contraction = max(max(np.shape(leaf), default=1) for leaf in jax.tree.leaves(problem.parameters))
    timesteps = problem.steps_per_cost
    rows = timesteps
    if isinstance(problem, Problem):
        state_shapes = [np.shape(leaf) for leaf in jax.tree.leaves(_start(problem))]
        rows *= max((shape[0] for shape in state_shapes if shape), default=1)
    return 2 * timesteps * (contraction + OTHER_OPERATIONS) + rows


def gradient_and_magnitudes(problem: Cost) -> tuple[Any, Any]:
    """Σ_t ∂C/∂w^(t), which is the gradient, and Σ_t |∂C/∂w^(t)|, the size of what is added up, cancellation undone.

    Both by automatic differentiation in float64, pytrees of NumPy arrays like the parameters; computed once for each problem.
    """
    double = problem.astype(np.float64)
    if "magnitudes" not in double.memo:
        double.memo["magnitudes"] = _gradient_and_magnitudes(double)
    return double.memo["magnitudes"]


def _gradient_and_magnitudes(problem: Cost) -> tuple[Any, Any]:
    with problem.scope():
        if not isinstance(problem, Problem) or problem.timesteps * problem.size > LARGEST_UNTIED:
            gradient = jax.tree.map(np.asarray, jax.jit(jax.grad(problem.cost))(problem.parameters))
            return gradient, jax.tree.map(lambda leaf: np.abs(leaf) * np.sqrt(problem.steps_per_cost), gradient)
        terms = jax.jit(lambda p: _untied_terms(problem, p))(problem.parameters)
        terms = jax.tree.map(np.asarray, terms)
    return jax.tree.map(lambda leaf: leaf.sum(axis=0), terms), jax.tree.map(lambda leaf: np.abs(leaf).sum(axis=0), terms)


def _untied_terms(problem: Problem, parameters: Any) -> Any:
    """∂C/∂w^(t) for every t: the gradient with respect to a copy of the parameters per timestep, T along the first axis."""

    def cost_of_copies(copies):
        def body(carry, at_t):
            t, copy = at_t
            state, contribution = problem.advance(copy, carry[0], t)
            return (state, carry[1] + contribution), None

        start = problem.start(jax.tree.map(lambda leaf: leaf[0], copies))
        times = jnp.arange(problem.timesteps)
        return jax.lax.scan(body, (start, jnp.zeros(())), (times, copies))[0][1]

    copies = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (problem.timesteps, *np.shape(leaf))), parameters)
    return jax.grad(cost_of_copies)(copies)


def _start(problem: Problem) -> Any:
    with problem.scope():
        return jax.eval_shape(problem.start, problem.parameters)
