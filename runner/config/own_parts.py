"""The user's own parts, called and refused: by their keys, with what they may look like beside. Never imports torch."""

import contextlib
import inspect
import re
import sysconfig
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from runner.config.imports import Target, resolve
from runner.config.specs import Setting
from runner.errors import ConfigError, PartError, closest

Arguments = Mapping[str, Any]
NO_ARGUMENTS: Arguments = {}
ELSEWHERE = (str(Path(__file__).parents[1]), *filter(None, map(sysconfig.get_paths().get, ("stdlib", "purelib"))))
"""Folders of code that is not the user's."""


@contextlib.contextmanager
def explained(settings: Mapping[str, Setting]) -> Iterator[None]:
    """Show beside the refusal of a part in the block what such a part may look like."""
    try:
        yield
    except PartError as error:
        setting = settings.get(re.sub(r"\[\d+\]", "", error.key))
        raise ConfigError(f"{error}{setting.shown_template if setting else ''}") from error


def find_part(key: str, path: str, allow: Collection[str]) -> Target:
    """Return what an import path names, which a key holds.

    Raises:
        PartError: naming the key, and what is nearest.
    """
    try:
        return resolve(path, allow)
    except ConfigError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and f"{path}.".startswith(f"{cause.name}."):
            here = Path.cwd()
            beside = sorted([p.stem for p in here.glob("*.py")] + [p.parent.name for p in here.glob("*/__init__.py")])
            found = f"has {', '.join(beside)}" if beside else "has no Python file"
            hint = closest(path.partition(".")[0], beside) or f"; the current folder {found}"
            raise PartError(key, f"{key}={error}{hint}") from error
        if isinstance(cause, AttributeError):
            module, _, name = path.rpartition(".")
            there = [n for n, found in vars(import_module(module)).items() if callable(found) and n[0] != "_"]
            raise PartError(key, f"{key}={error}{closest(name, there)}") from error
        if cause is not None:
            raise ConfigError(f"{key}={error}{origin(cause)}") from error
        raise PartError(key, f"{key}={error}") from error


def call(key: str, target: Target, *given: Any, args: Arguments = NO_ARGUMENTS, **named: Any) -> Any:
    """Call a part of the user's own, once it is known to take what it is given.

    Args:
        key: of the setting that names it.
        target: the part.
        given: what it gets by place.
        args: what the user gives it by name.
        named: what else it gets by name.

    Raises:
        PartError: if it does not.
    """
    refuse_signature(key, target, *given, args=args, **named)
    return target(*given, **args, **named)


def refuse_signature(key: str, target: Target, *given: Any, args: Arguments = NO_ARGUMENTS, **named: Any) -> None:
    """Refuse a part that does not take what it will be given, as ``call`` has it.

    Raises:
        PartError: saying what it takes.
        ConfigError: if the user gave it an argument that it does not know.
    """
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # of what is not written in Python nobody knows
        return
    try:
        signature.bind(*given, **args, **named)
    except TypeError as error:
        said = f"{key}={path_of(target)} takes {signature}"
        if twice := next((name for name in args if name in named), None):
            raise ConfigError(f"{said}, and {twice} is given by optbench: leave it out of {_args(key)}") from error
        if odd := next((name for name in args if name not in signature.parameters), None):
            raise ConfigError(f"{said}, and {_args(key)}.{odd} is given{closest(odd, signature.parameters)}") from error
        words = [*(_kind(value) for value in given), *(f"{name}=…" for name in (*args, *named))]
        lacking = re.search(r"missing a required.*'(\w+)'$", str(error)) if key.endswith(".target") else None
        hint = f"; {_args(key)}.{lacking[1]}=… gives it" if lacking else ""
        raise PartError(key, f"{said}, and is called with ({', '.join(words)}): {error}{hint}") from error


def _args(key: str) -> str:
    return f"{key.rpartition('.')[0]}.args"


def path_of(target: Callable[..., Any]) -> str:
    """Return the import path of a function or class, of anything else that of its class."""
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{named.__module__}.{named.__qualname__}"


def origin(error: BaseException) -> str:
    """Return where in the user's own code an error was raised, as `` (mine.py, line 3)``; nothing where it was not."""
    if isinstance(error, SyntaxError):  # whose message has it
        return ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((*ELSEWHERE, "<"))]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _kind(value: object) -> str:
    """Name what a part is given: by its name where that is known, or by its type."""
    if isinstance(value, str):
        return value
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} {list(shape)}"
