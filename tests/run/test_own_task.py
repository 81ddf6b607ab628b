"""A training function of one's own lives as any run does: its rows, its end, a kill, a pause, a mistake."""

import collections
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import optbench as library
from runner.run.own_task import refuse_unreadable
from tests.support.killed import PATIENCE_SECONDS, wait_for_rows
from tests.support.own_task import WALK, make_function, make_walk
from tests.support.records import Result, rows_of, run_folder, run_folders, summary_of, without_timing

Optbench = Callable[..., Result]


@pytest.fixture
def walk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_walk(folder, monkeypatch)
    return folder


def test_it_leaves_what_every_run_leaves(walk: Path, optbench: Optbench) -> None:
    result = optbench("train", *WALK, "seed=3")
    assert result.code == 0, result.err
    run = run_folder(walk)
    assert run.name.startswith("walk-s3-") and {p.name for p in run.iterdir()} == {
        *("config.yaml", "metrics.csv", "summary.json", ".hydra")
    }
    rows, summary = rows_of(run), summary_of(run)
    assert list(rows[0]) == ["step", "train_seconds", "val_accuracy", "rate", "status"]
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 60]
    last = float(rows[-1]["val_accuracy"])
    assert summary["status"] == "completed" and summary["steps"] == 60
    assert summary["final_val_accuracy"] == summary["best_val_accuracy"] == last
    assert summary["test_accuracy"] == last / 2
    assert "not trained again" in optbench("train", *WALK, "seed=3").out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda n: n.name)
def test_stopped_anywhere_it_goes_on_to_the_same_rows(
    number: signal.Signals, walk: Path, optbench: Optbench, python_m: Callable
) -> None:
    asked = [*WALK, "task.rounds=40"]
    assert optbench("train", *asked, "name=undisturbed").code == 0
    process = python_m("runner.train", *asked, "task.wait=0.1")
    run = wait_for_rows(walk, 14, process)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    if number == signal.SIGINT:
        assert process.returncode == 130 and "goes on" in err
        assert summary_of(run)["status"] == "interrupted"
    with (run / "metrics.csv").open("a") as file:
        file.write("9999,0.1,0.")  # a torn row
    assert optbench("train", *asked).code == 0
    assert without_timing(run) == without_timing(run_folder(walk, "undisturbed"))
    assert summary_of(run)["resumed_from_step"] > 0
    assert summary_of(run)["test_accuracy"] == summary_of(run_folder(walk, "undisturbed"))["test_accuracy"]
    assert not (run / "checkpoint.pt").exists()


def test_a_pause_is_kept_and_gone_on_from(walk: Path, optbench: Optbench) -> None:
    assert optbench("train", *WALK, "name=whole").code == 0
    paused = optbench("train", *WALK, "pause_at=30")
    assert paused.code == 0 and "paused at step 30" in paused.err
    assert summary_of(run_folder(walk))["status"] == "paused"
    assert optbench("train", *WALK, "pause_at=30").out.splitlines()[0].endswith("paused before")
    assert optbench("train", *WALK).code == 0
    assert summary_of(run_folder(walk))["resumed_from_step"] == 30
    assert without_timing(run_folder(walk)) == without_timing(run_folder(walk, "whole"))


def test_should_stop_lets_a_function_return_by_itself(
    folder: Path, optbench: Optbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        "for step in range(1, 9):\n    run.row(step=step, val_loss=1 / step)\n    if run.should_stop:\n        return\n"
    )
    asked = make_function(folder, monkeypatch, "stops", body)
    assert optbench("train", *asked, "pause_at=3").code == 0
    assert summary_of(run_folder(folder))["status"] == "paused" and len(rows_of(run_folder(folder))) == 3
    assert optbench("train", *asked).code == 0  # which kept no state: it begins anew
    assert [row["step"] for row in rows_of(run_folder(folder))] == [str(step) for step in range(1, 9)]


def test_a_pause_ends_a_function_that_keeps_no_states_and_never_looks(
    folder: Path, optbench: Optbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "for step in range(1, 9):\n    run.row(step=step, val_loss=1 / step)\nrun.finish(test_loss=1.0)\n"
    asked = make_function(folder, monkeypatch, "blind", body)
    for at in (1, 3):
        assert optbench("train", *asked, f"pause_at={at}").code == 0
        assert summary_of(run_folder(folder))["status"] == "paused" and len(rows_of(run_folder(folder))) == at
    assert optbench("train", *asked).code == 0
    assert summary_of(run_folder(folder))["status"] == "completed" and len(rows_of(run_folder(folder))) == 8


def test_of_damaged_checkpoints_the_run_starts_again_and_says_so(walk: Path, optbench: Optbench) -> None:
    optbench("train", *WALK, "pause_at=30")
    run = run_folder(walk)
    for path in run.glob("checkpoint.pt*"):
        path.write_bytes(path.read_bytes()[:-9])
    result = optbench("train", *WALK)
    assert result.code == 0 and "cannot be read" in result.err and "starts again" in result.err
    assert summary_of(run)["resumed_from_step"] is None and len(rows_of(run)) == 6


def test_a_sweep_trains_each_by_itself_and_is_reported(walk: Path, optbench: Optbench) -> None:
    asked = ["-m", *WALK, "task.rate=0.1,0.9", "seeds=3", "workers=2"]
    result = optbench("train", *asked)
    assert result.code == 0, result.err
    assert len(run_folders(walk)) == 6 and "completed before" in optbench("train", *asked).err
    rows = library.load_runs("outputs/default")
    choices = list(rows.columns[: list(rows.columns).index("run_id")])
    assert [c for c in choices if c != "engine"] == ["task", "task.rate", "task.rounds", "task.wait", "seed"]
    answer = optbench("report", "outputs/default", "--config-dir", "mine")
    assert answer.code == 0, answer.err
    command = next(line for line in answer.out.splitlines() if line.startswith("optbench train"))
    assert "task=walk" in command and "task.rate=0.9" in command and "task.rounds" not in command
    before = rows.set_index("run_id").sort_index()
    (walk / "outputs" / "default" / "runs.csv").unlink()
    assert optbench("runs", "outputs/default").code == 0
    after = library.load_runs("outputs/default").set_index("run_id").sort_index()
    assert before[after.columns].astype(str).equals(after.astype(str))


def test_from_python_it_is_the_same(walk: Path) -> None:
    one = library.train("task=walk", config_dir="mine")
    assert one.summary["status"] == "completed" and list(one.metrics["step"]) == [10, 20, 30, 40, 50, 60]
    grid = library.sweep("task=walk", "task.rate=0.2,0.5", config_dir="mine")
    assert set(grid.runs["task.rate"]) == {0.2, 0.5} and len(grid.curves) == 12


def test_runs_of_one_process_do_not_reach_one_another(
    folder: Path, optbench: Optbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "drawn = torch.rand(1).item() + config['task']['args']['by']\nrun.row(step=1, val_loss=drawn)"
    asked = ["-m", *make_function(folder, monkeypatch, "draws", body), "task.args.by=0,1", "workers=1"]
    torch.manual_seed(5)
    assert optbench("train", *asked).code == 0
    low, high = sorted(float(rows_of(run)[0]["val_loss"]) for run in run_folders(folder))
    assert high - low == pytest.approx(1, abs=1e-7)
    library.train(*asked[1:3], "task.args.by=2")
    state = torch.get_rng_state()
    torch.manual_seed(5)
    assert torch.equal(state, torch.get_rng_state())


def test_a_stopped_sweep_goes_on(walk: Path, optbench: Optbench, python_m: Callable) -> None:
    asked = ["-m", *WALK, "task.rate=0.2,0.4,0.6,0.8", "task.rounds=40"]
    process = python_m("runner.train", *asked, "task.wait=0.1", "workers=2")
    wait_for_rows(walk, 5, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130 and "goes on" in err and "Traceback" not in err
    stopped = {run.name for run in run_folders(walk) if (run / "checkpoint.pt").exists()}
    assert stopped
    assert optbench("train", *asked).code == 0
    runs = {run.name: summary_of(run) for run in run_folders(walk)}
    assert len(runs) == 4 and {run["status"] for run in runs.values()} == {"completed"}
    assert {name for name, run in runs.items() if run["resumed_from_step"] is not None} == stopped


def test_a_dry_run_lists_and_writes_nothing(walk: Path, optbench: Optbench) -> None:
    said = optbench("train", "-m", *WALK, "seeds=2", "dry_run=true").out
    assert "2 would run" in said and "not known" in said and not (walk / "outputs").exists()


def test_data_and_an_optimizer_are_there_where_its_yaml_uses_them(walk: Path, optbench: Optbench) -> None:
    body = (
        "model = torch.nn.Linear(13, 3)\noptimizer = run.optimizer(model)\n"
        "x = torch.from_numpy(run.data.train.x)\n"
        "run.row(step=1, val_loss=model(x).square().mean().item(), lr=optimizer.param_groups[0]['lr'])"
    )
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (walk / "walk.py").write_text(f"import torch\n\ndef train(config, seed, run):\n{lines}\n")
    used = optbench("train", *WALK, "data=wine", "optim=sgd", "optim.lr=0.25")
    assert used.code == 2 and "does not use data" in used.err
    yaml = walk / "mine" / "task" / "walk.yaml"
    yaml.write_text(yaml.read_text() + "  facts: {uses: [data, optim]}\n")
    used = optbench("train", *WALK, "data=wine", "optim=sgd", "optim.lr=0.25")
    assert used.code == 0, used.err
    assert rows_of(run_folder(walk))[0]["lr"] == "0.25"


MISTAKES = {
    "no row": ("pass", "recorded nothing"),
    "no step": ("run.row(val_loss=1.0)", "step"),
    "a step that is no whole number": ("run.row(step=1.5, val_loss=1.0)", "step must be a whole number"),
    "a step that goes back": ("run.row(step=2, val_loss=1.0)\nrun.row(step=2, val_loss=1.0)", "steps go up"),
    "a name that is none": ("run.row(step=1, **{'val loss': 1.0})", "is made of letters"),
    "what optbench refuses it": ("import runner.errors\nraise runner.errors.RecordError('torn')", "ValueError: torn"),
    "a text": ("run.row(step=1, val_loss='low')", "run.row(val_loss=…) must be a number"),
    "a tensor": ("run.row(step=1, val_loss=torch.ones(1))", "must be a number, got Tensor"),
    "a flag": ("run.row(step=1, val_loss=True)", "must be a number, got bool"),
    "nothing to judge by": ("run.row(step=1, train_loss=1.0)", "needs a val_ measure"),
    "test in a row": ("run.row(step=1, val_loss=1.0, test_loss=1.0)", "run.finish(test_loss=…)"),
    "a column of ours": ("run.row(step=1, val_loss=1.0, status=1)", "optbench writes this column"),
    "other measures": ("run.row(step=1, val_loss=1.0)\nrun.row(step=2, val_mse=1.0)", "val_loss, val_mse is in some"),
    "no test measure at the end": ("run.row(step=1, val_loss=1.0)\nrun.finish(val_loss=1.0)", "takes test_ measures"),
    "a row after the end": ("run.row(step=1, val_loss=1.0)\nrun.finish()\nrun.row(step=2, val_loss=1)", "after it"),
    "an end before a row": ("run.finish(test_loss=1.0)", "after the last run.row"),
    "a state that cannot be read": ("run.checkpoint({'model': [torch.nn.Linear(1, 1)]})", "state['model'][0] is a"),
    "a late resume": ("run.row(step=1, val_loss=1.0)\nrun.resume()", "before the first run.row"),
    "what it raises": ("raise RuntimeError('planted')", "RuntimeError: planted"),
    "an exit": ("raise SystemExit(3)", "SystemExit: 3"),
    "data that it does not use": ("run.data", "uses: [data]"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_fails_the_run_and_is_named(
    name: str, folder: Path, optbench: Optbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, said = MISTAKES[name]
    result = optbench("train", *make_function(folder, monkeypatch, "wrong", body))
    assert result.code == 1 and said in result.err, result.err
    summary = summary_of(run_folder(folder))
    assert summary["status"] == "failed" and said in summary["stop_reason"]
    assert "wrong.py" in Path(summary["traceback"]).read_text() or name == "no row"


def test_a_failed_run_is_tried_again_when_asked(walk: Path, optbench: Optbench) -> None:
    whole = (walk / "walk.py").read_text()
    (walk / "walk.py").write_text(
        "from pathlib import Path\n" + whole.replace("time.sleep", 'assert not Path("bad").read_text()  #')
    )
    (walk / "bad").write_text("bad")
    assert optbench("train", *WALK).code == 1
    assert "failed before" in optbench("train", *WALK).err
    (walk / "bad").write_text("")
    assert optbench("train", *WALK, "retry=failed").code == 0


def test_what_is_not_finite_is_a_run_that_diverged(
    folder: Path, optbench: Optbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "run.row(step=1, val_loss=1.0)\nrun.row(step=2, val_loss=float('nan'))"
    result = optbench("train", *make_function(folder, monkeypatch, "blows", body))
    summary = summary_of(run_folder(folder))
    assert result.code == 0 and summary["status"] == "diverged" and summary["first_nonfinite_step"] == 2
    assert [row["status"] for row in rows_of(run_folder(folder))] == ["ok", "diverged"]
    assert json.loads((run_folder(folder) / "summary.json").read_text())["final_val_loss"] is None


def test_states_of_optimizers_and_models_can_be_kept_and_objects_cannot() -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    refuse_unreadable({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()})
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a numpy.float64"):
        refuse_unreadable({"a": [1, np.float64(2)]})
    refuse_unreadable({"history": collections.OrderedDict(a=[1]), "counts": collections.Counter("ab")})
    with pytest.raises(TypeError, match=r"\['history'\] is a collections.defaultdict"):
        refuse_unreadable({"history": collections.defaultdict(list)})


def test_using_its_model_is_its_own_affair_and_said_so(walk: Path, optbench: Optbench) -> None:
    optbench("train", *WALK)
    refused = optbench("predict", str(run_folder(walk)))
    assert refused.code == 2 and "training function of your own" in refused.err
    assert optbench("schedule", *WALK).code == 2


POOL = """
import multiprocessing

def train(config, seed, run):
    for step in range(1, 4):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(abs, [-1, 2])
        run.row(step=step, val_loss=float(sum(found)))
"""
FORKS = """
import os

def train(config, seed, run):
    run.row(step=1, val_loss=1.0)
    child = os.fork()
    if child == 0:
        {child}
        return
    _, status = os.waitpid(child, 0)
    run.row(step=2, val_loss=float(os.waitstatus_to_exitcode(status)))
"""


def trained_apart(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "forking.py").write_text(code)
    command = [sys.executable, "-m", "runner", "train", "task=custom", "task.target=forking.train"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS)


def test_a_pool_of_a_training_function_ends(folder: Path) -> None:
    found = trained_apart(folder, POOL)
    assert found.returncode == 0, found.stderr
    assert [row["val_loss"] for row in rows_of(run_folder(folder))] == ["3.0"] * 3


@pytest.mark.parametrize(
    ("child", "code", "said"),
    [("pass", "0.0", ""), ("run.row(step=2, val_loss=9.0)", "1.0", "is a child process")],
)
def test_a_child_that_a_training_function_forked_records_nothing(
    child: str, code: str, said: str, folder: Path
) -> None:
    found = trained_apart(folder, FORKS.format(child=child))
    assert found.returncode == 0 and said in found.stderr
    assert found.stdout.count("completed") == 1
    assert [(row["step"], row["val_loss"]) for row in rows_of(run_folder(folder))] == [("1", "1.0"), ("2", code)]
