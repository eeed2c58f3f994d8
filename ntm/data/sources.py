"""Batches from whatever a user has: arrays, dicts, examples, iterables, files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ntm.data.dataset import Dataset
from ntm.data.epochs import Epochs
from ntm.data.fields import is_map_style
from ntm.data.iterables import BATCH_SIZE, NO_TARGETS, Batches, make_dataset
from ntm.data.source import Source

__all__ = ["make_source"]


def make_source(
    data: Any,
    batch_size: int | None = None,
    seed: int = 0,
    kind: str | None = None,
    per: str | None = None,
    num_outputs: int | None = None,
) -> Source:
    """Return a source of batches of a user's data.

    What has a length and can be indexed holds examples: an example is a sequence with its target. What can only be
    iterated over holds batches. So a list of tuples (inputs, targets) holds examples. A list of batches needs
    ``Batches(list)``.

    Parameters
    ----------
    data : Source, Dataset, tuple, dict, list, path, iterable or function
        - A :class:`Source` is returned as it is.
        - A :class:`Dataset`, a tuple of arrays (inputs, targets[, mask[, weights]]), a dict of arrays such as
          ``inputs`` and ``targets``, or the path of a file or folder for :meth:`Dataset.open`: :class:`Epochs`. The
          third part of a tuple is a mask (N, T), or lengths: integers (N,).
        - An object with ``__len__`` and ``__getitem__``, such as a map-style data set of PyTorch or Hugging Face, or a
          list of examples, each a tuple or a dict: :class:`Epochs`.
        - Another iterable, such as a PyTorch DataLoader or a generator, or a function without arguments that returns
          one: :class:`Batches`.
    batch_size : int, optional
        Sequences in a batch, 32 by default. An iterable gives batches unless `batch_size` is given: then it gives
        examples.
    seed : int
        Orders the sequences in each epoch.
    kind, per, num_outputs : optional
        As of a :class:`Dataset`, where `data` is none yet.

    Returns
    -------
    Source

    Raises
    ------
    TypeError
        If `data` is nothing of that.
    ValueError
        If the data are not as they should be, or an option is given that `data` has already.
    """
    options: dict[str, Any] = {"kind": kind, "per": per, "num_outputs": num_outputs}
    if isinstance(data, Source | Dataset):
        owned = options if isinstance(data, Dataset) else options | {"batch_size": batch_size}
        given = [name for name, value in owned.items() if value is not None]
        if given:
            raise ValueError(
                f"{given[0]} cannot be given for a {type(data).__name__}: give it where that is made"
            )
        if isinstance(data, Source):
            return data
    elif isinstance(data, str | Path):
        data = Dataset.open(data, **options)
    elif isinstance(data, tuple | Mapping):
        _refuse_parts(data)
        data = make_dataset(data, **options)
    elif isinstance(data, list) and data and not is_map_style(data):
        raise ValueError(
            f"there are no targets: data is a list of {len(data)}: expected a tuple (inputs, targets), or a list of "
            "examples (inputs, targets)"
        )
    elif is_map_style(data) or isinstance(data, list):
        data = Dataset(data, **options)
    elif hasattr(data, "__array__"):
        raise TypeError(
            f"data must be a tuple (inputs, targets), not a single {type(data).__name__}"
        )
    else:
        return Batches(data, **options, batch_size=batch_size)
    if not data.has_targets:
        raise ValueError(NO_TARGETS)
    return Epochs(data, BATCH_SIZE if batch_size is None else batch_size, seed)


def _refuse_parts(data: Any) -> None:
    """Raise a `ValueError` if a dict holds data sets, such as the parts of a data set of Hugging Face."""
    if isinstance(data, Mapping) and any(hasattr(each, "column_names") for each in data.values()):
        raise ValueError(
            f"the data have the parts {', '.join(map(str, data))}: give one of them, such as data[{next(iter(data))!r}]"
        )
