"""What an animation shows is read back from its scene and from its file."""

import os
import stat
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from ntm.visualization import animate_sequence
from ntm.visualization.animation import Scene

from .traces import N, T, make_ntm, make_sdnc

INPUTS = np.random.default_rng(1).integers(0, 2, (T, 3)).astype(float)


def read(scene):
    """The values of each image by the title or the label of its axes."""
    found = {}
    for axes in scene.figure.axes:
        (image,) = axes.get_images()
        labels = [label.get_text() for label in axes.get_xticklabels()]
        title = axes.get_title("left") or labels[0]
        left, right, bottom, top = image.get_extent()
        values = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
        assert (bottom, top) == (len(values) - 0.5, -0.5)
        assert (left, right)[0] == -0.5
        assert axes.get_ylim() == (bottom, top)
        found[title] = values
    return found


def test_a_step_shows_what_was_written_and_read_in_it():
    trace = make_ntm()
    scene = Scene(trace, {"input": INPUTS}, "a title")
    for step in (0, 3, T - 1):
        picture = scene.draw(step)
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        shown = read(scene)
        np.testing.assert_array_equal(shown[f"memory after step {step}"], trace.memory[step])
        for head in trace.heads:
            np.testing.assert_array_equal(shown[head.name][:, 0], head.used[step])
            over_time = shown[f"{head.name} weights"]
            np.testing.assert_array_equal(over_time[:, : step + 1], head.used[: step + 1].T)
            assert np.isnan(over_time[:, step + 1 :]).all()
        np.testing.assert_array_equal(shown["input"][:, : step + 1], INPUTS[: step + 1].T)
    assert scene.figure.get_suptitle() == "a title"


def test_slots_keep_their_numbers():
    trace = make_ntm()
    for head in trace.heads:
        head.used[:, :5] = 0
    scene = Scene(trace, {}, None)
    assert scene.slots.tolist() == list(range(3, N))
    np.testing.assert_array_equal(read(scene)["memory after step 0"], trace.memory[0, 3:])
    axes = scene.figure.axes[0]
    for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True):
        assert scene.slots[place] == int(label.get_text())


def test_target_and_prediction_have_one_scale():
    given = {"input": 100 * INPUTS, "target": np.full((T, 1), 10.0), "prediction": np.ones((T, 1))}
    scene = Scene(make_ntm(), given, None)
    limits = [axes.get_images()[0].get_clim() for axes in scene.figure.axes[:3]]
    assert limits == [(0, 100), (0, 10), (0, 10)]


def test_a_million_slots():
    trace = make_sdnc()
    scene = Scene(trace, {}, None)
    assert len(scene.slots) == len(np.unique(scene.slots)) <= 256
    shown = read(scene)
    assert list(shown) == ["write weights", "read 1 weights", "read 2 weights"]
    scene.draw(T - 1)
    for head in trace.heads:
        values = read(scene)[f"{head.name} weights"]
        for t in range(T):
            places = np.searchsorted(scene.slots, head.positions[t])
            np.testing.assert_allclose(values[places, t], head.used[t])


@pytest.mark.slow
def test_a_gif(tmp_path):
    path = tmp_path / "reading.gif"
    trace = make_ntm()
    mask = np.arange(T) > 2
    animate_sequence(path, trace, INPUTS, INPUTS, INPUTS, mask, steps_per_second=5)
    with Image.open(path) as image:
        assert image.n_frames == T
        assert image.info["duration"] == 200
        assert image.info["loop"] == 0
        width = image.size[0]
        frames = []
        for k in range(T):
            image.seek(k)
            frames.append(np.asarray(image.convert("L"), float))
        assert image.info["duration"] == 2000
    assert width >= 700
    assert os.path.getsize(path) < 200_000
    for before, after in pairwise(frames):
        assert np.abs(before - after).max() > 50
    # The weights appear from left to right
    left = frames[0][:, : int(0.55 * width)]
    assert np.abs(left - frames[-1][:, : int(0.55 * width)])[:, int(0.1 * width) :].max() > 50


@pytest.mark.slow
def test_an_mp4(tmp_path, monkeypatch):
    """The program ffmpeg gets the frames; what it writes is the file, and a failure leaves no file."""
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "reading.mp4"
    with pytest.raises(FileNotFoundError, match="needs the program ffmpeg"):
        animate_sequence(path, make_ntm())
    fake = tmp_path / "ffmpeg"
    fake.write_text(
        '#!/bin/sh\nfor last; do :; done\necho "$@" > "$last"\n/usr/bin/wc -c >> "$last"\n'
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    animate_sequence(path, make_ntm(), steps_per_second=2)
    arguments, size = path.read_text().splitlines()
    width, height = map(int, arguments.split(" -s ")[1].split()[0].split("x"))
    assert width % 2 == height % 2 == 0
    assert int(size) == (T + 4) * width * height * 3  # The last frame stays for two seconds
    assert "-r 2 " in arguments
    path.unlink()
    fake.write_text("#!/bin/sh\necho no such codec >&2\nexit 1\n")
    with pytest.raises(OSError, match="ffmpeg could not write the animation: no such codec"):
        animate_sequence(path, make_ntm())
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("reading.png", {}, r"must end in \.gif or \.mp4, not 'reading\.png'"),
        ("reading.gif", {"inputs": INPUTS[1:]}, r"input must be of shape \(7, features\)"),
        ("reading.gif", {"mask": [1]}, r"mask must be of shape \(7,\), not \(1,\)"),
        ("reading.gif", {"steps_per_second": 0}, "steps_per_second must be"),
    ],
)
def test_what_cannot_be_animated(tmp_path, name, given, message):
    with pytest.raises(ValueError, match=message):
        animate_sequence(tmp_path / name, make_ntm(), **given)
    assert not list(tmp_path.iterdir())
