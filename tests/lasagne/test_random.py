import numpy as np

import lasagne
from lasagne.random import get_rng, set_rng


def test_default_is_the_module_of_numpy():
    assert get_rng() is np.random


def test_set_rng_holds_for_every_user_of_get_rng():
    before = get_rng()
    try:
        rng = np.random.RandomState(12345)
        set_rng(rng)
        assert get_rng() is rng
        assert lasagne.init.get_rng() is rng
    finally:
        set_rng(before)
    assert get_rng() is before
