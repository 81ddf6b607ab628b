"""``--plot FILE`` of the commands that draw."""

import sys
from collections.abc import Sequence
from pathlib import Path

PICTURES = (".png", ".svg")


def plot(
    file: str, labels: tuple[str, str], at: Sequence[float], curves: dict[str, Sequence[float]], log: bool
) -> None:
    """Write curves over ``at`` as a picture, and say so on stderr."""
    from runner.report.drawing.figures import write_lines

    write_lines(Path(file), labels, at, curves, log)
    print(f"optbench: {file} written", file=sys.stderr)
