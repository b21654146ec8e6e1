"""What a gradient is of: the layers, the data, and where gradients come from; as one value, in float64."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstm
from checks.oracle.cost import Data
from lstm.levels import directions


@dataclasses.dataclass(frozen=True, eq=False)
class OracleCase:
    """A cost, or upstream gradients, of a stack of layers. All floating-point arrays are float64 NumPy.

    Attributes:
        layers: levels, lowest first.
        inputs: (T, B, D); zeros past each sequence's length.
        initial_state: one per level.
        lengths: (B,) integers, or None where every timestep counts.
        masks: one `lstm.Masks` per level, in a `Bidirectional` for two directions; None where there are none.
        d_outputs, d_final_state: upstream gradients, (T, B, R) and one state per level; None for a cost.
        readout, targets, loss, reduction: of a cost, as for `lstm.loss_and_gradients`; targets None otherwise. Probability
            vectors need not sum to 1 in float64: a float32 file's do so in float32.
    """

    layers: tuple[Any, ...]
    inputs: np.ndarray
    initial_state: tuple[Any, ...]
    lengths: np.ndarray | None = None
    masks: tuple[Any, ...] | None = None
    d_outputs: np.ndarray | None = None
    d_final_state: tuple[Any, ...] | None = None
    readout: lstm.Readout | None = None
    targets: np.ndarray | None = None
    loss: str = "squared_error"
    reduction: str = "mean"

    @property
    def is_cost(self) -> bool:
        return self.targets is not None

    @property
    def valid(self) -> np.ndarray:
        """(T, B) booleans: does timestep t of sequence b count?"""
        timesteps, batch = self.inputs.shape[:2]
        return np.ones((timesteps, batch), bool) if self.lengths is None else np.arange(timesteps)[:, None] < self.lengths

    @property
    def loss_weights(self) -> np.ndarray:
        """(T, B): what each timestep's loss counts."""
        return self.valid / (self.valid.sum() if self.reduction == "mean" else 1)

    @property
    def straight_through(self) -> bool:
        """Does some layer pass gradients straight through its clipping, so that they are not those of the forward pass?"""
        clips = [direction.layer.clip for level in self.layers for direction in directions(level)]
        return any(clip is not None and clip.derivative == "straight_through" for clip in clips)

    def forward(self) -> tuple[np.ndarray, tuple[Any, ...]]:
        """Outputs (T, B, R) and final states, by `lstm.forward`."""
        outputs, final_state, _ = lstm.forward(self.layers, self.inputs, self.initial_state, lengths=self.lengths, masks=self.masks)
        return np.asarray(outputs), jax.tree.map(np.asarray, final_state)

    def hand_gradients(self) -> tuple[lstm.CostGradients, tuple[Any, ...]]:
        """Of everything, derived by hand; and the `lstm.Internals` of each level. The readout's is None for upstream gradients."""
        outputs, _, residuals = lstm.forward(self.layers, self.inputs, self.initial_state, lengths=self.lengths, masks=self.masks)
        d_outputs, d_readout = self.d_outputs, None
        if self.is_cost:
            d_outputs, d_readout = self._cost_backward(np.asarray(outputs))
        gradients, internals = lstm.backward_with_internals(self.layers, residuals, d_outputs, self.d_final_state)
        network = lstm.Network(gradients.layers, d_readout)
        found = lstm.CostGradients(network=network, inputs=gradients.inputs, initial_state=gradients.initial_state)
        return jax.tree.map(np.asarray, (found, internals))

    def _cost_backward(self, outputs: np.ndarray) -> tuple[np.ndarray, lstm.Readout | None]:
        """The cost's gradient on the outputs and on the readout, with the loss's own derivative."""
        y = outputs if self.readout is None else outputs @ self.readout.w + self.readout.b
        with jax.enable_x64(True):
            d_loss = np.asarray(lstm.LOSSES[self.loss].backward(jnp.asarray(y), jnp.asarray(self.targets)))
        d_y = d_loss * self.loss_weights[:, :, None]
        if self.readout is None:
            return d_y, None
        w = outputs.reshape(-1, outputs.shape[-1]).T @ d_y.reshape(-1, d_y.shape[-1])
        return d_y @ self.readout.w.T, lstm.Readout(w=w, b=d_y.sum(axis=(0, 1)))

    @property
    def parameters(self) -> lstm.CostGradients:
        """Everything there is a gradient of."""
        return lstm.CostGradients(network=lstm.Network(self.layers, self.readout), inputs=self.inputs, initial_state=self.initial_state)

    @property
    def data(self) -> Data:
        """The rest, as `checks.oracle.cost` takes it."""
        return Data(
            lengths=self.lengths, masks=self.masks, d_outputs=self.d_outputs, d_final_state=self.d_final_state, targets=self.targets,
            loss_weights=self.loss_weights if self.is_cost else None, loss=self.loss if self.is_cost else "",
        )  # fmt: skip
