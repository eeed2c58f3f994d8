"""Settings that every test shares."""

import gc
import os
import signal
import tempfile

# Most expressions in the tests are evaluated once: the Python linker starts at once, where Numba and C
# would compile each of them for seconds. Tests of a back end name their mode. PyTensor has to know when it is
# imported that there is no C: told later, its loops fuse sums for C and compute them wrongly in Python. And a tenth of
# the time goes into noting for each variable where it was made.
flags = ["mode=FAST_COMPILE", "cxx=", "traceback__limit=0", os.environ.get("PYTENSOR_FLAGS", "")]
os.environ["PYTENSOR_FLAGS"] = ",".join(flag for flag in flags if flag)

# Shells start what runs in the background with Ctrl-C ignored, and nohup the end of the terminal: processes that the
# tests start would inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# A fifth of the time goes into looking for garbage while graphs are built
gc.set_threshold(50_000, 20, 50)

import numpy as np  # noqa: E402
import pytensor  # noqa: E402
import pytest  # noqa: E402

import lasagne  # noqa: E402
from lasagne.devices import reserve_devices  # noqa: E402

# So that a batch can be divided over devices. JAX fixes their number when it starts
reserve_devices(4)


#: Files with tests of minutes
LONG = ("test_notebooks.py", "test_ray_engine.py", "test_pages.py")


def pytest_collection_modifyitems(items):
    """Begin with the long tests: at the end no process waits for another one's last test."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True, scope="session")
def temporary_files(tmp_path_factory):
    """PyTensor leaves a file behind for each function that it compiles."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


@pytest.fixture(autouse=True)
def same_generator(monkeypatch):
    """A test that sets the generator of initial values leaves it to the next test as it was."""
    monkeypatch.setattr(lasagne.random, "_rng", lasagne.random.get_rng())


@pytest.fixture
def float32(monkeypatch):
    """What trains: floatX is float32; and initial values are the same each time."""
    monkeypatch.setattr(pytensor.config, "floatX", "float32")
    monkeypatch.setattr(lasagne.random, "_rng", np.random.RandomState(0))
