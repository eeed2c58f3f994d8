"""Packaging. Settings of the tools are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

root = Path(__file__).parent
version = re.search(r'^__version__ = "(.+)"$', (root / "ntm" / "__init__.py").read_text(), re.M)[1]

setup(
    name="ntm-lasagne",
    version=version,
    description="Neural networks with a memory as Lasagne layers, on PyTensor and JAX",
    long_description=(root / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["lasagne", "lasagne.*", "ntm", "ntm.*"]),
    entry_points={"console_scripts": ["ntm = ntm.cli:main"]},
    python_requires=">=3.11,<3.14",
    install_requires=[
        "pytensor>=3.0.7",
        "jax>=0.10",
        "numpy",
        "matplotlib",
        "tqdm",
        "platformdirs",
        "safetensors",
        "filelock>=3.15",
    ],
    extras_require={
        "benchmarks": ["torch"],
        "cuda": ["jax[cuda13]>=0.10"],
        "tensorboard": ["tensorboardX"],
        "test": [
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "ruff",
            "mypy",
            "types-tqdm",
            "nbclient",
            "tensorboardX",
            "ipykernel",
        ],
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
