"""What cannot be spread is refused with one message, before anything is written."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from runner.engine.hooks import Hook
from runner.errors import ConfigError
from runner.parallel import Layout, Way, layout
from runner.parallel.refusal import TOLD, refuse
from runner.run.build import build
from runner.run.devices import checked, layout_of, refuse_lone_devices
from runner.run.job import Job


class Own(torch.optim.SGD):
    pass


REFUSED = [
    (["model.width=15", "parallel=tensor"], "cannot share a hidden layer of 15 evenly"),
    (["model.depth=3", "parallel=pipeline"], "2 stages cannot share 3 layers evenly"),
    (["model=vit", "model.patch=4", "model.width=9", "model.heads=3", "parallel=tensor"], "cannot share model.heads=3"),
    (["model.normalization=batch", "parallel=tensor"], "beside batch norm"),
    (["model=cnn", "parallel=pipeline"], "has a plan for model=mlp, gpt and vit, and none for CNN"),
    (["regularization=weight_norm", "parallel=fsdp"], "a weight's length is of all its parts"),
    (["regularization=adversarial", "parallel=pipeline"], "go through all stages twice"),
    (["optim=muon", "parallel=pipeline"], "optim=muon beside parallel=pipeline"),
    (["optim=prodigy", "parallel=fsdp"], "optim=prodigy beside parallel=fsdp"),
    (["optim=lbfgs", "parallel=ddp"], "optim=lbfgs beside parallel=ddp"),
    (["batch=adaptive", "parallel=ddp"], "batch=adaptive beside parallel=ddp"),
    (["engine=fused", "parallel=ddp"], "engine=fused beside parallel=ddp"),
    (["compile=true", "parallel=ddp"], "compile=true beside parallel=ddp"),
    (["diagnostics=true", "parallel=fsdp"], "diagnostics=true beside parallel=fsdp"),
    (["snapshots=3", "save=last", "parallel=fsdp"], "snapshots=3 beside parallel=fsdp"),
    (["snapshots=3", "save=last", "parallel=pipeline"], "snapshots=3 beside parallel=pipeline"),
    (["optim=collection", "optim.name=dadaptadam", "parallel=fsdp"], "a step of DAdaptAdam looks at each number alone"),
    (["optim=collection", "optim.name=tiger", "parallel=tensor"], "optim=collection beside parallel=tensor"),
    (["optim=custom", "optim.target=tests.parallel.test_refused.Own", "parallel=fsdp"], "a step of Own looks at each"),
    (["finetune=lora", "parallel=tensor"], "finetune=lora beside parallel=tensor"),
    (["finetune=lora", "parallel=pipeline"], "finetune=lora beside parallel=pipeline"),
    (["finetune=adapter", "parallel=tensor"], "finetune=adapter beside parallel=tensor"),
    (["finetune=layers", "parallel=pipeline"], "finetune=layers beside parallel=pipeline"),
    (["finetune=head", "parallel=pipeline"], "finetune=head beside parallel=pipeline"),
    (["finetune=bitfit", "parallel=pipeline"], "finetune=bitfit beside parallel=pipeline"),
    (["finetune=discriminative", "parallel=pipeline"], "finetune=discriminative beside parallel=pipeline"),
    (["compress=low_rank", "parallel=tensor"], "compress=low_rank beside parallel=tensor"),
    (["compress=quantize", "parallel=tensor"], "compress=quantize beside parallel=tensor"),
    (["compress=prune", "parallel=fsdp"], "compress=prune beside parallel=fsdp, where no process has the"),
    (["compress=prune_once", "parallel=tensor"], "compress=prune_once beside parallel=tensor"),
    (["parallel=[ddp,fsdp]"], "do not go together"),
    (["parallel=[pipeline,tensor]"], "do not go together"),
    (["parallel=[fsdp,tensor]", "parallel.tensor.size=3"], "does not divide parallel.devices=2"),
    (["model=custom", "model.target=tests.own_parts.Normed", "parallel=ddp"], "draws random numbers by itself"),
    (["loss=tests.own_parts.largest", "parallel=ddp"], "needs a loss that is a mean over samples"),
]


@pytest.mark.parametrize(("overrides", "said"), REFUSED, ids=[" ".join(o) for o, _ in REFUSED])
def test_what_cannot_be_spread_is_named(overrides: list[str], said: str, job: Callable[..., Job]) -> None:
    with pytest.raises(ConfigError, match=said):
        built(job, *overrides)


ALLOWED = [
    ["snapshots=3", "save=last", "parallel=ddp"],
    ["optim=collection", "optim.name=dadaptadam", "parallel=ddp"],
    ["optim=custom", "optim.target=torch.optim.RMSprop", "parallel=fsdp"],
    ["finetune=gradual", "parallel=pipeline"],
    ["finetune=layers", "parallel=tensor"],
    ["finetune=lora", "parallel=fsdp"],
    ["finetune=adapter", "parallel=pipeline"],
    ["compress=low_rank", "parallel=pipeline"],
]


@pytest.mark.parametrize("overrides", ALLOWED, ids=[" ".join(o) for o in ALLOWED])
def test_what_can_be_spread_is_not_refused(overrides: list[str], job: Callable[..., Job]) -> None:
    if not TOLD and "parallel=pipeline" in overrides:
        pytest.skip("this PyTorch has no pipelines")
    built(job, "model.depth=4", *overrides)


def built(job: Callable[..., Job], *overrides: str) -> None:
    this = job("device=cpu", "parallel.devices=2", *overrides)
    checked(this, layout_of(this, None))


def test_tensor_alone_shares_each_layer_among_all() -> None:
    with pytest.raises(ConfigError, match=r"parallel\.tensor\.size=2 must be parallel\.devices=4"):
        layout([Way("tensor", size=2)], 4)


def test_a_pipeline_needs_a_pytorch_that_is_told_the_shapes_of_gradients(
    job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.parallel.refusal.TOLD", False)
    with pytest.raises(ConfigError, match=r"parallel=pipeline needs a newer PyTorch than "):
        built(job, "model.depth=4", "parallel=pipeline")


def test_devices_without_a_way_are_refused(job: Callable[..., Job]) -> None:
    with pytest.raises(ConfigError, match="needs parallel, the way"):
        refuse_lone_devices(job("parallel.devices=2"))


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ([], "parallel needs parallel.devices, the number of processes"),
        (["parallel.devices=1"], "parallel=ddp needs at least 2 devices, got 1"),
    ],
)
def test_a_way_without_several_devices_is_refused_on_a_cpu(
    devices: list[str], said: str, job: Callable[..., Job]
) -> None:
    with pytest.raises(ConfigError, match=said):
        layout_of(job("device=cpu", "parallel=ddp", *devices), None)


def test_another_number_than_torchrun_started_is_refused(job: Callable[..., Job]) -> None:
    with pytest.raises(ConfigError, match="torchrun started 4 processes"):
        layout_of(job("parallel=ddp", "parallel.devices=2"), 4)


def test_how_a_run_is_spread_is_no_part_of_its_id(job: Callable[..., Job]) -> None:
    plain = job("device=cpu")
    for way in ("ddp", "fsdp", "tensor", "pipeline", "[fsdp,tensor]"):
        assert job("device=cpu", f"parallel={way}", "parallel.devices=4").run_id == plain.run_id
    assert build(plain).spread is None


def test_processes_are_laid_out_as_a_grid() -> None:
    ways = [Way("fsdp"), Way("tensor")]
    assert layout(ways, 8) == Layout(data=4, sharded=True, tensor=2)
    assert layout([Way("ddp"), Way("tensor", size=4)], 8) == Layout(data=2, tensor=4)
    assert layout([Way("tensor")], 8) == Layout(tensor=8)
    assert layout([Way("pipeline", parts=3)], 2) == Layout(stages=2, parts=3)
    assert str(layout(ways, 8)) == "fsdp 4 × tensor 2"


class OwnHook(Hook):
    pass


def test_an_own_hook_is_refused_where_no_process_has_whole_weights(job: Callable[..., Job]) -> None:
    run = replace(build(job("device=cpu")), hooks={"regularization.mine": OwnHook()})
    with pytest.raises(ConfigError, match="regularization=mine is of your own and may read whole weights"):
        refuse(run, Layout(data=2, sharded=True), "adam", None)
    refuse(run, Layout(data=2), "adam", None)
