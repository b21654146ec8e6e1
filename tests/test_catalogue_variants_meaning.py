"""That a mutant of a variant is the bug it says it is: automatic differentiation of a forward pass cut in the same place.

As for the bugs of every LSTM: a path that a bug drops is cut by ``stop_gradient``; one that it replaces keeps its value and gets another
derivative. The forward pass is written again here, and shares nothing with the mutable backward pass.
"""

from __future__ import annotations

import functools
from typing import Any

import catalogue_probes as probes
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lstm
from checks.catalogue import Case, named
from checks.catalogue.mutants import gradients
from checks.diagnosis.rounding import rounding_of

pytestmark = pytest.mark.long

cut = jax.lax.stop_gradient
T, B, D, H, K = 4, 3, 6, 5, 2
BOUND = 0.6


class Surgery:
    """One timestep in pieces, as it should be; a bug replaces one piece. ``c`` is c_{t-1}, ``new_c`` is c_t."""

    def __init__(self, **pieces: Any):
        self.__dict__.update(pieces)

    def seen_by_i(self, p, c, new_c):
        return p * c

    def seen_by_f(self, p, c, new_c):
        return p * c

    def seen_by_o(self, p, c, new_c):
        return p * new_c

    def forget(self, i):
        return 1 - i

    def cell(self, i, f, g, c):
        return clip(f * c + i * g)

    def output_gate(self, o, new_c):
        return o

    def output(self, c):
        return jnp.tanh(c)

    def projected(self, r, w, previous_r, o):
        """-> h as the readout sees it, and as the next timestep does."""
        return r @ w, r @ w


def clip(s: Any) -> Any:
    return jnp.clip(s, -BOUND, BOUND)


def was_cut(c: Any) -> Any:
    return cut(jnp.abs(c) >= BOUND)


def moving(value: Any) -> Any:
    """Zero, with the derivative of the value."""
    return value - cut(value)


def cost(surgery: Surgery, p: lstm.CostGradients, targets: np.ndarray) -> Any:
    """Mean over (t, b) of ‖y - target‖², with the surgery."""
    layer, readout = p.network.layers[0], p.network.readout
    h, c = p.initial_state[0].h, p.initial_state[0].c
    previous_r, total = jnp.zeros_like(c), 0.0
    rows = dict(zip("io" if layer.coupled else "ifo", layer.peepholes, strict=True))
    for t in range(T):
        parts = jnp.split(p.inputs[t] @ layer.w_x + h @ layer.w_h + layer.b, len(layer.gates), axis=-1)
        z = dict(zip(layer.gates, parts, strict=True))

        def state(see: Surgery, new_c: Any, z: dict[str, Any] = z, c: Any = c) -> Any:
            i = jax.nn.sigmoid(z["i"] + see.seen_by_i(rows["i"], c, new_c))
            f = see.forget(i) if layer.coupled else jax.nn.sigmoid(z["f"] + see.seen_by_f(rows["f"], c, new_c))
            return see.cell(i, f, jnp.tanh(z["g"]), c)

        right_c = cut(state(Surgery(), None))  # its value alone, for a bug that reads it too early
        new_c = state(surgery, right_c)
        o = surgery.output_gate(jax.nn.sigmoid(z["o"] + surgery.seen_by_o(rows["o"], c, new_c)), new_c)
        r = o * surgery.output(new_c)
        h_out, h = surgery.projected(r, layer.projection, previous_r, o)
        total += jnp.sum((h_out @ readout.w + readout.b - targets[t]) ** 2)
        c, previous_r = new_c, r
    return total / (T * B)


def _not_seen(p, c, new_c):
    return p * cut(c)


def _past_the_clip(i, f, g, c):
    new_c = clip(f * c + i * g)
    return new_c + was_cut(new_c) * cut(f) * moving(c)


def _gates_past_the_clip(i, f, g, c):
    new_c = clip(f * c + i * g)
    return new_c + was_cut(new_c) * moving(f * cut(c) + i * g)


def _weights_see(rows, r, w):
    """h, whose projection learns from other rows than it was applied to."""
    return r @ cut(w) + cut(rows) @ moving(w)


SURGERIES: dict[str, Surgery] = {
    "peephole-missing-in-dc": Surgery(seen_by_o=lambda p, c, new_c: p * cut(new_c)),
    "peepholes-missing-in-dc-carry": Surgery(seen_by_i=_not_seen, seen_by_f=_not_seen),
    "no-peephole-paths": Surgery(seen_by_i=_not_seen, seen_by_f=_not_seen, seen_by_o=lambda p, c, new_c: p * cut(new_c)),
    "dc-carry-misses-peephole-f": Surgery(seen_by_f=_not_seen),
    "peephole-o-reaches-previous-c": Surgery(seen_by_o=lambda p, c, new_c: p * cut(new_c) + cut(p) * moving(c)),
    "peepholes-use-new-c": Surgery(
        **dict.fromkeys(("seen_by_i", "seen_by_f"), lambda p, c, new_c: cut(p) * c + moving(p) * (0 if new_c is None else new_c))
    ),
    "peephole-o-uses-previous-c": Surgery(seen_by_o=lambda p, c, new_c: cut(p) * new_c + moving(p) * cut(c)),
    "clip-derivative-ignored": Surgery(cell=lambda i, f, g, c: cut(clip(f * c + i * g)) + moving(f * c + i * g)),
    "clip-derivative-missing-in-carry": Surgery(cell=_past_the_clip),
    "clip-derivative-in-carry-only": Surgery(cell=_gates_past_the_clip),
    "clip-derivative-on-output-gate": Surgery(output_gate=lambda o, c: jnp.where(was_cut(c), cut(o), o)),
    "projection-skipped": Surgery(projected=lambda r, w, *_: (cut(r) @ w + moving(r),) * 2),
    "projection-transposed": Surgery(projected=lambda r, w, *_: (cut(r) @ w + moving(r) @ cut(w).T,) * 2),
    "carry-skips-projection": Surgery(projected=lambda r, w, *_: (r @ w, cut(r) @ w + moving(r))),
    "upstream-skips-projection": Surgery(projected=lambda r, w, *_: (cut(r) @ w + moving(r), r @ w)),
    "projection-gradient-uses-h": Surgery(projected=lambda r, w, *_: (_weights_see(r @ w, r, w),) * 2),
    "projection-gradient-uses-previous-r": Surgery(projected=lambda r, w, previous_r, o: (_weights_see(previous_r, r, w),) * 2),
    "projection-gradient-without-o": Surgery(projected=lambda r, w, previous_r, o: (_weights_see(r / o, r, w),) * 2),
    "projection-gradient-upstream-only": Surgery(projected=lambda r, w, *_: (r @ w, r @ cut(w))),
}  # fmt: skip
COUPLED: dict[str, Surgery] = {
    "coupled-path-forgotten": Surgery(forget=lambda i: 1 - cut(i)),
    "coupled-path-with-wrong-sign": Surgery(forget=lambda i: cut(1 - i) + moving(i)),
    "coupled-path-alone": Surgery(cell=lambda i, f, g, c: clip(f * c + cut(i) * g)),
}


@functools.cache
def probe(coupled: bool) -> tuple[lstm.CostGradients, np.ndarray]:
    generator = np.random.default_rng(7)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape)

    blocks = 3 if coupled else 4
    layer = lstm.Layer(
        w_x=normal(D, blocks * H) / 2, w_h=normal(H, blocks * H) / 2, b=normal(blocks * H), peepholes=normal(blocks - 1, H),
        projection=normal(H, H) / 2, clip=lstm.CellClip(BOUND),
    )  # fmt: skip
    network = lstm.Network((layer,), lstm.Readout(w=normal(H, K), b=normal(K)))
    state = lstm.State(h=normal(B, H), c=normal(B, H))
    return lstm.CostGradients(network=network, inputs=normal(T, B, D), initial_state=(state,)), normal(T, B, K)


def difference(coupled: bool, surgery: Surgery, *names: str) -> float:
    """Between the mutant and the cut forward pass, in units of what rounding allows."""
    parameters, targets = probe(coupled)
    case = Case.of_cost(parameters.network, parameters.inputs, targets, initial_state=parameters.initial_state)
    assert 0.1 < case.runs[0].cut.mean() < 0.9
    bugs = [named(name, case) for name in names]
    with jax.enable_x64(True):
        expected = jax.grad(lambda p: cost(surgery, p, targets))(jax.tree.map(jnp.asarray, parameters))
    return probes.excess(gradients(case, bugs), expected, rounding_of(case, bugs))


@pytest.mark.parametrize("coupled", [False, True])
def test_without_surgery_it_is_the_gradient(coupled):
    assert difference(coupled, Surgery()) <= 1


@pytest.mark.parametrize("name", [*SURGERIES, *COUPLED])
def test_a_mutant_is_the_gradient_of_the_forward_pass_cut_in_the_same_place(name):
    surgery = (SURGERIES | COUPLED)[name]
    assert difference(name in COUPLED, surgery, name) <= 1
    assert difference(name in COUPLED, Surgery(), name) > 1e6
