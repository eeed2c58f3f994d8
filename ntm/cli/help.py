"""What the help of each command says: what the command does and leaves behind, and examples to paste.

The options say for themselves what they are, where they are added (:mod:`ntm.cli.parser`).
"""

from typing import NamedTuple

__all__ = ["HELP", "OVERVIEW", "CommandHelp"]

OVERVIEW = """\
examples:
  ntm tasks                                   list the tasks
  ntm train copy                              train a Neural Turing Machine, in runs/copy-ntm-1
  ntm train copy --controller lstm --seed 3   in runs/copy-ntm-lstm-3
  ntm train repeat-copy --max-length 5 --max-repeats 5 --batch-size 16
  ntm train copy --help                       all options, with their defaults for the task
  ntm train my_module:MyTask                  train on a task of your own, in runs/MyTask-ntm-1
  ntm resume runs/copy-ntm-1                  go on where the run was stopped or killed
  ntm evaluate runs/copy-ntm-1 --size length=100
                                              measure how far the network generalises
  ntm models                                  list the trained networks that come with this package
  ntm evaluate --model-file copy              measure one of them
  ntm plot runs/copy-ntm-1                    draw what the network does with one sequence
  ntm sweep copy --seeds 0-9                  train ten seeds, on all cores, and write a report
  ntm compare copy --models ntm lstm          train both, and draw how they generalise
  ntm report runs/copy-ntm-1                  write a page to send round: curves, and what is read and written
  ntm watch runs/copy-ntm-1                   follow a run in the browser while it is trained
  ntm export runs/copy-ntm-1 --output copy.zip
                                              take the network to a program that has JAX alone

with data of your own (arrays inputs and targets in an .npz file):
  ntm train --data data.npz --model dnc --validation 0.2
                                              train a DNC, in runs/data-dnc-1
  ntm train --data data.npz --help            all options for data
  ntm evaluate runs/data-dnc-1 --data test.npz
                                              measure the network on other data
  ntm predict runs/data-dnc-1 --data new.npz --output out.npz
                                              write what the network predicts

exit codes: 0 done, or the task is solved; 1 failed; 2 wrong usage; 3 training ended and the task is not solved;
130 interrupted, and saved
"""

#: The column of the comments on examples
_COLUMN = 56


class CommandHelp(NamedTuple):
    """The help of a command.

    Attributes
    ----------
    summary : str
        The line in the list of commands, without a capital and a full stop.
    description : str
        What the command does and leaves behind.
    examples : tuple of pairs of str
        Commands, and what each of them does. ``{task}`` stands for the name of a task.
    notes : str
        What follows the examples, such as exit codes.
    """

    summary: str
    description: str
    examples: tuple[tuple[str, str], ...]
    notes: str = ""

    def make_epilog(self, task: str = "") -> str:
        """Return what stands below the options."""
        lines = ["examples:"]
        for command, comment in self.examples:
            line = f"  {command.replace('{task}', task)}"
            if len(line) + 2 <= _COLUMN:
                lines.append(f"{line:{_COLUMN}}{comment}")
            else:
                lines += [line, f"{'':{_COLUMN}}{comment}"]
        if self.notes:
            lines += ["", self.notes.rstrip()]
        return "\n".join(lines) + "\n"


_TRAINING_CODES = """\
exit codes: 0 the task is solved, or training on data ended; 1 failed; 2 wrong usage; 3 training ended and the
task is not solved; 130 interrupted, and saved"""
_SWEEP_CODES = """\
exit codes: 0 all runs ended; 1 a run failed; 2 wrong usage; 130 interrupted, and saved"""
_COMPARISON_CODES = """\
exit codes: 0 all networks solved the task; 1 failed; 2 wrong usage; 3 a network did not solve it; 130
interrupted, and saved"""
_WATCH_NOTES = """\
The page is served on this machine alone. From another machine: ssh -L 8080:127.0.0.1:8080 HOST, then open
http://127.0.0.1:8080/"""

HELP = {
    "tasks": CommandHelp(
        "list the tasks",
        """\
List the tasks, one a line, with what a network has to do. Each name is a word for `ntm train`. The command
writes no file.""",
        (
            ("ntm tasks", "the list"),
            ("ntm train copy --help", "the sizes of one of them, and all other options"),
        ),
    ),
    "models": CommandHelp(
        "list the trained networks that come with this package",
        """\
List the trained networks that come with this package: the kind of network, its size, and how well it does at
the sizes it was trained on and beyond. The command writes no file. `ntm evaluate` measures a network, `ntm
export` takes it out of the library, and ntm.load_model(NAME) loads it in a program.""",
        (
            ("ntm models", "a table"),
            ("ntm models --json", "all that the files say, for a program"),
            ("ntm evaluate --model-file copy --size length=60", "measure one of them"),
        ),
    ),
    "train": CommandHelp(
        "train a network on a task, or on data",
        """\
Train a network on a task, or on data of your own. The run has a folder of its own with settings, losses,
checkpoints and, at the end, the network (network.safetensors) and its figures. Ctrl-C saves and ends; `ntm
resume` goes on.""",
        (
            ("ntm train copy", "a Neural Turing Machine, in runs/copy-ntm-1"),
            ("ntm train copy --model lstm --seed 3", "an LSTM, in runs/copy-lstm-3"),
            ("ntm train copy --help", "all options, with their defaults for the task"),
            ("ntm train --data data.npz --validation 0.2", "on your own data, in runs/data-ntm-1"),
        ),
        _TRAINING_CODES,
    ),
    "train TASK": CommandHelp(
        "",
        "",
        (
            ("ntm train {task}", "with the defaults above"),
            ("ntm train {task} --model dnc --seed 2", "another network, other initial values"),
            (
                "ntm train {task} --max-steps 1000 --folder runs/try",
                "a short try, in a folder of your choice",
            ),
            (
                "ntm train {task} --quiet --save-every 500",
                "no progress bar; a checkpoint every 500 steps",
            ),
        ),
        _TRAINING_CODES,
    ),
    "train --data": CommandHelp(
        "",
        """\
Train a network on data: arrays `inputs` and `targets` in an .npz file, or a folder of files. What the targets
are (numbers, bits, classes) is found from the arrays unless an option says so. The run has a folder of its own
with settings, losses, checkpoints, and at the end the network and its figures. Ctrl-C saves and ends; `ntm
resume` goes on.""",
        (
            ("ntm train --data data.npz", "a Neural Turing Machine, in runs/data-ntm-1"),
            (
                "ntm train --data data.npz --validation 0.2 --epochs 50",
                "hold a fifth back, and measure on it",
            ),
            (
                "ntm train --data data.npz --validation test.npz --model dnc",
                "measure on a file of its own",
            ),
        ),
        _TRAINING_CODES,
    ),
    "sweep": CommandHelp(
        "train over seeds and settings, on all cores or on a cluster, and write a report",
        """\
Train a network with several seeds, and with several values of settings, as many runs at a time as there are
cores. The folder of the sweep holds a folder for each run (trials/), and a report at the end. The same command
goes on where it was after Ctrl-C or a crash; runs that ended are not trained again.""",
        (
            ("ntm sweep copy --seeds 0-9", "ten seeds, in sweeps/copy"),
            (
                "ntm sweep copy --seeds 0-4 --set learning_rate=1e-4,3e-4 --set memory_slots=64,128",
                "a grid: four settings, five seeds each",
            ),
            ("ntm sweep copy --help", "all options, with their defaults for the task"),
            (
                "ntm sweep --data data.npz --validation 0.2 --set num_units=50,100",
                "with data of your own",
            ),
        ),
        _SWEEP_CODES,
    ),
    "sweep TASK": CommandHelp(
        "",
        "",
        (
            ("ntm sweep {task} --seeds 0-9", "ten seeds"),
            (
                "ntm sweep {task} --set model=ntm,dnc,lstm",
                "three networks, each with its own defaults",
            ),
            (
                "ntm sweep {task} --seeds 0-2 --search random --trials 20 --set learning_rate=log:1e-5..1e-3",
                "twenty draws of the learning rate, three seeds each",
            ),
        ),
        _SWEEP_CODES,
    ),
    "sweep --data": CommandHelp(
        "",
        """\
Train a network on data with several seeds, and with several values of settings, as many runs at a time as there
are cores. The folder of the sweep holds a folder for each run (trials/), and a report at the end.""",
        (
            ("ntm sweep --data data.npz --seeds 0-9", "ten seeds, in sweeps/data"),
            (
                "ntm sweep --data data.npz --validation 0.2 --set num_units=50,100",
                "a grid of one setting",
            ),
        ),
        _SWEEP_CODES,
    ),
    "compare": CommandHelp(
        "train several networks on a task, and draw how they generalise",
        """\
Train several networks on one task, one after the other, and draw how they generalise to larger sizes. Each run
has a folder of its own, as with `ntm train`, and there is one picture. The same command goes on after Ctrl-C; a
run that ended is not trained again.""",
        (
            ("ntm compare copy", "an NTM and an LSTM, in runs/ and compare-copy.png"),
            (
                "ntm compare copy --models ntm dnc sam --seeds 3 --output copy.pdf",
                "three networks, three seeds each",
            ),
            ("ntm compare copy --help", "all options, with their defaults for the task"),
        ),
        _COMPARISON_CODES,
    ),
    "compare TASK": CommandHelp(
        "",
        "",
        (
            ("ntm compare {task}", "an NTM and an LSTM"),
            ("ntm compare {task} --models ntm dnc --seeds 3", "two networks, three seeds each"),
            (
                "ntm compare {task} --models ntm lstm --output figure.pdf --width 8.5",
                "a picture for a column of a paper",
            ),
        ),
        _COMPARISON_CODES,
    ),
    "resume": CommandHelp(
        "go on with a run that was stopped or killed",
        """\
Go on with a run from its latest checkpoint, in the same folder. A run that was never stopped gives the
same results, bit for bit on the same machine.""",
        (
            ("ntm resume runs/copy-ntm-1", "go on"),
            (
                "ntm resume runs/copy-ntm-1 --max-steps 20000",
                "train longer than the run's settings say",
            ),
            (
                "ntm resume runs/data-dnc-1 --data moved/data.npz",
                "a run on data that lie elsewhere now",
            ),
        ),
        _TRAINING_CODES,
    ),
    "evaluate": CommandHelp(
        "measure the network of a run, or of a file",
        """\
Measure a trained network: on a task, with sequences drawn anew, as in training and at other sizes; on data,
with a file of yours. The command prints a table, and writes no file. It changes nothing in the run.""",
        (
            ("ntm evaluate runs/copy-ntm-1", "at the sizes in the run's settings"),
            (
                "ntm evaluate runs/copy-ntm-1 --size length=40 --size length=100",
                "how far it generalises",
            ),
            (
                "ntm evaluate --model-file copy --num-sequences 100 --json",
                "a network that comes with this package; for a program",
            ),
            ("ntm evaluate runs/data-dnc-1 --data test.npz", "a run on data, on other data"),
        ),
    ),
    "predict": CommandHelp(
        "write what the network of a run on data predicts",
        """\
Write what the network of a run on data predicts for new inputs, to an .npz file with `predictions`, and
`labels` for classes. With --steps, write how the sequences go on (`generated`). The targets are not needed.""",
        (
            (
                "ntm predict runs/data-dnc-1 --data new.npz --output out.npz",
                "predictions for each sequence",
            ),
            (
                "ntm predict runs/data-dnc-1 --data new.npz --output more.npz --steps 20",
                "20 more steps, from the network's own outputs",
            ),
            (
                "ntm predict runs/text-lstm-1 --data a.npz --output b.npz --steps 99 --sample sample --temperature 0.7",
                "99 symbols, drawn by their probabilities",
            ),
        ),
    ),
    "plot": CommandHelp(
        "draw one sequence, learning curves or generalisation",
        """\
Draw a picture of one run or of several: what a network does with one sequence, how the loss fell, or how the
error grows with the size of a sequence. The picture is one file (.png, .pdf or .svg).""",
        (
            ("ntm plot runs/copy-ntm-1", "one sequence, in copy-ntm-1-sequence.png"),
            ("ntm plot runs/copy-ntm-1 --size length=40 --output long.pdf", "one of 40 steps"),
            (
                "ntm plot runs/copy-ntm-1 runs/copy-lstm-1 --kind learning --width 8.5",
                "two learning curves, for a column of a paper",
            ),
            ("ntm plot runs/data-dnc-1 --data test.npz --index 3", "sequence 3 of a file of data"),
        ),
    ),
    "export": CommandHelp(
        "write a trained network to a file that runs with JAX alone",
        """\
Write a trained network to one .zip file that runs with JAX alone, without PyTensor and this package. The file
holds the network's functions (StableHLO), its parameters (.npy) and a description (JSON). The page
docs/how-to/export.md has the few lines of Python that load it.""",
        (
            (
                "ntm export runs/copy-ntm-1 --output copy.zip",
                "the network of a run, for batches and sequences of any size",
            ),
            (
                "ntm export --model-file copy --output copy.zip",
                "a network that comes with this package",
            ),
            (
                "ntm export runs/data-dnc-1 --output small.zip --batch-size 1 --num-steps 50 --platforms cpu",
                "for one sequence of 50 steps at a time, on a CPU",
            ),
            (
                "ntm export --model-file network.safetensors --output network.zip --float-type float64",
                "a file that ntm.save wrote, in float64",
            ),
        ),
    ),
    "report": CommandHelp(
        "write a page about runs: one HTML file that needs no network",
        """\
Write a page about runs: settings, figures, learning curves, and what each network reads and writes, step by
step. The page is one HTML file that opens in any browser, without this package and without a connection.""",
        (
            ("ntm report runs/copy-ntm-1", "in report.html"),
            (
                "ntm report runs/copy-ntm-1 runs/copy-lstm-1 --output copy.html",
                "two runs side by side",
            ),
            (
                "ntm report runs/copy-ntm-1 --size length=5 --size length=60",
                "choose the sequences that are shown step by step",
            ),
            (
                "ntm report runs/data-dnc-1 --data test.npz --index 0 7",
                "of a run on data: sequences 0 and 7 of a file",
            ),
        ),
    ),
    "watch": CommandHelp(
        "follow runs in the browser while they are trained",
        """\
Serve a page about runs that are being trained, and print its address. The page is renewed when the run writes
losses (ntm train --log-every) and checkpoints (--save-every). The command writes no file; Ctrl-C ends it.""",
        (
            ("ntm watch runs/copy-ntm-1", "prints the address to open"),
            ("ntm watch runs/copy-ntm-1 --port 8080", "at http://127.0.0.1:8080/"),
            ("ntm watch runs/copy-ntm-1 runs/copy-lstm-1", "two runs on one page"),
        ),
        _WATCH_NOTES,
    ),
}
