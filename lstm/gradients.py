"""The cost of a network and its gradients: check the arguments, choose the precision, run the compiled computation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from lstm import arguments, cores, layer_arguments, network as net, remat as checkpointed
from lstm.losses import LOSSES
from lstm.parameters import Array, CostGradients, Network
from lstm.precision import double_where_asked
from lstm.validation import BadInput, Dimensions, one_of


def loss_and_all_gradients(
    network: Network,
    inputs: Array,
    targets: Array,
    *,
    loss: str = "squared_error",
    reduction: str = "mean",
    initial_state: Any = None,
    lengths: Array | None = None,
    masks: Any = None,
    remat: bool | int = False,
) -> tuple[Array, CostGradients]:
    """The cost, and its gradient with respect to the network, the inputs and the initial state.

    Arguments as for `loss_and_gradients`.
    """
    options = {"initial_state": initial_state, "lengths": lengths, "masks": masks}
    return _gradients(network, inputs, targets, loss, reduction, remat=remat, with_inputs=True, **options)


def loss_and_gradients(network: Network, inputs: Array, targets: Array, **options: Any) -> tuple[Array, Network]:
    """The cost and its hand-derived gradient with respect to every parameter.

    Called directly on a CPU, the sequences of a large batch are spread over its cores (`lstm.cores`); inside ``jax.jit`` it is part of
    one program, which XLA runs as it likes. For a loop that calls it many times: `gradient_function`.

    Args:
        network: an `lstm.Network`, float32 or float64.
        inputs: (T, B, D).
        targets: (T, B, K); for ``loss="cross_entropy"`` also integer labels (T, B).
        loss: ``"squared_error"``: ‖y - target‖² per timestep, summed over features; or
            ``"cross_entropy"``: softmax of the readout against labels or probability vectors.
        reduction: ``"mean"`` over the timesteps that count, of all sequences, or ``"sum"``.
        initial_state: a `State` per layer; default zeros.
        lengths: (B,) integers; timesteps past them count for nothing.
        masks: `Masks` per layer; default none.
        remat: True, or the length of a segment: keep one state for each segment of the forward pass, and run the segment
            again in reverse. Memory for √T timesteps in place of T (True) and a third more arithmetic. Layers forward in time only;
            nothing is spread.

    Returns:
        The cost, a scalar, and a `Network` holding the gradient in place of each parameter.

    Raises:
        BadInput: naming the argument, what was expected and what came.
    """
    cost, gradients = _gradients(network, inputs, targets, **options, with_inputs=False)
    return cost, gradients.network


def gradient_function(
    *, loss: str = "squared_error", reduction: str = "mean", remat: bool | int = False
) -> Callable[..., tuple[Array, Network]]:
    """`loss_and_gradients` for a loop: a function that looks at shapes once, and never at values.

    As ``jax.jit`` of `loss_and_gradients` would, it checks shapes and precisions when it first meets them and is compiled for each
    anew; unlike that, it spreads a large batch over a CPU's cores. NaN goes in and NaN comes out; labels and lengths out of their
    range are not seen either.

    Args:
        loss, reduction, remat: as for `loss_and_gradients`.

    Returns:
        A function of (network, inputs, targets, *, initial_state=None, lengths=None, masks=None) -> what `loss_and_gradients` returns.

    Raises:
        BadInput: at once for an option, and for an array when the function is called.
    """
    one_of("loss", loss, LOSSES)
    one_of("reduction", reduction, net.REDUCTIONS)
    checkpointed.segment_length(remat, (), 1)

    @functools.partial(jax.jit, static_argnames="parts")
    def program(unchecked, part, parts):
        given, k = _checked(*unchecked, loss=loss, reduction=reduction, remat=remat)
        return _one_part(given, part, loss=loss, reduction=reduction, k=k, with_inputs=False, parts=parts)

    def loss_and_gradients_of(
        network: Network, inputs: Array, targets: Array, *, initial_state: Any = None, lengths: Any = None, masks: Any = None
    ) -> tuple[Array, Network]:
        with double_where_asked(network, inputs, initial_state):
            given = network, inputs, targets, initial_state, lengths, masks
            if not all(map(_is_read_as_it_is, jax.tree.leaves(given))):
                _checked(*given, loss=loss, reduction=reduction, remat=remat)  # raises what is wrong with it
            cost, gradients = _run(program, given, _number_of_parts(given, remat))
        return cost, gradients.network

    return loss_and_gradients_of


def _is_read_as_it_is(leaf: Any) -> bool:
    """Does ``jax.jit`` take this array without a cast, or a refusal of its own? It reads foreign byte orders as the machine's."""
    if isinstance(leaf, jax.Array):
        return True
    known = type(leaf) is np.ndarray and leaf.dtype.isnative and leaf.dtype.kind in "iuf"
    return known and (leaf.dtype != np.float64 or jax.config.read("jax_enable_x64"))


def _number_of_parts(unchecked: tuple, remat: Any) -> int:
    """1 for what the checks are going to refuse; and with ``remat``, whose memory the parts' copies of their sequences would take again."""
    network, inputs, *others = unchecked
    if remat is not False and remat is not None:
        return 1
    try:
        return cores.number_of_parts(layer_arguments.as_levels(network.layers), inputs, (network.readout, others))
    except (AttributeError, TypeError, ValueError):
        return 1


def _gradients(
    network: Network, inputs: Array, targets: Array, loss: str = "squared_error", reduction: str = "mean", *,
    initial_state: Any = None, lengths: Array | None = None, masks: Any = None, remat: bool | int = False, with_inputs: bool,
) -> tuple[Array, CostGradients]:  # fmt: skip
    with double_where_asked(network, inputs, initial_state):
        unchecked = network, inputs, targets, initial_state, lengths, masks
        given, k = _checked(*unchecked, loss=loss, reduction=reduction, remat=remat)
        program = functools.partial(_part, loss=loss, reduction=reduction, k=k, with_inputs=with_inputs)
        return _run(program, given, _number_of_parts(given, remat))


def _checked(
    network: Network, inputs: Array, targets: Array, initial_state: Any, lengths: Any, masks: Any, *, loss: str, reduction: str, remat: Any
) -> tuple[tuple, int | None]:
    """-> (network, inputs, targets, initial state, lengths, masks) as JAX arrays, and the length of a segment."""
    one_of("loss", loss, LOSSES)
    one_of("reduction", reduction, net.REDUCTIONS)
    if not isinstance(network, Network):
        raise BadInput(f"network: expected an lstm.Network; got {type(network).__name__}")
    levels = layer_arguments.as_levels(network.layers)
    dimensions = Dimensions()
    inputs, counted = arguments.check_inputs(inputs, lengths, dimensions)
    top = arguments.check_readout(network, layer_arguments.check_layers(levels, dimensions))
    targets = arguments.check_targets(targets, loss, counted, lengths is not None, top)
    masks = layer_arguments.check_masks(levels, masks, dimensions)
    k = checkpointed.segment_length(remat, levels, dimensions.sizes["T"])
    state = layer_arguments.initial_states(levels, initial_state, dimensions.sizes["B"], dimensions.dtype)
    arrays = arguments.as_jax(Network(levels, network.readout), inputs, targets, state)
    return (*arrays, lengths, arguments.as_jax(masks)[0]), k


def _run(program: Callable, given: tuple, parts: int) -> tuple[Array, CostGradients]:
    if parts == 1:
        return program(given, np.int32(0), parts=1)
    return cores.spread(functools.partial(program, parts=parts), arguments.as_jax(given)[0], parts)


def _one_part(
    given: tuple, part: Array, *, loss: str, reduction: str, k: int | None, with_inputs: bool, parts: int
) -> tuple[Array, CostGradients]:
    """What the sequences of part number ``part`` contribute to the cost and its gradients. ``given``: see `_checked`."""
    network, inputs, targets, initial_state, lengths, masks = given
    batch = net.weighted(inputs, targets, initial_state, lengths, masks, reduction)
    if parts > 1:
        batch = net.cut(batch, part * (inputs.shape[1] // parts), parts)
    if k is None:
        return net.of_batch(network, loss, batch, with_inputs, one_core=parts > 1)
    return checkpointed.of_batch(network, loss, batch, k, with_inputs)


_part = jax.jit(_one_part, static_argnames=("loss", "reduction", "k", "with_inputs", "parts"))
