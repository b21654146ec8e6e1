"""The public functions of layers: check the arguments, choose the precision, run the compiled computation."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm import arguments, layer_arguments, network as net, remat as checkpointed, stack
from lstm.levels import apart, directions, output_size
from lstm.parameters import Array, Bidirectional, Gradients, Network
from lstm.precision import double_where_asked
from lstm.sequence import Residuals
from lstm.validation import BadInput, Dimensions, finite, is_traced

_forward = jax.jit(stack.forward)
_backward = jax.jit(stack.backward, static_argnames="internals")


def forward(
    layers: Any, inputs: Array, initial_state: Any = None, *, lengths: Array | None = None, masks: Any = None
) -> tuple[Array, Any, Any]:
    """Run the layers over a sequence.

    Args:
        layers: an `lstm.Layer`, `lstm.Reversed` or `lstm.Bidirectional`, or a sequence of them, lowest first.
        inputs: (T, B, D), float32 or float64 like the layers.
        initial_state: a `State` (h (B, R), c (B, H)) per layer, in a `Bidirectional` for two directions; default zeros.
        lengths: (B,) integers from 0 to T; default: T for every sequence. Past its length a sequence's
            state is held, its outputs are 0, and its inputs may hold anything.
        masks: `Masks` per layer, in a `Bidirectional` for two directions; default none.

    Returns:
        outputs (T, B, R), or (T, B, 2R) for two directions; the final state; and the residuals that `backward` needs. The
        final state is each sequence's own, at its length (for a reversed layer, at its start). For a single layer, one
        state; for a sequence of layers, a tuple.

    Raises:
        BadInput: naming the argument, what was expected and what came.
    """
    levels, checked = _checked(layers, inputs, initial_state, lengths, masks)
    with double_where_asked(layers, inputs, initial_state):
        outputs, final_state, residuals = _forward(levels, *checked())
    if isinstance(layers, (tuple, list)):
        return outputs, final_state, residuals
    return outputs, final_state[0], residuals[0]


def backward(layers: Any, residuals: Any, d_outputs: Array | None = None, d_final_state: Any = None) -> Gradients:
    """Backpropagation through time: the vector-Jacobian product of `forward`, by hand (docs/derivation.md).

    Args:
        layers: what `forward` was given.
        residuals: what `forward` returned.
        d_outputs: upstream gradient on the outputs, (T, B, R); None for zero.
        d_final_state: upstream gradient on the final state, a `State` per layer; it or its fields may be None.

    Returns:
        `Gradients` with the gradient on every parameter (structured as ``layers``), on the inputs
        (T, B, D) and on the initial state.
    """
    return backward_with_internals(layers, residuals, d_outputs, d_final_state, internals=False)[0]


def backward_with_internals(
    layers: Any, residuals: Any, d_outputs: Array | None = None, d_final_state: Any = None, *, internals: bool = True
) -> tuple[Gradients, Any]:
    """`backward`, and the gradients inside: an `Internals` per layer, in a `Bidirectional` for two directions.

    They hold, for every timestep in input order, the gradient at the pre-activations, at h_t and at c_t.
    """
    levels = layer_arguments.as_levels(layers)
    single = not isinstance(layers, (tuple, list))
    kept = (residuals,) if single else residuals
    if not isinstance(kept, tuple) or len(kept) != len(levels) or not all(map(_belongs, levels, kept)):
        raise BadInput(f"residuals: expected what lstm.forward returned for these {len(levels)} layers; got something else")
    inside = [one for level, belonging in zip(levels, kept, strict=True) for one in apart(level, belonging)]
    _check_against_residuals(levels, inside)
    timesteps, batch, _ = inside[0].h.shape
    dtype = inside[0].h.dtype
    with double_where_asked(layers, residuals):
        check = Dimensions()
        check.dtype, check.dtype_from = np.dtype(dtype), "forward's outputs"
        for letter, size in {"T": timesteps, "B": batch, "R": output_size(levels[-1])}.items():
            check.sizes[letter], check.learned_from[letter] = size, "forward's outputs"
        if d_outputs is None:
            d_outputs = jnp.zeros((timesteps, batch, check.sizes["R"]), dtype)
        check.floats("d_outputs", d_outputs, "T B R")
        valid = inside[0].valid
        if valid is None or not is_traced(valid):
            finite("d_outputs", d_outputs, None if valid is None else np.asarray(valid)[:, :, 0])
        d_state = layer_arguments.upstream_states(levels, d_final_state, batch, dtype)
        arrays = arguments.as_jax(levels, kept, d_outputs, d_state)
        gradients, found = _backward(*arrays, internals=internals)
    if not single:
        return gradients, found
    return Gradients(layers=gradients.layers[0], inputs=gradients.inputs, initial_state=gradients.initial_state[0]), found[0]


def _belongs(level: Any, residuals: Any) -> bool:
    return isinstance(residuals, Bidirectional if isinstance(level, Bidirectional) else Residuals)


def _check_against_residuals(levels: tuple, inside: list[Residuals]) -> None:
    """The layers are, in shape and precision, those that the forward pass ran."""
    dimensions = Dimensions()
    dimensions.dtype, dimensions.dtype_from = np.dtype(inside[0].inputs.dtype), "residuals"
    for letter, size in zip("TBD", inside[0].inputs.shape, strict=True):
        dimensions.sizes[letter], dimensions.learned_from[letter] = size, "residuals"
    layer_arguments.check_layers(levels, dimensions)
    layers = [direction.layer for level in levels for direction in directions(level)]
    for layer, one in zip(layers, inside, strict=True):
        of_layer = (layer.recurrent_size, layer.hidden_size, len(layer.gates))
        hidden_size = one.c_previous.shape[-1]
        of_residuals = (one.h.shape[-1], hidden_size, one.gates.shape[-1] // hidden_size)
        if of_layer != of_residuals:
            raise BadInput(f"layers: expected (R, H, number of gates) = {of_residuals}, as in residuals; got {of_layer}")


def _checked(layers: Any, inputs: Array, initial_state: Any, lengths: Array | None, masks: Any) -> tuple[tuple, Any]:
    """The levels, and a function that gives the other arguments as JAX arrays, to be called in the right precision."""
    levels = layer_arguments.as_levels(layers)
    dimensions = Dimensions()
    inputs, _ = arguments.check_inputs(inputs, lengths, dimensions)
    layer_arguments.check_layers(levels, dimensions)
    masks = layer_arguments.check_masks(levels, masks, dimensions)

    def as_jax() -> tuple:
        state = layer_arguments.initial_states(levels, initial_state, dimensions.sizes["B"], dimensions.dtype)
        return (*arguments.as_jax(inputs, state), lengths, arguments.as_jax(masks)[0])

    return levels, as_jax


def step(network: Network, states: tuple, x_t: Array, masks: tuple | None = None) -> tuple[tuple, Array]:
    """One timestep of the whole network, for streaming: states and ``x_t (B, D)`` -> new states and predictions (B, K).

    A plain traceable function: it checks nothing and accepts complex numbers too, which the complex-step
    estimate needs. ``masks`` as in `forward`, without their time axis. Layers in one direction only.
    """
    with double_where_asked(network):
        return net.step(network, states, x_t, masks)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _layer(levels, inputs, initial_state, lengths, masks, k):
    return _layer_forward(levels, inputs, initial_state, lengths, masks, k)[0]


def _layer_forward(levels, inputs, initial_state, lengths, masks, k):
    if k is None:
        outputs, final_state, kept = stack.forward(levels, inputs, initial_state, lengths, masks)
    else:
        outputs, final_state, kept = checkpointed.forward(levels, inputs, initial_state, lengths, masks, k)
    return (outputs, final_state), (levels, kept, masks, None if k is None else (inputs, lengths))


def _layer_backward(k, saved, d_results):
    levels, kept, masks, given = saved
    if k is None:
        gradients, _ = stack.backward(levels, kept, *d_results)
    else:
        gradients = checkpointed.backward(levels, given[0], kept, given[1], masks, k, *d_results)
    no_gradient = jax.tree.map(jnp.zeros_like, masks)
    return gradients.layers, gradients.inputs, gradients.initial_state, None, no_gradient


_layer.defvjp(_layer_forward, _layer_backward)


def layer(
    layers: Any,
    inputs: Array,
    initial_state: Any = None,
    *,
    lengths: Array | None = None,
    masks: Any = None,
    remat: bool | int = False,
) -> tuple[Array, Any]:
    """`forward` without the residuals, for use inside a JAX model that JAX differentiates.

    Its reverse rule is the hand-written backward pass, registered with ``jax.custom_vjp``, so
    differentiating a model that contains it runs `backward` for this part. Arguments and results as for
    `forward`; masks are constants, their gradient is zero. Reverse mode only: JAX raises its own error for forward mode.
    ``remat`` as for `loss_and_gradients`: between forward and backward only one state of each segment is kept.
    """
    levels, checked = _checked(layers, inputs, initial_state, lengths, masks)
    k = checkpointed.segment_length(remat, levels, inputs.shape[0])
    with double_where_asked(layers, inputs, initial_state):
        outputs, final_state = _layer(arguments.as_jax(levels)[0], *checked(), k)
    return (outputs, final_state) if isinstance(layers, (tuple, list)) else (outputs, final_state[0])
