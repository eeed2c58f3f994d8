"""Files and run folders of strangers: they run no code, cost no more than they hold, and fail in one sentence."""

import contextlib
import copy
import io
import json
import random
import shutil
import subprocess
import sys
import zipfile
from functools import partial

import numpy as np
import pytensor
import pytest

from lasagne.init import Orthogonal
from lasagne.layers import DenseLayer, DimshuffleLayer, InputLayer, LSTMLayer, batch_norm
from ntm import cli
from ntm.experiments.reading import list_checkpoints
from ntm.experiments.runs import Run
from ntm.experiments.settings import make_settings
from ntm.heads.ntm import ReadHead, WriteHead
from ntm.layers.dnc import DNCLayer
from ntm.layers.ntm import NTMLayer
from ntm.memory import Memory
from ntm.serialization import load, save
from ntm.serialization.arrays import read_arrays, write_arrays
from ntm.serialization.decoding import decode_network
from ntm.serialization.encoding import encode_network

from ..networks import make_dnc, make_ntm, make_sam, make_sdnc

MEGABYTES = 500
SECONDS = 5

# Opens each of the files in a process of its own, which may take so much memory and so many seconds more
OPENER = """
import json, os, resource, sys, time

import lasagne, ntm
from ntm import load, load_parameters
from ntm.experiments.runs import Run
from lasagne.layers import DenseLayer, InputLayer

def parameters(path):
    load_parameters(path, DenseLayer(InputLayer((2, 3)), 2, name="dense"))

openers = {"network": load, "parameters": parameters, "run": Run.open}
megabytes, seconds, *paths = json.load(sys.stdin)
for kind, path in paths:
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        continue
    status = dict(line.split(":") for line in open("/proc/self/status"))
    limit = int(status["VmSize"].split()[0]) * 1024 + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        openers[kind](path)
        message = "opened"
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    print(json.dumps([path, message]), flush=True)
    os._exit(0)
"""


def dense(num_units=3, num_inputs=4, **options):
    return DenseLayer(InputLayer((2, num_inputs)), num_units, name="dense", **options)


def tamper(network, change):
    """The description and the arrays of a network, once `change` was called with the description."""
    description, arrays = encode_network(network)
    changed = change(description)
    return description if changed is None else changed, arrays


def set_arguments(network, layer=-1, **arguments):
    return tamper(network, lambda d: d["layers"][layer]["arguments"].update(arguments))


def chain(count):
    """A chain of layers that all have one description."""

    def change(description):
        layer = description["layers"][1]
        first = {"class": "NonlinearityLayer", "arguments": {}, "variables": [], "tags": []}
        description["layers"][1:] = [
            {**first, "arguments": {"incoming": {"layer": number}}} for number in range(count)
        ]
        return description | {"output": count} if layer else None

    return tamper(dense(), change)


def no_arrays(network, **arguments):
    description, _ = set_arguments(network, **arguments)
    for layer in description["layers"]:
        layer["variables"] = layer["tags"] = []
    return description, {}


def used_often():
    """One array of four megabytes that a thousand layers have."""

    def change(description):
        layer = description["layers"][1]
        description["variables"] = [description["variables"][0]] * 1000
        description["layers"][1:] = [
            {
                **layer,
                "arguments": {**layer["arguments"], "b": None},
                "variables": [number],
                "tags": [[]],
            }
            for number in range(1000)
        ]

    return tamper(dense(1000, 1000), change)


def dnc():
    return DNCLayer(InputLayer((None, None, 2)), (6, 3), lambda l: DenseLayer(l, 4))


ORTHOGONAL = {"make": "Orthogonal", "arguments": {"gain": 1.0}}
RANGE = {"range": [0, 10**8, 1]}
MEMORY = {"tuple": [2**27, 4]}
NETWORKS = {
    "a layer of 20,000 x 20,000": lambda: no_arrays(dense(num_inputs=20_000), num_units=20_000),
    "an orthogonal matrix": lambda: no_arrays(
        dense(num_inputs=6000, W=Orthogonal()), num_units=6000, W=ORTHOGONAL
    ),
    "2**27 slots": lambda: no_arrays(Memory((3, 4)), memory_shape=MEMORY),
    "2**27 slots for arrays of three": lambda: set_arguments(Memory((3, 4)), memory_shape=MEMORY),
    "units beyond all numbers": lambda: set_arguments(dense(), num_units=10**300),
    "a range of 10**8": lambda: set_arguments(
        DimshuffleLayer(InputLayer((2, 3)), (1, 0)), pattern=RANGE
    ),
    "a chain of 20,000 layers": lambda: chain(20_000),
    "10**9 read heads": lambda: set_arguments(dnc(), heads=None, num_reads=10**9, controller=None),
    "5,000 read heads": lambda: set_arguments(
        dnc(),
        heads=None,
        num_reads=5000,
        controller={"partial": {"name": "DenseLayer"}, "arguments": {"num_units": 4}},
    ),
    "one array for a thousand layers": used_often,
    "an initial value of another shape": lambda: set_arguments(
        dense(), W={"make": "Constant", "arguments": {"val": ORTHOGONAL}}, num_units=10**7
    ),
}


def write_network(path, name):
    description, arrays = NETWORKS[name]()
    write_arrays(path, arrays, description)


def write_npz(path, shape, descr, megabytes):
    """An ``.npz`` file of two arrays, and of so many megabytes of zeros that deflate to nearly nothing."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, its_shape, length in (("W", shape, megabytes), ("b", (2,), 0)):
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                header, {"descr": descr, "fortran_order": False, "shape": its_shape}
            )
            with file.open(f"00{name == 'b':d} dense.{name}.npy", "w") as stream:
                stream.write(header.getvalue())
                for _ in range(length):
                    stream.write(bytes(2**20))
                stream.write(bytes(0 if length else 2 * np.dtype(descr).itemsize))


PARAMETERS = {
    "800 MB of zeros": lambda path: write_npz(path, (200 * 2**20,), "<f4", 800),
    "800 MB more than a header says": lambda path: write_npz(path, (3, 2), "<f4", 800),
    "strings of 130 MB": lambda path: write_npz(path, (3, 2), "S139810133", 800),
}


#: Settings of a run that are too much for its checkpoint, or without one
SETTINGS = {
    "2**27 slots in the settings": {"memory_slots": 2**27},
    "ten million units": {"num_units": 10**7},
    "10**8 shifts": {"num_shifts": 10**8},
    "10**9 heads": {"num_heads": 10**9},
    "slots of ten million numbers": {"memory_width": 10**7},
    "sequences of 10**9 steps": {"max_length": 10**9},
    "a vector of 10**9 bits": {"size": 10**9},
}


def write_runs(folder):
    """Folders of runs with each of these settings, with and without a checkpoint; a dict from name to path."""
    network = {"num_units": 5, "memory_slots": 6, "memory_width": 3}
    settings = make_settings(
        "copy", task_options={"size": 2, "max_length": 3}, model_options=network, max_steps=0
    )
    Run.create(folder / "run", settings).save()
    paths = {}
    for number, (name, changes) in enumerate(SETTINGS.items()):
        path = shutil.copytree(folder / "run", folder / f"run{number}")
        for option, value in changes.items():
            kind = "task_options" if option in ("size", "max_length") else "model_options"
            change_json(path / "settings.json", [kind, option], value)
        # The checkpoint agrees: it is of these settings, and has the arrays of the network that was
        (checkpoint,) = list_checkpoints(path)
        content = json.loads((path / "settings.json").read_text())
        change_checkpoint(checkpoint, ["settings"], content)
        paths[name] = path
        paths[f"{name}, no checkpoint"] = shutil.copytree(path, folder / f"alone{number}")
        list_checkpoints(folder / f"alone{number}")[0].unlink()
    return paths


RUNS = [f"{name}{where}" for name in SETTINGS for where in ("", ", no checkpoint")]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """What comes of opening each bomb: a dict from its name to a message."""
    folder = tmp_path_factory.mktemp("bombs")
    paths = {}
    for number, name in enumerate(NETWORKS):
        paths[name] = "network", str(folder / f"{number}.safetensors")
        write_network(paths[name][1], name)
    for number, (name, write) in enumerate(PARAMETERS.items()):
        paths[name] = "parameters", str(folder / f"{number}.npz")
        write(paths[name][1])
    for name, path in write_runs(folder).items():
        paths[name] = "run", str(path)
    done = subprocess.run(
        [sys.executable, "-c", OPENER],
        input=json.dumps([MEGABYTES, SECONDS, *paths.values()]),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    messages = dict(json.loads(line) for line in done.stdout.splitlines())
    return {name: (path, messages.get(path)) for name, (_, path) in paths.items()}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("name", [*NETWORKS, *PARAMETERS, *RUNS])
def test_bombs(opened, name):
    path, message = opened[name]
    assert message is not None, "it took too much memory or time"
    assert message.startswith(f"ValueError: {path}"), message
    assert "MemoryError" not in message
    assert len(message) < 700
    assert "\n" not in message


# ---- Mutations


def list_places(value, path=()):
    """The paths to all that is in a value of JSON."""
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from list_places(each, (*path, key))
    elif isinstance(value, list):
        for key, each in enumerate(value):
            yield from list_places(each, (*path, key))


def get_at(content, keys):
    for key in keys:
        content = content[key]
    return content


def mutate(content, rng):
    """A value of JSON with something in it taken out, or replaced by something else or what is elsewhere in it."""
    content = copy.deepcopy(content)
    places = [place for place in list_places(content) if place]
    place = rng.choice(places)
    kind = rng.random()
    if kind < 0.1:
        return set_at(content, place, GONE)
    if kind < 0.4:
        return set_at(content, place, copy.deepcopy(get_at(content, rng.choice(places))))
    return set_at(content, place, copy.deepcopy(rng.choice(VALUES)))


VALUES = [
    *(
        None,
        True,
        0,
        1,
        -1,
        3,
        10**6,
        10**9,
        10**300,
        0.5,
        1e300,
        "",
        "x",
        "\n",
        "\ud800",
        "é" * 2000,
    ),
    *([], [1], [[]], {}, {"x": 1}, {"tuple": [1, 2]}, {"layer": 0}, {"variable": 0}, {"input": 0}),
    *({"name": "rectify"}, {"name": "DenseLayer"}, {"name": "pytensor.tensor.tanh"}),
    *({"float": "nan"}, {"range": [0, 9999, 1]}, {"slice": [None, None, None]}, {"dict": []}),
    *(ORTHOGONAL, {"make": "Constant", "arguments": {"val": 1.0}}, {"array": "000"}),
    {"partial": {"name": "DenseLayer"}, "arguments": {"num_units": 3}},
    {"numpy": "float16", "value": 1e9},
]
KINDS = {
    "dense": lambda: batch_norm(dense()),
    "lstm": lambda: LSTMLayer(InputLayer((None, None, 2)), 3, name="lstm"),
    "stack": lambda: NTMLayer(
        InputLayer((None, None, 2)), (6, 3), lambda l: DenseLayer(l, 4), [WriteHead, ReadHead]
    ),
    "ntm": make_ntm,
    "dnc": make_dnc,
    "sam": make_sam,
    "sdnc": partial(make_sdnc, num_links=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_descriptions(kind):
    """They are refused in a sentence, or make a network that can be saved."""
    description, arrays = encode_network(KINDS[kind]())
    description = json.loads(json.dumps(description))
    messages = []
    for number in range(50):
        mutated = mutate(description, random.Random(f"{kind} {number}"))
        try:
            network = decode_network(mutated, arrays)
        except ValueError as error:
            messages.append(str(error))
        else:
            decode_network(*encode_network(network))
    assert 10 < len(messages) < 50
    assert all(len(message) < 500 and message.isprintable() for message in messages)


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_bytes(kind, tmp_path):
    path = tmp_path / "x"
    save(path, KINDS[kind]())
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little") + 8
    for number in range(50):
        rng = random.Random(f"{kind} {number}")
        changed = bytearray(content)
        place = rng.randrange(end)
        if number % 2:
            changed[place] ^= 1 << rng.randrange(8)
        else:
            changed[place : place + rng.randrange(3)] = rng.randbytes(rng.randrange(1, 4))
        if changed == content:
            continue
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r".") as caught:
            load(path)
        assert str(caught.value).startswith(f"{path} ")
        assert len(str(caught.value)) < 500 + len(str(path))
        assert str(caught.value).isprintable()


# ---- Run folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that has ended, with all that a curriculum and a rewinder keep."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    before = pytensor.config.floatX
    pytensor.config.floatX = "float32"
    settings = make_settings(
        "copy",
        "dense",
        task_options={"size": 2, "max_length": 3},
        model_options={"num_units": 4, "num_layers": 1},
        curriculum="linear",
        max_steps=4,
        save_every=2,
        log_every=1,
        evaluate_at=[{"length": 2}],
    )
    Run.create(folder, settings).train(progress=False)
    pytensor.config.floatX = before
    return folder


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copied")


def change_json(path, keys, value):
    """Set what is at some keys in a file of JSON, or take it out."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps(set_at(content, keys, value)))


def change_checkpoint(path, keys, value):
    arrays, about = read_arrays(path)
    write_arrays(path, arrays, set_at(about, keys, value))


GONE = object()


def set_at(content, keys, value):
    if not keys:
        return value
    place = content
    for key in keys[:-1]:
        place = place[key]
    if value is GONE:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return content


def run_command(*words):
    """What a command says when it fails, once it is in one sentence."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = cli.main([str(word) for word in words])
    assert code == cli.FAILED, f"{words} did not fail"
    message = errors.getvalue()
    assert message.startswith("ntm: ")
    assert message.count("\n") == 1
    assert len(message) < 900
    return message


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ([], []),
        ([], 3),
        (["task"], GONE),
        (["task"], 3),
        (["task"], []),
        (["seed"], "abc"),
        (["seed"], True),
        (["seed"], -1),
        (["seed"], None),
        (["task_options"], []),
        (["task_options"], {"size": "x"}),
        (["task_options"], {"max_length": 10**7}),
        (["model_options"], None),
        (["model_options"], {"num_units": "x"}),
        (["model_options"], {"num_units": [4]}),
        (["model_options"], {"num_layers": 10**9}),
        (["clip_value"], "x"),
        (["learning_rate"], {}),
        (["evaluate_at"], 3),
        (["evaluate_at"], [3]),
        (["evaluate_at"], [{"length": "x"}]),
        (["schedule_options"], {"x": 1}),
        (["curriculum_options"], {"every": "x"}),
        (["curriculum_options"], "x"),
        (["unknown"], 1),
        (["optimizer"], ["adam"]),
        (["backend"], "x"),
        (["device"], 7),
        (["rewind"], "yes"),
        (["x" * 20_000], 1),
    ],
)
def test_settings_that_are_none(copied, keys, value):
    change_json(copied / "settings.json", keys, value)
    assert str(copied) in run_command("evaluate", copied)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ([], []),
        ([], None),
        (["trainer"], GONE),
        (["trainer"], []),
        (["settings"], GONE),
        (["settings"], [1]),
        (["seconds"], GONE),
        (["seconds"], "x"),
        (["seconds"], -1),
        (["trainer", "step"], "x"),
        (["trainer", "step"], -5),
        (["trainer", "step"], 7),
        (["trainer", "step"], True),
        (["trainer", "step"], None),
        (["trainer", "task"], GONE),
        (["trainer", "task"], 3),
        (["trainer", "task"], {}),
        (["trainer", "task", "state"], {"state": -1, "inc": 2**200}),
        (["trainer", "task", "bit_generator"], "MT19937"),
        (["trainer", "curriculum_rng"], []),
        (["trainer", "curriculum_rng", "state"], 3),
        (["trainer", "network_rngs"], 3),
        (["trainer", "network_rngs"], [{}]),
        (["trainer", "curriculum"], GONE),
        (["trainer", "curriculum"], {"draw": 3, "level": 1, "steps": 1}),
        (["trainer", "curriculum", "level"], 0),
        (["trainer", "curriculum", "level"], 10**9),
        (["trainer", "curriculum", "steps"], "x"),
        (["trainer", "rewinder"], GONE),
        (["trainer", "rewinder", "look"], 3),
        (["trainer", "rewinder", "rewound"], [{}]),
        (["trainer", "rewinder", "best"], 1.0),
        (["trainer", "rewinder", "rate"], None),
        (["trainer", "restarts"], {"a": 1}),
        (["trainer", "restarts"], [3]),
        (["trainer", "skipped"], [3]),
        (["trainer", "evaluations"], 3),
        (["trainer", "solved_at"], "x"),
        (["trainer", "skipped_in_a_row"], GONE),
        (["trainer", "unknown"], 3),
    ],
)
def test_checkpoints_that_are_none(copied, keys, value):
    path = list_checkpoints(copied)[-1]
    change_checkpoint(path, keys, value)
    message = run_command("resume", copied, "--quiet")
    assert str(path) in message
    assert "The checkpoint before it is still there" in message


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
def test_a_state_that_is_none_changes_nothing(copied):
    run = Run.open(copied)
    before = run.trainer.get_state()
    path = list_checkpoints(copied)[0]
    for keys, value in (
        (["trainer", "task", "state", "state"], -1),
        (["trainer", "curriculum_rng", "state", "inc"], 2**200),
        (["trainer", "curriculum", "level"], 99),
    ):
        changed = shutil.copy(path, copied / "changed.safetensors")
        change_checkpoint(changed, keys, value)
        with pytest.raises(ValueError, match=r"changed\.safetensors is damaged"):
            run.restore(changed)
        arrays, about = run.trainer.get_state()
        assert about == before[1]
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, before[0][name])


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("losses"), None),
        (lambda arrays: arrays.update(losses=np.zeros((2, 2))), "its losses are of shape"),
        (lambda arrays: arrays.update(losses=np.zeros(3)), "is of 4 steps"),
        (lambda arrays: arrays.update({"kept x": np.zeros(3)}), "different are"),
        (lambda arrays: arrays.update({"x": np.zeros(3)}), "different are x"),
        (
            lambda arrays: arrays.update(dict.fromkeys(list(arrays)[-1:], np.zeros(7))),
            "no array for it|different",
        ),
        (
            lambda arrays: arrays.update(
                {k: v * np.nan for k, v in arrays.items() if k != "losses"}
            ),
            "not finite",
        ),
        (
            lambda arrays: arrays.update({k: v != 0 for k, v in arrays.items() if k != "losses"}),
            "of dtype bool",
        ),
    ],
)
def test_arrays_of_checkpoints(copied, change, message):
    path = list_checkpoints(copied)[-1]
    arrays, about = read_arrays(path)
    change(arrays)
    write_arrays(path, arrays, about)
    if message is None:
        assert Run.open(copied).trainer.step_count == 4
        return
    with pytest.raises(
        ValueError, match=rf"(settings\.json: .*|{path.name} is damaged: .*)({message})"
    ):
        Run.open(copied)


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    "content",
    [
        {"measures": 3},
        {"measures": [3]},
        {"measures": [{"sizes": 3, "bits": 1.0}]},
        {"measures": [{"sizes": {"length": "x"}, "bits": 1.0}]},
        {"measures": [{"sizes": {"length": 3}, "bits": "x"}]},
        {"measures": [{"sizes": {"length": 3}}]},
        {"measures": [{"sizes": {"length": 3}, "bits": 1}, {"sizes": {"length": 4}, "wrong": 2}]},
        {},
        [],
        None,
    ],
)
def test_results_that_are_none(copied, tmp_path, content):
    (copied / "result.json").write_text(json.dumps(content))
    words = ("plot", copied, "--kind", "generalisation", "--output", tmp_path / "x.png")
    assert copied.name in run_command(*words)
    assert not (tmp_path / "x.png").exists()


@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    "line",
    [
        "[1]",
        "{}",
        '{"step": "x", "loss": 1, "sequences": 1}',
        '{"step": 1, "loss": "x", "sequences": 1}',
        '{"step": 1, "loss": 1}',
        "[" * 10**5,
    ],
)
def test_logs_that_are_none(copied, tmp_path, line):
    with open(copied / "metrics.jsonl", "a") as file:
        file.write(line + "\n")
    words = ("plot", copied, "--kind", "learning", "--output", tmp_path / "x.png")
    assert str(copied / "metrics.jsonl") in run_command(*words)


@pytest.mark.slow
@pytest.mark.usefixtures("float32")
@pytest.mark.parametrize(
    "name", ["settings.json", "metrics.jsonl", "network.safetensors", "result.json", "checkpoint"]
)
def test_links_in_run_folders(copied, tmp_path, name):
    """Neither is what they lead to read, nor is it written to."""
    path = list_checkpoints(copied)[-1] if name == "checkpoint" else copied / name
    precious = tmp_path / "precious"
    path.rename(precious)
    content = precious.read_bytes()
    path.symlink_to(precious)
    message = f"{path.name} is a link, and the folder of a run must hold none"
    commands = [("resume", copied, "--quiet", "--max-steps", 6)]
    if name in ("settings.json", "checkpoint"):
        commands.append(("evaluate", copied))
    if name == "metrics.jsonl":
        commands.append(("plot", copied, "--kind", "learning"))
    if name == "result.json":
        commands.append(("plot", copied, "--kind", "generalisation"))
    for words in commands:
        assert message in run_command(*words)
    assert path.is_symlink()
    assert precious.read_bytes() == content


@pytest.mark.usefixtures("float32")
def test_a_run_folder_over_a_link(copied, tmp_path):
    (tmp_path / "over").symlink_to(copied)
    run = Run.open(tmp_path / "over")
    assert run.train(progress=False, max_steps=6)["steps"] == 6
    assert Run.open(copied).trainer.step_count == 6


@pytest.mark.usefixtures("float32")
def test_another_name_of_a_file_is_left(copied, tmp_path):
    """Hard links, as backups have them, keep their content while the run goes on."""
    before = {}
    for path in copied.iterdir():
        (tmp_path / path.name).hardlink_to(path)
        before[path.name] = path.read_bytes()
    Run.open(copied).train(progress=False, max_steps=6)
    for name, content in before.items():
        assert (tmp_path / name).read_bytes() == content
