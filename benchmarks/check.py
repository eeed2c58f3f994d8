"""Whether all rivals compute the same.

Two updates are compared on short sequences. Over many steps float32 does not determine them: with four heads and 802
steps, losses that agree to six digits before the first update agree to two after it.
"""

import numpy as np
from cases import Case, Network
from ours import initial_parameters
from rivals import JAX, OURS, TORCH, TUNED, import_rival
from workers import answer

SHAPE = (2, 12)
NUM_LOSSES = 3  # the third shows two updates
LOSS_TOLERANCE = 1e-4  # relative
PREDICTION_TOLERANCE = 1e-3  # of probabilities
SHORT_PREDICTION_TOLERANCE = 1e-5


def compare(name, losses, predictions, our_losses, our_predictions, tolerance=PREDICTION_TOLERANCE):
    """Raise a `ValueError` unless a rival's losses, and arrays of predictions, are ours."""
    if not np.allclose(losses, our_losses, rtol=LOSS_TOLERANCE, atol=0):
        raise ValueError(f"the losses of {name} are {losses}, and ours {our_losses}")
    distance = np.abs(np.subtract(predictions, our_predictions)).max()
    # Written so that it holds of NaN
    if not distance <= tolerance:
        raise ValueError(f"the predictions of {name} are up to {distance:.1g} from ours")


def measure(network):
    """Compare all rivals on short sequences, before any update and after some.

    Parameters
    ----------
    network : dict
        The fields of `cases.Network`.

    Raises
    ------
    ValueError
        If one differs from ours.
    """
    case = Case(Network(**network), *SHAPE)
    data, parameters = case.data(), initial_parameters(case.network)
    results = {}
    for name in (OURS, JAX, TUNED, TORCH):
        model = import_rival(name)(case.network, parameters)
        before = model.predict(data.inputs)
        losses = [model.train(*data) for _ in range(NUM_LOSSES)]
        results[name] = losses, [before, model.predict(data.inputs)]
        compare(name, *results[name], *results[OURS], tolerance=SHORT_PREDICTION_TOLERANCE)


if __name__ == "__main__":
    answer(measure)
