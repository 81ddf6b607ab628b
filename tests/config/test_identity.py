"""The run id: the same for the same science, another for another."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.made_data import make_table


@pytest.mark.parametrize(
    "same",
    [
        ["optim=adamw"],
        ["optim.lr=1e-3"],
        ["optim.lr=0.001"],
        ["epochs=20"],
        ["batch.size=64"],
        ["batch.micro=null"],
        ["batch.micro=64"],
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
        ["stop=none"],
        ["target.metric=val_accuracy", "target.value=0.9"],
        ["data.val_fraction=0.1"],
        ["data.folds=null", "data.fold=null", "data.bootstrap=null"],
        ["data.generated=0"],
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
        ["batch.micro=32"],
        ["batch=adaptive"],
        ["batch=auto"],
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
        ["stop=steps"],
        ["stop=time"],
        ["data.folds=5", "data.fold=0"],
        ["data.bootstrap=0"],
        ["data.generated=0.5"],
    ],
)
def test_what_decides_the_science_changes_the_id(other: list[str], job: Callable) -> None:
    assert job("init=he", *other).run_id != job("init=he").run_id


def test_order_of_overrides_and_of_a_combination_makes_no_difference(job: Callable) -> None:
    assert job("optim=sgd", "seed=3").run_id == job("seed=3", "optim=sgd").run_id
    assert job("regularization=[l2,dropout]").run_id == job("regularization=[dropout,l2]").run_id
    assert job("augment=[mixup,crop]").run_id == job("augment=[crop,mixup]").run_id


def test_evaluations_count_where_stopping_reads_them(job: Callable) -> None:
    target = ["target.metric=val_accuracy", "target.value=0.9"]
    for stopping in ("regularization=early_stopping", "stop=plateau", "stop=grad_norm", "stop=target"):
        beside = target if stopping == "stop=target" else []
        assert job(stopping, *beside, "eval_every=7").run_id != job(stopping, *beside).run_id
    for budget in ("stop=steps", "stop=[steps,time]"):
        assert job(budget, "eval_every=7").run_id == job(budget).run_id


def test_a_target_counts_where_it_is_obeyed(job: Callable) -> None:
    def with_target(value: float, metric: str = "val_accuracy", ends: str = "target") -> str:
        return job(f"stop={ends}", f"target.metric={metric}", f"target.value={value}").run_id

    assert with_target(0.9) == with_target(0.9, "accuracy")
    assert with_target(0.9) != with_target(0.8)
    assert with_target(0.9) != with_target(0.9, "val_loss")
    assert with_target(0.9, ends="plateau") == with_target(0.8, ends="plateau")


def test_ids_of_earlier_versions_stay(job: Callable) -> None:
    assert job().run_id == "6aadb403"
    assert job("optim=sgd", "regularization=early_stopping", "data=wine").run_id == "b70ca5bf"


def test_every_fold_and_every_resample_is_a_run_of_its_own(job: Callable) -> None:
    folds = [job("data.folds=3", f"data.fold={fold}").run_id for fold in range(3)]
    draws = [job(f"data.bootstrap={seed}").run_id for seed in range(3)]
    assert len({*folds, *draws, job("data.folds=4", "data.fold=0").run_id}) == 7


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
