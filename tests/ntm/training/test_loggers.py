import json
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ntm.training.loggers import JSONLines, TensorBoard, read_json_lines


def make_row(step, **more):
    return {
        "step": step,
        "sequences": 2 * step,
        "loss": 1 / 3,
        "norm": 1.5,
        "rate": 1e-4,
        "level": 1,
        "skipped": 0,
        **more,
    }


EVALUATION = {"step": 10, "sequences": 20, "wrong_bits at length 10": 0.5}


def test_json_lines(tmp_path):
    log = JSONLines(tmp_path / "metrics.jsonl")
    log(make_row(10))
    log(EVALUATION)
    log(make_row(20, loss=None))
    assert read_json_lines(log.path) == [make_row(10), EVALUATION, make_row(20, loss=None)]


@pytest.mark.parametrize("cut", [0, 1, 30])
def test_json_lines_of_a_resumed_run(tmp_path, cut):
    log = JSONLines(tmp_path / "metrics.jsonl")
    for step in (10, 20, 30):
        log(make_row(step))
    content = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(content[: len(content) - cut])
    log = JSONLines(tmp_path / "metrics.jsonl", step=20)
    log(make_row(30, loss=7.0))
    assert read_json_lines(log.path) == [make_row(10), make_row(20), make_row(30, loss=7.0)]


def test_json_lines_without_a_file(tmp_path):
    assert read_json_lines(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("step", range(6))
def test_every_row_is_there_once_after_a_resume(tmp_path, step):
    """Where a row was written after each step, and the run goes on from any of them."""
    path = tmp_path / "metrics.jsonl"
    for start, marks in ((0, 1.0), (step, 2.0)):
        log = JSONLines(path, start)
        for number in range(start + 1, 6):
            log(make_row(number, loss=marks))
    rows = [(row["step"], row["loss"]) for row in read_json_lines(path)]
    assert rows == [(number, 1.0 if number <= step else 2.0) for number in range(1, 6)]


def test_steps_that_are_none(tmp_path):
    for kind in (JSONLines, TensorBoard):
        with pytest.raises(ValueError, match=rf"{kind.__name__}: step must be an integer .*not -1"):
            kind(tmp_path / "log", -1)


@pytest.mark.parametrize("step", [0, 2, 4])
def test_json_lines_of_a_trainer(tmp_path, step):
    """The step that a run goes on from is known when training begins, after the logger was made."""
    path = tmp_path / "metrics.jsonl"
    for start, marks in ((0, 1.0), (step, 2.0)):
        log, trainer = JSONLines(path), SimpleNamespace(step_count=start)
        assert (
            start == 0 or len(read_json_lines(path)) == 4
        )  # Nothing is lost before training begins
        log.on_start(trainer)
        for number in range(start + 1, 5):
            log.on_log(trainer, make_row(number, loss=marks))
    log.on_evaluation(trainer, EVALUATION)
    rows = [(row["step"], row["loss"]) for row in read_json_lines(path)[:-1]]
    assert rows == [(number, 1.0 if number <= step else 2.0) for number in range(1, 5)]
    assert read_json_lines(path)[-1] == EVALUATION


def list_events(folder):
    """What a TensorBoard logger wrote to a folder."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    content = path.read_bytes()
    while content:
        length = int.from_bytes(content[:8], "little")
        yield Event.FromString(content[12 : 12 + length])
        content = content[16 + length :]


def read_events(folder):
    """What TensorBoard finds in a folder: pairs of what and step, in the order in which they were written."""
    from tensorboardX.proto.event_pb2 import SessionLog

    found = []
    for event in list_events(folder):
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            found.append(("start", event.step))
        found += [(value.tag, event.step) for value in event.summary.value if value.tag == "loss"]
    return found


def read_images(folder):
    """The images (height, width, 3) that TensorBoard finds in a folder, by name and step."""
    images = {}
    for event in list_events(folder):
        for value in event.summary.value:
            if value.HasField("image"):
                picture = Image.open(BytesIO(value.image.encoded_image_string))
                images[value.tag, event.step] = np.asarray(picture.convert("RGB"))
    return images


@pytest.mark.parametrize(("step", "starts"), [(0, []), (1, [("start", 2)]), (20, [("start", 21)])])
def test_tensorboard_of_a_resumed_run(tmp_path, step, starts):
    """TensorBoard drops the rows at the step of a start, and those after it: the row of the resume is to stay."""
    pytest.importorskip("tensorboardX")
    for name, given in (("given", step), ("of the trainer", None)):
        board = TensorBoard(tmp_path / name, given)
        trainer = SimpleNamespace(step_count=step)
        board.on_start(trainer)
        board.on_log(trainer, make_row(step + 10))
        board.close()
        assert read_events(tmp_path / name) == [*starts, ("loss", step + 10)]


def test_tensorboard(tmp_path, monkeypatch):
    tensorboardX = pytest.importorskip("tensorboardX")
    written = []
    monkeypatch.setattr(
        tensorboardX.SummaryWriter, "add_scalar", lambda self, *args: written.append(args)
    )
    board = TensorBoard(tmp_path)
    board(make_row(10, loss=None))
    board(EVALUATION | {"validation confusion": [[1, 0], [0, 1]]})
    board.close()
    assert ("norm", 1.5, 10) in written
    assert ("skipped", 0, 10) in written
    assert ("wrong_bits/length 10", 0.5, 10) in written
    assert not {"loss", "validation confusion"} & {name for name, *_ in written}


def test_tensorboard_images(tmp_path):
    pytest.importorskip("tensorboardX")

    board = TensorBoard(tmp_path)
    board.add_images({"memory": np.linspace(0, 1, 12).reshape(3, 4)}, 5)
    board.close()
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    assert b"memory" in content
    assert b"PNG" in content


def test_a_figure_on_tensorboard_is_seen_as_it_is_drawn(tmp_path):
    pytest.importorskip("tensorboardX")
    figure = Figure(figsize=(6, 3), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    # Blue at the bottom left, red at the top right
    axes.imshow([[0.5, 1.0], [0.0, 0.5]], cmap="bwr", aspect="auto")
    axes.set_axis_off()
    board = TensorBoard(tmp_path)
    board.add_figures({"heads": figure}, 5)
    board.close()
    image = read_images(tmp_path)["heads", 5]
    assert image.shape == (300, 600, 3)
    assert image[-10, 10].tolist() == [0, 0, 255]
    assert image[10, -10].tolist() == [255, 0, 0]


def test_tensorboard_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        TensorBoard(tmp_path)


def test_numbers_that_are_not_finite_are_null(tmp_path):
    path = tmp_path / "log"
    log = JSONLines(path)
    log(make_row(1, norm=np.float32(np.nan), loss=np.float64(np.inf)))
    path.write_text(path.read_text() + '{"step": 2, "norm": NaN}\n')  # as it was written before
    expected = [make_row(1, norm=None, loss=None), {"step": 2, "norm": None}]
    assert read_json_lines(path) == expected
    JSONLines(path, step=2)
    for line, row in zip(path.read_text().splitlines(), expected, strict=True):
        assert json.loads(line, parse_constant=pytest.fail) == row


@pytest.mark.parametrize(
    "line",
    ["[1, 2]", "{}", '{"step": "x"}', '{"step": null}', "3", "{", "[" * 10**5, "a" * 10**5, "\0"],
)
def test_lines_that_are_no_rows(tmp_path, line):
    path = tmp_path / "log"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    for read in (read_json_lines, JSONLines):
        with pytest.raises(ValueError, match=r"log is damaged: line 2") as caught:
            read(path)
        assert len(str(caught.value)) < 500 + len(str(path))
    path.write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match="log is damaged: "):
        read_json_lines(path)


def test_rows_are_json():
    json.dumps(make_row(1), allow_nan=False)
