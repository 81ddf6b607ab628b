"""The fused engine is pinned to the reference: every run of a stack is what it would have been by itself."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.engine import fused
from runner.engine.fused.loop import graph_of
from runner.engine.fused.members import resume, stack
from runner.engine.fused.step import differentiate
from tests.support.known import LOWEST, VALLEY
from tests.support.records import Result
from tests.support.stacks import (
    COSTLY,
    LOOSER,
    MODELS,
    OPTIMIZERS,
    TOLERANCE,
    Make,
    alone,
    assert_same,
    length_of,
    runs_of,
    three,
    together,
)


def stacked() -> Iterator[Any]:
    """Every optimizer with every model. In the fast tests, Adam has every model and each other optimizer has one."""
    for optim in OPTIMIZERS:
        chosen = "mlp" if optim in (*COSTLY, "gd", "muon") else "cnn"
        for model in MODELS:
            marks = [pytest.mark.slow] if optim != "adam" and model != chosen else []
            yield pytest.param(optim, model, marks=marks, id=f"{optim}-{model}")


@pytest.mark.parametrize(("optim", "model"), [*stacked()])
def test_a_run_of_a_stack_is_the_run_by_itself(optim: str, model: str, job: Make) -> None:
    if (optim, model) == ("muon", "cnn"):
        pytest.skip("muon needs a hidden linear layer")
    kinds = three(f"optim={optim}", *OPTIMIZERS[optim])
    assert_same(runs_of(job, kinds, *MODELS[model], *length_of(optim)), LOOSER.get(optim, TOLERANCE))


@pytest.mark.parametrize("optim", OPTIMIZERS)
def test_the_docs_say_how_an_optimizer_is_stacked(optim: str, job: Make) -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    (row,) = [line.split(" | ") for line in page.splitlines() if line.startswith(f"| `{optim}`")]
    members = stack(runs_of(job, three(f"optim={optim}", *OPTIMIZERS[optim]), "max_steps=1"))
    assert row[1] == ("one for many" if members.slices else "one each")
    assert all(float(cell.strip(" |")) < LOOSER.get(optim, TOLERANCE) for cell in row[2:] if cell.strip(" |") != "–")


@pytest.mark.parametrize(
    "shared",
    [
        ["regularization=dropout"],
        ["model=cnn", "model.width=4", "regularization=dropout"],
        ["regularization=[l2,grad_clip]", "regularization.grad_clip.max_norm=0.5"],
        ["regularization=weight_decay", "optim=sgd"],
        ["regularization=[l1,label_smoothing]", "regularization.l1.strength=0.001"],
        [
            "regularization=grad_clip",
            "regularization.grad_clip.max_value=0.01",
            "regularization.grad_clip.max_norm=0.1",
        ],
        ["batch=growing", "batch.milestones=[1]"],
        ["regularization=box", "regularization.box.bound=0.05"],
        ["model.normalization=layer", "model.residual=true", "data=breast_cancer"],
        ["model.normalization=group", "data=breast_cancer", "model.width=64"],  # of 2 units a group makes mere signs
        ["scheduler=plateau", "scheduler.patience=1", "scheduler.factor=0.5"],
        ["loss=mse"],
        ["loss=bce", "metrics=[f1,roc_auc]"],
        ["stop=[target,steps]", "target.metric=loss", "target.value=1.5", "stop.steps.most=20"],
        ["stop=plateau", "stop.plateau.patience=1", "stop.plateau.min_delta=0.2"],
        ["stop=grad_norm", "stop.grad_norm.below=1.0"],
        ["data=diabetes", "loss=huber"],
        ["model=linear"],
        ["batch.shuffle=false"],
        ["data=text", "data.characters=3000", "data.context=8", "model=gpt", "model.heads=2", "optim=sgd"],
    ],
    ids=lambda shared: " ".join(shared)[:60],
)
def test_every_part_of_a_run_stacks(shared: list[str], job: Make) -> None:
    width = [] if any(s.startswith(("model=linear", "model.width")) for s in shared) else ["model.width=16"]
    size = ["batch.size=32"]  # 41 steps an epoch
    assert_same(runs_of(job, three(*shared), *width, *size, "max_steps=48", "eval_every=6", "dtype=float64"), 1e-9)


def test_runs_of_other_optimizers_regularization_and_schedules_stack(job: Make) -> None:
    kinds = [
        ["optim=adam", "optim.lr=0.01", "regularization=dropout", "regularization.dropout.p=0.3"],
        ["optim=adam", "optim.lr=0.003", "scheduler=cosine"],
        ["optim=adam", "optim.betas=[0.8,0.9]", "regularization=l2", "regularization.l2.strength=0.1"],
        ["optim=sgd", "optim.lr=0.1", "regularization=grad_clip", "regularization.grad_clip.max_norm=0.1"],
        ["optim=rprop", "seed=3"],
        ["optim=muon", "scheduler=wsd", "init=orthogonal"],
    ]
    assert_same(runs_of(job, kinds, "model.width=16", "max_steps=40", "eval_every=10", "dtype=float64"))


def test_members_of_adamw_have_weight_decays_of_their_own_in_one_step(job: Make) -> None:
    kinds = [[f"optim.weight_decay={wd}", f"optim.lr={lr}"] for wd in (0.01, 0.3, 2.0) for lr in (0.003, 0.03)]
    runs = runs_of(job, kinds, "model.width=16", "max_steps=40", "dtype=float64")
    assert len(stack(runs).slices) == 1
    assert_same(runs)


def test_runs_that_end_for_other_reasons_stack(job: Make) -> None:
    kinds = [
        ["stop=plateau", "stop.plateau.patience=1", "stop.plateau.min_delta=10"],
        ["stop=grad_norm", "stop.grad_norm.below=1e9", "seed=1"],
        ["stop=none"],
        ["stop=target", "seed=2", "optim.lr=0.01"],
    ]
    target = ["target.metric=val_loss", "target.value=0.8"]
    runs = runs_of(job, kinds, *target, "model.width=16", "max_steps=60", "eval_every=6", "dtype=float64")
    assert_same(runs)
    assert {state.stop_reason.partition(":")[0] for state, _ in together(runs)} == {
        *("plateau", "grad_norm", "target", "finished")
    }


def test_a_diverged_member_leaves_and_the_others_go_on(job: Make) -> None:
    kinds = [["optim.lr=0.1"], ["optim.lr=1e6"], ["optim.lr=0.05", "seed=1"], ["optim.lr=1e9"]]
    shared = ["optim=sgd", "loss=mse", "model.width=16", "max_steps=60", "eval_every=30", "dtype=float64"]
    runs = runs_of(job, kinds, *shared)
    assert_same(runs)
    found = {run.schedule(0): state.stop_reason for run, (state, _) in zip(runs, together(runs), strict=True)}
    assert found == {0.1: "finished", 0.05: "finished", 1e6: "non-finite loss", 1e9: "non-finite loss"}


def test_members_stop_early_each_by_itself_with_their_best_weights(job: Make) -> None:
    valley = [o for o in VALLEY if not o.startswith("optim.lr=")]
    kinds = [[f"optim.lr={lr}"] for lr in ENDS]
    shared = ["regularization=early_stopping", "regularization.early_stopping.patience=2"]
    runs = runs_of(job, kinds, *valley, *shared)
    assert_same(runs)
    found = {round(run.schedule(8), 9): state.step for run, (state, _) in zip(runs, together(runs), strict=True)}
    assert found == ENDS


ENDS = {4.4: LOWEST + 2, 0.8: 9, 8.0: 3}
"""Where members stop that pass 2/L in step 4, that never do, and that are at the minimum after the first step."""


@pytest.mark.parametrize("optim", ["sgd", "adam", "adamw", "amsgrad"])
@pytest.mark.parametrize("fast", [True, False])
def test_fused_kernels_get_gradients_laid_out_like_their_weights(
    optim: str, fast: bool, job: Make, monkeypatch
) -> None:
    monkeypatch.setattr("runner.optim.from_torch.fusable", lambda parameters: fast)
    runs = runs_of(job, three(f"optim={optim}"), "model.width=16", "max_steps=20", "dtype=float64")
    assert_same(runs)
    members = stack(runs)
    assert bool(members.slices[0].optimizer.defaults["fused"]) == fast
    next(fused.train(members, lambda step: False))
    differentiate(members, runs[0].train.x[:32], runs[0].train.y[:32], True)
    for weight in members.weights.values():
        assert weight.grad is not None and weight.grad.stride() == weight.stride()


EXACT = [
    *("data=custom", "data.target=tests.own_parts.wholes", "data.normalize=none", "loss=mse", "model.width=16"),
    *("init=custom", "init.target=tests.own_parts.halves", "optim=sgd", "scheduler=constant", "batch.size=32"),
]
"""In one step of these all numbers are multiples of 2^-15 below 2^9, sums included: float32 rounds none of them."""


def test_float32_is_exact_where_no_number_needs_rounding(job: Make) -> None:
    kinds = [[f"optim.lr={lr}", f"seed={seed}"] for lr in (0.25, 0.125) for seed in (0, 1)]
    exact, rounded = (runs_of(job, kinds, *EXACT, "max_steps=1", f"dtype={d}") for d in ("float64", "float32"))
    for run, in_float64, (state, rows) in zip(rounded, exact, together(rounded), strict=True):
        for by_itself in (run, in_float64):
            expected_state, expected_rows = alone(by_itself)
            for name, weight in state.model.state_dict().items():
                assert torch.equal(weight.double(), expected_state.model.state_dict()[name].double()), name
            assert rows[0]["val_loss"] == expected_rows[0]["val_loss"] > 0
            assert rows[1]["batch_loss"] == expected_rows[1]["batch_loss"] > 0


@pytest.mark.parametrize("optim", ["adamw", "nadam", "muon", "asgd"])
def test_a_saved_stack_goes_on_with_some_of_its_members(optim: str, job: Make) -> None:
    shared = [f"optim={optim}", "model.width=16", "max_steps=40", "eval_every=10", "dtype=float64"]
    runs = runs_of(job, [[f"optim.lr={lr}", f"seed={seed}"] for lr in (0.003, 0.01) for seed in (0, 1)], *shared)
    expected = [alone(run)[0].model.state_dict() for run in runs]
    members = stack(runs)
    for events in fused.train(members, lambda step: step == 23):
        assert events is not None
    saved = members.state_dict()
    assert members.step == 23
    chosen = [0, 2, 3]
    again = resume([runs[i] for i in chosen], saved, chosen)
    states = list(again.states)
    for _ in fused.train(again, lambda step: False):
        pass
    for i, state in zip(chosen, states, strict=True):
        for name, tensor in state.model.state_dict().items():
            torch.testing.assert_close(tensor, expected[i][name], atol=TOLERANCE, rtol=0)


GRAPHED = ["sgd", "momentum", "adam", "adamw", "radam", "adamax", "rmsprop", "adadelta"]


@pytest.mark.cuda
@pytest.mark.parametrize("optim", [*GRAPHED, "lion", "adabelief", "adan", "ademamix", "lamb", "mars"])
@pytest.mark.parametrize("shared", [[], ["regularization=dropout"], ["model.normalization=batch"]], ids=str)
def test_a_graphed_stack_is_the_run_by_itself_on_cuda(optim: str, shared: list[str], job: Make) -> None:
    length = ["max_steps=50", "eval_every=25", "dtype=float64", "batch.size=100", "device=cuda"]
    runs = runs_of(job, three(f"optim={optim}"), "model.width=12", "data=breast_cancer", *length, *shared)
    members = stack(runs)
    assert graph_of(members) is not None
    assert_same(runs, 1e-8)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_bf16_in_a_stack_learns(device: str, job: Make) -> None:
    """From a loss of log 10 a linear model's, which is convex, falls by far more than bfloat16 rounds."""
    kinds = [["optim.lr=0.1", "seed=0"], ["optim.lr=0.05", "seed=1"]]
    convex = ["model=linear", "init=zeros", "optim=sgd", "epochs=10"]
    for _, rows in together(runs_of(job, kinds, *convex, "amp=bf16", f"device={device}")):
        assert rows[0]["train_loss"] == pytest.approx(math.log(10), rel=1e-2)
        assert rows[-1]["train_loss"] < 0.5 * math.log(10)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["model=rnn"], "no batching rule"),
        (["regularization=weight_norm"], "no batching rule"),
        (["optim=lbfgs"], "its optimizer evaluates a batch several times a step"),
        (["diagnostics=true"], "diagnostics=true looks into the layers of one run"),
        (["batch=adaptive"], "batch=adaptive measures the gradients of one run"),
        (["compile=true"], "compile=true compiles the model of one run"),
        (["stop=time"], "stop=time counts a run's own seconds"),
        (["model=custom", "model.target=tests.own_parts.Counting"], "no batching rule"),
    ],
)
@pytest.mark.parametrize("sweep", [False, True])
def test_what_cannot_be_stacked_is_refused(
    overrides: list[str], reason: str, sweep: bool, optbench: Callable[..., Result], folder: Path
) -> None:
    asked = ["-m", "seed=0,1"] if sweep else []
    result = optbench("train", *asked, "engine=fused", "max_steps=2", *overrides)
    assert result.code == 2 and "engine=fused" in result.err and reason in result.err, result.err
    assert "Traceback" not in result.err and not (folder / "outputs").exists()


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_what_is_not_written_out_of_a_network_has_its_gradients_too(norm: str, job: Make) -> None:
    parts = ["model.widths=[32,32]", "model.residual=true", "regularization=[dropout,label_smoothing]"]
    runs = runs_of(job, three("optim=adam"), "dtype=float64", "max_steps=20", f"model.normalization={norm}", *parts)
    for (stacked, _), run in zip(together(runs), runs, strict=True):
        solo, _ = alone(run)
        for one, other in zip(stacked.model.parameters(), solo.model.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=TOLERANCE)
