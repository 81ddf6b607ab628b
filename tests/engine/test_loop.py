"""The reference engine: repeats to the byte, separate random streams, divergence, and going on from a saved state."""

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from runner.engine import accumulate, loop
from runner.engine.run import Split
from runner.engine.state import State, start
from runner.noise import generator
from runner.run.build import build
from tests.support.loops import MIXED, final_weights, never, rows_from, trained, untimed

OPTIMIZERS = ["gd", "sgd", "momentum", "nesterov", "adam", "adamw"]


def test_the_loop_is_the_plain_loop_written_by_hand(job: Callable) -> None:
    this = job("optim=momentum", "optim.lr=0.05", "init=he", "epochs=3", "scheduler=constant", "dtype=float64")
    run = build(this)
    model = run.construct()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    x, y = run.train.x, run.train.y
    for epoch in range(3):
        order = torch.randperm(len(y), generator=generator(0, "order", epoch))
        for index in order.split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()
    for ours, plain in zip(final_weights(this), model.parameters(), strict=True):
        torch.testing.assert_close(ours, plain.detach(), rtol=1e-10, atol=1e-12)


def test_gd_takes_the_whole_training_set_each_step(job: Callable) -> None:
    this = job("optim=gd", "epochs=3", "scheduler=constant", "init=he", "dtype=float64")
    run = build(this)
    model = run.construct()
    for _ in range(3):
        gradients = torch.autograd.grad(F.cross_entropy(model(run.train.x), run.train.y), list(model.parameters()))
        with torch.no_grad():
            for p, g in zip(model.parameters(), gradients, strict=True):
                p -= 0.1 * g
    for ours, plain in zip(final_weights(this), model.parameters(), strict=True):
        torch.testing.assert_close(ours, plain.detach(), rtol=1e-10, atol=1e-12)
    assert [row["samples_seen"] for row in trained(this)[1]] == [0, 1295, 2590, 3885]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_repeats_are_bit_identical_whatever_the_global_generator(optimizer: str, job: Callable) -> None:
    this = job(f"optim={optimizer}", "epochs=2", "regularization=dropout", "init=he")
    first = untimed(trained(this)[1])
    torch.manual_seed(99)
    assert untimed(trained(this)[1]) == first


def test_who_asks_for_each_steps_loss_gets_it(job: Callable) -> None:
    told: dict[int, list[float]] = {1: [], 8: []}
    for hold, losses in told.items():

        def pulse(state: State, loss: float, losses: list[float] = losses) -> bool:
            losses.append(loss)
            return False

        for _ in loop.train(start(build(job("max_steps=20", "eval_every=20"))), pulse, hold):
            pass
    assert len(set(told[1])) == len(told[1]) and all(map(math.isfinite, told[1]))
    assert all(map(math.isnan, told[8][:7])) and told[8][7] == told[1][7]


@pytest.mark.parametrize("hold", [5, 64])
def test_the_row_of_a_diverged_run_is_of_its_step_however_many_losses_are_read_at_a_time(
    hold: int, job: Callable
) -> None:
    this = job("optim=sgd", "optim.lr=1e30", "scheduler=linear", "max_steps=20", "eval_every=20")
    rows = [
        untimed([evaluation.row for evaluation in loop.train(start(build(this)), never, at_a_time)])
        for at_a_time in (1, hold)
    ]
    assert rows[0][-1]["status"] == "diverged" and rows[0][-1]["step"] < 20
    assert repr(rows[1]) == repr(rows[0])  # NaN is not equal to itself


def test_rows_hold_what_the_contract_names(job: Callable) -> None:
    _, rows = trained(job("epochs=2", "scheduler=constant"))
    assert list(rows[0]) == [
        *("step", "epoch", "samples_seen", "train_seconds", "lr", "batch_size", "batch_loss", "train_loss"),
        *("train_accuracy", "train_balanced_accuracy", "train_f1"),
        *("val_loss", "val_accuracy", "val_balanced_accuracy", "val_f1", "grad_norm", "update_ratio", "status"),
    ]
    assert [row["step"] for row in rows] == [0, 21, 42]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert [row["samples_seen"] for row in rows] == [0, 1295, 2590]
    assert [row["train_seconds"] for row in rows] == sorted(row["train_seconds"] for row in rows)
    assert rows[0]["batch_loss"] is None
    assert rows[0]["grad_norm"] is None
    assert all(row["grad_norm"] > 0 and 0 < row["update_ratio"] < 1 for row in rows[1:])


def test_batch_loss_is_the_mean_of_the_batches_since_the_last_row(job: Callable) -> None:
    every = trained(job("max_steps=6", "eval_every=1"))[1]
    third = trained(job("max_steps=6", "eval_every=3"))[1]
    for i in (1, 2):
        expected = sum(row["batch_loss"] for row in every[3 * i - 2 : 3 * i + 1]) / 3
        assert third[i]["batch_loss"] == pytest.approx(expected)
    assert third[-1]["val_loss"] == every[-1]["val_loss"]


def test_the_learning_rate_follows_its_schedule(job: Callable) -> None:
    _, rows = trained(job("max_steps=10", "eval_every=1", "scheduler=linear", "scheduler.warmup=2", "optim.lr=0.08"))
    expected = [0.04, 0.08] + [0.08 * (1 - i / 8) for i in range(8)]
    assert [row["lr"] for row in rows[1:]] == pytest.approx(expected)


@pytest.mark.parametrize("dropout", [False, True])
def test_batches_are_the_same_for_every_optimizer_and_noise_does_not_move_them(dropout: bool, job: Callable) -> None:
    extra = ["regularization=dropout"] if dropout else []
    sgd = build(job("optim=sgd", *extra))
    adam = build(job("optim=adam", "optim.lr=0.1"))
    assert torch.equal(sgd.order(3), adam.order(3))
    assert not torch.equal(sgd.order(3), sgd.order(4))
    assert not torch.equal(sgd.order(3), build(job("seed=1")).order(3))


def test_a_diverging_run_ends_at_its_step_with_every_row_kept(job: Callable) -> None:
    state, rows = trained(job("optim=sgd", "optim.lr=1e5", "loss=mse", "epochs=3", "eval_every=2", "init=he"))
    assert state.stop_reason == "non-finite loss"
    assert state.first_nonfinite_step == rows[-1]["step"]
    assert [row["status"] for row in rows] == ["ok"] * (len(rows) - 1) + ["diverged"]
    assert len(rows) >= 2
    assert all(math.isfinite(row["val_loss"]) for row in rows[:-1])
    steps = [row["step"] for row in rows]
    assert steps == sorted(set(steps))


def test_losses_held_back_find_the_same_step_of_divergence(job: Callable) -> None:
    this = job("optim=sgd", "optim.lr=1e5", "loss=mse", "epochs=3", "eval_every=1000", "init=he")
    at_once = trained(this)[1][-1]
    held = [evaluation.row for evaluation in loop.train(start(build(this)), never, 16)][-1]
    for name in ("step", "samples_seen", "epoch", "status"):
        assert held[name] == at_once[name]
    assert repr(held["batch_loss"]) == repr(at_once["batch_loss"])


@pytest.mark.parametrize(("amp", "device"), MIXED)
def test_a_mixed_precision_gradient_is_that_of_autocast_by_hand(amp: str, device: str, job: Callable) -> None:
    run = build(job("init=he", f"amp={amp}", f"device={device}"))
    state = start(run)
    x, y = run.train.x[:64], run.train.y[:64]
    loss = accumulate.gradient(state, x, y, loop._loss)
    model, scale = run.construct(), state.scaler.get_scale() if state.scaler else 1.0
    with torch.autocast(device, torch.bfloat16 if amp == "bf16" else torch.float16):
        expected = F.cross_entropy(model(x), y)
    (scale * expected).backward()
    torch.testing.assert_close(loss, expected)
    assert loss != F.cross_entropy(model(x), y)
    for ours, by_hand in zip(state.model.parameters(), model.parameters(), strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.grad, by_hand.grad)


@pytest.mark.parametrize(("amp", "device"), [("none", "cpu"), *MIXED])
def test_every_precision_trains(amp: str, device: str, job: Callable) -> None:
    """From a loss of log 10 a linear model's, which is convex, falls by far more than these precisions round."""
    convex = ["model=linear", "init=zeros", "optim=sgd", "optim.lr=0.1", "epochs=5"]
    state, rows = trained(job(*convex, f"device={device}", f"amp={amp}"))
    assert {(p.device.type, p.dtype) for p in state.model.parameters()} == {(device, torch.float32)}
    assert rows[0]["train_loss"] == pytest.approx(math.log(10), rel=1e-2)
    assert rows[-1]["train_loss"] < 0.5 * math.log(10)


def test_float64_trains_in_float64(job: Callable) -> None:
    state, _ = trained(job("max_steps=2", "dtype=float64"))
    assert {p.dtype for p in state.model.parameters()} == {torch.float64}


def test_mse_on_classes_is_against_one_hot_targets(job: Callable) -> None:
    run = build(job("loss=mse"))
    outputs = torch.randn(5, 10)
    y = torch.tensor([0, 3, 9, 1, 1])
    torch.testing.assert_close(run.loss(outputs, y), (outputs - torch.eye(10)[y]).square().mean())


def test_regression_learns_what_least_squares_finds(job: Callable) -> None:
    asked = ["data=linear_regression", "model=linear", "optim=gd", "optim.lr=0.3", "scheduler=constant", "epochs=200"]
    this = job(*asked, "dtype=float64")
    _, rows = trained(this)
    run = build(this)

    def inputs(part: Split) -> np.ndarray:
        return np.concatenate([part.x.numpy(), np.ones((len(part.y), 1))], axis=1)

    best, *_ = np.linalg.lstsq(inputs(run.train), run.train.y.numpy(), rcond=None)
    residual = inputs(run.val) @ best - run.val.y.numpy()
    assert rows[-1]["val_mse"] == pytest.approx(np.square(residual).mean(), rel=1e-9)
    assert rows[-1]["val_r2"] == pytest.approx(1 - np.square(residual).mean() / run.val.y.numpy().var(), rel=1e-9)


RESUMED = [
    *([f"optim={o}", "regularization=dropout"] for o in OPTIMIZERS),
    *([f"optim={o}", "amp=bf16"] for o in OPTIMIZERS),
    *(
        [f"optim={o}", "regularization=early_stopping", "regularization.early_stopping.patience=2", "optim.lr=0.05"]
        for o in OPTIMIZERS
    ),
    ["scheduler=cosine", "scheduler.warmup=7"],
    ["regularization=[dropout,grad_clip,l2]", "eval_every=5"],
    ["save=best", "dtype=float64"],
    ["augment=[scale,rotate,crop,flip,noise,mixup,cutmix]"],
    ["augment=mixup", "optim=lbfgs", "optim.max_iter=3", "data=linear_regression"],
    ["optim=asgd"],
    ["optim=muon"],
    *([f"optim={o}"] for o in ("lion", "adabelief", "adan", "ademamix", "lamb", "lars", "prodigy", "schedule_free")),
    *([f"optim={o}"] for o in ("mars", "soap", "shampoo", "kron", "sophia")),
    *(["optim=adamw", f"optim.wrap=[{o}]"] for o in ("sam", "lookahead", "cautious", "sam,cautious,lookahead")),
    ["optim=ademamix", "optim.alpha_warmup=30"],
    ["optim=schedule_free_sgd", "eval_every=5"],
    ["optim=lbfgs", "optim.max_iter=3"],
    ["optim=custom", "optim.target=torch.optim.LBFGS", "optim.args={max_iter: 3}"],
    ["optim=custom", "optim.target=torch.optim.SGD", "optim.closure=true"],
    ["optim=collection", "optim.name=schedulefreeradam"],
    ["optim=collection", "optim.name=adopt", "optim.lr=1e-3"],
    ["scheduler=plateau", "scheduler.patience=1", "scheduler.min_delta=0.2"],
    ["batch=adaptive", "batch.smallest=2", "batch.every=3", "optim.lr=0.003"],
    ["batch.micro=20", "regularization=[dropout,adversarial]"],
    ["target.metric=val_accuracy", "target.value=0.8", "eval_every=5"],
    ["stop=target", "target.metric=val_accuracy", "target.value=0.9", "eval_every=5"],
    ["stop=plateau", "stop.plateau.patience=2", "stop.plateau.min_delta=0.3", "eval_every=5"],
    ["stop=[grad_norm,steps]", "stop.grad_norm.below=0.01", "stop.steps.most=38"],
]


@pytest.mark.parametrize("overrides", RESUMED, ids="-".join)
def test_saved_and_loaded_a_run_goes_on_to_the_same_rows(overrides: list[str], job: Callable) -> None:
    """Saved after its first step, and again, resumed, in the midst of an epoch and at an evaluation."""
    epochs = ["epochs=45", "eval_every=4"] if overrides[0] == "optim=gd" else ["epochs=3"]
    run = build(job(*overrides, *epochs, "model.width=32"))
    undisturbed = start(run)
    expected = rows_from(undisturbed, never)
    state, rows = start(run), []
    for stop_at in (1, 17, 30):
        rows += rows_from(state, lambda state, loss, at=stop_at: state.step == at)
        buffer = io.BytesIO()
        torch.save(state.state_dict(), buffer)
        buffer.seek(0)
        state = start(run)
        state.load_state_dict(torch.load(buffer, weights_only=True))
    rows += rows_from(state, never)
    assert untimed(rows) == untimed(expected)
    assert state.stop_reason == undisturbed.stop_reason
    assert state.steps_to_target == undisturbed.steps_to_target
    for ours, theirs in zip(state.model.parameters(), undisturbed.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.cuda
def test_cuda_trains_like_the_cpu(job: Callable) -> None:
    asked = ["max_steps=40", "eval_every=20", "init=he", "dtype=float64"]
    on_cpu = trained(job(*asked, "device=cpu"))[1]
    state, rows = trained(job(*asked, "device=cuda"))
    assert {p.device.type for p in state.model.parameters()} == {"cuda"}
    for row, expected in zip(rows, on_cpu, strict=True):
        assert row["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-8)


@pytest.mark.cuda
def test_cuda_repeats_to_the_byte_with_deterministic(job: Callable) -> None:
    this = job("epochs=3", "device=cuda", "deterministic=true", "regularization=dropout")
    assert untimed(trained(this)[1]) == untimed(trained(this)[1])
