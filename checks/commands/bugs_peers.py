"""The frameworks' own gradient checkers, run on a gradient with a bug: `torch.autograd.gradcheck` and `jax.test_util.check_grads`.

Each is called as its documentation says and with its own defaults, once for every bug. The cost is a function of one flat vector
of parameters, and its reverse returns the bug's gradient.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checks.catalogue import Case
from checks.catalogue.value import at, cost
from checks.problem import Cost

Accepts = Callable[[np.ndarray], "tuple[bool, float]"]  # gradient -> accepted? and the error in units of what is allowed, NaN if unknown

TORCH_STEP, TORCH_ATOL, TORCH_RTOL = 1e-6, 1e-5, 1e-3  # gradcheck's defaults


def peers(case: Case, problem: Cost) -> dict[str, Accepts]:
    """Those that are installed. ``problem`` is the case's cost with respect to everything."""
    found: dict[str, Accepts] = {}
    if importlib.util.find_spec("torch") is not None:
        found["torch gradcheck"] = torch_gradcheck(case, problem)
    if importlib.util.find_spec("jax.test_util") is not None:
        found["jax check_grads"] = jax_check_grads(problem)
    return found


def torch_gradcheck(case: Case, problem: Cost) -> Accepts:
    """Central differences of every entry, the same for every bug, so that each value of the cost is computed once and kept."""
    torch: Any = importlib.import_module("torch")
    values: dict[bytes, float] = {}

    def value(flat: np.ndarray) -> float:
        key = flat.tobytes()
        if key not in values:
            values[key] = cost(at(case, problem.unflatten(flat)))
        return values[key]

    def numerical() -> np.ndarray:
        ends = [problem.flat + sign * TORCH_STEP * np.eye(problem.size) for sign in (1, -1)]
        return np.array([(value(a) - value(b)) / (2 * TORCH_STEP) for a, b in zip(*ends, strict=True)])

    differences = numerical()

    def accepts(gradient: np.ndarray) -> tuple[bool, float]:
        wrong = torch.tensor(gradient)

        class Planted(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, flat: Any) -> Any:
                return torch.tensor(value(flat.detach().numpy()), dtype=torch.float64)

            @staticmethod
            def backward(ctx: Any, d: Any) -> Any:
                return d * wrong

        flat = torch.tensor(problem.flat, requires_grad=True)
        accepted = torch.autograd.gradcheck(Planted.apply, (flat,), raise_exception=False)
        off = np.abs(gradient - differences) / (TORCH_ATOL + TORCH_RTOL * np.abs(differences))
        return bool(accepted), float(off.max())

    return accepts


def jax_check_grads(problem: Cost) -> Accepts:
    """One random direction, the same for every bug."""
    check: Any = importlib.import_module("jax.test_util").check_grads
    with problem.scope():
        compiled = jax.jit(lambda flat: problem.cost(problem.unflatten(flat)))

    def accepts(gradient: np.ndarray) -> tuple[bool, float]:
        planted = jax.custom_vjp(compiled)
        planted.defvjp(lambda flat: (compiled(flat), None), lambda _, d: (d * jnp.asarray(gradient),))
        with problem.scope():
            try:
                check(planted, (jnp.asarray(problem.flat),), order=1, modes=("rev",))
            except AssertionError:
                return False, float("nan")
        return True, float("nan")

    return accepts
