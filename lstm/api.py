"""The public functions: check the arguments, choose the precision, run the compiled computation."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from lstm import arguments, network as net, stack
from lstm.losses import LOSSES
from lstm.parameters import Array, CostGradients, Gradients, Network, State
from lstm.precision import double_where_asked
from lstm.sequence import Residuals
from lstm.validation import BadInput, Dimensions, finite, one_of

_forward = jax.jit(stack.forward)
_backward = jax.jit(stack.backward)
_loss_and_all_gradients = jax.jit(net.loss_and_all_gradients, static_argnames=("loss", "reduction"))


def forward(layers: Any, inputs: Array, initial_state: Any = None, *, lengths: Array | None = None) -> tuple[Array, Any, Any]:
    """Run the layers over a sequence.

    Args:
        layers: an `lstm.Layer`, or a sequence of them, lowest first.
        inputs: (T, B, D), float32 or float64 like the layers.
        initial_state: a `State` (h (B, R), c (B, H)) per layer; default zeros.
        lengths: (B,) integers from 0 to T; default: T for every sequence. Past its length a sequence's
            state is held, its outputs are 0, and its inputs may hold anything.

    Returns:
        outputs (T, B, R), the final state, and the residuals that `backward` needs. The final state is
        each sequence's own, at its length. For a single `Layer`, one state; for a sequence, a tuple.

    Raises:
        BadInput: naming the argument, what was expected and what came.
    """
    stacked = arguments.as_layers(layers)
    dimensions = Dimensions()
    inputs, _ = arguments.check_inputs(inputs, lengths, dimensions)
    arguments.check_layers(stacked, dimensions)
    with double_where_asked(layers, inputs, initial_state):
        state = arguments.initial_states(stacked, initial_state, dimensions.sizes["B"], dimensions.dtype)
        outputs, final_state, residuals = _forward(*arguments.as_jax(stacked, inputs, state), lengths)
    if layers is stacked or isinstance(layers, list):
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
    stacked = arguments.as_layers(layers)
    kept = (residuals,) if isinstance(residuals, Residuals) else tuple(residuals)
    if len(kept) != len(stacked) or not all(isinstance(one, Residuals) for one in kept):
        raise BadInput(f"residuals: expected what lstm.forward returned for these {len(stacked)} layers; got something else")
    _, batch, _ = kept[-1].h.shape
    dtype = kept[-1].h.dtype
    with double_where_asked(layers, residuals):
        if d_outputs is None:
            d_outputs = jnp.zeros_like(kept[-1].h)
        check = Dimensions()
        check.floats("(forward's) outputs", kept[-1].h, "T B R")
        check.floats("d_outputs", d_outputs, "T B R")
        if kept[-1].valid is None:
            finite("d_outputs", d_outputs)
        d_state = arguments.upstream_states(stacked, d_final_state, batch, dtype)
        gradients = _backward(*arguments.as_jax(stacked, kept, d_outputs, d_state))
    if layers is stacked or isinstance(layers, list):
        return gradients
    return Gradients(layers=gradients.layers[0], inputs=gradients.inputs, initial_state=gradients.initial_state[0])


def loss_and_all_gradients(
    network: Network,
    inputs: Array,
    targets: Array,
    *,
    loss: str = "squared_error",
    reduction: str = "mean",
    initial_state: Any = None,
    lengths: Array | None = None,
) -> tuple[Array, CostGradients]:
    """The cost, and its gradient with respect to the network, the inputs and the initial state.

    Arguments as for `loss_and_gradients`.
    """
    one_of("loss", loss, LOSSES)
    one_of("reduction", reduction, net.REDUCTIONS)
    if not isinstance(network, Network):
        raise BadInput(f"network: expected an lstm.Network; got {type(network).__name__}")
    layers = arguments.as_layers(network.layers)
    dimensions = Dimensions()
    inputs, counted = arguments.check_inputs(inputs, lengths, dimensions)
    top = arguments.check_readout(network, arguments.check_layers(layers, dimensions))
    targets = arguments.check_targets(targets, loss, counted, lengths is not None, top)
    with double_where_asked(network, inputs, initial_state):
        state = arguments.initial_states(layers, initial_state, dimensions.sizes["B"], dimensions.dtype)
        checked = Network(layers, network.readout)
        return _loss_and_all_gradients(*arguments.as_jax(checked, inputs, targets, state), lengths, loss=loss, reduction=reduction)


def loss_and_gradients(network: Network, inputs: Array, targets: Array, **options: Any) -> tuple[Array, Network]:
    """The cost and its hand-derived gradient with respect to every parameter.

    Args:
        network: an `lstm.Network`, float32 or float64.
        inputs: (T, B, D).
        targets: (T, B, K); for ``loss="cross_entropy"`` also integer labels (T, B).
        loss: ``"squared_error"``: ‖y - target‖² per timestep, summed over features; or
            ``"cross_entropy"``: softmax of the readout against labels or probability vectors.
        reduction: ``"mean"`` over the timesteps that count, of all sequences, or ``"sum"``.
        initial_state: a `State` per layer; default zeros.
        lengths: (B,) integers; timesteps past them count for nothing.

    Returns:
        The cost, a scalar, and a `Network` holding the gradient in place of each parameter.

    Raises:
        BadInput: naming the argument, what was expected and what came.
    """
    cost, gradients = loss_and_all_gradients(network, inputs, targets, **options)
    return cost, gradients.network


def step(network: Network, states: tuple[State, ...], x_t: Array) -> tuple[tuple[State, ...], Array]:
    """One timestep of the whole network, for streaming: states and ``x_t (B, D)`` -> new states and predictions (B, K).

    A plain traceable function: it checks nothing and accepts complex numbers too, which the complex-step
    estimate needs.
    """
    return net.step(network, states, x_t)


@functools.partial(jax.custom_vjp)
def _layer(layers, inputs, initial_state, lengths):
    outputs, final_state, _ = stack.forward(layers, inputs, initial_state, lengths)
    return outputs, final_state


def _layer_forward(layers, inputs, initial_state, lengths):
    outputs, final_state, residuals = stack.forward(layers, inputs, initial_state, lengths)
    return (outputs, final_state), (layers, residuals)


def _layer_backward(kept, d_results):
    layers, residuals = kept
    gradients = stack.backward(layers, residuals, *d_results)
    return gradients.layers, gradients.inputs, gradients.initial_state, None  # integer lengths have no gradient


_layer.defvjp(_layer_forward, _layer_backward)


def layer(layers: Any, inputs: Array, initial_state: Any = None, *, lengths: Array | None = None) -> tuple[Array, Any]:
    """`forward` without the residuals, for use inside a JAX model that JAX differentiates.

    Its reverse rule is the hand-written backward pass, registered with ``jax.custom_vjp``, so
    differentiating a model that contains it runs `backward` for this part. Arguments and results as for
    `forward`. Reverse mode only, once: JAX raises its own error for forward mode.
    """
    stacked = arguments.as_layers(layers)
    dimensions = Dimensions()
    inputs, _ = arguments.check_inputs(inputs, lengths, dimensions)
    arguments.check_layers(stacked, dimensions)
    with double_where_asked(layers, inputs, initial_state):
        state = arguments.initial_states(stacked, initial_state, dimensions.sizes["B"], dimensions.dtype)
        outputs, final_state = _layer(*arguments.as_jax(stacked, inputs, state), lengths)
    if layers is stacked or isinstance(layers, list):
        return outputs, final_state
    return outputs, final_state[0]
