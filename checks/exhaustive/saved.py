"""Finished units in a file that is always whole: a killed run goes on where it was, to the same bits."""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from lstm import BadInput

SECONDS = 2.0  # between two writes


class Saved:
    """The results of units, by number; in a file too, if there is one. Of several processes the first alone reads and writes."""

    def __init__(self, path: str | os.PathLike[str] | None, about: str):
        """``about``: what the results depend on; a file about anything else is refused."""
        self.path, self.about = None if path is None else Path(path), about
        self.results: dict[int, np.ndarray] = {}
        self.is_writer = jax.process_index() == 0
        self.written = time.monotonic()

    def expect(self, units: int) -> None:
        """Read what there is, of so many units."""
        if self.path is not None and self.is_writer:
            self.results = self._read()
        if jax.process_count() > 1:
            self._share(units)

    def has(self, number: int) -> bool:
        return number in self.results

    def get(self, number: int) -> np.ndarray:
        return self.results[number]

    def put(self, number: int, result: np.ndarray) -> None:
        self.results[number] = result
        if time.monotonic() - self.written > SECONDS:
            self.write()

    def write(self) -> None:
        """Atomic: whoever looks, and whenever the process is killed, the file is the old one or the new one, whole."""
        if self.path is None or not self.is_writer:
            return
        unfinished = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        arrays = {f"unit {number}": self.results[number] for number in sorted(self.results)}
        try:
            with open(unfinished, "wb") as file:
                np.savez(file, about=np.array(self.about), **arrays)  # type: ignore[arg-type]  # NumPy declares allow_pickle beside them
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, self.path)
        except OSError as error:
            raise BadInput(f"resume: cannot write {self.path}: {error.strerror}") from None
        self.written = time.monotonic()

    def _read(self) -> dict[int, np.ndarray]:
        assert self.path is not None
        try:
            with np.load(self.path, allow_pickle=False) as file:
                about, results = str(file["about"]), {int(name[5:]): file[name] for name in file.files if name != "about"}
        except FileNotFoundError:
            self.write()  # a path that cannot be written is refused now, not after hours
            return {}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            raise BadInput(f"resume: expected a file that an earlier run left; got something else in {self.path}") from None
        if about != self.about:
            raise BadInput(f"resume: expected a file of the same problem, step and memory; {self.path} is of another")
        return results

    def _share(self, units: int) -> None:
        """Every process knows what the first one read, whether or not it was given a file itself."""
        own = {number: result for number, result in self.results.items() if self.is_writer and number < units}
        shapes = np.zeros((units, 3), np.int32)  # a result has no empty axis, so zeros stand for none
        for number, result in own.items():
            shapes[number] = result.shape
        shapes = np.asarray(multihost_utils.broadcast_one_to_all(shapes))
        sizes = shapes.prod(axis=1)
        if not sizes.any():
            return
        everything = np.concatenate([result.ravel() for _, result in sorted(own.items())]) if own else np.zeros(int(sizes.sum()))
        # As bytes: in 32-bit mode JAX would round float64
        received = np.asarray(multihost_utils.broadcast_one_to_all(everything.view(np.uint8))).view(np.float64)
        ends = np.cumsum(sizes)
        self.results = {n: received[ends[n] - sizes[n] : ends[n]].reshape(shapes[n]) for n in np.flatnonzero(sizes).tolist()}


def digest(tree: Any) -> str:
    """Of every array's bytes, shape and dtype, and of the tree's structure."""
    leaves, structure = jax.tree.flatten(tree)
    found = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        array = np.asarray(leaf)
        found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()
