"""The ``.safetensors`` format, read with suspicion and written plainly.

Eight bytes, little-endian: the length of a JSON header; the header, ``{name: {"dtype", "shape", "data_offsets"}}``; then the
numbers of all arrays, one after another without gaps. https://github.com/huggingface/safetensors describes it.
"""

from __future__ import annotations

import json
import math
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from checks.files.npz_file import check_size, one_line, shown
from lstm import BadInput

HEADER = 4 * 2**20  # bytes: some 40,000 arrays

DTYPES = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}  # fmt: skip


def read_safetensors(stream: BinaryIO, size: int) -> dict[str, np.ndarray]:
    """Every array by name; bfloat16 keeps its own dtype. Raises `BadInput` with one line, whatever the bytes are.

    Args:
        stream: an open binary file, at its start.
        size: its length in bytes.
    """
    length = int.from_bytes(stream.read(8), "little")
    if size < 8 or length > size - 8:
        raise BadInput(f"expected a .safetensors file; got {size} bytes, which the header declared in the first 8 does not fit")
    if length > HEADER:
        raise BadInput(f"expected a .safetensors header of at most {HEADER} bytes; got {length}")
    entries = _parse_header(stream.read(length))
    data_size = size - 8 - length
    fields = sorted(((*_parse_entry(name, entry, data_size), name) for name, entry in entries.items()), key=lambda field: field[:2])
    arrays, end = {}, 0
    for start, stop, dtype, shape, name in fields:
        if start != end:
            raise BadInput(f"{shown(name)}: expected its numbers to start at byte {end}, after those before it; got {start}")
        data = stream.read(stop - start)
        if len(data) != stop - start:
            raise BadInput(f"{shown(name)}: expected {stop - start} bytes; got a file that ends before them")
        arrays[name] = np.frombuffer(data, dtype).reshape(shape)
        end = stop
    if end != data_size:
        raise BadInput(f"expected the file to end with its last array's numbers; got {data_size - end} bytes more")
    return arrays


def _parse_header(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"expected a .safetensors file; got a header that is not JSON ({one_line(error)})") from None
    if not isinstance(header, dict):
        raise BadInput(f"expected a .safetensors header to be a JSON object; got {shown(header)}")
    header.pop("__metadata__", None)
    if not header:
        raise BadInput("expected a .safetensors file with arrays in it; got none")
    return header


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def _parse_entry(name: str, entry: Any, data_size: int) -> tuple[int, int, np.dtype, tuple[int, ...]]:
    name = shown(name)
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= set(entry):
        raise BadInput(f"{name}: expected a header entry with dtype, shape and data_offsets; got {shown(entry)}")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in DTYPES:
        raise BadInput(f"{name}: expected a dtype among {', '.join(DTYPES)}; got {shown(entry['dtype'])}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    for field, value in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(value, list) or not all(type(number) is int and number >= 0 for number in value):
            raise BadInput(f"{name}: expected {field} to be a list of integers of at least 0; got {shown(value)}")
    if len(offsets) != 2 or not offsets[0] <= offsets[1] <= data_size:
        raise BadInput(f"{name}: expected data_offsets [start, end] within the file's {data_size} bytes of data; got {shown(offsets)}")
    dtype = DTYPES[entry["dtype"]]
    check_size(name, dtype, tuple(shape), offsets[1] - offsets[0])
    return offsets[0], offsets[1], dtype, tuple(shape)


def write_safetensors(stream: BinaryIO, arrays: dict[str, np.ndarray], about: dict[str, str]) -> None:
    """``about`` goes into the file's metadata."""
    codes = {dtype: code for code, dtype in DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": about}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + math.prod(array.shape) * array.dtype.itemsize
        header[name] = {"dtype": codes[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the numbers start at a multiple of 8, as other readers like it
    stream.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array).tobytes())
