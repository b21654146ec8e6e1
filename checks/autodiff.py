"""The gradient by JAX's own automatic differentiation of the forward cost, in reverse and in forward mode."""

from __future__ import annotations

import jax
import numpy as np

from checks.arguments import described
from checks.estimate import Estimate, flatten
from checks.perturbation import DEFAULT_MEMORY, bytes_of_pass, chunk_size, in_chunks, rounded_up
from checks.problem import Cost, only_cost
from lstm import BadInput


def autodiff(problem: Cost, *, mode: str = "reverse") -> Estimate:
    """``jax.grad`` of the cost; ``mode="forward"`` pushes one tangent per weight instead, a second opinion.

    No claim is made of the error. Cell steps: T in reverse (and T of their transposes), P T forward.
    """
    only_cost(problem)
    if not isinstance(mode, str) or mode not in ("reverse", "forward"):
        raise BadInput(f"mode: expected one of reverse, forward; got {described(mode)}")
    if mode == "reverse":
        with problem.scope():
            value = flatten(jax.jit(jax.grad(problem.cost))(problem.parameters))
        cell_steps, states_held = problem.steps_per_cost, problem.steps_per_cost
    else:
        value, copies = _forward(problem)
        cell_steps, states_held = problem.steps_per_cost * copies, 2
    name = "autodiff" if mode == "reverse" else "autodiff.forward"
    return Estimate.from_flat(name, problem, value, None, cell_steps=cell_steps, states_held=states_held)


def _forward(problem: Cost) -> tuple[np.ndarray, int]:
    """One Jacobian-vector product per weight, in chunks; and how many were run."""
    size = problem.size
    chunk = chunk_size(size, 2 * bytes_of_pass(problem), DEFAULT_MEMORY)

    def derivative(index):
        direction = (jax.numpy.arange(size) == index).astype(problem.dtype)
        return jax.jvp(lambda flat: problem.cost(problem.unflatten(flat)), (problem.flat,), (direction,))[1]

    with problem.scope():
        return in_chunks(jax.jit(jax.vmap(derivative)), size, chunk), rounded_up(size, chunk)
