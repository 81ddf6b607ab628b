"""The command that ends a run's table works as it is pasted, whatever the run was asked by."""

import math
import shlex
from pathlib import Path
from random import Random

import pytest

from runner.cli import present
from runner.cli.main import main
from runner.errors import ConfigError
from runner.run.job import Job, prepare
from runner.run.outcome import Outcome
from tests.support.composed import compose_job
from tests.support.pasted import pasted
from tests.support.random_runs import draw_with_parts

FAST, ALL = 20, 200


def next_line(job: Job, status: str, config_dir: str | None = None) -> str:
    outcome = Outcome(job, {"status": status, "traceback": "", "stop_reason": ""}, trained=True)
    (line,) = [line for line in present.result(outcome, config_dir).splitlines() if line.startswith("next ")]
    return line.removeprefix("next ").strip()


@pytest.mark.parametrize("number", [n if n < FAST else pytest.param(n, marks=pytest.mark.slow) for n in range(ALL)])
def test_the_next_line_of_a_random_run_composes_as_pasted(number: int, folder: Path) -> None:
    job = compose_job(draw_with_parts(Random(number)))
    around = pasted(next_line(job, "completed"))
    rates = [composed.config["optim"]["lr"] for composed in around]
    lr = job.config["optim"]["lr"]
    assert lr in rates and rates == sorted(rates) and all(0 < rate < math.inf for rate in rates)
    assert len(rates) == 3 or not 1e-300 < lr < 1e300
    (same,) = [composed for composed in around if composed.config["optim"]["lr"] == lr]
    assert prepare(same).run_id == job.run_id
    status = ("interrupted", "failed")[number % 2]
    (again,) = pasted(next_line(job, status))
    assert prepare(again).run_id == job.run_id
    assert again.config["retry"] == ("failed" if status == "failed" else "none")


def test_a_next_line_names_the_folder_of_ones_own_options(folder: Path) -> None:
    (folder / "my own" / "optim").mkdir(parents=True)
    yaml = ["_option_: mine", "_target_: runner.optim.custom", "target: torch.optim.SGD", "lr: 0.5", "args: {}"]
    (folder / "my own" / "optim" / "mine.yaml").write_text("\n".join([*yaml, "closure: null", ""]))
    (single,) = pasted(shlex.join(["optbench", "train", "-cd", "my own", "optim=mine", "optim.args.momentum=0.9"]))
    line = next_line(prepare(single), "completed", "my own")
    assert [c.config["optim"]["args"] for c in pasted(line)] == [{"momentum": 0.9}] * 3


def test_large_targets_that_were_not_learned_are_to_be_scaled(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Diabetes has targets of 25 to 346."""
    assert main(["train", "data=diabetes", "max_steps=2", "baselines=false"]) == 0
    said = capsys.readouterr()
    assert "the targets go from 25 to 346" in said.err and "data.normalize_target=standard" in said.err
    (line,) = [line for line in said.out.splitlines() if line.startswith("next ")]
    (again,) = pasted(line.removeprefix("next ").strip())
    assert again.config["data"]["normalize_target"] == "standard" and again.config["max_steps"] == 2
    assert main(["train", "data=diabetes", "max_steps=2", "data.normalize_target=standard"]) == 0
    assert "targets" not in capsys.readouterr().err


def test_a_command_that_does_not_compose_is_noticed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AssertionError, match="ended with 2"):
        pasted("optbench train -m optim.lrr=0.1")
    assert "optim.lrr" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        compose_job(["optim.lrr=0.1"])
