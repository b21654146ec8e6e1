"""What a central difference leaves out, measured in a few entries: where it is small, one step size is enough for all.

D(h) = g + a h² + O(h⁴), with a = C''' / 6. A second step size for every entry would double the work. But the costs at plus and minus
one step tell every entry's second derivative too, and a perturbation that moves the network by much is seen in both: a source
s times as large multiplies the one by s², the other by s³. So a is measured where second differences are largest, of all entries and
in each row and column, at a step so much larger that its rounding does not matter. See section 5 of docs/tolerance.md.
"""

from __future__ import annotations

import numpy as np

from checks.exhaustive.entries import Entries

# Steps: truncation is then 256 times as large as at one step, and rounding a 16th
FAR = 16
# Of truncation, over the largest measured. Of 850,000 entries of 1,000 random networks, whose inputs and units were of scales spread
# by up to e² to the power of a normal deviate, none had more than 1.8 times the largest that was measured in LARGEST of them
MARGIN = 10.0
LARGEST = 128  # second differences


def representatives(entries: Entries, second: np.ndarray) -> np.ndarray:
    """Numbers of the entries to measure. ``second`` (E, 1 or B): second differences, C₊ + C₋ - 2 C; what is not finite comes first."""
    order = np.argsort(-np.abs(second).max(axis=1), kind="stable")
    in_each = [order[np.unique(of[order], return_index=True)[1]] for of in (entries.index, entries.column)]
    return np.unique(np.concatenate([order[:LARGEST], *in_each]))


def at_one_step(near: np.ndarray, far: np.ndarray) -> np.ndarray:
    """|a h²|, from D(h) and D(16 h)."""
    return np.abs(far - near) / (FAR**2 - 1)
