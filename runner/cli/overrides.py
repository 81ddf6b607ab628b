"""What an override may become while it is typed: groups and keys, then options and words, inside lists too."""

from pathlib import Path

from runner.cli import keys
from runner.cli.typed import FILES, Typed
from runner.config.instead import Known, meant_by
from runner.config.options import groups, options

PATHS = ("path", "root", "run")
"""Keys of files and folders."""


def offered(typed: Typed) -> list[str]:
    """Return what may follow: ``init=``, ``optim.lr=``, ``init=he``, ``init=he,xavier``, ``regularization=[l1,l2``."""
    folders = _folders(typed.config_dir)
    key, equals, value = typed.word.partition("=")
    chosen = dict(word.split("=", 1) for word in typed.before if "=" in word)
    if not equals:
        return [f"{k}=" for k in ["seeds", *groups(), *keys.settable(chosen, *folders)] if k not in chosen]
    done, comma, last = value.rpartition(",")
    bracket = "[" if not comma and last.startswith("[") else ""
    if key.rpartition(".")[2] in PATHS:
        return list(FILES)
    front, begun, taken = f"{key}={done}{comma}{bracket}", last.removeprefix("["), done.removeprefix("[").split(",")
    setting = keys.settable(chosen, *folders).get(key)
    values = [o.name for o in options(key, *folders)] if key in groups() else keys.words(setting)
    fitting = [v for v in values if v.startswith(begun) and v not in taken]
    if len(fitting) == 1 and value.startswith("["):  # the list may end here or go on: the shell leaves both open
        return [f"{front}{fitting[0]}{end}" for end in ("]", ",")]
    return [f"{front}{v}" for v in fitting]


def meant_by_flag(flag: str) -> str | None:
    """Return the override that is meant by a flag such as ``--lr=0.1``; None if no key is."""
    name, _, value = flag.lstrip("-").partition("=")
    known = Known(keys.settable({}), lambda group: [option.name for option in options(group)], {})
    return meant_by(name.replace("-", "_"), value, known)


def _folders(config_dir: str | None) -> tuple[Path, ...]:
    """Return the user's own folder; none where it is not there yet, as it may still be typed."""
    folder = Path(config_dir or "").expanduser()
    return (folder,) if config_dir and folder.is_dir() else ()
