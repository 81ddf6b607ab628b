"""The keys of every run and of the options, as help and completion show them. Reads the YAMLs alone: it is quick."""

from collections.abc import Mapping
from pathlib import Path

from runner.config import options
from runner.config.options import Option
from runner.config.specs import Setting


def of_option(option: Option) -> list[tuple[str, str]]:
    """Return (``key: default``, what it means) of an option's settings."""
    return [(f"{key}: {default}", means) for key, (default, means) in option.shown.items()]


def of_every_run() -> list[tuple[str, str]]:
    """Return (``key: default``, what it means) of the keys that every run has, those in sections dotted."""
    shown, groups = options.of_every_run().shown, options.default_choices()
    own = {key: value for key, value in shown.items() if key.partition(".")[0] not in groups}
    return [(f"{key}: {default}", means) for key, (default, means) in own.items()]


def of_each_option(group: str) -> list[tuple[str, str]]:
    """Return (``key: default``, what it means) of what every option of a group takes beside its own settings."""
    shown = options.of_every_run().shown
    within = {key.partition(".")[2]: value for key, value in shown.items() if key.startswith(f"{group}.")}
    return [(f"{key}: {default}", means) for key, (default, means) in within.items()]


def settable(chosen: Mapping[str, str], *folders: Path) -> dict[str, Setting]:
    """Return what can be set beside the chosen options, such as ``{"optim": "sgd"}``, by its keys."""
    shared, groups = options.of_every_run().spec.settings, options.default_choices()
    found = {key: setting for key, setting in shared.items() if key.partition(".")[0] not in groups}
    for group, default in groups.items():
        names = chosen.get(group, default or "").strip("[]").split(",")
        for option in filter(None, (options.find(group, name, *folders) for name in names if name)):
            found |= {f"{group}.{key}": setting for key, setting in option.settings.items()}
        found |= {key: setting for key, setting in shared.items() if key.startswith(f"{group}.")}
    return found


def words(setting: Setting | None) -> tuple[str, ...]:
    """Return the words that a setting takes."""
    if setting is None or setting.field is None:
        return ()
    return ("true", "false") if setting.field.kind is bool else setting.field.words
