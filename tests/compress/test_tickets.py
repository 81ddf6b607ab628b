"""Tickets: what a pruned run ended without is 0 from the first step on, whoever trains, alone or in a stack."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runner.engine.state import start
from runner.run.build import build
from runner.run.load import load_model
from tests.support.records import run_folder, run_folders, summary_of, without_timing

NET = ["epochs=2", "model.width=16", "model.depth=2", "optim=adam", "save=last"]
AT_THE_END = ["compress=prune_once", "compress.prune_once.start=42", "compress.prune_once.sparsity=0.9"]
"""The dense network's weights are cut after its last step."""
PRUNABLE = 64 * 16 + 16 * 16 + 16 * 10


def zeros(run: Path) -> dict[str, torch.Tensor]:
    """Where the weights of a run's layers are 0."""
    return {name: p == 0 for name, p in load_model(run).network.named_parameters() if p.ndim > 1}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def changed(asked: list[str]) -> list[str]:
    """What the network is asked for with, and what is to be otherwise."""
    keys = [o.partition("=")[0] for o in asked]
    return [*(o for o in NET if o.partition("=")[0] not in keys), *asked]


@pytest.fixture
def pruned(optbench: Callable, folder: Path) -> Path:
    """A run whose weights were cut after its last step."""
    assert optbench("train", *NET, *AT_THE_END, "name=dense").code == 0
    return run_folder(folder, "dense")


def ticket(run: Path) -> list[str]:
    return ["compress=ticket", f"compress.ticket.run={run}"]


@pytest.mark.parametrize("seed", [0, 7])
def test_what_the_pruned_run_ended_without_is_0_at_first_and_at_the_end(
    seed: int, pruned: Path, job: Callable, optbench: Callable, folder: Path
) -> None:
    asked = [*NET, f"seed={seed}"]
    first, whole = (start(build(job(*asked, *more))).weights for more in (ticket(pruned), []))
    there = zeros(pruned)
    for name, weight in whole.items():
        kept = ~there[name] if name in there else torch.ones_like(weight, dtype=torch.bool)
        assert torch.equal(first[name].detach(), weight.detach() * kept), name
    assert optbench("train", *asked, *ticket(pruned)).code == 0
    run = run_folder(folder)
    assert same(zeros(run), there)
    summary = summary_of(run)
    assert summary["pruned_weights"] == round(0.9 * PRUNABLE) and summary["prunable_weights"] == PRUNABLE
    assert summary["sparsity"] == pytest.approx(0.9, abs=1 / PRUNABLE)


def test_a_stack_has_a_ticket_for_each_of_its_runs(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "-m", *NET, *AT_THE_END, "seed=0,1", "name=dense").code == 0
    runs = sorted(run_folders(folder, "dense"))
    own = [word for seed, run in enumerate(runs) for word in ("+", f"seed={seed}", *ticket(run))]
    for name in ("fused", "loop"):
        asked = [*NET, "dtype=float64", f"name={name}", f"engine={name}"]
        assert optbench("train", "-m", *asked, *own).code == 0
    for seed, (stacked, alone) in enumerate(
        zip(*(sorted(run_folders(folder, name)) for name in ("fused", "loop")), strict=True)
    ):
        assert summary_of(stacked)["stack_size"] == 2
        assert same(zeros(stacked), zeros(runs[seed])) and same(zeros(alone), zeros(runs[seed]))
        assert summary_of(stacked)["test_loss"] == pytest.approx(summary_of(alone)["test_loss"], rel=1e-9)
    assert not same(zeros(runs[0]), zeros(runs[1]))


def test_a_ticket_that_was_stopped_goes_on_to_the_same_rows(pruned: Path, optbench: Callable, folder: Path) -> None:
    asked = [*NET, *ticket(pruned), "eval_every=7"]
    assert optbench("train", *asked, "name=whole").code == 0
    for stop in (["pause_at=14"], []):
        assert optbench("train", *asked, "name=paused", *stop).code == 0
    whole, paused = (run_folder(folder, name) for name in ("whole", "paused"))
    assert summary_of(paused)["resumed_from_step"] == 14
    assert without_timing(whole) == without_timing(paused) and same(zeros(whole), zeros(paused))


def test_a_ticket_is_pruned_further_as_in_rounds(pruned: Path, optbench: Callable, folder: Path) -> None:
    further = ["compress=[ticket,prune_once]", f"compress.ticket.run={pruned}", *AT_THE_END[1:]]
    assert optbench("train", *NET, *further[:3], "compress.prune_once.sparsity=0.95").code == 0
    found, before = zeros(run_folder(folder)), zeros(pruned)
    assert all(bool(found[name][before[name]].all()) for name in before)
    assert sum(int(zero.sum()) for zero in found.values()) == round(0.95 * PRUNABLE)


def test_the_id_is_of_the_runs_weights_and_not_of_its_place(pruned: Path, job: Callable, folder: Path) -> None:
    here = job(*NET, *ticket(pruned)).run_id
    moved = Path(shutil.copytree(pruned, folder / "elsewhere"))
    assert job(*NET, *ticket(moved)).run_id == here
    saved = (moved / "checkpoint.pt").read_bytes()
    (moved / "checkpoint.pt").write_bytes(saved[:-1] + bytes([saved[-1] ^ 1]))
    assert job(*NET, *ticket(moved)).run_id != here


def test_it_is_loaded_where_the_pruned_run_is_gone(pruned: Path, optbench: Callable, folder: Path) -> None:
    assert optbench("train", *NET, *ticket(pruned)).code == 0
    there = zeros(pruned)
    shutil.rmtree(pruned)
    assert same(zeros(run_folder(folder)), there)


@pytest.mark.parametrize(
    ("first", "asked", "words"),
    [
        (None, [], ["compress.ticket.run: ", "checkpoint.pt cannot be read", "must have kept its weights"]),
        ([*AT_THE_END, "save=none"], [], ["checkpoint.pt cannot be read", "must have kept its weights"]),
        ([], [], ["has no weight", "that is 0", "give a run that was pruned"]),
        (AT_THE_END, ["model.width=8"], ["does not fit this model", "is [16, 64] there and [8, 64] here"]),
        (AT_THE_END, ["model.depth=1"], ["does not fit this model", "is not here"]),
        (None, ["regularization=ema"], ["averages hold weights where pruned ones are 0"]),
        (None, ["finetune=lora"], ["finetune=lora beside compress=ticket"]),
        (AT_THE_END, ["optim=schedule_free"], ["compress=ticket beside ScheduleFree", "judged by an average"]),
        (None, ["optim.wrap=[lookahead]"], ["optim.wrap=[lookahead] beside compress=ticket"]),
    ],
)
def test_a_run_that_gives_no_ticket_is_refused_with_the_reason(
    first: list[str] | None, asked: list[str], words: list[str], optbench: Callable, folder: Path
) -> None:
    place = folder / "none"
    if first is not None:
        assert optbench("train", *changed(first), "name=first").code == 0
        place = run_folder(folder, "first")
    refused = optbench("train", *changed(asked), *ticket(place))
    assert refused.code == 2 and all(word in refused.err for word in words), refused.err
    assert refused.err.count("\n") <= 2 and not (folder / "outputs" / "default").exists()
