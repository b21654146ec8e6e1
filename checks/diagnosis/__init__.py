"""From a wrong gradient to its place and, where exactly one mistake or a few indistinguishable ones make it, to the mistake's name.

`of_arrays` is the whole of it, for arrays in anybody's layout; `diagnose` is for gradients of a `checks.Problem`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

import lstm
from checks.catalogue import Case
from checks.compare import leaves_like
from checks.diagnosis.arrangement import Arrangement as Arrangement, of_pytree
from checks.diagnosis.fit import fit
from checks.diagnosis.localise import localise
from checks.diagnosis.observation import Observation
from checks.diagnosis.planted import Planted
from checks.diagnosis.report import Diagnosis as Diagnosis, strength_text as strength_text
from checks.diagnosis.strength import Strength as Strength, strength
from checks.problem import Cost, only_cost
from checks.tolerance import gradient_and_magnitudes, tolerance_of
from checks.within_rounding import ROUNDED
from lstm import BadInput
from lstm.levels import directions

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """What gradients are of: the case that bugs are planted in, or why none can be, and how the arrays are laid out."""

    planted: Planted | None
    arrangement: Arrangement
    sizes: Mapping[str, int]
    obstacle: str = ""

    @staticmethod
    def of(case: Any, arrangement: Arrangement) -> Subject:
        """``case``: anything with the fields of `Case`, such as an `OracleCase`."""
        try:
            plantable = case_like(case)
        except BadInput as error:
            return Subject(None, arrangement, sizes_of(case), str(error))
        return Subject(Planted(plantable, arrangement), arrangement, plantable.sizes)

    def strength(self, allowed: Arrays, given: tuple[str, ...]) -> Strength:
        if self.planted is None:
            return Strength((), {}, {}, 0)
        return strength(self.planted, allowed, given)

    def diagnose(self, got: Arrays, expected: Arrays, allowed: Arrays) -> Diagnosis:
        """The three by name, in the same shapes; ``allowed``: what rounding may do to each entry of a right gradient."""
        observation = Observation(got, expected, allowed, self.arrangement)
        fitted = fit(observation, self.planted, self.sizes)
        if self.planted is None:
            tried = (
                "The catalogue's bugs cannot be planted in this network, so only factors, gate orders, transposes and swapped arrays "
                f"were tried ({self.obstacle})."
            )
        elif fitted.withheld:
            tried = ""
        else:
            tried = (
                f"Tried: {fitted.tried} bugs of the catalogue alone, with factors, clipping and weight decay, {fitted.pairs_tried} pairs "
                "of them, and factors, gate orders, transposes and swaps of single arrays."
            )
        if observation.left_out:
            tried += f" Left out, not being finite: {', '.join(observation.left_out)}."
        return Diagnosis(fitted, localise(observation), tried)


def case_like(case: Any) -> Case:
    """The same cost or upstream gradients as a `Case`. `BadInput` if the network is one that bugs cannot be planted in."""
    if getattr(case, "masks", None) is not None:
        raise BadInput("masks: expected none, where bugs can be planted; got some")
    options = {"initial_state": case.initial_state, "lengths": case.lengths}
    if case.targets is None:
        return Case.of_upstream(case.layers, case.inputs, case.d_outputs, case.d_final_state, **options)
    network = lstm.Network(tuple(case.layers), case.readout)
    return Case.of_cost(network, case.inputs, case.targets, loss=case.loss, reduction=case.reduction, **options)


def sizes_of(case: Any) -> dict[str, int]:
    """As `Case.sizes`, of any network."""
    timesteps, batch, features = case.inputs.shape
    top = directions(case.layers[-1])
    outputs = sum(each.layer.recurrent_size for each in top) if case.readout is None else case.readout.w.shape[1]
    counted = timesteps * batch if case.lengths is None else int(np.sum(case.lengths))
    is_cost = case.targets is not None
    return {"T": timesteps, "B": batch, "D": features, "H": top[0].layer.hidden_size, "K": outputs if is_cost else 0, "N": counted}


def diagnose(gradients: Any, problem: Cost, expected: Any = None) -> Diagnosis:
    """Where a gradient of a network's cost is wrong, and which mistake makes it so.

    Args:
        gradients: a pytree like ``problem.parameters``, judged in its own precision, or the problem's if that is lower.
        problem: made by `Problem.from_network`, with either ``wrt``.
        expected: the right gradient, if it is known; default automatic differentiation in float64.

    Returns:
        A `Diagnosis`; print it. Its ``names`` are empty where no mistake that is known makes these numbers.
    """
    case = case_of(only_cost(problem))
    got = leaves_like(problem, gradients)
    names = problem.leaf_names
    right, magnitudes = gradient_and_magnitudes(problem)
    right = right if expected is None else expected
    precision = np.float32 if np.float32 in (got[0].dtype, problem.dtype) else np.float64
    rooms = tolerance_of(problem, magnitudes, precision)
    arrays = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(right)]
    allowed = {name: ROUNDED * room for name, room in zip(names, rooms, strict=True)}
    subject = Subject.of(case, of_pytree(problem.parameters, names))
    return subject.diagnose(dict(zip(names, got, strict=True)), dict(zip(names, arrays, strict=True)), allowed)


def case_of(problem: Cost) -> Any:
    """What a problem made from a network was made from, under the names that `Case` has.

    What is right for a problem is the derivative of its cost, so a clip has its true derivative there, whatever its layer states.
    """
    parameters, origin = problem.parameters, problem.origin
    if origin is None:
        raise BadInput("problem: expected one made by Problem.from_network; got another cost, of which no mistakes are known")
    found = dict.fromkeys(("targets", "readout", "d_outputs", "d_final_state", "masks", "lengths"))
    found |= {"loss": "squared_error", "reduction": "mean", **origin}
    if isinstance(parameters, lstm.Gradients):
        found |= {"layers": parameters.layers, "inputs": parameters.inputs, "initial_state": parameters.initial_state}
    else:
        network = parameters.network if isinstance(parameters, lstm.CostGradients) else parameters
        found |= {"layers": network.layers, "readout": network.readout}
    if isinstance(parameters, lstm.CostGradients):
        found |= {"inputs": parameters.inputs, "initial_state": parameters.initial_state}
    if all(mask is None for mask in jax.tree.leaves(found["masks"])):
        found["masks"] = None
    found["layers"] = jax.tree.map(_truly_clipped, found["layers"], is_leaf=lambda node: isinstance(node, lstm.Layer))
    return SimpleNamespace(**found)


def _truly_clipped(layer: lstm.Layer) -> lstm.Layer:
    return layer if layer.clip is None else dataclasses.replace(layer, clip=dataclasses.replace(layer.clip, derivative="true"))
