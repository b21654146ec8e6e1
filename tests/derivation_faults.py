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

from lstm import State, cell, losses, network, sequence, stack

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

# In what one timestep of a variant computes
STEP_FAULTS = [
    (cell, 28, "1 - i if", "i if"),
    (cell, 30, "p_o * c", "p_o * state.c"),
    (cell, None, "z_i + p_i", "z_i + p_o"),
    (cell, None, "z_f + p_f * state.c", "z_f"),
    (cell, 34, "layer.projection", "layer.projection.T"),
    (sequence, None, "_masked(x_t, masks_t.inputs)", "x_t"),  # (37)
    (sequence, 37, "_masked(state.h, masks_t.recurrent)", "state.h"),
    (sequence, 38, "state.h, new.h", "seen.h, new.h"),
    (sequence, 38, "state.c, new.c", "new.c, state.c"),
    (cell, 40, "c = _clip(c, layer.clip.bound)", "c = c"),
    (cell, 2, '"g" else gate', '"o" else gate'),
    (cell, None, "+ (1 - scale)", "+ scale"),  # (2), (3): right for sigmoid, wrong for tanh
]

# In the reverse pass of a variant, by the probe (a name of test_derivation_members) in which the fault must show
REVERSE_FAULTS = [
    ("coupled", cell, 29, "d_i - d_f", "d_i"),
    ("peepholes", cell, 31, "d_c + d_z_o * p_o", "d_c"),
    ("peepholes", cell, 32, "+ d_z_i * p_i", ""),
    ("peepholes", cell, None, "+ d_z_f * p_f", ""),  # (32)
    ("peepholes", sequence, None, "[residuals.c_previous] * (", "[c] * ("),  # (33)
    ("peepholes", sequence, None, "+ [c]", "+ [residuals.c_previous]"),  # (33)
    ("peepholes", cell, 35, "matmul(d_h, layer.projection.T)", "d_h"),
    ("peepholes", sequence, None, "projected = o * ", "projected = "),  # (36)
    ("peepholes", sequence, None, "found = (d_z, d_h if", "found = (d_z, d_output_t if"),  # (36): the upstream part alone
    ("peepholes", sequence, None, "_masked(d.d_previous.h, masks_t.recurrent)", "d.d_previous.h"),  # (37)
    ("peepholes", sequence, None, "_masked(d_inputs, masks.inputs)", "d_inputs"),  # (37)
    ("peepholes", sequence, None, "residuals.masks.recurrent", "None"),  # (37)
    ("peepholes", sequence, 39, "_left(masks_t.zoneout_h, d_new.h)", "d_new.h"),
    ("peepholes", sequence, 39, "_left(masks_t.zoneout_c, d_new.c)", "d_new.c"),
    ("peepholes", sequence, None, "recurrent), masks_t.zoneout_h", "recurrent), None"),  # (39)
    ("peepholes", sequence, None, "_plus_kept(d.d_previous.c, masks_t.zoneout_c, d_new.c)", "d.d_previous.c"),  # (39)
    ("clipped", cell, 41, "d_c, 0)", "d_c, d_c)"),
    ("clipped", cell, 14, "d_sum * f", "d_c * f"),
    ("straight through", cell, None, "d_sum = d_c", "d_sum = 0 * d_c"),  # (41)
    ("internals", sequence, None, "(d_new.h, d.d_c)", "(d_computed.h, d.d_c)"),
    ("internals", sequence, None, "(d_new.h, d.d_c)", "(d_new.h, d_new.c)"),
    ("internals", sequence, None, "d_h=jnp.where(keep, inside[0], 0)", "d_h=inside[0]"),
    ("internals", cell, 31, "d_c + d_z_o * p_o", "d_c"),
    ("directions", stack, None, "found[0].inputs + found[1].inputs", "found[0].inputs"),
    ("directions", stack, None, "back_to_front(d_output)", "d_output"),
    ("directions", stack, None, "inputs=back_to_front(gradients.inputs)", "inputs=gradients.inputs"),
    ("directions", stack, None, "jnp.where(t < lengths, lengths - 1 - t, t)", "len(array) - 1 - t + 0 * lengths"),
    ("layers", stack, None, "d_outputs = gradients.inputs", "d_outputs = d_outputs"),
    ("layers", stack, None, "residuals, d_final_state, strict", "residuals, d_final_state[::-1], strict"),
]


@contextlib.contextmanager
def planted(module: types.ModuleType, equation: int | None, right: str, wrong: str) -> Iterator[None]:
    """Write ``wrong`` for ``right`` in the one line of ``module`` that cites ``equation``, if any, and contains ``right``.

    Only within the block, which must be inside `running_on_objects`, and only in the function around that line.
    """
    lines = inspect.getsource(module).splitlines(keepends=True)
    cites = "" if equation is None else f"({equation})"
    found = [n for n, line in enumerate(lines) if cites in line.partition("#")[2] and right in line.partition("#")[0]]
    assert len(found) == 1, f"{module.__name__}: no single line that cites {cites or 'anything'} contains {right!r} any more: plant it anew"
    lines[found[0]] = lines[found[0]].replace(right, wrong)
    name = next(line.split("(")[0][4:] for line in reversed(lines[: found[0]]) if line.startswith("def "))
    faulty = types.ModuleType(module.__name__)
    exec("".join(lines), faulty.__dict__)
    function, table = getattr(faulty, name), getattr(faulty, "LOSSES", {})  # which holds the functions themselves: the faulty ones
    faulty.__dict__.update(vars(module))  # all around the faulty function is what it is at the moment, replaced or not
    with mock.patch.object(module, name, function), mock.patch.dict(losses.LOSSES, table):
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
