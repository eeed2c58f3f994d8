"""How most tasks lay out their sequences."""

import numpy as np


def lay_out(vectors: np.ndarray, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay out a sequence of two parts: vectors to be read, with a marker behind them, and the answer.

    Parameters
    ----------
    vectors : array (n, C)
    answer : array (m, O)

    Returns
    -------
    inputs : array (n + 1 + m, C + 1)
        The vectors, then a one in channel C, then zeros.
    targets : array (n + 1 + m, O)
        The answer at the end, zeros before.
    weights : array (n + 1 + m,)
        One where the answer is.
    """
    (read, channels), steps = vectors.shape, len(vectors) + 1 + len(answer)
    inputs = np.zeros((steps, channels + 1), np.float32)
    inputs[:read, :-1] = vectors
    inputs[read, -1] = 1.0
    targets = np.zeros((steps, answer.shape[1]), np.float32)
    targets[read + 1 :] = answer
    weights = np.zeros(steps, np.float32)
    weights[read + 1 :] = 1.0
    return inputs, targets, weights
