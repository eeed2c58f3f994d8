"""Whether all rivals compute the same.

Two updates are compared on short sequences. Over many steps float32 does not determine them: with four heads and 802
steps, losses that agree to six digits before the first update agree to two after it.
"""

import numpy as np
from cases import Case, Network
from ours import initial_parameters
from rivals import BLOCKS, JAX, OURS, SHARDED, SPLITTING, TORCH, TUNED, import_rival
from workers import answer

from lasagne.devices import start_devices

SHAPE = (4, 12)
RIVALS = (OURS, BLOCKS, JAX, TUNED, SHARDED, TORCH)
NUM_LOSSES = 3  # the third shows two updates
LOSS_TOLERANCE = 1e-4  # relative
PREDICTION_TOLERANCE = 1e-3  # of probabilities
SHORT_PREDICTION_TOLERANCE = 1e-5


def compare(name, losses, predictions, our_losses, our_predictions, tolerance=PREDICTION_TOLERANCE):
    """Raise a `ValueError` unless a rival's losses, and arrays of predictions if it gives them, are ours."""
    if not np.allclose(losses, our_losses, rtol=LOSS_TOLERANCE, atol=0):
        raise ValueError(f"the losses of {name} are {losses}, and ours {our_losses}")
    if predictions is None:
        return
    distance = np.abs(np.subtract(predictions, our_predictions)).max()
    # Written so that it holds of NaN
    if not distance <= tolerance:
        raise ValueError(f"the predictions of {name} are up to {distance:.1g} from ours")


def measure(network, threads, rivals=RIVALS):
    """Compare all rivals on short sequences, before any update and after some.

    Parameters
    ----------
    network : dict
        The fields of `cases.Network`.
    threads : int
        The cores. Those who split a batch split it over two of them, or one, and each part into two blocks.
    rivals : list of str
        Ours first.

    Raises
    ------
    ValueError
        If one differs from ours.
    """
    start_devices(threads)
    case = Case(Network(**network), *SHAPE)
    data, parameters = case.data(), initial_parameters(case.network)
    devices = min(threads, 2)
    splitting = {"devices": devices, "block_size": case.batch // devices // 2}
    ours = None
    for name in rivals:
        options = splitting if name in SPLITTING else {}
        model = import_rival(name, **options)(case.network, parameters)
        predict = getattr(model, "predict", lambda x: None)
        before = predict(data.inputs)
        losses = [model.train(*data) for _ in range(NUM_LOSSES)]
        after = predict(data.inputs)
        predictions = None if before is None else [before, after]
        ours = ours or (losses, predictions)
        compare(name, losses, predictions, *ours, tolerance=SHORT_PREDICTION_TOLERANCE)


if __name__ == "__main__":
    answer(measure)
