"""optbench: which training settings for this model on this data, and how sure can one be?

This package is the implementation; ``optbench`` is what people import.
"""

TYPE_CHECKING = False  # of typing, whose import costs more than the interpreter's start

if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

INTERRUPTED = 130
"""The exit code after a Ctrl-C, as shells have it."""


def __getattr__(name: str) -> "Any":
    if name == "load_model":
        from runner.run.load import load_model

        return load_model
    raise AttributeError(f"module 'runner' has no attribute {name!r}")
