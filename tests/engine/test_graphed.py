"""Graphs of a stack's step, and what of them can be known without a device: optimizers that count their steps on it."""

import importlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from runner.engine import fused
from runner.engine.fused.ahead import STEPS, Ahead
from runner.engine.fused.graphed import WARM_UP, Graphed, can_be_captured, keep_on_device
from runner.engine.fused.loop import graph_of
from runner.engine.fused.members import Stack, resume, stack
from runner.noise import key
from tests.support.stacks import TOLERANCE, Make, alone, assert_close, assert_same, runs_of, three

SHAPE = ["dtype=float64", "batch.size=100", "model.width=8", "data=breast_cancer"]
LENGTH = ["max_steps=24", "eval_every=12", *SHAPE]
COUNTING = ["adam", "radam", "adamax"]
"""Optimizers whose steps depend on how many were made."""
OTHERS = ["sgd", "momentum", "rmsprop", "adadelta"]
TORCHS = [*COUNTING, *OTHERS, "amsgrad", "adamw", "adagrad", "nadam"]
SHARED: list[list[str]] = [[], ["regularization=[dropout,grad_clip,l2]"], ["batch.size=all"]]


def finished(members: Stack, pulse: Callable[[int], bool] = lambda step: False) -> list[dict[str, Tensor]]:
    states = list(members.states)
    for _ in fused.train(members, pulse):
        pass
    return [state.model.state_dict() for state in states]


def assert_alone(runs: list, found: list[dict[str, Tensor]], tolerance: float) -> None:
    for run, weights in zip(runs, found, strict=True):
        for name, expected in alone(run)[0].model.state_dict().items():
            assert_close(weights[name], expected, tolerance, name)


@pytest.mark.parametrize("optim", [*COUNTING, *OTHERS])
def test_an_optimizer_that_counts_on_the_device_steps_as_one_that_counts_on_the_host(
    optim: str, job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form that is captured, here without a graph: PyTorch takes it on the CPU if one insists."""
    for module in ("radam", "adamax", "rmsprop", "adadelta"):
        at = importlib.import_module(f"torch.optim.{module}")
        monkeypatch.setattr(at, "_get_capturable_supported_devices", lambda **_: ["cpu"])
    runs = runs_of(job, three(f"optim={optim}"), *LENGTH)
    members = stack(runs)
    optimizers = [part.optimizer for part in members.slices]
    assert can_be_captured(optimizers)

    def after_two(step: int) -> bool:
        if step == 2:
            keep_on_device(optimizers)
        return False

    found = finished(members, after_two)
    if optim not in ("sgd", "momentum"):
        assert all(group["capturable"] for optimizer in optimizers for group in optimizer.param_groups)
    assert_alone(runs, found, TOLERANCE)


def test_what_counted_on_the_host_moves_to_the_weights() -> None:
    weight = torch.nn.Parameter(torch.zeros(3, device="meta"))
    optimizer = torch.optim.RAdam([weight])
    optimizer.state[weight] = {"step": torch.tensor(7.0), "exp_avg": torch.zeros(3)}
    keep_on_device([optimizer])
    held = optimizer.state[weight]
    assert (held["step"].device.type, held["step"].dtype) == ("meta", torch.float64)
    assert held["exp_avg"].dtype == torch.float32
    assert optimizer.param_groups[0]["capturable"]


def test_an_optimizer_that_has_made_no_step_is_left_as_it_is() -> None:
    optimizer = torch.optim.RAdam([torch.nn.Parameter(torch.zeros(3))])
    keep_on_device([optimizer])
    assert not optimizer.param_groups[0]["capturable"]


def test_an_optimizer_that_cannot_count_on_the_device_is_not_captured() -> None:
    weights = [torch.nn.Parameter(torch.zeros(3))]
    assert can_be_captured([torch.optim.SGD(weights, 0.1), torch.optim.AdamW(weights)])
    for optimizer in (torch.optim.Adagrad(weights), torch.optim.NAdam(weights)):
        assert not can_be_captured([torch.optim.SGD(weights, 0.1), optimizer])


def test_a_stack_that_was_graphed_goes_on_on_the_cpu(job: Make) -> None:
    runs = runs_of(job, three("optim=radam"), *LENGTH)
    members = stack(runs)
    for _ in fused.train(members, lambda step: step == 7):
        pass
    keep_on_device([part.optimizer for part in members.slices])
    again = resume(runs, members.state_dict(), [0, 1, 2])
    assert not any(group["capturable"] for part in again.slices for group in part.optimizer.param_groups)
    assert_alone(runs, finished(again), TOLERANCE)


def test_rates_and_keys_ahead_are_those_of_each_step(job: Make) -> None:
    kinds = three("optim=sgd", "scheduler=cosine", "regularization=dropout")
    members = stack(runs_of(job, kinds, "max_steps=150", "data=breast_cancer", "model.width=8"))
    ahead = Ahead(members)
    for step in (*range(STEPS + 2), 149):
        members.step = step
        rates, lr, keys = ahead.next()
        assert rates == [run.schedule(step) for run in members.runs] == lr.tolist()
        assert keys is not None and torch.equal(members.key, keys)
        assert torch.equal(keys, torch.stack([key(run.noise_seed, step) for run in members.runs]))


def test_a_rate_that_falls_at_an_evaluation_is_not_planned_before_it(job: Make) -> None:
    falls = ["scheduler=plateau", "scheduler.patience=1", "scheduler.min_delta=10", "scheduler.factor=0.5"]
    assert_same(runs_of(job, three("optim=sgd", *falls), *LENGTH))


@pytest.mark.cuda
def test_a_graph_repeats_its_step_on_other_inputs() -> None:
    total, prepared = torch.zeros(3, device="cuda"), []

    def step(x: Tensor) -> Tensor:
        total.add_(x)
        return total * 2

    graphed = Graphed(step, lambda: prepared.append(True))
    for made in range(1, WARM_UP + 4):
        assert graphed(torch.full((3,), float(made), device="cuda")).tolist() == [made * (made + 1.0)] * 3
    assert prepared == [True]


@pytest.mark.cuda
@pytest.mark.parametrize(
    ("optim", "shared"),
    [
        *((optim, shared) for optim in TORCHS for shared in SHARED),
        *((optim, []) for optim in ("lion", "adan", "adabelief", "lamb", "lars", "ademamix", "mars", "soap", "muon")),
        ("adamw", ["optim.wrap=[cautious,lookahead]", "optim.lookahead_steps=3"]),
    ],
    ids=str,
)
def test_a_graphed_stack_is_the_stack_step_by_step(
    optim: str, shared: list[str], job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = [word for word in SHAPE if word.partition("=")[0] not in {given.partition("=")[0] for given in shared}]
    shape += shared
    runs = runs_of(job, three(f"optim={optim}"), *shape, "max_steps=60", "eval_every=20", "device=cuda")
    graphed = finished(stack(runs))
    monkeypatch.setattr("runner.engine.fused.loop.graph_of", lambda members: None)
    for ours, eager in zip(graphed, finished(stack(runs)), strict=True):
        for name, expected in eager.items():
            assert_close(ours[name], expected, TOLERANCE, name)


@pytest.mark.cuda
@pytest.mark.parametrize("optim", COUNTING)
def test_a_graphed_stack_goes_on_after_members_have_left(optim: str, job: Make) -> None:
    kinds = [[f"optim={optim}", f"optim.lr={lr}", f"seed={seed}"] for seed, lr in enumerate((0.01, 0.003, 1e200))]
    runs = runs_of(job, kinds, *SHAPE, "loss=mse", "max_steps=80", "eval_every=12", "device=cuda")
    assert graph_of(stack(runs)) is not None
    assert_same(runs, 1e-8)


@pytest.mark.cuda
@pytest.mark.parametrize("there", ["cuda", "cpu"])
@pytest.mark.parametrize("optim", COUNTING)
def test_a_saved_graphed_stack_goes_on_on_either_device(optim: str, there: str, job: Make) -> None:
    runs = runs_of(job, three(f"optim={optim}"), *LENGTH, "device=cuda")
    members = stack(runs)
    for _ in fused.train(members, lambda step: step == 17):
        pass
    going_on = runs_of(job, three(f"optim={optim}"), *LENGTH, f"device={there}")
    found = finished(resume(going_on, members.state_dict(), [0, 1, 2]))
    assert_alone(runs_of(job, three(f"optim={optim}"), *LENGTH, "device=cpu"), [_on_cpu(w) for w in found], 1e-8)


def _on_cpu(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.cpu() for name, tensor in weights.items()}
