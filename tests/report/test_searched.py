"""What a report says of a search: the finals' choice, by runs that chose nothing, and what it bought."""

import contextlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from runner.cli.main import main
from runner.report import searched
from runner.report.load import load
from runner.search import study
from runner.search.space import Choice, Number
from tests.support.records import run_folders, summary_of
from tests.support.reports import report

SMALL = ["model.width=8", "model.depth=1", "max_steps=8", "eval_every=4"]
SPACE = ["init=he,xavier", "+", "optim=sgd", "optim.lr=tag(log,interval(1e-2,1))", "+", "optim=adamw"]
SPACE += ["optim.lr=tag(log,interval(1e-4,1e-1))", "optim.weight_decay=interval(0,0.5)"]
COMMAND = ["tune", *SMALL, *SPACE, "--trials", "24", "--generation", "12", "--finalists", "2", "baselines=false"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search that was really made, and what its command said."""
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.chdir(folder)
        assert main(COMMAND) == 0
    return folder / "outputs" / "default", said.getvalue()


@pytest.fixture
def folder_of(made: tuple[Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "outputs" / "default"))


def finals_of(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / searched.FINALS).read_text()))


def test_the_files_names_are_those_that_a_search_writes() -> None:
    assert searched.STUDY == study.FILE


@pytest.mark.parametrize(
    ("parameter", "shown"),
    [
        (Choice("init", (("init=he",), ("init=xavier",))), {0: "he", 1: "xavier"}),
        (Choice("part", (("optim=sgd", "batch.size=8"), ())), {0: "optim=sgd batch.size=8", 1: "nothing"}),
        (Number("lr", "optim.lr", 1e-4, 0.3, log=True), {0.01: "0.01"}),
        (Number("w", "model.width", 8, 64, log=True, whole=True), {16: "16"}),
        (Number("w", "model.width", 16, 64, whole=True, step=16), {32: "32"}),
        (Number("p", "dropout.p", 0.1, 0.4, step=0.1), {0.2: "0.2"}),
    ],
)
def test_a_parameter_is_read_as_it_was_described(parameter: Choice | Number, shown: dict[float, str]) -> None:
    found = searched._drawn(parameter.name, str(parameter))
    assert bool(found.options) == isinstance(parameter, Choice)
    if isinstance(parameter, Number):
        assert (found.low, found.high, found.log) == (*map(float, parameter.ends), parameter.log)
    assert {value: found.shown(value) for value in shown} == shown


def test_the_choice_of_the_finals_is_recommended_and_judged_by_runs_that_chose_nothing(
    made: tuple[Path, str], folder_of: Path
) -> None:
    finals = finals_of(folder_of)
    chosen = finals["finalists"][finals["chosen"]]  # type: ignore[index]
    judged = [float(str(summary_of(folder_of / run)["final_val_accuracy"])) for run in chosen["judged"]]
    assert len(judged) == 5 and f"validation accuracy {sum(judged) / 5:.4f}" in made[1]
    text = report(folder_of)
    answer = json.loads((folder_of / "report" / "answer.json").read_text())[0]
    assert answer["measures"]["validation accuracy"]["mean"] == pytest.approx(sum(judged) / 5)
    assert answer["measures"]["validation accuracy"]["seeds"] == 5
    rate = next(word for word in chosen["setting"] if word.startswith("optim.lr="))
    assert rate in answer["command"] and "of the 2 finalists" in text and answer["matters"] == []
    if finals["regret"]:
        assert "the regret" in text


def test_the_defaults_are_run_with_the_same_seeds_and_held_against_the_choice(folder_of: Path) -> None:
    finals = finals_of(folder_of)
    report(folder_of)
    table = pd.read_csv(folder_of / "report" / "search-against.csv")
    defaults = finals["defaults"]["judged"]  # type: ignore[index]
    of_each = [float(str(summary_of(folder_of / run)["final_val_accuracy"])) for run in defaults]
    row = table[table["against"] == "the defaults"].iloc[0]
    assert row["val_accuracy"] == pytest.approx(sum(of_each) / 5) and row["runs"] == 5
    assert row["ahead_low"] <= row["ahead"] <= row["ahead_high"]


def test_history_importance_slices_and_trials_are_written(folder_of: Path) -> None:
    text = report(folder_of)
    there = {path.name for path in (folder_of / "report").iterdir()}
    assert {f"search-{n}.svg" for n in ("history", "importance", "slices")} <= there
    trials = pd.read_csv(folder_of / "report" / "search-trials.csv")
    assert list(trials["trial"]) == list(range(1, 25))
    assert trials["optim.lr in part 1"].notna().sum() + trials["optim.lr in part 2"].notna().sum() == 24
    importance = pd.read_csv(folder_of / "report" / "search-importance.csv")
    assert importance["ped_anova"].sum() == pytest.approx(1) and importance["variance_explained"].notna().any()
    assert "the first 10 trials were drawn at random" in " ".join(text.split())
    page = (folder_of / "report.html").read_text()
    assert "What did the search find?" in page and "Which parameters decided the search?" in page


def test_without_finals_the_best_trial_is_called_lucky(folder_of: Path) -> None:
    (folder_of / searched.FINALS).unlink()
    assert "No finals judged it" in report(folder_of)


@pytest.mark.parametrize("content", ["{", "[]", '{"study": {"space": {"a": "b"}}, "generations": []}'])
def test_a_file_that_is_no_searchs_is_named_and_the_runs_are_reported(content: str, folder_of: Path) -> None:
    (folder_of / searched.STUDY).write_text(content)
    text = report(folder_of)
    assert "cannot be read" in text and "The search:" not in text


def test_another_metric_than_the_searchs_is_judged_as_a_sweep(folder_of: Path, optbench: Callable) -> None:
    found = optbench("report", str(folder_of), "--metric", "val_loss")
    assert found.code == 0, found.err
    assert "finalists" not in found.out.partition("The search:")[0]


def test_reading_a_search_needs_no_optuna(folder_of: Path) -> None:
    code = f"import sys; from runner.report.write import report; print(report({str(folder_of)!r}).text); "
    code += "sys.exit(bool({'optuna', 'torch'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0 and "The search: 24 trials" in ended.stdout, ended.stderr


def test_trials_that_have_not_ended_have_no_part(folder_of: Path) -> None:
    records = load(folder_of)
    found = searched.read(records)
    assert found is not None and len(found.ended(records)) == 24 and len(run_folders(folder_of.parents[1])) > 24
    records.runs.loc[records.runs["run_id"] == found.trials[3].runs[0], "status"] = "running"
    assert len(found.ended(records)) == 23
