"""What a file that does not fit its layout gets to read: one line that names the array, what was expected and what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lstm
from lstm.layouts import LAYOUTS

D, H, B = 3, 5, 2


def torch_weights(levels: int = 1, reverse: bool = False) -> dict[str, np.ndarray]:
    """PyTorch's shapes, written out here."""
    rng = np.random.default_rng(0)
    weights = {}
    for level in range(levels):
        for suffix in ("", "_reverse")[: 1 + reverse]:
            features = D if level == 0 else H * (1 + reverse)
            weights[f"weight_ih_l{level}{suffix}"] = rng.standard_normal((4 * H, features))
            weights[f"weight_hh_l{level}{suffix}"] = rng.standard_normal((4 * H, H))
            weights[f"bias_ih_l{level}{suffix}"] = rng.standard_normal(4 * H)
            weights[f"bias_hh_l{level}{suffix}"] = rng.standard_normal(4 * H)
    return weights


def changed(weights: dict[str, Any], rename: dict[str, str] | None = None, **arrays: Any) -> dict[str, Any]:
    rename = rename or {}
    return {rename.get(name, name): array for name, array in weights.items() if rename.get(name, name)} | arrays


def refusal(layout: str, weights: dict[str, Any], **attributes: Any) -> str:
    with pytest.raises(lstm.BadInput) as error:
        LAYOUTS[layout].read(weights, attributes)
    message = str(error.value)
    assert "\n" not in message
    return message


ONE, TWO = torch_weights(), torch_weights(2, reverse=True)
TORCH = {
    "missing": (
        changed(ONE, {"weight_hh_l0": ""}),
        "weight_hh_l0: expected an array of this name, for the layout torch; got weight_ih_l0, bias_ih_l0, bias_hh_l0",
    ),
    "misspelt": (
        changed(ONE, {"weight_hh_l0": "weight_hh_10"}),
        "weight_hh_l0: expected an array of this name, for the layout torch; got weight_hh_10, perhaps misspelt",
    ),
    "misspelt optional": (
        changed(ONE, {"bias_hh_l0": "biass_hh_l0"}),
        "biass_hh_l0: expected only arrays of the layout torch; got this name too; did you mean bias_hh_l0?",
    ),
    "unknown": (
        changed(ONE, zzz=ONE["bias_ih_l0"]),
        "zzz: expected only arrays of the layout torch; got this name too; no array of the layout has a name like it",
    ),
    "on two lines": (
        changed(ONE, {"bias_hh_l0": "zz\nz"}),
        "'zz\\nz': expected only arrays of the layout torch; got this name too; no array of the layout has a name like it",
    ),
    "level left out": (
        changed(TWO, {name: name.replace("l1", "l2") for name in TWO}),
        "weight_ih_l2: expected only arrays of the layout torch; got this name too; did you mean weight_ih_l1?",
    ),
    "reverse missing": (
        changed(TWO, {name: "" for name in TWO if name.endswith("l1_reverse")}),
        "weight_ih_l1_reverse: expected an array of this name, for the layout torch; got weight_ih_l0, weight_hh_l0, bias_ih_l0, "
        "bias_hh_l0, weight_ih_l0_reverse, weight_hh_l0_reverse, bias_ih_l0_reverse, bias_hh_l0_reverse, …",
    ),
    "transposed": (
        changed(ONE, weight_hh_l0=ONE["weight_hh_l0"].T),
        "weight_hh_l0: expected shape (20, 5) = (4H, H), since H = 5 in weight_ih_l0; got (5, 20), its transpose",
    ),
    "not four gates": (
        changed(ONE, weight_ih_l0=np.ones((D, 4 * H))),
        "weight_ih_l0: expected axis 0 of (4H, D) to be 4H for a whole number H of at least 1; got shape (3, 20)",
    ),
    "bias a column": (changed(ONE, bias_ih_l0=np.ones((4 * H, 1))), "bias_ih_l0: expected 1 axes (4H); got shape (20, 1)"),
    "wrong features above": (
        changed(TWO, weight_ih_l1=np.ones((4 * H, H))),
        "weight_ih_l1: expected shape (20, 10) = (4H, D), since D = 10 in the outputs of level 0; got (20, 5)",
    ),
    "integers": (
        changed(ONE, bias_ih_l0=np.ones(4 * H, np.int64)),
        "bias_ih_l0: expected float32 or float64; got int64 (nothing is cast silently)",
    ),
    "mixed dtypes": (
        changed(ONE, bias_ih_l0=ONE["bias_ih_l0"].astype(np.float32)),
        "bias_ih_l0: expected float64, as weight_ih_l0 has; got float32 (nothing is cast)",
    ),
    "no entries": (
        changed(ONE, bias_ih_l0=np.ones(0)),
        "bias_ih_l0: expected at least one entry along each axis; got shape (0,)",
    ),
    "a list": (changed(ONE, bias_ih_l0=[1.0]), "bias_ih_l0: expected a NumPy or JAX array; got a list of 1"),
    "NaN": (
        changed(ONE, bias_ih_l0=np.where(np.arange(4 * H) == 7, np.nan, 1.0)),
        "bias_ih_l0: expected finite numbers; got nan at index [7] (1 in all)",
    ),
    "a scalar": (changed(ONE, weight_hh_l0=np.array(1.0)), "weight_hh_l0: expected 2 axes (4H, H); got shape ()"),
    "nothing": ({}, "weight_ih_l0: expected an array of this name, for the layout torch; got no arrays"),
}


@pytest.mark.parametrize("fault", TORCH)
def test_torch_arrays_that_do_not_fit(fault: str) -> None:
    weights, message = TORCH[fault]
    assert refusal("torch", weights) == message


def test_names_of_several_single_cells_fit_together() -> None:
    kernel, recurrent = np.ones((D, 4 * H)), np.ones((H, 4 * H))
    one = {"kernel": kernel, "recurrent_kernel": recurrent}
    assert refusal("keras", one | {f"backward_layer/{name}": array for name, array in one.items()}) == (
        "forward_layer/kernel: expected an array of this name, for the layout keras; "
        "got kernel, recurrent_kernel, backward_layer/kernel, backward_layer/recurrent_kernel"
    )
    assert refusal("keras", {f"0/{name}": array for name, array in one.items()} | {"kernel": kernel}) == (
        "kernel: expected only arrays of the layout keras; got this name too; did you mean 1/kernel?"
    )


def test_onnx_directions() -> None:
    W, R = np.ones((3, 4 * H, D)), np.ones((3, 4 * H, H))
    assert refusal("onnx", {"W": W, "R": R}) == "W: expected 1 or 2 directions along its axis for them; got 3"
    assert refusal("onnx", {"W": W[:2], "R": R[:1]}) == (
        "R: expected shape (2, 20, 5) = (directions, 4H, H), since directions = 2 in the arrays; got (1, 20, 5)"
    )
    assert refusal("onnx", {"W": W[:1], "R": R[:1]}, direction="bidirectional") == (
        "W: expected 2 along its axis of directions, since direction is bidirectional; got 1"
    )
    assert refusal("onnx", {"W": W[:2], "R": R[:2]}, direction="reverse") == (
        "W: expected 1 along its axis of directions, since direction is reverse; got 2"
    )
    assert refusal("onnx", {"W": W[:1], "R": R[:1]}, direction="sideways") == (
        "direction: expected one of forward, reverse, bidirectional; got 'sideways'"
    )
    assert refusal("onnx", {"W": W[:1], "R": R[:1]}, activations=["Sigmoid", "Elu", "Tanh"]) == (
        "activations: expected three of Sigmoid, Tanh, Relu, Softsign, HardSigmoid; got \"['Sigmoid', 'Elu', 'Tanh']\""
    )


def test_jax_cudnn_sizes() -> None:
    sizes = {"input_size": D, "hidden_size": H, "num_layers": 1}
    count = 4 * H * (D + H + 2)
    assert LAYOUTS["jax-cudnn"].read({"weights": np.ones(count)}, sizes)[0].w_x.shape == (D, 4 * H)
    assert refusal("jax-cudnn", {"weights": np.ones(count + 1)}, **sizes) == (
        f"weights: expected shape ({count},) for D = 3, H = 5, 1 layer(s) and 1 direction(s); got ({count + 1},)"
    )
    assert refusal("jax-cudnn", {"weights": np.ones(count)}) == "input_size: expected with the layout jax-cudnn: D; got none"
    assert refusal("jax-cudnn", {"weights": np.ones(count)}, **sizes | {"hidden_size": 10**18}).startswith("weights: expected shape (")
    assert refusal("jax-cudnn", {"weights": np.ones(count)}, **sizes | {"num_layers": 0}) == (
        "num_layers: expected an integer of at least 1; got 0"
    )
    assert refusal("jax-cudnn", {"weights": np.ones(count)}, **sizes, hiden_size=3) == (
        "'hiden_size': expected an attribute of the layout jax-cudnn (hidden_size); got this name"
    )


def test_activation_names() -> None:
    weights = {"kernel": np.ones((D, 4 * H)), "recurrent_kernel": np.ones((H, 4 * H))}
    assert refusal("keras", weights, activation="gelu") == (
        "activation: expected one of sigmoid, tanh, linear, relu, softsign, hard_sigmoid; got 'gelu'"
    )
    canonical = {"layers.0.w_x": np.ones((D, 4 * H)), "layers.0.w_h": np.ones((H, 4 * H)), "layers.0.b": np.ones(4 * H)}
    for name in ("hard_sigmoid(0)", "hard_sigmoid(x)", "hard_sigmoid", 3):
        assert refusal("canonical", canonical, gate_activation=name).startswith("gate_activation")
    assert refusal("canonical", canonical, clip=-1) == "clip: expected a positive number; got -1"


def test_every_activation_that_a_layout_names_is_one_of_ours() -> None:
    from lstm.activations import ACTIVATIONS, activation
    from lstm.layouts.attributes import ACTIVATIONS as NAMED
    from lstm.layouts.onnx import ACTIVATIONS as ONNX

    assert set(NAMED) - {"hard_sigmoid(SLOPE)"} == set(ACTIVATIONS)
    for name in ("keras", "flax"):
        for ours in LAYOUTS[name].activations.names.values():
            activation(ours)
    for ours in ONNX.values():
        activation(ours)


@pytest.mark.parametrize(
    ("h", "c", "message"),
    [
        ((B, H + 1), (B, H), "h0: expected axes (B, H) with H = 5; got shape (2, 6)"),
        ((2, B, H), (1, B, H), "h0: expected axes (N, B, H) with N = 1, H = 5, N the layers and directions; got shape (2, 2, 5)"),
        ((1, B, H), (1, B + 1, H), "c0: expected B = 2 as in h0; got shape (1, 3, 5)"),
    ],
)
def test_states_that_do_not_fit(h: tuple[int, ...], c: tuple[int, ...], message: str) -> None:
    layers = LAYOUTS["torch"].read(ONE)
    with pytest.raises(lstm.BadInput) as error:
        LAYOUTS["torch"].read_states(np.ones(h), np.ones(c), layers)
    assert str(error.value) == message


def test_gradients_that_do_not_fit() -> None:
    with pytest.raises(lstm.BadInput, match=r"weight_hh_l1: expected the gradient on one of weight_ih_l0, .*; got this name"):
        LAYOUTS["torch"].read_gradients({"weight_hh_l1": np.ones(1)}, ONE)
    with pytest.raises(lstm.BadInput, match=r"weight_hh_l0: expected a gradient of the weight's shape \(20, 5\); got \(5, 20\)"):
        LAYOUTS["torch"].read_gradients({"weight_hh_l0": np.ones((5, 20))}, ONE)
