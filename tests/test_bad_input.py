"""What cannot be used is refused by `lstm` in one line that names the argument, what was expected and what came."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from network_cases import Case, draw

import lstm
from lstm import BadInput, Layer, Network, Readout, State

T, B, D, H, K = 5, 3, 2, 4, 6
DRAWN = draw(Case(T=T, B=B, D=D, H=H, K=K), seed=3)
NETWORK, X, Y = DRAWN.network, DRAWN.inputs, DRAWN.targets
LAYER, READOUT, STATE = NETWORK.layers[0], NETWORK.readout, DRAWN.options["initial_state"][0]
ABOVE = draw(Case(T=T, B=B, D=H + 1, H=H, K=K), seed=3).network.layers[0]
LABELS = np.random.default_rng(0).integers(0, K, (T, B))
LENGTHS = np.array([5, 2, 0])
ones = np.ones


def changed(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


def cost(network=NETWORK, inputs=X, targets=Y, **options):
    return lstm.loss_and_gradients(network, inputs, targets, **options)


def of_layer(**fields):
    return cost(dataclasses.replace(NETWORK, layers=(dataclasses.replace(LAYER, **fields),)))


def of_readout(**fields):
    return cost(dataclasses.replace(NETWORK, readout=dataclasses.replace(READOUT, **fields)))


def of_state(**fields):
    return cost(initial_state=dataclasses.replace(STATE, **fields))


def entropy(targets, **options):
    return cost(targets=targets, loss="cross_entropy", **options)


CAST = "nothing is cast silently"
TBD, TBK = "(T, B, D)", "(T, B, K)"
REFUSED = {
    # ranks
    "inputs: expected 3 axes (T, B, D); got shape (5, 3)": lambda: cost(inputs=X[:, :, 0]),
    "targets: expected 3 axes (T, B, K); got shape (5, 3)": lambda: cost(targets=Y[:, :, 0]),
    "targets: expected 2 axes (T, B); got shape (5, 3, 1)": lambda: entropy(LABELS[:, :, None]),
    "lengths: expected 1 axes (B); got shape (3, 1)": lambda: cost(lengths=LENGTHS[:, None]),
    "layers[0].w_x: expected 2 axes (D, 4H); got shape (32,)": lambda: of_layer(w_x=LAYER.w_x.ravel()),
    "layers[0].b: expected 1 axes (4H); got shape (1, 16)": lambda: of_layer(b=LAYER.b[None]),
    "readout.b: expected 1 axes (K); got shape ()": lambda: of_readout(b=np.array(1.0)),
    "initial_state[0].h: expected 2 axes (B, R); got shape (4,)": lambda: of_state(h=STATE.h[0]),
    # shapes that do not fit each other; nothing is broadcast
    f"inputs: expected at least one entry along each axis of {TBD}; got shape (0, 3, 2)": lambda: cost(inputs=X[:0]),
    f"inputs: expected at least one entry along each axis of {TBD}; got shape (5, 0, 2)": lambda: cost(inputs=X[:, :0]),
    f"targets: expected axis 0 of {TBK} to have size 5, since T = 5 in inputs; got shape (1, 3, 6)": lambda: cost(targets=Y[:1]),
    f"targets: expected axis 1 of {TBK} to have size 3, since B = 3 in inputs; got shape (5, 1, 6)": lambda: cost(targets=Y[:, :1]),
    f"targets: expected axis 2 of {TBK} to have size 6, since K = 6 in readout.w; got shape (5, 3, 1)": lambda: cost(targets=Y[..., :1]),
    "targets: expected axis 0 of (T, B) to have size 5, since T = 5 in inputs; got shape (4, 3)": lambda: entropy(LABELS[:4]),
    "lengths: expected axis 0 of (B) to have size 3, since B = 3 in inputs; got shape (1,)": lambda: cost(lengths=LENGTHS[:1]),
    "layers[0].w_x: expected axis 0 of (D, 4H) to have size 2, since D = 2 in inputs; got shape (1, 16)": lambda: of_layer(
        w_x=LAYER.w_x[:1]
    ),
    "layers[0].w_x: expected axis 1 of (D, 4H) to be a multiple of 4; got shape (2, 15)": lambda: of_layer(w_x=LAYER.w_x[:, :15]),
    "readout.w: expected axis 0 of (R, K) to have size 4, since R = 4 in layers[0]'s outputs; got shape (3, 6)": lambda: of_readout(
        w=READOUT.w[:3]
    ),
    "readout.b: expected axis 0 of (K) to have size 6, since K = 6 in readout.w; got shape (1,)": lambda: of_readout(b=READOUT.b[:1]),
    "initial_state[0].h: expected axis 0 of (B, R) to have size 3, since B = 3 in inputs; got shape (1, 4)": lambda: of_state(
        h=STATE.h[:1]
    ),
    "layers[1].w_x: expected axis 0 of (D, 4H) to have size 4, since D = 4 in layers[0]'s outputs; got shape (5, 16)": lambda: (
        lstm.forward((LAYER, ABOVE), X)
    ),
    # kinds of numbers; nothing is cast
    f"layers[0].w_h: expected float32 or float64; got int64 ({CAST})": lambda: of_layer(w_h=ones((H, 4 * H), int)),
    f"layers[0].w_h: expected float32 or float64; got complex128 ({CAST})": lambda: of_layer(w_h=1j * LAYER.w_h),
    f"layers[0].w_h: expected float32 or float64; got float16 ({CAST})": lambda: of_layer(w_h=LAYER.w_h.astype(np.float16)),
    f"layers[0].w_h: expected float32 or float64; got bfloat16 ({CAST})": lambda: of_layer(w_h=ones((H, 4 * H), jnp.bfloat16)),
    "layers[0].w_h: expected float64, as inputs has; got float32 (nothing is cast)": lambda: of_layer(w_h=LAYER.w_h.astype(np.float32)),
    f"inputs: expected float32 or float64; got int64 ({CAST})": lambda: cost(inputs=ones((T, B, D), int)),
    f"inputs: expected float32 or float64; got >f8 ({CAST})": lambda: cost(inputs=X.astype(">f8")),
    "targets: expected float64, as inputs has; got float32 (nothing is cast)": lambda: cost(targets=Y.astype(np.float32)),
    f"targets: expected float32 or float64; got int64 ({CAST})": lambda: cost(targets=LABELS),
    f"targets: expected float32 or float64; got bool ({CAST})": lambda: entropy(LABELS > 2),
    "initial_state[0].c: expected float64, as inputs has; got float32 (nothing is cast)": lambda: of_state(c=STATE.c.astype(np.float32)),
    "readout.w: expected float64, as inputs has; got float32 (nothing is cast)": lambda: of_readout(w=READOUT.w.astype(np.float32)),
    "lengths: expected integers; got float64": lambda: cost(lengths=LENGTHS.astype(float)),
    "lengths: expected integers; got >i8": lambda: cost(lengths=LENGTHS.astype(">i8")),
    # values
    "inputs: expected finite numbers; got nan at index [4, 2, 1] (1 in all)": lambda: cost(inputs=changed(X, (4, 2, 1), np.nan)),
    "inputs: expected finite numbers; got inf at index [0, 1, 0] (2 in all)": lambda: cost(inputs=changed(X, (0, 1), np.inf)),
    "inputs: expected finite numbers; got nan at index [1, 1, 0] (1 in all)": lambda: cost(
        inputs=changed(changed(X, (4, 1), np.nan), (1, 1, 0), np.nan), lengths=LENGTHS
    ),
    "targets: expected finite numbers; got -inf at index [3, 0, 5] (1 in all)": lambda: cost(targets=changed(Y, (3, 0, 5), -np.inf)),
    "layers[0].w_x: expected finite numbers; got nan at index [1, 7] (1 in all)": lambda: of_layer(w_x=changed(LAYER.w_x, (1, 7), np.nan)),
    "readout.b: expected finite numbers; got inf at index [3] (1 in all)": lambda: of_readout(b=changed(READOUT.b, 3, np.inf)),
    "initial_state[0].c: expected finite numbers; got nan at index [2, 0] (1 in all)": lambda: of_state(c=changed(STATE.c, (2, 0), np.nan)),
    "lengths: expected integers from 0 to 5; got 6 at index [1]": lambda: cost(lengths=np.array([5, 6, 7])),
    "lengths: expected integers from 0 to 5; got -1 at index [0]": lambda: cost(lengths=np.array([-1, 2, 0])),
    "lengths: expected at least one timestep in all, to have a cost; got zeros only": lambda: cost(lengths=0 * LENGTHS),
    "targets: expected integers from 0 to 5; got 6 at index [2, 1]": lambda: entropy(changed(LABELS, (2, 1), 6)),
    "targets: expected integers from 0 to 5; got -1 at index [0, 0]": lambda: entropy(changed(LABELS, (0, 0), -1), lengths=LENGTHS),
    "targets: expected probability vectors (entries at least 0 that sum to 1) or integer labels (T, B); "
    "got [0.   0.   0.25 0.   0.   0.5 ], which sums to 0.75, at t = 2, b = 1": lambda: entropy(
        changed(np.eye(K)[LABELS], (2, 1), [0, 0, 0.25, 0, 0, 0.5])
    ),
    "targets: expected probability vectors (entries at least 0 that sum to 1) or integer labels (T, B); "
    "got [ 0.5  0.   0.  -0.5  0.   1. ], which sums to 1, at t = 0, b = 2": lambda: entropy(
        changed(np.eye(K)[LABELS], (0, 2), [0.5, 0, 0, -0.5, 0, 1])
    ),
    # types
    "network: expected an lstm.Network; got Layer": lambda: cost(LAYER),
    "network: expected an lstm.Network; got NoneType": lambda: cost(None),
    "layers: expected an lstm.Layer or a sequence of them, lowest first; got 'abc'": lambda: lstm.forward("abc", X),
    "layers: expected an lstm.Layer or a sequence of them, lowest first; got a tuple of 0": lambda: lstm.forward((), X),
    "layers: expected an lstm.Layer or a sequence of them, lowest first; got Network": lambda: lstm.forward(NETWORK, X),
    "layers[1]: expected an lstm.Layer; got None": lambda: lstm.layer((LAYER, None), X),
    "readout: expected an lstm.Readout or None; got ndarray": lambda: cost(dataclasses.replace(NETWORK, readout=READOUT.w)),
    "inputs: expected a NumPy or JAX array; got None": lambda: cost(inputs=None),
    "inputs: expected a NumPy or JAX array; got a list of 5": lambda: cost(inputs=X.tolist()),
    "inputs: expected a NumPy or JAX array; got MaskedArray": lambda: cost(inputs=np.ma.masked_array(X)),
    "targets: expected a NumPy or JAX array; got 'abc'": lambda: cost(targets="abc"),
    "lengths: expected a NumPy or JAX array; got a list of 3": lambda: cost(lengths=[5, 2, 0]),
    "layers[0].b: expected a NumPy or JAX array; got None": lambda: of_layer(b=None),
    "initial_state: expected 1 lstm.State, one for each layer; got ndarray": lambda: cost(initial_state=STATE.h),
    "initial_state: expected 1 lstm.State, one for each layer; got a tuple of 2": lambda: cost(initial_state=(STATE, STATE)),
    "initial_state[0]: expected an lstm.State; got a tuple of 2": lambda: cost(initial_state=((STATE.h, STATE.c),)),
    "initial_state[0].h: expected a NumPy or JAX array; got None": lambda: of_state(h=None),
    # choices
    "loss: expected one of squared_error, cross_entropy; got 'mse'": lambda: cost(loss="mse"),
    "loss: expected one of squared_error, cross_entropy; got None": lambda: cost(loss=None),
    "loss: expected one of squared_error, cross_entropy; got a list of 1": lambda: cost(loss=["mse"]),
    "reduction: expected one of mean, sum; got 'none'": lambda: cost(reduction="none"),
    "hidden_size: expected an integer of at least 1; got 0": lambda: lstm.init_network(0, input_size=2, hidden_size=0),
    "hidden_size: expected an integer of at least 1; got True": lambda: lstm.init_network(0, input_size=2, hidden_size=True),
    "num_layers: expected an integer of at least 1; got 1.0": lambda: lstm.init_network(0, input_size=2, hidden_size=3, num_layers=1.0),
    "dtype: expected float32 or float64; got 'half precision'": lambda: lstm.init_network(
        0, input_size=2, hidden_size=3, dtype="half precision"
    ),
    "seed: expected an integer of at least 0; got -1": lambda: lstm.init_network(-1, input_size=2, hidden_size=3),
    "seed: expected an integer of at least 0; got None": lambda: lstm.init_network(None, input_size=2, hidden_size=3),
    "dtype: expected float32 or float64; got float16": lambda: lstm.init_network(0, input_size=2, hidden_size=3, dtype=np.float16),
}


def message_of(call) -> str:
    with pytest.raises(BadInput) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize("message", REFUSED)
def test_the_message_names_what_was_expected_and_what_came(message):
    assert message_of(REFUSED[message]) == message


def test_a_long_vector_of_bad_probabilities_stays_on_one_line():
    bad = draw(Case(T=1, B=1, D=D, H=H, K=8), seed=3)
    targets = np.array([[[1.2345e-5] * 8]])
    message = message_of(lambda: lstm.loss_and_gradients(bad.network, bad.inputs, targets, loss="cross_entropy"))
    assert "\n" not in message
    assert message.endswith("which sums to 9.876e-05, at t = 0, b = 0")


@pytest.fixture(scope="module")
def residuals():
    return lstm.forward(LAYER, X)[2]


@pytest.mark.parametrize(
    ("d_outputs", "d_final_state", "message"),
    [
        (ones((T, B, H + 1)), None, "d_outputs: expected axis 2 of (T, B, R) to have size 4, since R = 4 in forward's outputs; "
         "got shape (5, 3, 5)"),
        (ones((T, 1, H)), None, "d_outputs: expected axis 1 of (T, B, R) to have size 3, since B = 3 in forward's outputs; "
         "got shape (5, 1, 4)"),
        (ones((T, B, H), np.float32), None, "d_outputs: expected float64, as forward's outputs has; got float32 (nothing is cast)"),
        (np.full((T, B, H), np.nan), None, "d_outputs: expected finite numbers; got nan at index [0, 0, 0] (60 in all)"),
        (None, State(h=ones((B, H + 1)), c=None), "d_final_state[0].h: expected axis 1 of (B, R) to have size 4, since R = 4 in w_h; "
         "got shape (3, 5)"),
        (None, State(h=None, c=np.full((B, H), -np.inf)),
         "d_final_state[0].c: expected finite numbers; got -inf at index [0, 0] (12 in all)"),
        (None, ones((B, H)), "d_final_state: expected 1 lstm.State, one for each layer; got ndarray"),
    ],
)  # fmt: skip
def test_of_upstream_gradients(residuals, d_outputs, d_final_state, message):
    assert message_of(lambda: lstm.backward(LAYER, residuals, d_outputs, d_final_state)) == message


@pytest.mark.parametrize("kept", [None, 3, "abc", (), X], ids=repr)
def test_of_residuals(kept):
    expected = "residuals: expected what lstm.forward returned for these 1 layers; got something else"
    assert message_of(lambda: lstm.backward(LAYER, kept)) == expected
    assert message_of(lambda: lstm.backward((LAYER,), kept)) == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"w_h": LAYER.w_h[:1]}, "layers[0].w_h: expected axis 0 of (H, 4H) to have size 4, since H = 4 in layers[0].w_x; "
         "got shape (1, 16)"),
        ({"w_x": np.vstack([LAYER.w_x] * 2)}, "layers[0].w_x: expected axis 0 of (D, 4H) to have size 2, since D = 2 in residuals; "
         "got shape (4, 16)"),
        ({"w_x": LAYER.w_x.astype(np.float32)}, "layers[0].w_x: expected float64, as residuals has; got float32 (nothing is cast)"),
        ({"b": changed(LAYER.b, 3, np.nan)}, "layers[0].b: expected finite numbers; got nan at index [3] (1 in all)"),
        (
            {"w_x": ones((D, 20)), "w_h": ones((5, 20)), "b": ones(20)},
            "layers: expected (R, H, number of gates) = (4, 4, 4), as in residuals; got (5, 5, 4)",
        ),
    ],
)  # fmt: skip
def test_of_layers_that_did_not_make_the_residuals(residuals, fields, message):
    """Or a weight of the wrong shape would be broadcast, and one of the wrong precision cast, to a wrong gradient."""
    assert message_of(lambda: lstm.backward(dataclasses.replace(LAYER, **fields), residuals)) == message


def test_float64_that_jax_would_round_is_refused():
    """Inside somebody's differentiation in 32-bit mode the mode cannot change any more."""
    expected = (
        "float64 arrays reached a function that JAX is tracing in 32-bit mode, where it would round them "
        "to float32; call it inside `with jax.enable_x64(True):`, or pass float32 arrays"
    )
    for function in (lstm.layer, lambda *args: lstm.forward(*args)[:2]):
        assert message_of(lambda f=function: jax.grad(lambda x: f(LAYER, x)[0].sum())(jnp_double(X))) == expected
    with jax.enable_x64(True):
        assert jax.grad(lambda x: lstm.layer(LAYER, x)[0].sum())(jnp.asarray(X)).dtype == np.float64


def jnp_double(array):
    with jax.enable_x64(True):
        return jnp.asarray(array)


def test_shapes_and_dtypes_are_checked_while_jax_traces():
    """Values cannot be; but what can be known is."""
    single = jax.tree.map(lambda leaf: leaf.astype(np.float32), (NETWORK, X, Y))
    traced = jax.jit(lambda network, inputs, targets: lstm.loss_and_gradients(network, inputs, targets))
    assert message_of(lambda: traced(single[0], single[1][:, :, :1], single[2])) == (
        "layers[0].w_x: expected axis 0 of (D, 4H) to have size 1, since D = 1 in inputs; got shape (2, 16)"
    )
    assert message_of(lambda: traced(single[0], single[1], LABELS)) == f"targets: expected float32 or float64; got int32 ({CAST})"


def test_a_network_made_of_the_wrong_things():
    assert message_of(lambda: cost(Network((Layer(w_x=3, w_h=3, b=3),), Readout(w=3, b=3)))).endswith("NumPy or JAX array; got 3")
