"""What a config may hold: every check, what cannot go together, the canonical form and the run id."""

import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from runner.config.fields import FIELDS, show
from runner.config.options import Option, configs_dir, read_option, shared
from runner.errors import ConfigError, closest

Config = dict[str, Any]
"""A composed config as plain nested dictionaries, every value checked."""


INTERNAL = ("_option_", "_target_")
"""Keys of the YAMLs that are the registry's own: an option's canonical name, and what it builds."""

GROUPS = ("data", "model", "init", "optim", "scheduler", "regularization", "augment", "batch", "stop")

COMBINED_GROUPS = ("regularization", "augment", "stop")
"""Groups of which any number of options may be chosen; their settings lie at ``group.option.key``."""

SECTIONS = ("target",)
"""Keys of every run that stand together, as in ``target.value``."""

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
            "sharpness",
            "data.root",
            "data.download",
            "data.path",
            "init.run",
            "regularization.distillation.run",
            "target.metric",
            "target.value",
        ),
    }
)
"""Keys that decide where and how a run is executed, not what it finds."""

READ_EVALUATIONS = ("target", "plateau", "grad_norm")
"""What ends a run at an evaluation, and so depends on when there is one."""

CONTROL = ("name", "engine", "save", "force", "retry", "dry_run", "workers", "fail_fast")
"""Keys that are no choices of a run."""

PAPERS_GAIN = {"he": math.sqrt(2.0)}
"""1 for every other initializer."""
ACTIVATION_GAIN = {"relu": math.sqrt(2.0), "tanh": 5 / 3}
"""PyTorch's recommended gains (``torch.nn.init.calculate_gain``); 1 for every other activation."""

DIGITS = ("digits", "mnist")
"""Images that a mirror makes others of."""
WITHOUT_DROPOUT = {
    "linear": "which has no hidden units: use model=mlp or cnn",
    "resnet": "which has batch norm in its place (He et al. 2016, §4.2)",
    "torchvision": "whose networks have their own: set model.args={dropout: …} where the network takes it",
}
"""Models that ``regularization=dropout`` does not reach, and why."""

BASE_WIDTHS = {"mlp": 256, "gpt": 64}
"""The width at which ``model.mup=true`` changes nothing: the model's own default."""
MUP_RULES = {
    **dict.fromkeys(("gd", "sgd", "momentum", "nesterov"), "sgd"),
    **dict.fromkeys(("adam", "adamw", "amsgrad", "adamax", "nadam", "adagrad", "rmsprop"), "adam"),
}
"""By which rule each optimizer's learning rates are scaled with the width: those linear in the gradient, and those
that normalize each of its entries, at every step and to a size of lr (Yang et al. 2022, appendix B.3; Yang & Littwin
2023)."""
WITHOUT_MUP = {
    "zeros": "whose weights have no variance that could follow the width",
    "constant": "whose weights have no variance that could follow the width",
    "identity": "whose weights have no variance that could follow the width",
    "lsuv": "which gives the last layer's output variance 1 at any width, where muP has it fall",
    "custom": "of whose variance nobody knows how it depends on the width",
}
"""Initializers that muP cannot rescale, and why."""

DEFAULT_EPOCHS = 20
DEFAULT_BATCH_SIZE = 64
DEFAULT_VAL_FRACTION = 0.1


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
    config = {**config, **_combined(config)}
    _refuse_unknown(config)
    checked = _typed(config)
    if len(checked["name"].encode()) > 100:
        raise ConfigError(f"name must be at most 100 bytes long, got {len(checked['name'].encode())}")
    if re.search(r"[/\\\x00-\x1f]", checked["name"]) or checked["name"].strip(". ") == "":
        raise ConfigError(f"name must be a folder's name without path separators, got {show(checked['name'])}")
    _refuse_contradictions(checked)
    return _canonical(checked)


def _combined(config: Config) -> Config:
    """Return what is chosen of every combined group: a config without the group has none of it."""
    return {group: config.get(group) or {} for group in COMBINED_GROUPS}


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
        if key in SECTIONS and isinstance(value, dict):
            keys = [k.partition(".")[2] for k in FIELDS if k.startswith(f"{key}.")]
            if odd := next((k for k in value if k not in keys), None):
                raise ConfigError(f"unknown key '{key}.{odd}'{closest(odd, keys)}")
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
    return frozenset(text.partition(":")[0] for text, _ in (*read_option(path).settings, *shared(group)))


def _refuse_contradictions(config: Config) -> None:
    optim, regularization, batch = config["optim"], config["regularization"], config["batch"]
    if config["epochs"] is not None and config["max_steps"] is not None:
        raise ConfigError(
            f"epochs={config['epochs']} and max_steps={config['max_steps']} both set the length of the run: "
            "give one, and the other as null where a file sets it"
        )
    if optim["_option_"] == "gd" and batch["_option_"] in ("growing", "adaptive", "auto"):
        raise ConfigError(
            f"batch={batch['_option_']} beside optim=gd, whose batch is the whole training set: use optim=sgd"
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
    averages = [name for name in ("ema", "swa") if name in regularization]
    if len(averages) > 1 or (averages and optim["_option_"] == "asgd"):
        other = "regularization=swa" if len(averages) > 1 else "optim=asgd"
        raise ConfigError(f"regularization={averages[0]} beside {other}: each judges other weights; choose one")
    if "adversarial" in regularization and config["data"]["_option_"] == "text":
        raise ConfigError("regularization=adversarial beside data=text, whose characters cannot be moved a little")
    if batch.get("size") == 1 and (mixing := [name for name in ("mixup", "cutmix") if name in config["augment"]]):
        raise ConfigError(
            f"augment={mixing[0]} beside batch.size=1: it mixes a sample with another of its batch, which has no other"
        )
    _refuse_mup(config)
    _refuse_unfit_batch(config)
    _refuse_half_a_target(config)
    _refuse_folds(config["data"])
    if config["amp"] != "none" and config["dtype"] != "float32":
        raise ConfigError(f"amp={config['amp']} beside dtype={config['dtype']}: mixed precision starts from float32")
    if config["amp"] == "fp16" and config["device"] in ("cpu", "mps"):
        raise ConfigError(f"amp=fp16 needs device=cuda, got device={config['device']}: use amp=bf16")
    if config["device"] == "mps" and config["dtype"] == "float64":
        raise ConfigError("dtype=float64 beside device=mps, which has no float64: use dtype=float32 or device=cpu")
    warmup = config["scheduler"]["warmup"]
    if warmup >= 1 and warmup != int(warmup):
        raise ConfigError(f"scheduler.warmup must be whole steps, or a fraction of the run below 1, got {warmup}")


def doubts(config: Config) -> list[str]:
    """Return what can be run and is seldom meant."""
    data = config["data"]
    names = data["parts"] if data["_option_"] == "concat" else [data["_option_"]]
    if "flip" in config["augment"] and (digits := [name for name in names if name in DIGITS]):
        return [f"augment=flip beside data={digits[0]}: few digits are themselves in a mirror"]
    return []


def _refuse_mup(config: Config) -> None:
    model, optim, init = config["model"], config["optim"]["_option_"], config["init"]["_option_"]
    fills, base_width = config["init"]["_target_"].removeprefix("runner.init."), model.get("base_width")
    if not model["_target_"].startswith("runner.model."):
        return
    if not model.get("mup"):
        if base_width is not None:
            raise ConfigError(f"model.base_width={base_width} needs model.mup=true, which holds the width against it")
        return
    if base_width is None and model["_option_"] not in BASE_WIDTHS:
        raise ConfigError("model.mup=true needs model.base_width, the width at which it changes nothing")
    if len(set(model.get("widths") or ())) > 1:
        raise ConfigError(f"model.mup=true needs hidden layers of one width, got model.widths={model['widths']}")
    if mup_rule(config) is None:
        raise ConfigError(
            f"model.mup=true beside optim={optim}: no rule is known by which its learning rates follow the width\n"
            f"valid: {', '.join(MUP_RULES)}"
        )
    if "." in fills or fills in WITHOUT_MUP:
        reason = WITHOUT_MUP.get(fills, WITHOUT_MUP["custom"])
        raise ConfigError(f"model.mup=true beside init={init}, {reason}: use init=he, lecun_normal or normal")
    for name in ("l1", "l2"):
        if name in config["regularization"]:
            raise ConfigError(
                f"model.mup=true beside regularization={name}, whose pull would change with the width: "
                "decay the weights with optim.weight_decay or regularization=weight_decay"
            )
    if "weight_norm" in config["regularization"]:
        raise ConfigError("model.mup=true beside regularization=weight_norm: both set the scale of the weights")


def _refuse_unfit_batch(config: Config) -> None:
    batch = config["batch"]
    size, smallest, most = (batch.get(key) for key in ("size", "smallest", "most"))
    if smallest is not None and most is not None and smallest > most:
        raise ConfigError(f"batch.smallest must be ≤ batch.most, got {smallest} and {most}")
    if batch["_target_"] == "runner.batch.growing" and size > (most or size):
        raise ConfigError(f"batch.size must be ≤ batch.most={most}, got {size}")
    if batch["_target_"] != "runner.batch.adaptive":
        return
    if batch["parts"] > size:
        raise ConfigError(
            f"batch.parts must be ≤ batch.size={size}, got {batch['parts']}: a part has a sample at least"
        )
    if size < smallest or size > (most or size):
        bounds = f"≥ batch.smallest={smallest}" if size < smallest else f"≤ batch.most={most}"
        raise ConfigError(f"batch.size must be {bounds}, got {size}")
    if not batch["shuffle"]:
        raise ConfigError("batch.shuffle=false beside batch=adaptive, which needs parts drawn at random: leave it out")
    if mixing := [name for name in ("mixup", "cutmix") if name in config["augment"]]:
        raise ConfigError(
            f"augment={mixing[0]} beside batch=adaptive: it mixes samples of the parts whose gradients are compared"
        )
    if "swa" in config["regularization"] and config["regularization"]["swa"]["start"] < 1 and not config["max_steps"]:
        raise ConfigError(
            f"regularization.swa.start={config['regularization']['swa']['start']:g} is a fraction of the run's steps, "
            "which batch=adaptive does not know before: use whole steps, or max_steps"
        )


def _refuse_half_a_target(config: Config) -> None:
    metric, value = config["target"]["metric"], config["target"]["value"]
    if (metric is None) != (value is None):
        given, lacking = ("metric", "value") if value is None else ("value", "metric")
        raise ConfigError(
            f"target.{given}={config['target'][given]} needs target.{lacking}: "
            "give both, as in target.metric=val_accuracy target.value=0.97"
        )
    if "target" in config["stop"] and metric is None:
        raise ConfigError("stop=target needs target.metric and target.value, such as val_accuracy and 0.97")


def _refuse_folds(data: Config) -> None:
    folds, fold = data["folds"], data["fold"]
    if folds is None and fold is not None:
        raise ConfigError(f"data.fold={fold} needs data.folds, how many there are: give both, as in data.folds=5")
    if folds is not None and fold is None:
        raise ConfigError(f"data.folds={folds} needs data.fold, the one that is validation: 0 to {folds - 1}")
    if folds is not None and fold >= folds:
        raise ConfigError(f"data.fold must be a whole number from 0 to {folds - 1} with data.folds={folds}, got {fold}")
    if folds is not None and data["val_fraction"] is not None:
        raise ConfigError(
            f"data.val_fraction={data['val_fraction']:g} beside data.folds={folds}, whose parts are the validation "
            "sets: leave data.val_fraction out"
        )


def _canonical(config: Config) -> Config:
    if config["epochs"] is None and config["max_steps"] is None:
        config["epochs"] = DEFAULT_EPOCHS
    data, target = config["data"], config["target"]
    if data["val_fraction"] is None and data["folds"] is None:
        data["val_fraction"] = DEFAULT_VAL_FRACTION
    if target["metric"] is not None and not target["metric"].startswith(("val_", "train_", "test_")):
        target["metric"] = f"val_{target['metric']}"
    batch, optim = config["batch"], config["optim"]
    if batch["_option_"] == "fixed" and batch["size"] is None and optim["_option_"] != "gd":
        batch["size"] = DEFAULT_BATCH_SIZE
    if optim["_option_"] in ("sgd", "momentum", "nesterov"):
        if optim["momentum"] == 0:
            optim["_option_"], optim["nesterov"] = "sgd", False
        else:
            optim["_option_"] = "nesterov" if optim["nesterov"] else "momentum"
    if batch["_option_"] == "fixed" and batch["size"] is not None and (batch.get("micro") or 0) >= batch["size"]:
        batch["micro"] = None  # it divides nothing
    model = config["model"] = _multiplied(config["model"])
    if model.get("mup") and model.get("base_width") is None and model["_option_"] in BASE_WIDTHS:
        model["base_width"] = BASE_WIDTHS[model["_option_"]]
    if widths := model.get("widths"):
        model["width"], model["depth"] = max(widths), len(widths)
        model["widths"] = [] if len(set(widths)) == 1 else widths
    init = config["init"]
    if init.get("gain", 0) is None:
        init["gain"] = PAPERS_GAIN.get(init["_option_"].partition("_")[0], 1.0)
    elif init.get("gain") == "auto":
        init["gain"] = ACTIVATION_GAIN.get(model.get("activation", "identity"), 1.0)
    config |= {group: dict(sorted(config[group].items())) for group in COMBINED_GROUPS}
    return config


def _multiplied(model: Config) -> Config:
    """Return a model with its multipliers worked into what they multiply: another way to say the same width and depth.

    Widths are rounded to whole units, a transformer's to whole heads, a residual network's depth to whole blocks.

    Raises:
        ConfigError: if the depth is out of range, or ``model.widths`` says it.
    """
    if not model["_target_"].startswith("runner.model."):  # a user's own keys are his own
        return model
    given = {"width_multiplier": 1.0, "depth_multiplier": 1.0, **model}
    wider, deeper = given.pop("width_multiplier"), given.pop("depth_multiplier")
    if wider != 1:
        heads = given.get("heads", 1)
        given["width"] = heads * max(1, round(given["width"] * wider / heads))
        given |= {"widths": [max(1, round(w * wider)) for w in given["widths"]]} if "widths" in given else {}
    if deeper != 1:
        if widths := given.get("widths"):
            raise ConfigError(
                f"model.depth_multiplier={deeper:g} beside model.widths={widths}, which say the depth too"
            )
        block, others = (6, 2) if given["_option_"] == "resnet" else (1, 0)
        depth = others + block * max(1, round((given["depth"] - others) * deeper / block))
        given["depth"] = FIELDS["model.depth"].parse("model.depth", depth)
    return given


def mup_rule(config: Config) -> str | None:
    """Return the rule by which learning rates follow the width; None of a model not in muP, or where none is known."""
    function = config["optim"]["_target_"].removeprefix("runner.optim.")
    return MUP_RULES.get(function) if config["model"].get("mup") else None


def identity(config: Config, fingerprint: str, parts: Mapping[str, str]) -> dict[str, Any]:
    """Return the leaves that decide what a run finds, with its data's fingerprint and its own parts' sources."""
    outside = set(OUTSIDE_IDENTITY)
    read = "early_stopping" in config["regularization"] or config["scheduler"]["_option_"] == "plateau"
    if not read and not any(name in config["stop"] for name in READ_EVALUATIONS):
        outside.add("eval_every")
    if "target" in config["stop"]:
        outside -= {"target.metric", "target.value"}
    if mup_rule(config) is None:
        outside |= {"model.mup", "model.base_width"}
    # Settings whose null says that there is no such thing.
    outside |= {f"data.{key}" for key in ("folds", "fold", "bootstrap") if config["data"][key] is None}
    outside |= {"batch.micro"} if config["batch"].get("micro") is None else set()
    science = {k: v for k, v in leaves(config).items() if k not in outside and not k.endswith("_target_")}
    if config["data"]["_option_"] == "concat":  # whose arguments are settings of data sets
        kept = {
            name: {k: v for k, v in given.items() if f"data.{k}" not in outside}
            for name, given in config["data"]["args"].items()
        }
        science["data.args"] = {name: given for name, given in kept.items() if given}
    science |= {f"{group}.{option}": True for group in COMBINED_GROUPS for option in config[group]}
    return science | {"data.fingerprint": fingerprint} | {f"{key}.source": digest for key, digest in parts.items()}


def sized(config: Config, size: int, micro: int | None) -> Config:
    """Return a config in which ``batch=auto`` is the fixed size that it came to."""
    shuffle = config["batch"]["shuffle"]
    fixed = {"_option_": "fixed", "_target_": "runner.batch.fixed", "size": size, "shuffle": shuffle, "micro": micro}
    return check({**config, "batch": fixed})


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
    for key, value in {**config, **_combined(config)}.items():
        if key in COMBINED_GROUPS:
            columns[key] = "+".join(sorted(value)) or "none"
        elif isinstance(value, dict) and key not in SECTIONS:
            columns[key] = value["_option_"]
        else:
            continue
        columns |= {
            f"{key}.{k}": v
            for k, v in leaves(value).items()
            if k.rpartition(".")[2] not in INTERNAL and k not in ("root", "download")
        }
    every = {k: v for k, v in config.items() if not isinstance(v, dict) or k in SECTIONS}
    columns |= {k: v for k, v in leaves(every).items() if k not in CONTROL}
    return columns
