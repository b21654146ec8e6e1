"""Writes docs/bugs.md from the catalogue: ``python docs/make_bugs.py``. A test holds the page against the catalogue."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

import lstm
from checks.catalogue import Bug, Case, cell, cell_variants, cost, recurrence, upstream, variants, weights

PAGE = pathlib.Path(__file__).with_name("bugs.md")

INTRODUCTION = """\
# Bugs in the wild

Mistakes that people really make in the backward pass of an LSTM, found in public code, issues and question threads. Each is a
*mutant*: one place of a backward pass changed, which can be planted to see what a check catches (`lstm-check bugs`) and fitted to a
wrong gradient to name its bug ([diagnosis](diagnosis.md)). Equation numbers are those of [the derivation](derivation.md). This page
is made from `checks/catalogue/` by `python docs/make_bugs.py`.
"""

SECTIONS = (
    ("What a timestep sends back to the one before", recurrence),
    ("The entrance of the loop over time", upstream),
    ("Inside one timestep", cell),
    ("From gate gradients to weights, inputs and initial state", weights),
    ("Layers with peepholes or a projection", variants),
    ("Layers with a clipped cell state, coupled gates, or other activations", cell_variants),
    ("The loss, the readout, and constant factors", cost),
)

HEADER = "| name | mistake | breaks | effect on the gradient | fix |"

CHECKERS = """\
## Bugs of the checker

A check can be as wrong as what it checks:

| mistake | what it looks like |
|---|---|
| the state is overwritten between the + and the − pass (reading `shared`) | the quotient grows tenfold with a tenth of the step |
| the step N starts from the unperturbed state (reading `frozen`) | agrees with BPTT truncated to one timestep, rejects the correct one |
| the perturbed entry is restored by subtracting the step again | entries drift by rounding; restore the saved value |
| random masks are drawn again between the passes | pure noise over the step |
| float32 differences, or a step so small that it vanishes | errors of 1e-3, or zeros |
| division by the step asked for, not by the realised one | an error of u / step in every entry |
| T = 1, B = 1, zero biases or states, all-ones upstream gradients | everything agrees; the report's *Probe* names what could not show |
"""


def bugs_of(module: Any) -> list[Bug]:
    """The single bugs, and of each family the first member that one of the generic cases can have."""
    families = getattr(module, "FAMILIES", ())
    return [*module.BUGS, *(next(bug for case in generic_cases() for bug in family.members(case)) for family in families)]


@functools.cache
def generic_cases() -> tuple[Case, ...]:
    rng = np.random.default_rng(0)
    network = lstm.init_network(0, input_size=4, hidden_size=5, output_size=6)
    inputs = rng.normal(size=(7, 3, 4))
    targets = {"squared_error": rng.normal(size=(7, 3, 6)), "cross_entropy": rng.integers(0, 6, size=(7, 3))}
    lengths = np.array([7, 2, 5])
    cases = [Case.of_cost(network, inputs, target, loss=loss, lengths=lengths) for loss, target in targets.items()]
    more = {"peepholes": rng.normal(size=(3, 5)), "projection": rng.normal(size=(5, 5))}
    variant = dataclasses.replace(network, layers=(dataclasses.replace(network.layers[0], **more),))
    return (*cases, Case.of_cost(variant, inputs, targets["squared_error"], lengths=lengths))


def _columns(bug: Bug) -> tuple[str, ...]:
    return f"`{bug.name}`", bug.title, bug.equation, bug.effect, bug.fix


def _cell(text: str) -> str:
    """A bar, as in |c|, would end the cell."""
    return text.replace("|", "\\|")


def page() -> str:
    parts = [INTRODUCTION]
    for title, module in SECTIONS:
        rows = ["| " + " | ".join(map(_cell, _columns(bug))) + " |" for bug in bugs_of(module)]
        parts.append("\n".join([f"## {title}", "", HEADER, "|---|---|---|---|---|", *rows, ""]))
    return "\n".join([*parts, CHECKERS])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.name}: {page().count('| `')} bugs")
