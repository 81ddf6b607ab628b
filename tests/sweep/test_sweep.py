"""Sweeps: planned whole, idempotent, parallel, isolated; one owner a run."""

import csv
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.types import RunMode
from omegaconf import OmegaConf

from runner.config import hydra_door
from runner.config.check import check
from runner.config.compose import Composer, start_hydra
from runner.config.options import COMBINED_GROUPS
from runner.sweep.plan import Grid, plan, spell_out_seeds, split_unions
from tests.support import forked, killed
from tests.support.composed import COMPOSED
from tests.support.known import TINY
from tests.support.pasted import pasted
from tests.support.records import rows_by_run, run_folders, summary_of

ROOT = Path(__file__).parents[2]
EXPERIMENTS = sorted((ROOT / "configs" / "experiment").glob("*.yaml"))


def statuses(folder: Path) -> list[str]:
    return sorted(str(summary_of(run)["status"]) for run in run_folders(folder))


def table(folder: Path, name: str = "default") -> dict[str, dict[str, str]]:
    with (folder / "outputs" / name / "runs.csv").open() as file:
        return {row["run_id"]: row for row in csv.DictReader(file)}


# ---- planning


CHOICES = {
    "init": ["he", "xavier", "default", "normal"],
    "optim": ["sgd", "adamw", "momentum"],
    "scheduler": ["cosine", "constant"],
    "regularization": ["none", "dropout", "[l2,dropout]"],
    "augment": ["none", "noise", "[crop,mixup]"],
    "stop": ["none", "steps", "[plateau,grad_norm]"],
    "experiment": ["smoke"],
}
VALUES = {
    "seed": ["1", "7"],
    "optim.lr": ["0.1", "${data.fraction}", "1e-3"],
    "epochs": ["3"],
    "model.width": ["8", "${model.depth}"],
    "scheduler.warmup": ["0.1", "5"],
    "batch.size": ["16", "${model.width}"],
}


def without_specs(config: object) -> object:
    """A config without what its YAMLs say of their options."""
    if not isinstance(config, dict):
        return config
    return {key: without_specs(value) for key, value in config.items() if key != "_spec_"}


@pytest.mark.parametrize("draw", range(12))
def test_composing_fast_is_composing_as_hydra_does(draw: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hydra_door, "compose", COMPOSED)
    rng = random.Random(draw)
    loader = start_hydra().config_loader
    composer = Composer.of(loader)
    overrides = [f"{key}={rng.choice(values)}" for key, values in (CHOICES | VALUES).items() if rng.random() < 0.6]
    rng.shuffle(overrides)
    whole = loader.load_configuration("config", overrides, RunMode.RUN)
    theirs = OmegaConf.to_container(OmegaConf.masked_copy(whole, [k for k in whole if k != "hydra"]), resolve=True)
    theirs = without_specs({group: {} for group in COMBINED_GROUPS} | theirs)
    assert composer.compose(overrides).config == check(theirs)


def test_planning_a_job_whole_costs_less_than_half_of_what_hydras_composing_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydra_door, "compose", COMPOSED)  # nothing is there before
    loader = start_hydra().config_loader
    composer = Composer.of(loader)
    jobs = composer.expand(["init=he,xavier", "optim=sgd,adamw", f"seed={','.join(map(str, range(50)))}"])
    plan(composer, jobs[:2])  # imports and data
    began = time.process_time()
    assert len(plan(composer, jobs)) == 200
    ended = time.process_time()
    for job in jobs[:5]:
        loader.load_configuration("config", list(job), RunMode.RUN)
    assert (ended - began) / len(jobs) < (time.process_time() - ended) / 5 / 2  # a sixth when it was written


def test_unions_join_grids_that_share_values() -> None:
    composer = Composer.over()
    given = split_unions(["seed=0,1", "+", "optim=sgd", "optim.lr=0.1,1", "+", "optim=adamw", "regularization=[l2]"])
    assert given[0] == "seed=0,1"
    unions = composer.parse(given, sweep=True)[-1].value
    jobs = Grid.of({}, [str(u) for u in unions], ["seed=0,1"]).jobs(composer)
    assert jobs == [
        ["seed=0", "optim=sgd", "optim.lr=0.1"],
        ["seed=0", "optim=sgd", "optim.lr=1"],
        ["seed=1", "optim=sgd", "optim.lr=0.1"],
        ["seed=1", "optim=sgd", "optim.lr=1"],
        ["seed=0", "optim=adamw", "regularization=[l2]"],
        ["seed=1", "optim=adamw", "regularization=[l2]"],
    ]


def test_a_command_line_replaces_an_experiments_axis() -> None:
    assert Grid.of({"seed": "0,1", "init": "he,xavier"}, [], ["seed=5"]).shared == ("init=he,xavier", "seed=5")


def test_seeds_is_short_for_seed() -> None:
    assert spell_out_seeds(["init=he", "seeds=3"]) == ["init=he", "seed=0,1,2"]


IDLE = ("threads=1,2", "eval_every=5,10", "save=last,best", "device=auto,cpu")
"""Axes that change nothing."""


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-m", "seeds=0"], ["seeds", "'0'"]),
        (["-m", "seeds=2", "seed=1"], ["seed", "twice"]),
        (["-m", "seed=0", "+"], ["+", "empty"]),
        (["-m", "seed=0,1", "+", "seed=2"], ["seed", "twice"]),
        (["-m", "name=a,b"], ["name", "one value a sweep"]),
        *((["-m", axis], [axis.partition("=")[0], "one value a sweep"]) for axis in IDLE),
        *((["-m", axis], ["runs"]) for axis in ("seed=range(0)", "init=glob(zz*)", "seed=range(1000000000)")),
        (["-m", "workers=0"], ["workers", "0"]),
        (["-m", "hydra/launcher=nonsense"], ["nonsense", "basic"]),
        (["-m", "hydra.launcher.foo=1"], ["foo"]),
        (["seeds=2"], ["-m"]),
        (["workers=2"], ["workers=2", "-m"]),
        (["experiment=grid"], ["-m", "optim.lr"]),
        (["-m", "seeds=2", "+", "experiment=grid"], ["init, optim, optim.lr", "before the first +"]),
    ],
    ids=lambda v: " ".join(v),
)
def test_a_sweep_that_cannot_be_meant_is_refused(
    argv: list[str], words: list[str], optbench: Callable, folder: Path
) -> None:
    refused = optbench("train", *TINY, *argv)
    assert refused.code == 2, refused.err
    assert all(word in refused.err for word in words), refused.err
    assert "Traceback" not in refused.err
    assert list(folder.iterdir()) == []


def test_dry_run_says_what_would_run_and_writes_nothing(optbench: Callable, folder: Path) -> None:
    grid = ["-m", *TINY, "optim=sgd", "optim.lr=0.1,0.2", "seeds=2"]
    result = optbench("train", *grid, "dry_run=true")
    assert result.code == 0
    assert result.out.count("new  ") == 4
    assert "4 would run, 0 are there; about" in result.out
    assert list(folder.iterdir()) == []
    optbench("train", *TINY, "optim=sgd", "optim.lr=0.1")
    assert "3 would run, 1 are there" in optbench("train", *grid, "dry_run=true").out


# ---- running


def test_any_number_of_workers_gives_the_same_rows(optbench: Callable, folder: Path) -> None:
    for workers in (1, 3):
        assert optbench("train", "-m", *TINY, f"name=w{workers}", f"workers={workers}", "seeds=4").code == 0
    assert rows_by_run(folder, "w1") == rows_by_run(folder, "w3")


def test_a_sweep_run_again_trains_nothing_and_a_larger_one_only_what_is_new(optbench: Callable, folder: Path) -> None:
    optbench("train", "-m", *TINY, "optim=sgd,adamw", "seed=0,1")
    before = {p: p.stat().st_mtime_ns for run in run_folders(folder) for p in run.rglob("*")}
    again = optbench("train", "-m", "seed=1,0", *TINY, "optim=adamw,sgd", "batch.size=64", "workers=1", "device=cpu")
    assert again.code == 0
    assert again.err.count("completed before") == 4
    larger = optbench("train", "-m", *TINY, "optim=sgd,adamw", "seeds=3")
    assert larger.err.count("completed before") == 4
    assert len(run_folders(folder)) == 6
    assert {p: p.stat().st_mtime_ns for p in before} == before


FRAGILE = ["optim=custom", "optim.target=tests.own_parts.Fragile", "scheduler=constant", *TINY]


def test_failed_runs_are_named_kept_and_tried_again_when_asked(optbench: Callable, folder: Path) -> None:
    grid = ["train", "-m", *FRAGILE, "optim.lr=0.01,7"]
    assert optbench(*grid).code == 1
    again = optbench(*grid)
    assert again.code == 1
    assert "failed before" in again.err
    retried = optbench(*grid, "retry=failed")
    assert retried.code == 1
    assert "failed before" not in retried.err
    assert "planted" in retried.err


def test_raising_diverging_dying_and_memory_cost_themselves_only(optbench: Callable, folder: Path) -> None:
    result = optbench("train", "-m", *FRAGILE, "loss=mse", "optim.lr=0.01,7,8,9,1e30,0.02")
    assert result.code == 1
    assert statuses_by_lr(folder) == {
        "0.01": "completed", "0.02": "completed", "1e+30": "diverged", "7": "failed", "8": None, "9": "failed",
    }  # fmt: skip
    ended = [line for line in result.err.splitlines() if line.startswith("optbench: ")]
    for words in (["failed", "lr=7", "planted", "traceback.txt"], ["failed", "lr=9", "Memory"], ["lr=8", "SIGKILL"]):
        assert any(all(word in line for word in words) for line in ended), (words, result.err)
    assert any("diverged" in line and "1e+30" in line for line in ended)


def statuses_by_lr(folder: Path) -> dict[str, object]:
    found = {}
    for run in run_folders(folder):
        lr = run.name.split("-lr")[1].rpartition("-s0-")[0]
        found[lr] = summary_of(run)["status"] if (run / "summary.json").exists() else None
    return found


def test_fail_fast_ends_the_sweep_at_a_failure(optbench: Callable, folder: Path) -> None:
    result = optbench("train", "-m", *FRAGILE, "optim.lr=7,0.01,0.02,0.03,0.04", "workers=1", "fail_fast=true")
    assert result.code == 1
    assert len(run_folders(folder)) == 1
    again = optbench("train", "-m", *FRAGILE, "optim.lr=7,0.01,0.02", "workers=1", "fail_fast=true")
    assert again.code == 1 and len(run_folders(folder)) == 3  # a failure of before ends no sweep


def test_what_fail_fast_interrupts_is_no_interruption(optbench: Callable, folder: Path) -> None:
    asked = ["model.width=8", "model.depth=1", "scheduler=constant", "workers=2", "baselines=false", "engine=loop"]
    failing = ["optim=custom", "optim.target=tests.own_parts.Fragile", "optim.lr=7", "epochs=2"]
    slow = ["optim=adamw", "optim.lr=0.01", "epochs=100000"]
    result = optbench("train", "-m", *asked, "fail_fast=true", "+", *slow, "+", *failing)
    assert result.code == 1 and "the same command" not in result.err, result.err


def test_runs_csv_is_rebuilt_from_the_folders(optbench: Callable, folder: Path) -> None:
    optbench("train", "-m", *TINY, "optim=sgd,adamw")
    before = table(folder)
    assert set(before) == {run.name[-8:] for run in run_folders(folder)}
    (folder / "outputs/default/runs.csv").write_text("garbage")
    assert "2 runs" in optbench("runs", "outputs/default").out
    assert table(folder) == before
    assert optbench("runs", "nowhere").code == 2


def test_identical_sweeps_at_once_train_each_run_once(folder: Path) -> None:
    asked = ["train", "-m", "epochs=20", "seeds=6", "workers=2", "model.width=32", "baselines=false"]
    started = [forked.start(folder, *asked, said=f"{i}.txt") for i in range(3)]
    codes = [forked.code_of(pid) for pid in started]
    said = [(folder / f"{i}.txt").read_text() for i in range(3)]
    assert codes == [0, 0, 0], said
    lines = [line for text in said for line in text.splitlines() if line.startswith("default-adamw")]
    assert sum(": completed, " in line for line in lines) == 6
    assert sum(": completed before" in line for line in lines) == 12
    assert statuses(folder) == ["completed"] * 6
    assert len(table(folder)) == 6


def test_ctrl_c_ends_a_sweep_and_the_same_command_finishes_it(optbench: Callable, folder: Path) -> None:
    small = ["epochs=8", "model.width=64", "baselines=false"]
    overrides = ["-m", *small, "seeds=3", "regularization=dropout", "workers=2"]
    said = killed.stop(folder, "train", *overrides, evaluations=4, number=signal.SIGINT)
    assert "goes on" in said
    assert "Traceback" not in said
    assert optbench("train", *overrides).code == 0
    assert statuses(folder) == ["completed"] * 3
    optbench("train", *overrides, "name=undisturbed")
    assert rows_by_run(folder) == rows_by_run(folder, "undisturbed")


@pytest.mark.parametrize("engine", [pytest.param("loop", marks=pytest.mark.slow), "auto"])
def test_killed_sweeps_finish_to_the_same_rows(engine: str) -> None:
    counts = ["--groups", "2", "--workers-killed", "1", "--runs", "8"]
    script = [sys.executable, str(ROOT / "scripts/fault_sweep.py"), "--engine", engine, *counts]
    found = subprocess.run(script, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    "launcher", ["basic", *(pytest.param(n, marks=pytest.mark.slow) for n in ("joblib", "submitit_local"))]
)
def test_hydras_launchers_run_the_same_sweep_to_the_same_folders(
    launcher: str, optbench: Callable, folder: Path
) -> None:
    pytest.importorskip(
        {"joblib": "hydra_plugins.hydra_joblib_launcher", "submitit_local": "submitit"}.get(launcher, "hydra")
    )
    grid = [*TINY, "init=he,xavier", "seed=0,1,2", "threads=1"]
    found = optbench("train", "-m", *grid, f"hydra/launcher={launcher}")
    assert found.code == 0, found.err
    assert "[HYDRA]" not in found.out
    assert statuses(folder) == ["completed"] * 6
    assert optbench("train", "-m", *grid).err.count("completed before") == 6


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_an_experiment_is_the_grid_that_its_header_says(path: Path, folder: Path) -> None:
    header = path.read_text(encoding="utf-8")
    (command,) = re.findall(r"(?m)^# command: +(.+)$", header)
    runs = [int(count) for count in re.findall(r"\((\d+) runs\)", header)]
    jobs = pasted("optbench train -m experiment=demo" if command == "optbench demo" else command)
    assert [len(jobs)] == (runs or [1])
    assert {job.config["name"] for job in jobs} == {path.stem}
