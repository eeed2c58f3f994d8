"""The settings of a training run on a user's data: what each of them is, and what is made from them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import numpy as np

from lasagne.layers import Layer
from lasagne.processes import Processes
from ntm.arguments import check_choice, is_integer, shorten
from ntm.data import Dataset, Epochs, InputLayout, Layout, Source, Stream
from ntm.data.files import read_fields
from ntm.data.layout import SINGLE
from ntm.experiments.defaults import OWN_DATA, merge_settings
from ntm.experiments.networks import MODELS, takes_symbols
from ntm.experiments.options import document_options, get_options, option
from ntm.experiments.training_settings import TrainingSettings, rename_options
from ntm.training.callbacks import Callback, EarlyStop, KeepBest
from ntm.training.metrics import LOSS, METRICS, make_metrics
from ntm.training.trainer import Trainer
from ntm.typing import PathLike

__all__ = ["DataSettings", "make_data_settings", "open_data"]

#: The kinds of targets that have a loss of their own
KINDS = ("bits", "classes", "numbers")
PER = ("step", "sequence")

#: Bounds of what the settings of a stranger's run say of the data: inputs, characters of a name, and axes of a step
MAX_INPUTS, MAX_NAME, MAX_AXES = 1000, 1000, 10
#: Where the data are. A run that goes on with the same data elsewhere is the same run
PLACES = ("data", "validation")


class OpenData(NamedTuple):
    """The data of a run.

    Attributes
    ----------
    whole : Dataset
        What the run's file or folder holds.
    training, validation : Dataset
        What the network is trained on and measured on after each epoch; `validation` may be None.
    """

    whole: Dataset
    training: Dataset
    validation: Dataset | None


@document_options
@dataclass
class DataSettings(TrainingSettings):
    """Everything that a training run on a user's data is made from. JSON can hold every field.

    Raises
    ------
    ValueError
        If a value is of another type, outside its range or none of its choices, or an option is not one of the network.
    """

    data: str = option(help="file or folder of the data, with an absolute path")
    model: str = option("ntm", "the network", choices=MODELS)
    model_options: dict = option(
        help="options of the network that differ from its own defaults", factory=dict
    )
    kind: str | None = option(
        None,
        "what the targets are: bits, classes (labels or one-hot) or numbers; None to guess it from the data's type and "
        "values",
        choices=KINDS,
    )
    per: str | None = option(
        None,
        "whether there is a target for each step or for each sequence; None to guess it from the shapes",
        choices=PER,
    )
    window: int | None = option(
        None,
        "train on long series in windows of so many steps: the network's states are carried from window to window, and "
        "gradients reach back to the beginning of a window; None for whole sequences",
        low=1,
    )
    validation: str | None = option(
        None, "file or folder of the data to measure on after each epoch, with an absolute path"
    )
    validation_share: float | None = option(
        None,
        "share of the sequences that is held out, by the seed, and measured on after each epoch",
        above=0,
        high=1,
    )
    epochs: int = option(20, "times that each sequence is trained on", low=0)
    max_steps: int | None = option(
        None, "training steps at most; None for as many as the epochs take", low=0
    )
    metrics: list = option(
        help="what to measure besides the loss; empty for what is usual for the kind of targets",
        factory=list,
    )
    stop_early: str | None = option(
        None,
        "end training when this measure of the validation data, such as loss or accuracy, has not become better for "
        "--patience evaluations; the network then has the parameters of its best evaluation",
        choices=[LOSS, *(name for name in METRICS if METRICS[name].higher_is_better is not None)],
    )
    patience: int = option(5, "evaluations that --stop-early waits for", low=1)
    fingerprint: dict = option(help="what tells the data from others", factory=dict)
    validation_fingerprint: dict = option(
        help="what tells the validation data from others", factory=dict
    )

    #: The data, once they are open. They are no setting, and in no file
    opened: OpenData | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check(get_options(DataSettings))
        if self.validation is not None and self.validation_share is not None:
            raise ValueError("validation is a file and a share: expected one of them")
        if self.validation_share == 1:
            raise ValueError("validation_share must be below 1: a part is for training")
        if not all(isinstance(name, str) for name in self.metrics):
            raise ValueError(f"metrics must be names, not {shorten(self.metrics, 100)}")
        has_validation = self.validation is not None or self.validation_share is not None
        if self.stop_early is not None and not has_validation:
            raise ValueError(
                f"stop_early {self.stop_early} needs validation: a file, or a share of the data"
            )
        self.layout = _read_layout(self.fingerprint.get("layout"))
        self.list_metrics()
        if self.window is not None and not self.layout.per_step:
            raise ValueError(
                "window is for targets at each step, and there is one for each sequence"
            )

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "DataSettings":
        """Return the settings in a file.

        Raises
        ------
        TypeError, ValueError
            If they are none.
        """
        given = dict(found)
        if "model_options" in given:
            given["model_options"] = rename_options(
                given.get("model", "ntm"), given["model_options"]
            )
        if "opened" in given:
            raise ValueError("there is no setting 'opened'")
        return cls(**given)

    def accepts(self, found: Mapping[str, Any]) -> bool:
        places = {name: getattr(self, name) for name in PLACES}
        return replace(DataSettings.from_json(found), **places) == self

    def build_network(self) -> Layer:
        return self.make_network(self.layout)

    def list_sizes(self) -> list[tuple[str, Any]]:
        return []

    def list_metrics(self) -> list[str]:
        """Return what is measured besides the loss.

        Raises
        ------
        ValueError
            If the targets are of a kind that has no such metric.
        """
        names = make_metrics(self.layout, self.metrics or None, "metrics").names
        if self.stop_early is not None and self.stop_early not in (LOSS, *names):
            names = make_metrics(self.layout, [*names, self.stop_early], "stop_early").names
        return names

    # ---- Data

    def open(self) -> OpenData:
        """Return the data, which are opened once.

        Raises
        ------
        FileNotFoundError
            If a file has been moved; the message says how to go on.
        ValueError
            If they are other data than those that the run began with.
        """
        if self.opened is None:
            whole, validation = self._open("data", self.fingerprint), None
            if self.validation is not None:
                validation = self._open("validation", self.validation_fingerprint)
            self.set_data(whole, validation)
        assert self.opened is not None
        return self.opened

    def set_data(self, whole: Dataset, validation: Dataset | None) -> None:
        """Use data that are open: those of the run's file, and those of its validation file if there is one."""
        training = whole
        if self.validation_share is not None:
            training, validation = whole.split(self.validation_share, seed=self.seed)
        self.opened = OpenData(whole, training, validation)

    def with_own_data(self) -> Self:
        if self.opened is not None:
            is_file = self.validation is not None
            self.set_data(self.opened.whole, self.opened.validation if is_file else None)
        return self

    def _open(self, name: str, fingerprint: Mapping[str, Any]) -> Dataset:
        path = getattr(self, name)
        if not os.path.exists(path):
            raise FileNotFoundError(
                f"the {name} of the run are not at {shorten(path)} any more: give the new place, --{name} FILE"
            )
        dataset = open_data(path, self.layout)
        if dataset.fingerprint() != fingerprint:
            raise ValueError(
                f"{path} holds other data than the run began with. If the {name} have been moved, give the new place, "
                f"--{name} FILE; to train on other data, begin another run"
            )
        return dataset

    # ---- Training

    def _make_trainer(self, processes: Processes | None) -> Trainer:
        data = self.open()
        source: Source
        validation: Dataset | Source | None = data.validation
        if self.window is None:
            source = Epochs(data.training, self.batch_size, self.seed, num_buckets=self.num_buckets)
        else:
            source = self.make_stream(data.training)
            if data.validation is not None:
                validation = self.make_stream(data.validation, False)
        return Trainer(
            self.make_network(self.layout),
            source,
            validation=validation,
            metrics=self.list_metrics(),
            callbacks=self.make_callbacks(),
            **self._get_trainer_options(self.count_steps(source), processes),
        )

    def make_stream(self, dataset: Dataset, shuffle: bool = True) -> Stream:
        """Return the windows of series."""
        assert self.window is not None
        return Stream(dataset, self.window, self.batch_size, self.seed, shuffle)

    def make_callbacks(self) -> list[Callback]:
        """Return what stops training early, and keeps the best parameters."""
        if self.stop_early is None:
            return []
        # The best parameters are kept before training is ended
        return [KeepBest(self.stop_early), EarlyStop(self.stop_early, self.patience)]

    def count_steps(self, source: Source) -> int | None:
        """Return after how many steps training ends at the latest, None where that is not known."""
        ends = [self.max_steps]
        if source.steps_per_epoch is not None:
            ends.append(self.epochs * source.steps_per_epoch)
        return min((end for end in ends if end is not None), default=None)


def open_data(path: PathLike, layout: Layout | None = None, **options: Any) -> Dataset:
    """Open data in a file or folder.

    Parameters
    ----------
    path : str or path
    layout : Layout, optional
        What the data must look like: that of the data that a network was made for. Unless given, it is guessed.
    **options
        `kind` and `per`, where there is no layout.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    ValueError
        If the path is that of a device or a pipe, a file is damaged, or the data are none for the layout.
    """
    _check_place(path)
    if layout is None:
        return Dataset.open(path, **options)
    fields = read_fields(path)
    if "targets" in fields:
        options = {
            "kind": layout.kind,
            "per": "step" if layout.per_step else "sequence",
            "num_outputs": layout.num_outputs,
        }
    dataset = Dataset.from_file(path, fields, **options)
    _check_inputs(path, dataset, layout.inputs)
    return dataset


def open_inputs(path: PathLike, layout: Layout) -> Dataset:
    """Open data to predict from; targets in the file are not read. Arguments and errors as of :func:`open_data`."""
    _check_place(path)
    fields = {
        name: field
        for name, field in read_fields(path).items()
        if name not in ("targets", "weights")
    }
    dataset = Dataset.from_file(path, fields)
    _check_inputs(path, dataset, layout.inputs)
    return dataset


def _check_place(path: PathLike) -> None:
    """Raise an error unless there is a file or folder at a path."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file or folder of data {path}")
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise ValueError(f"{path} is no file and no folder: expected an .npz file, or a folder")


def _check_inputs(path: PathLike, dataset: Dataset, expected: Mapping[str, InputLayout]) -> None:
    """Raise a `ValueError` unless the inputs of data are such as a network was made for."""
    found = dataset.layout.inputs
    if found.keys() != expected.keys():
        raise ValueError(
            f"{path} has the inputs {', '.join(found)}: the network was made for {', '.join(expected)}"
        )
    for name, each in expected.items():
        array = name if name == SINGLE else f"{SINGLE}.{name}"
        given, wanted = (_describe_shape(one) for one in (found[name], each))
        if given != wanted:
            raise ValueError(f"{path}: {array} has {given}: the network was made for {wanted}")
        if takes_symbols(each) and found[name].num_symbols > each.num_symbols:
            index, symbol = _find_symbol(dataset, name, each.num_symbols)
            raise ValueError(
                f"{path}: {array}[{index}] is {symbol}: the network was made for symbols from 0 to "
                f"{each.num_symbols - 1}"
            )


def _describe_shape(layout: InputLayout) -> str:
    axes = ["N", *(["T"] if layout.has_time else []), *map(str, layout.features)]
    kind = "symbols" if takes_symbols(layout) else "numbers"
    return f"{kind} of shape ({', '.join(axes)}{',' * (len(axes) == 1)})"


def _find_symbol(dataset: Dataset, name: str, num_symbols: int) -> tuple[str, int]:
    """Return the first index of a symbol beyond those known, and the symbol."""
    for row in range(len(dataset)):
        values = dataset.take([row]).inputs[name][0]
        wrong = np.argwhere(values >= num_symbols)
        if len(wrong):
            place = tuple(map(int, wrong[0]))
            return ", ".join(map(str, (row, *place))), int(values[place])
    raise ValueError(f"{name} has changed since it was checked")


def _read_layout(found: Any) -> Layout:
    """Return the layout in a fingerprint, which may come from a stranger.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        inputs = {
            name: InputLayout(**{**each, "features": tuple(each["features"])})
            for name, each in found["inputs"].items()
        }
        layout = Layout(**{**found, "inputs": inputs})
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the fingerprint has no layout: {shorten(repr(found), 100)}") from error
    sizes = [size for each in inputs.values() for size in each.features]
    flags = [flag for each in inputs.values() for flag in (each.is_integer, each.has_time)]
    symbols = [each.num_symbols for each in inputs.values()]
    if not (
        0 < len(inputs) <= MAX_INPUTS
        and all(isinstance(name, str) and len(name) < MAX_NAME for name in inputs)
        and layout.kind in KINDS
        and layout.targets is None
        and all(map(is_integer, (*sizes, *symbols, layout.num_outputs)))
        and min((*sizes, layout.num_outputs or 0), default=1) > 0
        and min(symbols) >= 0
        and all(isinstance(flag, bool) for flag in (*flags, layout.per_step))
        and all(len(each.features) < MAX_AXES for each in inputs.values())
    ):
        raise ValueError(f"the fingerprint has a wrong layout: {shorten(repr(found), 200)}")
    return layout


def make_data_settings(
    data: PathLike,
    model: str = "ntm",
    validation: PathLike | float | None = None,
    **given: Any,
) -> DataSettings:
    """Return the settings for data and a network: the defaults, and what is given instead. The data are opened.

    Parameters
    ----------
    data : str or path
        A file or folder: see :meth:`ntm.Dataset.open`.
    model : str
        A name in :data:`ntm.experiments.MODELS`.
    validation : str, path or float, optional
        A file or folder of data, or the share of `data` that is held out.
    **given
        Fields of :class:`DataSettings`. Dicts among them are merged with the defaults.

    Raises
    ------
    FileNotFoundError, ValueError
        If the data cannot be read, or an option does not fit.
    """
    files = open_files(data, validation, given.get("kind"), given.get("per"))
    return choose_settings(files, model, validation, **given)


class Files(NamedTuple):
    """The data in a run's files.

    Attributes
    ----------
    whole : Dataset
    path : str
        The absolute path of their file or folder.
    validation : Dataset or None
        The data in the file for validation, if there is one.
    """

    whole: Dataset
    path: str
    validation: Dataset | None


def open_files(
    data: PathLike, validation: PathLike | float | None, kind: str | None, per: str | None
) -> Files:
    """Open the data of a new run, which must have targets. Arguments and errors as of :func:`make_data_settings`."""
    whole = _require_targets(data, open_data(data, kind=kind, per=per))
    other = None
    if validation is not None and not isinstance(validation, int | float):
        other = _require_targets(validation, open_data(validation, whole.layout))
    return Files(whole, os.path.abspath(data), other)


def _require_targets(path: PathLike, dataset: Dataset) -> Dataset:
    if not dataset.has_targets:
        raise ValueError(f"{path} has no targets: expected an array targets, or y")
    return dataset


def choose_settings(
    files: Files, model: str, validation: PathLike | float | None, **given: Any
) -> DataSettings:
    """Return the settings for data that are open. Arguments and errors as of :func:`make_data_settings`."""
    check_choice("model", model, MODELS)
    merged = merge_settings(OWN_DATA[model], given)
    merged |= {"data": files.path, "fingerprint": files.whole.fingerprint()}
    if files.validation is not None:
        merged["validation"] = os.path.abspath(validation)  # type: ignore[arg-type] # A path
        merged["validation_fingerprint"] = files.validation.fingerprint()
    elif validation is not None:
        merged["validation_share"] = validation
    settings = DataSettings(model=model, **merged)
    settings.set_data(files.whole, files.validation)
    return settings
