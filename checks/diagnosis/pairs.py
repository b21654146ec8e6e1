"""Two bugs at once. All pairs would be tens of thousands of backward passes, so pairs are tried in the order of promise.

A bug of the pair shows itself in one of two ways. Where the other has no effect (another array, another gate, the last timestep),
the candidate *is* that bug's gradient, to rounding. And where both act, their effects nearly add up. So a shortlist of
first bugs is made from both, each is joined with every other bug, and what changes a block that is right is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from checks.catalogue import Bug
from checks.diagnosis.cause import Cause, Hypothesis
from checks.diagnosis.observation import TINY, Observation
from checks.diagnosis.planted import Planted

SAMPLED = 4096  # entries that are looked at to choose the pairs
SHORTLIST = 10  # first bugs, each joined with every other
# Of random pairs of the catalogue, 98 in 100 come among the first 80
MOST_PAIRS, FEWEST_PAIRS = 400, 50
AFFORDABLE = 1e8  # entries of the pre-activations times pairs: a second or two
HOPELESS = 0.9  # the share of the error left by superposition, from which on only an exact match of a block gives hope


def pairs(
    observation: Observation, planted: Planted, bugs: Sequence[Bug], vectors: Sequence[np.ndarray]
) -> tuple[list[Hypothesis], int]:
    """Those that fit to rounding, and how many were tried."""
    work = 4 * sum(layer.hidden_size for layer in planted.case.layers) * planted.case.inputs.shape[0] * planted.case.inputs.shape[1]
    most = int(np.clip(AFFORDABLE / work, FEWEST_PAIRS, MOST_PAIRS))
    order = _promising(observation, vectors)
    found: list[Hypothesis] = []
    tried = 0
    for first, second in order[:most]:
        for pair in _orders(bugs[first], bugs[second]):
            tried += 1
            arrays = planted.arrays(pair)
            vector = None if arrays is None else observation.vector(arrays)
            if vector is not None and observation.fits(vector):
                found.append(Hypothesis(tuple(Cause.of_bug(bug) for bug in pair), vector))
                break
    return found, tried


def _orders(first: Bug, second: Bug) -> list[tuple[Bug, Bug]]:
    """At the same place the order matters."""
    same = set(first.modifies) & set(second.modifies)
    return [(first, second), (second, first)] if same else [(first, second)]


def _promising(observation: Observation, vectors: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of numbers of bugs, most promising first."""
    o = observation
    rooms = [o.room(vector) for vector in vectors]
    changes: np.ndarray = np.array([o.worst_by_block(np.abs(v - o.expected) / room) > 1 for v, room in zip(vectors, rooms, strict=True)])
    matches = np.array([o.worst_by_block(np.abs(v - o.got) / room) <= 1 for v, room in zip(vectors, rooms, strict=True)])
    if len(vectors) == 0:
        return []
    right: np.ndarray = np.logical_not(o.wrong_blocks)
    useful = np.logical_not((changes & right).any(axis=1))  # changes no block that is right
    matched = (matches & o.wrong_blocks & changes).sum(axis=1)  # wrong blocks that the bug alone makes, exactly
    left = _superposed(o, vectors)
    covered = (changes[:, None, :] | changes[None, :, :] | right).all(axis=2)
    possible = useful[:, None] & useful[None, :] & covered & np.triu(np.ones(left.shape, bool), 1)
    best = np.where(possible | possible.T, left, np.inf).min(axis=1)
    firsts = sorted(np.flatnonzero(useful), key=lambda i: (-matched[i], best[i]))[:SHORTLIST]
    ranks = {int(i): rank for rank, i in enumerate(firsts)}
    hopeful = possible & ((left < HOPELESS) | (matched[:, None] > 0) | (matched[None, :] > 0))
    candidates = [(int(i), int(j)) for i, j in np.argwhere(hopeful)]

    def promise(pair: tuple[int, int]) -> tuple[float, ...]:
        rank = min(ranks.get(each, SHORTLIST) for each in pair)
        return (float(rank >= SHORTLIST), -float(matched[list(pair)].sum() > 0), left[pair])

    return sorted(candidates, key=promise)


def _superposed(o: Observation, vectors: Sequence[np.ndarray]) -> np.ndarray:
    """(N, N): the share of the error left, if the effects of two bugs were added up, with the best coefficients."""
    generator = np.random.default_rng(0)
    chosen = np.flatnonzero(o.wrong_blocks[o.block_of])
    chosen = chosen if len(chosen) <= SAMPLED else generator.choice(chosen, SAMPLED, replace=False)
    squares = np.bincount(o.block_of, o.error**2, len(o.blocks))
    weight = 1 / np.sqrt(np.maximum(squares[o.block_of[chosen]], TINY))  # every block counts alike
    error = o.error[chosen] * weight
    effects = np.array([(vector[chosen] - o.expected[chosen]) * weight for vector in vectors])
    gram, along, total = effects @ effects.T, effects @ error, float(error @ error)
    sizes = np.diag(gram)
    determinant = np.maximum(np.outer(sizes, sizes) - gram**2, 1e-12 * np.outer(sizes, sizes) + TINY)
    explained = sizes[None, :] * along[:, None] ** 2 - 2 * gram * np.outer(along, along) + sizes[:, None] * along[None, :] ** 2
    return 1 - np.clip(explained / determinant / max(total, TINY), 0, 1)
