"""What a central difference leaves out, measured in a few entries: where it is small, one step size is enough for all.

D(h) = g + a h² + O(h⁴), with a = C''' / 6. A second step size for every entry would double the work. But the costs at plus and minus
one step tell every entry's first and second derivative, and a perturbation that moves the network by much is seen in them: a source
s times as large multiplies them by s and s², and a by s³. So a is measured where they are largest, of all entries and in each row and
column, at a step so much larger that its rounding does not matter. See section 5 of docs/tolerance.md.
"""

from __future__ import annotations

import numpy as np

from checks.exhaustive.entries import Entries

# Steps: truncation is then 256 times as large as at one step, and rounding a 16th
FAR = 16
# Of truncation, over the largest measured. Of 850,000 entries of 1,000 random networks, whose inputs and units were of scales spread
# by up to e² to the power of a normal deviate, none had more than 1.8 times the largest that was measured
MARGIN = 10.0
LARGEST = 64  # of all entries, measured whatever their row and column


def representatives(entries: Entries, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Numbers of the entries to measure. ``first``, ``second`` (E, 1 or B): C₊ - C₋ and C₊ + C₋ - 2 C.

    By both, each in units of its largest: at a symmetric point, as of a unit whose weights are all zero, there may be no second
    derivative where there is a third. What is not finite comes first.
    """
    order = np.argsort(-(_in_units_of_the_largest(first) + _in_units_of_the_largest(second)), kind="stable")
    in_each = [order[np.unique(of[order], return_index=True)[1]] for of in (entries.index, entries.column)]
    return np.unique(np.concatenate([order[:LARGEST], *in_each]))


def _in_units_of_the_largest(differences: np.ndarray) -> np.ndarray:
    sizes = np.where(np.isfinite(differences), np.abs(differences), np.inf).max(axis=1)
    return sizes / (sizes[np.isfinite(sizes)].max(initial=0) or 1)


def at_one_step(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """|a h²|, from D(h) and D(16 h)."""
    return np.abs(far - near) / (FAR**2 - 1)


def bound(near: np.ndarray, far: np.ndarray, moved: np.ndarray) -> float:
    """Of every entry's truncation, as a change of the cost over its step. ``near``, ``far``, ``moved``: D(h), D(16 h), h of those measured.

    Infinite where the series does not converge as far as 16 h: then D(16 h) has little to do with D(h), and they do not differ by 255 a h².
    """
    if not np.abs(far - near).max() <= np.abs(near).max() / 4:
        return np.inf
    return MARGIN * float((moved * at_one_step(near, far)).max())
