"""What a run says is what it did: cases in which records and weights could part."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from optbench import load_model, load_runs, train
from runner.engine import checkpoint
from runner.errors import OptbenchError
from tests.support.killed import wait_for_rows
from tests.support.known import LOWEST, TINY, VALLEY, VALLEY_WEIGHTS
from tests.support.records import rows_of, run_folder, summary_of

NORMED = ["model=custom", "model.target=tests.own_parts.Normed"]


def loss_of_saved(run: Path, allow: tuple[str, ...] = ()) -> float:
    """The test loss of the weights that a run kept; unlike an accuracy, it differs wherever weights do."""
    from runner.after.predict import part_of_data

    samples = part_of_data(run, "test", allow)
    outputs = load_model(run, allow)(torch.tensor(samples.x))
    return torch.nn.functional.cross_entropy(outputs, torch.tensor(samples.y)).item()


def test_batch_norm_is_saved_as_it_was_tested(optbench: Callable, folder: Path) -> None:
    assert optbench("train", *NORMED, "epochs=3", "dtype=float64").code == 0
    run = run_folder(folder)
    assert loss_of_saved(run, ("tests.own_parts.Normed",)) == pytest.approx(summary_of(run)["test_loss"], rel=1e-9)


def test_a_users_own_dropout_depends_on_the_seed_alone(optbench: Callable, folder: Path) -> None:
    asked = [*NORMED, "epochs=2", "dtype=float64"]
    optbench("train", "-m", *asked, "seed=0,1", "workers=1", "name=sweep")
    torch.manual_seed(77)
    optbench("train", *asked, "seed=1", "threads=1", "name=solo")
    solo = summary_of(run_folder(folder, "solo"))
    (same,) = [s for p in (folder / "outputs/sweep").glob("*-s1-*") if (s := summary_of(p))]
    assert same["run_id"] == solo["run_id"]
    assert same["test_loss"] == pytest.approx(solo["test_loss"], rel=1e-10)


def test_restored_best_weights_are_what_the_summary_describes(optbench: Callable, folder: Path) -> None:
    optbench("train", *VALLEY, "regularization=early_stopping", "regularization.early_stopping.patience=100")
    run = run_folder(folder)
    summary, rows = summary_of(run), rows_of(run)
    assert [float(row["val_loss"]) for row in rows] == pytest.approx([w**2 for w in VALLEY_WEIGHTS])
    lowest = VALLEY_WEIGHTS[LOWEST]
    for measure in ("best_val_loss", "final_val_loss", "final_train_loss", "test_loss"):
        assert summary[measure] == pytest.approx(lowest**2), measure
    weights = load_model(run).network.state_dict()
    torch.testing.assert_close(weights["readout.weight"], torch.full((1, 2), lowest, dtype=torch.float64))


def interrupt(folder: Path, *overrides: str) -> Path:
    command = [sys.executable, "-m", "runner.train", *overrides]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run = wait_for_rows(folder, 10)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    (line,) = [line for line in out.splitlines() if line.startswith("next")]
    assert line.split()[1:] == ["optbench", "train", *overrides]
    return run


LONG = ["epochs=150", "model.width=32", "optim=sgd", "optim.lr=0.3", "scheduler=constant", "threads=1"]


def test_asked_for_more_an_interrupted_run_begins_anew(optbench: Callable, folder: Path) -> None:
    run = interrupt(folder, *LONG)
    more = ["save=best", "diagnostics=true", "metrics=[tests.own_parts.error_rate]", "eval_every=50"]
    assert optbench("train", *LONG, *more).code == 0
    summary, rows = summary_of(run), rows_of(run)
    assert summary["resumed_from_step"] is None
    assert all(float(row["val_error_rate"]) == pytest.approx(1 - float(row["val_accuracy"]), abs=1e-6) for row in rows)
    assert [int(row["step"]) % 50 for row in rows[:-1]] == [0] * (len(rows) - 1)
    assert "best_val_error_rate" not in summary
    saved = torch.load(run / "checkpoint.pt", weights_only=True)["model"]
    assert set(saved) == {f"{n}.{p}" for n in ("hidden.0", "hidden.1", "readout") for p in ("weight", "bias")}


def test_choices_and_measures_of_one_name_have_a_column_each(optbench: Callable, folder: Path) -> None:
    optbench("train", "stop=steps", "stop.steps.most=42", "epochs=50", "threads=1")
    runs = load_runs("outputs/default")
    assert runs["epochs"].tolist() == [50]
    assert runs["actual_epochs"].tolist() == [2]
    assert runs["threads"].tolist() == [1]


def test_runs_csv_comes_back_when_it_was_deleted(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    before = (folder / "outputs/default/runs.csv").read_text()
    (folder / "outputs/default/runs.csv").unlink()
    assert "not trained again" in optbench("train", *TINY).out
    assert (folder / "outputs/default/runs.csv").read_text() == before


def test_an_unreadable_summary_is_kept_aside_not_trained_over(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    (run_folder(folder) / "summary.json").write_text("{")
    assert optbench("train", *TINY).code == 0
    (old,) = (folder / "outputs/default/.old").iterdir()
    assert (old / "summary.json").read_text() == "{"


def test_a_run_of_another_version_is_kept_and_named(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    path = run_folder(folder) / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"torch_version": "1.0.0"}))
    assert "with torch 1.0.0" in optbench("train", *TINY).out


def test_python_calls_leave_torch_as_it_was_and_see_new_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    train(*TINY, f"threads={threads + 1}", "deterministic=true")
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    source = "import numpy as np\ndef load():\n    return np.load('x.npy'), np.load('y.npy')\n"
    (folder / "mydata.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    import numpy as np

    found = set()
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        np.save("x.npy", rng.standard_normal((100, 3)))
        np.save("y.npy", rng.integers(0, 2, 100))
        found.add(train("data=custom", "data.target=mydata.load", "max_steps=1").summary["data_fingerprint"])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["metrics=[tests.own_parts.seconds]"], ["seconds", "another name"]),
        (["metrics=[tests.own_parts.top2,tests.own_parts.top2]"], ["top2", "another name"]),
        (["data=linear_regression", "model=custom", "model.target=tests.own_parts.Squeezed"], ["[2, 1]", "[2]"]),
        (["optim=custom", "optim.target=torch.optim.AdamW", "regularization=weight_decay"], ["AdamW", "decays by itself"]),
        (["data=custom", "data.target=tests.own_parts.load", "data.args={samples: many}"], ["tests.own_parts.load"]),
        (["model=custom", "model.target=tests.own_parts.Net", "model.args={1: 2}"], ["model.args", "texts as keys"]),
        (["epochs=3000000000"], ["epochs", "1e+06"]),
        (["threads=1000000000"], ["threads"]),
        ([f"name={'x' * 300}"], ["name", "100 bytes"]),
        (["+augment=mine"], ["augment"]),
    ],
    ids=lambda v: " ".join(v)[:60],
)  # fmt: skip
def test_more_bad_input(overrides: list[str], words: list[str], optbench: Callable, folder: Path) -> None:
    refused = optbench("train", *overrides)
    assert refused.code == 2, refused.err
    assert all(word in refused.err for word in words), refused.err
    assert "Traceback" not in refused.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "text", "choice", "words"),
    [
        ("experiment/x.yaml", "# @package _global_\nepohcs: 3\n", "experiment=x", ["'epohcs'", "'epochs'"]),
        ("experiment/x.yaml", "# @package _global_\nmodel:\n  wdith: 3\n", "experiment=x", ["model.wdith", "width"]),
        ("config.yaml", "seed: 3\n", "seed=1", ["config.yaml", "experiment"]),
        ("regularization/x.yaml", "x:\n  _target_: tests.own_parts.nothing\n", "regularization=x", ["part of a run"]),
        ("optim/x.yaml", "_option_: ../../x\n_target_: runner.optim.gd\nlr: 1\n", "optim=x", ["_option_", "../../x"]),
        ("optim/x.yaml", "_option_: x\n_target_: runner.optim.gd\n", "optim=x", ["optim needs lr"]),
        ("optim/x.yaml", "lr: 1\n", "optim=x", ["_target_"]),
        ("optim/x.yaml", "[1, 2]\n", "optim=x", ["optim"]),
        ("optim/x.yaml", "_option_: x\n_target_: 5\nlr: 1\n", "optim=x", ["_target_"]),
        ("optim/x.yaml", "_option_: x\n_target_: os.system\nlr: 1\n", "optim=x", ["os.system"]),
        ("optim/x.yaml", "a: !!python/name:os.system\n", "optim=x", ["optim"]),
        ("optim/x.yaml", "a: " + "[" * 5000 + "\n", "optim=x", ["x.yaml"]),
        ("init/x.yaml", "_option_: x\n_target_: tests.own_parts.fill_with\nscale: 0.5\nbias: 0.0\n", "init.scale=a", ["init.scale"]),
    ],
)  # fmt: skip
def test_a_broken_config_dir_is_refused(
    where: str, text: str, choice: str, words: list[str], optbench: Callable, folder: Path
) -> None:
    path = folder / "mine" / where
    path.parent.mkdir(parents=True)
    path.write_text(text)
    chosen = ["init=x", choice] if where.startswith("init") else [choice]
    refused = optbench("train", "--config-dir", "mine", *chosen, "max_steps=1")
    assert refused.code == 2, refused.err
    assert all(word in refused.err for word in words), refused.err
    assert "Traceback" not in refused.err
    assert [p.name for p in folder.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "content",
    [[1], 5, {"model": 5, "shape": [64], "outputs": 10, "shift": 0, "scale": 1, "classes": 10},
     {"model": {}, "shape": [10**6, 10**6], "outputs": 10, "shift": 0, "scale": 1, "classes": 10}],
    ids=["list", "number", "no weights", "vast"],
)  # fmt: skip
def test_a_hostile_checkpoint_is_refused(content: object, optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    run = run_folder(folder)
    checkpoint.save(run / "checkpoint.pt", content)  # type: ignore[arg-type]
    with pytest.raises(OptbenchError):
        load_model(run)


def test_a_run_folder_reaches_no_library_code_by_itself(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    run = run_folder(folder)
    config = yaml.safe_load((run / "config.yaml").read_text())
    hostile = {"target": "torchvision.datasets.MNIST", "args": {"root": "evil", "download": True}}
    config["model"] = {"_option_": "custom", "_target_": "runner.model.custom", **hostile}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    refused = optbench("predict", str(run))
    assert refused.code == 2
    assert "--allow" in refused.err
    assert not (folder / "evil").exists()


@pytest.mark.parametrize("axis", ["threads=1,2", "eval_every=5,10", "save=last,best", "device=auto,cpu"])
def test_an_axis_that_changes_nothing_is_refused(axis: str, optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "-m", *TINY, axis)
    assert refused.code == 2
    assert axis.partition("=")[0] in refused.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("axis", ["seed=range(0)", "init=glob(zz*)", "seed=range(1000000000)"])
def test_an_empty_or_endless_grid_is_refused(axis: str, optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "-m", *TINY, axis)
    assert refused.code == 2
    assert "runs" in refused.err


@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
def test_a_stdout_that_cannot_be_written_is_one_message(where: str, folder: Path) -> None:
    command = f"{sys.executable} -c 'from runner.__main__ import entrypoint; entrypoint([\"list\"])' {where}"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert len(found.stderr.splitlines()) == 1
