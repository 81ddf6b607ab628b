"""optbench: which training settings for this model on this data, and how sure can one be?

From Python: ``runner.train("init=he", "optim=adamw")``, ``runner.load_model(run)``, ``runner.load_runs(folder)`` and
``runner.export(run, path)``, imported when they are first used.
"""

TYPE_CHECKING = False  # of typing, whose import costs more than the interpreter's start
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_HOMES = {"load_runs": "runner.api", "load_model": "runner.trained", "export": "runner.trained"}


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name == "train":
        return import_module("runner.train")  # a module that can be called
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'runner' has no attribute {name!r}")
