"""Which runs are one: the leaves of a config that decide what is found, the run id, the folder and the columns."""

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from runner.config.check import leaves
from runner.config.chosen import GROUPS, Chosen, Config, chosen
from runner.config.options import COMBINED_GROUPS, name_of, of_every_run, options, options_in, sections
from runner.config.part_names import SHOWN_AS, shown
from runner.config.scope import TASK, is_own
from runner.config.specs import INTERNAL

OUTSIDE = ("parallel",)
"""Groups of which options may be combined that change how a run is trained, and not what it finds."""
CONTROL = (
    *("name", "engine", "save", "snapshots", "force", "pause_at", "retry", "dry_run"),
    *("workers", "skip_invalid", "fail_fast", "baselines"),
)
"""Keys that are no choices of a run."""
OF_SWEEPS = ("workers", "skip_invalid", "fail_fast")
"""Of these, what a single run does not take."""
REPLICATES = ("seed", "data.split_seed", "data.bootstrap", "data.fold")
"""Choices that make another run of the same setting."""


def identity(config: Config, fingerprint: str, parts: Mapping[str, str], known: Chosen | None = None) -> dict[str, Any]:
    """Return the leaves that decide what a run finds, with its data's fingerprint and its own parts' sources.

    Args:
        config: a canonical one.
        fingerprint: of the data.
        parts: digests of the user's own parts, by the key that names each.
        known: what is known of its options; None finds it by their names.
    """
    known = known or chosen(config)
    inside = {k: v for k, v in leaves(config).items() if not k.endswith("_target_") and not _is_outside(k, v, known)}
    if config.get("data", {}).get("_option_") == "concat":  # whose arguments are settings of data sets
        inside["data.args"] = _of_parts(config["data"]["args"])
    inside |= {
        f"{group}.{option}": True
        for group in COMBINED_GROUPS
        if group not in OUTSIDE
        for option in options_in(config.get(group, {}))
    }
    inside |= {"data.fingerprint": fingerprint} if "data" in config else {}
    return inside | {f"{key}.source": digest for key, digest in parts.items()}


def _is_outside(key: str, value: object, known: Chosen) -> bool:
    setting = known.settings.get(key)
    if setting is None or key in known.reads:
        return False
    return setting.in_id in ("never", "read") or (setting.in_id == "changed" and value == setting.unchanged)


def _of_parts(arguments: Mapping[str, Any]) -> dict[str, Any]:
    never = outside_identity()
    kept = {name: {k: v for k, v in given.items() if f"data.{k}" not in never} for name, given in arguments.items()}
    return {name: given for name, given in kept.items() if given}


@functools.cache
def outside_identity() -> frozenset[str]:
    """Return the keys of every run, and of the shipped options, that never decide what a run finds."""
    found = {key for key, setting in of_every_run().spec.settings.items() if setting.in_id == "never"}
    for group in GROUPS:
        for option in options(group):
            found |= {f"{group}.{key}" for key, s in option.settings.items() if s.in_id == "never"}
    return frozenset(found)


def run_id(config: Config, fingerprint: str, parts: Mapping[str, str], known: Chosen | None = None) -> str:
    """Return 8 hexadecimal digits that are the same for the same science."""
    inside = identity(config, fingerprint, parts, known)
    text = json.dumps(inside, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder_name(config: Config, identifier: str) -> str:
    """Return the run's folder, such as ``he_normal-adamw-lr0.001-s0-1a2b3c4d``."""
    if is_own(config):
        return f"{shown(TASK, config[TASK])}-s{config['seed']}-{identifier}"
    names = [shown(group, config[group]) for group in ("init", "optim")]
    return f"{'-'.join(names)}-lr{config['optim']['lr']:g}-s{config['seed']}-{identifier}"


def choices(config: Config) -> dict[str, Any]:
    """Return every choice as a column: the group's option, then each setting, then the top-level keys."""
    columns: dict[str, Any] = {}
    together = sections()
    combined = () if is_own(config) else COMBINED_GROUPS
    for key, value in {**config, **{group: config.get(group) or {} for group in combined}}.items():
        if key in OUTSIDE:
            continue
        if key in COMBINED_GROUPS:
            columns[key] = name_of(key, value)
        elif isinstance(value, dict) and key not in together:
            columns[key] = shown(key, value)
        else:
            continue
        columns |= {
            f"{key}.{k}": v
            for k, v in leaves(value).items()
            if k.rpartition(".")[2] not in INTERNAL and k not in ("root", "download", SHOWN_AS)
        }
    every = {k: v for k, v in config.items() if not isinstance(v, dict) or k in together}
    columns |= {k: v for k, v in leaves(every).items() if k not in CONTROL}
    return columns
