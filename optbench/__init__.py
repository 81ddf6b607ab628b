"""optbench from Python: the same runs, records and refusals as the command line.

- ``train("init=he", "optim=adamw")`` trains one run.
- ``sweep("init=he,xavier", "optim=sgd,adamw", "seeds=3")`` trains a grid.
- ``tune("init=he,xavier", "optim.lr=tag(log,interval(1e-4,1))", budget="10m")`` searches.
- ``report("outputs/default")`` draws the answer.
- ``load_runs("outputs/default")`` returns a row for each run, ``curves("outputs/default")`` one for each evaluation;
  ``to_xarray`` makes a labelled array of either.
- ``load_model(folder)`` returns a trained network on raw inputs, and ``export(folder, path)`` writes it as a program.
- What a user did wrong raises ``ConfigError``, with the message that the terminal would show.

Each is imported when it is first used, so that ``import optbench`` takes no time.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optbench.runs import Result, load_runs, train
    from optbench.searches import Tuned, tune
    from optbench.sweeps import Report, Sweep, curves, report, sweep, to_xarray
    from runner.after.combined import load_model
    from runner.after.export import export
    from runner.errors import ConfigError

__all__ = [
    "ConfigError",
    "Report",
    "Result",
    "Sweep",
    "Tuned",
    "curves",
    "export",
    "load_model",
    "load_runs",
    "report",
    "sweep",
    "to_xarray",
    "train",
    "tune",
]

_HOMES = {
    "ConfigError": "runner.errors",
    "Result": "optbench.runs",
    "load_runs": "optbench.runs",
    "train": "optbench.runs",
    "Report": "optbench.sweeps",
    "Sweep": "optbench.sweeps",
    "curves": "optbench.sweeps",
    "report": "optbench.sweeps",
    "sweep": "optbench.sweeps",
    "to_xarray": "optbench.sweeps",
    "Tuned": "optbench.searches",
    "tune": "optbench.searches",
    "export": "runner.after.export",
    "load_model": "runner.after.combined",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'optbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
