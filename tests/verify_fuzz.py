"""Mutations of a valid file of arrays: of its bytes, of its zip members, of its names, shapes and numbers. All seeded."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Generator = np.random.Generator


def npz_bytes(arrays: dict[str, Any], compressed: bool = False) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


def safetensors_bytes(arrays: Arrays) -> bytes:
    from checks.files.safetensors_file import write_safetensors

    stream = io.BytesIO()
    write_safetensors(stream, arrays, {"made": "by a test"})
    return stream.getvalue()


def json_bytes(arrays: Arrays) -> bytes:
    from checks.files.json_file import write_json

    stream = io.BytesIO()
    write_json(stream, arrays)
    return stream.getvalue()


def _truncated(data: bytes, rng: Generator) -> bytes:
    return data[: rng.integers(len(data))]


def _flipped(data: bytes, rng: Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
    return bytes(changed)


def _overwritten(data: bytes, rng: Generator) -> bytes:
    start = int(rng.integers(len(data)))
    return data[:start] + rng.bytes(int(rng.integers(1, 64))) + data[start + 32 :]


def _inserted(data: bytes, rng: Generator) -> bytes:
    start = int(rng.integers(len(data)))
    return data[:start] + data[start : start + int(rng.integers(1, 64))] + data[start:]


def _extreme(data: bytes, rng: Generator) -> bytes:
    """Eight bytes become a huge number, wherever they are: sizes, offsets, counts."""
    start = int(rng.integers(max(len(data) - 8, 1)))
    value = int(rng.choice([2**31 - 1, 2**32 - 1, 2**62, 2**63 - 1]))
    width = 4 if value < 2**32 else 8
    return data[:start] + value.to_bytes(width, "little") + data[start + width :]


BYTES: tuple[Callable[[bytes, Generator], bytes], ...] = (_truncated, _flipped, _overwritten, _inserted, _extreme)


def header_edited(data: bytes, rng: Generator) -> bytes:
    """The text of one member's .npy header, edited, in a zip whose checksums are right again."""
    source = zipfile.ZipFile(io.BytesIO(data))
    chosen = rng.choice(source.namelist())
    edits = ["9", "(", ")", "'|O'", "-1", "99999999999", "True", ", ", "'<c16'", "\\u0000", "'<i8'", "{", "((((((((", "'<f8'"]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            content = bytearray(source.read(name))
            if name == chosen:
                length = int.from_bytes(content[8:10], "little")
                start = 10 + int(rng.integers(length))
                edit = str(rng.choice(edits)).encode()
                content[start : start + len(edit)] = edit
            target.writestr(name, bytes(content))
    return stream.getvalue()


def safetensors_header_edited(data: bytes, rng: Generator) -> bytes:
    """One value of the JSON header replaced by something else."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = str(rng.choice([key for key in header if key != "__metadata__"]))
    field = str(rng.choice(["dtype", "shape", "data_offsets"]))
    values: list[Any] = ["F64", "F32", "Q8", [], [0], [-1, 2], [2**62, 2**62], [10**300], [0, 2**40], None, 7, [1.5], [[1]], True]
    header[name][field] = values[rng.integers(len(values))]
    if rng.integers(4) == 0:
        header["grad." + name] = header.pop(name)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def arrays_changed(arrays: Arrays, rng: Generator) -> Arrays:
    """One array dropped, renamed, reshaped, retyped, or with something in it that does not belong."""
    changed = dict(arrays)
    name = str(rng.choice(list(arrays)))
    array = changed[name]
    kind = int(rng.integers(12))
    if kind == 0:
        del changed[name]
    elif kind == 1:
        changed[_misspelt(name, rng)] = changed.pop(name)
    elif kind == 2:
        changed[_misspelt(name, rng)] = array
    elif kind == 3:
        changed[name] = array.T
    elif kind == 4:
        changed[name] = array.ravel()
    elif kind == 5:
        changed[name] = array[:0]
    elif kind == 6:
        changed[name] = np.concatenate([array, array])
    elif kind == 7:
        changed[name] = array.astype(rng.choice(["int64", "complex128", "bool", "float16", "uint8", "float32"]))
    elif kind == 8 and array.dtype.kind == "f":
        changed[name] = array.copy()
        changed[name].flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 1e300, 0.0])
    elif kind == 9:
        changed[name] = array[..., None]
    elif kind == 10:
        changed[name] = np.full(array.shape, "x")
    else:
        other = str(rng.choice(list(arrays)))
        changed[name], changed[other] = changed[other], changed[name]
    return changed


def _misspelt(name: str, rng: Generator) -> str:
    at = int(rng.integers(len(name)))
    return str(rng.choice([name[:at] + name[at + 1 :], name[:at] + "_" + name[at:], name + "\n", "grad." + name, name.upper(), "Ω"]))
