"""`lstm-check export`: golden vectors that tell gates, transposes and timesteps apart, and say no more than is true."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
from verify_cases import VARIANTS, golden

import lstm
from checks.cli import main
from checks.files.array_file import read_arrays
from checks.files.candidate_reading import understand
from checks.files.draw import ExportOptions, random_case
from checks.files.export import export
from checks.oracle.case import OracleCase
from checks.oracle.tolerance import RoundingModel
from lstm import BadInput
from lstm.layouts import LAYOUTS
from lstm.levels import directions, together_as_layers

pytestmark = pytest.mark.long

VISIBLE = 1e-3  # of the largest output: far above any rounding


def on_layers(case: OracleCase, change) -> OracleCase:
    levels = [together_as_layers(level, [change(direction.layer) for direction in directions(level)]) for level in case.layers]
    return dataclasses.replace(case, layers=tuple(levels))


def permuted(layer: lstm.Layer, order: tuple[int, ...]) -> lstm.Layer:
    def moved(array):
        blocks = np.split(array, len(order), axis=-1)
        return np.concatenate([blocks[index] for index in order], axis=-1)

    return dataclasses.replace(layer, w_x=moved(layer.w_x), w_h=moved(layer.w_h), b=moved(layer.b))


def differs(case: OracleCase, other: OracleCase) -> bool:
    """Visibly, in the outputs of every sequence."""
    outputs, others = case.forward()[0], other.forward()[0]
    return bool((np.abs(outputs - others).max(axis=(0, 2)) > VISIBLE * np.abs(outputs).max()).all())


def square_case(variant: str, seed: int) -> OracleCase:
    """D = H, so that every matrix block has a transpose of its own shape."""
    options = {name: value for name, value in VARIANTS[variant].items() if name not in ("layers", "projection", "lengths")}
    return random_case(ExportOptions(LAYOUTS["canonical"], inputs=5, hidden=5, seed=seed, **options))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("variant", ["plain", "peepholes", "coupled", "clip", "everything"])
def test_every_permutation_of_gates_changes_the_outputs(variant, seed):
    case = square_case(variant, seed)
    blocks = len(directions(case.layers[0])[0].layer.gates)
    for order in itertools.permutations(range(blocks)):
        if order != tuple(range(blocks)):
            assert differs(case, on_layers(case, lambda layer, order=order: permuted(layer, order))), order


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("variant", ["plain", "peepholes", "coupled", "everything"])
@pytest.mark.parametrize("field", ["w_x", "w_h"])
def test_every_transpose_changes_the_outputs(variant, field, seed):
    case = square_case(variant, seed)
    blocks = len(directions(case.layers[0])[0].layer.gates)

    def transposed(layer: lstm.Layer, gates: tuple[int, ...]) -> lstm.Layer:
        parts = np.split(getattr(layer, field), blocks, axis=-1)
        parts = [part.T if index in gates else part for index, part in enumerate(parts)]
        return dataclasses.replace(layer, **{field: np.concatenate(parts, axis=-1)})

    for gates in [(gate,) for gate in range(blocks)] + [tuple(range(blocks))]:
        assert differs(case, on_layers(case, lambda layer, gates=gates: transposed(layer, gates))), gates


def test_every_exchange_of_timesteps_and_of_states_changes_the_outputs():
    case = square_case("plain", 0)
    for first, second in itertools.combinations(range(len(case.inputs)), 2):
        order = list(range(len(case.inputs)))
        order[first], order[second] = second, first
        assert differs(case, dataclasses.replace(case, inputs=case.inputs[order])), (first, second)
    (state,) = case.initial_state
    assert differs(case, dataclasses.replace(case, initial_state=(lstm.State(h=state.c, c=state.h),)))
    assert differs(case, on_layers(case, lambda layer: dataclasses.replace(layer, b=np.zeros_like(layer.b))))


def test_a_symmetric_network_would_not_do():
    """The tests above can fail: with equal gates, no permutation shows."""
    case = on_layers(square_case("plain", 0), lambda layer: dataclasses.replace(layer, **_equal_gates(layer)))
    assert not differs(case, on_layers(case, lambda layer: permuted(layer, (1, 0, 2, 3))))


def _equal_gates(layer: lstm.Layer) -> dict[str, np.ndarray]:
    return {name: np.tile(np.split(getattr(layer, name), 4, axis=-1)[0], 4) for name in ("w_x", "w_h", "b")}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nothing_is_zero_and_nothing_repeats(dtype):
    arrays, _ = golden("torch", layers=2, bidirectional=True, dtype=dtype)
    sizes = {"T": arrays["inputs"].shape[0], "B": arrays["inputs"].shape[1], "D": arrays["inputs"].shape[2], "H": 5}
    assert len(set(sizes.values())) == 4
    for name, array in arrays.items():
        assert array.dtype == dtype
        assert (array != 0).all(), name
        assert len(np.unique(array)) > 0.99 * array.size, name
        assert array.size == 1 or (array.min() < 0 < array.max()), name


def test_lengths_differ_and_one_sequence_is_whole():
    arrays, _ = golden("torch", lengths=True, timesteps=9, batch=4)
    assert arrays["lengths"].max() == 9
    assert arrays["lengths"].min() < 9
    assert (arrays["lengths"] >= 1).all()
    assert golden("torch", lengths=True, timesteps=1)[0]["lengths"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("variant", ["projection", "peepholes", "coupled", "clip straight through", "dropout", "zoneout", "both"])
def test_the_internal_gradients_are_those_of_jax(variant):
    """d_z, d_h and d_c of every timestep, against JAX's own derivative of another forward recurrence."""
    options = VARIANTS[variant] if variant != "both" else {"bidirectional": True, "layers": 2}
    arrays, reading = golden("canonical", **options, seed=8)
    case = understand(arrays, reading).case
    model = RoundingModel(case, samples=1)
    for level, (kind, strands) in enumerate(zip(case.layers, model.strands, strict=True)):
        for direction, strand in zip(directions(kind), strands, strict=True):
            suffix = f"_l{level}{'_reverse' if direction.reversed else ''}"
            for name in ("d_z", "d_h", "d_c"):
                expected = getattr(strand, name)[::-1] if direction.reversed else getattr(strand, name)
                got = arrays[f"internal.{name}{suffix}"]
                assert np.abs(got - expected).max() <= 1e-13 * np.abs(expected).max(), f"{name}{suffix}"
    bias = arrays["grad.layers.0.forward.b" if variant == "both" else "grad.layers.0.b"]
    np.testing.assert_allclose(arrays["internal.d_z_l0"].sum(axis=(0, 1)), bias, rtol=1e-11, atol=1e-13)


def test_float32_results_are_the_float64_ones_rounded():
    """Of the same numbers: a golden vector is as exact as its precision can say."""
    single, reading = golden("torch", dtype="float32")
    case = understand(single, reading).case
    gradients, _ = case.hand_gradients()
    np.testing.assert_array_equal(single["grad.inputs"], gradients.inputs.astype(np.float32))
    np.testing.assert_array_equal(single["outputs"], case.forward()[0].astype(np.float32))


def test_the_same_seed_gives_the_same_file(tmp_path):
    for name in ("a.npz", "b.npz", "c.npz"):
        export(tmp_path / name, ExportOptions(LAYOUTS["haiku"], seed=4 if name != "c.npz" else 5))
    a, b, c = (read_arrays(tmp_path / name) for name in ("a.npz", "b.npz", "c.npz"))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not any(np.array_equal(a[name], c[name]) for name in a)


@pytest.mark.parametrize("ending", ["npz", "safetensors", "json"])
def test_every_format_holds_the_same(tmp_path, ending, capsys):
    path = tmp_path / f"v.{ending}"
    words = ["--layout", "keras", "--layers", "2", "--lengths", "--loss", "cross_entropy", "--timesteps", "3", "--axes", "DBT"]
    assert main(["export", "--out", str(path), *words, "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verify"] == (
        f"lstm-check verify {path} --layout keras --axes DBT --loss cross_entropy --reduction mean "
        "--attribute recurrent_activation=sigmoid --attribute activation=tanh"
    )
    expected, _ = golden("keras", layers=2, lengths=True, loss="cross_entropy", timesteps=3, axes="DBT")
    found = read_arrays(path)
    assert [entry["name"] for entry in report["arrays"]] == list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype for name in expected)
    assert found["targets"].shape == (3, 3)
    assert found["inputs"].shape == (4, 3, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--layout", "torch", "--peepholes"], "layers[0]: the layout torch cannot hold peepholes"),
        (["--layout", "torch", "--reverse"], "layers[0]: the layout torch cannot hold a layer that runs in reverse only"),
        (["--layout", "onnx", "--layers", "2"], "layers: the layout onnx cannot hold several layers"),
        (["--layout", "keras", "--clip", "0.5"], "layers: the layout keras cannot hold "),
        (["--layout", "canonical", "--reverse", "--bidirectional"], "--reverse: expected one direction; got --bidirectional too"),
        (["--layout", "canonical", "--activations", "tanh,tanh,cosh"], "cosh"),
    ],
)
def test_what_cannot_be_exported(words, message, tmp_path, capsys):
    path = tmp_path / "v.npz"
    assert main(["export", "--out", str(path), *words]) == 2
    assert message in capsys.readouterr().err
    assert not path.exists()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(BadInput, match="cannot be written"):
        export(tmp_path / "none" / "v.npz", ExportOptions(LAYOUTS["torch"]))


def test_the_readout_lies_as_the_frameworks_own_dense_layer():
    assert golden("torch", loss="squared_error")[0]["readout.weight"].shape == (2, 5)
    assert golden("keras", loss="squared_error")[0]["readout.weight"].shape == (5, 2)


def test_a_described_layout(tmp_path, capsys):
    """One fused matrix on [bias, x, h] with gates i f o g, as much hand-written code has it; exported, verified, printed."""
    description, path = tmp_path / "mine.toml", tmp_path / "v.npz"
    description.write_text('gates = "i f o g"\n[arrays.weights]\naxes = ["bias x h", "i f o g"]\n')
    words = ["--layout-file", str(description)]
    assert main(["export", "--out", str(path), *words]) == 0
    assert read_arrays(path)["weights"].shape == (1 + 4 + 5, 20)
    assert main(["verify", str(path), *words]) == 0
    capsys.readouterr()
    assert main(["layout", str(path), *words]) == 0
    text = capsys.readouterr().out
    assert "rows 0 " in text
    assert "gate o" in text
