"""The canonical form of a config: one spelling of each run, whatever names and defaults it was asked by."""

import math

from runner.config.chosen import Chosen, Config
from runner.config.options import COMBINED_GROUPS
from runner.errors import ConfigError

ACTIVATION_GAIN = {"relu": math.sqrt(2.0), "tanh": 5 / 3}
"""PyTorch's recommended gains (``torch.nn.init.calculate_gain``); 1 for every other activation."""
DEFAULT_EPOCHS = 20
DEFAULT_BATCH_SIZE = 64
DEFAULT_VAL_FRACTION = 0.1
WRAPPED = {"sam_rho": 0.05, "lookahead_steps": 5, "lookahead_share": 0.5}
"""Settings of what is done around an optimizer's steps (Foret et al. 2021; Zhang et al. 2019)."""
WHOLE_SET = "all"
"""The size of a batch that is the whole training set, however large that is."""


def canonical(config: Config, known: Chosen) -> Config:
    """Return a checked config with its defaults filled in and its names canonical.

    Raises:
        ConfigError: if a multiplier leads out of range.
    """
    if config.get("epochs", 0) is None and config.get("max_steps") is None:
        config["epochs"] = DEFAULT_EPOCHS
    if (data := config.get("data")) and data["val_fraction"] is None and data["folds"] is None:
        data["val_fraction"] = DEFAULT_VAL_FRACTION
    if config.get("snapshots") is not None and config["save"] is None:
        config["save"] = "last"  # in a sweep too
    target = config.get("target", {})
    if target.get("metric") is not None and not target["metric"].startswith(("val_", "train_", "test_")):
        target["metric"] = f"val_{target['metric']}"
    if "optim" in config:
        _name_by_numbers(config["optim"])
        _fill_wrap(config["optim"])
    if "batch" in config:
        _fill_batch(config["batch"], whole_set=bool(known.fact("optim", "whole_set")))
    if "model" in config:
        config["model"] = _fill_model(config["model"], known)
    init = config.get("init", {})
    if init.get("gain", 0) is None:
        init["gain"] = known.fact("init", "gain") or 1.0
    elif init.get("gain") == "auto":
        init["gain"] = ACTIVATION_GAIN.get(config.get("model", {}).get("activation", "identity"), 1.0)
    return config | {group: dict(sorted(config[group].items())) for group in COMBINED_GROUPS if group in config}


def _name_by_numbers(optim: Config) -> None:
    """Call SGD by what its numbers make of it, however it was asked for."""
    if optim["_option_"] in ("sgd", "momentum", "nesterov"):
        if optim["momentum"] == 0:
            optim["_option_"], optim["nesterov"] = "sgd", False
        else:
            optim["_option_"] = "nesterov" if optim["nesterov"] else "momentum"


def _fill_wrap(optim: Config) -> None:
    """Put what is done around steps in order, with the defaults of what is chosen."""
    if len(set(wrap := optim.get("wrap") or [])) < len(wrap):
        raise ConfigError(f"optim.wrap=[{','.join(wrap)}] names one of them twice")
    for key, default in WRAPPED.items():
        name = key.partition("_")[0]
        if name in wrap and optim[key] is None:
            optim[key] = default
        elif name not in wrap and optim.get(key) is not None:
            raise ConfigError(f"optim.{key}={optim[key]:g} without {name} in optim.wrap: use optim.wrap=[{name}] too")
    if wrap:
        optim["wrap"] = sorted(wrap)


def _fill_batch(batch: Config, whole_set: bool) -> None:
    if batch["_option_"] != "fixed":
        return
    if batch["size"] is None and not whole_set:
        batch["size"] = DEFAULT_BATCH_SIZE
    if batch["size"] == WHOLE_SET and whole_set:
        batch["size"] = None  # as it is by itself
    if isinstance(batch["size"], int) and (batch["micro"] or 0) >= batch["size"]:
        batch["micro"] = None  # it divides nothing


def shrunk(config: Config, samples: int) -> Config:
    """Return a config whose batch, of which nobody gave the size, is no larger than the training set."""
    batch = config["batch"]
    if batch["_option_"] != "fixed" or not isinstance(batch["size"], int) or batch["size"] <= samples:
        return config
    batch = {**batch, "size": max(1, samples)}
    _fill_batch(batch, whole_set=False)
    return {**config, "batch": batch}


def _fill_model(model: Config, known: Chosen) -> Config:
    if not model["_target_"].startswith("runner.model."):  # a user's own keys are his own
        return model
    filled = _multiplied(model, known)
    if filled.get("mup") and filled.get("base_width") is None:
        filled["base_width"] = known.fact("model", "base_width")
    if widths := filled.get("widths"):
        filled["width"], filled["depth"] = max(widths), len(widths)
        filled["widths"] = [] if len(set(widths)) == 1 else widths
    return filled


def _multiplied(model: Config, known: Chosen) -> Config:
    """Return a model with its multipliers worked into what they multiply: another way to say the same width and depth.

    Widths are rounded to whole units, a transformer's to whole heads, a residual network's depth to whole blocks.
    """
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
        block, others = known.fact("model", "depth_block") or (1, 0)
        depth = others + block * max(1, round((given["depth"] - others) * deeper / block))
        field = known.settings["model.depth"].field
        given["depth"] = field.parse("model.depth", depth) if field else depth
    return given
