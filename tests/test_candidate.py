"""The file contract: every name, shape, kind and number that is not as it should be, in one line that names the array."""

from __future__ import annotations

import numpy as np
import pytest
from verify_cases import Arrays, golden, without

import lstm
from checks.cli import main
from checks.files.candidate import Reading
from checks.files.candidate_reading import understand
from lstm import BadInput
from lstm.layouts import LAYOUTS

PLAIN, READING = golden("torch", timesteps=7, batch=3, inputs=4, hidden=5)
COST, COST_READING = golden("torch", loss="cross_entropy", outputs=2)
GRADIENTS = [name for name in PLAIN if name.startswith("grad.")]


def refused(arrays: Arrays, reading: Reading = READING) -> str:
    with pytest.raises(BadInput) as raised:
        understand(arrays, reading)
    assert str(raised.value).isprintable()
    return str(raised.value)


def put(name: str, value: object) -> Arrays:
    return PLAIN | {name: np.asarray(value)}


def with_nan(name: str) -> Arrays:
    array = PLAIN[name].copy()
    array.flat[-1] = np.nan
    return PLAIN | {name: array}


FLOATS = ("inputs", "weight_hh_l0", "bias_ih_l0", "h0", "d_outputs", "d_c_n", "outputs", "c_n", "grad.weight_ih_l0")


@pytest.mark.parametrize("kind", ["int64", "uint8", "complex128", "bool"])
@pytest.mark.parametrize("name", FLOATS)
def test_kinds(name, kind):
    array = PLAIN[name].astype(kind)
    assert refused(put(name, array)) == f"{name}: expected float64, float32, float16 or bfloat16; got {array.dtype}"


@pytest.mark.parametrize("name", [name for name in PLAIN if not name.startswith("internal.")])
def test_nan_anywhere(name):
    last = [size - 1 for size in PLAIN[name].shape]
    assert refused(with_nan(name)) == f"{name}: expected finite numbers; got nan at index {last} (1 in all)"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (without(PLAIN, "inputs"), "inputs: expected an array of this name; got weight_ih_l0, weight_hh_l0, "),
        (without(PLAIN, "weight_hh_l0"), "weight_hh_l0: expected an array of this name, for the layout torch; got "),
        (without(PLAIN, "inputs") | {"input": PLAIN["inputs"]}, "input: expected a name of the file contract or of the layout; "
         "got this one; did you mean inputs?"),
        (put("d_ouputs", 1.0), "d_ouputs: expected only arrays of the layout torch; got this name too; "),
        (put("weight_ih_10", 1.0), "weight_ih_10: expected only arrays of the layout torch; got this name too; "),
        (without(PLAIN, "bias_hh_l0") | {"bias_hh_0": PLAIN["bias_hh_l0"]}, "bias_hh_0: expected only arrays of the layout torch; "
         "got this name too; did you mean bias_hh_l0?"),
        (put("grad.weight_hh_l1", 1.0), "grad.weight_hh_l1: expected the gradient of an array of the file; got this name; "
         "did you mean weight_hh_l0?"),
        (put("grad.lengths", 1.0), "grad.lengths: expected the gradient of an array of the file; got this name"),
        (put("internal.notes", 1.0), "internal.notes: expected internal.d_z_l0, d_h_l0, d_c_l0 or those of other layers; got this name"),
        (put("loss\nless", 1.0), "loss\\nless"),
        (without(PLAIN, "d_outputs", "d_h_n", "d_c_n"), "d_outputs: expected upstream gradients (d_outputs, d_h_n, d_c_n), or targets "
         "with --loss; got neither"),
        (put("targets", PLAIN["d_outputs"]), "d_outputs and targets: expected upstream gradients or a cost; got both"),
        (without(PLAIN, *GRADIENTS, "outputs", "h_n", "c_n"), "grad.NAME: expected at least one gradient, or outputs, h_n or c_n, "
         "to check; got none"),
    ],
)  # fmt: skip
def test_names(arrays, message):
    assert message in refused(arrays)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (put("inputs", np.ones((7, 3, 6))), "inputs: expected axes (T, B, D) with D = 4, as the weights take; got shape (7, 3, 6)"),
        (put("inputs", np.ones((4, 7, 3))), "inputs: expected axes (T, B, D) with D = 4, as the weights take; got shape (4, 7, 3) "
         "(--axes DTB would fit)"),
        (put("inputs", np.ones((7, 3))), "inputs: expected 3 axes (T, B, D); got shape (7, 3)"),
        (put("inputs", np.ones((0, 3, 4))), "inputs: expected at least one entry along each axis; got shape (0, 3, 4)"),
        (put("weight_hh_l0", np.ones((20, 0))), "weight_hh_l0: expected at least one entry along each axis; got shape (20, 0)"),
        (put("weight_hh_l0", PLAIN["weight_hh_l0"].T), "weight_hh_l0: expected "),
        (put("bias_ih_l0", np.ones(19)), "bias_ih_l0: expected "),
        (put("h0", np.ones((1, 2, 5))), "c0: expected B = 2 as in h0; got shape (1, 3, 5)"),
        (put("h0", np.ones((1, 3, 6))), "h0: expected axes (N, B, H) with N = 1, H = 5"),
        (without(put("h0", np.ones((1, 2, 5))), "c0"), "h0: expected B = 3, as inputs have (one initial state for each sequence); "
         "got shape (1, 2, 5)"),
        (put("c_n", np.ones((1, 3, 6))), "c_n: expected axes (N, B, H) with N = 1, H = 5"),
        (put("d_outputs", np.ones((7, 3, 4))), "d_outputs: expected axes (T, B, D) with T = 7, B = 3, D = 5, like the outputs; "
         "got shape (7, 3, 4)"),
        (put("outputs", np.ones((3, 7, 5))), "outputs: expected axes (T, B, D) with T = 7, B = 3, D = 5"),
        (put("lengths", np.ones(3)), "lengths: expected integers; got float64"),
        (put("lengths", [7, 7]), "lengths: expected shape (3,), since B = 3 in inputs; got (2,)"),
        (put("lengths", [7, 8, 1]), "lengths: expected integers from 0 to T = 7, not all 0; got [7, 8, 1]"),
        (put("lengths", [0, 0, 0]), "lengths: expected integers from 0 to T = 7, not all 0; got [0, 0, 0]"),
        (put("lengths", np.array([7, 2**64 - 1, 1], np.uint64)), "lengths: expected integers from 0 to T = 7"),
        (put("grad.weight_hh_l0", PLAIN["weight_ih_l0"].T), "grad.weight_hh_l0: expected shape (20, 5), as weight_hh_l0 has; "
         "got (4, 20)"),
        (put("grad.weight_ih_l0", PLAIN["weight_ih_l0"].T), "got (4, 20), its transpose"),
        (put("grad.h0", np.ones((3, 5))), "grad.h0: expected shape (1, 3, 5), as h0 has; got (3, 5)"),
        (without(put("grad.h0", np.ones((1, 3, 7))), "h0"), "grad.h0: expected axes (N, B, H) with N = 1, H = 5"),
        (put("internal.d_z_l0", np.ones((3, 7, 20))), "internal.d_z_l0: expected shape (T, B, features) with T, B = (7, 3)"),
    ],
)  # fmt: skip
def test_shapes(arrays, message):
    assert message in refused(arrays)


@pytest.mark.parametrize(
    ("changes", "reading", "message"),
    [
        ({"targets": None}, {}, "targets: expected beside readout.weight and readout.bias; got none"),
        ({}, {"loss": None}, "targets: expected --loss to say of which cost (squared_error, cross_entropy); got no --loss"),
        ({"readout.bias": None}, {}, "readout.weight: expected readout.weight and readout.bias together; got one alone"),
        ({"readout.weight": np.ones((5, 2))}, {}, "readout.weight: expected shape (2, 5), (K, R) of this layout; got (5, 2), its tr"),
        ({"readout.bias": np.ones((2, 1))}, {}, "readout.bias: expected one axis (K,); got shape (2, 1)"),
        ({"targets": np.full((7, 3), 2)}, {}, "targets: expected labels from 0 to 1; got 2 at t = 0, b = 0"),
        ({"targets": np.full((7, 3), -1)}, {}, "targets: expected labels from 0 to 1; got -1 at t = 0, b = 0"),
        ({"targets": np.ones((3, 7), int)}, {}, "targets: expected shape (7, 3), labels (T, B); got (3, 7), its transpose"),
        ({"targets": np.ones((7, 3, 2), int)}, {}, "targets: expected shape (7, 3), labels (T, B); got (7, 3, 2)"),
        ({"targets": np.ones((7, 3, 2))}, {}, "targets: expected probability vectors"),
        ({"targets": np.ones((7, 3, 4))}, {"loss": "squared_error"}, "targets: expected axes (T, B, D) with T = 7, B = 3, D = 2"),
        ({"targets": np.ones((7, 3), int)}, {"loss": "squared_error"}, "targets: expected 3 axes (T, B, D); got shape (7, 3)"),
    ],
)
def test_costs(changes, reading, message):
    arrays = {name: array for name, array in (COST | changes).items() if array is not None}
    settings = {"loss": COST_READING.loss} | reading
    assert message in refused(arrays, Reading(COST_READING.layout, **settings))


def test_a_loss_without_targets():
    assert refused(PLAIN, Reading(READING.layout, loss="squared_error")) == "targets: expected with --loss squared_error; got none"


def test_small_arrays_that_describe_a_network_no_machine_holds():
    arrays = {"inputs": np.ones((3_000_000, 1, 1)), "weight_ih_l0": np.ones((4096, 1)), "weight_hh_l0": np.ones((4096, 1024))}
    arrays |= {"d_h_n": np.ones((1, 1, 1024)), "grad.weight_ih_l0": np.ones((4096, 1))}
    message = refused(arrays)
    assert message.startswith("inputs: expected a problem that fits this machine's ")
    assert "T B = 3000000 timesteps of 4096 pre-activations need about 11796 GB" in message


def test_what_is_understood():
    candidate = understand(PLAIN, READING)
    assert candidate.differentiable == ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "inputs", "h0", "c0"]
    (layer,) = candidate.case.layers
    np.testing.assert_array_equal(layer.w_x, PLAIN["weight_ih_l0"].T)
    np.testing.assert_array_equal(layer.b, PLAIN["bias_ih_l0"] + PLAIN["bias_hh_l0"])
    np.testing.assert_array_equal(candidate.case.d_final_state[0].c, PLAIN["d_c_n"][0])
    clipped = understand(PLAIN, Reading(READING.layout, clip=lstm.CellClip(0.5), activations=lstm.Activations("sigmoid", "relu", "tanh")))
    assert clipped.case.layers[0].clip == lstm.CellClip(0.5)
    assert clipped.case.layers[0].activations.candidate == "relu"


def test_the_coarsest_precision_counts():
    mixed = PLAIN | {"weight_hh_l0": PLAIN["weight_hh_l0"].astype(np.float32)}
    assert understand(mixed, READING).precision("weight_ih_l0") == np.float32
    mixed = PLAIN | {"grad.h0": PLAIN["grad.h0"].astype(np.float16)}
    assert understand(mixed, READING).precision("h0") == np.float16
    assert understand(mixed, READING).precision("c0") == np.float64
    assert understand(mixed, READING).precision("outputs") == np.float64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layout", "torch", "--attribute", "x"], "--attribute: expected NAME=VALUE; got 'x'"),
        (["--layout", "torch", "--activations", "tanh"], "--activations: expected three names, of the gates, the candidate and the output; "
         "got tanh"),
        (["--layout", "torch", "--clip", "-1"], "--clip: expected a positive number; got -1.0"),
        (["--layout", "jax-cudnn"], "input_size: expected with the layout jax-cudnn: D; got none"),
        (["--layout-file", "none.toml"], "none.toml: expected a layout's description, in TOML; got No such file or directory"),
        (["--layout", "torch", "--activations", "tanh,tanh,cosh"], "cosh"),
    ],
)  # fmt: skip
def test_options(words, message, tmp_path, capsys):
    path = tmp_path / "v.npz"
    np.savez(path, **PLAIN)
    assert main(["verify", str(path), *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("lstm-check verify: ")
    assert message in output.err
    assert output.err.count("\n") == 1


def test_no_layout_is_an_error_of_the_command_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["verify", "v.npz"])
    assert stopped.value.code == 2
    assert "one of the arguments --layout --layout-file is required" in capsys.readouterr().err


def test_all_layouts_say_what_is_missing():
    for name, layout in LAYOUTS.items():
        attributes = {"input_size": 4, "hidden_size": 5, "num_layers": 1} if name == "jax-cudnn" else {}
        message = refused({"inputs": np.ones((2, 3, 4)), "d_outputs": np.ones((2, 3, 5))}, Reading(layout, attributes=attributes))
        assert "expected an array of this name" in message


def test_the_layout_whose_names_these_are_is_said():
    message = refused(PLAIN, Reading(LAYOUTS["keras"]))
    assert message.endswith("; these are names of --layout torch")
    assert refused(golden("onnx")[0], Reading(LAYOUTS["torch"])).endswith("; these are names of --layout onnx or onnx-batch-major")
    assert "these are names" not in refused(without(PLAIN, "weight_hh_l0"))


MASKED, MASKED_READING = golden("torch", dropout=True, zoneout=True, axes="BTD")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mask.input_l0", 1.0, "mask.input_l0: expected a mask of one of the layers, as mask.inputs_l0; got this name; "
         "did you mean mask.inputs_l0?"),
        ("mask.foo", 1.0, "mask.foo: expected a mask of one of the layers, as mask.inputs_l0; got this name"),
        ("mask.inputs_l0", np.ones((7, 3, 4)), "mask.inputs_l0: expected shape (3, 7, 4), the axes (B, T, D) of what it multiplies; "
         "got (7, 3, 4)"),
        ("mask.zoneout_c_l0", np.ones((4, 3)), "mask.zoneout_c_l0: expected shape (3, 5), the axes (B, D) of what it multiplies; "
         "got (4, 3)"),
        ("mask.zoneout_h_l0", np.ones((3, 7, 5), bool), "mask.zoneout_h_l0: expected float64, float32, float16 or bfloat16; got bool"),
        ("mask.zoneout_h_l0", np.full((3, 7, 5), np.nan), "mask.zoneout_h_l0: expected finite numbers; got nan at index [0, 0, 0]"),
    ],
)  # fmt: skip
def test_masks(name, value, message):
    assert message in refused(MASKED | {name: np.asarray(value)}, MASKED_READING)


def test_a_mask_without_timesteps_is_the_same_at_all():
    constant = MASKED["mask.inputs_l0"][:, 2]
    (short,) = understand(MASKED | {"mask.inputs_l0": constant}, MASKED_READING).case.masks
    (long,) = understand(MASKED | {"mask.inputs_l0": np.repeat(constant[:, None], 7, axis=1)}, MASKED_READING).case.masks
    np.testing.assert_array_equal(short.inputs, long.inputs)
    np.testing.assert_array_equal(long.inputs[3], constant)
    assert short.recurrent is None
