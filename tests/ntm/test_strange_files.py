"""Files and run folders of strangers: they run no code, cost no more than they hold, and fail in one sentence."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from lasagne.init import Orthogonal
from lasagne.layers import DenseLayer, DimshuffleLayer, InputLayer
from ntm.checkpoints import encode_network
from ntm.dnc import DNCLayer
from ntm.files import write_arrays
from ntm.memory import Memory

MEGABYTES = 500
SECONDS = 5

# Opens each of the files in a process of its own, which may take so much memory and so many seconds more
OPENER = """
import json, os, resource, sys, time

import lasagne, ntm
from ntm.checkpoints import load, load_parameters
from ntm.files import read_arrays
from ntm.runs import Run
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


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux's")
@pytest.mark.parametrize("name", [*NETWORKS, *PARAMETERS])
def test_bombs(opened, name):
    path, message = opened[name]
    assert message is not None, "it took too much memory or time"
    assert message.startswith(f"ValueError: {path}"), message
    assert "MemoryError" not in message
    assert len(message) < 700
    assert "\n" not in message
