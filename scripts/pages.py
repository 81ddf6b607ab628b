"""Pages of which a script writes a part, between two marks."""

import argparse
from pathlib import Path


def asked(parser: argparse.ArgumentParser, *whole: str) -> argparse.Namespace:
    """Return a script's arguments; ``--update`` beside another value of a key of ``whole`` is refused.

    A page's table is written as a whole: a part would stand in its place.
    """
    arguments = parser.parse_args()
    for key in whole:
        if arguments.update and getattr(arguments, key) != parser.get_default(key):
            parser.error(f"--update writes the whole table: leave --{key.replace('_', '-')} out")
    if arguments.update and "workloads" in whole and not arguments.data_root:
        parser.error("--update writes the whole table: give --data-root, for MNIST")
    return arguments


class Told:
    """Lines that are printed as they come, for a page that gets them in the end."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, *lines: str) -> None:
        """Print lines, and keep them."""
        print(*lines, sep="\n", flush=True)
        self.lines += lines

    def write(self, page: Path, name: str) -> None:
        """Put what was told between the marks of this name."""
        rewrite(page, (f"<!-- {name} -->", f"<!-- end of {name} -->"), "\n".join(self.lines))


def rewrite(page: Path, marks: tuple[str, str], text: str) -> None:
    """Put a text between two marks of a page, in the place of what stands there.

    Raises:
        ValueError: if the page does not have them.
    """
    whole = page.read_text(encoding="utf-8")
    before, first, rest = whole.partition(marks[0])
    _, last, after = rest.partition(marks[1])
    if not (first and last):
        raise ValueError(f"{page} has no {marks[0]} … {marks[1]}")
    page.write_text(f"{before}{first}\n{text}\n{last}{after}", encoding="utf-8")
