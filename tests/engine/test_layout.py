"""Memory layouts: by a rule, and of no consequence but for last digits."""

from pathlib import Path

import pytest
import torch
from torch import nn

from runner.engine import checkpoint, loop
from runner.engine.layout import CHANNELS_LAST, CONTIGUOUS, layout_for
from runner.engine.measure import EVALUATION_BATCH_ON_CPU, evaluate, finish
from runner.engine.state import State, start
from runner.run import processor
from runner.run.build import build
from runner.run.trainee import alone
from tests.support.stacks import Make

CNN = ["model=cnn", "model.width=4", "dtype=float64", "max_steps=6", "epochs=null", "eval_every=3", "batch.size=64"]
CPU = torch.device("cpu")


def trained(state: State) -> State:
    for _ in loop.train(state, lambda state, loss: False):
        pass
    return state


@pytest.mark.parametrize("optim", ["sgd", "adamw", "adagrad", "rmsprop", "adafactor", "rprop"])
def test_channels_last_trains_to_the_same_weights(optim: str, job: Make) -> None:
    settings = [*CNN, f"optim={optim}", "regularization=[ema,grad_clip]"]
    found = []
    for layout in (CONTIGUOUS, CHANNELS_LAST):
        state = start(build(job(*settings)))
        state.lay_out(layout)
        found.append(trained(state).model.state_dict())
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, atol=1e-9, rtol=0, msg=name)


def test_a_layout_is_chosen_by_model_optimizer_and_processor_alone(job: Make) -> None:
    def layout(*settings: str, capability: str = "AVX512") -> str:
        state = start(build(job(*CNN, *settings)))
        return layout_for(state.model, state.optimizer, CPU, lambda: capability)

    assert layout() == CHANNELS_LAST
    assert layout(capability="DEFAULT") == CONTIGUOUS
    assert layout("optim=lbfgs") == CONTIGUOUS
    assert layout("regularization=weight_norm") == CONTIGUOUS
    assert layout("data=mnist1d") == CONTIGUOUS
    own = nn.Conv2d(512, 8, 3)
    assert layout_for(own, torch.optim.SGD(own.parameters()), CPU, lambda: "AVX512") == CONTIGUOUS


def test_a_folder_keeps_to_its_first_workers_processor_and_a_run_to_its_layout(
    job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "capability_here", lambda: "AVX512")
    first = job(*CNN)
    begun = alone(first, build(first))
    assert begun.states[0].layout == CHANNELS_LAST
    monkeypatch.setattr(processor, "capability_here", lambda: "DEFAULT")
    assert alone(first, build(first)).states[0].layout == CHANNELS_LAST
    exact = job(*CNN, "deterministic=true")
    assert alone(exact, build(exact)).states[0].layout == CONTIGUOUS
    other = start(build(first))
    other.load_state_dict(begun.states[0].state_dict())
    assert other.layout == CHANNELS_LAST
    assert other.model.blocks[1].weight.is_contiguous(memory_format=torch.channels_last)


def test_what_the_last_evaluation_measured_is_not_measured_again(job: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    state = trained(start(build(job(*CNN))))
    expected = evaluate(state, state.run.val, state.run.final_metrics)
    calls = []
    state.model.register_forward_hook(lambda *_: calls.append(1))
    measured = finish(state)
    assert len(calls) == -(-len(state.run.test.y) // EVALUATION_BATCH_ON_CPU)
    assert {k.removeprefix("final_val_"): v for k, v in measured.items() if k.startswith("final_val_")} == expected


@pytest.mark.parametrize("settings", [["batch.micro=24"], ["batch=growing", "batch.milestones=[1]"], ["augment=crop"]])
def test_channels_last_is_the_same_beside_what_changes_batches(settings: list[str], job: Make) -> None:
    found = []
    for layout in (CONTIGUOUS, CHANNELS_LAST):
        state = start(build(job(*CNN, "optim=adamw", *settings)))
        state.lay_out(layout)
        found.append(trained(state).model.state_dict())
    for name, weight in found[0].items():
        torch.testing.assert_close(found[1][name], weight, atol=1e-9, rtol=0, msg=name)


@pytest.mark.parametrize("optim", ["adamw", "momentum", "adagrad"])
def test_a_run_in_channels_last_that_was_stopped_goes_on_to_the_same_weights(
    optim: str, job: Make, tmp_path: Path
) -> None:
    def begun() -> State:
        state = start(build(job(*CNN, f"optim={optim}")))
        state.lay_out(CHANNELS_LAST)
        return state

    stopped = begun()
    for _ in loop.train(stopped, lambda state, loss: state.step == 3):
        if stopped.step == 3:
            break
    checkpoint.save(tmp_path / "checkpoint.pt", stopped.state_dict())
    resumed = start(build(job(*CNN, f"optim={optim}")))
    resumed.load_state_dict(checkpoint.load(tmp_path / "checkpoint.pt"))
    whole = trained(begun()).model.state_dict()
    for name, weight in trained(resumed).model.state_dict().items():
        assert torch.equal(weight, whole[name]), name
