"""Train a small LSTM on the adding problem inside an ordinary JAX program, next to the same network under plain autodiff.

The task (Hochreiter and Schmidhuber, 1997): each sequence holds random numbers and marks two of them; the target, after
the last step, is their sum. Always answering 1 scores a mean squared error of 1/6.

`lstm.layer` is an ordinary function to JAX. Its reverse rule is the hand-derived backward pass, so ``jax.grad`` of the
model below runs it. The plain network is a ``jax.lax.scan`` that JAX differentiates by itself. Same seed, same data, same
update: the two loss curves agree to rounding.

    python examples/adding_problem.py --steps 600
"""

from __future__ import annotations

import argparse
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstm

T, B, H = 20, 64, 32
LEARNING_RATE = 0.01


def batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (T, B, 2): a number and a mark; targets (B,)."""
    numbers = generator.uniform(0, 1, (T, B))
    marks = np.zeros((T, B))
    for b in range(B):
        marks[generator.choice(T, 2, replace=False), b] = 1
    inputs = np.stack([numbers, marks], axis=-1).astype(np.float32)
    return inputs, (numbers * marks).sum(axis=0).astype(np.float32)


def hand_differentiated(network: lstm.Network, inputs: Any) -> Any:
    """Outputs by `lstm.layer`: its gradient is the hand-written one."""
    return lstm.layer(network.layers, inputs)[0]


def automatically_differentiated(network: lstm.Network, inputs: Any) -> Any:
    """The same outputs by a scan that JAX differentiates."""
    layer = network.layers[0]

    def step(carry, x):
        h, c = carry
        i, f, g, o = jnp.split(x @ layer.w_x + h @ layer.w_h + layer.b, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((inputs.shape[1], H), inputs.dtype)
    return jax.lax.scan(step, (zeros, zeros), inputs)[1]


def train(outputs_of: Any, steps: int, seed: int = 0) -> list[float]:
    """Adam on the mean squared error of the last step's prediction; the loss after each update."""

    def loss(network, inputs, targets):
        last = outputs_of(network, inputs)[-1]
        prediction = (last @ network.readout.w + network.readout.b)[:, 0]
        return jnp.mean((prediction - targets) ** 2)

    @jax.jit
    def update(network, moments, count, inputs, targets):
        value, gradient = jax.value_and_grad(loss)(network, inputs, targets)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, moments[1], gradient)

        def adam(w, m, v):
            return w - LEARNING_RATE * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)

        return jax.tree.map(adam, network, first, second), (first, second), value

    network = lstm.init_network(seed, input_size=2, hidden_size=H, output_size=1, dtype=np.float32)
    zeros = jax.tree.map(jnp.zeros_like, network)
    moments, losses = (zeros, zeros), []
    generator = np.random.default_rng(seed)
    for count in range(1, steps + 1):
        network, moments, value = update(network, moments, float(count), *batch(generator))
        losses.append(float(value))
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    steps = parser.parse_args().steps
    by_hand = train(hand_differentiated, steps)
    by_autodiff = train(automatically_differentiated, steps)
    print(f"{'update':>8}{'hand-written BPTT':>20}{'plain autodiff':>17}   (mean squared error; guessing 1 scores 0.167)")
    for count in sorted({1, 10, *range(100, steps + 1, 100), steps}):
        if count <= steps:
            print(f"{count:>8}{by_hand[count - 1]:>20.5f}{by_autodiff[count - 1]:>17.5f}")


if __name__ == "__main__":
    main()
