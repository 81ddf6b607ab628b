"""What a config may hold: every check, what cannot go together, the canonical form and the run id."""

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from runner.errors import ConfigError, closest
from runner.fields import FIELDS, show
from runner.options import Option, configs_dir, read_option

Config = dict[str, Any]
"""A composed config as plain nested dictionaries, every value checked."""


INTERNAL = ("_option_", "_target_")
"""Keys of the YAMLs that are the registry's own: an option's canonical name, and what it builds."""

GROUPS = ("data", "model", "init", "optim", "scheduler", "regularization", "batch")

COMBINED_GROUPS = ("regularization",)
"""Groups of which any number of options may be chosen; their settings lie at ``group.option.key``."""

OUTSIDE_IDENTITY = frozenset(
    {
        *("name", "device", "engine", "threads", "compile", "deterministic", "save", "force"),
        *(
            "retry",
            "dry_run",
            "workers",
            "fail_fast",
            "metrics",
            "diagnostics",
            "data.root",
            "data.download",
            "data.path",
            "init.run",
        ),
    }
)
"""Keys that decide where and how a run is executed, not what it finds."""

CONTROL = ("name", "engine", "save", "force", "retry", "dry_run", "workers", "fail_fast")
"""Keys that are no choices of a run."""

PAPERS_GAIN = {"he": math.sqrt(2.0)}
"""1 for every other initializer."""
ACTIVATION_GAIN = {"relu": math.sqrt(2.0), "tanh": 5 / 3}
"""PyTorch's recommended gains (``torch.nn.init.calculate_gain``); 1 for every other activation."""

WITHOUT_DROPOUT = {
    "linear": "which has no hidden units: use model=mlp or cnn",
    "resnet": "which has batch norm in its place (He et al. 2016, §4.2)",
    "torchvision": "whose networks have their own: set model.args={dropout: …} where the network takes it",
}
"""Models that ``regularization=dropout`` does not reach, and why."""

DEFAULT_EPOCHS = 20
DEFAULT_BATCH_SIZE = 64


def settings(group: str, option: Option) -> list[str]:
    """Return the keys of an option's settings as they stand below its group."""
    inside = f"{option.name}." if group in COMBINED_GROUPS else ""
    return [f"{inside}{text.partition(':')[0]}" for text, _ in option.settings]


def leaves(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return every value by its dotted key."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and key != "args":
            flat |= leaves(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def check(config: Config) -> Config:
    """Return the canonical config: every value typed and in range, defaults filled in, names canonical.

    Raises:
        ConfigError: naming the first key that is wrong, its value and what is valid.
    """
    _refuse_unknown(config)
    checked = _typed(config)
    if len(checked["name"].encode()) > 100:
        raise ConfigError(f"name must be at most 100 bytes long, got {len(checked['name'].encode())}")
    if re.search(r"[/\\\x00-\x1f]", checked["name"]) or checked["name"].strip(". ") == "":
        raise ConfigError(f"name must be a folder's name without path separators, got {show(checked['name'])}")
    _refuse_contradictions(checked)
    return _canonical(checked)


def _typed(config: Config, prefix: str = "") -> Config:
    typed: Config = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if key in INTERNAL:
            typed[key] = value
        elif value == "???":
            valid = f": {FIELDS[path].describe()}" if path in FIELDS else ""
            raise ConfigError(f"{path} must be given{valid}")
        elif path in FIELDS:
            typed[key] = FIELDS[path].parse(path, value)
        elif isinstance(value, dict):
            typed[key] = _typed(value, f"{path}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{path} must be finite, got {value}")
        else:
            typed[key] = value
        if key == "args":
            _check_arguments(value, path)
    return typed


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


def _refuse_unknown(config: Config) -> None:
    """Refuse keys that nothing reads: those of a file are not checked as those of the command line are."""
    for key, value in config.items():
        if key in FIELDS or (key in GROUPS and isinstance(value, dict)):
            continue
        raise ConfigError(f"unknown key {key!r}{closest(key, [*FIELDS, *GROUPS])}")
    for group in GROUPS:
        if group not in config:
            raise ConfigError(f"the group {group} is missing")
        chosen = config[group] if group in COMBINED_GROUPS else {None: config[group]}
        for name, option in chosen.items():
            where = f"{group}.{name}" if name else group
            if not isinstance(option, dict) or not isinstance(option.get("_target_"), str):
                raise ConfigError(f"{where} needs _target_, the import path of its function")
            label = name or option.get("_option_")
            if not isinstance(label, str) or not re.fullmatch(r"\w+", label):
                raise ConfigError(f"{where} needs _option_, its name in letters, digits and _, got {show(label)}")
            if option["_target_"].startswith("runner.") and (known := _settings_of(group, label)) is not None:
                for key in option:
                    if key not in known and key not in INTERNAL:
                        raise ConfigError(f"unknown key '{where}.{key}'{closest(key, known)}")
    if "lr" not in config["optim"]:
        raise ConfigError("optim needs lr, its step size")


@functools.lru_cache(maxsize=256)
def _settings_of(group: str, name: str) -> frozenset[str] | None:
    """Return the keys of a shipped option, those that its group shares included; None for a user's own."""
    path = configs_dir() / group / f"{name}.yaml"
    if not path.is_file():
        return None
    shared = {key.rpartition(".")[2] for key in FIELDS if key.startswith(f"{group}.") and key.count(".") == 1}
    own = {text.partition(":")[0] for text, _ in read_option(path).settings}
    common = {text.partition(":")[0] for text, _ in read_option(configs_dir() / "config.yaml").settings}
    return frozenset(own | (shared & common))


def _refuse_contradictions(config: Config) -> None:
    optim, regularization, batch = config["optim"], config["regularization"], config["batch"]
    if config["epochs"] is not None and config["max_steps"] is not None:
        raise ConfigError(
            f"epochs={config['epochs']} and max_steps={config['max_steps']} both set the length of the run: "
            "give one, and the other as null where a file sets it"
        )
    if optim["_option_"] == "gd" and batch.get("size") is not None:
        raise ConfigError(
            f"batch.size={batch['size']} beside optim=gd, whose batch is the whole training set: "
            "leave batch.size out, or use optim=sgd"
        )
    if "weight_decay" in regularization and "weight_decay" in optim:
        raise ConfigError(
            f"regularization=weight_decay beside optim={optim['_option_']}, which decays by itself: "
            f"set optim.weight_decay={regularization['weight_decay']['rate']:g} instead"
        )
    model = config["model"]["_option_"]
    if "dropout" in regularization and model in WITHOUT_DROPOUT:
        raise ConfigError(f"regularization=dropout beside model={model}, {WITHOUT_DROPOUT[model]}")
    if config["init"].get("gain") == "auto" and model == "torchvision":
        raise ConfigError("init.gain=auto beside model=torchvision, whose activations are its own: give a number")
    if config["amp"] != "none" and config["dtype"] != "float32":
        raise ConfigError(f"amp={config['amp']} beside dtype={config['dtype']}: mixed precision starts from float32")
    if config["amp"] == "fp16" and config["device"] in ("cpu", "mps"):
        raise ConfigError(f"amp=fp16 needs device=cuda, got device={config['device']}: use amp=bf16")
    if config["device"] == "mps" and config["dtype"] == "float64":
        raise ConfigError("dtype=float64 beside device=mps, which has no float64: use dtype=float32 or device=cpu")
    warmup = config["scheduler"]["warmup"]
    if warmup >= 1 and warmup != int(warmup):
        raise ConfigError(f"scheduler.warmup must be whole steps, or a fraction of the run below 1, got {warmup}")


def _canonical(config: Config) -> Config:
    if config["epochs"] is None and config["max_steps"] is None:
        config["epochs"] = DEFAULT_EPOCHS
    batch, optim = config["batch"], config["optim"]
    if batch["_option_"] == "fixed" and batch["size"] is None and optim["_option_"] != "gd":
        batch["size"] = DEFAULT_BATCH_SIZE
    if optim["_option_"] in ("sgd", "momentum", "nesterov"):
        if optim["momentum"] == 0:
            optim["_option_"], optim["nesterov"] = "sgd", False
        else:
            optim["_option_"] = "nesterov" if optim["nesterov"] else "momentum"
    model = config["model"]
    if widths := model.get("widths"):
        model["width"], model["depth"] = max(widths), len(widths)
        model["widths"] = [] if len(set(widths)) == 1 else widths
    init = config["init"]
    if init.get("gain", 0) is None:
        init["gain"] = PAPERS_GAIN.get(init["_option_"].partition("_")[0], 1.0)
    elif init.get("gain") == "auto":
        init["gain"] = ACTIVATION_GAIN.get(model.get("activation", "identity"), 1.0)
    config["regularization"] = dict(sorted(config["regularization"].items()))
    return config


def identity(config: Config, fingerprint: str, parts: Mapping[str, str]) -> dict[str, Any]:
    """Return the leaves that decide what a run finds, with its data's fingerprint and its own parts' sources."""
    outside = set(OUTSIDE_IDENTITY)
    if "early_stopping" not in config["regularization"] and config["scheduler"]["_option_"] != "plateau":
        outside.add("eval_every")
    science = {k: v for k, v in leaves(config).items() if k not in outside and not k.endswith("_target_")}
    if config["data"]["_option_"] == "concat":  # whose arguments are settings of data sets
        kept = {
            name: {k: v for k, v in given.items() if f"data.{k}" not in outside}
            for name, given in config["data"]["args"].items()
        }
        science["data.args"] = {name: given for name, given in kept.items() if given}
    science |= {f"{group}.{option}": True for group in COMBINED_GROUPS for option in config[group]}
    return science | {"data.fingerprint": fingerprint} | {f"{key}.source": digest for key, digest in parts.items()}


def run_id(config: Config, fingerprint: str, parts: Mapping[str, str]) -> str:
    """Return 8 hexadecimal digits that are the same for the same science."""
    text = json.dumps(identity(config, fingerprint, parts), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder_name(config: Config, identifier: str) -> str:
    """Return the run's folder, such as ``he_normal-adamw-lr0.001-s0-1a2b3c4d``."""
    optim = config["optim"]
    return f"{config['init']['_option_']}-{optim['_option_']}-lr{optim['lr']:g}-s{config['seed']}-{identifier}"


def choices(config: Config) -> dict[str, Any]:
    """Return every choice as a column: the group's option, then each setting, then the top-level keys."""
    columns: dict[str, Any] = {}
    for key, value in config.items():
        if key in COMBINED_GROUPS:
            columns[key] = "+".join(sorted(value)) or "none"
        elif isinstance(value, dict):
            columns[key] = value["_option_"]
        else:
            continue
        columns |= {
            f"{key}.{k}": v
            for k, v in leaves(value).items()
            if k.rpartition(".")[2] not in INTERNAL and k not in ("root", "download")
        }
    columns |= {k: v for k, v in config.items() if not isinstance(v, dict) and k not in CONTROL}
    return columns
