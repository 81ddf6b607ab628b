"""What a sweep ends with: its runs where they are few, its best settings, the report's command."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from runner import INTERRUPTED
from runner.cli import present
from runner.cli.train import _end_of_grid
from runner.run.outcome import Outcome
from runner.sweep.queue import NOT_STARTED
from runner.sweep.terminal import LINES_FOR_RUNS, report_outcome, reporter
from tests.support.composed import compose_job


def outcome(value: float | None, *overrides: str, measure: str = "final_val_accuracy") -> Outcome:
    summary: dict[str, Any] = {"status": "completed" if value is not None else "diverged", measure: value}
    return Outcome(compose_job(list(overrides)), summary, trained=True)


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first line begins with some words, up to the empty line below it."""
    lines = [line.split() for line in text.splitlines()]
    start = next(i for i, cells in enumerate(lines) if " ".join(cells).startswith(head))
    return lines[start : lines.index([], start)]


def test_the_best_settings_are_those_of_the_highest_mean_over_seeds() -> None:
    accuracy = {("sgd", 0): 0.9, ("sgd", 1): 0.1, ("adam", 0): 0.6, ("adam", 1): 0.7}
    outcomes = [outcome(v, f"optim={optim}", f"seed={seed}") for (optim, seed), v in accuracy.items()]
    said = present.sweep(outcomes)
    assert table(said, "optim final") == [
        ["optim", "final_val_accuracy", "runs"],
        ["adam", "0.6500", "2"],
        ["sgd", "0.5000", "2"],
    ]
    assert said.endswith("report  optbench report outputs/default\n")


def test_losses_are_better_the_lower_they_are() -> None:
    data = ["data=diabetes", "batch.size=16"]
    outcomes = [outcome(v, *data, f"optim.lr={lr}", measure="final_val_loss") for lr, v in ((0.1, 3.0), (0.2, 2.0))]
    assert [row[0] for row in table(present.sweep(outcomes), "optim.lr final")] == ["optim.lr", "0.2", "0.1"]


def test_every_axis_that_varies_is_a_column_and_no_other_key() -> None:
    axes = list(product(("8", "16"), ("dropout", "[l1,l2]"), ("0", "1")))
    asked = [[f"model.width={w}", f"regularization={r}", f"seed={s}", "epochs=3", "name=mine"] for w, r, s in axes]
    said = present.sweep([outcome(0.5, *overrides) for overrides in asked])
    assert said.splitlines()[0].split()[:4] == ["model.width", "regularization", "seed", "status"]
    assert table(said, "model.width regularization final")[0][:2] == ["model.width", "regularization"]
    assert ["8", "l1+l2"] in [row[:2] for row in table(said, "model.width regularization final")]


def test_arguments_of_a_part_of_ones_own_are_axes() -> None:
    own = ["optim=custom", "optim.target=torch.optim.SGD", "optim.lr=0.1"]
    grid = product(("0.5", "0.9"), ("0", "1"))
    said = present.sweep([outcome(float(m), *own, f"optim.args.momentum={m}", f"seed={s}") for m, s in grid])
    assert said.splitlines()[0].split()[:3] == ["optim.args.momentum", "seed", "status"]
    assert [row[0] for row in table(said, "optim.args.momentum final")] == ["optim.args.momentum", "0.9", "0.5"]


def test_numbers_that_differ_are_told_apart() -> None:
    rates = ("0.1", "0.10000001")
    said = present.sweep([outcome(0.5, f"optim.lr={rate}") for rate in rates])
    assert {row[0] for row in table(said, "optim.lr final")[1:]} == set(rates)


def test_a_setting_with_a_run_that_diverged_is_counted_and_not_among_the_best() -> None:
    found = {("sgd", 0): None, ("sgd", 1): 0.99, ("adam", 0): 0.6, ("adam", 1): 0.7}
    said = present.sweep([outcome(v, f"optim={o}", f"seed={s}") for (o, s), v in found.items()])
    assert "the best of 2 settings, 1 of them without results" in said
    assert [row[0] for row in table(said, "optim final")[1:]] == ["adam"]


def test_many_runs_have_no_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    few = [outcome(0.5, f"seed={seed}") for seed in range(LINES_FOR_RUNS - 1)]
    assert "default-adamw-lr0.001-s48" in present.sweep(few)
    many = [*few, outcome(0.5, "seed=99")]
    assert "default-adamw" not in present.sweep(many)
    assert reporter(len(few)) is report_outcome
    reporter(len(many))(many[0])
    assert capsys.readouterr().err == ""


def test_an_interrupted_run_is_left_to_the_end_of_the_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    stopped = {"status": "interrupted", "stop_reason": "interrupted"}
    report_outcome(Outcome(compose_job([]), stopped, trained=True))
    assert capsys.readouterr().err == ""


def test_the_reports_command_names_the_yamls_of_ones_own(optbench: Callable) -> None:
    assert present.sweep([outcome(0.5)], "my configs").endswith("outputs/default --config-dir 'my configs'\n")


def test_a_sweep_that_was_stopped_between_packs_is_not_over(capsys: pytest.CaptureFixture[str]) -> None:
    """One that diverged is a result: the others were not started all the same."""
    waiting = [Outcome(compose_job([f"seed={s}"]), {"status": "interrupted", "stop_reason": NOT_STARTED}, trained=False)
               for s in range(1, 4)]  # fmt: skip
    assert _end_of_grid([outcome(None, "seed=0"), *waiting]) == INTERRUPTED
    said = capsys.readouterr().err
    assert "3 of 4 runs were not started" in said and "goes on" in said
    assert _end_of_grid([outcome(None, "seed=0")]) == 0
