"""What a caller passes to a `checks.Cost` or a `checks.Problem`, checked: arrays, precisions, lengths, what functions return.

Every message names the argument, what was expected and what came. Nothing is cast or broadcast silently.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lstm import BadInput

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def described(value: Any) -> str:
    """A value in a few words, on one line."""
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        text = repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        return f"an array of shape {value.shape}"
    return type(value).__name__


def numbers(name: str, value: Any) -> Any:
    """A NumPy or JAX array of real numbers, in the machine's byte order."""
    if not isinstance(value, (np.ndarray, np.generic, jax.Array)) or isinstance(value, np.ma.MaskedArray):
        raise BadInput(f"{name}: expected a NumPy or JAX array; got {described(value)}")
    dtype = value.dtype
    if dtype not in FLOATS and not (isinstance(dtype, np.dtype) and dtype.kind in "iub" and dtype.isnative):
        raise BadInput(f"{name}: expected float32, float64 or integers; got {dtype} (convert it yourself: nothing is cast silently)")
    return value


def is_scalar(value: Any) -> bool:
    """One floating-point number; a complex one too, as under the complex step."""
    dtype = getattr(value, "dtype", None)
    return isinstance(value, float) or (getattr(value, "shape", None) == () and isinstance(dtype, np.dtype) and dtype.kind in "fc")


def check_parameters(parameters: Any) -> None:
    """A pytree of floating-point arrays of one precision, none of them empty, every entry finite."""
    leaves = jax.tree_util.tree_leaves_with_path(parameters)
    if not leaves:
        raise BadInput("parameters: expected a pytree of arrays; got none")
    dtype = None
    for path, leaf in leaves:
        name = f"parameters{jax.tree_util.keystr(path)}"
        if numbers(name, leaf).dtype not in FLOATS:
            raise BadInput(f"{name}: expected a float32 or float64 array; got {leaf.dtype}")
        dtype = dtype or leaf.dtype
        if leaf.dtype != dtype:
            raise BadInput(f"{name}: expected {dtype} as in the other parameters; got {leaf.dtype} (nothing is cast silently)")
        if np.size(leaf) == 0:
            raise BadInput(f"{name}: expected at least one entry; got shape {np.shape(leaf)}")
        if not np.isfinite(np.asarray(leaf)).all():
            raise BadInput(f"{name}: expected finite numbers; got NaN or infinity")


def check_data(name: str, data: Any, dtype: np.dtype, *, padded: bool) -> None:
    """A pytree of arrays: the floating-point ones in the parameters' precision, and finite unless there is padding."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(data):
        of_leaf = f"{name}{jax.tree_util.keystr(path)}"
        if numbers(of_leaf, leaf).dtype not in FLOATS:
            continue
        if leaf.dtype != dtype:
            raise BadInput(f"{of_leaf}: expected {dtype}, as the parameters have; got {leaf.dtype} (nothing is cast silently)")
        if not padded and not np.isfinite(np.asarray(leaf)).all():
            raise BadInput(f"{of_leaf}: expected finite numbers; got NaN or infinity")


def check_lengths(lengths: Any, timesteps: int) -> None:
    lengths = np.asarray(numbers("lengths", lengths))
    if lengths.ndim != 1 or lengths.size == 0 or lengths.dtype.kind not in "iu":
        raise BadInput(f"lengths: expected (B,) integers; got {lengths.dtype} of shape {lengths.shape}")
    if lengths.min() < 0 or lengths.max() > timesteps or lengths.max() == 0:
        raise BadInput(f"lengths: expected integers from 0 to T = {timesteps}, not all 0; got {lengths.tolist()}")


def check_functions(problem: Any) -> None:
    """One timestep, traced: what `step` and `loss` return fits the contract of `checks.Problem`."""

    def first_timestep(parameters: Any) -> Any:
        x, target = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], (problem.inputs, problem.targets))
        state = problem.start(parameters)
        with _raised_by("step", state, x):
            returned = problem.step(parameters, state, x)
        if not isinstance(returned, (tuple, list)) or len(returned) != 2:
            raise BadInput(f"step: expected (new state, y_t); got {described(returned)}")
        new_state, y = returned
        _same_structure(state, new_state)
        with _raised_by("loss", y, target):
            loss = problem.loss(y, target)
        _scalar_or_batch(loss, problem.lengths)
        if loss.dtype != problem.dtype:
            raise BadInput(f"loss: expected {problem.dtype}, as the parameters have; got {loss.dtype} (nothing is cast silently)")
        if problem.lengths is not None:
            _batch_first(state, np.shape(problem.lengths))
        return loss

    with problem.scope():
        jax.eval_shape(first_timestep, problem.parameters)


@contextlib.contextmanager
def _raised_by(name: str, *given: Any) -> Iterator[None]:
    """What a user's function raises while it is traced, on one line; the error itself is chained, with the line of code."""
    try:
        yield
    except (BadInput, MemoryError):
        raise
    except (jax.errors.TracerArrayConversionError, jax.errors.TracerBoolConversionError, jax.errors.ConcretizationTypeError) as error:
        why = "it needs a number where JAX only knows a shape: write jnp. for np., and jnp.where for if"
        raise BadInput(f"{name}: expected a function that JAX can trace; {why} ({type(error).__name__})") from error
    except Exception as error:
        of, names = {"step": ("parameters, state, x_t", ("state", "x_t")), "loss": ("y_t, target_t", ("y_t", "target_t"))}[name]
        found = [f"{each} {_listed(_shapes(one)) if jax.tree.leaves(one) else None}" for each, one in zip(names, given, strict=True)]
        first = str(error).partition("\n")[0]
        what = f"with {' and '.join(found)} it raised {type(error).__name__}{first and ': '}{first}"
        raise BadInput(f"{name}: expected a function of ({of}); {what}") from error


def _same_structure(state: Any, new_state: Any) -> None:
    """A scan carries one structure: the new state has the old one's arrays, shapes and dtypes."""
    old, new = _shapes(state), _shapes(new_state)
    if str(old) != str(new):
        raise BadInput(f"step: expected a new state like the old one, {_listed(old)}; got {_listed(new)}")


def _shapes(tree: Any) -> Any:
    def shape(leaf: Any) -> str:
        return f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") and hasattr(leaf, "shape") else described(leaf)

    return jax.tree.map(shape, tree)


def _listed(shapes: Any) -> str:
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    return ", ".join(f"{jax.tree_util.keystr(path)} {shape}".strip() for path, shape in leaves) or "nothing"


def _scalar_or_batch(loss: Any, lengths: Any) -> None:
    expected = "a floating-point scalar, or (B,) for a batch" if lengths is None else f"floating-point {np.shape(lengths)}, as lengths"
    if not hasattr(loss, "shape") or not hasattr(loss, "dtype"):
        raise BadInput(f"loss: expected {expected}; got {described(loss)}")
    fits = loss.ndim <= 1 if lengths is None else loss.shape == np.shape(lengths)
    if not fits or loss.size == 0 or loss.dtype not in FLOATS:
        raise BadInput(f"loss: expected {expected}; got {loss.dtype} of shape {loss.shape}")


def _batch_first(state: Any, batch: tuple[int, ...]) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        if np.shape(leaf)[:1] != batch:
            name = f"initial_state{jax.tree_util.keystr(path)}"
            raise BadInput(f"{name}: expected B = {batch[0]} along the first axis, as lengths has; got shape {np.shape(leaf)}")
