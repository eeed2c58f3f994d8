"""Settings that every test shares."""

import pytensor

# Most expressions in the tests are evaluated once: the Python linker starts at once, where Numba and C
# would compile each of them for seconds. Tests of a back end name their mode.
pytensor.config.mode = "FAST_COMPILE"
pytensor.config.cxx = ""
