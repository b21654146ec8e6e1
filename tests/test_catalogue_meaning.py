"""That a mutant is the bug it says it is: automatic differentiation of a forward pass cut in the same place.

Where a bug drops a path, ``stop_gradient`` cuts the same path; where it replaces a derivative, a straight-through term
``value + (wanted - stop_gradient(wanted))`` keeps the value and gives it the derivative of ``wanted``. The forward pass here is
written again from the LSTM's equations and shares nothing with the mutable backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import catalogue_probes as probes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm
from checks.catalogue import bugs_for, named
from checks.catalogue.mutants import gradients
from checks.estimate import flatten
from checks.problem import Problem

cut = jax.lax.stop_gradient
SIZES = (4, 3, 5, 5, 2)  # T, B, D, H, K; D = H, so that every bug can be planted
ALL, NETWORK_AND_INPUTS = slice(None), slice(0, 6)  # of the leaves; the initial state's two come last


def with_derivative_of(wanted: Any, value: Any) -> Any:
    return cut(value) + wanted - cut(wanted)


def with_slope(slope: Any, z: Any, value: Any) -> Any:
    """``value``, which depends on z by this derivative."""
    return with_derivative_of(cut(slope) * z, value)


def act(q: str, z: Any) -> Any:
    return jnp.tanh(z) if q == "g" else jax.nn.sigmoid(z)


class Surgery:
    """The forward pass of one timestep in pieces; a test replaces one piece."""

    def __init__(self, **pieces: Callable[..., Any]):
        self.__dict__.update(pieces)

    def carried(self, t, h, c):
        return h, c

    def weights(self, t, layer):
        return layer

    def source(self, q, which, value):
        """What gate q sees of the inputs ("x") or of the hidden state ("h")."""
        return value

    def gate(self, q, z):
        return act(q, z)

    def cell(self, i, f, g, c):
        return f * c + i * g

    def output(self, o, c):
        return o * jnp.tanh(c)


def cost(surgery: Surgery, p: lstm.CostGradients, targets: np.ndarray) -> Any:
    """Mean over (t, b) of ‖y - target‖², with the surgery."""
    state, total = p.initial_state[0], 0.0
    h, c = state.h, state.c
    for t in range(len(targets)):
        h, c = surgery.carried(t, h, c)
        layer = surgery.weights(t, p.network.layers[0])
        gates = {}
        for q, w_x, w_h, b in zip("ifgo", *(jnp.split(w, 4, axis=-1) for w in (layer.w_x, layer.w_h, layer.b)), strict=True):
            z = surgery.source(q, "x", p.inputs[t]) @ w_x + surgery.source(q, "h", h) @ w_h + b
            gates[q] = surgery.gate(q, z)
        c = surgery.cell(gates["i"], gates["f"], gates["g"], c)
        h = surgery.output(gates["o"], c)
        total += jnp.sum((h @ p.network.readout.w + p.network.readout.b - targets[t]) ** 2)
    return total / targets[:, :, 0].size


def only_at(step: int, *names: str) -> Callable[..., Any]:
    def weights(t, layer):
        kept = {name: w if t == step or name not in names else cut(w) for name, w in vars(layer).items()}
        return lstm.Layer(**kept)

    return weights


def not_at_first(*names: str) -> Callable[..., Any]:
    return lambda t, layer: lstm.Layer(**{name: cut(w) if t == 0 and name in names else w for name, w in vars(layer).items()})


SURGERIES: dict[str, tuple[Surgery, slice]] = {
    "no-dh-carry": (Surgery(carried=lambda t, h, c: (cut(h), c)), NETWORK_AND_INPUTS),
    "no-dc-carry": (Surgery(carried=lambda t, h, c: (h, cut(c))), NETWORK_AND_INPUTS),
    "no-carries": (Surgery(carried=lambda t, h, c: (cut(h), cut(c))), NETWORK_AND_INPUTS),
    "detached-every-2-steps": (Surgery(carried=lambda t, h, c: (cut(h), cut(c)) if t == 2 else (h, c)), ALL),
    "dc-carry-without-f": (Surgery(cell=lambda i, f, g, c: f * cut(c) + (c - cut(c)) + i * g), ALL),
    "dc-carry-uses-i": (Surgery(cell=lambda i, f, g, c: f * cut(c) + cut(i) * (c - cut(c)) + i * g), ALL),
    "dh-misses-gate-f": (Surgery(source=lambda q, which, v: cut(v) if (q, which) == ("f", "h") else v), ALL),
    "inputs-miss-gate-g": (Surgery(source=lambda q, which, v: cut(v) if (q, which) == ("g", "x") else v), ALL),
    "gate-o-missing": (Surgery(gate=lambda q, z: act(q, cut(z) if q == "o" else z)), ALL),
    "no-derivative-of-f": (Surgery(gate=lambda q, z: with_derivative_of(z, act(q, z)) if q == "f" else act(q, z)), ALL),
    "no-derivative-of-ifgo": (Surgery(gate=lambda q, z: with_derivative_of(z, act(q, z))), ALL),
    "gates-use-tanh-derivative": (Surgery(gate=lambda q, z: with_slope(1 - act(q, z) ** 2, z, act(q, z))), ALL),
    "candidate-uses-sigmoid-derivative": (
        Surgery(gate=lambda q, z: with_slope(jnp.tanh(z) * (1 - jnp.tanh(z)), z, jnp.tanh(z)) if q == "g" else act(q, z)), ALL,
    ),
    "sigmoid-twice-in-derivative-of-i": (
        Surgery(gate=lambda q, z: with_slope(act("f", act("f", z)) * (1 - act("f", act("f", z))), z, act(q, z)) if q == "i" else act(q, z)),
        ALL,
    ),
    "no-tanh-derivative": (Surgery(output=lambda o, c: o * with_derivative_of(c, jnp.tanh(c))), ALL),
    "no-path-from-h-to-c": (Surgery(output=lambda o, c: o * jnp.tanh(cut(c))), ALL),
    "no-output-gate-in-dc": (Surgery(output=lambda o, c: with_derivative_of(o * cut(jnp.tanh(c)) + jnp.tanh(c), o * jnp.tanh(c))), ALL),
    "output-gate-uses-c": (
        Surgery(output=lambda o, c: with_derivative_of(o * cut(c) + cut(o) * jnp.tanh(c), o * jnp.tanh(c))), ALL,
    ),
    "forget-gate-uses-new-c": (
        Surgery(cell=lambda i, f, g, c: with_derivative_of(cut(f) * c + f * cut(f * c + i * g) + i * g, f * c + i * g)), ALL,
    ),
    "input-and-candidate-swapped": (
        Surgery(cell=lambda i, f, g, c: with_derivative_of(f * c + i * cut(i) + g * cut(g), f * c + i * g)), ALL,
    ),
    "candidate-squashed-twice": (
        Surgery(cell=lambda i, f, g, c: with_derivative_of(f * c + i * cut(jnp.tanh(g)) + cut(i) * g, f * c + i * g)), ALL,
    ),
    "w-h-misses-h0": (Surgery(weights=not_at_first("w_h")), ALL),
    "only-first-step-in-w-x": (Surgery(weights=only_at(0, "w_x")), ALL),
    "only-last-step-in-b": (Surgery(weights=only_at(3, "b")), ALL),
    "only-first-step-in-all": (Surgery(weights=only_at(0, "w_x", "w_h", "b")), ALL),
}  # fmt: skip


@pytest.fixture(scope="module")
def probe():
    return probes.draw(11, "squared_error", sizes=SIZES, lengths=False)


def differentiated(surgery: Surgery, probe: probes.Probe) -> list[Any]:
    parameters = lstm.CostGradients(network=probe.network, inputs=probe.inputs, initial_state=probe.initial_state)
    with jax.enable_x64(True):
        return jax.tree.leaves(jax.grad(lambda p: cost(surgery, p, probe.targets))(jax.tree.map(jnp.asarray, parameters)))


def test_without_surgery_it_is_the_gradient(probe):
    assert probes.excess(gradients(probe.case), differentiated(Surgery(), probe), probes.rounding_of(probe)) <= 1


@pytest.mark.parametrize("name", SURGERIES)
def test_a_mutant_is_the_gradient_of_the_forward_pass_cut_in_the_same_place(name, probe):
    surgery, comparable = SURGERIES[name]
    case = probe.case
    bug = named(name, case)
    mutant = jax.tree.leaves(gradients(case, [bug]))
    allowed = probes.rounding_of(probe, bug)
    assert probes.excess(mutant[comparable], differentiated(surgery, probe)[comparable], allowed[comparable]) <= 1


@pytest.mark.parametrize("steps", [2, 3])
def test_truncation_drops_the_paths_longer_than_the_window(steps, probe):
    """The loss of t, differentiated with the state before t - steps + 1 held fixed, summed over t."""
    total = 0
    for end in range(1, SIZES[0] + 1):
        surgery = Surgery(carried=lambda t, h, c, first=end - steps: (cut(h), cut(c)) if t == first > 0 else (h, c))
        # `cost` is a mean over its own timesteps: undo that, and subtract the earlier losses under the same surgery
        for count, sign in ((end, 1), (end - 1, -1)):
            if count:
                total = total + sign * count * flatten(differentiated(surgery, probe.but(targets=probe.targets[:count])))
    mutant = gradients(probe.case, [named(f"truncated-to-{steps}-steps", probe.case)])
    # Each of the 2 T gradients that were added and subtracted rounds by itself
    allowed = [2 * SIZES[0] * tol for tol in probes.rounding_of(probe)]
    assert probes.excess(mutant, probe.problem.unflatten(total / SIZES[0]), allowed) <= 1


def test_padding_counted_is_the_gradient_with_the_lengths_ignored_but_in_the_mean():
    probe = probes.draw(12)
    whole = Problem.from_network(
        probe.network, probe.inputs, probe.targets, loss=probe.loss, initial_state=probe.initial_state, reduction="sum", wrt="all"
    )
    with whole.scope():
        expected = jax.tree.map(lambda leaf: np.asarray(leaf) / probe.lengths.sum(), jax.grad(whole.cost)(whole.parameters))
    unpadded = probe.but(lengths=None)
    assert probes.excess(gradients(probe.case, [named("padding-counted", probe.case)]), expected, probes.rounding_of(unpadded)) <= 1


def test_the_mean_of_sequence_means_is_the_gradient_of_that_cost():
    probe = probes.draw(13, "squared_error")
    batch = len(probe.lengths)
    network, inputs = 0.0, np.zeros_like(probe.inputs)
    for b, length in enumerate(probe.lengths):
        own = {"initial_state": jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], probe.initial_state)}
        _, d = lstm.loss_and_all_gradients(probe.network, probe.inputs[:length, b : b + 1], probe.targets[:length, b : b + 1], **own)
        network = network + flatten(d.network) / batch
        inputs[:length, b] = np.asarray(d.inputs)[:, 0] / batch
    mutant = gradients(probe.case, [named("mean-of-sequence-means", probe.case)])
    allowed = max(probes.rounding_of(probe))
    assert np.abs(flatten(mutant.network) - network).max() <= allowed
    assert np.abs(mutant.inputs - inputs).max() <= allowed


def test_every_bug_can_be_planted_on_this_probe(probe):
    assert set(SURGERIES) <= {bug.name for bug in bugs_for(probe.case)}
