"""Our side of the comparison with PyTorch: a case (see torch_reference) through `lstm`, and the judgement.

Results have PyTorch's names and layouts, so that ours and PyTorch's compare entry by entry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from torch_reference import READOUT, WEIGHTS, Arrays

import lstm
from lstm import Layer, Readout, State

THROUGH_GATES = tuple(f"grad.{name}" for name in (*WEIGHTS, "inputs", "h0"))


def layer_of(case: Arrays) -> Layer:
    """(4H, D), (4H, H) and two biases -> w_x (D, 4H), w_h (H, 4H) and their sum. Both have the gate order i, f, g, o."""
    return Layer(w_x=case["weight_ih_l0"].T, w_h=case["weight_hh_l0"].T, b=case["bias_ih_l0"] + case["bias_hh_l0"])


def state_of(case: Arrays, h: str = "h0", c: str = "c0") -> State | None:
    """(1, B, H) each -> State; None where the case leaves them out."""
    return State(h=case[h][0], c=case[c][0]) if h in case else None


def network_of(case: Arrays) -> lstm.Network:
    weight, bias = READOUT
    readout = Readout(w=case[weight].T, b=case[bias]) if weight in case else None
    return lstm.Network(layers=(layer_of(case),), readout=readout)


def run_ours(case: Arrays) -> Arrays:
    """What `torch_reference.run` returns, from `lstm.forward`, `lstm.backward` and `lstm.loss_and_all_gradients`."""
    layer, state, lengths = layer_of(case), state_of(case), case.get("lengths")
    outputs, final_state, residuals = lstm.forward(layer, case["inputs"], state, lengths=lengths)
    results = forward_results(outputs, final_state)
    if "targets" not in case:
        gradients = lstm.backward(layer, residuals, case["d_outputs"], state_of(case, "d_h_n", "d_c_n"))
        return results | gradient_results(gradients.layers, gradients.inputs, gradients.initial_state)
    cost, gradients = lstm.loss_and_all_gradients(
        network_of(case),
        case["inputs"],
        case["targets"],
        loss=str(case["loss"]),
        reduction=str(case["reduction"]),
        initial_state=state,
        lengths=lengths,
    )
    results |= {"cost": np.asarray(cost)}
    results |= gradient_results(gradients.network.layers[0], gradients.inputs, gradients.initial_state[0])
    if gradients.network.readout is not None:
        readout = gradients.network.readout
        results |= {f"grad.{READOUT[0]}": np.asarray(readout.w).T, f"grad.{READOUT[1]}": np.asarray(readout.b)}
    return results


def forward_results(outputs: Any, final_state: State) -> Arrays:
    return {"outputs": np.asarray(outputs), "h_n": np.asarray(final_state.h)[None], "c_n": np.asarray(final_state.c)[None]}


def gradient_results(d_layer: Layer, d_inputs: Any, d_state: State) -> Arrays:
    """A gradient on the one bias is the gradient on each of PyTorch's two."""
    return {
        "grad.weight_ih_l0": np.asarray(d_layer.w_x).T,
        "grad.weight_hh_l0": np.asarray(d_layer.w_h).T,
        "grad.bias_ih_l0": np.asarray(d_layer.b),
        "grad.bias_hh_l0": np.asarray(d_layer.b),
        "grad.inputs": np.asarray(d_inputs),
        "grad.h0": np.asarray(d_state.h)[None],
        "grad.c0": np.asarray(d_state.c)[None],
    }


def tolerance(case: Arrays, dtype: Any = np.float64) -> float:
    """How far two correct implementations may lie apart, as a fraction of an array's largest entry.

    The longest path to one entry of a weight gradient rounds, in each timestep, D + H products and sums forward,
    4H backward, and some 24 elementwise operations; then come a sum over T B terms and the readout's K + H.
    Each rounding errs by at most u = eps / 2 of a partial result, which in these contractive networks is no larger
    than the array's largest entry; errors of either sign add up like the root of their number n. Eight
    standard deviations of at most u each: √2 for two implementations, and the rest so that the worst of the
    thousands of entries compared stays inside. 8 u √n is 7e-15 … 6e-14 for the recorded cases.
    """
    timesteps, batch, features = case["inputs"].shape
    hidden = case["weight_hh_l0"].shape[1]
    outputs = case[READOUT[0]].shape[0] if READOUT[0] in case else 0
    roundings = timesteps * (features + hidden + 4 * hidden + 24) + timesteps * batch + outputs + hidden
    return float(8 * (np.finfo(dtype).eps / 2) * np.sqrt(roundings))


def tolerances(case: Arrays, expected: Arrays, dtype: Any = np.float64) -> dict[str, float]:
    """`tolerance` for each array; wider, as saturation makes it, for the gradients that pass through a gate.

    A gate's derivative, a (1 - a) or 1 - a², is computed from an activation a that was rounded near 1: it errs by u
    of 1, however small it is itself. So δ errs by u of what it would be unsaturated, while the array is only
    the largest derivative d as large: the tolerance, a fraction of the array, becomes 1/d as much. PyTorch's float64
    gradients are subject to the same. d is 0.3 to 1 in the recorded cases, except the one whose gates are all
    saturated: 1e-4 there.
    """
    plain = tolerance(case, dtype)
    attenuation = least_attenuation(case, expected["outputs"])
    return {name: plain / attenuation if name in THROUGH_GATES else plain for name in expected}


def least_attenuation(case: Arrays, outputs: np.ndarray) -> float:
    """The largest derivative of any gate, at the timestep where it is smallest. Plain numpy, from recorded outputs."""
    h_previous = np.concatenate([case.get("h0", np.zeros_like(outputs[:1])), outputs[:-1]])
    z = case["inputs"] @ case["weight_ih_l0"].T + h_previous @ case["weight_hh_l0"].T + case["bias_ih_l0"] + case["bias_hh_l0"]
    i, f, g, o = np.split(z.astype(np.float64), 4, axis=-1)
    derivatives = [1 / (2 + np.exp(gate) + np.exp(-gate)) for gate in (i, f, o)] + [1 / np.cosh(g) ** 2]
    return float(np.max(derivatives, axis=(0, 2, 3)).min())


def relative_error(expected: np.ndarray, got: np.ndarray) -> float:
    """The largest difference, over the largest entry of what is expected; NaN if anything is not a number."""
    difference = float(np.max(np.abs(got.astype(np.float64) - expected)))
    scale = float(np.max(np.abs(expected)))
    return difference / scale if scale else (0.0 if difference == 0 else np.inf if difference > 0 else np.nan)


def assert_agree(expected: Arrays, got: Arrays, allowed: dict[str, float]) -> None:
    """Every array of the one is in the other, has its shape, and lies within ``allowed[name]`` of its largest entry."""
    assert set(got) == set(expected), f"compared different arrays: {sorted(set(got) ^ set(expected))}"
    complaints = []
    for name, array in expected.items():
        assert got[name].shape == array.shape, f"{name}: expected shape {array.shape}; got {got[name].shape}"
        error = relative_error(array, got[name])
        if not error <= allowed[name]:  # so that NaN complains too
            at = [int(i) for i in np.unravel_index(np.argmax(np.abs(got[name] - array)), array.shape)]
            complaints.append(f"{name}: off by {error:.2e} of its largest entry, {allowed[name]:.2e} allowed; worst at {at}")
    assert not complaints, "\n".join(complaints)


# Faults to plant in `lstm.cell.backward`. Each changes what a timestep answers, whatever structure it answers in.


def on_previous_state(**change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Changes h or c of the gradient at the previous state: what is carried to the timestep before."""

    def changed(leaf: Any) -> Any:
        if not isinstance(leaf, State):
            return leaf
        return dataclasses.replace(leaf, **{field: function(getattr(leaf, field)) for field, function in change.items()})

    return lambda answer: jax.tree.map(changed, answer, is_leaf=lambda leaf: isinstance(leaf, State))


def on_gate_gradients(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Changes the gradient at the pre-activations, the one array of 4H columns."""

    def faulty(answer: Any) -> Any:
        widest = max(leaf.shape[-1] for leaf in jax.tree.leaves(answer))
        return jax.tree.map(lambda leaf: change(leaf) if leaf.shape[-1] == widest else leaf, answer)

    return faulty


def swap_i_and_f(d_z: Any) -> Any:
    i, f, g, o = jnp.split(d_z, 4, axis=-1)
    return jnp.concatenate([f, i, g, o], axis=-1)


def dropped(carry: Any) -> Any:
    return 0 * carry


FAULTY_STEPS = {
    "dh carry dropped": on_previous_state(h=dropped),
    "dc carry dropped": on_previous_state(c=dropped),
    "gate gradients swapped": on_gate_gradients(swap_i_and_f),
    "relative error 1e-12": on_gate_gradients(lambda d_z: d_z * (1 + 1e-12)),
}
