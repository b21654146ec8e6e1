"""Arrays as plain JSON, for languages that have nothing else.

``{name: {"dtype": "float64", "shape": [2, 3], "data": [six numbers, the last axis fastest]}}``. Numbers are written with
as many digits as bring back the same bits; NaN and infinity are not JSON.
"""

from __future__ import annotations

import json
import math
from typing import Any, BinaryIO

import numpy as np

from checks.files.npz_file import AXES, one_line, shown
from lstm import BadInput

LARGEST = 256 * 2**20  # bytes of text: parsed, it takes some eight times as much
DTYPES = ("float64", "float32", "float16", "int64", "int32")


def read_json(stream: BinaryIO, size: int) -> dict[str, np.ndarray]:
    """Every array by name. Raises `BadInput` with one line, whatever the bytes are."""
    if size > LARGEST:
        raise BadInput(f"expected a .json file of at most {LARGEST} bytes (.npz and .safetensors may be larger); got {size}")
    try:
        entries = json.loads(stream.read(LARGEST).decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"expected a .json file of arrays; got text that is not JSON ({one_line(error)})") from None
    if not isinstance(entries, dict) or not entries:
        raise BadInput(f"expected a JSON object with an array under each name; got {shown(entries)}")
    return {name: _read_entry(shown(name), entry) for name, entry in entries.items()}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _read_entry(name: str, entry: Any) -> np.ndarray:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data"}:
        raise BadInput(f"{name}: expected an object with dtype, shape and data; got {shown(entry)}")
    dtype, shape, data = entry["dtype"], entry["shape"], entry["data"]
    if dtype not in DTYPES:
        raise BadInput(f"{name}: expected a dtype among {', '.join(DTYPES)}; got {shown(dtype)}")
    if not isinstance(shape, list) or len(shape) > AXES or not all(type(length) is int and length >= 1 for length in shape):
        raise BadInput(f"{name}: expected a shape of at most {AXES} integers of at least 1; got {shown(shape)}")
    allowed = (int, float) if dtype.startswith("float") else (int,)
    if not isinstance(data, list) or not all(type(number) in allowed for number in data):
        raise BadInput(f"{name}: expected data to be a flat list of {dtype} numbers; got something else in it")
    if len(data) != math.prod(shape):
        raise BadInput(f"{name}: expected {shown(math.prod(shape))} numbers, as shape {shown(shape)} has; got {len(data)}")
    try:
        with np.errstate(over="ignore"):
            array = np.array(data, dtype).reshape(shape)
    except (OverflowError, ValueError):
        raise BadInput(f"{name}: expected numbers that {dtype} can hold; got larger ones") from None
    if not np.isfinite(array).all():
        raise BadInput(f"{name}: expected numbers that {dtype} can hold; got larger ones")
    return array


def write_json(stream: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """One array to a line."""
    lines = []
    for name, array in arrays.items():
        numbers = array.astype(np.float64) if array.dtype.kind == "f" else array  # exact: float64 holds every float32
        entry = {"dtype": str(array.dtype), "shape": list(array.shape), "data": numbers.ravel().tolist()}
        lines.append(f"{json.dumps(name)}: {json.dumps(entry)}")
    stream.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())
