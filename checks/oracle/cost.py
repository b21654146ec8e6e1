"""What is asked for the gradient of, as one function of everything that there is a gradient of, and of data.

It sees the forward pass alone, put together from single timesteps by `checks.network_forward`. The data are arguments, not
constants of the compiled program: files of one shape and structure share one.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstm
from checks.network_forward import network_forward
from lstm.parameters import pytree, static


@pytree
class Data:
    """What no gradient is asked of. Upstream gradients, or targets and a loss; the other is None."""

    lengths: Any  # (B,) or None
    masks: Any  # one per level, or None
    d_outputs: Any  # (T, B, R)
    d_final_state: Any  # one state per level, whose arrays may be None
    targets: Any  # (T, B, K), or labels (T, B)
    loss_weights: Any  # (T, B)  what each timestep's loss counts
    loss: str = static(default="")


def cost(parameters: lstm.CostGradients, data: Data) -> Any:
    """The loss, weighed and summed; or Σ d_outputs · outputs + Σ d_final_state · final state, whose gradient is a backward pass."""
    network = parameters.network
    outputs, final = network_forward(network.layers, parameters.inputs, parameters.initial_state, data.lengths, data.masks)
    if data.targets is not None:
        y = outputs if network.readout is None else jnp.matmul(outputs, network.readout.w, precision="highest") + network.readout.b
        return (lstm.LOSSES[data.loss].forward(y, jnp.asarray(data.targets)) * data.loss_weights).sum()
    total = jnp.zeros((), outputs.dtype) if data.d_outputs is None else (outputs * data.d_outputs).sum()
    pairs = zip(jax.tree.leaves(data.d_final_state, is_leaf=_is_none), jax.tree.leaves(final, is_leaf=_is_none), strict=False)
    return total + sum((given * end).sum() for given, end in pairs if given is not None)


def _is_none(leaf: Any) -> bool:
    return leaf is None


# A program of the oracle runs a few dozen times, so compiling it is most of what it costs: in a third of the time without LLVM's
# optimizations, which matrix products, calls into a library, do not need
COMPILED_QUICKLY = {"xla_backend_optimization_level": 0}

gradient = jax.jit(jax.grad(cost), compiler_options=COMPILED_QUICKLY)


@functools.partial(jax.jit, compiler_options=COMPILED_QUICKLY)
def moved_cost(flat: Any, line: Any, offset: Any, index: Any, value: Any, like: lstm.CostGradients, data: Data) -> Any:
    """The cost at ``flat + offset line``, its entry ``index`` replaced by ``value``; ``like`` says which entries are what."""
    return cost(unflattened((flat + offset * line).at[index].set(value), like), data)


def unflattened(flat: Any, like: Any) -> Any:
    """A vector (P,) as a tree like another."""
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([np.size(leaf) for leaf in leaves])
    parts = [flat[end - np.size(leaf) : end].reshape(np.shape(leaf)) for leaf, end in zip(leaves, ends, strict=True)]
    return jax.tree.unflatten(structure, parts)
