"""Reading an ``.npz`` that anybody may have written: nothing is unpickled, and nothing is allocated on the file's word alone.

An ``.npz`` is a zip of ``.npy`` files. Every size that it declares is held against the bytes that are really there before
anything is read, so a small file cannot ask for much memory: what it expands to is bounded by `EXPANSION` times its size.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
import zipfile
import zlib
from typing import IO, BinaryIO

import numpy as np

from lstm import BadInput

MEMBERS = 10_000  # arrays in one file
EXPANSION = 20  # numbers of a gradient barely compress; a zip bomb expands a thousand times and more
ALWAYS_ALLOWED = 64 * 2**20  # bytes: a small file may hold zeros, which compress well
HEADER = 10_000  # bytes of one array's header, as NumPy itself limits it
AXES = 8

MALFORMED = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError, KeyError,
    IndexError, OverflowError,
)  # fmt: skip

_DESCR = re.compile(r"""["']descr["']\s*:\s*(?:["']([^"']*)["']|(\S))""")
_ORDER = re.compile(r"""["']fortran_order["']\s*:\s*(True|False)\b""")
_SHAPE = re.compile(r"""["']shape["']\s*:\s*\(([0-9L,\s]*)\)""")


def read_npz(stream: BinaryIO, size: int) -> dict[str, np.ndarray]:
    """Every array of the zip, by name without ``.npy``. Raises `BadInput` with one line, whatever the bytes are.

    Args:
        stream: an open, seekable binary file.
        size: its length in bytes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile remarks on duplicate names; they are an error below
            archive = zipfile.ZipFile(stream)
            with archive:
                return _read_members(archive, size)
    except BadInput:
        raise
    except MALFORMED as error:
        raise BadInput(f"expected an .npz, a zip of .npy arrays; got a file that is truncated or damaged ({one_line(error)})") from None


def _read_members(archive: zipfile.ZipFile, size: int) -> dict[str, np.ndarray]:
    members = archive.infolist()
    if not 0 < len(members) <= MEMBERS:
        raise BadInput(f"expected an .npz of 1 to {MEMBERS} arrays; got {len(members)}")
    total = sum(member.file_size for member in members)
    if total > ALWAYS_ALLOWED + EXPANSION * size:
        raise BadInput(f"expected arrays that fit the file of {size} bytes; got {total} bytes declared")
    arrays: dict[str, np.ndarray] = {}
    for member in members:
        name = shown(member.filename)
        if not member.filename.endswith(".npy"):
            raise BadInput(f"{name}: expected .npy arrays only, as numpy.savez writes; got another kind of file in the zip")
        key = member.filename.removesuffix(".npy")
        if key in arrays:
            raise BadInput(f"{shown(key)}: expected one array of this name; got two in the zip")
        if member.flag_bits & 1:
            raise BadInput(f"{shown(key)}: expected plain data; got an encrypted zip member")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadInput(f"{shown(key)}: expected data stored or deflated, as NumPy does; got zip method {member.compress_type}")
        with archive.open(member) as file:
            arrays[key] = _read_npy(shown(key), file, member.file_size)
    return arrays


def _read_npy(name: str, file: IO[bytes], size: int) -> np.ndarray:
    prefix = file.read(8)
    if len(prefix) < 8 or prefix[:6] != b"\x93NUMPY" or prefix[6] not in (1, 2, 3):
        raise BadInput(f"{name}: expected a .npy array; got bytes that do not start like one")
    width = 2 if prefix[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > min(HEADER, size):
        raise BadInput(f"{name}: expected a .npy header of at most {min(HEADER, size)} bytes; got {length} declared")
    dtype, shape, by_columns = _parse_header(name, file.read(length).decode("latin1"))
    check_size(name, dtype, shape, size - 8 - width - length)
    data = file.read(math.prod(shape) * dtype.itemsize)
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise BadInput(f"{name}: expected {math.prod(shape)} numbers; got a file that ends before them")
    array = np.frombuffer(data, dtype)
    array = array.reshape(shape[::-1]).T if by_columns else array.reshape(shape)
    return array if dtype.isnative else array.astype(dtype.newbyteorder("="))


def _parse_header(name: str, text: str) -> tuple[np.dtype, tuple[int, ...], bool]:
    """The three fields of a .npy header, without evaluating it as Python."""
    descr, order, shape = _DESCR.search(text), _ORDER.search(text), _SHAPE.search(text)
    if not (descr and order and shape):
        raise BadInput(f"{name}: expected a .npy header with descr, fortran_order and shape; got {shown(text)}")
    sizes = [size.strip().rstrip("L") for size in shape[1].split(",")]
    axes = tuple(int(size) for size in sizes if size)
    return _dtype(name, descr[1]), axes, order[1] == "True"


def _dtype(name: str, code: str | None) -> np.dtype:
    """``<f4`` -> float32. Only numbers pass; what they may be used for is the caller's to say."""
    if code is None:
        raise BadInput(f"{name}: expected an array of numbers; got a structured array")
    kind = code.lstrip("<>=|")[:1]
    refused = {"O": "pickled objects, which are never loaded", "U": "text", "S": "text", "M": "dates", "m": "durations"}
    if kind in refused:
        raise BadInput(f"{name}: expected an array of numbers; got {refused[kind]}")
    if kind == "V":
        raise BadInput(f"{name}: expected an array of numbers; got raw bytes ({shown(code)}): .npz has no bfloat16, .safetensors does")
    try:
        if not re.fullmatch(r"[<>=|]?[biufc][0-9]{1,2}", code):  # np.dtype evaluates some of what it is given
            raise TypeError
        return np.dtype(code)
    except TypeError:
        raise BadInput(f"{name}: expected an array of numbers; got dtype {shown(code)}") from None


def check_size(name: str, dtype: np.dtype, shape: tuple[int, ...], available: int) -> None:
    """The declared shape against the bytes that are there; before anything is allocated."""
    if len(shape) > AXES:
        raise BadInput(f"{name}: expected at most {AXES} axes; got {len(shape)}")
    if any(length >= 2**48 for length in shape):
        raise BadInput(f"{name}: expected a shape that fits the file; got {shown(shape)}")
    declared = math.prod(shape) * dtype.itemsize
    if declared != available:
        raise BadInput(f"{name}: expected {declared} bytes, as shape {shown(shape)} of {dtype} takes; got {available} in the file")
    if declared == 0:
        raise BadInput(f"{name}: expected at least one entry along each axis; got shape {shape}")


def shown(value: object) -> str:
    """Somebody else's text, in an error message: one line, printable, not long."""
    text = str(value).encode("unicode_escape").decode("ascii")
    return text if len(text) <= 60 else text[:57] + "..."


def one_line(error: Exception) -> str:
    return shown(error) if str(error) else type(error).__name__
