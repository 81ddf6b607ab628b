"""A command line while it is typed, and what its words may become."""

from dataclasses import dataclass

FILES = (":files",)
"""Any file: the shell completes it by itself."""
FOLDERS = (":folders",)


@dataclass(frozen=True)
class Typed:
    """A command line while it is typed: the word under the cursor, and what stands before it."""

    word: str
    before: tuple[str, ...] = ()
    """The words that are no flags."""
    config_dir: str | None = None
