"""Whose function trains: what its YAML uses is its config, its id and its columns; all else is refused."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.config.compose import Composer
from runner.config.identity import choices
from runner.run.files import read_config
from runner.run.job import Job, prepare
from tests.support.own_task import WALK, YAML, make_walk
from tests.support.records import Result, run_folder

Optbench = Callable[..., Result]
FUNCTIONS = """\
import torch


class Trainer:
    def __init__(self, config, seed, run): ...


def no_recorder(config, seed): ...


def with_more(config, seed, run, epochs): ...


def generates(config, seed, run):
    yield


async def waits(config, seed, run): ...


def other_names(settings, random_state, recorder, verbose=False):
    recorder.row(step=1, val_loss=1.0)


number = 3
"""


@pytest.fixture
def walk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_walk(folder, monkeypatch)
    (folder / "functions.py").write_text(FUNCTIONS)
    monkeypatch.delitem(sys.modules, "functions", raising=False)
    return folder


def use(folder: Path, facts: str) -> None:
    (folder / "mine" / "task" / "walk.yaml").write_text(f"{YAML}  facts: {{uses: {facts}}}\n")


def composed(*overrides: str) -> Job:
    return prepare(Composer.over("mine").compose(["task=walk", *overrides]))


def test_our_own_loop_is_in_no_config_and_no_column(job: Callable[..., Job]) -> None:
    ours = job("task=train")
    assert "task" not in ours.config and "task" not in choices(ours.config)
    assert ours.run_id == job().run_id


def test_its_columns_are_its_settings_and_the_seed(walk: Path) -> None:
    own = composed("task.rounds=3", "seed=2")
    assert choices(own.config) == {"task": "walk", "task.rate": 0.5, "task.rounds": 3, "task.wait": 0.0, "seed": 2}


def test_what_it_uses_has_columns_too(walk: Path) -> None:
    use(walk, "[data, optim, epochs]")
    columns = choices(composed("data=wine", "optim=sgd", "epochs=3").config)
    assert columns["data"] == "wine" and columns["optim"] == "sgd" and columns["epochs"] == 3
    assert {c.partition(".")[0] for c in columns} == {"data", "optim", "task", "seed", "epochs"}


def test_its_id_is_made_of_what_it_uses_and_of_its_source(walk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = composed()
    assert composed("name=other", "workers=3", "task.wait=1").run_id == first.run_id
    found = {first.run_id, composed("seed=1").run_id, composed("task.rate=0.25").run_id}
    (walk / "walk.py").write_text((walk / "walk.py").read_text() + "# changed\n")
    monkeypatch.delitem(sys.modules, "walk")
    found.add(composed().run_id)
    use(walk, "[data]")
    found |= {composed().run_id, composed("data=wine").run_id, composed("data=wine", "data.split_seed=1").run_id}
    assert len(found) == 7


def test_a_run_s_folder_tells_its_config_without_the_yaml(walk: Path, optbench: Optbench) -> None:
    use(walk, "[data, optim]")
    assert optbench("train", *WALK, "data=wine").code == 0
    config = read_config(run_folder(walk))
    assert config["task"]["rounds"] == 6 and config["data"]["_option_"] == "wine" and "model" not in config


def test_a_yaml_may_build_on_the_shipped_one(walk: Path, optbench: Optbench) -> None:
    yaml = YAML.replace("_target_: walk.train", "target: walk.train").replace(
        "_option_", "defaults: [custom]\n_option_"
    )
    (walk / "mine" / "task" / "walk.yaml").write_text(yaml)
    assert optbench("train", *WALK, "task.rounds=2").code == 0
    assert optbench("train", *WALK, "task.rounds=0").code == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["model=mlp"], "model=mlp is given, and task=walk does not use model"),
        (["optim.lr=0.1"], "task=walk does not use optim"),
        (["epochs=5"], "task=walk does not use epochs"),
        (["engine=loop"], "task=walk does not use engine"),
        (["regularization=[l1,l2]"], "does not use regularization"),
        (["target.metric=val_loss"], "does not use target"),
        (["experiment=smoke"], "task=walk does not use"),
        (["experiment=wide"], "model.width=32 is given, and task=walk does not use model"),
        (["task.rat=1"], "did you mean 'task.rate'"),
        (["task.rate=0"], "task.rate must be a finite number > 0"),
        (["task.target=functions.other_names"], "task.target is a setting of task=custom"),
        (["modle=mlp"], "unknown key 'modle'"),
    ],
)
def test_what_it_does_not_use_is_refused(given: list[str], said: str, walk: Path, optbench: Optbench) -> None:
    (walk / "mine" / "experiment").mkdir()
    (walk / "mine" / "experiment" / "wide.yaml").write_text("# @package _global_\n# Wide\nmodel: {width: 32}\n")
    refused = optbench("train", *WALK, *given)
    assert refused.code == 2 and said in refused.err, refused.err
    assert optbench("train", "-m", *WALK, *given, "seeds=2").code == 2
    assert not (walk / "outputs").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["task.target=functions.other_names"], "task.target is a setting of task=custom, but task=train is chosen"),
        (["task=custom"], "task.target must be given"),
        (["task=custom", "task.target=functions"], "import path"),
        (["task=custom", "task.target=functions.nothing"], "cannot be imported"),
        (["task=custom", "task.target=functions.number"], "is no function"),
        (["task=custom", "task.target=functions.Trainer"], "got a class"),
        (["task=custom", "task.target=functions.generates"], "a generator or a coroutine"),
        (["task=custom", "task.target=functions.waits"], "a generator or a coroutine"),
        (["task=custom", "task.target=functions.no_recorder"], "must take (config, seed, run), got (config, seed)"),
        (["task=custom", "task.target=functions.with_more"], "missing a required argument: 'epochs'"),
        (["task=train", "task.args.a=1"], "task.args.a is a setting of task=custom"),
    ],
)
def test_what_is_no_training_function_is_refused(given: list[str], said: str, walk: Path, optbench: Optbench) -> None:
    refused = optbench("train", *given)
    assert refused.code == 2 and said in refused.err, refused.err
    assert not (walk / "outputs").exists()


def test_arguments_have_any_names(walk: Path, optbench: Optbench) -> None:
    assert optbench("train", "task=custom", "task.target=functions.other_names", "task.args.a=1").code == 0


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ("[modle]", "did you mean 'model'"),
        ("[engine]", "no group or key that a task can use"),
        ("data", "must be a list"),
    ],
)
def test_a_yaml_that_uses_what_is_not_there_is_refused(facts: str, said: str, walk: Path, optbench: Optbench) -> None:
    use(walk, facts)
    refused = optbench("train", *WALK)
    assert refused.code == 2 and said in refused.err, refused.err


def test_a_size_that_our_loop_settles_is_refused(walk: Path, optbench: Optbench) -> None:
    use(walk, "[batch]")
    assert optbench("train", *WALK, "batch.size=5").code == 0
    refused = optbench("train", *WALK, "batch=auto")
    assert refused.code == 2 and "batch=auto is settled by our own loop" in refused.err
