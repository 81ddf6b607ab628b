"""Parts of one's own are called by their names in folders, tables and reports, and their runs keep their ids."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.config.identity import choices, folder_name
from runner.report import load as loading
from tests.support.records import run_folder, run_folders

STEPS = ["optim=custom", "optim.target=tests.own_parts.Steps"]
QUICK = ["epochs=1", "baselines=false"]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "outputs/default/runs.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("overrides", "column", "name"),
    [
        (STEPS, "optim", "Steps"),
        ([*STEPS, "optim.shown_as=plain-2"], "optim", "plain-2"),
        (["init=custom", "init.target=tests.own_parts.fill"], "init", "fill"),
        (["model=custom", "model.target=tests.own_parts.Net"], "model", "Net"),
        (["data=custom", "data.target=tests.own_parts.load"], "data", "load"),
        (["optim=custom", "optim.target=torch.optim.RMSprop"], "optim", "RMSprop"),
        (["task=custom", "task.target=tests.own_parts.record_once"], "task", "record_once"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else v,
)
def test_a_part_has_its_own_name(overrides: list[str], column: str, name: str, job: Callable) -> None:
    this = job(*overrides)
    found = choices(this.config)
    assert found[column] == name and found[f"{column}.target"].startswith(("tests.", "torch."))
    assert f"{column}.shown_as" not in found
    if column in ("init", "optim", "task"):
        assert name in folder_name(this.config, "id").split("-lr")[0]


def test_a_part_with_an_options_name_is_called_by_its_path(
    job: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    (folder / "named_alike.py").write_text("import torch\nclass adamw(torch.optim.SGD): pass\n")
    assert choices(job("optim=custom", "optim.target=named_alike.adamw").config)["optim"] == "named_alike.adamw"


def test_a_name_is_not_in_the_id_and_finds_the_run_under_its_other_names(optbench: Callable, folder: Path) -> None:
    assert optbench("train", *QUICK, *STEPS).code == 0
    place = run_folder(folder)
    place.rename(older := place.with_name(place.name.replace("Steps", "custom")))  # as older versions called it
    for name in ([], ["optim.shown_as=mine"]):
        assert "not trained again" in optbench("train", *QUICK, *STEPS, *name).out
    assert run_folders(folder) == [older]


def test_a_name_that_a_folder_cannot_have_or_an_option_has_is_refused(optbench: Callable, folder: Path) -> None:
    for name in ("a/b", ".x", "'a b'", "adamw", "x" * 61):
        refused = optbench("train", *STEPS, f"optim.shown_as={name}")
        assert refused.code == 2 and "optim.shown_as" in refused.err, refused.err
    assert list(folder.iterdir()) == []


def test_two_names_of_one_run_are_refused_in_a_sweep(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "-m", *QUICK, *STEPS, "optim.shown_as=a,b")
    assert refused.code == 2 and "optim.shown_as takes one value a sweep" in refused.err


def test_a_report_tells_parts_of_one_name_apart_and_gives_commands_that_run(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    for name, momentum in (("first_one", 0.9), ("second_one", 0.0)):
        code = "import torch\nclass Fast(torch.optim.SGD):\n    def __init__(self, params, lr):\n"
        (folder / f"{name}.py").write_text(f"{code}        super().__init__(params, lr, momentum={momentum})\n")
    targets = "first_one.Fast,second_one.Fast"
    shared = ["train", "-m", *QUICK, "seeds=2", "optim.lr=0.1"]
    assert optbench(*shared, "optim=custom", f"optim.target={targets}", "+", "optim=sgd").code == 2  # of no part
    union = ["+", "optim=custom", f"optim.target={targets}", "+", "optim=sgd"]
    assert optbench(*shared, *union).code == 0
    assert {row["optim"] for row in table(folder)} == {"Fast", "sgd"}
    said = optbench("report", "outputs/default").out
    assert "first_one.Fast" in said and "second_one.Fast" in said
    (command,) = [line for line in said.splitlines() if line.startswith("optbench train optim")]
    assert "optim=custom" in command and "optim.target=first_one.Fast" in command


def test_rows_of_older_versions_have_the_names_too(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "-m", *QUICK, *STEPS, "seeds=2").code == 0
    path = folder / "outputs/default/runs.csv"
    path.write_text(path.read_text().replace(",Steps,", ",custom,", 1))
    assert {row["optim"] for row in table(folder)} == {"custom", "Steps"}
    assert set(loading.load(path.parent).runs["optim"]) == {"Steps"}
