"""The commands that a report gives: what to use, and what would make the answer surer. Each is known to compose."""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from runner.config.chosen import GROUPS
from runner.config.compose import Composer
from runner.config.fields import REQUIRED
from runner.config.hydra_door import written
from runner.config.identity import choices, outside_identity
from runner.config.options import of_every_run, options
from runner.config.part_names import PART, SHOWN_AS, is_part, name_of_part
from runner.errors import ConfigError
from runner.run import record
from runner.shell import joined

RUNS = frozenset({"init.run", "compress.ticket.run", "regularization.distillation.run"})
GIVEN = RUNS | {"data.path", "metrics", "target.metric", "target.value"}
"""Choices that are given although they do not decide what a run finds: without them it would not be the same."""
AUTO_LOSS = {"accuracy": "cross_entropy", "r2": "mse"}
"""What ``loss=auto`` became, by the measure that such targets have."""


@dataclass(frozen=True)
class Overrides:
    """What is given on the command line to get a setting."""

    given: tuple[str, ...]
    doubt: str | None = None
    """Why it may not run as it stands."""


class Translator:
    """Turns rows of ``runs.csv`` into what is typed to get them."""

    def __init__(
        self, columns: Sequence[str], varying: Sequence[str], root: str | None, config_dir: str | None = None
    ) -> None:
        """Prepare for rows of one sweep.

        Args:
            columns: the choices that make a setting: replicates left out.
            varying: choices that are given even where they are the defaults, first.
            root: where the data lie, if a config says.
            config_dir: the folder of the user's own YAMLs, if named.
        """
        self._columns = [c for c in columns if c not in outside_identity() - GIVEN]
        self._varying, self._root = varying, root
        self._composer = Composer.over(config_dir)
        self._front = ("--config-dir", config_dir) if config_dir else ()
        self._default = _cells(self._composer.compose([]).config)

    def overrides(self, row: "pd.Series[str]") -> Overrides:
        """Return the overrides that compose to a run's choices, those that differ from the defaults."""
        wanted, varying = self._as_typed({c: str(row[c]) for c in self._columns}), self._varying
        auto = next((loss for measure, loss in AUTO_LOSS.items() if row.get(f"final_val_{measure}")), "auto")
        kept = [c for c in GROUPS if c in wanted and wanted[c] and (c in varying or wanted[c] != self._default.get(c))]
        given_too = {*varying, *_needed(wanted)}
        groups = _in_order(kept, varying, wanted)  # as below: Hydra composes a combination once
        try:
            base = _cells(self._composer.compose(_enough(groups, wanted)).config, auto)
            # A column of other runs' options is empty here, and no key of these.
            settings = [c for c in wanted if c not in GROUPS and (c in base or wanted[c])]
            differing = [*kept, *(c for c in settings if c in given_too or wanted[c] != base.get(c, ""))]
        except ConfigError:  # the options do not go together without their settings, or are the user's own
            differing = [c for c in wanted if wanted[c] and (c in varying or wanted[c] != self._default.get(c))]
        given = _in_order(differing, varying, wanted)
        try:
            # With the groups that are at their defaults written out: what is typed without them composes to the same,
            # and what composes to the same is composed once.
            config = self._composer.compose([*groups, *(o for o in given if o not in groups)]).config
        except ConfigError as error:
            return Overrides((*self._front, *given), str(error).partition("\n")[0])
        found = _cells(config, auto)
        if self._root is not None and config.get("data", {}).get("root", self._root) != self._root:
            given.append(override("data.root", self._root))
        wrong = [c for c in wanted if wanted[c] != found.get(c, "")]
        doubt = f"{wrong[0]} would be {found.get(wrong[0])!r} instead of {wanted[wrong[0]]!r}" if wrong else None
        return Overrides((*self._front, *given), doubt)

    def _as_typed(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """Return a row's choices with the user's own parts as they are asked for, not as they are called."""
        typed = dict(wanted)
        for group in GROUPS:
            name, target = wanted.get(group, ""), wanted.get(f"{group}.target", "")
            if not target or name in (valid := self._composer.options_of(group)):
                continue
            name = name.removesuffix(f" ({target})")  # as parts of one name are told apart
            typed[group] = name if name in valid else PART
            if name not in (*valid, target, name_of_part(group, target)):
                typed[f"{group}.{SHOWN_AS}"] = name
        return typed


def _needed(wanted: Mapping[str, str]) -> set[str]:
    """Return the settings that the chosen options cannot do without: whose default is ``???``, or that go together."""
    needed = {"data.folds", "data.fold"} if wanted.get("data.folds") else set()
    needed |= {key for key in ("data.weights", "data.targets") if wanted.get(key)}
    if "target" in wanted.get("stop", "").split("+"):
        needed |= {"target.metric", "target.value"}
    return needed | {
        f"{group}.{key}"
        for group in GROUPS
        for option in options(group)
        if option.name == wanted.get(group)
        for key, setting in option.spec.settings.items()
        if setting.default == REQUIRED or ((setting.a_run or setting.a_file) and wanted.get(f"{group}.{key}"))
    }


def _enough(groups: Sequence[str], wanted: Mapping[str, str]) -> list[str]:
    """Return a setting's options with what they cannot do without."""
    return [*groups, *(override(k, wanted[k]) for k in sorted(_needed(wanted)) if wanted.get(k))]


def _cells(config: Mapping[str, Any], loss: str = "auto") -> dict[str, str]:
    """Return a config's choices as they stand in ``runs.csv``, where ``loss=auto`` is what it became."""
    cells = {k: str(record.cell(v)) for k, v in choices(dict(config)).items()}
    for group in GROUPS:
        if is_part(option := config.get(group) or {}):
            cells |= {group: PART, f"{group}.{SHOWN_AS}": option.get(SHOWN_AS) or ""}
    return cells | ({"loss": loss} if cells.get("loss") == "auto" else {})


def _in_order(columns: Sequence[str], first: Sequence[str], wanted: Mapping[str, str]) -> list[str]:
    leading = [c for c in first if c in columns and wanted.get(c)]
    # An option stands before its settings: optim=sgd optim.lr=0.1.
    leading = [c for key in leading for c in (key.partition(".")[0], key) if c in columns and wanted.get(c)]
    ordered = list(dict.fromkeys([*leading, *columns]))
    return [_group(c, wanted[c]) if c in GROUPS else override(c, wanted[c]) for c in ordered if c in wanted]


def _group(group: str, option: str) -> str:
    names = option.split("+")
    return f"{group}=[{','.join(names)}]" if len(names) > 1 else f"{group}={option}"


def override(key: str, cell: str) -> str:
    """Return ``key=value`` of a cell, as it is typed."""
    if cell == "":
        return f"{key}=null"
    if re.match(r"'[=+\-@\t\r]", cell):
        cell = cell[1:]  # the apostrophe is for spreadsheets
    some, always = _are_texts(key)
    if some and (always or cell[0] != "["):
        return f"{key}={written(cell)}"
    if cell[0] in "[{":
        try:
            return f"{key}={written(json.loads(cell))}"
        except ValueError:
            pass
    return f"{key}={cell}" if re.fullmatch(r"[-+.\w/:%@]+", cell) else f"{key}={written(cell)}"


@functools.cache
def _are_texts(key: str) -> tuple[bool, bool]:
    """Say whether a shipped option, or every run, has a setting of that key that takes one text, and whether all do."""
    group, _, rest = key.partition(".")
    found = [option.settings[rest] for option in options(group) if rest in option.settings]
    found += [setting for name, setting in of_every_run().spec.settings.items() if name == key]
    texts = [s.field is not None and s.field.kind is str and s.field.length is None for s in found]
    return any(texts), bool(texts) and all(texts)


def train(given: Sequence[str]) -> str:
    """Return the command of one run."""
    return joined(["optbench", "train", *given])


def sweep(shared: Sequence[str], parts: Sequence[Sequence[str]]) -> str:
    """Return the command of a sweep: what all runs share, then each part's own, joined by a lone plus."""
    if len(parts) == 1:
        return joined(["optbench", "train", "-m", *shared, *parts[0]])
    return joined(["optbench", "train", "-m", *shared, *(word for part in parts for word in ("+", *part))])


def split_shared(settings: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Divide settings' overrides into those that all have and each one's own."""
    shared = [o for o in settings[0] if all(o in other for other in settings)]
    return shared, [[o for o in setting if o not in shared] for setting in settings]
