"""Files that are not what they should be: one clear line each, nothing unpickled, nothing allocated on the file's word alone."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zipfile

import ml_dtypes
import numpy as np
import pytest
from verify_fuzz import json_bytes, npz_bytes, safetensors_bytes

from checks.files.array_file import read_arrays, write_arrays
from checks.files.json_file import read_json
from checks.files.npz_file import read_npz
from checks.files.safetensors_file import read_safetensors
from lstm import BadInput

ARRAYS = {
    "inputs": np.arange(6.0).reshape(3, 2) / 7,
    "kernel/ii": np.array([[1.5, -2.5]], np.float32),
    "lengths": np.array([3, 1]),
    "columns": np.asfortranarray(np.arange(6, dtype=np.float16).reshape(2, 3)),
}


def refused(reader, data: bytes) -> str:
    """The one line that a reader says of these bytes."""
    with pytest.raises(BadInput) as raised:
        reader(io.BytesIO(data), len(data))
    message = str(raised.value)
    assert message.isprintable()
    return message


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".json"])
def test_what_is_written_is_read_to_the_bit(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    write_arrays(path, ARRAYS, {"about": "a test"})
    found = read_arrays(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_numpy_and_the_safetensors_package_read_ours_and_we_theirs(tmp_path):
    safetensors_numpy = pytest.importorskip("safetensors.numpy")
    arrays = {name: np.ascontiguousarray(array) for name, array in ARRAYS.items()}
    path = tmp_path / "a.safetensors"
    write_arrays(path, arrays, {"about": "a test"})
    theirs = safetensors_numpy.load_file(path)
    assert {name: array.tolist() for name, array in theirs.items()} == {name: array.tolist() for name, array in arrays.items()}
    data = safetensors_numpy.save(arrays, {"format": "np"})
    ours = read_safetensors(io.BytesIO(data), len(data))
    assert {name: array.tolist() for name, array in ours.items()} == {name: array.tolist() for name, array in arrays.items()}
    write_arrays(tmp_path / "a.npz", arrays, {})
    with np.load(tmp_path / "a.npz") as npz:
        assert {name: npz[name].tolist() for name in npz} == {name: array.tolist() for name, array in arrays.items()}


def test_npz_of_other_machines_and_older_headers():
    swapped = {"a": np.arange(4.0).reshape(2, 2).astype(">f8"), "b": np.arange(3, dtype=">i4")}
    found = read_npz(io.BytesIO(npz_bytes(swapped)), len(npz_bytes(swapped)))
    assert found["a"].dtype == np.float64
    assert found["a"].tolist() == [[0, 1], [2, 3]]
    assert found["b"].tolist() == [0, 1, 2]
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ones(2), version=(2, 0))
    data = _zip({"a.npy": stream.getvalue()})
    assert read_npz(io.BytesIO(data), len(data))["a"].tolist() == [1, 1]


def test_bfloat16_keeps_its_kind():
    array = np.array([1.0, 0.1], ml_dtypes.bfloat16)
    data = safetensors_bytes({"a": array})
    assert read_safetensors(io.BytesIO(data), len(data))["a"].dtype == array.dtype
    assert "got raw bytes (<V2): .npz has no bfloat16, .safetensors does" in refused(read_npz, npz_bytes({"a": array}))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{}], object), "got pickled objects, which are never loaded"),
        (np.array(["x"]), "got text"),
        (np.array([b"x"]), "got text"),
        (np.array(["2020-01-01"], "M8[D]"), "got dates"),
        (np.zeros(2, [("a", "f8")]), "got a structured array"),
        (np.zeros((2, 0)), "expected at least one entry along each axis; got shape (2, 0)"),
        (np.zeros((1,) * 9), "expected at most 8 axes; got 9"),
    ],
)
def test_arrays_that_are_no_numbers(array, message):
    assert message in refused(read_npz, npz_bytes({"a": array}))


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _npy(header: str, data: bytes = b"\0" * 16) -> bytes:
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode() + data


def test_zips_that_are_no_npz():
    damaged = "expected an .npz, a zip of .npy arrays; got a file that is truncated or damaged"
    whole = npz_bytes(ARRAYS)
    for data in (b"", b"PK", b"\x93NUMPY", whole[: len(whole) // 2], whole[:-30]):
        assert damaged in refused(read_npz, data)
    assert "expected an .npz of 1 to 10000 arrays; got 0" in refused(read_npz, _zip({}))
    assert "a.txt: expected .npy arrays only" in refused(read_npz, _zip({"a.txt": b"x"}))
    assert "got bytes that do not start like one" in refused(read_npz, _zip({"a.npy": b"x" * 100}))
    assert "got zip method 12" in refused(read_npz, _zip({"a.npy": _npy("x")}, zipfile.ZIP_BZIP2))
    assert "got another kind of file in the zip" in refused(read_npz, _zip({"a\nb": b"x"}))
    corrupted = bytearray(whole)
    corrupted[whole.index(b"NUMPY") + 130] ^= 1
    assert damaged in refused(read_npz, bytes(corrupted))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}", "expected 24 bytes, as shape (3,) of float64 takes; got 16"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 99999999999999999999)}", "expected a shape that fits the file"),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",)}", "truncated or damaged"),
        ("{'descr': '<f8', 'fortran_order': False}", "expected a .npy header with descr, fortran_order and shape"),
        ("{'descr': ',f8', 'fortran_order': False, 'shape': (2,)}", "got dtype ,f8"),
        ("{'descr': '2<f8', 'fortran_order': False, 'shape': (2,)}", "got dtype 2<f8"),
        ("__import__('os').abort()", "expected a .npy header with descr, fortran_order and shape"),
        ("(" * 9000, "expected a .npy header with descr, fortran_order and shape"),
    ],
)
def test_npy_headers_are_never_evaluated(header, message):
    assert message in refused(read_npz, _zip({"a.npy": _npy(header)}))


def test_a_zip_bomb_allocates_nothing():
    """200 MB of zeros in 200 KB; and a stored member that says it is larger than the file."""
    bomb = npz_bytes({"inputs": np.zeros(25_000_000)}, compressed=True)
    assert len(bomb) < 250_000
    tracemalloc.start()
    message = refused(read_npz, bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert message == f"expected arrays that fit the file of {len(bomb)} bytes; got 200000128 bytes declared"
    lying = npz_bytes({"inputs": np.ones(4)})
    size = struct.pack("<II", 160, 160)
    assert size in lying
    assert refused(read_npz, lying.replace(size, struct.pack("<II", 10**9, 10**9)))


def _with_header(header: object, data: bytes = b"\0" * 16, raw: bytes | None = None) -> bytes:
    text = json.dumps(header).encode() if raw is None else raw
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F64", shape=(2,), offsets=(0, 16)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a .safetensors file; got 0 bytes"),
        (b"\xff" * 20, "got 20 bytes, which the header declared in the first 8 does not fit"),
        (_with_header(None, raw=b"{nonsense"), "got a header that is not JSON"),
        (_with_header(None, raw=b"[" * 5000), "got a header that is not JSON"),
        (_with_header(None, raw=b'{"a": 1, "a": 2}'), "a name occurs twice"),
        (_with_header([]), "to be a JSON object"),
        (_with_header({}, b""), "got none"),
        (_with_header({"a": 7}), "a: expected a header entry with dtype, shape and data_offsets"),
        (_with_header({"a": entry("F8_E4M3")}), "a: expected a dtype among F64,"),
        (_with_header({"a": entry(shape=(2.5,))}), "a: expected shape to be a list of integers"),
        (_with_header({"a": entry(shape=(True, 2))}), "a: expected shape to be a list of integers"),
        (_with_header({"a": entry(offsets=(-1, 16))}), "a: expected data_offsets to be a list of integers"),
        (_with_header({"a": entry(offsets=(0, 17))}), "a: expected data_offsets [start, end] within the file's 16 bytes"),
        (_with_header({"a": entry(offsets=(16, 0))}), "a: expected data_offsets [start, end] within the file's 16 bytes"),
        (_with_header({"a": entry(shape=(3,))}), "a: expected 24 bytes, as shape (3,) of float64 takes; got 16 in the file"),
        (_with_header({"a": entry(shape=(2**62, 2**62, 2**62))}), "a: expected a shape that fits the file"),
        (_with_header({"a": entry(shape=(0,), offsets=(0, 0))}, b""), "a: expected at least one entry along each axis"),
        (_with_header({"a": entry(shape=(1,), offsets=(8, 16))}), "a: expected its numbers to start at byte 0"),
        (_with_header({"a": entry(), "b": entry()}), "b: expected its numbers to start at byte 16"),
        (_with_header({"a": entry(shape=(1,), offsets=(0, 8))}), "got 8 bytes more"),
        (_with_header({"a\nb" * 50: 7}), "a\\nb"),
    ],
)
def test_safetensors_that_are_wrong(data, message):
    assert message in refused(read_safetensors, data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got text that is not JSON"),
        ("[" * 100_000, "got text that is not JSON"),
        ('{"a": {"dtype": "float64", "shape": [1], "data": [NaN]}}', "NaN is not JSON"),
        ("[]", "expected a JSON object with an array under each name"),
        ('{"a": [1.0]}', "a: expected an object with dtype, shape and data"),
        ('{"a": {"dtype": "object", "shape": [1], "data": [1]}}', "a: expected a dtype among float64,"),
        ('{"a": {"dtype": "float64", "shape": [0], "data": []}}', "a: expected a shape of at most 8 integers of at least 1"),
        ('{"a": {"dtype": "float64", "shape": [2], "data": [1]}}', "a: expected 2 numbers, as shape [2] has; got 1"),
        ('{"a": {"dtype": "float64", "shape": [1], "data": ["1"]}}', "a: expected data to be a flat list of float64 numbers"),
        ('{"a": {"dtype": "float64", "shape": [1], "data": [true]}}', "a: expected data to be a flat list of float64 numbers"),
        ('{"a": {"dtype": "int64", "shape": [1], "data": [1.5]}}', "a: expected data to be a flat list of int64 numbers"),
        ('{"a": {"dtype": "float64", "shape": [1], "data": [1e999]}}', "a: expected numbers that float64 can hold"),
        ('{"a": {"dtype": "float32", "shape": [1], "data": [1e39]}}', "a: expected numbers that float32 can hold"),
        ('{"a": {"dtype": "int32", "shape": [1], "data": [3000000000]}}', "a: expected numbers that int32 can hold"),
        ('{"a": {"dtype": "float64", "shape": [1], "data": [' + "9" * 400 + "]}}", "a: expected numbers that float64 can hold"),
    ],
)
def test_json_that_is_wrong(text, message):
    assert message in refused(read_json, text.encode())


def test_json_numbers_are_exact():
    values = np.array([0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0])
    single = values[:2].astype(np.float32)
    data = json_bytes({"a": values, "b": single})
    found = read_json(io.BytesIO(data), len(data))
    assert found["a"].tobytes() == values.tobytes()
    assert found["b"].tobytes() == single.tobytes()
    assert json.loads(data)["b"]["data"] == [float(number) for number in single]


def test_files_that_cannot_be_opened(tmp_path):
    fifo, folder, missing = tmp_path / "f.npz", tmp_path / "g.npz", tmp_path / "h.npz"
    os.mkfifo(fifo)
    folder.mkdir()
    for path, message in {
        fifo: "expected an ordinary file; got a folder, a device or a pipe",
        folder: "expected an ordinary file; got a folder, a device or a pipe",
        missing: "cannot be read: No such file or directory",
        tmp_path / "a.pt": "expected a name that ends in one of .npz, .safetensors, .json",
        "a\0b.npz": "cannot be read: embedded null byte",
    }.items():
        with pytest.raises(BadInput, match=message) as raised:
            read_arrays(path)
        assert str(raised.value).isprintable()
    with pytest.raises(BadInput, match="cannot be written: No such file or directory"):
        write_arrays(tmp_path / "none" / "a.npz", ARRAYS, {})
