"""All tests on the oldest and the newest Python, each with the PyTensor and the JAX that it gets.

Python 3.11 stops at PyTensor 3.0 and JAX 0.10; Python 3.13 gets the newest of both. `make test-all` runs this;
`nox -s tests-3.13 -- tests/lasagne` runs some of the tests on one of them.
"""

import nox

nox.options.reuse_venv = "yes"


@nox.session(python=["3.11", "3.13"])
def tests(session):
    """Run all tests, the slow and the exhaustive ones too."""
    session.install("--editable", ".[test]")
    session.run(
        "python", "-m", "pytest", "--numprocesses", "auto", "--dist", "worksteal", *session.posargs
    )
