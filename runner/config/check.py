"""What a config may hold: every value typed and in range, and nothing that cannot go together."""

import math
import re
from collections.abc import Mapping
from typing import Any

from runner.config import scope
from runner.config.canonical import canonical
from runner.config.chosen import GROUPS, Chosen, Config, chosen, refuse_unknown
from runner.config.conflicts import COMPARED, version_of
from runner.config.fields import BOUNDS, REQUIRED, show
from runner.config.options import COMBINED_GROUPS, options, options_in
from runner.config.part_names import PART, refuse_no_name
from runner.config.specs import INTERNAL, Setting
from runner.errors import ConfigError

LONGEST_NAME = 100
"""Bytes."""


def check(config: Config, known: Chosen | None = None) -> Config:
    """Return the canonical config: every value typed and in range, defaults filled in, names canonical.

    Args:
        config: as it was composed, or read from a run's folder.
        known: what is known of its options; None finds it by their names.

    Raises:
        ConfigError: naming the first key that is wrong, its value and what is valid.
    """
    known = known or chosen(config)
    if known.used is not None:
        config = scope.narrowed(config, known.used, known.unused)
    else:
        config = {**config, **{group: config.get(group) or {} for group in COMBINED_GROUPS}}
        config.pop(scope.TASK, None)  # our loop's runs are called what they were before there was another task
    refuse_unknown(config, known)
    checked = _typed(config, known)
    _refuse_no_folder(checked["name"])
    for group in (group for group in GROUPS if group in checked):
        refuse_no_name(group, checked[group])
    values = by_key(checked)
    for conflict in known.conflicts:
        if conflict.holds(values):
            raise ConfigError(conflict.message(values))
    _refuse_unfit(values, known)
    _refuse_drawn_over(values, known)
    _refuse_mup(checked, known)
    return canonical(checked, known)


def doubts(config: Config, known: Chosen) -> list[str]:
    """Return what can be run and is seldom meant."""
    values = by_key(config)
    return [doubt.message(values) for doubt in known.doubts if doubt.holds(values)]


def mistake(config: Config, known: Chosen, version: str) -> str | None:
    """Return what a version of optbench did wrongly in such a run; None where nothing is known."""
    possible = [m.of for m in known.mistakes if version_of(version) < m.before]
    values = by_key(config) if possible else {}
    return next((of.message(values) for of in possible if of.holds(values)), None)


def sized(config: Config, size: int, micro: int | None, known: Chosen) -> tuple[Config, Chosen]:
    """Return a config in which ``batch=auto`` is the fixed size that it came to, and what is known of its options."""
    fixed = {"_option_": "fixed", "_target_": "runner.batch.fixed", "size": size, "micro": micro}
    fixed |= {key: config["batch"][key] for key in ("shuffle", "drop_last")}
    known = known.having("batch", "fixed")
    return check({**config, "batch": fixed}, known), known


def leaves(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return every value by its dotted key."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and key != "args":
            flat |= leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def by_key(config: Config) -> dict[str, Any]:
    """Return every value by its dotted key, and of each group the option chosen, or those that are."""
    names = {
        g: sorted(options_in(config[g])) if g in COMBINED_GROUPS else config[g]["_option_"]
        for g in GROUPS
        if g in config
    }
    return leaves(config) | names


def _typed(config: Config, known: Chosen, prefix: str = "") -> Config:
    typed: Config = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        field = known.settings[path].field if path in known.settings else None
        if key in INTERNAL:
            typed[key] = value
        elif value == REQUIRED:
            said = f"{path} must be given{f': {field.describe()}' if field else ''}"
            raise ConfigError(said + (known.settings[path].shown_template if field else ""))
        elif field is not None:
            typed[key] = _parsed(path, value, known.settings[path])
        elif isinstance(value, dict):
            typed[key] = _typed(value, known, f"{path}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{path} must be finite, got {value}")
        else:
            typed[key] = value
        if key == "args":
            _check_arguments(value, path)
    return typed


def _parsed(path: str, value: object, setting: Setting) -> Any:
    """Return a value in its own type; what is no import path where one is asked for is answered with a template."""
    assert setting.field is not None, "it is known which values are valid"
    try:
        return setting.field.parse(path, value)
    except ConfigError as error:
        misspelt = "did you mean" in str(error) and value != PART
        if not setting.template or misspelt:
            raise
        raise ConfigError(f"{error}{setting.shown_template}") from error


def _check_arguments(value: object, path: str) -> None:
    """Refuse what a run id cannot be made of: anything but finite numbers, texts, flags, null, lists and key: value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{path} must have texts as keys, got {show(key)}")
            _check_arguments(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            _check_arguments(inner, f"{path}[{i}]")
    elif not (value is None or isinstance(value, bool | int | float | str)) or (
        isinstance(value, float) and not math.isfinite(value)
    ):
        raise ConfigError(f"{path} must be a finite number, a text, a flag, a list or null, got {show(value)}")


def _refuse_no_folder(name: str) -> None:
    if len(name.encode()) > LONGEST_NAME:
        raise ConfigError(f"name must be at most {LONGEST_NAME} bytes long, got {len(name.encode())}")
    if re.search(r"[/\\\x00-\x1f]", name) or name.strip(". ") == "":
        raise ConfigError(f"name must be a folder's name without path separators, got {show(name)}")


def _refuse_unfit(values: Mapping[str, Any], known: Chosen) -> None:
    """Refuse values out of bounds that are other settings of their option."""
    for key, setting in known.settings.items():
        for bound, name in setting.relative.items():
            other = f"{key.rpartition('.')[0]}.{name}"
            value, limit = values.get(key), values.get(other)
            if value is not None and limit is not None and not COMPARED[bound](value, limit):
                raise ConfigError(f"{key} must be {BOUNDS[bound]} {other}={show(limit)}, got {show(value)}")


def _refuse_drawn_over(values: Mapping[str, Any], known: Chosen) -> None:
    """Refuse a model that comes with weights beside an initializer, which would draw them anew."""
    for key, setting in known.settings.items():
        given = key.startswith("model.") and setting.a_file and values.get(key) is not None
        if given and not known.fact("init", "as_built"):
            raise ConfigError(
                f"{key}={values[key]} beside init={values['init']}, which would put others in their place: "
                "use init=default, with init.head for a last layer of another size"
            )


def _refuse_mup(config: Config, known: Chosen) -> None:
    """Refuse networks in muP of which no rule says how they follow the width."""
    if not {"model", "optim", "init"} <= config.keys():
        return
    model, optim = config["model"], config["optim"]["_option_"]
    if not model["_target_"].startswith("runner.model."):
        return
    if not model.get("mup"):
        if (width := model.get("base_width")) is not None:
            raise ConfigError(f"model.base_width={width} does nothing without model.mup=true: add it, or leave it out")
        return
    if model.get("base_width") is None and known.fact("model", "base_width") is None:
        raise ConfigError("model.mup=true needs model.base_width, the width at which it changes nothing")
    if len(set(model.get("widths") or ())) > 1:
        raise ConfigError(f"model.mup=true needs hidden layers of one width, got model.widths={model['widths']}")
    if known.fact("optim", "mup_rule") is None:
        raise ConfigError(
            f"model.mup=true beside optim={optim}: no rule is known by which its learning rates follow the width\n"
            f"valid: {', '.join(option.name for option in options('optim') if 'mup_rule' in option.spec.facts)}"
        )
    if known.fact("init", "variance") is None:
        raise ConfigError(
            f"model.mup=true beside init={config['init']['_option_']}, of whose variance nobody knows how it depends "
            "on the width: its YAML may say so (_spec_.facts.variance), or use init=he, lecun_normal or normal"
        )
