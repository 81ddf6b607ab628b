"""Every command that a report gives works as it is pasted, and the recommended one is a run that was judged."""

import math
from pathlib import Path
from random import Random

import pytest

from runner.report.write import report
from runner.run import record
from runner.run.job import Job, prepare
from tests.support.composed import compose_job
from tests.support.pasted import pasted
from tests.support.random_runs import draw_with_parts

FAST, ALL = 10, 200


def recorded(job: Job, value: float) -> None:
    """Leave a run's folder and row, as if it had been trained."""
    measure = "r2" if job.source.classes is None else "accuracy"
    found = {f"{part}_{measure}": value for part in ("final_train", "final_val", "test")}
    summary = {"status": "completed", "stop_reason": "finished", "run_id": job.run_id, "final_val_loss": 1 - value}
    summary |= {**found, "train_seconds": 1.0, "parameters": 10, "steps": 2}
    recorder = record.Recorder(job)
    recorder.open(0)
    for step in range(3):
        row = {"step": step, "epoch": step, "train_seconds": step / 2, "train_loss": 1.0, "val_loss": 1 - value}
        recorder.row({**row, f"val_{measure}": value, "status": "ok"})
    recorder.close(summary)
    record.update_runs_csv([(job, summary)])


def a_sweep_of(overrides: list[str], lr: float, seeds: int) -> list[Job]:
    """Two learning rates of a run, a few seeds of each; the first is better."""
    kept = [o for o in overrides if o.lstrip("+").partition("=")[0] not in ("optim.lr", "seed")]
    jobs = []
    for better, rate in ((0.2, lr), (0.0, lr * 2 if lr < 1e300 else lr / 2)):
        for seed in range(seeds):
            jobs.append(compose_job([*kept, f"optim.lr={rate!r}", f"seed={seed}"]))
            recorded(jobs[-1], 0.5 + better + 0.001 * seed)
    return jobs


@pytest.mark.parametrize("number", [n if n < FAST else pytest.param(n, marks=pytest.mark.slow) for n in range(ALL)])
def test_every_command_about_a_random_run_composes_as_pasted(number: int, folder: Path) -> None:
    random = Random(20_000 + number)
    overrides = draw_with_parts(random)
    lr = compose_job(overrides).config["optim"]["lr"]
    jobs = a_sweep_of(overrides, lr, seeds=random.choice([1, 2]))
    text = report(jobs[0].folder.parent).text
    assert "could not be checked" not in text
    recommended, *others = [line for line in text.splitlines() if line.startswith("optbench train")]
    (found,) = pasted(recommended)
    assert prepare(found).run_id in {job.run_id for job in jobs if math.isclose(job.config["optim"]["lr"], lr)}
    assert others or lr >= 1e300  # which leaves no room for a wider axis
    for command in others:
        assert pasted(command)


def test_settings_that_only_other_runs_have_are_no_part_of_a_command(folder: Path) -> None:
    """Beside runs with ``optim.args`` and ``early_stopping``, the best has neither, and its command says nothing of them."""
    for overrides, value in (
        (["optim=rmsprop"], 0.9),
        (["optim=custom", "optim.target=torch.optim.SGD", "optim.args.momentum=0.5"], 0.5),
        (["optim=rmsprop", "regularization=early_stopping"], 0.4),
    ):
        for seed in range(3):
            recorded(compose_job([*overrides, f"seed={seed}", "max_steps=2"]), value + 0.001 * seed)
    said = report("outputs/default").text
    command = next(line for line in said.splitlines() if line.startswith("optbench train "))
    assert "could not be checked" not in said
    assert "optim=rmsprop" in command
    assert "args" not in command and "patience" not in command
    assert pasted(command)


@pytest.mark.parametrize(
    "asked",
    [
        ["data=csv", "data.text=[zip]", "data.exclude=[said]", "data.index=id", "data.units=['m²']"],
        [
            "data=csv",
            "data.columns=[size,zip]",
            "data.text=[zip]",
            "data.units=['m²','%']",
            "data.missing_values=['?']",
        ],
        ["data=text_csv", "data.text=said", "model=linear"],
        ["data=text_csv", "data.text='[x'", "model=linear"],
    ],
)
def test_a_command_about_a_table_gives_its_columns_as_they_were_typed(asked: list[str], folder: Path) -> None:
    lines = ["id,zip,size,said,[x,kind"]
    lines += [f"a{i},0{i % 3},{i} m²,one word {i % 5},two {i % 4},{'no' if i % 2 else 'yes'}" for i in range(60)]
    (folder / "flats.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    jobs = a_sweep_of([*asked, "data.path=flats.csv", "data.label=kind", "optim=sgd", "max_steps=2"], 0.1, seeds=2)
    text = report(jobs[0].folder.parent).text
    assert "could not be checked" not in text, text
    command = next(line for line in text.splitlines() if line.startswith("optbench train"))
    assert [prepare(found).run_id for found in pasted(command)] == [jobs[0].run_id]
