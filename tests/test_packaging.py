"""The sdist builds a wheel, which works where there is no checkout; make notices an environment of another Python."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import ntm

ROOT = Path(__file__).parents[1]
#: What a build and its sdist need of a checkout
SOURCES = [
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "LICENSE",
    "MANIFEST.in",
    "Makefile",
    "README.md",
    "lasagne",
    "models",
    "noxfile.py",
    "ntm",
    "pyproject.toml",
    "setup.py",
    "tests",
]


def run(*command, **options):
    """Run a command, and return what it printed; what it printed is shown where it fails."""
    process = subprocess.run(command, capture_output=True, text=True, **options)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of an sdist, and of the wheel that was built from the sdist."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    run(sys.executable, "-m", "build", "--no-isolation", copy)
    return copy / "dist"


@pytest.fixture(scope="module")
def wheel(built):
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"ntm_lasagne-{ntm.__version__}-py3-none-any.whl"
    return wheel


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment that has the wheel, and beside it what the tests' own environment has, except the checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name == "posix")
    scripts = folder / ("bin" if os.name == "posix" else "Scripts")
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python"]
    # With PYTHONPATH, pip may find the checkout, and take the wheel for installed
    run(*pip, "install", *options, wheel, env={**os.environ, "PYTHONPATH": ""})
    # Folders that a .pth file names are only searched: the .pth files in them, such as that of an editable
    # installation, are not read
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    site_packages = sysconfig.get_path("purelib", "venv", vars={"base": str(folder)})
    Path(site_packages, "dependencies.pth").write_text("\n".join(sorted(paths)))
    return scripts


@pytest.fixture
def variables(tmp_path):
    """The variables of a process that does not find the checkout."""
    return {**os.environ, "PYTHONPATH": "", "XDG_CACHE_HOME": str(tmp_path / "cache")}


def list_modules(folder):
    """The modules, marks of types and files of pages beneath the two packages, as paths."""
    return {
        path.relative_to(folder).as_posix()
        for package in ("lasagne", "ntm")
        for pattern in ("*.py", "py.typed", "static/*")
        for path in (folder / package).rglob(pattern)
    }


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_packages(built, wheel):
    expected = list_modules(ROOT)
    assert {"lasagne/py.typed", "ntm/py.typed", "ntm/reports/static/page.js"} <= expected
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    networks = {path.name for path in (ROOT / "models").iterdir()}
    assert {"copy.safetensors", "README.md"} <= networks
    assert held == expected | {f"ntm/trained/{name}" for name in networks}
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    expected |= {f"models/{name}" for name in networks}
    assert expected | {"LICENSE", "README.md", "tests/data/oracles/copy.npz"} <= held


@pytest.mark.slow
def test_an_installed_wheel_trains(environment, variables, tmp_path):
    places = run(
        environment / "python",
        "-c",
        "import lasagne, ntm; print(lasagne.__file__, ntm.__file__, sep='\\n')",
        env=variables,
        cwd=tmp_path,
    )
    assert all(Path(place).is_relative_to(environment.parent) for place in places.split())
    assert run(environment / "ntm", "--version", env=variables, cwd=tmp_path) == (
        f"ntm-lasagne {ntm.__version__}\n"
    )
    command = "import ntm; ntm.load_model('copy'); print(ntm.models.find_model('copy'))"
    place = run(environment / "python", "-c", command, env=variables, cwd=tmp_path)
    assert Path(place.strip()).is_relative_to(environment.parent)
    command = [environment / "ntm", "train", "copy", "--max-steps", "5"]
    process = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 3, process.stdout + process.stderr  # it has not learnt to copy yet
    (network,) = tmp_path.glob("runs/*/network.safetensors")
    assert ntm.load(network).output_shape == (None, None, 9)


def make(*arguments):
    process = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    return process.returncode, process.stdout + process.stderr


@pytest.fixture
def other_python(tmp_path):
    """A program that answers as a Python of another version."""
    path = tmp_path / "other" / "bin" / "python"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\necho 3.9\n")
    path.chmod(0o755)
    return path


def test_make_notices_an_environment_of_another_python(other_python):
    folder = other_python.parents[1]
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    code, output = make("quick", f"PYTHON={sys.executable}", f"VENV={folder}")
    assert code == 2
    assert f"{folder} was made with Python 3.9, but {sys.executable} is Python {version}" in output
    code, output = make("quick", "PYTHON=no-such-python", f"VENV={folder}")
    assert code == 2
    assert "but no-such-python is missing" in output


def test_make_takes_an_environment_of_the_same_python(other_python):
    folder = other_python.parents[1]
    code, output = make("quick", f"PYTHON={other_python}", f"VENV={folder}")
    assert code == 0, output
    assert f"{folder}/bin/python -m pytest" in output


def test_make_removes_an_environment_of_another_python(other_python):
    folder = other_python.parents[1]
    code, output = make("clean", f"PYTHON={sys.executable}", f"VENV={folder}")
    assert code == 0, output
    assert f"rm -rf {folder}" in output


def test_make_without_a_python_takes_the_environment_that_is_there(other_python, monkeypatch):
    monkeypatch.delenv("PYTHON", raising=False)
    code, output = make("quick", f"VENV={other_python.parents[1]}")
    assert code == 0, output
