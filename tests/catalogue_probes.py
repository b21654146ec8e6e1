"""Generic probes for the bug catalogue: the same random data as a `Case` to plant bugs in and as a `Problem` to estimate.

Every size differs from every other, all values are of both signs, and none is zero; `Probe.weakened` takes one of these
properties away.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import checks.tolerance as tolerance
import lstm
from checks.catalogue import Bug, Case
from checks.diagnosis import rounding
from checks.estimate import flatten
from checks.problem import Problem
from lstm import Network, State

# How far a bug's effect is above what rounding can do, at least. The catalogue's faintest bugs, truncation to T - 1 steps
# and a second tanh, reach 1e10 on these probes; a bug below a million times rounding could not be told from a neighbour.
FAR_ABOVE_ROUNDING = 1e6


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """Arrays of one cost, or with ``loss="linear"`` of one set of upstream gradients."""

    network: Network
    inputs: np.ndarray
    targets: Any  # of a cost: as `lstm.loss_and_gradients` takes them; of upstream gradients: (d_outputs, d_final_state)
    initial_state: tuple[State, ...]
    lengths: np.ndarray | None
    loss: str
    reduction: str = "mean"

    @property
    def case(self) -> Case:
        options = {"initial_state": self.initial_state, "lengths": self.lengths}
        if self.loss == "linear":
            return Case.of_upstream(self.network.layers, self.inputs, *self.targets, **options)
        return Case.of_cost(self.network, self.inputs, self.targets, loss=self.loss, reduction=self.reduction, **options)

    @property
    def problem(self) -> Problem:
        """With respect to everything; its parameters have the structure of the case's gradients."""
        if self.loss == "linear":
            return _upstream_problem(self)
        options = {"initial_state": self.initial_state, "lengths": self.lengths, "loss": self.loss, "reduction": self.reduction}
        return Problem.from_network(self.network, self.inputs, self.targets, wrt="all", **options)

    def but(self, **changes: Any) -> Probe:
        return dataclasses.replace(self, **changes)


def draw(
    seed: int,
    loss: str = "cross_entropy",
    *,
    sizes: tuple[int, int, int, int, int] = (7, 3, 5, 4, 6),
    layers: int = 1,
    lengths: bool = True,
    reduction: str = "mean",
) -> Probe:
    """``sizes``: T, B, D, H, K. Lengths run from T down to 2 or so; targets are probabilities, or vectors."""
    timesteps, batch, features, hidden, outputs = sizes
    generator = np.random.default_rng(seed)
    upstream = loss == "linear"
    network = lstm.init_network(
        seed, input_size=features, hidden_size=hidden, output_size=None if upstream else outputs, num_layers=layers
    )
    # Larger than a fresh network's weights, so that gates leave the linear part of their range
    network = jax.tree.map(lambda leaf: 2 * np.asarray(leaf), network)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape)

    def states() -> tuple[State, ...]:
        return tuple(State(h=np.tanh(normal(batch, hidden)), c=normal(batch, hidden)) for _ in range(layers))

    if upstream:
        targets: Any = (normal(timesteps, batch, hidden), states())
    elif loss == "cross_entropy":
        targets = generator.dirichlet(np.ones(outputs), size=(timesteps, batch))
    else:
        targets = normal(timesteps, batch, outputs)
    return Probe(
        network=network,
        inputs=normal(timesteps, batch, features),
        targets=targets,
        initial_state=states(),
        lengths=np.maximum(timesteps - 2 * np.arange(batch), min(2, timesteps)) if lengths else None,
        loss=loss,
        reduction=reduction,
    )


def tolerances(problem: Problem) -> list[Any]:
    """For each array: how far apart two correct float64 gradients may be, each within its own rounding."""
    return [2 * allowed for allowed in tolerance.rounding_tolerance(problem)]


def rounding_of(probe: Probe, *bugs: Bug) -> list[float]:
    """`tolerances` by the same model, without the compilation of a differentiated forward pass, most of these tests' time.

    The gate gradients set the scale only: for a wrong one to excuse itself it would have to be wrong by many orders of magnitude.
    """
    return rounding.rounding_of(probe.case, bugs)


def excess(candidate: Any, reference: Any, allowed: list[Any]) -> float:
    """The largest difference over all entries in units of what is allowed for each array; infinite where it is not a number."""
    worst = 0.0
    for a, b, tol in zip(jax.tree.leaves(candidate), jax.tree.leaves(reference), allowed, strict=True):
        difference = np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))
        ratio = np.divide(difference, tol, out=np.where(difference == 0, 0.0, np.inf), where=np.asarray(tol) > 0)
        worst = max(worst, float(np.where(np.isnan(ratio), np.inf, ratio).max()))
    return worst


def faint(planted: tuple[list[Any], Any, dict[str, Any]]) -> dict[str, float]:
    """Of ``planted``, what is allowed, the correct gradient and each bug's by name: the bugs that are not far above rounding."""
    allowed, correct, wrong = planted
    found = {name: excess(gradient, correct, allowed) for name, gradient in wrong.items()}
    return {name: by for name, by in found.items() if by < FAR_ABOVE_ROUNDING}


def alike(planted: tuple[list[Any], Any, dict[str, Any]]) -> list[tuple[str, str]]:
    """Of ``planted``, as for `faint`: the pairs of bugs whose gradients are not far apart."""
    allowed, correct, wrong = planted
    units = np.concatenate([np.full(np.size(leaf), tol) for leaf, tol in zip(jax.tree.leaves(correct), allowed, strict=True)])
    vectors = {name: flatten(gradient) / units for name, gradient in wrong.items()}
    return [(a, b) for a, b in itertools.combinations(vectors, 2) if np.abs(vectors[a] - vectors[b]).max() < FAR_ABOVE_ROUNDING]


def _upstream_problem(probe: Probe) -> Problem:
    """The linear cost Σ d_outputs · outputs + d_h_n · h_n + d_c_n · c_n, whose gradient is the vector-Jacobian product.

    A final state is the state after the sequence's own last timestep, so its term joins that timestep's loss.
    """
    d_outputs, d_final = probe.targets
    timesteps, batch, _ = d_outputs.shape
    ends = np.full(batch, timesteps) if probe.lengths is None else probe.lengths
    last = (np.arange(timesteps)[:, None] == ends - 1)[:, :, None]
    weights = [State(h=last * s.h, c=last * s.c) for s in d_final]
    weights[-1] = State(h=weights[-1].h + d_outputs, c=weights[-1].c)

    def step(p: lstm.Gradients, states: Any, t: Any) -> tuple[Any, Any]:
        new_states, _ = lstm.step(Network(layers=p.layers), states, p.inputs[t])
        return new_states, new_states

    def loss(states: Any, weights_t: Any) -> Any:
        products = jax.tree.map(lambda a, b: jnp.sum(a * b, axis=-1), states, weights_t)
        return sum(jax.tree.leaves(products))

    return Problem(
        parameters=lstm.Gradients(layers=probe.network.layers, inputs=probe.inputs, initial_state=probe.initial_state),
        step=step,
        loss=loss,
        inputs=np.arange(timesteps),
        targets=tuple(weights),
        initial_state=lambda p: p.initial_state,
        reduction="sum",
        lengths=probe.lengths,
    )
