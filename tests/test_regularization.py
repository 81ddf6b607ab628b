"""Regularization against its definitions."""

import copy
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from runner import regularization
from runner.engine import loop, measure
from runner.engine.state import State, start
from runner.noise import key
from runner.regularization import smoothing, teacher
from runner.regularization.averages import measure_batch_norm
from runner.regularization.dropping import dropping
from runner.run.build import build
from runner.run.job import Job
from runner.run.load import load_model
from tests.support.known import LOWEST, VALLEY, VALLEY_WEIGHTS
from tests.support.loops import alone, final_weights, never, rows_from, trained
from tests.support.records import Result, rows_of, run_folders, summary_of


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_its_share(p: float) -> None:
    dropped = dropping(p, key(0, 0))(torch.ones(1000, 100), 0)
    share = (dropped == 0).double().mean().item()
    assert share == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / dropped.numel()))
    kept = dropped[dropped > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)))
    assert dropped.var().item() == pytest.approx(p / (1 - p), rel=0.05)


@pytest.mark.parametrize(
    ("penalty", "slope"), [(regularization.l1, torch.sign), (regularization.l2, torch.clone)], ids=["l1", "l2"]
)
def test_a_penaltys_gradient_is_its_strength_times_sign_or_weight(penalty: Callable, slope: Callable) -> None:
    w = torch.randn(4, 3, requires_grad=True)
    found = penalty(strength=0.3)
    (found.strength * found.of([w])).backward()
    torch.testing.assert_close(w.grad, 0.3 * slope(w.detach()))


def test_clip_leaves_the_norm_at_most_at_its_bound() -> None:
    w = torch.zeros(5, requires_grad=True)
    for scale, expected in ((10.0, 2.0), (0.1, 0.1)):
        w.grad = torch.ones(5) * scale / math.sqrt(5)
        regularization.grad_clip(max_norm=2.0, max_value=None).after_backward(SimpleNamespace(trained=[w]))
        assert w.grad.norm().item() == pytest.approx(expected, rel=1e-5)


def test_clip_bounds_the_step_of_plain_sgd(job: Callable) -> None:
    common = ["optim=sgd", "optim.lr=1", "max_steps=1", "scheduler=constant", "init=he"]
    before = final_weights(job(*common), steps=0)
    clipped = ["regularization=grad_clip", "regularization.grad_clip.max_norm=0.01"]
    after = final_weights(job(*common, *clipped))
    moved = math.sqrt(sum((a - b).square().sum().item() for a, b in zip(after, before, strict=True)))
    assert moved == pytest.approx(0.01, rel=1e-4)


def test_dropout_trains_with_noise_and_evaluates_without(job: Callable) -> None:
    run = build(job("regularization=dropout", "init=he"))
    state, x, y = start(run), run.val.x, run.val.y
    plain = torch.nn.functional.cross_entropy(state.model(x), y).item()
    assert measure.evaluate(state, run.val)["loss"] == pytest.approx(plain, rel=1e-5)
    assert loop._loss(state, x, y).item() != pytest.approx(plain, rel=1e-3)


def test_early_stopping_ends_after_its_patience_and_restores_the_best_weights(job: Callable) -> None:
    stopping = ["regularization=early_stopping", "regularization.early_stopping.patience=3"]
    state, rows = trained(job(*VALLEY, *stopping))
    assert state.stop_reason.startswith("early_stopping")
    assert [row["step"] for row in rows] == list(range(LOWEST + 3 + 1))
    expected = torch.full((1, 2), VALLEY_WEIGHTS[LOWEST], dtype=torch.float64)
    torch.testing.assert_close(state.model.readout.weight.detach(), expected)


def losses_of(job: Callable[..., Job], *overrides: str) -> tuple[Any, State, torch.Tensor, torch.Tensor]:
    run = build(job("dtype=float64", "model.width=16", *overrides))
    return run, start(run), run.train.x[:32], run.train.y[:32]


def test_label_smoothings_target_is_spread_over_all_classes(job: Callable[..., Job]) -> None:
    run, state, x, y = losses_of(job, "regularization=label_smoothing", "regularization.label_smoothing.epsilon=0.2")
    target = 0.8 * torch.nn.functional.one_hot(y, 10) + 0.2 / 10
    expected = -(target * state.model(x).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loop._loss(state, x, y), expected)
    plain = torch.nn.functional.cross_entropy(state.model(run.val.x), run.val.y)
    assert measure.evaluate(state, run.val)["loss"] == pytest.approx(plain.item())


def test_label_smoothing_of_half_precision_is_not_rounded() -> None:
    outputs = (20 + torch.randn(64, 10, generator=torch.Generator().manual_seed(0))).bfloat16()
    assert smoothing.spread(outputs).item() == pytest.approx(smoothing.spread(outputs.double()).item(), rel=1e-5)
    two = outputs.expand(2, -1, -1)
    both = smoothing.Smoothings(torch.ones(2)).output_loss(None, torch.zeros(2), two, outputs)  # type: ignore[arg-type]
    torch.testing.assert_close(both, smoothing.spread(outputs.double()).float().expand(2))


def test_a_teachers_lesson_of_half_precision_is_not_rounded() -> None:
    draw = torch.Generator().manual_seed(0)
    taught = (20 + torch.randn(64, 10, generator=draw)).bfloat16()
    outputs = (taught + 0.1 * torch.randn(64, 10, generator=draw)).bfloat16()
    lesson = teacher.Teacher("", 4.0, 0.5).lesson
    exact = lesson(outputs.double(), taught.double())
    assert lesson(outputs, taught).item() == pytest.approx(exact.item(), rel=1e-4)
    both = teacher.Teachers(lambda x: taught, torch.full((2,), 4.0), torch.ones(2))
    torch.testing.assert_close(both._lessons(outputs.expand(2, -1, -1), taught[None]), exact.float().expand(2))


def test_clipping_by_value_comes_before_clipping_by_norm() -> None:
    weights = [torch.zeros(3, requires_grad=True), torch.zeros(2, requires_grad=True)]
    weights[0].grad, weights[1].grad = torch.tensor([3.0, -0.1, 5.0]), torch.tensor([0.2, -9.0])
    at = SimpleNamespace(trained=weights)
    regularization.grad_clip(max_norm=None, max_value=0.5).after_backward(at)
    assert torch.cat([w.grad for w in weights]).tolist() == pytest.approx([0.5, -0.1, 0.5, 0.2, -0.5])
    regularization.grad_clip(max_norm=0.3, max_value=0.4).after_backward(at)
    cut = torch.tensor([0.4, -0.1, 0.4, 0.2, -0.4])
    torch.testing.assert_close(torch.cat([w.grad for w in weights]), 0.3 * cut / cut.norm(), rtol=1e-4, atol=1e-6)


def test_ema_is_its_closed_form(job: Callable[..., Job]) -> None:
    shared = ["regularization=ema", "regularization.ema.decay=0.9", "max_steps=60", "eval_every=30"]
    run = build(job("dtype=float64", "model.width=8", *shared))
    state, rows = alone(run)
    average = run_average(run)
    torch.testing.assert_close(state.hooks["regularization.ema"].averages["readout.weight"], average)
    stepped = state.model.readout.weight.detach().clone()
    with state.evaluating():
        torch.testing.assert_close(state.model.readout.weight.detach(), average)
    torch.testing.assert_close(state.model.readout.weight.detach(), stepped)
    assert rows[-1]["val_loss"] == measure.evaluate(state, run.val)["loss"]


def run_average(run: Any) -> torch.Tensor:
    """The average written out, over a run of the same steps whose weights are seen after each."""
    plain = replace(run, hooks={}, eval_every=1)
    state = start(plain)
    average = state.model.readout.weight.detach().clone()
    for step, _ in enumerate(loop.train(state, never)):
        if step:
            decay = min(0.9, (1 + step) / (10 + step))
            average = decay * average + (1 - decay) * state.model.readout.weight.detach()
    return average


def test_weights_that_layers_share_come_back_after_an_evaluation() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    before = model[0].weight.detach().clone()
    hook = regularization.ema(decay=0.5)
    hook.averages = {name: torch.full_like(p, 7.0) for name, p in model.named_parameters()}
    at = SimpleNamespace(model=model, inputs=None)
    with hook.evaluating(at):
        assert (model[2].weight == 7).all()
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize(
    ("optim", "lr"), [("asgd", 3), ("schedule_free", 0.3), ("schedule_free_sgd", 10), ("adamw", 0.3)]
)
@pytest.mark.parametrize("engine", ["loop", "fused"])
def test_the_best_weights_are_judged_as_they_were_whatever_the_optimizer_shows(
    optim: str, lr: float, engine: str, optbench: Callable[..., Result], folder: Path
) -> None:
    asked = ["data.fraction=0.05", "max_steps=120", "eval_every=4", "model.width=16", "seeds=2", f"engine={engine}"]
    stopping = ["regularization=early_stopping", "regularization.early_stopping.patience=3", "scheduler=constant"]
    assert optbench("train", "-m", *asked, *stopping, f"optim={optim}", f"optim.lr={lr}", "save=last").code == 0
    for run in run_folders(folder):
        losses = [float(row["val_loss"]) for row in rows_of(run)]
        assert min(losses) < losses[-1]  # the best is not the last
        assert summary_of(run)["final_val_loss"] == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.parametrize("engine", ["loop", "fused"])
def test_batch_norm_that_is_not_trained_keeps_its_statistics_under_swa(
    engine: str, optbench: Callable[..., Result], folder: Path
) -> None:
    net = ["model.width=16", "model.normalization=batch", "baselines=false"]
    assert optbench("train", *net, "epochs=3", "name=first", "save=last").code == 0
    (first,) = run_folders(folder, "first")
    tuned = ["init=pretrained", f"init.run={first}", "finetune=head", "regularization=swa", f"engine={engine}"]
    assert optbench("train", "-m", *net, *tuned, "epochs=2", "seeds=2", "save=last").code == 0
    kept = {n: b for n, b in load_model(first).network.named_buffers() if "running" in n}
    for run in run_folders(folder):
        found = dict(load_model(run).network.named_buffers())
        assert kept and all(torch.equal(found[name], buffer) for name, buffer in kept.items())


def test_swa_is_the_mean_of_the_last_weights_with_batch_norm_measured_anew(job: Callable[..., Job]) -> None:
    shared = ["regularization=swa", "regularization.swa.start=0.5", "regularization.swa.every=5", "max_steps=40"]
    run = build(job("dtype=float64", "model.width=8", "model.normalization=batch", "eval_every=20", *shared))
    state, rows = alone(run)
    assert len(rows) == 3
    plain = start(replace(run, hooks={}, eval_every=1))
    kept = []
    for step, _ in enumerate(loop.train(plain, never)):
        if step in (20, 25, 30, 35, 40):
            kept.append(plain.model.readout.weight.detach().clone())
    torch.testing.assert_close(state.hooks["regularization.swa"].averages["readout.weight"], torch.stack(kept).mean(0))
    with state.evaluating():
        mean = state.model.hidden[0](run.train.x.flatten(1)).mean(0).detach()
        torch.testing.assert_close(state.model.norms[0].running_mean, mean)


@pytest.mark.parametrize("samples", [2, 512, 513, 1025, 1295])
def test_statistics_of_averaged_weights_are_those_of_all_rows_whatever_their_number(samples: int) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4, momentum=0.3), torch.nn.ReLU()).double()
    x = torch.randn(samples, 3, dtype=torch.float64) + torch.arange(samples)[:, None] / samples
    model.eval()
    measure_batch_norm(model, x)
    first = model[0](x).detach()
    torch.testing.assert_close(model[1].running_mean, first.mean(0))
    assert model[1].momentum == 0.3 and not model[1].training
    if samples <= 2 * 512 - 1:  # in one part the variance is that of all rows too
        torch.testing.assert_close(model[1].running_var, first.var(0))


def test_an_average_that_would_never_begin_is_refused(optbench: Callable[..., Result], folder: Path) -> None:
    asked = ["data=wine", "max_steps=60", "model.width=8", "batch.size=16", "regularization=swa"]
    refused = optbench("train", *asked, "regularization.swa.start=61")
    assert refused.code == 2 and "regularization.swa.start=61 lies after the run's end, 60 steps" in refused.err
    assert not (folder / "outputs").exists()
    assert optbench("train", *asked, "regularization.swa.start=60").code == 0


@pytest.mark.parametrize("overflows", [True, False])
def test_on_a_step_that_the_loss_scaler_skips_nothing_moves(overflows: bool, job: Callable[..., Job]) -> None:
    """As on CUDA in fp16, where the first scales are too large; the scaler itself runs anywhere."""
    hooks = ["regularization=[weight_decay,box,ema]", "regularization.box.bound=0.01", "model.width=8"]
    state = start(build(job(*hooks, "optim=sgd", "init=he")))
    state.scaler = torch.amp.GradScaler("cpu", init_scale=3e38 if overflows else 1024.0)
    x, y = state.run.train.x[:32], state.run.train.y[:32]
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    averages = {name: a.clone() for name, a in state.hooks["regularization.ema"].averages.items()}
    loss = state.scaler.scale(1e3 * loop._loss(state, x, y))
    loss.backward()
    loop._update(state, x, y, 0.1, None)
    state.step += 1
    for act in state.on.after_step:
        act(state, False)
    moved = [name for name, p in state.model.named_parameters() if not torch.equal(p, before[name])]
    changed = [n for n, a in state.hooks["regularization.ema"].averages.items() if not torch.equal(a, averages[n])]
    assert (state.skipped_steps == 1) == overflows
    assert (moved == [] and changed == []) == overflows


def test_a_step_whose_infinite_gradient_is_cut_to_a_finite_one_is_skipped_too(job: Callable[..., Job]) -> None:
    clip = ["regularization.grad_clip.max_norm=null", "regularization.grad_clip.max_value=1"]
    hooks = ["regularization=[weight_decay,grad_clip]", *clip, "model.width=8"]
    state = start(build(job(*hooks, "optim=sgd", "init=he")))
    state.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    x, y = state.run.train.x[:32], state.run.train.y[:32]
    before = [weight.detach().clone() for weight in state.trained]
    state.scaler.scale(loop._loss(state, x, y)).backward()
    assert state.trained[0].grad is not None
    state.trained[0].grad[0] = torch.inf
    loop._update(state, x, y, 0.1, None)
    assert state.skipped_steps == 1
    assert all(torch.equal(weight, b) for weight, b in zip(state.trained, before, strict=True))


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_averages_survive_a_checkpoint(average: str, job: Callable[..., Job]) -> None:
    run = build(job(f"regularization={average}", "model.width=8", "model.normalization=batch", "epochs=4"))
    state = start(run)
    for evaluation in loop.train(state, never):
        if evaluation.row["epoch"] == 2:
            break
    again = start(run)
    again.load_state_dict(copy.deepcopy(state.state_dict()))
    following, undisturbed = rows_from(again, never), alone(run)[1]
    assert [row["val_loss"] for row in following] == [row["val_loss"] for row in undisturbed[3:]]


def test_weight_norm_trains_lengths_and_directions(job: Callable[..., Job], optbench: Callable[..., Result]) -> None:
    run = build(job("regularization=weight_norm", "model.width=8", "init=he"))
    model, plain = run.construct(), build(job("model.width=8", "init=he")).construct()
    torch.testing.assert_close(model.readout.weight, plain.readout.weight)
    split = model.readout.parametrizations.weight
    assert split.original1.shape == plain.readout.weight.shape
    torch.testing.assert_close(split.original0.flatten(), plain.readout.weight.norm(dim=1))
    assert optbench("train", "regularization=weight_norm", "model.width=8", "max_steps=5").code == 0
    (folder,) = Path("outputs/default").glob("*/summary.json")
    assert optbench("predict", str(folder.parent)).code == 0


@pytest.mark.parametrize(
    ("steps", "loss"),
    [(1, "cross_entropy"), (5, "runner.study.parts.output_itself")],
    ids=["one step up a convex loss", "steps from a random start up a linear one"],
)
def test_adversaries_stay_within_their_radius_and_raise_the_loss(
    steps: int, loss: str, job: Callable[..., Job]
) -> None:
    settings = [f"regularization.adversarial.steps={steps}", "regularization.adversarial.epsilon=0.3"]
    of_all = ["regularization=adversarial", *settings, "regularization.adversarial.share=1", f"loss={loss}"]
    run = build(job("dtype=float64", "model=linear", *of_all))
    state, x, y = start(run), run.train.x[:32], run.train.y[:32]

    def loss_at(at: torch.Tensor) -> torch.Tensor:
        return run.loss(state.model(at), y)

    moved = run.hooks["regularization.adversarial"].moved(x, loss_at, key(run.noise_seed, 0))
    assert all(p.grad is None for p in state.model.parameters())
    leaf = x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(loss_at(leaf), leaf)
    torch.testing.assert_close(moved, x + 0.3 * slope.sign())
    assert loss_at(moved) > loss_at(x)
    torch.testing.assert_close(loop._loss(state, x, y), loss_at(moved))


def test_slopes_too_small_for_half_precision_move_inputs_at_the_scalers_scale(job: Callable[..., Job]) -> None:
    run = build(job("device=cpu", "regularization=adversarial", "regularization.adversarial.share=1"))
    hook, x = run.hooks["regularization.adversarial"], torch.linspace(-1, 1, 8).view(8, 1)

    seen: list[torch.Tensor] = []

    for scale, by, moved in ((1.0, 1, 0), (2.0**15, 1, 1), (2.0**120, 1, 1), (2.0**120, 0, 0)):  # 0 · ∞ is no slope

        def of(at: torch.Tensor, by: float = by) -> torch.Tensor:
            seen.append(at.detach())
            return 1e-9 * (by * at.half()).float().sum()  # whose slope is 0 in half precision

        state = start(run)
        state.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        hook.input_loss(state, torch.zeros(()), of, x, 0)
        torch.testing.assert_close(seen[-1], x + moved * hook.epsilon)


def test_a_teachers_softened_probabilities_are_targets(
    job: Callable[..., Job], optbench: Callable[..., Result]
) -> None:
    assert optbench("train", "model.width=32", "epochs=3", "name=teacher").code == 0
    (teacher,) = Path("outputs/teacher").glob("default-*")
    given = [f"regularization.distillation.run={teacher}", "regularization.distillation.temperature=3"]
    run, state, x, y = losses_of(job, "regularization=distillation", *given, "regularization.distillation.share=0.7")
    taught = load_model(teacher).double()
    raw = x * run.interface["scale"] + run.interface["shift"]
    p, q = (taught(raw) / 3).softmax(1), (state.model(x) / 3).log_softmax(1)
    divergence = (p * (p.log() - q)).sum(1).mean()
    expected = 0.3 * torch.nn.functional.cross_entropy(state.model(x), y) + 0.7 * 9 * divergence
    torch.testing.assert_close(loop._loss(state, x, y), expected, rtol=1e-5, atol=1e-6)
    moved = Path("elsewhere")
    shutil.copytree(teacher, moved)
    same = job("regularization=distillation", f"regularization.distillation.run={moved}", *given[1:])
    assert same.run_id == job("regularization=distillation", *given).run_id


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["regularization=[ema,swa]"], "regularization=ema beside regularization=swa"),
        (["regularization=[l1,weight_norm]"], "regularization=weight_norm beside regularization=l1"),
        (["regularization=[box,weight_norm]"], "regularization=weight_norm beside regularization=box"),
        (
            ["regularization=weight_decay", "optim=momentum", "optim.wrap=[sam]"],
            "optim.wrap=[sam] beside regularization=",
        ),
        (["optim=muon", "optim.weight_decay=0.3", "optim.wrap=[cautious]"], "optim.wrap=[cautious] beside optim=muon"),
        (
            ["optim=prodigy", "optim.weight_decay=0.3", "optim.wrap=[cautious]"],
            "a part of its step that would be masked",
        ),
        (["regularization=ema", "optim=asgd"], "regularization=ema beside optim=asgd"),
        (["regularization=label_smoothing", "loss=mse"], "label_smoothing beside loss=mse"),
        (["regularization=label_smoothing", "data=diabetes"], "label_smoothing beside loss=mse"),
        (["regularization=grad_clip", "regularization.grad_clip.max_norm=null"], "needs max_norm or max_value"),
        (["regularization=swa", "regularization.swa.start=2.5"], "regularization.swa.start must be whole steps"),
        (["regularization=distillation", "regularization.distillation.run=no"], "regularization.distillation.run: no"),
        (["regularization=adversarial", "data=text", "model=rnn"], "characters cannot be moved"),
    ],
)
def test_contradictions_are_refused(overrides: list[str], said: str, optbench: Callable[..., Result]) -> None:
    result = optbench("train", "max_steps=2", *overrides)
    assert result.code == 2 and said in result.err, result.err
    assert not Path("outputs").exists()
