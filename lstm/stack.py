"""Layers on top of one another: each layer's outputs are the next one's inputs.

The structure of ``layers`` is the configuration. `initial_state`, residuals and gradients have the
same structure: one of each per layer, lowest first.
"""

from __future__ import annotations

from lstm import sequence
from lstm.parameters import Array, Gradients, Layer, State
from lstm.sequence import Residuals, valid_steps

Layers = tuple[Layer, ...]
States = tuple[State, ...]


def forward(
    layers: Layers, inputs: Array, initial_state: States, lengths: Array | None
) -> tuple[Array, States, tuple[Residuals, ...]]:
    valid = None if lengths is None else valid_steps(lengths, inputs.shape[0])
    final_states, all_residuals = [], []
    outputs = inputs
    for layer, state in zip(layers, initial_state, strict=True):
        outputs, final_state, residuals = sequence.forward(layer, outputs, state, valid)
        final_states.append(final_state)
        all_residuals.append(residuals)
    return outputs, tuple(final_states), tuple(all_residuals)


def backward(layers: Layers, residuals: tuple[Residuals, ...], d_outputs: Array, d_final_state: States) -> Gradients:
    d_layers, d_initial_states = [], []
    # Reverse of the loop over layers: what a layer's inputs receive is the upstream gradient below it
    for layer, kept, d_state in reversed(list(zip(layers, residuals, d_final_state, strict=True))):
        gradients = sequence.backward(layer, kept, d_outputs, d_state)
        d_outputs = gradients.inputs
        d_layers.append(gradients.layers)
        d_initial_states.append(gradients.initial_state)
    return Gradients(layers=tuple(reversed(d_layers)), inputs=d_outputs, initial_state=tuple(reversed(d_initial_states)))
