"""``optbench report``: the answer is first, it says how sure it is, and what it recommends is a command."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runner.report.load import load
from runner.report.workloads import workloads
from runner.statistics.best import LOSS, SHARE, best_set, half_widths
from tests.support.composed import compose_job
from tests.support.made_sweep import made_run, make_sweep
from tests.support.records import Result, summary_of
from tests.support.reports import only_workload, report


def test_the_answer_comes_first_with_a_command_that_runs_and_what_a_new_seed_may_give(
    real_sweep: Path, optbench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(real_sweep)
    result: Result = optbench("report", "outputs/small")
    lines = result.out.splitlines()
    command = next(line for line in lines if line.startswith("optbench train"))
    assert lines[lines.index(command) - 1] == "Use:"
    words = shlex.split(command)
    assert "epochs=4" in words and "model.width=16" in words
    promised = json.loads(Path("outputs/small/report/answer.json").read_text())[0]
    assert promised["command"] == command
    assert optbench(*words[1:], "seed=11").code == 0
    (fresh,) = (real_sweep / "outputs" / "default").glob("*-s11-*")
    setting = fresh.name.partition("-s11-")[0]
    judged = [summary_of(place) for place in Path("outputs/small").glob(f"{setting}-s*")]
    assert len(judged) == 3 and summary_of(fresh)["status"] == "completed"
    # What it promises of a new seed follows from the interval of the mean, whose width the statistics' own tests draw.
    runs = pd.read_csv("outputs/small/runs.csv")
    for title, measure, samples in (
        ("validation accuracy", "final_val_accuracy", 143),
        ("test accuracy", "test_accuracy", 359),
    ):
        scores = runs.pivot_table(index=["init", "optim", "optim.lr"], columns="seed", values=measure).to_numpy()
        values = [summary[measure] for summary in judged]
        at = next(k for k, row in enumerate(scores) if sorted(row) == pytest.approx(sorted(values)))
        half = half_widths(scores, 1 / samples, SHARE)[at]
        for key, factor in (("interval", 1), ("new_seed", 2)):  # √(1 + n) of three seeds
            low, high = (np.mean(values) + sign * factor * half for sign in (-1, 1))
            assert promised["measures"][title][key] == pytest.approx([max(low, 0), min(high, 1)])


def test_every_command_it_gives_is_one(real_sweep: Path, optbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    commands = [line for line in optbench("report", "outputs/small").out.splitlines() if line.startswith("optbench")]
    assert len(commands) >= 2
    for command in commands:
        _, verb, *words = shlex.split(command)
        result = optbench(verb, *words[:1], "dry_run=true", *words[1:])
        assert result.code == 0, command
        assert "would run" in result.out


def test_the_recommended_command_is_the_run_that_was_judged(real_sweep: Path, job, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    report("outputs/small")
    command = json.loads(Path("outputs/small/report/answer.json").read_text())[0]["command"]
    monkeypatch.chdir(real_sweep)
    found = job(*shlex.split(command)[2:], "seed=1")
    assert list(Path("outputs/small").glob(f"*-{found.run_id}"))


def test_one_seed_gives_no_interval_and_says_so(tmp_path: Path):
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9, optim="sgd"), made_run(0.91, optim="adam")])
    text = report(folder)
    assert "one seed: no interval" in text and "may be chance" in text
    (more,) = [line for line in text.splitlines() if "-m" in line and "seed=0,1,2,3,4 " in line]
    assert "optim=adam" in more and "optim=sgd" in more  # the lucky first alone would stay the only one with seeds


def test_the_edge_of_the_learning_rates_is_warned_of_with_values_to_add(tmp_path: Path):
    runs = [made_run(0.7 + 0.1 * i, optim__lr=lr, seed=s) for i, lr in enumerate((0.001, 0.01, 0.1)) for s in range(3)]
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "The best learning rate is the largest tried, so widen the axis" in text
    assert "optim.lr=0.32,1" in text


def test_a_recommended_setting_that_is_not_an_option_here_says_so(tmp_path: Path):
    runs = [made_run(0.8, optim="sgd", seed=s) for s in range(2)] + [
        made_run(0.9, optim="mine", seed=s) for s in range(2)
    ]
    text = " ".join(report(make_sweep(tmp_path / "sweep", runs)).split())
    assert "optbench train optim=mine" in text
    assert "This command could not be checked: optim=mine is not an option" in text
    assert "finished runs are skipped" not in text and "learning rate was tried" not in text


def test_what_has_no_value_yet_is_not_said_to_have_failed(tmp_path: Path):
    runs = [made_run(0.9 + s / 1000, optim="adam", seed=s) for s in range(3)]
    waiting = [made_run(None, "interrupted", optim=o, seed=0) for o in ("sgd", "adamw")]
    text = report(make_sweep(tmp_path / "alone", [*runs, *waiting]))
    assert "nothing to compare it with yet: the 2 other settings have no value" in text
    assert "diverged or failed" not in text and "95 % confidence" not in text
    runs += [made_run(0.5 + s / 1000, optim="adagrad", seed=s) for s in range(3)]
    text = " ".join(report(make_sweep(tmp_path / "beside", [*runs, *waiting])).split())
    assert "It is the best of 2 settings" in text and "2 of the others have no value yet" in text


def test_a_setting_with_one_sound_seed_has_not_failed_more_often(tmp_path: Path):
    runs = [made_run(0.9 + s / 100, optim="sgd", seed=s) for s in range(2)]
    runs += [made_run(None, "diverged", optim="sgd", seed=2), made_run(0.95, optim="adamw", seed=0)]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs))
    assert workload.table["optim"].tolist() == ["sgd", "adamw"]
    assert workload.table["verdict"].tolist() == ["best", "untested"]


def test_of_a_rival_with_one_seed_no_number_of_seeds_is_promised(tmp_path: Path):
    runs = [made_run(0.9 + s / 100, optim="sgd", seed=s) for s in range(3)] + [made_run(0.9, optim="adamw", seed=0)]
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "more seeds than are worth it" not in text and "seed=0,1,2,3,4" in text


@pytest.mark.parametrize("factor", [1e-11, 1.0, 1e11])
def test_the_unit_of_a_measure_decides_nothing(factor: float, tmp_path: Path):
    runs = [
        made_run(None, optim=optim, seed=seed) | {"final_val_mae": factor * (mean + 0.01 * seed)}
        for optim, mean in (("sgd", 3.0), ("adamw", 1.0))
        for seed in range(3)
    ]
    (workload,) = workloads(load(make_sweep(tmp_path / "sweep", runs)), None, None)
    assert workload.table["optim"].tolist() == ["adamw", "sgd"]
    assert workload.table["verdict"].tolist() == ["best", "worse"]


def test_losses_below_0_are_told_apart_as_others_are(tmp_path: Path):
    found = []
    for shift in (0.0, 20.0):
        runs = [
            made_run(None, optim=optim, seed=seed) | {"final_val_loss": shift + mean + 0.05 * (seed * k % 5)}
            for k, (optim, mean) in enumerate([("sgd", -2.0), ("adam", -5.0), ("adamw", -10.0)], 2)
            for seed in range(5)
        ]
        (workload,) = workloads(load(make_sweep(tmp_path / f"by {shift:g}", runs)), None, None)
        found.append((workload.table["optim"].tolist(), workload.table["verdict"].tolist()))
    assert found == [(["adamw", "adam", "sgd"], ["best", "worse", "worse"])] * 2


def test_a_missing_run_leaves_small_losses_on_their_scale(tmp_path: Path):
    losses = {"adam": (2e-4, 2.2e-4, 2.1e-4), "sgd": (1e-5, 9e-5, 1.2e-3, 1e-5), "adamw": (0.4, 0.41, 0.39, 0.4)}
    runs = [
        made_run(None, optim=optim, seed=seed) | {"final_val_loss": loss}
        for optim, values in losses.items()
        for seed, loss in enumerate(values)
    ]
    (workload,) = workloads(load(make_sweep(tmp_path / "sweep", runs)), None, None)
    scores = workload.scores[: workload.contenders]
    assert (scores - workload.seed_effects > 0).any()  # an effect is larger than a loss
    found = best_set(scores - workload.seed_effects, workload.step, LOSS, leader=0)
    assert workload.best_set.inside.tolist() == found.inside.tolist()
    assert workload.best_set.low.tolist() == pytest.approx(found.low.tolist(), nan_ok=True)


def test_one_seed_beside_settings_without_a_value_came_first_of_nothing(tmp_path: Path):
    runs = [made_run(0.9, optim="adam"), *(made_run(None, "interrupted", optim=o) for o in ("sgd", "adamw"))]
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "nothing to compare it with yet" in text and "came first" not in text


def test_the_time_of_a_setting_is_that_of_runs_that_came_to_an_end(tmp_path: Path):
    runs = [made_run(0.9 + s / 100, optim=o, seed=s) for o in ("sgd", "adamw") for s in range(3)]
    runs += [made_run(None, "diverged", optim=o, seed=3) | {"train_seconds": 0.1} for o in ("sgd", "adamw")]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs))
    assert workload.table["train_seconds"].tolist() == [2.0, 2.0]


def test_weights_to_start_from_are_an_axis(folder: Path, optbench):
    assert optbench("train", "-m", "name=first", "max_steps=1,200", "model.width=8", "save=last").code == 0
    places = sorted(str(p) for p in Path("outputs/first").iterdir() if p.is_dir() and not p.name.startswith("."))
    axis = f"init.run={','.join(places)}"
    assert optbench("train", "-m", "init=pretrained", axis, "max_steps=1", "model.width=8", "seed=0,1").code == 0
    out = optbench("report", "outputs/default").out
    assert "2 settings (init.run 2)" in out and "left out" not in out
    command = next(line for line in out.splitlines() if line.startswith("optbench"))
    assert optbench(*shlex.split(command)[1:], "dry_run=true").code == 0


def test_a_command_names_the_run_that_teaches(folder: Path, optbench):
    small = ["max_steps=1", "model.width=8"]
    assert optbench("train", "name=first", *small, "save=last").code == 0
    teacher = next(str(p.parent) for p in Path("outputs/first").glob("*/config.yaml"))
    taught = ["regularization=distillation", f"regularization.distillation.run={teacher}"]
    assert optbench("train", "-m", *taught, *small, "optim.lr=0.1,1", "seed=0,1").code == 0
    out = optbench("report", "outputs/default").out
    command = next(line for line in out.splitlines() if line.startswith("optbench"))
    assert taught[1] in shlex.split(command)
    assert optbench(*shlex.split(command)[1:], "dry_run=true").code == 0


def test_every_follow_up_of_a_single_run_is_a_command(real_sweep: Path, optbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    (place,) = Path("outputs/small").glob("he_normal-sgd-lr0.1-s1-*")
    commands = [line for line in optbench("report", str(place)).out.splitlines() if line.startswith("optbench")]
    assert len(commands) >= 3
    for command in commands:
        _, verb, *words = shlex.split(command)
        assert optbench(verb, *words[:1], "dry_run=true", *words[1:]).code == 0, command


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim=custom", "optim.target=torch.optim.RMSprop", "optim.args={alpha: 0.9}"],
        ["optim=custom", "optim.target=torch.optim.RMSprop,torch.optim.Adamax"],
        ["model=custom", "model.target=tests.own_parts.Net", "optim.lr=0.01,0.1"],
        ["metrics=[tests.own_parts.top2]", "optim.lr=0.01,0.1"],
        ["optim=collection", "optim.name=adopt,tiger", "optim.lr=1e-3"],
        ["regularization=[dropout,l2]", "regularization.dropout.p=0.1,0.2"],
        ["augment=[noise,crop]", "augment.crop.pad=1,2"],
        ["scheduler=multistep", "scheduler.milestones=[0.2,0.6]", "scheduler.warmup=0.1"],
        ["optim=gd", "optim.lr=0.01,0.1"],
        ["data.split_seed=3", "init=constant", "init.value=-0.25,0.5"],
        ["loss=mse", "optim.betas=[0.8,0.99],[0.9,0.9]"],
        ["stop=target", "target.metric=accuracy", "target.value=0.01,0.99"],
        ["target.metric=val_loss", "target.value=0.5", "optim.lr=0.01,0.1"],
        ["stop=[steps,plateau]", "stop.steps.most=1,2"],
        ["data.folds=3", "data.fold=0,1,2", "optim.lr=0.01,0.1"],
        ["data.bootstrap=0,1", "optim.lr=0.01,0.1"],
    ],
    ids=" ".join,
)
def test_the_recommended_command_is_complete(overrides: list[str], optbench, folder: Path):
    """What it composes to is a run that was judged, whatever the sweep was of."""
    assert optbench("train", "-m", "name=made", "seed=0,1", "max_steps=2", *overrides).code == 0
    command = next(x for x in optbench("report", "outputs/made").out.splitlines() if x.startswith("optbench"))

    found = compose_job([*shlex.split(command)[2:], "seed=1"])
    assert list(Path("outputs/made").glob(f"*-{found.run_id}")), command


def test_options_of_ones_own_are_composed_from_their_folder(folder: Path, optbench):
    own = folder / "mine" / "init"
    own.mkdir(parents=True)
    (own / "tiny.yaml").write_text("# mine\n_option_: tiny\n_target_: runner.init.normal\nstd: 0.01\nbias: 0.0\n")
    command = ["train", "-m", "--config-dir", "mine", "init=tiny", "optim.lr=0.01,0.1", "seed=0,1", "max_steps=2"]
    assert optbench(*command).code == 0
    unaware = optbench("report", "outputs/default").out
    assert "could not be checked" in unaware and "init=tiny" in unaware and "max_steps=2" in unaware
    aware = optbench("report", "outputs/default", "--config-dir", "mine").out
    assert "could not be checked" not in aware and "optbench train --config-dir mine " in aware and "init=tiny" in aware


def test_seeds_that_are_not_shared_are_asked_for(tmp_path: Path):
    runs = [made_run(0.9 + s / 100, optim="adam", seed=s) for s in range(3)]
    runs += [made_run(0.85 + s / 100, optim="sgd", seed=s) for s in range(3, 6)]
    text = report(make_sweep(tmp_path / "sweep", runs))
    (more,) = [line for line in text.splitlines() if "seed=0,1,2,3,4,5" in line and " + " in line]
    assert "optim=adam" in more and "optim=sgd" in more
    assert "judged on that one" not in text  # no seed has both


def test_a_single_run_is_recommended_with_its_seed(real_sweep: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    (place,) = Path("outputs/small").glob("he_normal-sgd-lr0.1-s1-*")
    command = next(line for line in report(place).splitlines() if line.startswith("optbench"))
    assert "seed=1" in command
    assert [p for p in report(place).splitlines() if p.startswith("optbench train -m name=small ")]


def test_commands_for_runs_that_lie_elsewhere_say_where_to_start(tmp_path: Path):
    folder = make_sweep(tmp_path / "there" / "outputs" / "mine", [made_run(0.9, seed=s) for s in range(2)])
    assert f"(from {tmp_path / 'there'})" in report(folder)
