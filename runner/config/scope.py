"""What of a config its task uses: all where our loop trains, and what its YAML names where one's own function does.

    _option_: forest
    _target_: mymodule.train
    trees: 100
    _spec_:
      settings:
        trees: {ge: 1}
      facts: {uses: [data, epochs]}

``uses`` names groups and keys of every run. All others are in neither the config, the id nor the columns of such a
run, and are refused where they are given.
"""

from collections.abc import Mapping
from typing import Any

from runner.config.fields import show
from runner.config.options import COMBINED_GROUPS, default_choices, name_of, of_every_run
from runner.config.specs import Setting, Spec
from runner.errors import ConfigError, closest

TASK = "task"
LOOP = "runner.task.train"
"""The function of the task that is ours."""
ALWAYS = (TASK, "name", "seed", "force", "pause_at", "retry", "dry_run", "workers", "skip_invalid", "fail_fast")
"""What every run has, whatever trains."""
LEFT = ("engine", "save", "snapshots", "baselines")
"""What every run's config holds and only our loop heeds."""
OURS = (*LEFT, "parallel", "metrics", "diagnostics", "sharpness", "compile", "target", "experiment")
"""What no function of one's own can use: our loop measures by it."""


def is_own(config: Mapping[str, Any]) -> bool:
    """Say whether a function of one's own trains, and not our loop."""
    return TASK in config and config[TASK].get("_target_") != LOOP


def used_by(spec: Spec, where: str) -> frozenset[str]:
    """Return the groups and keys that a task uses, by its YAML, and those that every run has.

    Raises:
        ConfigError: if it names what nobody can use.
    """
    said = spec.facts.get("uses", [])
    valid = sorted({*_groups(), *(key.partition(".")[0] for key in of_every_run().spec.settings)} - {*ALWAYS, *OURS})
    if not isinstance(said, list):
        raise ConfigError(f"{where}._spec_.facts.uses must be a list of groups and keys of every run, got {show(said)}")
    for name in said:
        if name not in valid:
            hint = closest(str(name), valid)
            raise ConfigError(f"{where}._spec_.facts.uses: {name!r} is no group or key that a task can use{hint}\n"
                              f"valid: {', '.join(valid)}")  # fmt: skip
    return frozenset({*said, *ALWAYS})


def narrowed(config: Mapping[str, Any], used: frozenset[str], unused: Mapping[str, Setting]) -> dict[str, Any]:
    """Return what of a config its task uses.

    Args:
        config: as it was composed.
        used: the groups and keys.
        unused: the settings of all others, by dotted key.

    Raises:
        ConfigError: if a file gave one of the others.
    """
    for group, default in default_choices().items():
        node = config.get(group)
        if group in used or not node:
            continue
        option = name_of(group, node) if group in COMBINED_GROUPS else node.get("_option_")
        if option != default:
            refuse(group, f"{group}={option}", config[TASK]["_option_"], used)
    for key, setting in unused.items():
        value: Any = config
        for name in key.split("."):
            value = value.get(name, setting.default) if isinstance(value, Mapping) else setting.default
        if value != setting.default:
            refuse(key.partition(".")[0], f"{key}={show(value)}", config[TASK]["_option_"], used)
    return {key: value for key, value in config.items() if key in used or key in LEFT}


def refuse_unused(key: str, given: str, task: str, used: frozenset[str]) -> None:
    """Refuse what a command line gives and the task does not use; a key that nobody knows is left to others.

    Raises:
        ConfigError: naming it, and what the task takes.
    """
    top = key.partition(".")[0]
    known = {*_groups(), *(name.partition(".")[0] for name in of_every_run().spec.settings)}
    if top in known and top not in used and top != "experiment":
        refuse(top, given, task, used)


def refuse(top: str, given: str, task: str, used: frozenset[str]) -> None:
    """Say that a task does not use a group or key that is given, and how it could.

    Raises:
        ConfigError: always.
    """
    others = sorted(used - {*ALWAYS})
    valid = ", ".join(["task.*", *(f"{name}.*" if name in _groups() else name for name in others), *ALWAYS[1:]])
    could = "" if top in OURS else f" (its YAML may say so: _spec_.facts.uses: [{', '.join([*others, top])}])"
    raise ConfigError(f"{given} is given, and task={task} does not use {top}{could}\nvalid: {valid}")


def _groups() -> set[str]:
    return set(default_choices())
