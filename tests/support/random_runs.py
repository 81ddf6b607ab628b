"""Random valid runs: a choice from every group, a few settings of each, and parts of a user's own."""

from random import Random

from runner.config import options
from runner.config.chosen import GROUPS
from runner.config.fields import REQUIRED, Field
from runner.config.options import COMBINED_GROUPS

LEFT_OUT = {
    "data": {
        "mnist",
        "fashion_mnist",
        "cifar10",
        "cifar100",
        "csv",
        "text_csv",
        "image_folder",
        "custom",
        "concat",
        "quadratic",
    },
    "model": {"custom", "torchvision", "encoder"},
    "init": {"custom", "pretrained"},
    "optim": {"custom", "collection"},
    "regularization": {"distillation"},
    "compress": {"ticket"},
    "augment": {"paraphrase", "synonym", "swap", "word_dropout"},
    "task": {"custom"},
    "parallel": {"ddp", "fsdp", "tensor", "pipeline"},
}
"""Options that need files, parts of a user's own or several processes; tests of their own run them."""
COMBINED = {
    "regularization": [
        *("l1", "l2", "dropout", "grad_clip", "early_stopping", "box", "ema", "swa", "weight_norm", "adversarial")
    ],
    "augment": ["crop", "scale", "flip", "rotate", "noise", "mixup", "cutmix"],
    "stop": ["plateau", "grad_norm", "steps", "time"],
}
APART = [{"ema", "swa"}, {"weight_norm", "box"}, {"weight_norm", "l1"}]
"""What is not drawn together.

Averages are refused beside each other; of directions and lengths no box and no penalty is that of weights.
"""
IMAGES, TEXT = {"digits"}, {"text"}


def valid_value(random: Random, field: Field, default: object) -> object | None:
    """A value near the default that the field takes, or None to leave it."""
    if isinstance(default, bool):
        return random.choice([True, False])
    if field.words and isinstance(default, str):
        return random.choice(field.words)
    if isinstance(default, int | float):
        value = type(default)(default * random.choice([0.5, 1, 2]))
        return value if field._inside(value) else None
    return None


def draw(random: Random) -> list[str]:
    """A random valid choice from every group, and a few settings of each."""
    chosen, overrides = {}, ["max_steps=2", f"seed={random.randrange(100)}"]
    for group in GROUPS:
        if group in ("parallel", "finetune", "compress"):  # tests of their own run them
            continue
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
        option = random.choice(found) if len(found) > 1 else found[0]
        chosen[group] = option.name
        overrides.append(f"{group}={option.name}")
        for key, setting in option.settings.items():
            path = f"{group}.{key}"
            if path in OF_SENTENCES:
                continue
            if random.random() < 0.3 and setting.default != REQUIRED and path not in KEPT:
                value = valid_value(random, setting.field, setting.default)
                if value is not None:
                    overrides.append(f"{path}={str(value).lower() if isinstance(value, bool) else value}")
    return [o for o in overrides if fits(o, chosen, overrides)]


OF_SENTENCES = {"model.bag"}
"""Settings that are refused beside numbers."""
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


OF_AVERAGES = ("asgd", "schedule_free", "schedule_free_sgd", "muon", "lbfgs")
"""Optimizers beside which some averages, or weight norm, are refused."""


def fits(override: str, chosen: dict[str, str], overrides: list[str]) -> bool:
    """Leave out what contradicts something else that was drawn; the contradictions have tests of their own."""
    key = override.partition("=")[0]
    group = key.partition(".")[0]
    tabular = chosen["data"] in ("breast_cancer", "wine", "diabetes", "linear_regression")
    if group == "model" and chosen["model"] in ("resnet", "vit") and chosen["data"] != "digits":
        return False
    if group == "model" and chosen["model"] == "cnn" and tabular:
        return False
    if group == "optim" and chosen["optim"] == "muon" and chosen["model"] != "mlp":
        return False
    if override == "model.mup=true":
        rule = options.find("optim", chosen["optim"]).spec.facts.get("mup_rule")
        known = rule is not None and not options.find("init", chosen["init"]).spec.conflicts
        return known and not any("l1" in o or "l2" in o or "weight_norm" in o for o in overrides)
    if group == "batch" and chosen["optim"] == "gd" and chosen["batch"] != "fixed":
        return False
    if group == "batch" and chosen["batch"] == "adaptive" and any("mix" in o for o in overrides):
        return False  # mixup and cutmix
    if override == "model.normalization=batch" and chosen["batch"] == "adaptive":
        return False
    if key == "regularization" and chosen["data"] == "text" and "adversarial" in override:
        return False
    if key == "regularization" and chosen["model"] != "mlp" and "dropout" in override:
        return False
    averaged = any(name in override for name in ("ema", "swa", "weight_norm"))
    return not (key == "regularization" and chosen["optim"] in OF_AVERAGES and averaged)


OWN = {
    "model": (
        ["model=custom", "model.target=tests.own_parts.Net"],
        [["model.args.width=8"], ["model.args={width: 4}"], ["+model.args.width=6"], ["++model.args.width=5"]],
    ),
    "init": (
        ["init=custom", "init.target=tests.own_parts.fill"],
        [["init.args.scale=0.5"], ["init.args={scale: ${optim.lr}}"]],
    ),
    "optim": (
        ["optim=custom", "optim.target=torch.optim.RMSprop"],
        [
            ["optim.args.alpha=0.9", "optim.args.centered=true"],
            ["optim.args={alpha: 0.95, momentum: 0.5}", "optim.args.momentum=1e-1"],
            ["+optim.args.momentum=0.25", "optim.args.foreach=null"],
        ],
    ),
    "data": (
        ["data=custom", "data.target=tests.own_parts.load"],
        [["data.args.samples=200"], ["data.args={samples: 250}", "++data.args.classes=4"]],
    ),
}
"""Options that take parts of a user's own, and the arguments that they take, in every form."""
BESIDE = [
    *(["name=a-b"], ["name='a: b, c'"], ["name='it\\'s {odd} = 100%'"], ["metrics=[f1,tests.own_parts.top2]"]),
    *(["target.metric=val_loss", "target.value=-0.5"], ["eval_every=${max_steps}"]),
    *(["data.folds=3", "data.fold=1"], ["data.bootstrap=7"], ["data.val_fraction=0.2"], ["save=best", "force=true"]),
]


def draw_with_parts(random: Random) -> list[str]:
    """A random valid run that may have parts of a user's own, and what else is typed on a command line."""
    overrides = draw(random)
    chosen = {group for group in OWN if random.random() < 0.3}
    if "data" in chosen:  # a table
        chosen |= {"model"}
        overrides = [o for o in overrides if not o.startswith("augment")]
    for group in sorted(chosen):
        named, given = OWN[group]
        overrides = [o for o in overrides if o.partition("=")[0].partition(".")[0] != group]
        overrides += [*named, *random.choice(given)]
    if chosen & {"model", "init", "optim"}:
        overrides = [o for o in overrides if not o.startswith(("regularization", "model.mup"))]
    overrides += random.choice([[], *BESIDE])
    lr = random.choice([0.001, 1 / 3, 1e-300, 1.7e308, 0.0012345678901234567, 1.0, 5e-324, 3e-05])
    if not any(o.startswith("optim.lr=") for o in overrides) and random.random() < 0.5:
        overrides.append(f"optim.lr={lr!r}")
    random.shuffle(overrides)
    return overrides
