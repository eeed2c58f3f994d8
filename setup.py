"""What pyproject.toml cannot say: the trained networks in models/ are ntm/trained in an installed package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["lasagne", "lasagne.*", "ntm", "ntm.*"]), "ntm.trained"],
    package_dir={"ntm.trained": "models"},
)
