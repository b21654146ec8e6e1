"""An LSTM written by hand in NumPy, and its backward pass, checked in ten lines (at the end).

    python examples/numpy_lstm.py

Break a line of `backward` (drop ``f *`` from ``dc``, say) and see what the check says.
"""

import numpy as np

import checks
import lstm


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def forward(w, x, h, c):
    """x (T, B, D); h, c (B, H). Gates i, f, g, o along the last axis of w["x"] (D, 4H), w["h"] (H, 4H), w["b"] (4H,)."""
    tape = []
    outputs = []
    for x_t in x:
        z_i, z_f, z_g, z_o = np.split(x_t @ w["x"] + h @ w["h"] + w["b"], 4, axis=1)
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
        tape.append((x_t, h, c, i, f, g, o))
        c = f * c + i * g
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs), tape


def backward(w, outputs, tape, d_outputs):
    """The gradient of sum(d_outputs * outputs) with respect to every weight."""
    d_w = {name: np.zeros_like(array) for name, array in w.items()}
    dh = np.zeros_like(outputs[0])
    dc = np.zeros_like(outputs[0])
    for t in reversed(range(len(tape))):
        x_t, h_previous, c_previous, i, f, g, o = tape[t]
        tanh_c = np.tanh(f * c_previous + i * g)
        dh = dh + d_outputs[t]
        dc = dc + dh * o * (1 - tanh_c**2)
        d_i, d_f, d_g, d_o = dc * g, dc * c_previous, dc * i, dh * tanh_c
        dz = np.concatenate([d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)], axis=1)
        d_w["x"] += x_t.T @ dz
        d_w["h"] += h_previous.T @ dz
        d_w["b"] += dz.sum(axis=0)
        dh = dz @ w["h"].T
        dc = f * dc
    return d_w


def main():
    rng = np.random.default_rng(0)
    network = lstm.init_network(0, input_size=3, hidden_size=5)  # generic weights: nothing zero, both signs
    w = {"x": np.asarray(network.layers[0].w_x), "h": np.asarray(network.layers[0].w_h), "b": np.asarray(network.layers[0].b)}
    x, target = rng.normal(size=(7, 4, 3)), rng.normal(size=(7, 4, 5))
    outputs, tape = forward(w, x, np.zeros((4, 5)), np.zeros((4, 5)))
    d_w = backward(w, outputs, tape, 2 * (outputs - target) / (7 * 4))  # of the mean over (t, b) of the squared error

    problem = checks.Problem.from_network(network, x, target)
    layer = lstm.Layer(w_x=d_w["x"], w_h=d_w["h"], b=d_w["b"])
    report = checks.cross_validate(problem, gradients=lstm.Network(layers=(layer,)), candidate="numpy_lstm")
    print(report)
    return report.verdict.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
