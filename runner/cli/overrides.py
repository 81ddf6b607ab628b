"""What an override may become while it is typed: groups and keys, then options and words, inside lists too."""

from pathlib import Path

from runner.cli import keys
from runner.cli.arguments import Typed
from runner.config.instead import Known, meant_by
from runner.config.options import groups, options


def offered(typed: Typed) -> list[str]:
    """Return what may follow: ``init=``, ``optim.lr=``, ``init=he``, ``init=he,xavier``, ``regularization=[l1,l2``."""
    folders = _folders(typed.config_dir)
    key, equals, value = typed.word.partition("=")
    chosen = dict(word.split("=", 1) for word in typed.before if "=" in word)
    if not equals:
        return [f"{k}=" for k in ["seeds", *groups(), *keys.settable(chosen, *folders)] if k not in chosen]
    done, comma, last = value.rpartition(",")
    bracket = "[" if not comma and last.startswith("[") else ""
    taken = done.removeprefix("[").split(",")
    values = (
        [o.name for o in options(key, *folders)]
        if key in groups()
        else keys.words(keys.settable(chosen, *folders).get(key))
    )
    return [f"{key}={done}{comma}{bracket}{v}" for v in values if v not in taken]


def meant_by_flag(flag: str) -> str | None:
    """Return the override that is meant by a flag such as ``--lr=0.1``; None if no key is."""
    name, _, value = flag.lstrip("-").partition("=")
    known = Known(keys.settable({}), lambda group: [option.name for option in options(group)], {})
    return meant_by(name.replace("-", "_"), value, known)


def _folders(config_dir: str | None) -> tuple[Path, ...]:
    """Return the user's own folder; none where it is not there yet, as it may still be typed."""
    folder = Path(config_dir or "").expanduser()
    return (folder,) if config_dir and folder.is_dir() else ()
