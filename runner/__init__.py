"""optbench: which training settings for this model on this data, and how sure can one be?

This package is the implementation; ``optbench`` is what people import.
"""

TYPE_CHECKING = False  # of typing, whose import costs more than the interpreter's start

__version__ = "0.2.0"

INTERRUPTED = 130
"""The exit code after a Ctrl-C, as shells have it."""
GOES_ON = "optbench: interrupted; the same command goes on from here"
"""What is said then, where something was kept."""
