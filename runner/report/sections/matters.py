"""What matters: what each axis is worth at its own best of everything else, and which axes depend on each other."""

from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from runner.report.equivalent import equivalents
from runner.report.section import Section, Table
from runner.report.sections.trouble import MOST_FACTORS, shares_explained
from runner.report.settings import LR, Workload, number
from runner.statistics.effects import Interaction, effect, interactions
from runner.statistics.scores import LEVEL, Interval

TITLES = {
    "init": "initializer",
    "optim": "optimizer",
    LR: "learning rate",
    "scheduler": "schedule",
    "batch.size": "batch size",
}
NAMED = 3
"""A sentence names so many levels."""
MOST_LEVELS = 8
"""Interactions are looked for between axes of so many levels."""


@dataclass(frozen=True)
class Level:
    """One value of an axis, held against the best one."""

    axis: str
    value: str
    setting: int
    """Its best one."""
    difference: Interval
    """The score of the axis's best level less this one's; of the best level itself, 0."""
    verdict: str
    """``best``; ``worse`` outside the set that can be the best; inside it ``ahead`` where the paired interval lies
    above 0, ``equivalent`` where it lies within the margin and the answer says the same, or ``open``;
    ``diverges or fails``, ``no value yet`` or ``one seed``."""


@lru_cache(maxsize=8)  # the text asks, then the page
def levels(workload: Workload) -> tuple[Level, ...]:
    """Return every axis's levels, best first, each at its own best of all other axes.

    A learning rate means something else to each optimizer: rates are those of the best setting's optimizer.
    """
    found = []
    for axis in workload.axes:
        optim = _compared_within(workload, axis)
        best_of = workload.best_of([axis] if optim is None else ["optim", axis])
        ranked = sorted((setting, at[-1]) for at, setting in best_of.items() if optim is None or at[0] == optim)
        best = ranked[0][0]
        for setting, level in ranked:
            difference = effect(workload.scores, best, setting, workload.step)
            verdict = _verdict(workload, best, setting, difference)
            # The set tells more than three pairs do, and than seeds that the two do not share.
            if (verdict == "worse" and not difference.low > 0) or (verdict != "one seed" and not difference.known):
                difference = _of_the_set(workload, setting, difference)
            found.append(Level(axis, level, setting, difference, verdict))
    return tuple(found)


def _compared_within(workload: Workload, axis: str) -> str | None:
    """Return the optimizer with which an axis's levels are compared: of learning rates the best setting's."""
    return str(workload.table.at[0, "optim"]) if axis == LR and {LR, "optim"} <= set(workload.axes) else None


def _of_the_set(workload: Workload, setting: int, paired: Interval) -> Interval:
    """Return a setting's difference to the leader as the table of settings has it."""
    sign = -workload.measure.sign
    low, high = sorted(sign * workload.of(setting, f"difference_{end}") for end in ("low", "high"))
    return Interval(sign * workload.of(setting, "difference"), low, high, paired.n)


def _verdict(workload: Workload, best: int, setting: int, difference: Interval) -> str:
    if setting == best:
        return "best"
    if setting >= workload.contenders:
        return "diverges or fails" if workload.of(setting, "bad") else "no value yet"
    if not workload.of(setting, "in_set"):
        return "worse"
    if not difference.known:
        return "one seed" if min(workload.of(s, "n") for s in (best, setting)) < 2 else "open"
    if difference.low > 0:
        return "ahead"
    margin = workload.margin or 0.0
    alike = -margin < difference.low and difference.high < margin and setting in equivalents(workload)
    return "equivalent" if alike else "open"


@lru_cache(maxsize=8)
def crossed(workload: Workload) -> dict[tuple[str, str], list[Interaction]]:
    """Return the contrasts of every two axes with few levels, the surest first.

    The learning rate is no such axis: each pair of levels stands at its own best one.
    """
    axes = [a for a in workload.axes if a != LR and 1 < len(workload.levels(a)) <= MOST_LEVELS]
    found = {}
    for i, one in enumerate(axes):
        for other in axes[i + 1 :]:
            best = {(a, b): s for (a, b), s in workload.best_of([one, other]).items() if s < workload.contenders}
            found[one, other] = interactions(workload.scores, best, workload.step)
    return {pair: contrasts for pair, contrasts in found.items() if contrasts}


def sentences(workload: Workload) -> tuple[str, ...]:
    """Say in a sentence for each axis what it is worth, then which matters most and what depends on what."""
    if workload.best is None or not workload.axes or workload.of(0, "n") < 2:
        return ()
    by_axis: dict[str, list[Level]] = {}
    for level in levels(workload):
        by_axis.setdefault(level.axis, []).append(level)
    said = [_sentence(workload, axis, found) for axis, found in by_axis.items() if len(found) > 1]
    said += [_interaction(workload, pair, found[0]) for pair, found in crossed(workload).items() if _real(found[0])]
    shares = shares_explained(workload)
    if shares is not None:
        most = shares[shares["choice"].isin(workload.axes)].iloc[0]
        share = float(most["share"])
        if share > 0:
            varied = [axis for axis in workload.axes if len(workload.levels(axis)) > 1]
            among = "over the whole grid" if len(varied) <= MOST_FACTORS else f"of {', '.join(varied[:MOST_FACTORS])}"
            said.append(
                f"The {_title(str(most['choice']))} matters most {among}: "
                f"it explains {100 * share:.0f} % of the differences between runs."
            )
    return tuple(said)


def _real(contrast: Interaction) -> bool:
    return contrast.p <= 1 - LEVEL


def _title(axis: str) -> str:
    return TITLES.get(axis, axis)


def _by(workload: Workload, difference: Interval) -> str:
    return workload.measure.by(difference.mean, difference.low, difference.high)


def _sentence(workload: Workload, axis: str, found: list[Level]) -> str:
    best, others = found[0], found[1:]
    first = number(best.value) or "–"

    def named(verdict: str) -> list[Level]:
        return [level for level in others if level.verdict == verdict]

    parts = []
    if worse := named("worse"):
        them = [f"{number(x.value) or '–'} by {_by(workload, x.difference)}" for x in worse[:NAMED]]
        more = f" and {len(worse) - NAMED} more" if len(worse) > NAMED else ""
        parts.append(f"{first} beats {', '.join(them)}{more}")
    for verdict, word in (
        ("ahead", "is ahead of, but does not rule out,"),
        ("equivalent", "is as good as"),
        ("open", "cannot be told from"),
    ):
        if some := named(verdict):
            them = [f"{number(x.value) or '–'} ({_by(workload, x.difference)})" for x in some[:NAMED]]
            more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
            parts.append(f"{'it' if parts else first} {word} {', '.join(them)}{more}")
    for verdict in ("diverges or fails", "one seed", "no value yet"):
        if some := named(verdict):
            values = ", ".join(number(x.value) or "–" for x in some[:NAMED])
            more = f" and {len(some) - NAMED} more" if len(some) > NAMED else ""
            has = {"one seed": "with one seed only", "no value yet": "without a value yet"}.get(verdict, verdict)
            parts.append(f"{values}{more}: {has}" if has != verdict else f"{values}{more} {verdict} more often")
    title = _title(axis)
    if optim := _compared_within(workload, axis):
        title += f" with {optim}"
    return f"{title[:1].upper()}{title[1:]}: {'; '.join(parts)}."


def _interaction(workload: Workload, pair: tuple[str, str], contrast: Interaction) -> str:
    (a, b), (x, y) = (tuple(number(v) or "–" for v in names) for names in (contrast.levels, contrast.at))
    gain, other = contrast.gains
    measure = workload.measure
    return (
        f"{_title(pair[0]).capitalize()} and {_title(pair[1])} depend on each other: {a} against {b} gains "
        f"{measure.amount(gain.mean)} with {x} and {measure.amount(other.mean)} with {y}, a difference of "
        f"{_by(workload, contrast.difference)}."
    )


def matters(workload: Workload) -> Section | None:
    """Show every axis's levels, and the contrasts between axes."""
    if workload.best is None or not workload.axes or len(workload.table) < 2:
        return None
    sign = workload.measure.sign
    rows = []
    for level in levels(workload):
        setting, held = level.setting, level.difference
        ends = sorted((-sign * held.low, -sign * held.high))
        alone = level.verdict == "best"
        rows.append(
            {"axis": level.axis, "level": level.value, "verdict": level.verdict, "mean": workload.of(setting, "mean")}
            | {"difference": float("nan") if alone else -sign * held.mean}
            | {"low": float("nan") if alone else ends[0], "high": float("nan") if alone else ends[1]}
            | {"seeds": held.n, "at": workload.words(setting)}
        )
    contrasts = [
        {"axes": " × ".join(pair), "one": c.levels[0], "other": c.levels[1], "at": c.at[0], "and at": c.at[1]}
        | {"gain": c.gains[0].mean, "gain there": c.gains[1].mean, "difference": c.difference.mean, "p": c.p}
        for pair, found in crossed(workload).items()
        for c in found
    ]
    said = [
        "Each level of an axis stands for its own best setting of all other axes, and is held against the axis's best "
        "level seed by seed (95 % interval of the paired difference). The settings are chosen on the seeds that judge "
        "them, which flatters levels with more to choose from a little."
    ]
    if optim := _compared_within(workload, LR):
        said.append(f"Learning rates are compared with {optim} alone: to each optimizer a rate means something else.")
    tables = [Table("effects", "What each choice is worth", pd.DataFrame(rows))]
    if contrasts:
        said.append(
            "Contrasts ask whether what one choice gains depends on another: the difference of the gains, with p "
            "corrected for all contrasts of the two axes (Holm)."
        )
        tables.append(Table("interactions", "What depends on what", pd.DataFrame(contrasts), folded=True))
    return Section("What is each choice worth?", tuple(said), (), tuple(tables))
