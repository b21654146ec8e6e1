"""Records what PyTorch's ``nn.LSTM`` computes, for tests/test_torch_vectors.py; also the README of this folder.

Run from the repository's root, with PyTorch installed:

    python tests/vectors/record_torch.py

It writes one ``torch_<case>.npz`` beside itself for each case in `CASES`: everything that PyTorch was given
(weights, inputs, initial state, lengths, upstream gradients or targets) and, computed in float64 on the CPU,
everything that it answered (outputs, h_n, c_n, the cost, ``grad.<name>`` for every weight, the inputs, h0 and
c0). Names and shapes are PyTorch's; tests/torch_reference.py says which, and does the work. ``torch_version``
in each file names the release. The values come from numpy's ``default_rng`` with the seed of the case's table row,
so running it again gives the same questions, and answers that differ at most in their last digits.

Nothing here imports `lstm`: what is recorded is PyTorch's word alone.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from torch_reference import Shape, draw, run  # noqa: E402  (the path comes first)

# name: (seed, shape, options of `draw`). T, B, D, H, K all different, except where 1 is the point.
CASES = {
    "upstream": (11, Shape(7, 3, 5, 4), {}),
    "upstream_wide": (12, Shape(3, 2, 7, 11), {}),
    "zero_state": (13, Shape(6, 4, 2, 5), {"zero_state": True}),
    "one_timestep": (14, Shape(1, 3, 2, 5), {}),
    "one_sequence": (15, Shape(6, 1, 3, 4), {}),
    "one_unit": (16, Shape(5, 3, 2, 1), {}),
    "lengths": (17, Shape(6, 5, 3, 4), {"lengths": [4, 6, 1, 3, 2]}),
    "long": (18, Shape(60, 2, 3, 5), {}),
    "half_saturated": (26, Shape(7, 2, 4, 6), {"saturation": 20.0, "saturated_share": 0.5}),
    "saturated": (19, Shape(8, 4, 3, 6), {"saturation": 12.0}),
    "squared_error_mean": (20, Shape(5, 3, 4, 6, 2), {"loss": "squared_error"}),
    "squared_error_sum": (21, Shape(4, 5, 2, 6, 3), {"loss": "squared_error", "reduction": "sum"}),
    "squared_error_mean_lengths": (22, Shape(7, 4, 2, 3, 5), {"loss": "squared_error", "lengths": [2, 7, 5, 3]}),
    "cross_entropy_labels_mean": (23, Shape(5, 2, 4, 3, 6), {"loss": "cross_entropy", "targets": "labels"}),
    "cross_entropy_labels_sum_lengths": (
        24,
        Shape(6, 4, 2, 5, 3),
        {"loss": "cross_entropy", "targets": "labels", "reduction": "sum", "lengths": [3, 1, 6, 4]},
    ),
    "cross_entropy_probabilities_mean": (25, Shape(4, 3, 2, 6, 5), {"loss": "cross_entropy", "targets": "probabilities"}),
}


def main() -> None:
    for name, (seed, shape, options) in CASES.items():
        case = draw(np.random.default_rng(seed), shape, **options)
        path = HERE / f"torch_{name}.npz"
        np.savez(path, torch_version=np.array(torch.__version__), **case, **run(case))
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
