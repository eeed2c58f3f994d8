import json
import os
import pickle

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ntm.serialization import arrays as arrays_module
from ntm.serialization.arrays import DTYPES, read_arrays, write_arrays

ARRAYS = {"a b": np.arange(6, dtype="float32").reshape(2, 3), "µ": np.array([True, False])}
DEAD = 99999999  # no process has such a number
ABOUT = {"steps": 3, "name": "Grüße", "nested": [1.5, None, {"x": []}]}

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
scalars = scalars.filter(lambda value: value not in (float("inf"), float("-inf")))
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
dtypes = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: st.sampled_from([np.dtype(name), np.dtype(name).newbyteorder(">")])
)
any_array = hnp.arrays(
    dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
).flatmap(
    lambda array: st.sampled_from(
        [array, np.asfortranarray(array) if array.ndim else array, array.T, array[..., ::-1]]
        if array.ndim
        else [array]
    )
)


@pytest.fixture
def path(tmp_path):
    """A file that is there already."""
    path = tmp_path / "some.arrays"
    write_arrays(path, ARRAYS, ABOUT)
    return path


def check_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype.newbyteorder("=")
        assert array.shape == other[name].shape
        assert array.tobytes() == other[name].astype(array.dtype).tobytes()


# ---- round trips


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(arrays=st.dictionaries(st.text(), any_array, max_size=4), about=json_values)
def test_round_trip(tmp_path_factory, arrays, about):
    path = tmp_path_factory.mktemp("files") / "x"
    arrays.pop("__metadata__", None)
    write_arrays(path, arrays, about)
    found, said = read_arrays(path)
    check_equal(found, arrays)
    assert json.dumps(said) == json.dumps(about)


def test_arrays_that_are_read_can_be_written_to(path):
    arrays, _ = read_arrays(str(path))
    arrays["a b"][0, 0] = 7.0
    check_equal(read_arrays(path)[0], ARRAYS)


def test_the_given_arrays_are_left_as_they_are(tmp_path):
    array = np.arange(4, dtype=">f4")[::2]
    write_arrays(tmp_path / "x", {"array": array}, {})
    assert array.dtype == np.dtype(">f4")
    np.testing.assert_array_equal(array, [0.0, 2.0])


def test_any_reader_of_safetensors_reads_it(path):
    check_equal(safetensors.numpy.load_file(path), ARRAYS)


def test_scalars_and_lists_are_arrays(tmp_path):
    write_arrays(tmp_path / "x", {"scalar": np.float32(2.5), "list": [1, 2]}, {})
    arrays, _ = read_arrays(tmp_path / "x")
    assert arrays["scalar"].shape == ()
    np.testing.assert_array_equal(arrays["list"], [1, 2])


# ---- what cannot be written


@pytest.mark.parametrize("value", [np.nan, np.inf, object(), {1, 2}, np.float32(1.0), b"x"])
def test_about_that_is_not_json(path, value):
    with pytest.raises(ValueError, match=r"some\.arrays: the metadata is not JSON: "):
        write_arrays(path, {}, {"loss": [value]})
    check_equal(read_arrays(path)[0], ARRAYS)


@pytest.mark.parametrize(
    "array", [np.array([None]), np.array(["x"]), np.zeros(2, "complex64"), np.zeros(2, "f4,i4")]
)
def test_arrays_of_other_dtypes(path, array):
    with pytest.raises(ValueError, match=r"some\.arrays: array 'odd' is of dtype"):
        write_arrays(path, {"odd": array}, {})
    check_equal(read_arrays(path)[0], ARRAYS)


@pytest.mark.parametrize("name", ["__metadata__", 3])
def test_names_that_are_none(path, name):
    with pytest.raises(ValueError, match="cannot be the name of an array"):
        write_arrays(path, {name: np.zeros(2)}, {})


# ---- files that are damaged, or something else


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.arrays"):
        read_arrays(tmp_path / "none.arrays")


def test_truncation_at_every_byte(path):
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"some\.arrays is (empty|not|truncated)"):
            read_arrays(path)
    path.write_bytes(content[:-1])
    with pytest.raises(
        ValueError, match=f"truncated: expected {len(content)} bytes, .* {len(content) - 1}"
    ):
        read_arrays(path)
    path.write_bytes(content + b"x")
    with pytest.raises(ValueError, match=f"damaged: expected {len(content)} bytes"):
        read_arrays(path)


@pytest.mark.parametrize("bit", [0, 5, 7])
def test_a_flipped_bit_at_every_byte(path, bit):
    """Either the file is refused, or, as in the spaces that fill the header, nothing depends on the bit."""
    content = path.read_bytes()
    refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            arrays, about = read_arrays(path)
        except ValueError:
            refused += 1
        else:
            check_equal(arrays, ARRAYS)
            assert about == ABOUT
    assert refused > 0.95 * len(content)


def test_exchanged_arrays(tmp_path, path):
    """A file of which the parts are sound, but not together."""
    write_arrays(tmp_path / "other", {**ARRAYS, "a b": ARRAYS["a b"] + 1}, ABOUT)
    data, other = path.read_bytes(), (tmp_path / "other").read_bytes()
    length = 8 + int.from_bytes(data[:8], "little")
    path.write_bytes(data[:length] + other[length:])
    with pytest.raises(ValueError, match="is damaged: its content does not have the checksum"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"F32"', b'"I32"'),
        (b'"F32"', b'"U32"'),
        (b"[2,3]", b"[3,2]"),
        (b"[2,3]", b"[6,1]"),
        (b'"a b"', b'"a c"'),
        (b'"BOOL"', b'"I8"  '),
        (rb"\"steps\": 3", rb"\"steps\": 4"),
    ],
)
def test_a_header_that_says_something_else_of_the_same_bytes(path, old, new):
    content = path.read_bytes()
    assert content.count(old) == 1
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match="is damaged: its content does not have the checksum"):
        read_arrays(path)


def with_header(text):
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"text", "is not a file of arrays, or truncated: it has only 4 bytes"),
        (b"a longer text with several words", "is not a file of arrays"),
        (pickle.dumps({"a": list(range(100))}), "is not a file of arrays"),
        (with_header(b"{}"), "is a safetensors file that another program wrote"),
        (with_header(b"{]"), "is damaged: its header cannot be read"),
        (with_header(b'{"":'), "is damaged: its header cannot be read"),
        (with_header(b'{"a": 1}'), "is damaged: its header cannot be read"),
        (with_header(b'{"__metadata__": [1]}'), "is damaged: its header cannot be read"),
        (with_header(b'{"a": {"data_offsets": [0]}}'), "is damaged: its header cannot be read"),
        (with_header(b'{"a": {"data_offsets": [0, 1e999]}}'), "is damaged: its header cannot be"),
        (with_header(b'{"a":' + b"[" * 10**5), "is damaged: its header cannot be read"),
    ],
)
def test_other_files(path, content, message):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"some\.arrays {message}"):
        read_arrays(path)


def test_file_of_numpy(path):
    with open(path, "wb") as file:
        np.savez(file, **{name: array for name, array in ARRAYS.items()})
    with pytest.raises(ValueError, match="is not a file of arrays: another program wrote it"):
        read_arrays(path)


def test_safetensors_of_another_program(path):
    safetensors.numpy.save_file(ARRAYS, path)
    with pytest.raises(ValueError, match="is a safetensors file that another program wrote"):
        read_arrays(path)


def rewrite_header(path, change):
    """Write the file anew with another header, given as a function of its JSON."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = change(json.loads(content[8 : 8 + length]))
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda header: b'{"a":' + b"[" * 100_000,
        lambda header: b'{"' + b"x" * 20_000 + b'": 3' + b" " * 8,
        lambda header: header | {"__metadata__": header["__metadata__"] | {"about": [1]}},
        lambda header: header | {"__metadata__": header["__metadata__"] | {"sha256": None}},
        lambda header: header | {"__metadata__": header["__metadata__"] | {"version": "9" * 9999}},
        lambda header: header | {"__metadata__": 3},
        lambda header: {name * 5000: each for name, each in header.items()},
        lambda header: {
            name: {**each, "dtype": "F32" * 5000} if "dtype" in each else each
            for name, each in header.items()
        },
    ],
)
def test_headers_that_are_damaged(path, change):
    rewrite_header(path, change)
    with pytest.raises(ValueError, match=r"some\.arrays is ") as caught:
        read_arrays(path)
    assert len(str(caught.value)) < 500 + len(str(path))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "[" * 102 + "]" * 102, '"\\ud800'])
def test_said_things_that_are_no_json(path, text):
    arrays, _ = read_arrays(path)

    def change(header):
        sha256 = arrays_module._digest(arrays, text)
        return header | {"__metadata__": header["__metadata__"] | {"about": text, "sha256": sha256}}

    rewrite_header(path, change)
    with pytest.raises(ValueError, match=r"some\.arrays is damaged: the metadata cannot"):
        read_arrays(path)


def test_abouts_that_could_not_be_read(path):
    deep = 1
    for _ in range(101):
        deep = [deep]
    for about in (deep, "a" * 10_001, ["a" * 9_000] * 2_000):
        with pytest.raises(ValueError, match=r"some\.arrays: the metadata"):
            write_arrays(path, {}, about)
    check_equal(read_arrays(path)[0], ARRAYS)


def test_later_version(path, monkeypatch):
    monkeypatch.setattr(arrays_module, "VERSION", 2)
    write_arrays(path, ARRAYS, ABOUT)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"is of version 2 .* reads version 1; a later one"):
        read_arrays(path)


def test_reading_runs_no_code(path):
    """What would run on unpickling is refused as any other file."""

    class Bomb:
        def __reduce__(self):
            return os.remove, (str(path),)

    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="is not a file of arrays"):
        read_arrays(path)
    assert path.exists()
