"""torchvision's networks by name: on small and grey images, with dropout of their own, and none from the network."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from optbench import load_model, train
from runner import init
from runner.after.predict import part_of_data, predict
from runner.engine import fused, loop
from runner.engine.state import start
from runner.model import from_torchvision
from runner.model.torchvision import names
from runner.run.build import build
from runner.run.job import Job
from tests.support.records import Result
from tests.support.stacks import assert_same, runs_of, three

FAST = ["mobilenet_v3_small", "squeezenet1_1"]
SLOW = [
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "mnasnet0_5"),
    *("mobilenet_v2", "mobilenet_v3_large", "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x1_0"),
    *("squeezenet1_0", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn"),
]


def network(name: str, shape: tuple[int, ...] = (1, 8, 8), outputs: int = 10, **settings: Any) -> nn.Module:
    return from_torchvision(shape, outputs, name=name, **{"args": {}, "size": None, **settings})


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_a_network_trains_two_steps_on_digits(name: str, folder: Path) -> None:
    asked = ["model=torchvision", f"model.name={name}", "batch.size=16", "data.fraction=0.1"]
    summary = train(*asked, "max_steps=2", "diagnostics=true").summary
    assert summary["status"] == "completed" and summary["steps"] == 2
    assert np.isfinite(summary["test_loss"])


@pytest.mark.slow
def test_vit_trains_at_a_size_of_its_own(folder: Path) -> None:
    asked = ["model=torchvision", "model.name=vit_b_16", "model.size=16", "init=lsuv", "init.samples=4"]
    summary = train(*asked, "max_steps=2", "batch.size=8", "data.fraction=0.1").summary
    assert summary["status"] == "completed"


SMALLEST = {
    "alexnet": 63,
    "convnext_tiny": 32,
    "densenet121": 29,
    "googlenet": 15,
    "inception_v3": 75,
    "maxvit_t": 224,
    "squeezenet1_0": 21,
    "squeezenet1_1": 17,
    "vgg11": 32,
    "vit_b_16": 224,
}
"""Pixels a side that these need, as torchvision publishes them; others take digits of 8 by 8 as they are."""


@pytest.mark.parametrize("name", [*SMALLEST, "resnet18", "regnet_x_400mf"])
def test_images_are_enlarged_to_the_smallest_size_that_is_taken(name: str) -> None:
    with torch.device("meta"):
        model = network(name)
    assert model._size == (SMALLEST.get(name, 8),) * 2


def test_the_published_size_is_the_smallest() -> None:
    for name in ("alexnet", "squeezenet1_1", "vgg11"):
        with torch.device("meta"):
            model = network(name)
            model.network(torch.empty(2, 1, SMALLEST[name], SMALLEST[name]))
            with pytest.raises(RuntimeError):
                model.network(torch.empty(2, 1, SMALLEST[name] - 1, SMALLEST[name] - 1))


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_network_takes_images_of_any_channels(name: str) -> None:
    with torch.device("meta"):
        model = network(name, (5, 8, 8), 7)
        assert model(torch.empty(2, 5, 8, 8)).shape == (2, 7)
    assert not any(getattr(module, "inplace", False) for module in model.modules())


def test_images_it_takes_reach_the_network_as_they_are_with_torchvisions_own_weights() -> None:
    torch.manual_seed(0)
    theirs = models.shufflenet_v2_x0_5(weights=None, num_classes=7)
    torch.manual_seed(0)
    ours = network("shufflenet_v2_x0_5", (3, 32, 24), 7)
    found = ours.state_dict()
    assert {k.removeprefix("network.") for k in found} == set(theirs.state_dict())
    assert all(torch.equal(found[f"network.{k}"], v) for k, v in theirs.state_dict().items())
    x = torch.randn(2, 3, 32, 24)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_small_grey_images_are_interpolated_and_meet_a_convolution_of_one_channel() -> None:
    model = network("squeezenet1_1", (1, 8, 12)).eval()
    first = model.network.features[0]
    assert first.weight.shape == (64, 1, 3, 3) and first.stride == (2, 2) and first.bias is not None
    x = torch.randn(2, 1, 8, 12)
    enlarged = F.interpolate(x, (17, 17), mode="bilinear", align_corners=False)
    assert torch.equal(model(x), model.network(enlarged))
    assert model(x).shape == (2, 10)


def test_large_images_are_shrunk_by_means_over_all_of_their_places() -> None:
    model = network("resnet18", (3, 32, 32), size=8)
    seen = []
    model.network.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    points = torch.zeros(1, 3, 32, 32)
    points[..., ::4, ::4] = 16.0  # one place in sixteen, which interpolation without a filter passes over
    model.eval()(points)
    assert seen[0].mean().item() == pytest.approx(1.0, rel=0.05)


def test_a_size_that_is_asked_for_is_the_networks() -> None:
    model = network("resnet18", size=40)
    seen = []
    model.network.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[2:]))
    model.eval()(torch.randn(1, 1, 8, 8))
    assert seen == [(40, 40)]
    with torch.device("meta"):
        assert network("vit_b_32", size=64).network.image_size == 64


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_classifiers_have_one_output(name: str) -> None:
    with torch.device("meta"):
        model = network(name).train()
        assert model(torch.empty(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.name=resnet19"], ["model.name=resnet19", "did you mean 'resnet18'", "valid: alexnet, "]),
        (["model.name=fcn_resnet50"], ["model.name=fcn_resnet50 is no classification network"]),
        ([], ["model.name must be given"]),
        (["model.name=resnet18", "model.args={weights: DEFAULT}"], ["model.args.weights", "init=pretrained"]),
        (["model.name=resnet18", "model.args={pretrained: true}"], ["model.args.pretrained", "init=pretrained"]),
        (["model.name=resnet18", "model.args={num_classes: 3}"], ["model.args.num_classes", "the data says"]),
        (["model.name=resnet18", "model.args={dropout: 0.1}"], ["model.args={'dropout': 0.1}", "resnet18", "dropout"]),
        (["model.name=googlenet", "model.args={aux_logits: true}"], ["aux_logits", "googlenet", "no loss"]),
        (["model.name=inception_v3", "model.args={transform_input: true}"], ["transform_input", "pretrained"]),
        (["model.name=alexnet", "model.size=32"], ["model.size=32 is not taken by alexnet"]),
        (["model.name=resnet18", "model.size=0"], ["model.size must be a whole number ≥ 1"]),
        (["model.name=resnet18", "data=wine"], ["model=torchvision needs images", "[13]"]),
        (["model.name=resnet18", "data=text"], ["model=torchvision reads numbers"]),
        (
            ["model.name=resnet18", "regularization=dropout"],
            ["regularization=dropout beside model=torchvision", "args"],
        ),
        (["model.name=resnet18", "init=he", "init.gain=auto"], ["init.gain=auto beside model=torchvision"]),
        (["model.name=alexnet", "engine=fused"], ["engine=fused", "no batching rule"]),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_what_does_not_fit_is_refused(
    overrides: list[str], said: list[str], optbench: Callable[..., Result], folder: Path
) -> None:
    refused = optbench("train", "model=torchvision", *overrides, "max_steps=1")
    assert refused.code == 2 and "Traceback" not in refused.err
    assert all(words in refused.err for words in said), refused.err
    assert list(folder.iterdir()) == []


DROPPING = ["model=torchvision", "model.name=squeezenet1_1", "batch.size=16", "data.fraction=0.05"]


def rows(run: Any, stop_at: int | None = None) -> list[dict[str, Any]]:
    """The rows of a run; with ``stop_at``, of one that was ended there and went on from its checkpoint."""
    state, found = start(run), []
    if stop_at is not None:
        found += [e.row for e in loop.train(state, lambda state, loss: state.step == stop_at)]
        saved, state = state.state_dict(), start(run)
        state.load_state_dict(saved)
        torch.manual_seed(stop_at)  # the process that goes on has drawn other numbers
    found += [e.row for e in loop.train(state, lambda state, loss: False)]
    return [{k: v for k, v in row.items() if k != "train_seconds"} for row in found]


def test_dropout_inside_a_network_is_a_function_of_the_seed_and_the_step(job: Callable[..., Job]) -> None:
    run = build(job(*DROPPING, "max_steps=6", "eval_every=2"))
    assert any(isinstance(m, nn.Dropout) and m.p == 0.5 for m in run.construct().modules())
    undisturbed = rows(run)
    assert rows(run, stop_at=3) == undisturbed
    without = build(job(*DROPPING, "max_steps=6", "eval_every=2", "model.args={dropout: 0.0}"))
    assert rows(without)[0] == undisturbed[0]
    assert rows(without)[-1]["batch_loss"] != undisturbed[-1]["batch_loss"]


def test_networks_without_dropout_stack(job: Callable[..., Job]) -> None:
    asked = ["model=torchvision", "model.name=shufflenet_v2_x0_5", "model.size=16", "optim=sgd", "data.fraction=0.05"]
    runs = runs_of(job, three(*asked), "batch.size=16", "max_steps=3", "eval_every=3", "dtype=float64")
    assert fused.refusal(runs[0]) is None
    assert_same(runs, 1e-9)


def test_a_trained_network_is_loaded_again(folder: Path) -> None:
    asked = ["model=torchvision", "model.name=mobilenet_v3_small", "batch.size=32", "max_steps=3", "data.fraction=0.1"]
    result = train(*asked, "dtype=float64")
    model = load_model(result.folder)
    test = part_of_data(result.folder, "test")
    with torch.no_grad():
        loss = F.cross_entropy(model(torch.tensor(test.x)), torch.tensor(test.y)).item()
    assert loss == pytest.approx(result.summary["test_loss"], rel=1e-9)
    assert len(predict(model, test.x)) == len(test.y)


def test_torchs_attention_is_filled_as_three_matrices() -> None:
    def built() -> nn.Module:
        return nn.TransformerEncoderLayer(8, 2, 16)

    filled = init.construct(
        built, 0, lambda weight, generator: init.orthogonal(weight, generator, gain=1.0), 0.5, torch.zeros
    )
    for weight in filled.self_attn.in_proj_weight.chunk(3):
        torch.testing.assert_close(weight @ weight.T, torch.eye(8))
    assert (filled.self_attn.in_proj_bias == 0.5).all() and (filled.self_attn.out_proj.bias == 0.5).all()


def test_torchvision_is_imported_only_where_it_is_chosen(folder: Path) -> None:
    script = """
import sys
from optbench import train
train("max_steps=1", "model=resnet", "model.depth=8")
print("torchvision" in sys.modules)
train("max_steps=1", "model=torchvision", "model.name=squeezenet1_1", "data.fraction=0.05")
print("torchvision" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "True"]
