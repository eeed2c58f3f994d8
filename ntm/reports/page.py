"""The contents of a page: sections with tables, charts and sequences, as a dict that JSON can hold."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ntm
from ntm.experiments.data_settings import PLACES, DataSettings, open_data
from ntm.files import to_json
from ntm.reports.figures import (
    draw_confusion,
    draw_generalisation,
    draw_learning,
    draw_measures,
    get_colors,
)
from ntm.reports.readings import (
    Reading,
    describe_name,
    describe_state,
    list_settings,
    name_runs,
    read_run,
    show,
    to_float,
)
from ntm.reports.rows import RowFile
from ntm.reports.viewers import DataViewer, TaskViewer, Viewer, choose_sequences, choose_sizes
from ntm.tasks import Task
from ntm.tasks.base import describe_sizes
from ntm.typing import PathLike

__all__ = ["Page"]

#: Bytes that the memories of all sequences take in a page, before base64
ROOM = 2_000_000
#: What a page says of a network before anything is computed with it
PREPARING = "The network is being prepared to show what it does…"


class Page:
    """The page of some runs. It can be made again and again while the runs are trained.

    Parameters
    ----------
    folders : list of str or path
        Of the runs.
    task : type, optional
        The class of the task, if it is of the user's own.
    sizes : list of dict from str to int, optional
        Of the sequences of runs on tasks, instead of the largest in training and some beyond it.
    data : str or path, optional
        Where the sequences of runs on data are taken from, instead of the run's own validation data, else its data.
    indices : list of int, optional
        Which sequences of the data are shown, instead of some of different lengths.
    may_read_data : bool
        Whether the files of data that the settings of a run name may be read. They are used if they hold the data
        that the run began with.
    tell : callable, optional
        Takes a line for each thing that takes time.

    Raises
    ------
    FileNotFoundError
        If there is no run in a folder.
    ValueError
        If a file is damaged.
    """

    def __init__(
        self,
        folders: Sequence[PathLike],
        task: type[Task] | None = None,
        sizes: Sequence[Mapping[str, int]] | None = None,
        data: PathLike | None = None,
        indices: Sequence[int] | None = None,
        may_read_data: bool = True,
        tell: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._folders = [Path(folder) for folder in folders]
        self._rows = [RowFile(folder) for folder in self._folders]
        self._task, self._sizes = task, sizes
        self._data, self._indices, self._may_read_data = data, indices, may_read_data
        self._tell = tell
        self._viewers: dict[str, Viewer] = {}
        self._scenes: dict[str, tuple[tuple[str, int], list[dict[str, Any]]]] = {}
        self._read()

    @property
    def folders(self) -> list[Path]:
        """The folders of the runs."""
        return self._folders

    def make(self, looks_inside: bool = True) -> dict[str, Any]:
        """Return the contents of the page, by what the files of the runs hold now.

        Parameters
        ----------
        looks_inside : bool
            Whether networks are run, which takes seconds for each. The page says that this is still to come if not.

        Raises
        ------
        FileNotFoundError, ValueError
            As of the class.
        """
        runs = self._read()
        names = list(runs)
        learnt = list(dict.fromkeys(each.learnt for each in runs.values()))
        first = next(iter(runs.values()))
        title = (
            f"{first.settings.model} on {learnt[0]}"
            if len(runs) == 1
            else f"{len(runs)} runs on {', '.join(learnt)}"
        )
        groups: dict[str, dict[str, Reading]] = {}
        for name, each in runs.items():
            groups.setdefault(each.group, {})[name] = each
        sections = [_summarise(runs)] if len(runs) > 1 else []
        for number, group in enumerate(groups.values()):
            sections += self._describe_group(
                group, number, len(groups) > 1, looks_inside, len(runs)
            )
        sections.append(_compare_settings(runs))
        return {
            "title": show(title, 200),
            "lead": describe_state(first)[1] if len(runs) == 1 else "",
            "state": describe_state(first)[0] if len(runs) == 1 else "",
            "names": names,
            "news": "",
            "colors": get_colors(),
            "made": time.strftime("%Y-%m-%d %H:%M:%S"),
            "version": ntm.__version__,
            "sections": sections,
        }

    def _read(self) -> dict[str, Reading]:
        readings = [
            read_run(folder, self._task, rows)
            for folder, rows in zip(self.folders, self._rows, strict=True)
        ]
        return dict(zip(name_runs(readings), readings, strict=True))

    def _describe_group(
        self,
        runs: Mapping[str, Reading],
        number: int,
        is_named: bool,
        looks_inside: bool,
        count: int,
    ) -> list[dict[str, Any]]:
        """Return the sections of the runs on one task, or on one file of data."""
        first = next(iter(runs.values()))
        end = f": {first.learnt}" if is_named else ""
        sections = []
        chart, remarks = draw_learning(runs)
        if chart is None:
            remarks = ["No losses were written: a run writes them every log_every steps."]
        learning = (
            []
            if chart is None
            else [make_chart(f"learning-{number}", "Loss of the training steps", chart, remarks)]
        )
        sections.append(
            make_charts(f"learning-{number}", f"Learning{end}", learning, [] if chart else remarks)
        )
        measured = draw_measures(runs)
        if measured:
            charts = [
                make_chart(f"measures-{number}-{k}", *each) for k, each in enumerate(measured)
            ]
            sections.append(
                make_charts(f"measures-{number}", f"Measures during training{end}", charts)
            )
        if isinstance(first.settings, DataSettings):
            matrices = [
                make_chart(
                    f"confusion-{number}-{place}-{k}",
                    f"{name}: {title}" if len(runs) > 1 else title,
                    chart,
                    [],
                )
                for place, (name, each) in enumerate(runs.items())
                for k, (title, chart) in enumerate(draw_confusion(each))
            ]
            if matrices:
                sections.append(
                    make_charts(f"confusion-{number}", f"Confusion matrix{end}", matrices)
                )
        else:
            charts = [
                make_chart(f"generalisation-{number}-{k}", *each)
                for k, each in enumerate(draw_generalisation(runs))
            ]
            waiting = [] if charts else ["Generalisation is measured when training ends."]
            sections.append(
                make_charts(f"generalisation-{number}", f"Generalisation{end}", charts, waiting)
            )
        table = _tabulate_measures(runs, number, end)
        if table is not None:
            sections.append(table)
        for part, alike in enumerate(_group_by_options(runs)):
            columns = [self._look(name, each, looks_inside, count) for name, each in alike.items()]
            sections.append(
                {
                    "id": f"inside-{number}-{part}",
                    "kind": "explorer",
                    "title": f"Inside the network, step by step{end}",
                    "columns": columns,
                    "remarks": [],
                }
            )
        return sections

    # ---- What networks do with sequences

    def _look(self, name: str, reading: Reading, looks_inside: bool, count: int) -> dict[str, Any]:
        """Return the column of a run: its sequences, or a remark why there are none."""
        column: dict[str, Any] = {"name": name, "remarks": [], "scenes": [], "checkpoint": ""}
        if reading.checkpoint is None:
            column["remarks"] = ["There is no checkpoint yet, so there is no network to look into."]
            return column
        if name in self._viewers and self._viewers[name].settings != reading.settings:
            # Another run has taken the place of the one before
            del self._viewers[name]
            self._scenes.pop(name, None)
        try:
            if looks_inside:
                checkpoint = self._open(name, reading).load()
                if name not in self._scenes or self._scenes[name][0] != checkpoint:
                    self._tell(f"{name}: looking inside, at {checkpoint[0]}")
                    scenes = self._viewers[name].make_scenes(ROOM // count)
                    self._scenes[name] = checkpoint, scenes
        except (FileNotFoundError, ValueError) as error:
            words = self._describe(error, reading)
            column["remarks"] = [f"The network cannot be shown: {words}"]
        if name in self._scenes:
            (column["checkpoint"], _), column["scenes"] = self._scenes[name]
        elif not column["remarks"]:
            column["remarks"] = [PREPARING]
        return column

    def _describe(self, error: Exception, reading: Reading) -> str:
        """Return an error in words, without the paths of this machine: a page is sent to others."""
        text = str(error)
        named = [getattr(reading.settings, name, None) for name in PLACES]
        paths = [reading.folder.resolve(), reading.folder, self._data, *named]
        for path in sorted(map(str, filter(None, paths)), key=len, reverse=True):
            text = text.replace(path, Path(path).name)
        return show(text, 400)

    def _open(self, name: str, reading: Reading) -> Viewer:
        """Return the viewer of a run, which is made once."""
        if name not in self._viewers:
            self._tell(f"{name}: opening the network")
            self._viewers[name] = self._make_viewer(reading)
        return self._viewers[name]

    def _make_viewer(self, reading: Reading) -> Viewer:
        settings = reading.settings
        if not isinstance(settings, DataSettings):
            sizes = choose_sizes(settings) if self._sizes is None else self._sizes
            if not sizes:
                raise ValueError(
                    "sequences of the training sizes are too long for a page: give sizes, --size NAME=N"
                )
            return TaskViewer(reading.folder, settings, sizes)
        if self._data is not None:
            dataset = open_data(self._data, settings.layout)
        elif self._may_read_data:
            opened = settings.open()
            dataset = opened.validation or opened.training
        else:
            raise ValueError(
                "only the folder of the run is read. To see a sequence of the data, name their file: --data FILE"
            )
        indices = choose_sequences(dataset) if self._indices is None else self._indices
        for index in indices:
            if index >= len(dataset):
                raise ValueError(
                    f"--index {index}: the data have {len(dataset):,} sequences, from 0"
                )
        return DataViewer(reading.folder, settings, dataset, indices)


def _group_by_options(runs: Mapping[str, Reading]) -> list[dict[str, Reading]]:
    """Return the runs that can show the same sequences, together."""
    groups: dict[str, dict[str, Reading]] = {}
    for name, each in runs.items():
        options = getattr(each.settings, "task_options", {})
        groups.setdefault(to_json(dict(sorted(options.items()))), {})[name] = each
    return list(groups.values())


# ---- Sections


def make_charts(
    id: str, title: str, charts: Sequence[dict[str, Any]], remarks: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a section of charts. Remarks are sentences below the charts."""
    return {
        "id": id,
        "kind": "charts",
        "title": title,
        "charts": list(charts),
        "remarks": list(remarks),
    }


def make_chart(
    id: str, title: str, figure: dict[str, Any], remarks: Sequence[str]
) -> dict[str, Any]:
    """Return a chart of a section, with sentences below it."""
    return {"id": id, "title": title, "figure": figure, "remarks": list(remarks)}


def make_table(
    id: str,
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    marked: Sequence[int] = (),
    remarks: Sequence[str] = (),
    folded: bool = False,
) -> dict[str, Any]:
    """Return a section that is a table; the places of rows that stand out are `marked`."""
    return {
        "id": id,
        "kind": "table",
        "title": title,
        "head": list(head),
        "rows": [list(row) for row in rows],
        "marked": list(marked),
        "remarks": list(remarks),
        "folded": folded,
    }


def _summarise(runs: Mapping[str, Reading]) -> dict[str, Any]:
    rows = []
    for name, each in runs.items():
        state, sentence = describe_state(each)
        rows.append([name, each.settings.model, each.learnt, state, sentence])
    head = ["run", "network", "learns", "state", "how it went"]
    return make_table("summary", "Runs", head, rows)


def _tabulate_measures(runs: Mapping[str, Reading], number: int, end: str) -> dict[str, Any] | None:
    """Return a table of what the networks were measured by at the end, None where no run has ended."""
    rows: list[tuple[list[str], dict[str, Any]]] = []
    for name, each in runs.items():
        for row in (each.result or {}).get("measures", []):
            where = (
                show(f"{row['data']} data") if "data" in row else show(describe_sizes(row["sizes"]))
            )
            rows.append(([name, where], row))
    names = dict.fromkeys(
        name
        for _, row in rows
        for name, value in row.items()
        if name not in ("data", "sizes") and not isinstance(value, list)
    )
    if not rows:
        return None
    cells = [
        [*labels, *(_format(row.get(name)) for name in list(names)[:20])] for labels, row in rows
    ]
    head = ["run", "measured on", *map(describe_name, list(names)[:20])]
    return make_table(
        f"final-{number}",
        f"Measures of the trained network{end}",
        head,
        cells,
        folded=len(cells) > 12,
    )


def _format(value: Any) -> str:
    number = to_float(value)
    return f"{number:.4g}" if number == number else "–"


def _compare_settings(runs: Mapping[str, Reading]) -> dict[str, Any]:
    settings = [list_settings(each) for each in runs.values()]
    names = list(dict.fromkeys(name for each in settings for name in each))
    rows = [[name, *(each.get(name, "–") for each in settings)] for name in names]
    marked = [k for k, row in enumerate(rows) if len(set(row[1:])) > 1]
    remarks = ["Settings in which the runs differ are marked."] if marked else []
    return make_table(
        "settings", "Settings", ["setting", *runs], rows, marked, remarks, folded=True
    )
