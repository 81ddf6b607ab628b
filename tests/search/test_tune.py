"""A search: the same trials whoever trains them and however often it is interrupted; refusals that write nothing."""

import json
import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from runner.engine import fused
from runner.engine.fused.members import Stack
from runner.errors import ConfigError
from runner.search.asked import duration
from runner.sweep.queue import Queue
from tests.support import forked, killed
from tests.support.records import run_folders, summary_of, without_timing

SMALL = ["model.width=8", "model.depth=1", "max_steps=8", "eval_every=4"]
SPACE = ["init=he,xavier", "optim.lr=tag(log,interval(1e-4,1e-1))"]
ASKED = ["tune", *SMALL, *SPACE, "--generation", "6", "--finalists", "0", "--trials", "15"]


def proposed(folder: Path, name: str = "default") -> bytes:
    return (folder / "outputs" / name / "search.json").read_bytes()


def settings_of(folder: Path) -> list[list[str]]:
    content = json.loads(proposed(folder))
    return [trial["setting"] for generation in content["generations"] for trial in generation["trials"]]


def rows_by_run(folder: Path) -> dict[str, list[dict[str, str]]]:
    return {path.name: without_timing(path) for path in run_folders(folder)}


def searched(folder: Path, *more: str) -> Path:
    """A search in a process of its own, left alone."""
    folder.mkdir(exist_ok=True)
    pid = forked.start(folder, *ASKED, "baselines=false", *more)
    assert forked.code_of(pid) == 0, (folder / "said.txt").read_text()
    return folder


# ---- what a search is


def test_trials_are_runs_and_the_answer_is_the_best_of_them(optbench: Callable, folder: Path) -> None:
    found = optbench(*ASKED, "workers=2")
    assert found.code == 0, found.err
    assert len(run_folders(folder)) == 15 and "the best of 15 settings, by validation accuracy" in found.out
    assert len(settings_of(folder)) == 18, "generations are proposed whole"
    best = max(run_folders(folder), key=lambda run: float(str(summary_of(run)["final_val_accuracy"])))
    use = next(line for line in found.out.splitlines() if line.startswith("use "))
    again = optbench(*use.split()[2:], "save=none")
    assert f"folder  outputs/default/{best.name}" in again.out and "not trained again" in again.out
    assert optbench("report", "outputs/default").code == 0


def test_a_search_that_has_ended_trains_nothing_and_a_longer_one_goes_on(optbench: Callable, folder: Path) -> None:
    first = optbench(*ASKED)
    before = {run.name: (run / "summary.json").stat().st_mtime_ns for run in run_folders(folder)}
    again = optbench(*ASKED)
    assert again.out == first.out and proposed(folder)
    longer = optbench(*ASKED[:-1], "20")
    assert longer.code == 0 and "the best of 20 settings" in longer.out
    after = {run.name: (run / "summary.json").stat().st_mtime_ns for run in run_folders(folder)}
    assert before.items() <= after.items() and len(after) == 20
    assert "the best of 6 settings" in optbench(*ASKED[:-1], "6").out


def test_one_and_three_workers_and_a_search_without_its_file_make_the_same_trials(tmp_path: Path) -> None:
    one, three = (searched(tmp_path / str(n), f"workers={n}") for n in (1, 3))
    assert proposed(one) == proposed(three)
    assert rows_by_run(one) == rows_by_run(three)
    before = proposed(one)
    (one / "outputs/default/search.json").unlink()
    searched(one)
    assert proposed(one) == before and len(run_folders(one)) == 15


def test_a_search_that_is_killed_again_and_again_makes_the_same_trials(tmp_path: Path) -> None:
    alone = searched(tmp_path / "alone")
    folder = tmp_path / "killed"
    folder.mkdir()
    rng, seen = random.Random(0), 0
    for least in (1, 4, 9, 13):
        pid = forked.start(folder, *ASKED, "baselines=false", "workers=2")
        while not forked.has_ended(pid) and seen < least:
            seen = len(list(folder.glob("outputs/default/*/metrics.csv")))
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        forked.kill(pid)
    searched(folder, "workers=2")
    assert proposed(folder) == proposed(alone)
    assert rows_by_run(folder) == rows_by_run(alone)


def test_ctrl_c_ends_with_the_answer_so_far(tmp_path: Path) -> None:
    asked = [*ASKED[:-1], "4000", "baselines=false", "workers=1"]
    said = killed.stop(tmp_path, *asked, evaluations=30, number=signal.SIGINT)
    assert re.search(r"the best of \d+ settings", said) and "the same command goes on from here" in said
    assert "Traceback" not in said


def test_a_dead_worker_costs_no_trial(optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    take = Queue.take

    def take_and_kill(queue: Queue) -> object:
        from multiprocessing import active_children

        if not killed and queue.running:
            killed.append(1)
            for child in active_children():
                child.kill()
        return take(queue)

    monkeypatch.setattr(Queue, "take", take_and_kill)
    found = optbench(*ASKED, "workers=2")
    assert found.code == 0, found.err
    assert killed and "the best of 15 settings" in found.out


def test_seeds_are_runs_of_a_setting(optbench: Callable, folder: Path) -> None:
    found = optbench("tune", *SMALL, *SPACE, "seeds=2", "--trials", "4", "--generation", "4", "--finalists", "0")
    assert found.code == 0 and "the best of 4 settings, by validation accuracy as the mean of 2 runs each" in found.out
    assert len(run_folders(folder)) == 8
    trials = json.loads(proposed(folder))["generations"][0]["trials"]
    shown = float(re.findall(r"^  ([\d.]+)  ", found.out, re.MULTILINE)[0])
    means = []
    for trial in trials:
        values = [
            float(str(summary_of(folder / "outputs/default" / n)["final_val_accuracy"])) for n in trial["folders"]
        ]
        means.append(sum(values) / 2)
    assert shown == pytest.approx(max(means), abs=1e-4)


def test_a_small_space_ends_when_all_of_it_was_tried(optbench: Callable, folder: Path) -> None:
    found = optbench(
        "tune", *SMALL, "init=he,xavier,he_normal", "optim=sgd,adamw", "--trials", "50", "--finalists", "0"
    )
    assert found.code == 0 and "every setting of the space was tried" in found.err
    assert "the best of 4 settings" in found.out and len(run_folders(folder)) == 4


def test_where_all_diverge_nothing_is_recommended(optbench: Callable, folder: Path) -> None:
    asked = ["tune", "model=linear", "data=diabetes", "loss=mse", "optim=sgd", "max_steps=60", "data.normalize=none"]
    found = optbench(*asked, "optim.lr=interval(1e9,1e10)", "--trials", "3")
    assert found.code == 0, found.err
    assert "all of 3 trials diverged or failed: there is nothing to recommend" in found.out
    assert "use " not in found.out


def test_the_metric_asked_for_decides(optbench: Callable, folder: Path) -> None:
    found = optbench(*ASKED, "--metric", "val_loss")
    assert found.code == 0 and "by validation loss" in found.out
    losses = [float(str(summary_of(run)["final_val_loss"])) for run in run_folders(folder)]
    assert f"  {min(losses):.4f}  " in found.out


def test_the_history_says_what_more_trials_brought(optbench: Callable, folder: Path) -> None:
    found = optbench(*ASKED, "--sampler", "random")
    trials = json.loads(proposed(folder))["generations"]
    folders = [trial["folders"][0] for generation in trials for trial in generation["trials"]][:15]
    runs = {run.name: float(str(summary_of(run)["final_val_accuracy"])) for run in run_folders(folder)}
    values = [runs[name] for name in folders]
    assert f"best after 4, 8 trials: {max(values[:4]):.4f}, {max(values[:8]):.4f}" in found.out
    expected = [float(v) for v in re.findall(r"expected of as many random trials: ([\d.]+), ([\d.]+)", found.out)[0]]
    assert min(values) < expected[0] < expected[1] < max(values)


def test_a_dry_run_says_the_space_and_writes_nothing(optbench: Callable, folder: Path) -> None:
    shown = optbench("tune", *SMALL, "dry_run=true", "--budget", "10m")
    assert shown.code == 0 and "optim.lr of adamw: optim.lr from 0.0001 to 0.03, evenly in the logarithm" in shown.out
    assert "the same for all: model.width=8" in shown.out and list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "said"), [([], True), (["optim.lr=0.01,0.1"], False), (["optim.lr=0.01"], False)], ids=str
)
def test_optimizers_that_are_compared_at_their_default_rates_are_said_to_be(
    given: list[str], said: bool, optbench: Callable, folder: Path
) -> None:
    shown = optbench("tune", *SMALL, "optim=sgd,adamw", *given, "dry_run=true", "--trials", "4")
    assert shown.code == 0 and ("each optimizer keeps one rate" in shown.err) is said, shown.err


def test_the_best_few_are_run_with_new_seeds_and_the_choice_is_judged_on_newer_ones(
    tmp_path: Path, optbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [*ASKED[:-4], "--finalists", "3", "--trials", "6", "baselines=false"]
    said = []
    for name in ("alone", "interrupted"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        if name == "interrupted":
            pid = forked.start(Path.cwd(), *asked)
            while not forked.has_ended(pid) and len(list(Path().glob("outputs/default/*/summary.json"))) < 9:
                time.sleep(0.005)
            os.kill(pid, signal.SIGINT)
            assert forked.code_of(pid) == 130
        ended = optbench(*asked)
        assert ended.code == 0, ended.err
        said.append(ended.out)
    assert said[0] == said[1]
    assert "the 3 finalists with new seeds" in said[0]
    assert "On 5 further seeds, which had no part in the choice" in said[0]
    assert "better than the chosen one by" in said[0]
    runs = run_folders(tmp_path / "alone")
    seeds = [int(re.findall(r"-s(\d+)-", run.name)[0]) for run in runs]
    assert (
        seeds.count(0) == 6
        and seeds.count(1) == 3
        and max(seeds) == 11
        and all(seeds.count(s) == 2 for s in range(7, 12))  # the chosen one and the defaults
    )
    assert rows_by_run(tmp_path / "alone") == rows_by_run(tmp_path / "interrupted")


# ---- what ends it


def test_a_budget_ends_at_a_generations_edge(optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation takes ten seconds by this clock, so that the third would end after the budget."""
    clock = SimpleNamespace(monotonic=lambda: 10.0 * (len(list(folder.glob("outputs/*/*/summary.json"))) // 4))
    for module in ("runner.cli.tune", "runner.search.tune"):
        monkeypatch.setattr(f"{module}.time", clock)
    asked = ["tune", *SMALL, *SPACE, "--budget", "25s", "--generation", "4", "--finalists", "0", "workers=1"]
    found = optbench(*asked)
    assert found.code == 0 and "no room for another generation, which takes about 10 s" in found.err, found.err
    assert len(run_folders(folder)) == len(settings_of(folder)) == 8
    again = optbench(*asked)
    assert again.code == 0 and again.out == found.out


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("1h30m", 5400), ("2d", 172800)]
)
def test_budgets_are_times(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["0", "0s", "", "10", "m", "10 m", "-5m", "1x", "infs"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--budget must be a time above 0"):
        duration(text)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([*SPACE], "tune needs an end: --trials 100, or --budget 10m"),
        ([*SPACE, "--trials", "0"], "--trials must be a whole number ≥ 1, got 0"),
        ([*SPACE, "--trials", "3", "--generation", "0"], "--generation must be"),
        ([*SPACE, "--budget", "0"], "--budget must be a time above 0"),
        ([*SPACE, "epochs=3000", "max_steps=null", "--budget", "1s"], "one generation, 16 runs, takes about "),
        ([*SPACE, "--trials", "3", "--sampler", "tpee"], "did you mean 'tpe'?"),
        ([*SPACE, "--trials", "3", "--metric", "val_acuracy"], "did you mean 'val_accuracy'?"),
        (["optim.lr=tag(log,interval(0,1))", "--trials", "3"], "a log range must be above 0"),
        (["optim.lr=interval(-1,1)", "--trials", "3"], "optim.lr must be a finite number > 0"),
        (["optim=sgd,adamw", "optim.weight_decay=0.1,0.2", "--trials", "3"], "A + B + C searches A with B"),
        (["optim.lrr=0.1,0.2", "--trials", "3"], "did you mean 'optim.lr'?"),
        (["inti=he,xavier", "--trials", "3"], "init"),
        (["device=cpu,auto", "--trials", "3"], "device does not change what a run finds"),
        (["name=a,b", "--trials", "3"], "name does not change what a run finds"),
        ([*SPACE, "force=true", "--trials", "3"], "force=True beside tune"),
        ([*SPACE, "pause_at=3", "--trials", "3"], "pause_at=3 beside tune"),
        ([*SPACE, "data.val_fraction=0", "--trials", "3"], "no validation samples"),
        ([*SPACE, "--trials", "3", "--halving", "2"], "argument --halving: must be one of none, 3, 4"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    given: list[str], said: str, optbench: Callable, folder: Path
) -> None:
    refused = optbench("tune", *SMALL[:2], *([] if "max_steps=null" in given else SMALL[2:3]), *_without_null(given))
    assert refused.code == 2, refused.err
    assert said in refused.err and "Traceback" not in refused.err
    assert list(folder.iterdir()) == []


def _without_null(given: list[str]) -> list[str]:
    return [word for word in given if word != "max_steps=null"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["optim.lr=tag(log,interval(1e-5,1e-1))"], "optim.lr was optim.lr from 0.0001 to 0.1"),
        (["init=he"], "init was init=he | init=xavier, now it is not searched"),
        (["model.width=9"], "model.width was 8, now it is 9"),
        (["--seed", "1"], "--seed was 0, now it is 1"),
        (["--sampler", "random"], "--sampler was tpe, now it is random"),
        (["--generation", "5"], "--generation was 6, now it is 5"),
        (["seeds=2"], "the runs of a setting was one run, now it is seed=0; seed=1"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_another_search_under_the_same_name_is_refused(
    changed: list[str], said: str, optbench: Callable, folder: Path
) -> None:
    study = folder / "outputs/default/search.json"
    asked = ["tune", *SMALL, *SPACE, "--finalists", "0", "--generation", "6", "--trials", "1"]
    assert optbench(*asked).code == 0
    before = study.read_bytes()
    keys = {word.partition("=")[0] for word in changed if word != "1"}
    kept = [
        word for word in asked if word.partition("=")[0] not in keys and not ("--generation" in keys and word == "6")
    ]
    refused = optbench(*kept, *changed)
    assert refused.code == 2, refused.out
    assert said in refused.err and "name=…" in refused.err
    assert study.read_bytes() == before and len(run_folders(folder)) == 1
    assert optbench(*kept, *changed, "name=other", "workers=1").code == 0


def test_a_generation_that_does_not_fit_into_memory_makes_the_same_trials(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stacks of more than four members run out of memory, and are halved; workers are forked, so they see it too."""
    asked = [*ASKED[:-6], "--generation", "16", "--finalists", "0", "--trials", "40"]
    assert optbench(*asked, "name=whole", "workers=2").code == 0
    sizes = {summary_of(run)["stack_size"] for run in run_folders(folder, "whole")}
    train = fused.train

    def train_few(members: Stack, over: Callable[[int], bool]) -> object:
        if len(members.states) > 4:
            raise torch.OutOfMemoryError("too many")
        return train(members, over)

    monkeypatch.setattr(fused, "train", train_few)
    assert optbench(*asked, "name=halved", "workers=2").code == 0
    assert max(sizes) == 8 and max(summary_of(run)["stack_size"] for run in run_folders(folder, "halved")) == 4
    whole, halved = (json.loads(proposed(folder, name))["generations"] for name in ("whole", "halved"))
    assert whole == halved
