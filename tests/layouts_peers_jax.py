"""The real LSTMs of JAX's libraries, each run as a function of its own parameters, under its own names for them.

Several single cells, and two directions where the library has them, are put together as its users do. Names of several layers get
the level in front, ``0/``, as our layouts have it; everything after that is the library's.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from layouts_case import B, D, H, Peer, T


def data(order: str, levels: int, directions: int = 1, stacked: bool = False) -> dict[str, tuple[int, ...]]:
    """Shapes in the order of axes. States (B, H) for one layer in one direction, unless ``stacked`` as several are."""
    number = levels * directions
    state = (number, B, H) if stacked or number > 1 else (B, H)
    inputs, outputs = (tuple({"T": T, "B": B, "D": size}[axis] for axis in order) for size in (D, directions * H))
    return {"inputs": inputs, "h0": state, "c0": state, "outputs": outputs}


def each_state(h0: Any, c0: Any) -> list[tuple[Any, Any]]:
    """(h, c) of each layer, whether stacked or not."""
    return [(h0, c0)] if h0.ndim == 2 else list(zip(h0, c0, strict=True))


def together(states: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    h, c = zip(*states, strict=True)
    return (h[0], c[0]) if len(states) == 1 else (jnp.stack(h), jnp.stack(c))


def flax_linen(cell: str, bidirectional: bool = False, levels: int = 1, gate: str = "sigmoid", activation: str = "tanh") -> Peer:
    """``cell``: LSTMCell or OptimizedLSTMCell."""
    nn = pytest.importorskip("flax.linen")
    traverse_util = pytest.importorskip("flax.traverse_util")

    def rnn() -> Any:
        gates = {"gate_fn": getattr(nn, gate), "activation_fn": getattr(nn, activation)}
        return nn.RNN(getattr(nn, cell)(H, param_dtype=jnp.float64, **gates), return_carry=True)

    modules = [nn.Bidirectional(rnn(), rnn(), return_carry=True) if bidirectional else rnn() for _ in range(levels)]

    def name(level: int, path: str) -> str:
        return ("" if levels == 1 else f"{level}/") + path.removeprefix("cell/")

    paths: list[dict[str, Any]] = []
    features = D
    with jax.enable_x64(True):
        for module in modules:
            shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((B, T, features)))
            paths.append(traverse_util.flatten_dict(shapes["params"], sep="/"))
            features = H * (1 + bidirectional)

    def run(weights: Any, inputs: Any, h0: Any, c0: Any) -> Any:
        states, outputs = iter(each_state(h0, c0)), inputs
        final = []
        for level, module in enumerate(modules):
            params = traverse_util.unflatten_dict({path: weights[name(level, path)] for path in paths[level]}, sep="/")
            carries = tuple((c, h) for h, c in (next(states) for _ in range(1 + bidirectional)))  # carry (c, h)
            carry, outputs = module.apply({"params": params}, outputs, initial_carry=carries if bidirectional else carries[0])
            final += [(h, c) for c, h in (carry if bidirectional else [carry])]
        return outputs, *together(final)

    weights = {name(level, path): tuple(shape.shape) for level, found in enumerate(paths) for path, shape in found.items()}
    attributes = {"gate_fn": gate, "activation_fn": activation}
    return Peer("flax", weights, data("BTD", levels, 1 + bidirectional), run, attributes)


def flax_nnx(cell: str, layout: str, bidirectional: bool = False) -> Peer:
    """``cell``: LSTMCell or OptimizedLSTMCell. One layer."""
    nnx = pytest.importorskip("flax.nnx")

    def rnn() -> Any:
        return nnx.RNN(getattr(nnx, cell)(D, H, param_dtype=jnp.float64, rngs=nnx.Rngs(0)), return_carry=True)

    with jax.enable_x64(True):
        module = nnx.Bidirectional(rnn(), rnn(), return_carry=True) if bidirectional else rnn()
        graph, params, rest = nnx.split(module, nnx.Param, ...)
    paths = {"/".join(map(str, path)).removeprefix("cell/"): path for path, _ in nnx.to_flat_state(params)}
    weights = {name: tuple(leaf[...].shape) for name, (_, leaf) in zip(paths, nnx.to_flat_state(params), strict=True)}

    def run(weights: Any, inputs: Any, h0: Any, c0: Any) -> Any:
        state = nnx.from_flat_state({path: nnx.Param(jnp.asarray(weights[name])) for name, path in paths.items()})
        carries = tuple((c, h) for h, c in each_state(h0, c0))
        carry, outputs = nnx.merge(graph, state, rest)(inputs, initial_carry=carries if bidirectional else carries[0])
        return outputs, *together([(h, c) for c, h in (carry if bidirectional else [carry])])

    return Peer(layout, weights, data("BTD", 1, 1 + bidirectional), run)


def equinox(levels: int = 1, use_bias: bool = True) -> Peer:
    """Cells that take one sequence at a time."""
    eqx = pytest.importorskip("equinox")
    with jax.enable_x64(True):
        cells = [
            eqx.nn.LSTMCell(H if level else D, H, use_bias=use_bias, dtype=jnp.float64, key=jax.random.key(level))
            for level in range(levels)
        ]
    fields = ["weight_ih", "weight_hh", *(["bias"] if use_bias else [])]

    def name(level: int, field: str) -> str:
        return field if levels == 1 else f"{level}/{field}"

    def run(weights: Any, inputs: Any, h0: Any, c0: Any) -> Any:
        outputs, final = inputs, []
        for level, (cell, state) in enumerate(zip(cells, each_state(h0, c0), strict=True)):
            values = [weights[name(level, field)] for field in fields]
            cell = eqx.tree_at(lambda one: [getattr(one, field) for field in fields], cell, values)

            def step(state: Any, x: Any, cell: Any = cell) -> Any:
                state = jax.vmap(cell)(x, state)
                return state, state[0]

            state, outputs = jax.lax.scan(step, tuple(map(jnp.asarray, state)), jnp.asarray(outputs))
            final.append(state)
        return outputs, *together(final)

    weights = {name(level, field): getattr(cell, field).shape for level, cell in enumerate(cells) for field in fields}
    return Peer("equinox", weights, data("TBD", levels), run)


def haiku(levels: int = 1) -> Peer:
    """Several layers in a DeepRNN."""
    hk = pytest.importorskip("haiku")

    def unroll(inputs: Any, states: Any) -> Any:
        states = [hk.LSTMState(h, c) for h, c in states]
        if levels == 1:
            return hk.dynamic_unroll(hk.LSTM(H), inputs, states[0])
        return hk.dynamic_unroll(hk.DeepRNN([hk.LSTM(H) for _ in range(levels)]), inputs, tuple(states))

    network = hk.without_apply_rng(hk.transform(unroll))
    with jax.enable_x64(True):
        zeros = [(jnp.zeros((B, H)), jnp.zeros((B, H)))] * levels
        shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((T, B, D)), zeros)

    def name(module: str, array: str) -> str:
        """``lstm_1/linear`` and ``w`` -> ``1/linear/w``: Haiku numbers all modules but the first."""
        number, _, inner = module.removeprefix("lstm").removeprefix("_").partition("/")
        return (f"{number or 0}/" if levels > 1 else "") + f"{inner}/{array}"

    def run(weights: Any, inputs: Any, h0: Any, c0: Any) -> Any:
        params = {module: {array: weights[name(module, array)] for array in arrays} for module, arrays in shapes.items()}
        states = [tuple(map(jnp.asarray, state)) for state in each_state(h0, c0)]
        outputs, final = network.apply(params, jnp.asarray(inputs), states)
        return outputs, *together([(state.hidden, state.cell) for state in ([final] if levels == 1 else final)])

    weights = {name(module, array): shape.shape for module, arrays in shapes.items() for array, shape in arrays.items()}
    return Peer("haiku", weights, data("TBD", levels), run)


def cudnn(levels: int = 1, bidirectional: bool = False) -> Peer:
    """The reference implementation beside jax.experimental.rnn's cuDNN one, on weights unpacked by the module itself."""
    rnn = pytest.importorskip("jax.experimental.rnn")
    sizes = {"input_size": D, "hidden_size": H, "num_layers": levels, "bidirectional": bidirectional}

    def run(weights: Any, inputs: Any, h0: Any, c0: Any) -> Any:
        unpacked = rnn.unpack_lstm_weights(jnp.asarray(weights["weights"]), **sizes)
        lengths = jnp.full(B, T, jnp.int32)
        return rnn.lstm_ref(inputs, jnp.asarray(h0), jnp.asarray(c0), *unpacked, lengths, D, H, levels, 0.0, bidirectional)

    weights = {"weights": (rnn.get_num_params_in_lstm(**sizes),)}
    shapes = data("BTD", levels, 1 + bidirectional, stacked=True)
    return Peer("jax-cudnn", weights, shapes, run, sizes | {"bidirectional": int(bidirectional)})
