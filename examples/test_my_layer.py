"""A test suite that uses `lstm` and `checks` as its oracle. Run it with ``pytest examples/test_my_layer.py``.

Replace `my_gradients` by a call of your own kernel.
"""

import numpy as np
import pytest

import checks
import lstm


def my_gradients(network, inputs, targets, lengths):
    """Stands for your implementation; here, the library's own."""
    return lstm.loss_and_gradients(network, inputs, targets, loss="cross_entropy", lengths=lengths)[1]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_my_gradients(seed, dtype):
    rng = np.random.default_rng(seed)
    T, B, D, H, K = 6, 3, 4, 5, 7  # all different: a transposed or mixed-up axis cannot hide
    network = lstm.init_network(seed, input_size=D, hidden_size=H, output_size=K, dtype=dtype)
    inputs = rng.normal(size=(T, B, D)).astype(dtype)
    labels = rng.integers(0, K, size=(T, B))
    lengths = np.array([6, 2, 4])

    problem = checks.Problem.from_network(network, inputs, labels, loss="cross_entropy", lengths=lengths)
    checks.assert_gradients(my_gradients(network, inputs, labels, lengths), problem)
