"""Fine-tuning trains what it says and nothing else, begins where the trained model was, and is counted and refused."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from runner.engine import loop
from runner.engine.state import State, start
from runner.finetune import adapters, partly
from runner.finetune.order import layers_of
from runner.optim.from_torch import SGD
from runner.run.build import build
from runner.run.job import Job
from runner.run.load import load_model
from tests.support.known import TINY
from tests.support.records import run_folder, run_folders, summary_of, without_timing

WIDTH, INPUTS, CLASSES = 16, 64, 10
HEAD = WIDTH * CLASSES + CLASSES
"""Parameters of the last layer of TINY's network, of one hidden layer."""
NET = ["epochs=2", "model.width=16", "model.depth=2"]
TRAINABLE = {
    "head": HEAD,
    "layers": HEAD + WIDTH * WIDTH + WIDTH,
    "bitfit": HEAD + 2 * WIDTH,
    "lora": HEAD + 4 * (INPUTS + WIDTH) + 4 * 2 * WIDTH,
    "adapter": HEAD + 2 * (2 * 8 * WIDTH + 8 + WIDTH),
    "discriminative": INPUTS * WIDTH + WIDTH + WIDTH * WIDTH + WIDTH + HEAD,
}
SET = {"lora": ["finetune.lora.rank=4"]}


@pytest.fixture
def trained(optbench: Callable, folder: Path) -> str:
    assert optbench("train", *NET, "name=first", "save=last").code == 0
    return str(run_folder(folder, "first"))


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("option", TRAINABLE)
def test_what_is_trained_is_counted_and_the_rest_stays(
    option: str, trained: str, optbench: Callable, folder: Path, job: Callable[..., Job]
) -> None:
    asked = [*NET, "init=pretrained", f"init.run={trained}", f"finetune={option}", *SET.get(option, []), "save=last"]
    begun = start(build(job(*asked)))
    before, moved = weights(begun.model), {n for n, p in begun.model.named_parameters() if p.requires_grad}
    x = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(begun.model.eval()(x), load_model(trained).network(x))  # it begins where that one ended
    assert optbench("train", *asked).code == 0
    run = run_folder(folder)
    assert summary_of(run)["trainable_parameters"] == TRAINABLE[option] == sum(before[n].numel() for n in moved)
    after = weights(load_model(run).network)
    assert {name for name, w in after.items() if not torch.equal(w, before[name])} == moved


class Attentive(nn.Module):
    """torch's attention between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.last = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.last(self.attention(h, h, h)[0].mean(1))


def test_in_torchs_attention_what_is_trained_acts() -> None:
    model, x = Attentive(), torch.randn(4, 5, 8)
    partly.bitfit().parametrize(model, x)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {"first.bias", "attention.in_proj_bias", "attention.out_proj.bias", "last.weight", "last.bias"}
    model = Attentive()
    adapters.adapter(width=2).parametrize(model, x)
    model(x).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    assert any(n.startswith("first.adapter") for n, _ in model.named_parameters())


def thawed(state: State) -> int:
    frozen = {n for n, p in state.model.named_parameters() if not p.requires_grad}
    return sum(not set(layer) & frozen for layer in layers_of(state.model))


def test_layers_thaw_from_the_last_one_with_the_epochs(job: Callable[..., Job]) -> None:
    state = start(build(job(*NET, "finetune=gradual", "finetune.gradual.every=2")))
    (hook,) = (hook for name, hook in state.hooks.items() if name == "finetune.gradual")
    x, found = torch.zeros(1), []
    for state.epoch in range(7):
        hook.before_step(state, x, x)
        found.append(thawed(state))
    assert found == [1, 1, 2, 2, 3, 3, 3]
    assert state.model.get_parameter("readout.weight").requires_grad


@pytest.mark.parametrize("optim", ["sgd", "momentum", "nesterov", "adam"])
def test_what_thaws_is_stepped_beside_what_was_trained_before(optim: str, job: Callable[..., Job]) -> None:
    asked = [*NET, "data.fraction=0.1", f"optim={optim}", "scheduler=constant", "finetune=gradual"]
    state = start(build(job(*asked)))
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    for evaluation in loop.train(state, lambda state, loss: False):
        moved = [name for name, p in state.model.named_parameters() if not torch.equal(p, before[name])]
        assert len(moved) == 2 * state.epoch, evaluation
    assert state.epoch == 2


def test_a_velocity_begins_at_the_first_gradient_in_the_fused_step_too() -> None:
    stepped = []
    for fused in (True, False):
        weights = [nn.Parameter(torch.ones(3, dtype=torch.float64)) for _ in range(2)]
        optimizer = SGD(weights, 0.1, 0.9, nesterov=True, fused=fused)
        for step in range(4):
            for i, weight in enumerate(weights):
                weight.grad = None if step < 2 * i else (i + 1.0) * weight.detach().clone()
            optimizer.step()
        stepped.append([*weights, *(held["momentum_buffer"] for held in optimizer.state.values())])
    for one, other in zip(*stepped, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-15)


def test_gradual_thawing_goes_on_after_a_pause_to_the_same_rows(optbench: Callable, folder: Path) -> None:
    asked = ["epochs=3", "model.width=16", "finetune=[gradual,discriminative]", "eval_every=5"]
    assert optbench("train", *asked, "name=whole").code == 0
    assert optbench("train", *asked, "name=paused", "pause_at=25").code == 0
    assert optbench("train", *asked, "name=paused").code == 0
    assert without_timing(run_folder(folder, "whole")) == without_timing(run_folder(folder, "paused"))


def test_rates_fall_towards_the_first_layer_and_decay_with_them(job: Callable[..., Job]) -> None:
    run = build(job(*NET, "finetune=discriminative", "finetune.discriminative.decay=0.5", "optim=sgd"))
    state = start(run)
    shares = {id(p): g["lr_share"] for g in state.optimizer.param_groups for p in g["params"]}
    named = {name: shares[id(p)] for name, p in state.model.named_parameters()}
    assert named["readout.weight"] == 1 and named["hidden.1.bias"] == 0.5 and named["hidden.0.weight"] == 0.25


def test_low_rank_parts_are_as_the_paper_has_them() -> None:
    from runner.finetune.low_rank import LowRank

    weight = torch.randn(6, 3, 2, 2)
    part = LowRank(weight, rank=2, alpha=6.0)
    torch.testing.assert_close(part(weight), weight)
    nn.init.normal_(part.b)
    change = (part(weight) - weight).reshape(6, 12)
    torch.testing.assert_close(change, 3.0 * part.b @ part.a)
    assert torch.linalg.matrix_rank(change) == 2
    assert LowRank(weight, rank=99, alpha=1.0).a.shape == (6, 12)
    assert math.isclose(float(part.a.detach().abs().max()), 1 / math.sqrt(12), rel_tol=0.3)


def test_frozen_batch_norm_keeps_its_statistics_in_training(job: Callable[..., Job]) -> None:
    model = start(build(job("max_steps=1", "model.width=8", "model.normalization=batch", "finetune=head"))).model
    held = {name: b.clone() for name, b in model.named_buffers()}
    model.train()(torch.randn(9, 1, 8, 8))
    assert held and all(torch.equal(b, held[name]) for name, b in model.named_buffers())


def test_batch_norm_that_thaws_is_in_training_at_once(optbench: Callable, folder: Path) -> None:
    asked = ["epochs=3", "model.width=16", "model.normalization=batch", "finetune=gradual", "eval_every=1000"]
    assert optbench("train", *asked, "name=whole").code == 0
    assert optbench("train", *asked, "name=paused", "pause_at=30").code == 0
    assert optbench("train", *asked, "name=paused").code == 0
    assert without_timing(run_folder(folder, "whole"))[-1] == without_timing(run_folder(folder, "paused"))[-1]


def test_second_derivatives_are_of_what_is_trained_by_then(optbench: Callable, folder: Path) -> None:
    assert optbench("train", *NET, "finetune=gradual", "optim=sophia").code == 0
    assert summary_of(run_folder(folder))["status"] == "completed"


def test_muon_has_a_rate_a_layer_and_an_optimizer_with_one_rate_is_refused(
    optbench: Callable, folder: Path, job: Callable[..., Job]
) -> None:
    state = start(build(job(*NET, "finetune=discriminative", "finetune.discriminative.decay=0.5", "optim=muon")))
    shares = {id(p): g["lr_share"] for g in state.optimizer.param_groups for p in g["params"]}
    named = {name: shares[id(p)] for name, p in state.model.named_parameters()}
    assert named["readout.weight"] == 1 and named["hidden.1.weight"] == 0.5 and named["hidden.0.bias"] == 0.25
    own = ["optim=custom", "optim.target=torch.optim.LBFGS", "finetune=discriminative"]
    refused = optbench("train", *TINY, *own)
    assert refused.code == 2 and "LBFGS, which has one learning rate for all parameters" in refused.err
    bare = ["model=custom", "model.target=tests.own_parts.Bare", "max_steps=1", "finetune=discriminative"]
    assert "needs a model of layers, and this one has none" in optbench("train", *bare).err


@pytest.mark.parametrize("option", ["head", "lora", "adapter"])
def test_a_stack_gives_what_each_run_alone_gives(option: str, optbench: Callable, folder: Path) -> None:
    asked = [*NET, f"finetune={option}", "seed=0,1", "dtype=float64"]
    assert optbench("train", "-m", *asked, "name=stack", "engine=fused").code == 0
    assert optbench("train", "-m", *asked, "name=loop", "engine=loop").code == 0
    pairs = zip(*(sorted(run_folders(folder, name)) for name in ("stack", "loop")), strict=True)
    for stacked, alone in pairs:
        for one, other in zip(without_timing(stacked), without_timing(alone), strict=True):
            assert all(one[k] == other[k] or float(one[k]) == pytest.approx(float(other[k]), rel=1e-9) for k in one)


def test_gradual_and_discriminative_say_why_they_do_not_stack(optbench: Callable, folder: Path) -> None:
    for option in ("gradual", "discriminative"):
        refused = optbench("train", "-m", *NET, f"finetune={option}", "seed=0,1", "engine=fused")
        assert refused.code == 2 and f"finetune={option}: " in refused.err


def test_the_default_is_outside_the_id(job: Callable[..., Job]) -> None:
    assert job(*NET).run_id == job(*NET, "finetune=full", "compress=none").run_id
    assert job(*NET).run_id != job(*NET, "finetune=head").run_id


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["finetune=[head,lora]"], ["one is chosen", "gradual and discriminative"]),
        (["finetune=[full,head]"], ["finetune=full stands alone"]),
        (["finetune=hed"], ["did you mean 'head'"]),
        (["finetune=layers", "finetune.layers.last=9"], ["finetune.layers.last must be ≤ 2", "got 9"]),
        (["finetune=head", "model=linear"], ["finetune=head needs a model of two layers"]),
        (["finetune=gradual", "regularization=weight_decay"], ["optim=adamw"]),
        (["finetune=discriminative", "optim=lbfgs"], ["one learning rate for all parameters"]),
        (["finetune=lora", "regularization=weight_norm"], ["change the form of the weights"]),
        (["finetune.lora.rank=2"], ["finetune.lora.rank is a setting of finetune=lora", "finetune=full is chosen"]),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(
    asked: list[str], words: list[str], optbench: Callable, folder: Path
) -> None:
    refused = optbench("train", *(TINY if "model=linear" not in asked else ["epochs=2"]), *asked)
    assert refused.code == 2 and all(word in refused.err for word in words), refused.err
    assert list(folder.iterdir()) == []


def test_frozen_weights_that_were_never_trained_are_doubted(optbench: Callable) -> None:
    found = optbench("train", *TINY, "init=he", "finetune=head")
    assert found.code == 0 and "keeps weights that were never trained" in found.err


def config_of(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text())  # type: ignore[no-any-return]


def test_the_config_and_the_row_name_what_was_chosen(optbench: Callable, folder: Path) -> None:
    assert optbench("train", *TINY, "finetune=head").code == 0
    assert list(config_of(run_folder(folder))["finetune"]) == ["head"]
    with (folder / "outputs" / "default" / "runs.csv").open() as file:
        (chosen,) = csv.DictReader(file)
    assert (chosen["finetune"], chosen["compress"]) == ("head", "none")
