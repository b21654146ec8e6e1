"""A file of named arrays, in whichever of the formats its name ends with."""

from __future__ import annotations

import os
import pathlib
import stat
from typing import Any, BinaryIO

import numpy as np

from checks.files.json_file import read_json, write_json
from checks.files.npz_file import read_npz, shown
from checks.files.safetensors_file import read_safetensors, write_safetensors
from lstm import BadInput

READERS = {".npz": read_npz, ".safetensors": read_safetensors, ".json": read_json}


def read_arrays(path: Any) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz``, ``.safetensors`` or ``.json`` file, by name. Raises `BadInput` naming the file."""
    reader = READERS[file_format(path)]
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
            raise BadInput("expected an ordinary file; got a folder, a device or a pipe")
        with open(path, "rb") as stream:
            return reader(stream, os.fstat(stream.fileno()).st_size)
    except BadInput as error:
        raise BadInput(f"{shown(path)}: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"{shown(path)}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def write_arrays(path: Any, arrays: dict[str, np.ndarray], about: dict[str, str]) -> None:
    """Write named arrays; ``about`` is kept where the format has a place for it."""
    ending = file_format(path)
    try:
        with open(path, "wb") as stream:
            _write(stream, ending, arrays, about)
    except OSError as error:
        raise BadInput(f"{shown(path)}: cannot be written: {error.strerror}") from None


def _write(stream: BinaryIO, ending: str, arrays: dict[str, Any], about: dict[str, str]) -> None:
    if ending == ".npz":
        np.savez(stream, **arrays)
    elif ending == ".safetensors":
        write_safetensors(stream, arrays, about)
    else:
        write_json(stream, arrays)


def file_format(path: Any) -> str:
    ending = pathlib.PurePath(path).suffix
    if ending not in READERS:
        raise BadInput(f"{shown(path) or 'FILE'}: expected a name that ends in one of {', '.join(READERS)}")
    return ending
