"""The space of a search that is given none: options that are candidates, each with the default ranges of its settings.

Both stand in an option's own YAML, ``_spec_.candidate`` and ``_spec_.search``, and nowhere else. What a command line
gives is not searched; of an option that it gives, the ranges are. The model and the data are what is asked about: they
stay as they are given.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.config.check import leaves
from runner.config.chosen import Config
from runner.config.compose import Composer
from runner.config.options import COMBINED_GROUPS, Option, default_choices, find, options, options_in
from runner.errors import ConfigError
from runner.search.grammar import axis, is_whole, keys_of
from runner.search.space import Choice, Parameter, Space

Refusal = Callable[[Sequence[str]], str | None]
"""Says why a run cannot be run; None where it can."""
NONE = "none"


@dataclass(frozen=True)
class Defaults:
    """A default space, and what is not in it."""

    space: Space
    left_out: tuple[str, ...]
    """Candidates that cannot be run beside what is given, and why."""


def default_space(composer: Composer, given: Space, refusal: Refusal) -> Defaults:
    """Return the default space around what is given.

    Args:
        composer: of all folders.
        given: a space without parameters: what is fixed, and the replicates.
        refusal: says what cannot be run.

    Raises:
        ConfigError: if what is given cannot be run, or nothing is left to choose.
    """
    fixed, keys = list(given.fixed), {**_of_experiment(composer, given.fixed), **keys_of(given.fixed)}
    folders = (Path(composer.config_dir),) if composer.config_dir else ()
    if reason := refusal([*fixed, *given.replicates[0]]):
        raise ConfigError(reason)
    known = composer.compose([*fixed, *given.replicates[0]]).known
    parameters: list[Parameter] = []
    left_out: list[str] = []
    for group in default_choices():
        if group == "experiment" or not known.uses(group):
            continue
        if group in keys:
            names = map(str.strip, keys[group].strip("[]").split(","))
            given_ones = filter(None, (find(group, name, *folders) for name in names))
            parameters += [p for o in given_ones for p in ranges(composer, o, keys, fixed, None)]
            continue
        able: list[tuple[Option | None, str]] = []
        for option in _candidates(group, folders):
            choice = f"{group}={option.name}"
            beside = [*fixed, choice, *_at_least(composer, option, keys, fixed)]
            if reason := refusal([*beside, *given.replicates[0]]):
                left_out.append(f"{choice}: {reason.partition(chr(10))[0]}")
            else:
                able.append((option, choice))
        if able and group in COMBINED_GROUPS:
            able.insert(0, (None, f"{group}={NONE}"))
        several = len(able) > 1
        parameters += [Choice(group, tuple((choice,) for _, choice in able))] if several else []
        fixed += [] if several else [choice for _, choice in able]
        for place, (candidate, _) in enumerate(able):
            when = (group, place) if several else None
            parameters += ranges(composer, candidate, keys, fixed, when) if candidate else []
    if not parameters:
        raise ConfigError("nothing is left to search: give a space, such as 'optim.lr=tag(log,interval(1e-4,1))'")
    return Defaults(Space(tuple(fixed), tuple(parameters), given.replicates), tuple(left_out))


def _of_experiment(composer: Composer, fixed: Sequence[str]) -> dict[str, str]:
    """Return the groups and settings that an experiment has otherwise than the defaults, by their keys."""
    chosen = [o for o in fixed if o.partition("=")[0] == "experiment"]
    if not chosen:
        return {}
    config, plain = (composer.chosen_by(choices)[1] for choices in (chosen, []))
    groups = [group for group in default_choices() if group in config]
    found = {g: ",".join(_names(g, config)) for g in groups if _names(g, config) != _names(g, plain)}
    values = leaves(config)
    settings = composer.settings(chosen)
    return found | {k: str(values[k]) for k, one in settings.items() if k in values and values[k] != one.default}


def _names(group: str, config: Config) -> list[str]:
    chosen = config.get(group) or {}
    return list(options_in(chosen)) if group in COMBINED_GROUPS else [str(chosen.get("_option_"))]


def _candidates(group: str, folders: Sequence[Path]) -> list[Option]:
    """Return the options of a group that a search chooses among; those of another name are no others."""
    found = [option for option in options(group, *folders) if option.spec.candidate]
    return [o for o in found if o.content.get("_option_", o.name) == o.name]


def ranges(
    composer: Composer, option: Option, keys: Collection[str], fixed: Sequence[str], when: tuple[str, int] | None
) -> list[Parameter]:
    """Return the default ranges of an option's settings, those that are given left out."""
    inside = f"{option.group}.{option.name}" if option.group in COMBINED_GROUPS else option.group
    suffix = f" of {option.name}" if when and inside == option.group else ""
    chosen = [o for o in fixed if o.partition("=")[0] != option.group]
    beside = [*chosen, f"{option.group}={option.name}"]
    found = []
    for key, text in option.spec.search.items():
        name = f"{inside}.{key}"
        if name in keys:
            continue
        override = composer.parse([f"{name}={text}"], sweep=True)[0]
        parameter = axis(override, f"{name}{suffix}", when, is_whole(composer, name, beside))
        if isinstance(parameter, str):
            raise ConfigError(f"{option.path}: _spec_.search.{key} must give several values, got {text}")
        found.append(parameter)
    return found


def _at_least(composer: Composer, option: Option, keys: Collection[str], fixed: Sequence[str]) -> list[str]:
    """Return the overrides of an option's settings at their first values."""
    found = ranges(composer, option, keys, fixed, None)
    return [override for p in found for override in p.overrides(p.ends[0])]
