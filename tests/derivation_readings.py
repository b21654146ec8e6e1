"""Section 7 of docs/derivation.md at 60 digits: approach 1, approach 2 in its five readings, and the triangle they slice.

Plain mpmath, one sequence, written from the section's own definitions: s_t = F_t(s_{t-1}, w), L_N(s, w), C(w).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import mpmath
import numpy as np

DIGITS = 60
STEP = mpmath.mpf(10) ** -15  # central differences err by about its square, 1e-30; rounding adds 1e-60 / 1e-15


@dataclasses.dataclass
class Sequence:
    """Parameters w_x, w_h, b, w_y, b_y as one flat vector, (1)-(7) with the mean over T."""

    inputs: Any  # (T, D)
    targets: Any  # (T, K)
    state: Any  # (2, H): h0, c0
    shapes: list[tuple[int, ...]]
    cell_steps: int = 0

    @property
    def timesteps(self) -> int:
        return len(self.inputs)

    def arrays(self, w: Any) -> list[Any]:
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(w, ends[:-1]), self.shapes, strict=True)]

    def step(self, t: int, state: Any, w: Any) -> Any:
        """F_t, with t counted from 1."""
        self.cell_steps += 1
        w_x, w_h, b = self.arrays(w)[:3]
        h, c = state
        z_i, z_f, z_g, z_o = np.split(self.inputs[t - 1] @ w_x + h @ w_h + b, 4)
        c = c / (1 + _exp(-z_f)) + _tanh(z_g) / (1 + _exp(-z_i))
        return np.stack([_tanh(c) / (1 + _exp(-z_o)), c])

    def loss(self, t: int, state: Any, w: Any) -> Any:
        """ω_t ℓ_t where the state after timestep t is ``state``."""
        w_y, b_y = self.arrays(w)[3:]
        return ((state[0] @ w_y + b_y - self.targets[t - 1]) ** 2).sum() / self.timesteps

    def losses(self, copies: list[Any]) -> list[Any]:
        """Every ω_t ℓ_t of the untied network: timestep t uses copies[t - 1]."""
        state, found = self.state, []
        for t, w in enumerate(copies, start=1):
            state = self.step(t, state, w)
            found.append(self.loss(t, state, w))
        return found

    def states(self, w: Any) -> list[Any]:
        """s_0 … s_T of the unperturbed run."""
        states = [self.state]
        for t in range(1, self.timesteps + 1):
            states.append(self.step(t, states[-1], w))
        return states


_tanh, _exp = (np.vectorize(function, otypes=[object]) for function in (mpmath.tanh, mpmath.exp))


def moved(w: Any, entry: int, by: Any) -> Any:
    result = w.copy()
    result[entry] += by
    return result


def triangle(run: Sequence, w: Any, entry: int) -> Any:
    """M[N - 1, k - 1]: the loss at N by the copy of the weight at k."""
    columns = []
    for k in range(run.timesteps):
        above, below = ([moved(w, entry, sign * STEP) if t == k else w for t in range(run.timesteps)] for sign in (1, -1))
        columns.append((np.array(run.losses(above)) - np.array(run.losses(below))) / (2 * STEP))
    return np.array(columns).T


def approach_1(run: Sequence, w: Any, entries: Any, step: Any = STEP) -> Any:
    def cost(parameters: Any) -> Any:
        return sum(run.losses([parameters] * run.timesteps))

    return np.array([(cost(moved(w, k, step)) - cost(moved(w, k, -step))) / (2 * step) for k in entries])


def frozen(run: Sequence, w: Any, entries: Any, step: Any = STEP) -> Any:
    states = run.states(w)

    def contribution(t: int, parameters: Any) -> Any:
        return run.loss(t, run.step(t, states[t - 1], parameters), parameters)

    return _deltas(run, w, entries, step, lambda t, above, below: contribution(t, above) - contribution(t, below))


def shared(run: Sequence, w: Any, entries: Any, step: Any = STEP) -> Any:
    state = run.state

    def delta(t: int, above: Any, below: Any) -> Any:
        nonlocal state
        state = run.step(t, run.state if t == 1 else state, above)
        loss_above = run.loss(t, state, above)
        state = run.step(t, state, below)
        return loss_above - run.loss(t, state, below)

    return _deltas(run, w, entries, step, delta)


def paired(run: Sequence, w: Any, entries: Any, step: Any = STEP) -> Any:
    states = [run.state, run.state]

    def delta(t: int, *sides: Any) -> Any:
        for side, parameters in enumerate(sides):
            states[side] = run.step(t, run.state if t == 1 else states[side], parameters)
        return run.loss(t, states[0], sides[0]) - run.loss(t, states[1], sides[1])

    return _deltas(run, w, entries, step, delta)


def replayed(run: Sequence, w: Any, entries: Any, step: Any = STEP) -> Any:
    return _deltas(run, w, entries, step, lambda t, above, below: run.losses([above] * t)[-1] - run.losses([below] * t)[-1])


def untied(run: Sequence, w: Any, entries: Any, step: Any = STEP) -> Any:
    states = run.states(w)[:-1]

    def cost_from(t: int, parameters: Any) -> Any:
        state = run.step(t, states[t - 1], parameters)
        cost = run.loss(t, state, parameters)
        for later in range(t + 1, run.timesteps + 1):
            state = run.step(later, state, w)
            cost += run.loss(later, state, w)
        return cost

    return _deltas(run, w, entries, step, lambda t, above, below: cost_from(t, above) - cost_from(t, below))


def _deltas(run: Sequence, w: Any, entries: Any, step: Any, delta: Any) -> Any:
    """(P, T): Δ_N for each entry; summed over N, approach 2."""
    rows = [[delta(t, moved(w, k, step), moved(w, k, -step)) for t in range(1, run.timesteps + 1)] for k in entries]
    return np.array(rows) / (2 * step)


def shared_leading_term(run: Sequence, w: Any) -> Any:
    """Σ ω_N [ℓ_N(τ_{2N-1}) - ℓ_N(τ_{2N})] of Proposition 2, which stands over 2ε."""
    tau, total = run.state, mpmath.mpf(0)
    for t in range(1, run.timesteps + 1):
        for sign in (1, -1):
            tau = run.step(t, tau, w)
            total += sign * run.loss(t, tau, w)
    return total
