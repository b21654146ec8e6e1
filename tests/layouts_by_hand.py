"""LSTMs as people write them, in their own arrangements, each beside the description of it in TOML.

Written from their authors' equations with jax.numpy, so that JAX differentiates them; nothing here comes from `lstm`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from layouts_case import B, D, H, P, Peer, T

from lstm.layouts import described_layout

FUSED = """
# One matrix, the bias as row 0, gates i f o g, and h = o * c
output_activation = "identity"
gates = "i f o g"

[arrays]
WLSTM = ["bias x h", "gates"]
"""


def fused(weights: Any, inputs: Any, h: Any, c: Any) -> Any:
    def step(state: Any, x: Any) -> Any:
        h, c = state
        row = jnp.concatenate([jnp.ones((B, 1)), x, h], axis=1)
        z = row @ weights["WLSTM"]
        i, f, o = jnp.split(jax.nn.sigmoid(z[:, : 3 * H]), 3, axis=1)
        c = f * c + i * jnp.tanh(z[:, 3 * H :])
        h = o * c
        return (h, c), h

    (h, c), outputs = jax.lax.scan(step, (h, c), inputs)
    return outputs, h, c


COLUMNS = """
# Everything in columns: inputs (D, B, T), states (H, B), a matrix (H, H + D) for each gate on [h, x], biases (H, 1)
axes = "DBT"
gate_names = { g = "c" }

[arrays]
"W{gate}" = ["unit", "h x"]
"b{gate}" = ["unit", "bias"]
"""


def columns(weights: Any, inputs: Any, h: Any, c: Any) -> Any:
    def step(state: Any, x: Any) -> Any:
        h, c = state
        concat = jnp.concatenate([h, x], axis=0)
        ft = jax.nn.sigmoid(weights["Wf"] @ concat + weights["bf"])
        it = jax.nn.sigmoid(weights["Wi"] @ concat + weights["bi"])
        cct = jnp.tanh(weights["Wc"] @ concat + weights["bc"])
        c = ft * c + it * cct
        h = jax.nn.sigmoid(weights["Wo"] @ concat + weights["bo"]) * jnp.tanh(c)
        return (h, c), h

    (h, c), outputs = jax.lax.scan(step, (h, c), jnp.moveaxis(inputs, 2, 0))
    return jnp.moveaxis(outputs, 0, 2), h, c


BLOCK = """
# TensorFlow's BlockLSTM: [x, h] by (D + H, 4H), gates i c f o, a forget bias of 1, peepholes, the cell clipped
gates = "i g f o"
gate_names = { g = "c" }
forget_offset = 1.0
cell_clip = 0.5

[arrays]
w = ["x h", "gates"]
b = ["gates"]
"wc{gate}" = { axes = ["unit"], holds = "peephole" }
"""


def block(weights: Any, inputs: Any, h: Any, c: Any) -> Any:
    def step(state: Any, x: Any) -> Any:
        h, cs = state
        i, ci, f, o = jnp.split(jnp.concatenate([x, h], axis=1) @ weights["w"] + weights["b"], 4, axis=1)
        i = jax.nn.sigmoid(cs * weights["wci"] + i)
        f = jax.nn.sigmoid(cs * weights["wcf"] + f + 1.0)
        cs = jnp.clip(jnp.tanh(ci) * i + cs * f, -0.5, 0.5)
        h = jnp.tanh(cs) * jax.nn.sigmoid(cs * weights["wco"] + o)
        return (h, cs), h

    (h, c), outputs = jax.lax.scan(step, (h, c), inputs)
    return outputs, h, c


LDIGO = """
# oneDNN's ldigo, gates i f c o: all layers and directions in one array, a gate axis of its own
[arrays]
weights_layer = ["layers", "directions", "x", "i f g o", "unit"]
weights_iter = ["layers", "directions", "h", "i f g o", "unit"]
bias = ["layers", "directions", "i f g o", "unit"]
"""


def ldigo(weights: Any, inputs: Any, h: Any, c: Any) -> Any:
    def run(level: int, direction: int, xs: Any) -> Any:
        def step(state: Any, x: Any) -> Any:
            h, c = state
            z = jnp.einsum("bi,igo->gbo", x, weights["weights_layer"][level, direction])
            z += jnp.einsum("bi,igo->gbo", h, weights["weights_iter"][level, direction])
            z += weights["bias"][level, direction][:, None]
            c = jax.nn.sigmoid(z[1]) * c + jax.nn.sigmoid(z[0]) * jnp.tanh(z[2])
            h = jax.nn.sigmoid(z[3]) * jnp.tanh(c)
            return (h, c), h

        at = 2 * level + direction
        return jax.lax.scan(step, (h[at], c[at]), xs, reverse=direction == 1)

    outputs, final = inputs, []
    for level in range(2):
        down, right = run(level, 0, outputs)
        up, left = run(level, 1, outputs)
        outputs = jnp.concatenate([right, left], axis=2)
        final += [down, up]
    return outputs, *(jnp.stack(one) for one in zip(*final, strict=True))


PROJECTED = """
# Two layers of unlike arrays: W (4H, D) and U (4H, R) with gates o i f g, two biases, a projection (R, H); numbered from 1
gates = "o i f g"
first_layer = 1

[arrays]
"W{layer}" = ["gates", "x"]
"U{layer}" = ["gates", "h"]
"bW{layer}" = ["gates"]
"bU{layer}" = ["gates"]
"V{layer}" = ["projected", "unit"]
"""


def projected(weights: Any, inputs: Any, h: Any, c: Any) -> Any:
    outputs, h_n, c_n = inputs, [], []
    for level in (1, 2):
        W, U, V = (weights[f"{name}{level}"] for name in "WUV")
        biases = weights[f"bW{level}"] + weights[f"bU{level}"]

        def step(state: Any, x: Any, W: Any = W, U: Any = U, V: Any = V, biases: Any = biases) -> Any:
            h, c = state
            o, i, f, g = jnp.split(x @ W.T + h @ U.T + biases, 4, axis=1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = (jax.nn.sigmoid(o) * jnp.tanh(c)) @ V.T
            return (h, c), h

        (last, cell), outputs = jax.lax.scan(step, (h[level - 1], c[level - 1]), outputs)
        h_n.append(last)
        c_n.append(cell)
    return outputs, jnp.stack(h_n), jnp.stack(c_n)


COUPLED = """
# f = 1 - i, split matrices (H, .) by gate, no bias; all in batch-major order
axes = "BTD"
gates = "i o g"
gate_activation = "hard_sigmoid(0.2)"
candidate_activation = "softsign"

[arrays]
"Wx.{gate}" = ["unit", "x"]
"Wh.{gate}" = ["h", "unit"]
"""


def coupled(weights: Any, inputs: Any, h: Any, c: Any) -> Any:
    def step(state: Any, x: Any) -> Any:
        h, c = state
        i, o, g = (x @ weights[f"Wx.{gate}"].T + h @ weights[f"Wh.{gate}"] for gate in "iog")
        i, o = (jnp.clip(0.2 * z + 0.5, 0, 1) for z in (i, o))
        c = (1 - i) * c + i * g / (1 + jnp.abs(g))
        h = o * jnp.tanh(c)
        return (h, c), h

    (h, c), outputs = jax.lax.scan(step, (h, c), inputs.swapaxes(0, 1))
    return outputs.swapaxes(0, 1), h, c


# description, program, shapes of the weights, of the states, and those of inputs and outputs
TBD = {"inputs": (T, B, D), "outputs": (T, B, H)}
EACH = "ifco"
BY_HAND: dict[str, tuple[str, Callable[..., Any], dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]] = {
    "fused": (FUSED, fused, {"WLSTM": (1 + D + H, 4 * H)}, TBD | {"h0": (B, H), "c0": (B, H)}),
    "columns": (
        COLUMNS,
        columns,
        {f"W{gate}": (H, H + D) for gate in EACH} | {f"b{gate}": (H, 1) for gate in EACH},
        {"inputs": (D, B, T), "outputs": (H, B, T), "h0": (H, B), "c0": (H, B)},
    ),
    "block": (
        BLOCK,
        block,
        {"w": (D + H, 4 * H), "b": (4 * H,), "wci": (H,), "wcf": (H,), "wco": (H,)},
        TBD | {"h0": (B, H), "c0": (B, H)},
    ),
    "ldigo": (
        LDIGO,
        ldigo,
        {"weights_layer": (2, 2, 2 * H, 4, H), "weights_iter": (2, 2, H, 4, H), "bias": (2, 2, 4, H)},
        {"inputs": (T, B, 2 * H), "outputs": (T, B, 2 * H), "h0": (4, B, H), "c0": (4, B, H)},
    ),
    "projected": (
        PROJECTED,
        projected,
        {"W1": (4 * H, D), "W2": (4 * H, P)}
        | {f"{name}{k}": shape for k in (1, 2) for name, shape in {"U": (4 * H, P), "bW": (4 * H,), "bU": (4 * H,), "V": (P, H)}.items()},
        {"inputs": (T, B, D), "outputs": (T, B, P), "h0": (2, B, P), "c0": (2, B, H)},
    ),
    "coupled": (
        COUPLED,
        coupled,
        {f"Wx.{gate}": (H, D) for gate in "iog"} | {f"Wh.{gate}": (H, H) for gate in "iog"},
        {"inputs": (B, T, D), "outputs": (B, T, H), "h0": (B, H), "c0": (B, H)},
    ),
}


def by_hand(name: str) -> Peer:
    description, program, weights, data = BY_HAND[name]
    return Peer(described_layout(tomllib.loads(description), name), weights, data, program)
