"""Properties over the whole catalogue: whatever is valid runs, whatever is not is refused by its key."""

from itertools import product
from random import Random

import pytest

from runner.config import options
from runner.config.chosen import GROUPS
from runner.config.fields import REQUIRED, Field
from runner.config.options import COMBINED_GROUPS

LEFT_OUT = {
    "data": {"mnist", "fashion_mnist", "cifar10", "cifar100", "csv", "image_folder", "custom", "concat", "quadratic"},
    "model": {"custom", "torchvision"},
    "init": {"custom", "pretrained"},
    "optim": {"custom", "collection"},
    "regularization": {"distillation"},
}
"""Options that need files or parts of a user's own; tests of their own run them."""
COMBINED = {
    "regularization": [
        *("l1", "l2", "dropout", "grad_clip", "early_stopping", "box", "ema", "swa", "weight_norm", "adversarial")
    ],
    "augment": ["crop", "scale", "flip", "rotate", "noise", "mixup", "cutmix"],
    "stop": ["plateau", "grad_norm", "steps", "time"],
}
APART = [{"ema", "swa"}, {"weight_norm", "box"}]
"""What is not drawn together.

Averages are refused beside each other; a box that holds directions and lengths is no box of weights.
"""
IMAGES, TEXT = {"digits"}, {"text"}
FAST, ALL = 12, 200


def draws(count: int) -> list[object]:
    return [n if n < FAST else pytest.param(n, marks=pytest.mark.slow) for n in range(count)]


def valid_value(random: Random, field: Field, default: object) -> object | None:
    """A value near the default that the field takes, or None to leave it."""
    if isinstance(default, bool):
        return random.choice([True, False])
    if field.words and isinstance(default, str):
        return random.choice(field.words)
    if isinstance(default, int | float) and not isinstance(default, bool):
        value = type(default)(default * random.choice([0.5, 1, 2]))
        return value if field._inside(value) else None
    return None


def draw(random: Random) -> list[str]:
    """A random valid choice from every group, and a few settings of each."""
    chosen, overrides = {}, ["max_steps=2", f"seed={random.randrange(100)}"]
    for group in GROUPS:
        if group in COMBINED_GROUPS:
            names = random.sample(COMBINED[group], random.randrange(3))
            names = names[:1] if set(names) in APART else names
            if group == "augment" and chosen["data"] not in IMAGES:
                names = [n for n in names if n in ("noise", "mixup") and chosen["data"] not in TEXT]
            overrides.append(f"{group}=[{','.join(names)}]" if names else f"{group}=none")
            continue
        found = [o for o in options.options(group) if o.name not in LEFT_OUT.get(group, set())]
        if group == "model":  # a text's characters and numbers are read by models of their own
            found = [o for o in found if o.name == "rnn" or (o.name == "gpt") == (chosen["data"] == "text")]
            found = [o for o in found if chosen["data"] != "text" or o.name in ("rnn", "gpt")]
        option = random.choice(found)
        chosen[group] = option.name
        overrides.append(f"{group}={option.name}")
        overrides += ["batch.milestones=[1]"] if option.name == "growing" else []  # the run's length is in steps
        for key, setting in option.settings.items():
            path = f"{group}.{key}"
            if random.random() < 0.3 and setting.default != REQUIRED and path not in KEPT:
                value = valid_value(random, setting.field, setting.default)
                if value is not None:
                    overrides.append(f"{path}={str(value).lower() if isinstance(value, bool) else value}")
    return [o for o in overrides if fits(o, chosen, overrides)]


KEPT = {
    "optim.nesterov",
    "optim.momentum",
    "data.samples",
    "data.characters",
    "data.normalize",
    "data.test_fraction",
    "model.depth",
    "model.depth_multiplier",
    "model.width",
    "batch.size",
    "batch.smallest",
}
"""Settings whose values depend on others, or cost time."""


def fits(override: str, chosen: dict[str, str], overrides: list[str]) -> bool:
    """Leave out what contradicts something else that was drawn; the contradictions have tests of their own."""
    key = override.partition("=")[0]
    tabular = chosen["data"] in ("breast_cancer", "wine", "diabetes", "linear_regression")
    if chosen["model"] in ("resnet", "vit") and chosen["data"] != "digits" and key.partition(".")[0] == "model":
        return False
    if override == "model.mup=true":
        rule = options.find("optim", chosen["optim"]).spec.facts.get("mup_rule")
        known = rule is not None and not options.find("init", chosen["init"]).spec.conflicts
        return known and not any("l1" in o or "l2" in o or "weight_norm" in o for o in overrides)
    if override == "model=cnn" and tabular:
        return False
    if key.startswith("model.") and chosen["model"] == "cnn" and tabular:
        return False
    if override in ("optim=muon",) and chosen["model"] != "mlp":
        return False
    if key.startswith("optim.") and chosen["optim"] == "muon" and chosen["model"] != "mlp":
        return False
    if key.startswith("batch") and chosen["optim"] == "gd" and chosen["batch"] != "fixed":
        return False
    if key.startswith("batch") and chosen["batch"] == "adaptive" and any("mix" in o for o in overrides):
        return False  # mixup and cutmix
    if override == "model.normalization=batch" and chosen["batch"] == "adaptive":
        return False
    if key == "regularization" and chosen["data"] == "text" and "adversarial" in override:
        return False
    if key == "regularization" and chosen["model"] != "mlp" and "dropout" in override:
        return False
    averaged = any(name in override for name in ("ema", "swa", "weight_norm"))
    return not (key == "regularization" and chosen["optim"] in ("asgd", "muon", "lbfgs") and averaged)


@pytest.mark.parametrize("number", draws(ALL))
def test_whatever_is_valid_runs(number: int, optbench) -> None:
    overrides = draw(Random(number))
    result = optbench("train", *overrides)
    assert result.code == 0, (overrides, result.err)


def corrupt(random: Random, overrides: list[str]) -> tuple[list[str], str]:
    """Break one override; return them and the key that must be named."""
    kind = random.choice(["key", "range", "word", "type", "option", "twice"])
    numeric = [
        (k, f)
        for k, f in ((k, s.field) for k, s in options.of_every_run().spec.settings.items())
        if k.count(".") == 0 and f.kind in (int, float) and not f.words and f.length is None and not f.path
    ]
    if kind == "key":
        key = random.choice(["optim.lrr", "modle.width", "epochss", "scheduler.warmupp", "batch.sizes"])
        return [*overrides, f"{key}=1"], key
    if kind == "range":
        key, field = random.choice([x for x in numeric if x[1].ge is not None])
        return [*(o for o in overrides if not o.startswith(f"{key}=")), f"{key}={field.ge - 1}"], key
    if kind == "word":
        key = random.choice(["device", "dtype", "amp", "loss", "save", "retry"])
        return [*overrides, f"{key}=nonsense"], key
    if kind == "type":
        key, _ = random.choice(numeric)
        return [*(o for o in overrides if not o.startswith(f"{key}=")), f"{key}=many"], key
    if kind == "option":
        group = random.choice([g for g in GROUPS if g not in COMBINED_GROUPS])
        return [*(o for o in overrides if not o.startswith((f"{group}=", f"{group}."))), f"{group}=nonsense"], group
    return [*overrides, overrides[0]], overrides[0].partition("=")[0]


@pytest.mark.parametrize("number", draws(ALL))
def test_whatever_is_corrupted_is_refused_by_its_key_and_nothing_is_written(number: int, optbench, folder) -> None:
    random = Random(10_000 + number)
    overrides, key = corrupt(random, draw(random))
    result = optbench("train", *overrides)
    assert result.code == 2, (overrides, result.out)
    assert key in result.err and "Traceback" not in result.err, result.err
    assert list(folder.iterdir()) == []


NAMES = {g: [o.name for o in options.options(g) if o.name not in LEFT_OUT.get(g, set())] for g in ("init", "optim")}


@pytest.mark.slow
@pytest.mark.parametrize(("init", "optim"), list(product(NAMES["init"], NAMES["optim"])), ids="-".join)
def test_every_initializer_trains_with_every_optimizer(init: str, optim: str, optbench) -> None:
    result = optbench("train", f"init={init}", f"optim={optim}", "max_steps=2", "model.width=8")
    assert result.code == 0, result.err


EVERY = [(g, n) for g in GROUPS for n in (o.name for o in options.options(g)) if n not in LEFT_OUT.get(g, set())]
BESIDE = {
    "weight_decay": ["optim=sgd"],
    "gpt": ["data=text"],
    "text": ["model=rnn"],
    "growing": ["batch.milestones=[1]"],
}
BESIDE |= {"color": ["data=custom", "data.target=tests.own_parts.pictures", "batch.size=8"]}
BESIDE |= {"target": ["target.metric=val_accuracy", "target.value=0.9"]}


@pytest.mark.parametrize(("group", "name"), EVERY, ids=[f"{g}-{n}" for g, n in EVERY])
def test_every_option_trains_two_steps(group: str, name: str, optbench) -> None:
    result = optbench("train", f"{group}={name}", "max_steps=2", "model.width=8", *BESIDE.get(name, []))
    if name == "linear" and group == "model":
        result = optbench("train", "model=linear", "max_steps=2")
    assert result.code == 0, result.err
