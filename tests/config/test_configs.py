"""Every YAML that ships."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from optbench import train
from runner.config import options
from runner.config.fields import REQUIRED
from runner.config.imports import arguments, resolve
from runner.config.options import COMBINED_GROUPS
from runner.optim import WRAP_KEYS
from runner.run.build import build
from tests.support.composed import compose_job
from tests.support.known import MNIST_ROOT
from tests.support.made_data import make_cifar, make_pictures, make_table

ALL = [(g, o.name) for g in options.groups() for o in options.options(g)]
WORDS = Path(__file__).parents[2] / "examples" / "sentences"
SENTENCES = ["data=text_csv", f"data.path={WORDS / 'reviews.csv'}", "data.text=review", "data.label=mood"]
CONTEXT = {
    ("regularization", "weight_decay"): ["optim=sgd"],
    ("stop", "target"): ["target.metric=val_accuracy", "target.value=0.9"],
    ("model", "custom"): ["model.target=tests.own_parts.Net"],
    ("task", "custom"): ["task.target=tests.own_parts.record_once"],
    ("data", "custom"): ["data.target=tests.own_parts.load"],
    ("init", "custom"): ["init.target=tests.own_parts.fill"],
    ("optim", "custom"): ["optim.target=torch.optim.RMSprop"],
    ("data", "quadratic"): ["batch.size=1"],
    ("optim", "collection"): ["optim.name=adopt"],
    ("data", "text"): ["model=rnn"],
    ("model", "gpt"): ["data=text"],
    ("model", "encoder"): SENTENCES,
    ("augment", "synonym"): [*SENTENCES, "model=linear", f"augment.synonym.path={WORDS / 'synonyms.txt'}"],
    ("augment", "paraphrase"): [*SENTENCES, "model=linear", f"augment.paraphrase.path={WORDS / 'paraphrases.csv'}"],
    ("augment", "swap"): [*SENTENCES, "model=rnn"],
    ("augment", "word_dropout"): [*SENTENCES, "model=linear"],
    ("data", "text_csv"): ["model=linear"],
    ("augment", "color"): ["data=custom", "data.target=tests.own_parts.pictures", "batch.size=8"],
    ("model", "torchvision"): ["model.name=resnet18"],
}


NEEDS_A_RUN = {
    "pretrained": lambda run: [f"init.run={run}"],
    "distillation": lambda run: [f"regularization.distillation.run={run}"],
    "finetune": lambda run: [f"init.run={run}"],  # the experiment
    "ticket": lambda run: [f"compress.ticket.run={run}"],
}


@pytest.fixture(scope="module")
def a_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the default model that was pruned and kept its weights."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("run"))
    try:
        return train("max_steps=1", "compress=prune_once").folder.resolve()
    finally:
        os.chdir(here)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What data sets of files are asked for with."""
    folder = tmp_path_factory.mktemp("data")
    root = make_cifar(folder / "cifar")
    table, pictures = make_table(folder / "table.csv"), make_pictures(folder / "pictures")
    return {
        "cifar10": [f"data.root={root}", "batch.size=8"],
        "cifar100": [f"data.root={root}", "batch.size=8"],
        "csv": [f"data.path={table}", "data.label=bought", "batch.size=8"],
        "image_folder": [f"data.path={pictures}", "batch.size=8"],
        "text_csv": SENTENCES[1:],
    }


def overrides_for(group: str, option: str) -> list[str]:
    return [f"{group}={option}", *CONTEXT.get((group, option), [])]


@pytest.mark.parametrize(("group", "option"), ALL)
def test_every_yaml_composes_and_builds(group: str, option: str, a_run: Path, files: dict[str, list[str]]) -> None:
    if option == "concat":
        pytest.skip("it takes data sets that fit, which tests/data/test_own.py makes")
    if (group, option) == ("task", "custom"):
        pytest.skip("it builds nothing: tests/run/test_own_task.py calls it")
    if group == "data" and option in ("mnist", "fashion_mnist"):
        if not MNIST_ROOT or option != "mnist":
            pytest.skip("the files are not here")
        overrides = [f"data={option}", f"data.root={MNIST_ROOT}"]
    else:
        overrides = [*overrides_for(group, option), *files.get(option, [])]
        overrides += NEEDS_A_RUN.get(option, lambda run: [])(a_run)
    run = build(compose_job(overrides))
    assert run.steps > 0
    assert run.construct() is not None


@pytest.mark.parametrize(("group", "option"), ALL)
def test_every_yaml_says_what_it_means_and_comments_every_setting(group: str, option: str) -> None:
    found = options.find(group, option)
    assert len(found.meaning) > 8
    assert set(found.settings) <= {f"{option}.{key}" if group in COMBINED_GROUPS else key for key in found.shown}
    assert all(meaning for _, meaning in found.shown.values()) or group == "experiment"


@pytest.mark.parametrize(("group", "option"), ALL)
def test_of_every_setting_it_is_known_which_values_are_valid(group: str, option: str) -> None:
    of_all = options.of_every_run().spec.settings
    for key, setting in options.find(group, option).settings.items():
        assert setting.field is not None or of_all[f"{group}.{key}"].field is not None, key
        if setting.field is not None and setting.default != REQUIRED:
            assert setting.field.parse(key, setting.default) == setting.default
    assert all(setting.field is not None for setting in of_all.values())


NO_FUNCTION = {("task", "train"), *((group, word) for group in COMBINED_GROUPS for word in ("none", "full"))}


@pytest.mark.parametrize(
    ("group", "option"), [(g, o) for g, o in ALL if g not in ("experiment", "data") and (g, o) not in NO_FUNCTION]
)
def test_settings_are_the_arguments_of_the_function_named(group: str, option: str, a_run: Path) -> None:
    overrides = [*overrides_for(group, option), *NEEDS_A_RUN.get(option, lambda run: [])(a_run)]
    config = compose_job(overrides).config
    chosen = config[group][option] if group in COMBINED_GROUPS else config[group]
    shared = {
        "init": ["bias", "bias_std"],
        "optim": ["decay_bias_and_norm", *WRAP_KEYS],
        "scheduler": ["warmup"],
        "batch": ["shuffle", "drop_last", "micro"],
    }.get(group, [])
    keywords = {
        name
        for name, parameter in inspect.signature(resolve(chosen["_target_"])).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert set(arguments(chosen, *shared)) == keywords - {
        "alphabet",
        "vocabulary",
        "max_steps",
        "drop_last",
    }  # which come from the data and the run


def test_aliases_are_the_options_they_point_at(job: Callable) -> None:
    assert job("init=he").run_id == job("init=he_normal").run_id
    assert job("init=xavier").run_id == job("init=xavier_uniform").run_id
    assert job("init=he").folder.name.startswith("he_normal-")
