"""optbench from Python: the same runs, records and refusals as the command line.

``train("init=he", "optim=adamw")`` trains one run, ``load_runs("outputs/default")`` returns a row for each run of a
folder, ``load_model(folder)`` a trained network on raw inputs, and ``export(folder, path)`` writes it as a program.
Each is imported when it is first used, so that ``import optbench`` takes no time.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optbench.runs import Result, load_runs, train
    from runner.after.export import export
    from runner.run.load import load_model

__all__ = ["Result", "export", "load_model", "load_runs", "train"]

_HOMES = {
    "Result": "optbench.runs",
    "load_runs": "optbench.runs",
    "train": "optbench.runs",
    "export": "runner.after.export",
    "load_model": "runner.run.load",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'optbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
