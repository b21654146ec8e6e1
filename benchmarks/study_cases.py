"""What the study draws: a network in somebody's layout, its data, and a candidate's gradients, right or with a bug planted.

Compiling is what takes time, so sizes and variants come from a fixed list of structures, which share compiled programs; all
numbers are drawn anew for every case.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import ml_dtypes
import numpy as np

import lstm
from benchmarks import low_precision
from benchmarks.low_precision import PRECISIONS
from checks.catalogue import Case, bugs_for, mutants
from checks.files.candidate import READOUT_FIRST, Reading
from checks.files.draw import ExportOptions, random_case
from checks.files.export import golden_vectors
from checks.oracle import cost as oracle_cost
from checks.oracle.case import OracleCase
from lstm.layouts import LAYOUTS

REGIMES = {  # what weights, inputs and states, and upstream gradients (or targets) are multiplied by
    "ordinary": (1.0, 1.0, 1.0),
    "saturated": (6.0, 1.0, 1.0),
    "tiny": (2.0**-4, 2.0**-6, 2.0**-8),
    "huge": (1.0, 2.0**6, 2.0**10),
}
DTYPES = {"float64": np.float64, "float32": np.float32, "bfloat16": ml_dtypes.bfloat16}
SIZES = ({"timesteps": 6, "batch": 3, "inputs": 4, "hidden": 5}, {"timesteps": 1, "batch": 2, "inputs": 3, "hidden": 4},
         {"timesteps": 13, "batch": 1, "inputs": 2, "hidden": 3})  # fmt: skip
KERAS_LIKE = lstm.Activations(f"hard_sigmoid({1 / 6})", "softsign", "softsign")
ONNX_LIKE = lstm.Activations("hard_sigmoid(0.2)", "softsign", "relu")


@dataclasses.dataclass(frozen=True)
class Structure:
    """``options`` of `ExportOptions`, the dtype and the seed apart."""

    layout: str
    options: dict[str, Any]

    @property
    def plantable(self) -> bool:
        """Bugs are planted in all but masked networks."""
        return not set(self.options) & {"dropout", "recurrent_dropout", "zoneout"}

    def __str__(self) -> str:
        return " ".join([self.layout, *(f"{name}={value}" for name, value in self.options.items())])


def _structures() -> tuple[Structure, ...]:
    first, one_step, long = SIZES
    plain = [
        Structure("torch", first),
        Structure("keras", one_step | {"loss": "squared_error"}),
        Structure("onnx", long | {"lengths": True, "batch": 3}),
        Structure("canonical", first | {"layers": 2, "lengths": True, "loss": "cross_entropy", "outputs": 3}),
        Structure("torch", long | {"layers": 2}),
        Structure("flax", {"timesteps": 100, "batch": 2, "inputs": 3, "hidden": 4, "loss": "squared_error", "reduction": "sum"}),
        Structure("torch", {"timesteps": 500, "batch": 2, "inputs": 2, "hidden": 3}),
        Structure("equinox", first | {"hidden": 4, "inputs": 4}),
        Structure("haiku", long | {"loss": "cross_entropy"}),
    ]
    both = {"layers": 2, "bidirectional": True, "lengths": True}
    variants = [
        Structure("torch", first | both),
        Structure("torch", first | {"projection": 2, "layers": 2}),
        Structure("keras", first | {"reverse": True, "lengths": True}),
        Structure("keras", first | {"activations": KERAS_LIKE, "bidirectional": True}),
        Structure("onnx", first | {"peepholes": True, "loss": "squared_error"}),
        Structure("onnx", long | {"coupled": True}),
        Structure("onnx", first | {"activations": ONNX_LIKE, "reverse": True}),
        Structure("canonical", first | {"clip": lstm.CellClip(0.5)}),
        Structure("canonical", first | {"clip": lstm.CellClip(0.5, "straight_through")}),
        Structure("canonical", first | {"dropout": True, "recurrent_dropout": True, "zoneout": True}),
        Structure(
            "canonical",
            first | both | {"projection": 2, "peepholes": True, "coupled": True, "clip": lstm.CellClip(0.9), "loss": "cross_entropy"},
        ),
        Structure("canonical", {"timesteps": 60, "batch": 2, "inputs": 3, "hidden": 4, "projection": 2, "peepholes": True}),
    ]
    others = [name for name in LAYOUTS if name not in {one.layout for one in (*plain, *variants)}]
    return (*plain, *variants, *(Structure(name, first) for name in others))


STRUCTURES = _structures()


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """One candidate's file, in memory, and what is known of it."""

    arrays: dict[str, np.ndarray]
    reading: Reading
    structure: Structure
    dtype: str
    regime: str
    method: str  # how the candidate's gradients were computed
    bug: str | None
    effect: Any  # the bug's, exactly, on everything; None without one


def draw(seed: int, number: int, planted: bool, structures: tuple[Structure, ...] = STRUCTURES) -> Drawn:
    """Case ``number`` of a study: the same for the same seed, whatever was drawn before."""
    generator = np.random.default_rng([seed, number, planted])
    if planted:
        structures = tuple(one for one in structures if one.plantable)
    # The long ones take a hundred times as long as the others: one case in twenty
    weights = np.array([0.1 if one.options["timesteps"] > 50 else 1.0 for one in structures])
    structure = structures[int(generator.choice(len(structures), p=weights / weights.sum()))]
    dtype = str(generator.choice(list(DTYPES)))
    regime = str(generator.choice(list(REGIMES), p=[0.4, 0.2, 0.2, 0.2]))
    options = ExportOptions(LAYOUTS[structure.layout], seed=int(generator.integers(2**31)), **structure.options)
    case = _scaled(random_case(options), regime, dtype)
    gradients, method = _candidate(case, dtype, generator)
    bug = effect = None
    if planted:
        bug, effect = _planted(case, generator)
        gradients = jax.tree.map(np.add, gradients, effect)
    with np.errstate(over="ignore"):
        arrays = {name: _in(array, dtype) for name, array in _arrays(case, options, gradients).items()}
    if generator.random() < 0.5:  # many give the gradients on their weights and no others
        arrays = {name: array for name, array in arrays.items() if name not in ("grad.inputs", "grad.h0", "grad.c0")}
    attributes = options.layout.attributes_of(case.layers)
    reading = Reading(options.layout, options.axes, attributes, loss=options.loss, reduction=options.reduction)
    return Drawn(arrays, reading, structure, dtype, regime, method, bug, effect)


def _scaled(case: OracleCase, regime: str, dtype: str) -> OracleCase:
    """Every number multiplied as the regime has it, and then one that the precision holds."""
    of_weights, of_data, of_upstream = REGIMES[regime]

    def times(factor: float, tree: Any) -> Any:
        return jax.tree.map(lambda leaf: _in(factor * leaf, dtype).astype(np.float64), tree)

    targets = case.targets
    if targets is not None and targets.ndim == 3:
        targets = times(of_upstream, targets)
    return dataclasses.replace(
        case,
        layers=times(of_weights, case.layers),
        readout=times(of_weights, case.readout),
        inputs=times(of_data, case.inputs),
        initial_state=times(min(of_data, 1.0), case.initial_state),
        masks=times(1.0, case.masks),
        d_outputs=times(of_upstream, case.d_outputs),
        d_final_state=times(of_upstream, case.d_final_state),
        targets=targets,
    )


def _in(array: Any, dtype: str) -> np.ndarray:
    array = np.asarray(array)
    return array.astype(DTYPES[dtype]) if array.dtype.kind not in "iub" else array


def _candidate(case: OracleCase, dtype: str, generator: np.random.Generator) -> tuple[lstm.CostGradients, str]:
    """A correct gradient as somebody computes it in this precision, in float64; and how."""
    plain = case.masks is None and all(_is_standard(level) for level in case.layers)
    straight = case.straight_through
    choices = ["operation by operation"] * plain + ["autodiff"] * (not straight and dtype != "bfloat16")
    choices += ["hand BPTT"] * (dtype == "float64" or (dtype == "float32" and not case.is_cost))
    method = str(generator.choice(choices)) if choices else "float64, rounded"
    if method == "operation by operation":
        found = low_precision.gradients(case, PRECISIONS[dtype])[2]
    elif method == "autodiff":
        found = _by_autodiff(case, dtype)
    else:
        found = _by_hand(case, dtype) if method == "hand BPTT" and dtype == "float32" else case.hand_gradients()[0]
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), found), method


def _is_standard(level: Any) -> bool:
    if not isinstance(level, lstm.Layer):
        return False
    extras = (level.peepholes, level.projection, level.clip)
    return all(extra is None for extra in extras) and level.activations == lstm.Activations() and not level.coupled


def _by_autodiff(case: OracleCase, dtype: str) -> lstm.CostGradients:
    parameters, data = (jax.tree.map(lambda leaf: _in(leaf, dtype), tree) for tree in (case.parameters, case.data))
    with jax.enable_x64(dtype == "float64"):
        return jax.tree.map(np.asarray, oracle_cost.gradient(parameters, data))


def _by_hand(case: OracleCase, dtype: str) -> lstm.CostGradients:
    """`lstm` itself in float32."""
    given = jax.tree.map(lambda leaf: _in(leaf, dtype), (case.layers, case.inputs, case.initial_state, case.masks))
    layers, inputs, states, masks = given
    upstream = jax.tree.map(lambda leaf: _in(leaf, dtype), (case.d_outputs, case.d_final_state))
    residuals = lstm.forward(layers, inputs, states, lengths=case.lengths, masks=masks)[2]
    found = lstm.backward(layers, residuals, *upstream)
    return lstm.CostGradients(network=lstm.Network(found.layers), inputs=found.inputs, initial_state=found.initial_state)


def _planted(case: OracleCase, generator: np.random.Generator) -> tuple[str, lstm.CostGradients]:
    """A bug's name and what it adds to the gradient."""
    if case.is_cost:
        network = lstm.Network(case.layers, case.readout)
        options = {"initial_state": case.initial_state, "lengths": case.lengths, "loss": case.loss, "reduction": case.reduction}
        for_bugs = Case.of_cost(network, case.inputs, case.targets, **options)
    else:
        given = (case.layers, case.inputs, case.d_outputs, case.d_final_state)
        for_bugs = Case.of_upstream(*given, initial_state=case.initial_state, lengths=case.lengths)
    bugs = bugs_for(for_bugs)
    bug = bugs[int(generator.integers(len(bugs)))]
    with np.errstate(over="ignore", invalid="ignore"):
        right, wrong = (_as_cost(mutants.gradients(for_bugs, planted)) for planted in ([], [bug]))
        return bug.name, jax.tree.map(np.subtract, wrong, right)


def _as_cost(gradients: Any) -> lstm.CostGradients:
    if isinstance(gradients, lstm.CostGradients):
        return gradients
    network = lstm.Network(tuple(gradients.layers))
    return lstm.CostGradients(network=network, inputs=gradients.inputs, initial_state=tuple(gradients.initial_state))


def _arrays(case: OracleCase, options: ExportOptions, gradients: lstm.CostGradients) -> dict[str, np.ndarray]:
    """The file: as exported, with the candidate's gradients in place of the right ones, and no forward results."""
    arrays = golden_vectors(case, options)
    layout = options.layout
    weights = layout.write(case.layers)
    arrays |= {f"grad.{name}": array for name, array in layout.write_gradients(gradients.network.layers, weights).items()}
    readout = gradients.network.readout
    if readout is not None:
        arrays["grad.readout.weight"] = readout.w.T if layout.name in READOUT_FIRST else readout.w
        arrays["grad.readout.bias"] = readout.b
    order = options.axes or layout.axes
    arrays["grad.inputs"] = np.transpose(gradients.inputs, ["TBD".index(axis) for axis in order])
    arrays["grad.h0"], arrays["grad.c0"] = layout.write_states(gradients.initial_state)
    return {name: array for name, array in arrays.items() if not name.startswith("internal.") and name not in ("outputs", "h_n", "c_n")}
