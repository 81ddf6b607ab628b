"""A search as a journal of Optuna's, from Python: the same trials, and a file that only grows."""

from pathlib import Path

import optuna
import pytest

import optbench
from runner.errors import ConfigError

SMALL = ["model.width=8", "model.depth=1", "max_steps=4", "eval_every=4", "workers=1"]
SPACE = ["init=he,xavier", "optim.lr=tag(log,interval(1e-4,1e-1))"]


def test_optuna_loads_the_journal_of_a_search_and_more_trials_are_added_to_it(folder: Path) -> None:
    asked = {"generation": 4, "finalists": 0, "journal": "study.log"}
    found = optbench.tune(*SMALL, SPACE, trials=4, **asked)  # type: ignore[arg-type]
    before = (folder / "study.log").read_bytes()
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend("study.log"))
    study = optuna.load_study(study_name="default", storage=storage)
    assert [trial.value for trial in study.trials] == pytest.approx(list(found.trials["val_accuracy"]))
    assert [trial.params["init"] for trial in study.trials] == [f"init={name}" for name in found.trials["init"]]
    assert study.best_value == found.trials["val_accuracy"].max()
    longer = optbench.tune(*SMALL, SPACE, trials=6, **asked)  # type: ignore[arg-type]
    assert len(longer.trials) == 6 and (folder / "study.log").read_bytes().startswith(before)


def test_what_a_search_recommends_is_what_train_takes(folder: Path) -> None:
    found = optbench.tune(*SMALL, SPACE, trials=3, generation=3, finalists=0)
    assert found.recommended is not None and found.ended == "3 trials were asked for"
    best = found.trials.loc[found.trials["val_accuracy"].idxmax()]
    again = optbench.train(*found.recommended, "save=none")
    assert again.folder.name == best["runs"] and not again.trained
    assert str(found) == found.text and "3 trials" in repr(found)
    assert found.report().answers[0]["command"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "needs an end"),
        ({"trials": 0}, "--trials must be"),
        ({"trials": 2, "sampler": "tpee"}, "did you mean 'tpe'?"),
        ({"budget": "soon"}, "--budget must be a time"),
        ({"trials": 2, "journal": "nowhere/study.log"}, "journal must be a file in a folder that is there"),
    ],
)
def test_what_cannot_be_searched_is_refused(asked: dict[str, object], said: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        optbench.tune(*SMALL, SPACE, **asked)  # type: ignore[arg-type]
    assert said in str(refused.value) and list(folder.iterdir()) == []
