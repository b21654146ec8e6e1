"""What is being differentiated: a cost, and the parameters that the checks perturb.

Estimators see nothing of a problem but its forward cost: `Cost` for any function of the parameters, and
`Problem` for a recurrent cost, which can also be run timestep by timestep.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from checks.arguments import check_data, check_functions, check_lengths, check_parameters, described, is_scalar
from lstm import BadInput


@dataclasses.dataclass(frozen=True)
class Cost:
    """A scalar function of a pytree of parameters.

    Attributes:
        parameters: pytree of arrays, all float32 or all float64; NumPy's are copied, so that training on does not change the problem.
        function: parameters -> scalar, traceable by JAX; None in a `Problem`.
        gradients: parameters -> pytree like them: the hand-written gradient under test, if there is one.
        origin: what `checks.network_problem.from_network` was given beside the parameters, by name; None for another cost.
        memo: what has been computed of this very problem and is needed again (its noise, its magnitudes).
    """

    parameters: Any
    function: Callable[[Any], Any] | None = None
    gradients: Callable[[Any], Any] | None = None
    origin: dict[str, Any] | None = dataclasses.field(default=None, repr=False)
    memo: dict[Any, Any] = dataclasses.field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_parameters(self.parameters)
        object.__setattr__(self, "parameters", own(self.parameters))
        if not (self.gradients is None or callable(self.gradients)):
            raise BadInput(f"gradients: expected a function from parameters to their gradient; got {described(self.gradients)}")

    def cost(self, parameters: Any) -> Any:
        """The scalar that is differentiated. Call it inside `scope`, or under tracing."""
        if not callable(self.function):
            raise BadInput(f"function: expected a function from parameters to a scalar; got {described(self.function)}")
        value = self.function(parameters)
        if not is_scalar(value):
            raise BadInput(f"function: expected a floating-point scalar; got {described(value)}")
        return value

    @property
    def steps_per_cost(self) -> int:
        """Cell steps that one evaluation of the cost takes."""
        return 1

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(jax.tree.leaves(self.parameters)[0].dtype)

    @property
    def size(self) -> int:
        """P: how many numbers there are to perturb."""
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.parameters))

    @functools.cached_property
    def flat(self) -> np.ndarray:
        """The parameters as one vector (P,), leaf after leaf."""
        return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(self.parameters)])

    @property
    def leaf_names(self) -> list[str]:
        """A name for each leaf, such as ``layers[0].w_h``."""
        paths = jax.tree_util.tree_leaves_with_path(self.parameters)
        return [jax.tree_util.keystr(path).removeprefix(".") or "weights" for path, _ in paths]

    def unflatten(self, flat: Any) -> Any:
        """The reverse of `flat`, for a vector of any dtype (NumPy or JAX)."""
        leaves, structure = jax.tree.flatten(self.parameters)
        ends = np.cumsum([np.size(leaf) for leaf in leaves])
        parts = [flat[end - np.size(leaf) : end].reshape(np.shape(leaf)) for leaf, end in zip(leaves, ends, strict=True)]
        return jax.tree.unflatten(structure, parts)

    def scope(self) -> contextlib.AbstractContextManager:
        """JAX's 64-bit mode exactly where the parameters are float64."""
        return jax.enable_x64(self.dtype == np.float64)

    def astype(self, dtype: Any) -> Any:
        """The same problem with every floating-point array in another precision; made once for each."""
        if np.dtype(dtype) == self.dtype:
            return self
        key = np.dtype(dtype).name
        if key not in self.memo:
            changes = {field.name: cast(getattr(self, field.name), dtype) for field in dataclasses.fields(self) if field.init}
            self.memo[key] = dataclasses.replace(self, **changes)
        return self.memo[key]


def only_cost(problem: Any) -> Cost:
    """``problem``, if it is one."""
    if not isinstance(problem, Cost):
        raise BadInput(f"problem: expected a checks.Problem or a checks.Cost; got {described(problem)}")
    return problem


@dataclasses.dataclass(frozen=True)
class Problem(Cost):
    """A recurrent cost C = Σ_t (weight_t · loss_t): any network that advances a state step by step.

    Attributes:
        step: ``(parameters, state, x_t) -> (new state, y_t)``, traceable by JAX.
        loss: ``(y_t, target_t) -> ()`` or, for a batch, ``(B,)``: the timestep's loss.
        inputs, targets: pytrees of arrays with T along the first axis; copied, as parameters are.
        initial_state: a pytree; or a function parameters -> pytree, where the initial state is itself learned.
        reduction: ``"mean"`` over the timesteps that count, of all sequences, or ``"sum"``.
        lengths: (B,) integers or None. Past its length a sequence's state is held and its loss ignored; every
            leaf of the state then has B along its first axis.

    >>> def step(w, h, x):  # a vanilla RNN
    ...     h = jnp.tanh(x @ w["x"] + h @ w["h"])
    ...     return h, h
    """

    step: Callable[[Any, Any, Any], tuple[Any, Any]] | None = None
    loss: Callable[[Any, Any], Any] | None = None
    inputs: Any = None
    targets: Any = None
    initial_state: Any = None
    reduction: str = "mean"
    lengths: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("step", "loss"):
            if not callable(getattr(self, name)):
                raise BadInput(f"{name}: expected a function; got {described(getattr(self, name))}")
        if not isinstance(self.reduction, str) or self.reduction not in ("mean", "sum"):
            raise BadInput(f"reduction: expected one of mean, sum; got {described(self.reduction)}")
        for name in ("inputs", "targets"):
            check_data(name, getattr(self, name), self.dtype, padded=self.lengths is not None)
        if not callable(self.initial_state):
            check_data("initial_state", self.initial_state, self.dtype, padded=False)
        sizes = {np.shape(leaf)[:1] for leaf in jax.tree.leaves((self.inputs, self.targets))}
        if len(sizes) != 1 or sizes & {(), (0,)}:
            raise BadInput(f"inputs and targets: expected the same T >= 1 along the first axis of each; got {sorted(sizes)}")
        if self.lengths is not None:
            check_lengths(self.lengths, self.timesteps)
        for name in ("inputs", "targets", "initial_state", "lengths"):
            object.__setattr__(self, name, own(getattr(self, name)))
        check_functions(self)

    @staticmethod
    def from_network(*args: Any, **options: Any) -> Cost:
        """See `checks.network_problem.from_network`."""
        from checks.network_problem import from_network

        return from_network(*args, **options)

    @property
    def timesteps(self) -> int:
        return int(np.shape(jax.tree.leaves((self.inputs, self.targets))[0])[0])

    @property
    def steps_per_cost(self) -> int:
        return self.timesteps

    def start(self, parameters: Any) -> Any:
        """The state before step 0, in the parameters' dtype (complex, for the complex step)."""
        state = self.initial_state(parameters) if callable(self.initial_state) else self.initial_state
        dtype = jax.tree.leaves(parameters)[0].dtype
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype) if _is_float(leaf) else jnp.asarray(leaf), state)

    def advance(self, parameters: Any, state: Any, t: Any) -> tuple[Any, Any]:
        """Run step t: the new state, and the step's own contribution to the cost (weight_t · loss_t)."""
        assert self.step is not None
        assert self.loss is not None
        x_t, target_t = jax.tree.map(lambda leaf: self._at(leaf, t), (self.inputs, self.targets))
        new_state, y_t = self.step(parameters, state, x_t)
        loss_t = self.loss(y_t, target_t)
        if self.lengths is None:
            count = self.timesteps * max(1, loss_t.size)
            total = loss_t.sum()
        else:
            valid = t < jnp.asarray(self.lengths)
            count = int(np.sum(self.lengths))
            total = jnp.where(valid, loss_t, 0).sum()
            new_state = jax.tree.map(lambda new, old: jnp.where(_beside(valid, new), new, old), new_state, state)
        return new_state, total / count if self.reduction == "mean" else total

    def _at(self, leaf: Any, t: Any) -> Any:
        """Timestep t of an array; zero where a sequence has ended, since padding may hold anything, NaN included."""
        at_t = jnp.asarray(leaf)[t]
        if self.lengths is None or at_t.shape[:1] != np.shape(self.lengths) or not _is_float(at_t):
            return at_t
        return jnp.where(_beside(t < jnp.asarray(self.lengths), at_t), at_t, 0)

    def cost(self, parameters: Any) -> Any:
        """C by a scan that holds one state and a running cost, nothing else."""

        def body(carry, t):
            state, total = carry
            state, contribution = self.advance(parameters, state, t)
            return (state, total + contribution), None

        state = self.start(parameters)
        zero = jnp.zeros((), jax.tree.leaves(parameters)[0].dtype)
        return jax.lax.scan(body, (state, zero), jnp.arange(self.timesteps))[0][1]


def own(tree: Any) -> Any:
    """What is remembered of a problem must stay true of it: arrays that their owner may change in place are copied."""
    return jax.tree.map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, tree)


def _beside(valid: Any, leaf: Any) -> Any:
    """(B,) -> (B, 1, …) with as many axes as ``leaf``."""
    return valid.reshape(valid.shape + (1,) * (leaf.ndim - 1))


def _is_float(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def cast(tree: Any, dtype: Any) -> Any:
    """Every floating-point array of a field in another dtype; functions and integers untouched."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, dtype) if hasattr(leaf, "dtype") and _is_float(leaf) else leaf, tree)
