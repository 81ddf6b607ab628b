"""A study's second sweep starts from the runs of the first; it is resumed, and its records are checked alike."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.report.load import Records
from runner.run.files import read_config
from runner.run.job import Job
from runner.study import study as machinery
from runner.study.judging import judgement, lines
from runner.study.study import Judgement, Study, run

SHARED = ("model.width=8", "model.depth=1", "optim=sgd", "eval_every=2", "save=last")


def second(jobs: Sequence[Job]) -> list[str]:
    return [
        *(*SHARED, "max_steps=4"),
        *(
            word
            for job in jobs
            for word in ("+", "init=pretrained", f"init.run='{job.folder}'", f"seed={job.config['seed']}")
        ),
    ]


def judge(records: Records) -> Judgement:
    by_init = records.runs["init"].value_counts().to_dict()
    rows = [{"what": name, "found": count, "holds": count == 2} for name, count in sorted(by_init.items())]
    axis = np.array([0.0, 1.0])
    return judgement(rows, lines("made-up", "Nothing", ("x", "y"), {"nothing": (axis, axis)}, log=False))


MADE_UP = Study(
    *("made-up", "It goes on", "nobody", "ordering", "two runs of each sweep", 1),
    (*SHARED, "max_steps=2", "seeds=2"),
    judge,
    then=second,
)
PLACE = Path("outputs/study-made-up")


def places() -> list[Path]:
    return sorted(path.parent for path in PLACE.glob("*/config.yaml"))


def begun() -> list[Path]:
    return [place for place in places() if read_config(place)["init"]["_option_"] == "pretrained"]


def ends() -> dict[Path, int]:
    """When each run's summary was written."""
    return {place: (place / "summary.json").stat().st_mtime_ns for place in places()}


def unheard(text: str) -> None:
    raise AssertionError(text)


def test_it_begins_from_the_runs_of_the_first_and_both_are_judged(folder: Path) -> None:
    verdict = run(MADE_UP, unheard)
    assert verdict.verdict == "reproduced" and verdict.runs == 4 and len(places()) == 4
    firsts = {str(place) for place in places()} - {str(place) for place in begun()}
    assert {read_config(place)["init"]["run"] for place in begun()} == firsts
    before = ends()
    assert run(MADE_UP, unheard).as_json() == verdict.as_json() and ends() == before


def test_stopped_between_the_two_it_goes_on_with_the_second(folder: Path) -> None:
    def stops(jobs: Sequence[Job]) -> list[str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(replace(MADE_UP, then=stops), unheard)
    before = ends()
    assert len(before) == 2 and not (PLACE / "verdict.json").exists()
    run(MADE_UP, unheard)
    assert before.items() <= ends().items() and len(places()) == 4


@pytest.mark.parametrize(("of_first", "file"), [(True, "checkpoint.pt"), (False, "metrics.csv")])
def test_a_damaged_run_of_either_is_trained_again_and_the_others_stand(of_first: bool, file: str, folder: Path) -> None:
    numbers = run(MADE_UP, unheard).numbers
    before, second_ones = ends(), begun()
    damaged = next(place for place in places() if (place not in second_ones) == of_first)
    (damaged / file).unlink()
    heard: list[str] = []
    assert run(MADE_UP, heard.append).numbers.equals(numbers)
    assert len(heard) == 1 and str(damaged) in heard[0]
    after = ends()
    assert {place for place in before if after[place] != before[place]} == {damaged} and len(after) == 4


def test_a_verdict_goes_where_a_run_of_the_second_is_to_be_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(MADE_UP, unheard)
    (begun()[0] / "checkpoint.pt").unlink()

    trains = machinery.run_all

    def stops(jobs: Sequence[Job], *rest: Any) -> Any:
        if jobs[0].config["init"]["_option_"] == "pretrained":
            raise KeyboardInterrupt
        return trains(jobs, *rest)

    monkeypatch.setattr(machinery, "run_all", stops)
    with pytest.raises(KeyboardInterrupt):
        run(MADE_UP, lambda text: None)
    assert not (PLACE / "verdict.json").exists()


def test_what_a_study_needs_is_refused_before_anything_is_trained(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused = optbench("study", "static-int8")
    assert refused.code == 2 and "pip install 'optbench[onnx]'" in refused.err
    assert list(folder.iterdir()) == []
