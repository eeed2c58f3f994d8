"""No text that a user or a file chooses becomes code."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from lasagne.backends.modes import get_mode
from lasagne.layers import DenseLayer, InputLayer, get_output

# Where "{}" stands there is a path: a file that is made if the name runs
NAMES = [
    "open('{}', 'w')",
    "x): open('{}', 'w')\nlambda y: (y",
    "\\n\n\r\t quotes ' \" and a backslash \\",
    "100 %s %n %(fail)s ??/ µ 記憶",
]


def make_c_code(path):
    """A name that ends PyTensor's string in C and makes a file, without quotes, which PyTensor escapes."""
    codes = ", ".join(map(str, str(path).encode()))
    return f'\\"); {{ char p[] = {{{codes}, 0}}, w[] = {{119, 0}}; fclose(fopen(p, w)); }} //'


C_SCRIPT = """
import numpy as np, pytensor, pytensor.tensor as pt
from lasagne.checks import check_mask
from lasagne.layers import InputLayer
from ntm import Memory, NTMLayer, DenseController, ReadHead, WriteHead, get_mode
for name in {names!r}:
    l_input, shape = InputLayer((None, None, 2)), (3, 2)
    controller = DenseController(l_input, shape, 2, num_reads=1)
    heads = [WriteHead(controller, memory_shape=shape), ReadHead(controller, memory_shape=shape)]
    layer = NTMLayer(l_input, Memory(shape), controller, heads, name=name)
    layer._label += name  # as it is, without the escapes that Python's quotes have
    mask, x = pt.matrix(name), pt.tensor3(name)
    function = pytensor.function([mask, x], check_mask(layer._label, mask, x), mode=get_mode("c"), name=name)
    function(np.ones((2, 3)), np.ones((2, 3, 1)))
    for sizes in ((2, 4), (3, 3)):
        try:
            function(np.ones(sizes), np.ones((2, 3, 1)))
        except ValueError as error:
            assert repr(name) + name in str(error), (name, error)
        else:
            raise AssertionError(name)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_the_name_of_a_layer_compiled_to_c(tmp_path):
    """In a process of its own: PyTensor was imported here without a compiler."""
    ran = tmp_path / "ran"
    names = [make_c_code(ran), "".join(NAMES[2:])]  # each takes seconds to compile
    subprocess.run(
        [sys.executable, "-c", C_SCRIPT.format(names=names)],
        env={**os.environ, "PYTENSOR_FLAGS": f"cxx=g++,base_compiledir={tmp_path}"},
        check=True,
    )
    assert not ran.exists()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "numba"])
def test_names_of_layers_variables_and_functions(backend, tmp_path):
    """JAX and Numba compile Python source, which has names of variables in it."""
    ran = tmp_path / "ran"
    for name in (
        *NAMES,
        make_c_code(ran),
        "jnp",
        "np",
        "float",
        "None",
        "x" * 5000,
        "tanh",
        "evaluate_if_known",
    ):
        name = name.replace("{}", str(ran))
        x, w = pt.matrix(name), pytensor.shared(np.eye(2), name=name)
        layer = DenseLayer(InputLayer((None, 2), x, name=name), 2, W=w, name=name)
        function = pytensor.function(
            [x], get_output(layer), updates=[(w, w + 1)], mode=get_mode(backend), name=name
        )
        np.testing.assert_array_equal(function(np.eye(2)), np.eye(2))
    assert not ran.exists()
