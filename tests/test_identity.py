"""The run id: the same for the same science, another for another."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.made_data import make_table


@pytest.mark.parametrize(
    "same",
    [
        ["optim=adamw"],
        ["optim.lr=1e-3"],
        ["optim.lr=0.001"],
        ["epochs=20"],
        ["batch.size=64"],
        ["name=other"],
        ["device=cpu"],
        ["threads=1"],
        ["deterministic=true"],
        ["save=best"],
        ["force=true"],
        ["eval_every=7"],
        ["init.gain=null"],
        ["data.normalize=standard", "seed=0"],
        ["regularization=[]"],
        ["augment=none"],
    ],
)
def test_what_does_not_decide_the_science_leaves_the_id(same: list[str], job: Callable) -> None:
    assert job("init=he", *same).run_id == job("init=he").run_id


@pytest.mark.parametrize(
    "other",
    [
        ["optim=adam"],
        ["optim.lr=2e-3"],
        ["epochs=10"],
        ["max_steps=420"],
        ["batch.size=32"],
        ["seed=1"],
        ["amp=bf16"],
        ["dtype=float64"],
        ["loss=mse"],
        ["data.split_seed=1"],
        ["regularization=l2"],
        ["augment=flip"],
        ["model.activation=tanh"],
        ["scheduler=cosine"],
        ["optim.decay_bias_and_norm=true"],
    ],
)
def test_what_decides_the_science_changes_the_id(other: list[str], job: Callable) -> None:
    assert job("init=he", *other).run_id != job("init=he").run_id


def test_order_of_overrides_and_of_a_combination_makes_no_difference(job: Callable) -> None:
    assert job("optim=sgd", "seed=3").run_id == job("seed=3", "optim=sgd").run_id
    assert job("regularization=[l2,dropout]").run_id == job("regularization=[dropout,l2]").run_id
    assert job("augment=[mixup,crop]").run_id == job("augment=[crop,mixup]").run_id


def test_evaluations_count_where_stopping_reads_them(job: Callable) -> None:
    stopping = "regularization=early_stopping"
    assert job(stopping, "eval_every=7").run_id != job(stopping).run_id


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["optim=sgd"], "sgd"),
        (["optim=sgd", "optim.momentum=0.9"], "momentum"),
        (["optim=sgd", "optim.momentum=0.9", "optim.nesterov=true"], "nesterov"),
        (["optim=nesterov", "optim.nesterov=false"], "momentum"),
        (["optim=momentum", "optim.momentum=0"], "sgd"),
        (["optim=nesterov", "optim.momentum=0.0"], "sgd"),
    ],
)
def test_sgd_is_named_by_its_numbers(overrides: list[str], name: str, job: Callable) -> None:
    named = job(*overrides, "optim.lr=0.05")
    assert named.config["optim"]["_option_"] == name
    assert f"-{name}-lr0.05-" in named.folder.name


def test_one_run_however_it_was_asked(job: Callable) -> None:
    asked = (
        ["optim=sgd", "optim.momentum=0.9", "optim.lr=0.01"],
        ["optim=momentum"],
        ["optim=nesterov", "optim.nesterov=false"],
    )
    assert len({job(*overrides).run_id for overrides in asked}) == 1


def test_where_the_files_of_joined_data_lie_makes_no_difference(job: Callable, folder: Path) -> None:
    def joined(place: str, more: str = "") -> str:
        given = f"{{linear_regression: {{features: 2}}, csv: {{path: {place}, label: bought, {more}}}}}"
        return job("data=concat", "data.parts=[linear_regression,csv]", f"data.args={given}").run_id

    path = make_table(folder / "a.csv")
    path.write_text(path.read_text().replace("yes", "1").replace("no", "0"))
    (folder / "b.csv").write_bytes(path.read_bytes())
    numbers = "kind: numbers, columns: [age, income]"
    assert joined("a.csv", numbers) == joined("b.csv", numbers)
