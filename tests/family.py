"""Random members of the LSTM family: any variant with any other, generic values, every size different."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import lstm

T, B, D, H, R, K = 6, 3, 4, 5, 2, 7
ACTIVATIONS = ("sigmoid", "tanh", "identity", "relu", "softsign", "hard_sigmoid(0.2)")


class Member(NamedTuple):
    """A stack and everything that goes with it."""

    layers: tuple[Any, ...]
    inputs: np.ndarray
    initial_state: tuple[Any, ...]
    lengths: np.ndarray | None
    masks: tuple[Any, ...]
    d_outputs: np.ndarray
    d_final_state: tuple[Any, ...]

    def run(self) -> tuple[Any, Any, Any]:
        return lstm.forward(self.layers, self.inputs, self.initial_state, lengths=self.lengths, masks=self.masks)


class Draw:
    """Draws from one seed. ``smooth`` leaves out what has kinks: relu, hard sigmoid, clipping."""

    def __init__(self, seed: int, smooth: bool = False) -> None:
        self.generator = np.random.default_rng(seed)
        self.smooth = smooth

    def normal(self, *shape: int) -> np.ndarray:
        return 0.6 * self.generator.normal(size=shape)

    def sometimes(self, probability: float) -> bool:
        return bool(self.generator.random() < probability)

    def layer(self, fan_in: int) -> lstm.Layer:
        projected, coupled = self.sometimes(0.4), self.sometimes(0.4)
        recurrent, blocks = (R if projected else H), (3 if coupled else 4)
        names = ("sigmoid", "tanh") if self.smooth else ACTIVATIONS
        chosen = lstm.Activations(*(str(name) for name in self.generator.choice(names, 3)))
        return lstm.Layer(
            w_x=self.normal(fan_in, blocks * H),
            w_h=self.normal(recurrent, blocks * H),
            b=self.normal(blocks * H),
            peepholes=self.normal(blocks - 1, H) if self.sometimes(0.5) else None,
            projection=self.normal(H, R) if projected else None,
            activations=chosen if self.sometimes(0.6) else lstm.Activations(),
            clip=lstm.CellClip(0.5) if not self.smooth and self.sometimes(0.3) else None,
        )

    def masks(self, fan_in: int, recurrent: int) -> lstm.Masks:
        return lstm.Masks(
            inputs=self.normal(T, B, fan_in) if self.sometimes(0.4) else None,
            recurrent=self.normal(T, B, recurrent) if self.sometimes(0.4) else None,
            zoneout_h=self.generator.random((T, B, recurrent)) if self.sometimes(0.4) else None,
            zoneout_c=self.generator.random((T, B, H)) if self.sometimes(0.4) else None,
        )

    def member(self, kinds: str) -> Member:
        """``kinds``, one letter per level, lowest first: f(orward), r(eversed), b(oth directions)."""
        fan_in, levels, states, masks = D, [], [], []
        for kind in kinds:
            parts = [self.layer(fan_in) for _ in range(2 if kind == "b" else 1)]
            own_masks = [self.masks(fan_in, part.recurrent_size) for part in parts]
            own_states = [lstm.State(h=self.normal(B, part.recurrent_size), c=self.normal(B, H)) for part in parts]
            pair = kind == "b"
            levels.append(lstm.Bidirectional(*parts) if pair else lstm.Reversed(parts[0]) if kind == "r" else parts[0])
            states.append(lstm.Bidirectional(*own_states) if pair else own_states[0])
            masks.append(lstm.Bidirectional(*own_masks) if pair else own_masks[0])
            fan_in = sum(part.recurrent_size for part in parts)
        lengths = self.generator.permutation([T, T - 2, 0]) if self.sometimes(0.5) else None
        d_states = [
            lstm.Bidirectional(*(self._like(side) for side in (state.forward, state.reverse)))
            if isinstance(state, lstm.Bidirectional)
            else self._like(state)
            for state in states
        ]
        return Member(
            tuple(levels), self.normal(T, B, D), tuple(states), lengths, tuple(masks), self.normal(T, B, fan_in), tuple(d_states)
        )

    def _like(self, state: lstm.State) -> lstm.State:
        return lstm.State(h=self.normal(*state.h.shape), c=self.normal(*state.c.shape))
