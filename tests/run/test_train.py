"""Runs end to end: what is on disk, what is not trained again, what a failure costs."""

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from tests.support.killed import PATIENCE_SECONDS
from tests.support.known import LOWEST, MNIST_ROOT, TINY, VALLEY, VALLEY_WEIGHTS, as_seeds_go
from tests.support.records import rows_of, run_folder, run_folders, summary_of, without_timing


def test_the_main_command_reaches_its_accuracy(optbench: Callable, folder: Path) -> None:
    result = optbench("train", "init=he", "optim=adamw")
    assert result.code == 0
    assert result.err == ""
    assert summary_of(run_folder(folder))["test_accuracy"] == as_seeds_go(0.9785, 0.0046)
    for word in ("accuracy", "test", "outputs/default/he_normal-adamw-lr0.001-s0-", "optbench train -m init=he"):
        assert word in result.out


def test_the_folder_holds_the_records(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY, "init=he", "seed=3")
    run = run_folder(folder)
    records = {"config.yaml", "metrics.csv", "summary.json", "validation.json", "checkpoint.pt", ".hydra"}
    assert {p.name for p in run.iterdir()} == records
    assert {p.name for p in (run / ".hydra").iterdir()} == {"config.yaml", "hydra.yaml", "overrides.yaml"}
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["init"]["_option_"] == "he_normal"
    assert config["epochs"] == 2
    assert yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text()) == [*TINY, "init=he", "seed=3"]
    summary = summary_of(run)
    assert summary["status"] == "completed"
    assert summary["steps"] == 42
    assert summary["parameters"] == 64 * 8 + 8 + 8 * 10 + 10
    assert summary["flops_per_sample"] == 2 * (64 * 8 + 8 * 10)
    assert summary["optimizer_state_bytes"] >= 2 * 4 * summary["parameters"]
    assert not any(isinstance(v, dict | list) for v in summary.values())
    last = rows_of(run)[-1]
    assert summary["final_val_loss"] == float(last["val_loss"])
    assert summary["best_val_loss"] == min(float(row["val_loss"]) for row in rows_of(run))
    with (folder / "outputs/default/runs.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert list(row)[:3] == ["init", "optim", "optim.lr"]
    assert row["init"] == "he_normal"
    assert row["optim.lr"] == "0.001"
    assert row["run_id"] == run.name[-8:]
    assert row["status"] == "completed"
    assert float(row["test_loss"]) == summary["test_loss"]


def test_the_same_command_in_two_folders_gives_the_same_bytes(optbench: Callable, folder: Path) -> None:
    found = []
    for place in ("a", "b"):
        (folder / place).mkdir()
        os.chdir(folder / place)
        assert optbench("train", *TINY, "regularization=[dropout,l2]").code == 0
        found.append(without_timing(run_folder(folder / place)))
    assert found[0] == found[1]


def test_a_finished_run_is_shown_and_not_trained_again(optbench: Callable, folder: Path) -> None:
    first = optbench("train", *TINY)
    run = run_folder(folder)
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    again = optbench("train", *TINY)
    assert again.code == 0
    assert "not trained again" in again.out
    assert first.out.splitlines()[1:] == again.out.splitlines()[1:]
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def test_force_trains_again_and_keeps_the_old_folder(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    run = run_folder(folder)
    (run / "mark").write_text("mine")
    assert "not trained again" not in optbench("train", *TINY, "force=true").out
    assert not (run / "mark").exists()
    (old,) = (folder / "outputs/default/.old").iterdir()
    assert (old / "mark").read_text() == "mine"
    assert without_timing(old) == without_timing(run)
    with (folder / "outputs/default/runs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1


@pytest.mark.parametrize(("save", "kept"), [("last", True), ("best", True), ("none", False)])
def test_weights_are_kept_as_asked(save: str, kept: bool, optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY, f"save={save}")
    checkpoint = run_folder(folder) / "checkpoint.pt"
    assert checkpoint.exists() == kept
    if kept:
        weights = torch.load(checkpoint, weights_only=True)["model"]
        assert {tuple(w.shape) for w in weights.values()} == {(8, 64), (8,), (10, 8), (10,)}


def test_asking_for_weights_that_were_not_kept_trains_again(optbench: Callable, folder: Path) -> None:
    optbench("train", "-m", *TINY, "seed=0")
    assert not (run_folder(folder) / "checkpoint.pt").exists()
    assert "not trained again" not in optbench("train", *TINY).out
    assert "not trained again" in optbench("train", *TINY, "save=last").out
    assert "completed before" in optbench("train", "-m", *TINY, "seed=0").err
    assert (run_folder(folder) / "checkpoint.pt").exists()
    assert len(list((folder / "outputs/default/.old").iterdir())) == 1


def test_best_weights_are_those_of_the_best_evaluation(job: Callable) -> None:
    from runner.run.claim import run_job

    this = job(*VALLEY, "save=best")
    summary = run_job(this).summary
    saved = torch.load(this.folder / "checkpoint.pt", weights_only=True)["model"]
    expected = torch.full((1, 2), VALLEY_WEIGHTS[LOWEST], dtype=torch.float64)
    torch.testing.assert_close(saved["readout.weight"], expected)
    assert summary["best_val_loss"] == pytest.approx(VALLEY_WEIGHTS[LOWEST] ** 2)


def test_a_diverged_run_is_a_result(optbench: Callable, folder: Path) -> None:
    result = optbench("train", *TINY, "optim=sgd", "optim.lr=1e9", "loss=mse")
    assert result.code == 0
    assert "diverged" in result.out
    summary = summary_of(run_folder(folder))
    assert summary["status"] == "diverged"
    assert summary["first_nonfinite_step"] == int(rows_of(run_folder(folder))[-1]["step"])
    assert "not trained again" in optbench("train", *TINY, "optim=sgd", "optim.lr=1e9", "loss=mse").out


def test_a_grid_has_one_folder_a_run_and_names_each_run_once(optbench: Callable, folder: Path) -> None:
    result = optbench("train", "-m", *TINY, "init=he,xavier,he_normal", "optim=sgd,adamw", "optim.lr=1e-3,1e-2")
    assert result.code == 0
    runs = run_folders(folder)
    assert len(runs) == 8
    assert all(summary_of(run)["status"] == "completed" for run in runs)
    assert not any((run / "checkpoint.pt").exists() for run in runs)
    lines = result.out.splitlines()
    assert lines[0].split()[:4] == ["init", "optim", "optim.lr", "status"]
    assert [line.split()[0] for line in lines[1:9]] == ["he_normal"] * 4 + ["xavier_uniform"] * 4
    assert lines[9] == ""
    assert {p.name for p in folder.iterdir()} == {"outputs"}
    assert {p.name for p in (folder / "outputs/default").iterdir() if p.is_file()} == {"runs.csv", "sweeps.jsonl"}
    with (folder / "outputs/default/runs.csv").open() as file:
        assert {row["run_id"] for row in csv.DictReader(file)} == {run.name[-8:] for run in runs}


def test_a_grid_finds_the_runs_that_are_there(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY, "optim=sgd", "optim.lr=0.01")
    result = optbench("train", "-m", *TINY, "optim=sgd", "optim.lr=0.01,0.1")
    assert result.err.count("completed before") == 1
    assert len(run_folders(folder)) == 2


def test_a_failing_run_costs_itself_only(optbench: Callable, folder: Path) -> None:
    fragile = ["optim=custom", "optim.target=tests.own_parts.Fragile", "scheduler=constant"]
    result = optbench("train", "-m", *TINY, *fragile, "optim.lr=0.01,7,0.02")
    assert result.code == 1
    assert result.err.count("planted") == 2
    runs = run_folders(folder)
    statuses = {p.name.split("-")[2]: summary_of(p)["status"] for p in runs}
    assert statuses == {"lr0.01": "completed", "lr7": "failed", "lr0.02": "completed"}
    failed = next(p for p in runs if "-lr7-" in p.name)
    assert "planted" in (failed / "traceback.txt").read_text()
    assert str(failed.relative_to(folder) / "traceback.txt") in result.err


def test_smoke_experiment_runs_in_its_own_folder(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "experiment=smoke").code == 0
    assert summary_of(run_folder(folder, "smoke"))["test_accuracy"] == as_seeds_go(0.951, 0.0074)


def test_results_go_to_stdout_and_nothing_else(optbench: Callable, folder: Path) -> None:
    result = optbench("train", "-m", *TINY, "seed=0,1")
    assert result.out.splitlines()[0].split() == ["seed", "status", "final_val_accuracy", "test_accuracy", "folder"]
    assert len(result.err.splitlines()) == 2


@pytest.mark.mnist
@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "mean"),
    [([], 0.9825), (["amp=bf16"], 0.9825), (["model=cnn"], 0.988), (["model=cnn", "amp=bf16"], 0.988)],
    ids=["mlp", "mlp bf16", "cnn", "cnn bf16"],
)
def test_mnist_reaches_its_accuracy(overrides: list[str], mean: float, optbench: Callable, folder: Path) -> None:
    common = ["data=mnist", f"data.root={MNIST_ROOT}", "init=he", "optim=adamw", "epochs=5"]
    assert optbench("train", *common, *overrides).code == 0
    assert summary_of(run_folder(folder))["test_accuracy"] == as_seeds_go(mean, 0.001)


def test_python_m_is_the_same_entrypoint(folder: Path, python_m: Callable) -> None:
    process = python_m("runner.train", *TINY, "baselines=false")
    out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0
    assert "accuracy" in out
    assert json.loads((run_folder(folder) / "summary.json").read_text())["status"] == "completed"


@pytest.mark.slow
def test_a_compiled_run_finds_what_a_plain_one_finds(optbench: Callable, folder: Path) -> None:
    for name, flag in (("plain", "false"), ("compiled", "true")):
        asked = [*TINY, "dtype=float64", "init=he", f"compile={flag}", "regularization=dropout"]
        assert optbench("train", f"name={name}", *asked).code == 0
    plain, compiled = (summary_of(run_folder(folder, name)) for name in ("plain", "compiled"))
    assert plain["run_id"] == compiled["run_id"]
    assert compiled["test_loss"] == pytest.approx(plain["test_loss"], rel=1e-9)


def test_an_unreadable_summary_is_kept_aside_not_trained_over(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    (run_folder(folder) / "summary.json").write_text("{")
    assert optbench("train", *TINY).code == 0
    (old,) = (folder / "outputs/default/.old").iterdir()
    assert (old / "summary.json").read_text() == "{"
