"""Data in files and folders: what is read, what stays in the file, and what is refused."""

import io
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import ntm
from ntm.data import files, write_npz
from ntm.data.fields import FlatField

N, T, F = 40, 8, 3
rng = np.random.default_rng(0)
X = rng.normal(size=(N, T, F)).astype(np.float32)
Y = rng.integers(0, 10, N)
LENGTHS = rng.integers(1, T + 1, N)
RAGGED = [x[:length] for x, length in zip(X, LENGTHS, strict=True)]
STEPS = [rng.integers(0, 4, length) for length in LENGTHS]


def save_folder(folder, **arrays):
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def make_npy(array, **changes):
    """Return the bytes of an .npy file, with parts of its header replaced by others of the same length."""
    file = io.BytesIO()
    np.save(file, array)
    content = file.getvalue()
    for old, new in changes.values():
        assert old in content
        assert len(old) == len(new)
        content = content.replace(old, new)
    return content


def check_same(data, expected):
    """Check that two data sets hold the same."""
    assert data.fingerprint() == expected.fingerprint()
    indices = [3, 39, 0, 17, 4]
    for array, other in zip(data.take(indices), expected.take(indices), strict=True):
        if isinstance(array, dict):
            array, other = array["inputs"], other["inputs"]
        np.testing.assert_array_equal(array, other)


# ---- What is read


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed, write_npz])
def test_npz(tmp_path, save):
    save(tmp_path / "data.npz", x=X, y=Y, mask=np.ones((N, T)), weights=LENGTHS)
    data = ntm.Dataset.open(tmp_path / "data.npz")
    check_same(data, ntm.Dataset(X, Y, np.ones((N, T)), weights=LENGTHS))
    assert ntm.Dataset.open(str(tmp_path / "data.npz"), num_outputs=12).layout.num_outputs == 12


def test_folder_of_npy(tmp_path):
    """Fortran order, another order of bytes, links and other files do no harm."""
    folder = save_folder(tmp_path / "data", inputs=np.asfortranarray(X), lengths=LENGTHS)
    np.save(tmp_path / "labels.npy", Y.astype(">i2"))
    (folder / "y.npy").symlink_to(tmp_path / "labels.npy")
    (folder / "README.txt").write_text("about")
    (folder / ".x.part-1.npy").write_bytes(b"")
    check_same(ntm.Dataset.open(folder), ntm.Dataset(X, Y, lengths=LENGTHS))


def test_folder_of_npz(tmp_path):
    """Shards may be padded to other lengths, and only some of them compressed."""
    folder = tmp_path / "data"
    folder.mkdir()
    longest = max(LENGTHS[30:])
    assert longest == T
    np.savez(folder / "0.npz", inputs=X[:15], targets=Y[:15], lengths=LENGTHS[:15])
    np.savez_compressed(folder / "1.npz", inputs=X[15:16, :5], targets=Y[15:16], lengths=[5])
    np.savez(folder / "2.npz", inputs=X[16:], targets=Y[16:], lengths=LENGTHS[16:])
    lengths = np.concatenate([LENGTHS[:15], [5], LENGTHS[16:]])
    data = ntm.Dataset.open(folder)
    check_same(data, ntm.Dataset(X, Y, lengths=lengths))
    part = data.subset([38, 15, 2])
    np.testing.assert_array_equal(part.take([0, 1]).inputs["inputs"][1, :5], X[15, :5])


def test_shards_of_other_lengths_with_a_mask(tmp_path):
    """The last step that counts ends a sequence in shards, too."""
    mask = (np.arange(T) < LENGTHS[:, None]).astype(float)
    for name, part, steps in [("a", slice(0, 9), T), ("b", slice(9, N), T + 2)]:
        wider = [np.pad(each[part], [(0, 0), (0, steps - T)]) for each in (mask, X[..., 0])]
        np.savez(tmp_path / f"{name}.npz", x=wider[1], y=Y[part], mask=wider[0])
    check_same(ntm.Dataset.open(tmp_path), ntm.Dataset(X[..., 0], Y, mask))


def test_ragged_lists(tmp_path):
    write_npz(tmp_path / "padded.npz", inputs=RAGGED, targets=STEPS)
    np.savez(
        tmp_path / "flat.npz",
        inputs=np.concatenate(RAGGED),
        targets=np.concatenate(STEPS),
        flat_lengths=LENGTHS,
        weights=np.ones(N, np.float32),
    )
    (tmp_path / "shards").mkdir()
    for name, part in [("a", slice(0, 9)), ("b", slice(9, N))]:
        np.savez(
            tmp_path / "shards" / f"{name}.npz",
            inputs=np.concatenate(RAGGED[part]),
            targets=np.concatenate(STEPS[part]),
            flat_lengths=LENGTHS[part],
        )
    expected = ntm.Dataset(RAGGED, STEPS)
    for name in ("padded.npz", "flat.npz", "shards"):
        data = ntm.Dataset.open(tmp_path / name)
        check_same(data, expected)
        batch, other = (each.take_windows([2, 30, 8], [0, 2, 1], 3) for each in (data, expected))
        np.testing.assert_array_equal(batch.inputs["inputs"], other.inputs["inputs"])
        np.testing.assert_array_equal(batch.targets, other.targets)


def test_flat_rows_end():
    """Steps after the end of a sequence are zeros, not those of the next one."""
    field = FlatField("inputs", np.arange(1, 9), np.array([3, 5]))
    rows, starts = np.array([0, 1, 0, 1]), np.array([1, 4, 6, 0])
    expected = [[2, 3, 0, 0], [8, 0, 0, 0], [0, 0, 0, 0], [4, 5, 6, 7]]
    np.testing.assert_array_equal(field.read_steps(rows, starts, 4), expected)


def test_several_inputs(tmp_path):
    write_npz(tmp_path / "data.npz", inputs={"a": RAGGED, "b": X[:, 0, :2]}, targets=Y)
    data = ntm.Dataset.open(tmp_path / "data.npz")
    assert data.layout == ntm.Dataset({"a": RAGGED, "b": X[:, 0, :2]}, Y).layout
    np.testing.assert_array_equal(data.take([7]).inputs["a"][0, : LENGTHS[7]], RAGGED[7])


def test_write_npz_refuses(tmp_path):
    path = tmp_path / "data.npz"
    path.write_text("before")
    for arrays, message in [
        ({"inputs": ["a", "b"]}, "inputs[0] is 'a', a string"),
        ({"inputs": RAGGED, "targets": STEPS[::-1]}, "targets has other lengths than inputs"),
        ({"inputs": np.array([None])}, "of type NoneType"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            write_npz(path, **arrays)
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["data.npz"]


# ---- What stays in the file

MEASURE = """
import resource, sys
import numpy as np
import ntm

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

folder = sys.argv[1]
ntm.Dataset(np.zeros((3, 5)), np.zeros(3, int)).take([0])  # imports
before = peak()
data = ntm.Dataset.open(folder)
for part in data.split(0.1):
    part.fingerprint()
    part.take(range(0, len(part), 50))
data.take_windows([3, 19_999], [400, 0], 100)
mapped = np.load(folder + "/inputs.npy", mmap_mode="r")
same = ntm.Dataset(mapped)
assert same.fingerprint()["num_steps"] == 10_000_000
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak of memory")
def test_larger_than_memory(tmp_path):
    """A gigabyte is checked, taken from and fingerprinted in less than a tenth of that memory."""
    folder = tmp_path / "data"
    folder.mkdir()
    inputs = np.lib.format.open_memmap(folder / "inputs.npy", "w+", np.float32, (20_000, 500, 30))
    inputs[::5000] = 1  # the rest is a hole in the file
    inputs.flush()
    np.save(folder / "targets.npy", np.zeros((20_000, 500), np.uint8))
    size = os.path.getsize(folder / "inputs.npy")
    found = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert size > 1.1e9
    assert int(found.stdout) < size / 10


def test_no_file_stays_open(tmp_path):
    """There may be more shards than a process may have open files."""
    resource = pytest.importorskip("resource")
    for shard in range(60):
        np.savez(tmp_path / f"{shard:02}.npz", x=X, y=Y)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 20, limit[1]))
    try:
        data = ntm.Dataset.open(tmp_path)
        batch = data.take(range(0, 60 * N, N))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    np.testing.assert_array_equal(batch.inputs["inputs"], np.stack([X[0]] * 60))


def test_a_file_that_becomes_shorter(tmp_path):
    folder = save_folder(tmp_path / "data", x=X, y=Y)
    data = ntm.Dataset.open(folder)
    np.save(folder / "x.npy", X[:20])
    with pytest.raises(ValueError, match=re.escape(f"{folder / 'x.npy'} has changed")):
        data.take([0])


def test_the_folder_of_the_process_may_change(tmp_path, monkeypatch):
    save_folder(tmp_path / "data", x=X, y=Y)
    monkeypatch.chdir(tmp_path)
    data = ntm.Dataset.open("data")
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(data.take([2]).inputs["inputs"], X[2:3])


# ---- What is refused


def make_npz(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def make_zip(compression=zipfile.ZIP_STORED, **members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return file.getvalue()


GOOD = make_npz(x=X, y=Y)
COMPRESSED = make_npz(np.savez_compressed, x=X, y=Y)


def flip(content, place):
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


PICKLE = make_npz(x=np.array([{}]), y=Y)

BAD_NPZ = {
    "empty": (b"", "is empty"),
    "text": (b"a,b\n1,2\n", "is no .npz file"),
    "npy": (make_npy(X), "is no .npz file: expected an .npz file, or a folder"),
    "first half": (GOOD[: len(GOOD) // 2], "is damaged or cut short"),
    "without the end": (GOOD[:-10], "is damaged or cut short"),
    "flipped": (flip(COMPRESSED, len(COMPRESSED) // 2), "is damaged or cut short"),
    "no arrays": (make_zip(), "no inputs"),
    "no inputs": (make_npz(y=Y, mask=Y), "no inputs: expected an array of the name inputs or x"),
    "unknown name": (make_npz(x=X, label_ids=Y), "unknown name 'label_ids'"),
    "two names": (make_npz(x=X, inputs=X), "'x' and 'inputs' are two names of the inputs"),
    "two kinds of inputs": (make_npz(**{"x": X, "inputs.a": X}), "'x' and 'inputs.a'"),
    "other files": (make_zip(x__npy=make_npy(X), readme__txt="a"), "readme.txt is no array"),
    "no array": (make_zip(x__npy=b"abc"), "x is no array of NumPy, damaged or cut short"),
    "a header without end": (make_zip(x__npy=make_npy(X)[:40]), "x is no array of NumPy"),
    "pickled objects": (PICKLE, "x holds pickled objects, which are never read"),
    "strings": (make_npz(x=X, y=Y.astype(str)), "y holds strings: expected numbers"),
    "complex": (make_npz(x=X + 1j), "x is of dtype complex64"),
    "records": (make_npz(x=np.zeros(3, "i4,f4")), "x is of dtype [('f0'"),
    "more than there is": (
        make_zip(x__npy=make_npy(X, shape=(b"(40, 8, 3)", b"(90, 8, 3)"))),
        "x is cut short: expected 8,640 bytes of shape (90, 8, 3) and dtype float32, not 3,840",
    ),
    "much more than there is": (
        make_zip(
            zipfile.ZIP_DEFLATED,
            x__npy=make_npy(np.zeros((1000, 1)), shape=(b"(1000, 1), }    ", b"(1000, 9999999)}")),
        ),
        "x is cut short: expected 79,999,992,000 bytes",
    ),
    "less than there is": (
        make_zip(x__npy=make_npy(X, shape=(b"(40, 8, 3)", b"(20, 8, 3)"))),
        "x is damaged: expected 1,920 bytes",
    ),
    "negative shape": (
        make_zip(x__npy=make_npy(X, shape=(b"(40, 8, 3), ", b"(-40,-8, 3),"))),
        "x is damaged",
    ),
    "numbers of sequences": (make_npz(x=X, y=Y[:3]), "targets has 3 sequences: expected 40"),
    "nan": (make_npz(x=X * np.nan, y=Y), "inputs[0, 0, 0] is nan"),
    "no sequences": (make_npz(x=X[:0], y=Y[:0]), "inputs is empty"),
    "a number": (make_npz(x=3.0), "inputs is a single number"),
    "flat": (
        make_npz(x=X.reshape(-1, F), y=Y, flat_lengths=LENGTHS),
        f"inputs has shape (320, 3): expected {sum(LENGTHS)} rows, the sum of flat_lengths, or 40",
    ),
    "two lengths": (
        make_npz(x=X, flat_lengths=Y, lengths=Y),
        "lengths and flat_lengths: expected one",
    ),
    "flat lengths": (
        make_npz(x=X, flat_lengths=Y * 0),
        "flat_lengths[0] is 0: expected a positive",
    ),
    "flat lengths of floats": (make_npz(x=X, flat_lengths=X), "expected integers (N,)"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_npz(tmp_path, name):
    content, message = BAD_NPZ[name]
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        ntm.Dataset.open(path)
    assert str(caught.value).startswith(str(path))


def test_pickles_are_never_read(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    np.savez(tmp_path / "trap.npz", x=np.array([Trap()]))
    save_folder(tmp_path / "trap", inputs=np.array([Trap()]))
    for name in ("trap.npz", "trap"):
        with pytest.raises(ValueError, match="pickled objects, which are never read"):
            ntm.Dataset.open(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_compressed_arrays_have_a_bound(tmp_path, monkeypatch):
    """A small file may stand for more memory than there is."""
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1000, 1000)))
    assert (tmp_path / "bomb.npz").stat().st_size < 20_000
    assert len(ntm.Dataset.open(tmp_path / "bomb.npz")) == 1000
    monkeypatch.setattr(files, "MAX_COMPRESSED", 7_000_000)
    with pytest.raises(ValueError, match="x has 8,000,128 bytes when it is no longer compressed"):
        ntm.Dataset.open(tmp_path / "bomb.npz")
    np.savez(tmp_path / "bomb.npz", x=np.zeros((1000, 1000)))
    assert len(ntm.Dataset.open(tmp_path / "bomb.npz")) == 1000


def test_bad_folders(tmp_path):
    def check(message, **contents):
        folder = tmp_path / f"folder{len(os.listdir(tmp_path))}"
        folder.mkdir()
        for name, content in contents.items():
            (folder / name.replace("__", ".")).write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            ntm.Dataset.open(folder)
        assert str(folder) in str(caught.value)

    x, y = make_npy(X), make_npy(Y)
    check("holds nothing: expected inputs.npy")
    check("holds a.csv: expected inputs.npy", a__csv=b"")
    check("holds x.npy and a.npz", x__npy=x, a__npz=GOOD)
    check("unknown name 'z'", x__npy=x, z__npy=y)
    check("no inputs", y__npy=y)
    check("x.npy is cut short: expected 3,840 bytes", x__npy=x[:-1], y__npy=y)
    check("x.npy is no array of NumPy", x__npy=b"", y__npy=y)
    check("targets has 20 sequences: expected 40", x__npy=x, y__npy=make_npy(Y[:20]))
    check(
        "b.npz has inputs: expected inputs, targets, as in a.npz", a__npz=GOOD, b__npz=make_npz(x=X)
    )
    check("inputs has rows of shape (8, 2)", a__npz=GOOD, b__npz=make_npz(x=X[..., :2], y=Y))
    check("b.npz: targets has 39 sequences", a__npz=GOOD, b__npz=make_npz(x=X, y=Y[:39]))
    check("b.npz is empty", a__npz=GOOD, b__npz=b"")


def test_what_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape("missing.npz")):
        ntm.Dataset.open(tmp_path / "missing.npz")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "x.npy")
        for path in (tmp_path, tmp_path / "x.npy"):
            with pytest.raises(ValueError, match="is no file"):
                ntm.Dataset.open(path)
