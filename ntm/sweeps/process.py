"""The program of a process that runs one trial: ``python -m ntm.sweeps.process FOLDER [MODULE:CLASS]``.

The process saves and ends when its standard input ends, as it does when the process that started it ends.
"""

import os
import signal
import sys
import threading

import pytensor

from ntm.experiments.own_tasks import import_task
from ntm.interruption import stop_on_signals
from ntm.sweeps.trials import DONE, FAILED, INTERRUPTED, run_trial
from ntm.training.trainer import TrainingError


def main() -> int:
    """Run the trial, and return the exit code."""
    pytensor.config.floatX = "float32"
    with stop_on_signals(may_exit=True) as stop:
        threading.Thread(target=_end_with_input, daemon=True).start()
        try:
            stop.check()
            task = import_task(sys.argv[2]) if len(sys.argv) > 2 else None
            result = run_trial(sys.argv[1], task)
        except KeyboardInterrupt:
            return INTERRUPTED
        except (ValueError, OSError, ImportError, TrainingError) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return FAILED
        return INTERRUPTED if result["ended"] == "interrupted" else DONE


def _end_with_input() -> None:
    """Wait for the end of the standard input, then tell this process to save and end."""
    while os.read(0, 4096):
        pass
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
