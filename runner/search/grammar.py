"""A space as it is typed: Hydra's grammar of sweeps, where a comma is a choice and an interval a range to draw from.

``init=he,xavier`` and ``choice(he,xavier)`` choose, ``range(1,5)`` and ``interval(0.1,0.9)`` draw a number,
``tag(log,interval(1e-4,1))`` draws it evenly in the logarithm, ``int(interval(8,512))`` a whole one. Several seeds,
splits or folds are no choices: each setting is run with all of them and judged by the mean. ``A + B + C`` searches
both A with B, and A with C.
"""

import itertools
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence

from runner.config.compose import Composer
from runner.config.hydra_door import Override
from runner.config.identity import REPLICATES
from runner.errors import ConfigError
from runner.search.space import Choice, Number, Parameter, Space
from runner.shell import key_of
from runner.sweep.plan import Grid, spell_out_seeds, split_parts

PART = "part"
"""The name of the choice between the parts of a union."""
LEAST_ORDERED = 3
"""So many numbers in a choice have an order worth knowing."""


def space_of(composer: Composer, overrides: Sequence[str]) -> Space:
    """Return the space that overrides name; its parameters are empty where they name none.

    Raises:
        ConfigError: naming what cannot be searched.
    """
    parts = split_parts(spell_out_seeds(overrides))
    if len(parts) > 1 and any(not part for part in parts[1:]):
        raise ConfigError("a lone + joins spaces: A + B + C searches A with B, and A with C; one of them is empty")
    shared, unions = parts[0], parts[1:]
    if any(override.partition("=")[0] == "experiment" for override in shared):
        shared, unions = _with_axes_of_experiment(composer, shared, unions)
    for part in unions:
        composer.parse([*shared, *part], sweep=True)  # a key of both is given twice
    parsed = composer.parse(shared, sweep=True)
    axes = [o for o in parsed if o.sweeps and o.key in REPLICATES]
    fixed, parameters = _read(composer, [o for o in parsed if o not in axes], shared)
    replicates = tuple(itertools.product(*([f"{o.key}={v}" for v in o.values()] for o in axes)))
    if not replicates:
        raise ConfigError(f"{' '.join(o.line for o in axes)} names no value")
    return Space(tuple(fixed), (*parameters, *_union(composer, shared, unions, fixed)), replicates)


def _with_axes_of_experiment(
    composer: Composer, shared: Sequence[str], unions: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    """Return what is given with the axes that an experiment has of its own, as in a sweep over it."""
    chosen = [o for o in shared if o.partition("=")[0] == "experiment"]
    if composer.parse(chosen, sweep=True)[0].sweeps:
        raise ConfigError(f"{chosen[0]}: an experiment is no choice of a search: give one")
    sweeper = composer.chosen_by(chosen)[0].sweeper
    own = [shlex.split(union) for union in sweeper.get("unions") or ()]
    if own and unions:
        raise ConfigError(f"{chosen[0]} joins spaces of its own: leave out the +")
    grid = Grid.of(sweeper.get("params") or {}, (), shared)
    return list(grid.shared), unions or own


def _union(
    composer: Composer, shared: Sequence[str], parts: Sequence[Sequence[str]], fixed: list[str]
) -> Iterator[Parameter]:
    """Yield the choice between the parts of a union, and what each part chooses; one part alone is no choice."""
    read = []
    for number, part in enumerate(parts):
        parsed = composer.parse(part, sweep=True)
        for override in parsed:
            if override.sweeps and override.key in REPLICATES:
                raise ConfigError(f"{override.line}: give it before the first +, so that all settings are judged alike")
        when = (PART, number) if len(parts) > 1 else None
        read.append(_read(composer, parsed, [*shared, *part], when))
    if len(parts) == 1:
        fixed += read[0][0]
    elif parts:
        yield Choice(PART, tuple(tuple(of_part) for of_part, _ in read))
    for _, parameters in read:
        yield from parameters


def _read(
    composer: Composer, parsed: Sequence[Override], beside: Sequence[str], when: tuple[str, int] | None = None
) -> tuple[list[str], list[Parameter]]:
    """Return what of some overrides is fixed, and what is to be chosen."""
    fixed: list[str] = []
    parameters: list[Parameter] = []
    suffix = f" in {PART} {when[1] + 1}" if when else ""
    for override in parsed:
        if override.of_hydra:
            raise ConfigError(f"{override.line} is for sweeps: of Hydra's keys a search takes those of hydra/launcher")
        if not override.sweeps:
            fixed.append(override.line)
            continue
        found = axis(override, f"{override.key}{suffix}", when, is_whole(composer, override.key, beside))
        if isinstance(found, str):
            fixed.append(found)
        else:
            parameters.append(found)
    return fixed, parameters


def is_whole(composer: Composer, key: str, beside: Sequence[str]) -> bool:
    """Say whether a setting is a whole number, as far as the options beside it tell."""
    chosen = [o for o in composer.parse(beside, sweep=True) if not o.sweeps and "." not in o.key]
    setting = composer.settings([o.line for o in chosen if o.key not in REPLICATES]).get(key)
    return setting is not None and setting.field is not None and setting.field.kind is int


def axis(override: Override, name: str, when: tuple[str, int] | None, whole: bool) -> Parameter | str:
    """Return what a sweep chooses among, or the override that is left where that is one value.

    Raises:
        ConfigError: if it is none, or no sampler could draw from it.
    """
    given, line, key = override.axis(), override.line, f"{override.sign}{override.key}"
    log = "log" in given.tags
    if odd := sorted(given.tags - {"log"}):
        raise ConfigError(f"{line}: the tag {odd[0]!r} means nothing to a search\nvalid: log")
    if given.shuffled:
        raise ConfigError(f"{line}: a search has no order that could be shuffled: leave shuffle out")
    if given.ends is not None:
        low, high = given.ends
        whole = whole or all(isinstance(end, int) for end in given.ends)
        _refuse_ends(line, low, high, log, whole)
        return Number(name, key, low, high, log, whole, when=when)
    values = list(override.values())
    if not values:
        raise ConfigError(f"{line} names no value")
    if len(values) == 1:
        return f"{key}={given.texts[0]}"
    if given.in_steps:
        low, high = min(values[0], values[-1]), max(values[0], values[-1])
        _refuse_ends(line, low, high, log, whole=False)
        whole = all(isinstance(value, int) for value in values)
        step = abs(values[1] - values[0])
        if log and (step != 1 or not whole):
            raise ConfigError(f"{line}: a log range has no steps: use tag(log,interval({low:g},{high:g}))")
        return Number(name, key, low, high, log, whole, None if whole and step == 1 else step, when=when)
    if log:
        raise ConfigError(f"{line}: tag(log,…) is for intervals and ranges, not for a list of values")
    order = _order(values)
    texts = [given.texts[i] for i in order or range(len(values))]
    if len(set(texts)) < len(texts):
        raise ConfigError(f"{line} names a value twice")
    return Choice(name, tuple((f"{key}={text}",) for text in texts), order is not None, when=when)


def _order(values: Sequence[object]) -> list[int] | None:
    """Return the places of values in rising order, where they are numbers and enough for that to tell."""
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < max(LEAST_ORDERED, len(values)) or not all(map(math.isfinite, numbers)):
        return None
    return sorted(range(len(numbers)), key=numbers.__getitem__)


def _refuse_ends(line: str, low: float, high: float, log: bool, whole: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"{line} needs two finite ends, the lower one first")
    if log and low <= 0:
        raise ConfigError(f"{line}: a log range must be above 0, got {low:g}: a logarithm has no 0")
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        raise ConfigError(f"{line} needs whole ends")


def keys_of(overrides: Sequence[str]) -> Mapping[str, str]:
    """Return what is given by its key, the signs before it left out."""
    return {key_of(o): o.partition("=")[2] for o in overrides if o != "+"}
