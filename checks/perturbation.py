"""What the difference estimators share: steps, chunks that fit memory, and the error of a central difference.

One entry w of the parameters is moved to ``w + step`` and ``w - step``; the difference of whatever is measured
is divided by the *realised* width, (w + step) - (w - step) as rounded, which is exact to the last bit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checks.arguments import described
from checks.problem import Cost, only_cost
from lstm import BadInput

DEFAULT_MEMORY = 256 * 2**20  # bytes for the perturbed copies of one chunk

NOISE_SAMPLES = 32  # evaluations of the cost by which its rounding is measured
DEVIATIONS = 8  # of rounding, that an error estimate claims

# (plus parameters, minus parameters, constants) -> what the two passes differ by
Delta = Callable[[Any, Any, Any], Any]


def default_step(dtype: Any) -> float:
    """ε^(1/3): truncation ~ step² meets rounding ~ ε / step. Times max(1, |w|) for each weight."""
    return float(np.finfo(dtype).eps ** (1 / 3))


def positive_step(step: Any) -> None:
    if isinstance(step, bool) or not isinstance(step, (int, float, np.number)) or not (np.isfinite(step) and step > 0):
        raise BadInput(f"step: expected a positive number; got {described(step)}")


@dataclasses.dataclass(frozen=True)
class Differences:
    """Central differences of every parameter at one step size, and whether the step vanished anywhere."""

    value: np.ndarray  # (P,) or (P, …) as the delta returns
    vanished: bool


class Differencer:
    """Compiles ``delta`` once and applies it to every parameter at any step size."""

    def __init__(self, problem: Cost, delta: Delta, constants: Any = None, memory: int = DEFAULT_MEMORY):
        self.problem = only_cost(problem)
        self.constants = constants
        self.chunk = chunk_size(problem.size, 2 * bytes_of_pass(problem), memory)
        flat = problem.flat

        def of_one(index, plus, minus, constants):
            base = jnp.asarray(flat)
            moved = [problem.unflatten(base.at[index].set(to)) for to in (plus, minus)]
            return delta(moved[0], moved[1], constants)

        self._chunk_of_deltas = jax.jit(jax.vmap(of_one, in_axes=(0, 0, 0, None)))

    @property
    def copies(self) -> int:
        """Perturbed copies run at one step size: P, and the indices that the last chunk repeats."""
        return rounded_up(self.problem.size, self.chunk)

    def __call__(self, step: float) -> Differences:
        """Differences of all P parameters with steps ``step * max(1, |w|)``."""
        positive_step(step)
        flat = self.problem.flat
        steps = (step * np.maximum(1, np.abs(flat))).astype(flat.dtype)
        plus, minus = flat + steps, flat - steps
        width = plus - minus
        with self.problem.scope():
            deltas = in_chunks(lambda i: self._chunk_of_deltas(i, plus[i], minus[i], self.constants), flat.size, self.chunk)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = deltas / width.reshape((-1,) + (1,) * (deltas.ndim - 1))
        return Differences(value=value, vanished=bool((width == 0).any()))


def in_chunks(of_indices: Callable[[np.ndarray], Any], size: int, chunk: int) -> np.ndarray:
    """``of_indices`` of 0 … size - 1, (size, …), by chunks; the last one repeats the last index, so that all share one compiled shape."""
    indices = (np.minimum(np.arange(start, start + chunk), size - 1) for start in range(0, size, chunk))
    return np.concatenate([np.asarray(of_indices(index)) for index in indices])[:size]


def positive_memory(memory: Any) -> None:
    if isinstance(memory, bool) or not isinstance(memory, (int, float, np.number)) or not memory > 0:
        raise BadInput(f"memory: expected a positive number of bytes; got {described(memory)}")


def chunk_size(size: int, per_copy: int, memory: int) -> int:
    """How many copies, of ``per_copy`` bytes each, fit the memory; chunks of equal size, so that few indices are repeated."""
    positive_memory(memory)
    largest = int(np.clip(memory // max(per_copy, 1), 1, size))
    return math.ceil(size / math.ceil(size / largest))


def rounded_up(size: int, chunk: int) -> int:
    """How many copies `in_chunks` really runs."""
    return math.ceil(size / chunk) * chunk


def extrapolate(at_step: np.ndarray, at_double: np.ndarray, noise_of_value: Any) -> tuple[np.ndarray, np.ndarray]:
    """Richardson's value from differences D(s), D(2s), and an estimate of its error.

    D(s) = g + a s² + O(s⁴), so (4 D(s) - D(2s)) / 3 = g + O(s⁴), and |D(2s) - D(s)| / 3 is the term removed: more than
    what is left, as long as the series converges. To it is added what rounding does: ``noise_of_value`` is the standard
    deviation of D(s); that of the extrapolated value is √((4/3)² + (1/6)²) = 1.35 times that. 8 deviations are claimed: with
    the deviation itself known to a quarter, not one in a million entries lies outside, so that no gradient is refused by chance.
    """
    value = (4 * at_step - at_double) / 3
    return value, np.abs(at_double - at_step) / 3 + DEVIATIONS * 1.35 * noise_of_value


def noise_offsets(dtype: Any, samples: int = NOISE_SAMPLES, step: float | None = None) -> np.ndarray:
    """(samples,): evenly spaced over all that the differences reach, twice the step to either side.

    Rounding errors at points much closer together than the steps are much alike, in a sum over many timesteps most of all: what
    they have in common would not be seen, and it differs at the ends of a step.
    """
    reach = 2 * (default_step(dtype) if step is None else step)
    return np.linspace(-reach, reach, samples)


def noise_line(flat: np.ndarray, seed: int = 0) -> np.ndarray:
    """(P,): a direction in which all parameters move, together about as far as one in a difference."""
    generator = np.random.default_rng(seed)
    line = generator.choice([-1.0, 1.0], flat.size) * generator.uniform(0.5, 1.0, flat.size) / np.sqrt(flat.size)
    return line * np.maximum(1, np.abs(flat))


def noise_points(problem: Cost, samples: int = NOISE_SAMPLES, seed: int = 0) -> np.ndarray:
    """(samples, P): points along a line through the parameters."""
    flat = problem.flat
    return (flat + noise_offsets(problem.dtype, samples)[:, None] * noise_line(flat, seed)).astype(flat.dtype)


def noise_of_values(costs: np.ndarray, dtype: Any) -> float:
    """The standard deviation of the rounding error in a smooth function's values at evenly spaced points (`noise_offsets`).

    What a polynomial of degree 8 cannot follow over so short a stretch is noise: the residual of the least-squares fit, its
    degrees of freedom counted. Never below the rounding of the result itself, ε |C| / √12.
    """
    costs = np.asarray(costs, np.float64)
    if not np.isfinite(costs).all():
        return float("nan")  # the cost overflows: no claim
    degree = min(8, len(costs) // 2 - 1)
    basis = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, len(costs)), degree)
    values = costs - costs[len(costs) // 2]  # exact, so near are they: the fit's own rounding is small against theirs
    residual = values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0]
    deviation = np.sqrt((residual**2).sum() / (len(costs) - degree - 1))
    return float(max(deviation, float(np.finfo(dtype).eps) * float(np.abs(costs).max()) / np.sqrt(12)))


def cost_noise(problem: Cost) -> float:
    """The standard deviation of the rounding error in the cost, measured along a line, once for each problem."""
    if "noise" not in problem.memo:
        with problem.scope():
            cost = jax.jit(lambda vector: problem.cost(problem.unflatten(vector)))
            costs = np.array([float(cost(point)) for point in noise_points(problem)])
        problem.memo["noise"] = noise_of_values(costs, problem.dtype)
    return problem.memo["noise"]


def noise_of_difference(problem: Cost, cost_deviation: float, step: float) -> np.ndarray:
    """(P,): the standard deviation of (C₊ - C₋) / width where each cost has the given deviation."""
    return cost_deviation / (np.sqrt(2) * step * np.maximum(1, np.abs(problem.flat.astype(np.float64))))


def bytes_of_pass(problem: Cost) -> int:
    """What one perturbed pass holds: its copy of the parameters, and about 10 arrays of a state's size."""
    state_size = 0
    if hasattr(problem, "start"):
        state_size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(_shape_of_start(problem)))
    # Two states, the pre-activations of four gates, and temporaries
    return (problem.size + 10 * state_size) * problem.dtype.itemsize


def _shape_of_start(problem: Any) -> Any:
    with problem.scope():
        return jax.eval_shape(problem.start, problem.parameters)
