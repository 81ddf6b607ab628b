"""Batches taken apart take the whole ones' steps, and their parts say how noisy the gradient is."""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from runner.batch.noise_scale import noise_and_signal
from runner.engine import accumulate, loop
from runner.engine.run import Run
from runner.engine.state import State, start
from runner.run.build import build
from runner.run.job import Job
from runner.study import noise_scale
from runner.study.study import weights_of
from tests.support.composed import compose_job
from tests.support.loops import MIXED, never, rows_from, trained
from tests.support.records import Result, run_folder

EXACT = ["dtype=float64", "max_steps=6", "eval_every=6", "init=he", "optim=momentum", "model.width=16"]


MODELS = {
    "mlp": [],
    "cnn": ["model=cnn"],
    "vit": ["model=vit"],
    "rnn": ["model=rnn"],
    "gpt": ["model=gpt", "data=text", "data.characters=2000", "data.context=8"],
}


def apart(one: Job, other: Job) -> tuple[float, float]:
    """The largest difference of final weights, and that of the last rows' losses and gradient norms."""
    (ours, rows), (theirs, expected) = trained(one), trained(other)
    weights = zip(ours.model.parameters(), theirs.model.parameters(), strict=True)
    measured = ("batch_loss", "train_loss", "val_loss", "grad_norm")
    return (
        float(np.max([(a - b).abs().max().item() for a, b in weights])),
        float(np.max([abs(rows[-1][name] - expected[-1][name]) for name in measured])),
    )


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["optim=adam"],
        ["optim=lbfgs", "optim.max_iter=4", "optim.lr=0.1", "optim.line_search=none"],
        ["optim=gd", "batch.micro=100"],
        ["data=linear_regression"],
        ["loss=bce"],
        ["regularization=[l1,l2,grad_clip,label_smoothing]", "regularization.grad_clip.max_norm=0.5"],
        ["regularization=[l2,weight_decay,ema,weight_norm]"],
        ["regularization=[adversarial,dropout]", "regularization.adversarial.steps=3"],
        ["augment=[crop,rotate,flip,noise]", "model=cnn"],
        ["augment=mixup"],
        ["augment=[cutmix,mixup]", "model=cnn"],
        ["augment=mixup", "data=linear_regression"],
        ["batch=growing", "batch.size=24", "batch.milestones=[1]", "data.fraction=0.1"],
        ["model.normalization=layer"],
    ],
    ids="-".join,
)
def test_a_batch_taken_apart_takes_the_steps_of_the_whole_one(overrides: list[str], job: Callable) -> None:
    micro = [o for o in overrides if o.startswith("batch.micro")] or ["batch.micro=7"]
    whole = [o for o in overrides if o not in micro]
    asked = [o for o in EXACT if not (o.startswith("optim=") and any(w.startswith("optim=") for w in whole))]
    if any(o.startswith("model=") for o in whole):
        asked.remove("model.width=16")
    assert np.max(apart(job(*asked, *whole, *micro), job(*asked, *whole))) < 1e-12


@pytest.mark.parametrize("micro", [[], ["batch.micro=7"]])
def test_a_product_with_the_hessian_is_the_slope_of_the_gradient(micro: list[str], job: Callable) -> None:
    smooth = ["model.activation=tanh", "regularization=[dropout,l2]", "regularization.l2.strength=0.1"]
    run = build(job(*EXACT, *smooth, *micro))
    state = start(run)
    x, y = run.train.x[:20], run.train.y[:20]
    vectors = [torch.randn(w.shape, dtype=w.dtype, generator=torch.Generator().manual_seed(1)) for w in state.trained]
    gradients = []
    for way in (1e-5, -2e-5):  # from the weights to one side, and from there to the other
        for weight, vector in zip(state.trained, vectors, strict=True):
            weight.data.add_(vector, alpha=way)
        accumulate.gradient(state, x, y, loop._loss)
        gradients.append([w.grad.clone() for w in state.trained])
    for weight, vector in zip(state.trained, vectors, strict=True):
        weight.data.add_(vector, alpha=1e-5)
    products = loop.Anew(state, x, y).hessian_times(vectors)
    for product, ahead, behind in zip(products, *gradients, strict=True):
        torch.testing.assert_close(product, (ahead - behind) / 2e-5, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_parts_drop_what_the_whole_batch_drops(model: str, job: Callable) -> None:
    dropped = (
        ["regularization=dropout", "regularization.dropout.p=0.4"] if model != "cnn" else ["regularization=dropout"]
    )
    asked = [*EXACT[:-1], "max_steps=3", *MODELS[model], *dropped]
    asked.remove("max_steps=6")
    assert np.max(apart(job(*asked, "batch.micro=7"), job(*asked))) < 1e-12
    assert max(apart(job(*asked, "seed=1"), job(*asked))) > 1e-3


def test_parts_are_taught_what_the_whole_batch_is(job: Callable, optbench: Callable[..., Result]) -> None:
    assert optbench("train", "name=teacher", "max_steps=20").code == 0
    teacher = run_folder(Path(), "teacher")
    taught = [*EXACT, "regularization=distillation", f"regularization.distillation.run={teacher}"]
    assert np.max(apart(job(*taught, "batch.micro=7"), job(*taught))) < 1e-12


def test_no_more_samples_than_asked_for_are_processed_at_a_time(job: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    of_part = loop._loss

    def noted(state: State, x: Tensor, y: Tensor, first: int = 0) -> Tensor:
        seen.append(len(x))
        return of_part(state, x, y, first)

    monkeypatch.setattr(loop, "_loss", noted)
    trained(job("max_steps=2", "batch.micro=30"))
    assert seen == [30, 30, 4, 30, 30, 4]


def test_batch_norm_takes_each_parts_statistics(job: Callable) -> None:
    run = build(job("model.normalization=batch", "batch.micro=40", "dtype=float64"))
    state = start(run)
    x, y = run.train.x[:64], run.train.y[:64]
    norm, hidden = state.model.norms[0], state.model.hidden[0](x.flatten(1)).detach()
    expected = torch.zeros_like(norm.running_mean)
    for part in (hidden[:40], hidden[40:]):
        expected = 0.9 * expected + 0.1 * part.mean(0)
    accumulate.gradient(state, x, y, loop._loss)
    torch.testing.assert_close(norm.running_mean, expected)


def test_noise_of_ones_own_model_differs_between_parts_and_repeats(job: Callable) -> None:
    run = build(job("model=custom", "model.target=tests.own_parts.Normed", "batch.micro=32"))
    state = start(run)
    masks: list[Tensor] = []
    dropout = next(m for m in state.model.modules() if isinstance(m, nn.Dropout))
    dropout.register_forward_hook(lambda module, given, output: masks.append(output == 0))
    for _ in range(2):
        accumulate.gradient(state, run.train.x[:64], run.train.y[:64], loop._loss)
    assert not torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2]) and torch.equal(masks[1], masks[3])


@pytest.mark.parametrize(("amp", "device"), MIXED)
def test_mixed_precision_goes_with_parts(amp: str, device: str, job: Callable) -> None:
    run = build(job("init=he", f"amp={amp}", f"device={device}", "regularization=l2", "batch.micro=20"))
    state = start(run)
    x, y = run.train.x[:64], run.train.y[:64]
    accumulate.gradient(state, x, y, loop._loss)
    model, scale = run.construct(), state.scaler.get_scale() if state.scaler else 1.0
    penalty = run.hooks["regularization.l2"]
    for part in (slice(0, 20), slice(20, 40), slice(40, 60), slice(60, 64)):
        with torch.autocast(device, torch.bfloat16 if amp == "bf16" else torch.float16):
            loss = nn.functional.cross_entropy(model(x[part]), y[part])
        squares = sum(p.square().sum() for p in model.parameters() if p.ndim > 1)
        (scale * len(y[part]) / 64 * (loss + penalty.strength * squares / 2)).backward()
    for ours, by_hand in zip(state.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, by_hand.grad)


def test_parts_as_large_as_the_batch_are_no_parts(job: Callable) -> None:
    assert job("batch.micro=64").run_id == job("batch.micro=100").run_id == job().run_id
    assert job("batch.micro=32").run_id != job().run_id
    assert job("optim=gd", "batch.micro=5000").config["batch"]["micro"] == 5000
    assert [row["val_loss"] for row in trained(job("optim=gd", "batch.micro=5000", "epochs=2"))[1]] == [
        row["val_loss"] for row in trained(job("optim=gd", "epochs=2"))[1]
    ]


def test_parts_of_two_samples_have_a_variance(job: Callable) -> None:
    assert build(job("model.normalization=batch", "batch.micro=22")).micro == 22
    assert build(job("model=resnet", "batch=adaptive")).hooks["batch"]  # of 2 by 2 places there is a variance


def test_estimates_are_those_of_the_paper() -> None:
    large, small, of_large, of_small = 64, 16, 5.0, 8.0
    noise, signal = noise_and_signal(of_large, [7.0, 9.0, 6.0, 10.0], [small] * 4)
    assert signal == pytest.approx((large * of_large - small * of_small) / (large - small))
    assert noise == pytest.approx((of_small - of_large) / (1 / small - 1 / large))


@pytest.mark.parametrize("sizes", [(2, 2), (1, 3), (1, 2), (1, 1, 2)])
def test_estimates_have_no_bias_whatever_the_parts(sizes: tuple[int, ...]) -> None:
    gradients = np.array([3.0, -1.0, 4.0, 0.5, 2.0])
    found = []
    for order in permutations(gradients):
        parts = np.split(np.array(order[: sum(sizes)]), np.cumsum(sizes)[:-1])
        squares = [part.mean() ** 2 for part in parts]
        found.append(noise_and_signal(np.mean(order[: sum(sizes)]) ** 2, squares, sizes))
    noise, signal = np.mean(found, axis=0)
    assert noise == pytest.approx(gradients.var(ddof=1))
    assert signal == pytest.approx(gradients.mean() ** 2 - gradients.var(ddof=1) / len(gradients))


def of_each_sample(run: Run, model: nn.Module) -> float:
    """The noise scale from every training sample's own gradient, of what the training set was drawn from."""
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return run.loss(torch.func.functional_call(model, weights, (x[None],)), y[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, run.train.x, run.train.y)
    gradients = torch.cat([g.flatten(1) for g in each.values()], 1)
    noise = gradients.var(0).sum()
    return (noise / (gradients.mean(0).square().sum() - noise / len(gradients))).item()


@pytest.mark.parametrize(("trained_steps", "parts"), [(1, 5), (60, 2)])
def test_the_estimate_is_the_noise_scale_of_each_samples_gradient(
    trained_steps: int, parts: int, job: Callable
) -> None:
    """The weights stay where they are after so many steps: the averages are of many draws of batches."""
    asked = ["optim=sgd", "optim.lr=0.05", "model.width=16", "model.depth=1", "init=he", "dtype=float64"]
    still = ["scheduler=multistep", f"scheduler.milestones=[{trained_steps}]", "scheduler.factor=1e-12"]
    size = ["batch=adaptive", "batch.size=64", "batch.smallest=64", "batch.most=64", f"batch.parts={parts}"]
    run = build(job(*asked, *still, *size, "batch.decay=0.998", "max_steps=2500", "eval_every=2500"))
    state = start(run)
    rows = rows_from(state, never)
    assert state.hooks["batch"].present == 64
    assert rows[-1]["noise_scale"] == pytest.approx(of_each_sample(run, state.model), rel=0.1)


def test_the_studys_per_example_value_is_that_of_all_gradients_at_once(optbench: Callable[..., Result]) -> None:
    asked = ["data.fraction=0.4", "model.width=16", "dtype=float64", "init=he", "optim.lr=0.01", "epochs=2"]
    assert optbench("train", *asked).code == 0
    run = build(compose_job(asked))
    model = run.construct()
    model.load_state_dict(weights_of(run_folder(Path())))
    assert noise_scale.of_each_sample(run_folder(Path())) == pytest.approx(of_each_sample(run, model), rel=1e-9)


@pytest.mark.cuda
def test_a_scaled_loss_has_the_same_noise_scale(job: Callable) -> None:
    asked = ["batch=adaptive", "model=linear", "init=he", "device=cuda"]
    found = []
    for amp in ("none", "fp16"):
        run = build(job(*asked, f"amp={amp}"))
        state = start(run)
        accumulate.gradient(state, run.train.x[:64], run.train.y[:64], loop._loss, measure=True)
        found.append((state.hooks["batch"].noise, state.hooks["batch"].signal))
    assert found[1] == pytest.approx(found[0], rel=0.05)  # one product, rounded to 2^-11
