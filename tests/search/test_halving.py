"""Halving: who goes on at a rung, and a search that makes the same trials by whomever it is trained."""

import json
import os
import random
import re
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.search.halving import Halving
from runner.search.proposals import Method, Tried
from runner.search.rungs import Rungs
from runner.search.space import Choice, Number, Space
from runner.search.study import Generation, Stage, Study, Trial
from tests.support import forked
from tests.support.records import rows_of, run_folders, summary_of, without_timing

SMALL = ["model.width=8", "model.depth=1", "max_steps=18", "eval_every=2", "baselines=false"]
SPACE = ["init=he,xavier", "optim.lr=tag(log,interval(1e-4,1e-1))"]
ASKED = [
    *("tune", *SMALL, *SPACE, "--generation", "9", "--finalists", "0", "--trials", "18", "--halving", "3"),
    *("--metric", "val_loss"),
]
BY_3 = Halving(3, 2, "val_loss", "3")
BY_4 = Halving(4, 2, "val_accuracy", "4")


# ---- who goes on


def test_a_rung_is_a_share_of_a_run() -> None:
    assert [BY_3.pause_at(rung, 90) for rung in range(3)] == [10, 30, None]
    assert [BY_4.pause_at(rung, 100) for rung in range(3)] == [7, 25, None]


def test_of_so_many_one_goes_on() -> None:
    assert BY_3.sizes(16) == [16, 5, 1] and BY_4.sizes(16) == [16, 4, 1] and BY_3.sizes(2) == [2, 1, 1]
    assert BY_3.work(18) == pytest.approx(18 / 9 + 6 * 2 / 9 + 2 * 2 / 3)
    assert BY_3.work(18, rung=2) == pytest.approx(2 * 2 / 3)


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_run_that_failed_has_no_value_whatever_it_came_to_before(status: str, tmp_path: Path) -> None:
    for name, found, loss in (("bad", status, 0.1), ("good", "paused", 0.5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps({"status": found, "steps": 2}))
        (tmp_path / name / "metrics.csv").write_text(f"step,val_loss,status\n2,{loss},ok\n")
    study = Study(tmp_path, {"space": {}})
    rungs = Rungs(BY_3, Space((), (), ((),)), study, lambda overrides, name: pytest.fail("none is made"))
    trials = [Trial([], {}, [name]) for name in ("bad", "good")]
    assert [rungs._value(trial, [2]) for trial in trials] == [None, 0.5]


def test_two_searches_of_one_folder_do_not_mix(tmp_path: Path) -> None:
    first, other = (Study(tmp_path, {"space": {"optim.lr": range_}, "seed": 0}) for range_ in ("0.1", "0.2"))
    first.add(Generation(1, [Trial([], {"optim.lr": 0.1}, ["a"])], []))
    before = (tmp_path / "search.json").read_bytes()
    with pytest.raises(ConfigError, match="is of another search"):
        other.add(Generation(1, [Trial([], {"optim.lr": 0.2}, ["b"])], []))
    with pytest.raises(ConfigError, match="is of another search"):
        other.promote(0, Stage([0], []))
    assert (tmp_path / "search.json").read_bytes() == before


def test_the_better_ones_go_on_and_those_without_a_value_never_do() -> None:
    values = [0.5, None, 0.1, 0.3, None, 0.2, 0.9, 0.1, 0.7]
    assert BY_3.going_on(values) == [2, 5, 7]
    assert Halving(3, 1, "val_accuracy", "3").going_on(values) == [0, 6, 8]
    assert BY_3.going_on([None] * 9) == [] and BY_3.going_on([None, 0.1]) == [1]


def of_a_line(sampler: str) -> tuple[Method, list[Tried]]:
    """A search of which the best is at 0.7, and a history in which the others were left at a rung."""
    space = Space((), (Number("lr", "lr", 0.0, 1.0), Choice("init", (("init=he",), ("init=xavier",)))))
    tried = [(i / 40, 1 - abs(i / 40 - 0.7)) for i in range(40)]
    history = [Tried({"lr": lr, "init": 0}, value, None if value > 0.94 else 0) for lr, value in tried]
    history[3] = Tried(history[3].drawn, None)
    return Method(space, sampler, 0, higher_is_better=True), history


def test_a_sampler_learns_from_runs_that_were_left_at_a_rung() -> None:
    method, history = of_a_line("tpe")
    draws = method.draws(5, history, 40)
    found = [float(next(draws)["lr"]) for _ in range(12)]
    assert abs(statistics.median(found) - 0.7) < 0.15, found
    states = [trial.state.name for trial in method._told(history)]
    assert states.count("COMPLETE") == 5 and states.count("PRUNED") == 35


def test_a_gaussian_process_is_told_no_better_values_of_them_than_of_those_that_went_on() -> None:
    method, history = of_a_line("gp")
    early = [Tried(t.drawn, None if t.value is None else t.value + (t.rung == 0), t.rung) for t in history]
    told = [trial.value for trial in method._told(early)]
    further = [t.value for t in history if t.rung is None and t.value is not None]
    assert len(told) == 40 and max(told) == max(further) and min(told) == min(further)


# ---- a search with rungs


def searched(folder: Path, *more: str) -> Path:
    """A search in a process of its own, left alone."""
    folder.mkdir(exist_ok=True)
    assert forked.code_of(forked.start(folder, *ASKED, *more)) == 0, (folder / "said.txt").read_text()
    return folder


def proposed(folder: Path) -> bytes:
    return (folder / "outputs/default/search.json").read_bytes()


def state_of(folder: Path) -> dict[str, tuple[object, list[dict[str, str]]]]:
    return {run.name: (summary_of(run)["status"], without_timing(run)) for run in run_folders(folder)}


def test_few_go_on_from_each_rung_and_the_others_are_no_part_of_the_answer(optbench: Callable, folder: Path) -> None:
    found = optbench(*ASKED)
    assert found.code == 0, found.err
    steps = sorted(int(rows_of(run)[-1]["step"]) for run in run_folders(folder))
    assert steps == [2] * 12 + [6] * 4 + [18] * 2
    statuses = [summary_of(run)["status"] for run in run_folders(folder)]
    assert statuses.count("paused") == 16 and statuses.count("completed") == 2
    assert "the best of 2 settings, by validation loss of one run each; 16 more were left at a rung" in found.out
    for generation in json.loads(proposed(folder))["generations"]:
        at_first = [
            float(rows_of(folder / "outputs/default" / t["folders"][0])[1]["val_loss"]) for t in generation["trials"]
        ]
        best = sorted(range(9), key=at_first.__getitem__)[:3]
        assert [len(stage["went_on"]) for stage in generation["stages"]] == [3, 1]
        assert generation["stages"][0]["went_on"] == sorted(best)
    report = optbench("report", "outputs/default")
    assert report.code == 0 and "16 runs paused, not counted" in report.out
    again = optbench(*ASKED)
    assert again.code == 0 and again.out == found.out


def test_rungs_are_the_same_with_two_workers_without_the_file_and_after_kills(tmp_path: Path) -> None:
    one, two = (searched(tmp_path / str(n), f"workers={n}") for n in (1, 2))
    assert proposed(one) == proposed(two) and state_of(one) == state_of(two)
    killed = tmp_path / "killed"
    killed.mkdir()
    rng, rows = random.Random(0), 0
    for least in (5, 25, 40):
        pid = forked.start(killed, *ASKED, "workers=2")
        while not forked.has_ended(pid) and rows < least:
            rows = sum(len(path.read_text().splitlines()) - 1 for path in killed.glob("outputs/default/*/metrics.csv"))
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))
        forked.kill(pid)
    searched(killed, "workers=2")
    assert proposed(killed) == proposed(one) and state_of(killed) == state_of(one)
    (one / "outputs/default/search.json").unlink()
    searched(one, "workers=1")
    assert proposed(one) == proposed(two) and state_of(one) == state_of(two)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["auto", "loop"])
def test_rungs_are_the_same_after_many_kills(engine: str, tmp_path: Path) -> None:
    more = ["--trials", "54", "seeds=2", f"engine={engine}"]
    one = searched(tmp_path / "one", *more, "workers=1")
    killed = tmp_path / "killed"
    killed.mkdir()
    rng, kills = random.Random(1), 0
    while True:
        pid = forked.start(killed, *ASKED, *more, f"workers={rng.choice((1, 2, 8))}")
        until = time.monotonic() + (rng.uniform(0.3, 3) if kills < 100 else 1e9)
        while not forked.has_ended(pid) and time.monotonic() < until:
            time.sleep(0.01)
        if forked.has_ended(pid):
            assert forked.code_of(pid) == 0, (killed / "said.txt").read_text()
            break
        forked.kill(pid)
        kills += 1
    assert kills and proposed(killed) == proposed(one) and state_of(killed) == state_of(one)


def test_ctrl_c_at_a_rung_and_the_same_command_goes_on(tmp_path: Path) -> None:
    alone, stopped = searched(tmp_path / "alone", "workers=1"), tmp_path / "stopped"
    stopped.mkdir()
    pid = forked.start(stopped, *ASKED, "workers=1")
    while not forked.has_ended(pid) and len(list(stopped.glob("outputs/default/*/summary.json"))) < 9:
        time.sleep(0.005)
    if not forked.has_ended(pid):
        os.kill(pid, signal.SIGINT)
    assert forked.code_of(pid) in (130, 0), (stopped / "said.txt").read_text()
    searched(stopped, "workers=1")
    assert proposed(stopped) == proposed(alone) and state_of(stopped) == state_of(alone)


def test_trials_are_whole_generations_and_a_dry_run_says_the_rungs(optbench: Callable, folder: Path) -> None:
    said = "--halving 3 (of 18 steps at 2 and 6, evaluated every 2): of 9 settings 3, then 1 go on"
    assert said in optbench(*ASKED, "dry_run=true").out and list(folder.iterdir()) == []
    found = optbench(*ASKED, "--trials", "4")
    assert found.code == 0 and "--trials 4 is 9: with --halving, generations are tried whole" in found.err
    assert len(run_folders(folder)) == 9
    for other, was in ((["--halving", "4"], "3"), (["eval_every=3"], "3")):
        refused = optbench(*_with(other))
        assert refused.code == 2 and re.search(rf"--halving was {was} .*, now it is", refused.err), refused.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--generation", "2"], "--halving 3 needs a --generation of 3 settings at least, got 2"),
        (["eval_every=10"], "has no evaluation before a 1/3 of it: give longer runs, or eval_every=2"),
        (["--halving", "5"], "argument --halving: must be one of none, 3, 4, got '5'"),
    ],
)
def test_what_has_no_rung_is_refused(given: list[str], said: str, optbench: Callable, folder: Path) -> None:
    refused = optbench(*_with(given))
    assert refused.code == 2 and said in refused.err and list(folder.iterdir()) == []


def _with(given: list[str]) -> list[str]:
    """What is asked, with something else in the place of what has its key."""
    keys = {word.partition("=")[0] for word in given if "=" in word}
    return [*(word for word in ASKED if word.partition("=")[0] not in keys), *given]
