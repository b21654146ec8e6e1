"""The gradient by the complex step: the imaginary part of C(w + i h) / h, with h so small that nothing is truncated.

For an analytic cost C(w + ih) = C(w) + i h C'(w) - ½ h² C''(w) - …, so with h = 1e-30 the imaginary part is h C'(w) to
rounding error. There is no subtraction, hence no cancellation. Squire and Trapp, SIAM Review 40 (1998).
It sees only the forward cost. It does not hold where the cost takes an absolute value, a maximum or a conjugate.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from checks.estimate import Estimate
from checks.perturbation import DEFAULT_MEMORY, bytes_of_pass, chunk_size, in_chunks, rounded_up
from checks.problem import Cost, only_cost

STEP = 1e-30


def complex_step(problem: Cost, *, memory: int = DEFAULT_MEMORY) -> Estimate:
    """The gradient to rounding error; no claim beyond that. Cell steps: T P, in complex arithmetic."""
    size = only_cost(problem).size
    flat = problem.flat
    chunk = chunk_size(size, 4 * bytes_of_pass(problem), memory)

    def derivative(index):
        moved = jnp.asarray(flat) + 1j * jnp.where(jnp.arange(size) == index, STEP, 0).astype(flat.dtype)
        return problem.cost(problem.unflatten(moved)).imag / STEP

    with problem.scope():
        value = in_chunks(jax.jit(jax.vmap(derivative)), size, chunk)
    cell_steps = problem.steps_per_cost * rounded_up(size, chunk)
    return Estimate.from_flat("complex_step", problem, value, None, cell_steps=cell_steps, states_held=1)
