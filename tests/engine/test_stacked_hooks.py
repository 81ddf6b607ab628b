"""Mechanisms of more than a step's arithmetic in a stack: each member is still the run by itself."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from runner.engine import fused
from runner.engine.fused.batched import is_written_out
from runner.engine.fused.members import resume, stack
from runner.engine.run import Run
from runner.run.claim import run_job
from tests.support.known import VALLEY
from tests.support.stacks import (
    ADVERSARY,
    EMA,
    LENGTH,
    MECHANISMS,
    MODELS,
    SWA,
    TOLERANCE,
    Make,
    alone,
    assert_same,
    fits,
    runs_of,
    three,
    together,
)


def length(steps: int) -> list[str]:
    return [f"max_steps={steps}", "eval_every=10", "dtype=float64"]


def stacked() -> Iterator[Any]:
    """Every mechanism with every model. In the fast tests, each has one model; all of them together have every one."""
    for mechanism, asked in MECHANISMS.items():
        for model in (models := [model for model in MODELS if fits(asked, model)]):
            marks = [pytest.mark.slow] if mechanism != "all at once" and model != models[0] else []
            yield pytest.param(mechanism, model, marks=marks, id=f"{mechanism}-{model}")


@pytest.mark.parametrize(("mechanism", "model"), [*stacked()])
def test_a_run_of_a_stack_is_the_run_by_itself(mechanism: str, model: str, job: Make) -> None:
    assert_same(runs_of(job, three("optim=adam"), *MODELS[model], *LENGTH, *MECHANISMS[mechanism]))


@pytest.mark.parametrize("model", MODELS)
def test_members_have_averages_of_their_own_or_none(model: str, job: Make) -> None:
    kinds = [
        [*EMA, "seed=1"],
        ["regularization=ema", "regularization.ema.decay=0.5"],
        [*SWA, "regularization.swa.every=2"],
        ["regularization=[swa,l2]", "regularization.swa.start=41"],
        ["regularization=none", "seed=2"],
    ]
    assert_same(runs_of(job, kinds, "optim=adam", "optim.lr=0.003", *MODELS[model], *LENGTH))


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 0)])
@pytest.mark.parametrize("batch", [[], ["batch.shuffle=false"], ["batch.size=all"]], ids=str)
def test_each_seed_draws_its_own(seeds: tuple[int, ...], batch: list[str], job: Make) -> None:
    kinds = [[f"seed={seed}", f"optim.lr={lr}"] for seed, lr in zip(seeds, (0.01, 0.003, 0.001), strict=True)]
    parts = ["augment=[rotate,noise,cutmix]", "model.width=12"]
    size = [] if "batch.size=all" in batch else ["batch.size=32"]
    assert_same(runs_of(job, kinds, *length(12), *size, *parts, *batch))


def test_how_far_and_how_much_differ_among_adversaries(job: Make) -> None:
    own = [
        [f"regularization.adversarial.{key}={value}"]
        for key, value in (("epsilon", 0.05), ("share", 0.2), ("share", 1))
    ]
    kinds = [[*kind, *more] for kind, more in zip(three(), own, strict=True)]
    assert_same(runs_of(job, kinds, "regularization=adversarial", "optim=adam", *MODELS["mlp"], *LENGTH))


@pytest.mark.parametrize("more", [[], ["augment=mixup", "batch.micro=20"]], ids=str)
def test_one_teacher_teaches_all(more: list[str], job: Make, folder: object) -> None:
    taught = run_job(job("model.width=16", "epochs=2", "name=teacher"), save="last", bar=False)
    assert taught is not None
    own = [["temperature=2", "share=0.5"], ["temperature=3", "share=0.9"], ["temperature=4", "share=1"]]
    kinds = [
        [*kind, *(f"regularization.distillation.{setting}" for setting in settings)]
        for kind, settings in zip(three("optim=adam"), own, strict=True)
    ]
    teacher = ["regularization=[distillation,label_smoothing]", f"regularization.distillation.run={taught.job.folder}"]
    assert_same(runs_of(job, kinds, *teacher, *MODELS["mlp"], *LENGTH, *more))


@pytest.mark.parametrize("optim", ["sgd", "adamw", "adam"])
def test_widths_in_mup_have_rates_of_their_own(optim: str, job: Make) -> None:
    shared = ["model.mup=true", "model.base_width=4", "model.width=16", f"optim={optim}"]
    decay = [["optim.weight_decay=0.3"], ["optim.weight_decay=0.0"], []] if optim == "adamw" else [[]] * 3
    kinds = [[*kind, *own] for kind, own in zip(three(), decay, strict=True)]
    runs = runs_of(job, kinds, *shared, *LENGTH)
    members = stack(runs)
    assert is_written_out(members.model) and len({*members.slices[0].scales}) > 1
    assert_same(runs)


def test_a_transformer_in_mup_stacks(job: Make) -> None:
    text = ["data=text", "data.characters=3000", "data.context=8", "model=gpt", "model.heads=2", "model.width=16"]
    mup = ["model.mup=true", "model.base_width=8", "optim=adamw", "optim.weight_decay=0.1"]
    assert_same(runs_of(job, [["seed=0"], ["seed=1", "optim.lr=0.01"]], *text, *mup, *length(10), "batch.size=32"))


@pytest.mark.parametrize("average", [EMA, SWA], ids=["ema", "swa"])
def test_the_best_averages_are_put_back_when_a_member_stops_early(average: list[str], job: Make) -> None:
    valley = [o for o in VALLEY if not o.startswith("optim.lr=")]
    shared = [f"regularization=[early_stopping,{average[0].partition('=')[2]}]", *average[1:]]
    patience = "regularization.early_stopping.patience=2"
    runs = runs_of(job, [[f"optim.lr={lr}"] for lr in (4.4, 0.8, 8.0)], *valley, *shared, patience)
    assert_same(runs)
    assert len({state.step for state, _ in together(runs)}) > 1


def test_a_diverged_member_leaves_the_others_their_averages_and_draws(job: Make) -> None:
    kinds = [["optim.lr=0.05"], ["optim.lr=1e6", "seed=1"], ["optim.lr=0.02", "seed=2"]]
    shared = ["optim=sgd", "loss=mse", "model.width=12", *length(50), "batch.size=32", "augment=[noise,mixup]", *EMA]
    runs = runs_of(job, kinds, *shared)
    assert_same(runs)
    assert [state.stop_reason for state, _ in together(runs)].count("non-finite loss") == 1


RESUMED = {
    "ema": EMA,
    "swa": ["regularization=swa", "regularization.swa.start=10", "model.normalization=batch", "data=breast_cancer"],
    "swa, not begun": ["regularization=swa", "regularization.swa.start=30"],
    "augment and micro-batches": ["augment=[crop,mixup]", "batch.micro=20"],
    "adversary": [*ADVERSARY, "regularization.adversarial.steps=2"],
    "mup": ["model.mup=true", "model.base_width=4"],
    "lookahead": ["optim.wrap=[lookahead]"],
    "cautious": ["optim.wrap=[cautious]"],
}


@pytest.mark.parametrize("mechanism", RESUMED)
def test_a_saved_stack_goes_on_with_some_of_its_members(mechanism: str, job: Make) -> None:
    shared = ["optim=adamw", "model.width=16", *length(40), "batch.size=32", *RESUMED[mechanism]]
    runs = runs_of(job, [[f"optim.lr={lr}", f"seed={seed}"] for lr in (0.003, 0.01) for seed in (0, 1)], *shared)
    members = stack(runs)
    for _ in fused.train(members, lambda step: step == 23):
        pass
    assert members.step == 23
    _assert_goes_on(runs, members.state_dict(), [0, 2, 3])


def _assert_goes_on(runs: list[Run], saved: dict[str, object], chosen: list[int]) -> None:
    again = resume([runs[i] for i in chosen], saved, chosen)
    states = list(again.states)
    for _ in fused.train(again, lambda step: False):
        pass
    for i, state in zip(chosen, states, strict=True):
        expected = alone(runs[i])[0].judged_weights()
        for name, tensor in state.judged_weights().items():
            torch.testing.assert_close(tensor, expected[name], atol=TOLERANCE, rtol=0)
