"""What commands take: their parser, the flags that several share, and the words that each argument may become."""

import argparse
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from runner.cli.overrides import meant_by_flag, offered
from runner.cli.typed import FOLDERS, Typed
from runner.errors import ConfigError, closest

Words = tuple[str, ...] | Callable[[Typed], Iterable[str]]
"""What an argument may become, or the function that says it."""


@dataclass(frozen=True)
class Argument:
    """An argument of a command, as completion sees it."""

    flags: tuple[str, ...]
    """Empty for what is given by its place."""
    key: str
    takes_value: bool
    repeats: bool
    words: Words

    def offered(self, typed: Typed) -> list[str]:
        """Return what the word may become."""
        words = self.words(typed) if callable(self.words) else self.words
        return [word for word in words if word.startswith((typed.word, ":"))]


class Parser(argparse.ArgumentParser):
    """An argument parser that refuses as all of optbench does, and knows the words of its arguments."""

    def __init__(self, command: str, about: str, **options: Any) -> None:
        self.arguments: list[Argument] = []
        super().__init__(f"optbench {command}", description=about, allow_abbrev=False, **options)

    def add_argument(self, *names: str, words: Words = (), **options: Any) -> argparse.Action:
        """Add an argument; ``words`` are what completion offers for it."""
        action = super().add_argument(*names, **options)
        takes_value, repeats = action.nargs != 0, action.nargs in ("*", "+") or options.get("action") == "append"
        self.arguments.append(Argument(tuple(action.option_strings), action.dest, takes_value, repeats, words))
        return action

    def add_word(self, *names: str, words: tuple[str, ...], **options: Any) -> None:
        """Add an argument that takes one of some words."""
        self.add_argument(*names, type=_one_of(words), words=words, **options)

    def add_config_dir(self) -> None:
        """Add ``--config-dir``."""
        about = "a folder of YAMLs of your own, such as DIR/optim/mine.yaml"
        self.add_argument("-cd", "--config-dir", metavar="DIR", help=about, words=FOLDERS)

    def add_allow(self) -> None:
        """Add ``--allow``."""
        about = "import path of a part of your own that may be imported, such as mine.Net"
        self.add_argument("--allow", action="append", default=[], metavar="PATH", help=about)

    def add_overrides(self, about: str) -> None:
        """Add ``group=option`` and ``key=value``, any number of them."""
        self.add_argument("overrides", nargs="*", default=[], metavar="key=value", help=about, words=offered)

    def print_help(self, file: object = None) -> None:
        """Print the help; argparse's own would keep silent about a full disk."""
        print(self.format_help(), end="")

    def error(self, message: str) -> NoReturn:
        """Refuse.

        Raises:
            ConfigError: always.
        """
        said, _, words = message.partition(": ")
        hint = self._meant(words.split()[0]) if said == "unrecognized arguments" and words else ""
        raise ConfigError(f"{message}{hint}; see {self.prog} --help")

    def _meant(self, word: str) -> str:
        takes_overrides = any(argument.key == "overrides" for argument in self.arguments)
        if takes_overrides and (meant := meant_by_flag(word)):
            return f"; did you mean {meant}?"
        return closest(word, [flag for argument in self.arguments for flag in argument.flags])


def own_folders(config_dir: str | None) -> tuple[Path, ...]:
    """Return the folders of the user's own YAMLs: one or none.

    Raises:
        ConfigError: if it is no folder, or holds what cannot be read.
    """
    if config_dir is None:
        return ()
    from runner.config.own_yamls import own_folder  # which reads YAMLs, and so takes its time

    return (own_folder(config_dir),)


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    """Return what takes one of some words, and names the closest to another."""

    def take(text: str) -> str:
        if text not in words:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(words)}, got {text!r}{closest(text, words)}")
        return text

    return take


def finite_number(text: str) -> float:
    """Return a number.

    Raises:
        argparse.ArgumentTypeError: if it is none, or not finite.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, got {text!r}")
    return value


def whole_number(text: str) -> int:
    """Return a whole number.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from error


def check_file(flag: str, file: str | None, *endings: str) -> None:
    """Refuse a file that cannot be written, before the work that it is for.

    Raises:
        ConfigError: naming the flag and the file.
    """
    if file is None:
        return
    path = Path(file)
    if endings and path.suffix not in endings:
        raise ConfigError(f"{flag} must be a {' or '.join(endings)}, got {file!r}")
    if path.is_dir():
        raise ConfigError(f"{flag} must be a file, got the folder {file!r}")
    if not path.parent.is_dir():
        raise ConfigError(f"{flag} must be a file in a folder that is there, got {file!r}")
