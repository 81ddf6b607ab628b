"""Properties over the whole catalogue: whatever is valid runs, whatever is not is refused by its key."""

from random import Random

import pytest

from runner.config import options
from runner.config.chosen import GROUPS
from runner.config.options import COMBINED_GROUPS
from tests.support.random_runs import LEFT_OUT, draw

FAST, ALL = 12, 200


def draws(count: int) -> list[object]:
    return [n if n < FAST else pytest.param(n, marks=pytest.mark.slow) for n in range(count)]


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


NAMES = {g: [o.name for o in options.options(g) if o.name not in LEFT_OUT.get(g, set())] for g in GROUPS}


@pytest.mark.slow
@pytest.mark.parametrize("init", NAMES["init"])
@pytest.mark.parametrize("optim", NAMES["optim"])
def test_every_initializer_trains_with_every_optimizer(init: str, optim: str, optbench) -> None:
    result = optbench("train", f"init={init}", f"optim={optim}", "max_steps=2", "model.width=8")
    assert result.code == 0, result.err


EVERY = [(group, name) for group, names in NAMES.items() for name in names]
BESIDE = {
    "weight_decay": ["optim=sgd"],
    "gpt": ["data=text"],
    "text": ["model=rnn"],
    "growing": ["batch.milestones=[1]"],
    "color": ["data=custom", "data.target=tests.own_parts.pictures", "batch.size=8"],
    "target": ["target.metric=val_accuracy", "target.value=0.9"],
}
"""What an option cannot do without."""


@pytest.mark.parametrize(("group", "name"), EVERY, ids=[f"{g}-{n}" for g, n in EVERY])
def test_every_option_trains_two_steps(group: str, name: str, optbench) -> None:
    width = [] if (group, name) == ("model", "linear") else ["model.width=8"]
    result = optbench("train", f"{group}={name}", "max_steps=2", *width, *BESIDE.get(name, []))
    assert result.code == 0, result.err
