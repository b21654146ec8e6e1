"""Wrong lines to write into the code, each at the equation that it breaks, so that a proof can be seen to fail.

Some are bugs that people really make, the others are whatever makes the line wrong.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Iterator
from typing import Any
from unittest import mock

import jax
from derivation_symbols import OBJECT_JAX, scan

from lstm import State, cell, losses, network, sequence

FAULTS = [
    (sequence, 9, "d_state.h + d_output_t", "d_output_t"),
    (sequence, 9, "c=d_state.c", "c=0 * d_state.c"),
    (cell, 10, "d_h * output_c", "d_h * residuals.c"),
    (cell, 11, "d_state.c + ", ""),
    (cell, 11, "* output.derivative(output_c)", ""),
    (cell, 11, "* o *", "*"),
    (cell, 12, "* c_previous", "* residuals.c"),
    (cell, 12, "* g,", "* i,"),
    (cell, 13, "* gate.derivative(f)", ""),
    (cell, 13, "candidate.derivative(g)", "candidate.derivative(candidate.forward(g))"),
    (cell, 13, "gate.derivative(o)", "candidate.derivative(o)"),
    (cell, 14, "d_sum * f", "d_sum"),
    (cell, 15, "matmul(d_z", "-matmul(d_z"),
    (sequence, 16, "residuals.inputs", "residuals.inputs[::-1]"),
    (sequence, 17, "h_previous", "residuals.h"),
    (sequence, 18, "sum(axis=0)", "sum(axis=0) / 2"),
    (sequence, 19, "layer.w_x.T", "layer.w_h.T"),
    (sequence, 20, "initial_state=d_initial_state", "initial_state=d_final_state"),
    (network, 21, "readout.w.T", "-readout.w.T"),
    (losses, 23, "2 * ", ""),
    (sequence, 27, "if valid_t is None", "if True"),
]


@contextlib.contextmanager
def planted(module: types.ModuleType, equation: int, right: str, wrong: str) -> Iterator[None]:
    """Write ``wrong`` for ``right`` in the one line of ``module`` that cites ``equation`` and contains ``right``.

    Only within the block, which must be inside `running_on_objects`, and only in the function around that line.
    """
    lines = inspect.getsource(module).splitlines(keepends=True)
    found = [n for n, line in enumerate(lines) if f"({equation})" in line.partition("#")[2] and right in line.partition("#")[0]]
    assert len(found) == 1, f"{module.__name__}: no single line that cites ({equation}) contains {right!r} any more: plant it anew"
    lines[found[0]] = lines[found[0]].replace(right, wrong)
    name = next(line.split("(")[0][4:] for line in reversed(lines[: found[0]]) if line.startswith("def "))
    faulty = types.ModuleType(module.__name__)
    exec("".join(lines), faulty.__dict__)
    for global_name in ("jnp", "jax"):
        if hasattr(module, global_name):
            setattr(faulty, global_name, getattr(module, global_name))
    table = getattr(faulty, "LOSSES", {})  # holds the functions themselves, so it must hold the faulty ones
    with mock.patch.object(module, name, getattr(faulty, name)), mock.patch.dict(losses.LOSSES, table):
        yield


@contextlib.contextmanager
def without_carries() -> Iterator[None]:
    """The reverse scan passes nothing on from timestep to timestep: (14) and (15) are zero.

    Within the block, which must be inside `running_on_objects`.
    """

    def forgetful_scan(body: Any, carry: Any, over: Any, reverse: bool = False) -> Any:
        def forgetful(state: Any, at_t: Any) -> Any:
            new, result = body(state, at_t)
            return jax.tree.map(_nothing, new, is_leaf=lambda one: isinstance(one, State)), result

        return scan(forgetful if reverse else body, carry, over, reverse)

    with mock.patch.object(OBJECT_JAX.lax, "scan", forgetful_scan):
        yield


def _nothing(carried: Any) -> Any:
    """No gradient in place of the one at the state; whatever else a loop carries stays."""
    return State(h=0 * carried.h, c=0 * carried.c) if isinstance(carried, State) else carried
