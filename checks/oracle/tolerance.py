"""How far from the truth each number of a *correct* implementation may be, in the precision that it computes in.

Two things make a correct gradient inexact. With u the unit roundoff and λ = 8:

**Sums over time.** A weight's gradient is G = Σ x δ over n = T B terms. Rounding products and partial sums costs, unless
with probability 2 exp(-λ²/2), at most λ √n u Σ |x| |δ| (Higham and Mary, SIAM J. Sci. Comput. 41, 2019): the same matrix
product over magnitudes. A rounding is no constant u but spread over [-u, u], with standard deviation u / √3, whence √(n/3).

**Everything before.** x and δ themselves are computed, and one timestep's rounding travels through all the others: h_{t-1}
through W_h forward, δ_t through W_hᵀ backward. Following magnitudes through |W_h| would multiply what in truth cancels, and
say nothing at T = 100. Instead the rounding itself is followed: at every place where arithmetic rounds, a random number of
the size of that rounding is added, forward and backward (`checks.oracle.rounding_noise`), and the whole is run again. The spread of
the result, over `SAMPLES` runs, is its standard deviation, and already knows the saturation, the cancellation and the exploding of
this very input. It is measured in float64 at u = 2^-24, float32's own, and scaled to what is finer; for what is coarser it is
measured at that precision's u. For where everything vanishes it is not linear in u: behind an output gate that is closed and a
candidate that is saturated the gradient is 0, what rounding does to either alone as well, and to both at once u² of what they meet.

What is added where, as standard deviations:

    a sum of m products, none over time  √(m/3) u (√Σ p² + |Σ p|)   partial sums in an order that the values know nothing of
    an activation's value                u (sigmoid), 2 u |a| (others)
    its derivative a (1 - a)             2 u, absolutely: computed from the rounded a, so saturation keeps this error
    its derivative 1 - a²                4 u, absolutely: twice what a is off by
    c_t                                  u (|f c| + |i g| + |c|)
    δ_t                                  4 u |δ|                     a product of five factors
    dc_t                                 4 u (|dc_t| + |dc_{t+1}|)

What a function is off by depends on its argument alone, so where a unit is as saturated at every timestep its errors are all
alike: in every other run they have one sign for each unit, not one for each timestep.

Few samples leave the standard deviation of one entry uncertain. The error of entry (r, c) is a sum of x_r δ_c, so variances
look like (row) x (column); each entry gets at least the product of its row's and its column's means over the mean of all.

Where a function has a kink (relu, hard sigmoid, a clipped cell state) all of this is linear only as long as no number crosses
it. A correct implementation may well find itself on the other side of a kink that is within its rounding, and there the
derivative is another. So of such networks more runs are made, with disturbances of `ACROSS` times the candidate's own u, and
the most that an entry moved in any of them is allowed as well: where nothing is near a kink, two to three times as much as before.

Allowed is λ (u + u₆₄) times the two, root of the sum of squares; u₆₄ is for the oracle, which rounds in float64. What
underflows in the candidate's precision is allowed for by its smallest normal number, once for each term of the sum.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import lstm
from checks.oracle.case import OracleCase
from checks.oracle.rounding_noise import SMOOTH
from checks.oracle.rounding_strand import VIRTUAL, Rounding, Strand, noise, product_rounding, times
from checks.precision import Precision, precision_of
from lstm.levels import apart, directions, together, together_as_layers

LAMBDA = 8.0
SAMPLES = 8
CROSSINGS = 32  # runs across kinks: what happens in one run of six is then missed once in 300
ACROSS = 4  # deviations from a kink at which a number may still come to lie beyond it


@dataclasses.dataclass(frozen=True)
class Allowed:
    """Absolute tolerances, each array shaped like what it is for."""

    outputs: np.ndarray
    final_state: tuple[Any, ...]
    gradients: lstm.CostGradients


class RoundingModel:
    """The spread of a correct implementation's results on one case, in units of u. See the module's own text."""

    def __init__(self, case: OracleCase, *, samples: int = SAMPLES, seed: int = 0, ran: Callable[[], None] = lambda: None):
        """``ran`` is called after each of ``samples + 1`` runs."""
        self.case = case
        self.seed = seed
        # What overflows here is no tolerance, and `checks.verify.compare` says so
        with jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):
            masks = case.masks or (None,) * len(case.layers)
            self.strands = [
                _strands(level, case.valid, *own) for level, *own in zip(case.layers, case.initial_state, masks, strict=True)
            ]
            self.true = self._run(None)
            ran()
            self.local, self.terms = self._local()
            self.samples = samples
            self._spreads: dict[float, Any] = {}
            self._allowed: dict[Precision, Allowed] = {}
            self.spread = self._spread(VIRTUAL, ran)

    def _spread(self, unit: float, ran: Callable[[], None] = lambda: None) -> Any:
        """The standard deviation of each result in units of ``unit``, with disturbances of that unit roundoff; measured once."""
        if unit not in self._spreads:
            # Squares of a gradient of 1e-170 would underflow: errors are taken in units of each array's largest entry
            scales = jax.tree.map(lambda leaf: float(np.abs(leaf).max()) or 1.0, self.true)
            squares, rounding = None, Rounding(np.random.default_rng(self.seed), unit)
            with jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):
                for _ in range(self.samples):
                    found = self._run(rounding)
                    ran()
                    error = jax.tree.map(lambda a, b, scale: ((a - b) / (unit * scale)) ** 2, found, self.true, scales)
                    squares = error if squares is None else jax.tree.map(np.add, squares, error)
                deviations = jax.tree.map(lambda square, scale: scale * np.sqrt(_pooled(square / self.samples)), squares, scales)
                self._spreads[unit] = jax.tree.map(np.hypot, deviations, self.local)
        return self._spreads[unit]

    def allowed(self, precision: Any) -> Allowed:
        """For results computed in a dtype, or in a `checks.precision.Precision`."""
        about = precision_of(precision)
        if about not in self._allowed:  # the oracle's confirmation asks for float64 before a file does
            self._allowed[about] = self._measured(about)
        return self._allowed[about]

    def _measured(self, about: Precision) -> Allowed:
        factor = LAMBDA * (about.eps + float(np.finfo(np.float64).eps)) / 2
        smallest = about.tiny
        with np.errstate(over="ignore", invalid="ignore"):
            spread = self._spread(max(VIRTUAL, about.eps / 2))
            found = jax.tree.map(lambda spread, terms: factor * spread + smallest * terms, spread, self.terms)
            if any(_has_kink(direction.layer) for level in self.case.layers for direction in directions(level)):
                found = jax.tree.map(np.add, found, self._across_kinks(about.eps / 2))
        outputs, final_state, gradients = found
        return Allowed(outputs=outputs, final_state=final_state, gradients=gradients)

    def _across_kinks(self, unit: float) -> tuple[np.ndarray, tuple, lstm.CostGradients]:
        """The most that each entry moves in `CROSSINGS` runs with disturbances of `ACROSS` times this unit roundoff."""
        generator = np.random.default_rng(self.seed)
        most = jax.tree.map(np.zeros_like, self.true)
        with jax.enable_x64(True):
            for _ in range(CROSSINGS):
                found = self._run(Rounding(generator, ACROSS * unit))
                most = jax.tree.map(lambda so_far, a, b: np.maximum(so_far, np.abs(a - b)), most, found, self.true)
        return most

    def _run(self, generator: Rounding | None) -> tuple[np.ndarray, tuple, lstm.CostGradients]:
        """Outputs, final state and gradients, disturbed by the generator; without one, the truth."""
        outputs = self.case.inputs
        finals = []
        for level, strands in zip(self.case.layers, self.strands, strict=True):
            ran = [strand.forward(outputs, generator) for strand in strands]
            outputs = np.concatenate([each[0] for each in ran], axis=-1)
            finals.append(together(level, [each[1] for each in ran]))
        top = outputs
        d_outputs, d_readout = self._upstream(outputs, generator)
        d_layers: list[Any] = []
        d_states: list[Any] = []
        for number in reversed(range(len(self.strands))):
            level, strands = self.case.layers[number], self.strands[number]
            widths = np.cumsum([strand.layer.recurrent_size for strand in strands])[:-1]
            ends = apart(level, None if self.case.d_final_state is None else self.case.d_final_state[number])
            parts = zip(strands, np.split(d_outputs, widths, axis=-1), ends, strict=True)
            back = [strand.backward(d, end, generator) for strand, d, end in parts]
            d_outputs = sum(each.inputs for each in back)
            d_layers.insert(0, together_as_layers(level, [each.layers for each in back]))
            d_states.insert(0, together(level, [each.initial_state for each in back]))
        network = lstm.Network(tuple(d_layers), d_readout)
        return top, tuple(finals), lstm.CostGradients(network=network, inputs=d_outputs, initial_state=tuple(d_states))

    def _upstream(self, outputs: np.ndarray, generator: Rounding | None) -> tuple[np.ndarray, Any]:
        """The gradient on the outputs, given or the cost's own; and the readout's."""
        case = self.case
        if not case.is_cost:
            d_outputs = np.zeros_like(outputs) if case.d_outputs is None else case.d_outputs
            return np.where(case.valid[:, :, None], d_outputs, 0), None
        y = outputs
        if case.readout is not None:
            y = times(outputs, case.readout.w) + case.readout.b
            y = y + noise(generator, product_rounding(outputs, case.readout.w) + np.abs(case.readout.b))
        weights = case.loss_weights
        d_y = np.asarray(jax.grad(lambda y: (lstm.LOSSES[case.loss].forward(y, jnp.asarray(case.targets)) * weights).sum())(y))
        # The probabilities of a softmax, or y itself, round by some u of theirs before the target is subtracted
        size = np.abs(y) if case.loss == "squared_error" else np.ones_like(y)
        d_y = d_y + noise(generator, 2 * np.abs(d_y) + 2 * size * weights[:, :, None])
        self.d_y = d_y
        if case.readout is None:
            return d_y, None
        d_outputs = times(d_y, case.readout.w.T) + noise(generator, product_rounding(d_y, case.readout.w.T))
        flat = outputs.reshape(-1, outputs.shape[-1])
        return d_outputs, lstm.Readout(w=flat.T @ d_y.reshape(len(flat), -1), b=d_y.sum(axis=(0, 1)))

    def _local(self) -> tuple[tuple, tuple]:
        """√(n/3) Σ |x| |δ| of each entry, and n, the terms that may underflow: trees like what `_run` returns."""
        outputs, finals, gradients = self.true
        terms = jax.tree.map(lambda leaf: 8.0, self.true)  # elsewhere a handful of products
        layers, layer_terms = [], []
        for level, strands in zip(self.case.layers, self.strands, strict=True):
            found = [strand.local() for strand in strands]
            layers.append(together_as_layers(level, [each[0] for each in found]))
            layer_terms.append(together_as_layers(level, [each[1] for each in found]))
        readout, readout_terms = gradients.network.readout, terms[2].network.readout
        if readout is not None:
            count = int(self.case.valid.sum())
            flat, d_y = np.abs(outputs.reshape(-1, outputs.shape[-1])), np.abs(self.d_y.reshape(-1, self.d_y.shape[-1]))
            readout = lstm.Readout(w=np.sqrt(count / 3) * (flat.T @ d_y), b=np.sqrt(count / 3) * d_y.sum(axis=0))
            readout_terms = jax.tree.map(lambda leaf: float(count), readout)
        magnitudes = jax.tree.map(np.abs, (outputs, finals, gradients))
        local = dataclasses.replace(magnitudes[2], network=lstm.Network(tuple(layers), readout))
        count_of = dataclasses.replace(terms[2], network=lstm.Network(tuple(layer_terms), readout_terms))
        return (magnitudes[0], magnitudes[1], local), (terms[0], terms[1], count_of)


def _strands(level: Any, valid: np.ndarray, states: Any, masks: Any) -> list[Strand]:
    """One for each of the level's directions."""
    found = zip(directions(level), apart(level, states), apart(level, masks), strict=True)
    return [Strand(direction.layer, direction.reversed, valid, start, own) for direction, start, own in found]


def _has_kink(layer: lstm.Layer) -> bool:
    names = layer.activations
    return layer.clip is not None or not {names.gate, names.candidate, names.output} <= {*SMOOTH, "identity"}


def _pooled(variances: np.ndarray) -> np.ndarray:
    """At least (row's mean) (column's mean) / (mean): see the module's own text."""
    flat = variances.reshape(-1, variances.shape[-1]) if variances.ndim > 1 else variances.reshape(-1, 1)
    mean = flat.mean()
    if not 0 < mean < np.inf:
        return variances
    separable = flat.mean(axis=1, keepdims=True) * (flat.mean(axis=0, keepdims=True) / mean)
    return np.maximum(variances, separable.reshape(variances.shape))
