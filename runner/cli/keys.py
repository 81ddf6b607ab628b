"""The keys of every run and of the options, as help and completion show them. Reads the YAMLs alone: it is quick."""

from collections.abc import Mapping
from pathlib import Path

from runner.config import fields, schema
from runner.config.options import Option, configs_dir, groups, options, read_option, shared


def of_option(option: Option) -> list[tuple[str, str]]:
    """Return (``key: default``, what it means) of an option's settings."""
    return list(option.settings)


def of_every_run() -> list[tuple[str, str]]:
    """Return (``key: default``, what it means) of the keys that every run has, those in sections dotted."""
    text = (configs_dir() / "config.yaml").read_text(encoding="utf-8")
    top = {line.partition(":")[0] for line in text.splitlines() if line[:1].isalpha()}
    found = [s for s in of_option(read_option(configs_dir() / "config.yaml")) if _key(s[0]) in top]
    return [*found, *((f"{section}.{text}", about) for section in schema.SECTIONS for text, about in shared(section))]


def settable(chosen: Mapping[str, str], *folders: Path) -> list[str]:
    """Return the keys that can be set beside the chosen options, such as ``{"optim": "sgd"}``."""
    found = [_key(text) for text, _ in of_every_run()]
    for group in groups():
        names = chosen.get(group, _default(group)).strip("[]").split(",")
        chosen_options = [o for o in options(group, *folders) if o.name in names]
        found += [f"{group}.{key}" for option in chosen_options for key in schema.settings(group, option)]
        found += [f"{group}.{_key(text)}" for text, _ in shared(group)]
    return list(dict.fromkeys(found))


def words(key: str) -> tuple[str, ...]:
    """Return the words that a key takes."""
    field = fields.FIELDS.get(key)
    if field is None:
        return ()
    return ("true", "false") if field.kind is bool else field.words


def _key(text: str) -> str:
    return text.partition(":")[0]


def _default(group: str) -> str:
    for line in (configs_dir() / "config.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"  - {group}: "):
            return line.partition(": ")[2].strip()
    return ""
