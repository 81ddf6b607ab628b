"""Initializers against their formulas."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from runner import init
from runner.noise import generator

SHAPES = [(400, 300), (300, 400), (64, 32, 3, 3)]
FANS = {(400, 300): (300, 400), (300, 400): (400, 300), (64, 32, 3, 3): (288, 576)}


def drawn(fill: Callable, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    weight = torch.empty(shape)
    fill(weight, generator(seed, "test"))
    return weight


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("fill", "variance"),
    [
        (partial(init.he_normal, gain=math.sqrt(2)), lambda fan_in, fan_out: 2 / fan_in),
        (partial(init.he_uniform, gain=math.sqrt(2)), lambda fan_in, fan_out: 2 / fan_in),
        (partial(init.xavier_normal, gain=1.0), lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        (partial(init.xavier_uniform, gain=1.0), lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        (partial(init.he_normal, gain=3.0), lambda fan_in, fan_out: 9 / fan_in),
        (partial(init.xavier_uniform, gain=3.0), lambda fan_in, fan_out: 18 / (fan_in + fan_out)),
        (partial(init.normal, std=0.3), lambda fan_in, fan_out: 0.09),
        (partial(init.uniform, bound=0.3), lambda fan_in, fan_out: 0.03),
    ],
    ids=[
        "he_normal",
        "he_uniform",
        "xavier_normal",
        "xavier_uniform",
        "he gain 3",
        "xavier gain 3",
        "normal",
        "uniform",
    ],
)
def test_variance_is_the_papers(fill: Callable, variance: Callable, shape: tuple[int, ...]) -> None:
    weight = drawn(fill, shape).double()
    expected = variance(*FANS[shape])
    # The standard error of a variance is at most variance·√(2/n): five of them.
    tolerance = 5 * math.sqrt(2 / weight.numel())
    assert weight.var().item() == pytest.approx(expected, rel=tolerance)
    assert abs(weight.mean().item()) < 5 * math.sqrt(expected / weight.numel())


@pytest.mark.parametrize(("name", "bounded"), [("he_uniform", True), ("he_normal", False)])
def test_uniform_is_bounded_and_normal_is_not(name: str, bounded: bool) -> None:
    weight = drawn(partial(getattr(init, name), gain=math.sqrt(2)), (400, 300))
    bound = math.sqrt(3 * 2 / 300)
    assert (weight.abs().max().item() <= bound) == bounded


def test_he_second_moment_is_constant_over_depth(job: Callable) -> None:
    from runner.build import build

    slopes = {}
    for name in ("he", "xavier", "default"):
        moments = torch.zeros(12)

        def measure(hidden: torch.Tensor, place: int, moments: torch.Tensor = moments) -> torch.Tensor:
            moments[place] += hidden.detach().square().mean()
            return hidden

        for seed in range(4):
            run = build(job(f"init={name}", "model.width=512", "model.depth=12", f"seed={seed}"))
            model, x = run.construct(), torch.randn(256, 64, generator=torch.Generator().manual_seed(seed))
            model(x, measure)
        depth = torch.arange(2, 12).double()
        log = moments[2:].double().log2()
        slopes[name] = ((depth - depth.mean()) * (log - log.mean())).sum() / (depth - depth.mean()).square().sum()
    assert slopes["he"] == pytest.approx(0, abs=0.1)
    assert slopes["xavier"] == pytest.approx(-1, abs=0.1)


def test_default_is_pytorchs_own(job: Callable) -> None:
    from runner.build import build
    from runner.noise import derive

    model = build(job("init=default", "seed=7", "model=linear")).construct()
    torch.manual_seed(derive(7, "weights"))
    expected = nn.Linear(64, 10)
    assert torch.equal(model.readout.weight, expected.weight)
    assert torch.equal(model.readout.bias, expected.bias)


@pytest.mark.parametrize("name", ["zeros", "normal", "uniform", "xavier", "he", "he_uniform"])
def test_biases_take_their_value(name: str, job: Callable) -> None:
    from runner.build import build

    for value in (0.0, 0.25):
        model = build(job(f"init={name}", f"init.bias={value}")).construct()
        biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
        assert len(biases) == 3
        assert all((b == value).all() for b in biases)


def test_auto_gain_is_the_activations(job: Callable) -> None:
    from runner.build import build

    def first_std(*overrides: str) -> float:
        return (
            build(job("init=xavier_normal", "model.width=2000", *overrides)).construct().hidden[0].weight.std().item()
        )

    plain = first_std("model.activation=tanh")
    assert first_std("model.activation=tanh", "init.gain=auto") / plain == pytest.approx(5 / 3, rel=1e-4)
    assert first_std("model.activation=relu", "init.gain=auto") / plain == pytest.approx(math.sqrt(2), rel=1e-4)
    assert first_std("model.activation=relu") == plain


def test_weights_depend_on_the_seed_alone(job: Callable) -> None:
    from runner.build import build

    def weights(*overrides: str) -> list[torch.Tensor]:
        return [p.detach() for p in build(job("init=he", *overrides)).construct().parameters()]

    first = weights("optim=sgd", "seed=1")
    torch.manual_seed(123)
    for other in (weights("optim=adamw", "seed=1"), weights("batch.size=7", "regularization=dropout", "seed=1")):
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], weights("seed=2")[0])
    deeper = weights("model.depth=3", "seed=1")
    assert torch.equal(first[0], deeper[0])


def test_construction_leaves_the_global_generator_alone(job: Callable) -> None:
    from runner.build import build

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(job("init=he")).construct()
    assert torch.equal(torch.rand(3), expected)


def test_gains_are_the_papers_whatever_the_activation_unless_asked(job: Callable) -> None:
    for activation in ("relu", "tanh", "identity"):
        assert job("init=he", f"model.activation={activation}").config["init"]["gain"] == pytest.approx(math.sqrt(2))
        assert job("init=xavier", f"model.activation={activation}").config["init"]["gain"] == 1
    for activation in ("relu", "tanh", "sigmoid"):
        gain = job("init=he", "init.gain=auto", f"model.activation={activation}").config["init"]["gain"]
        assert gain == pytest.approx(nn.init.calculate_gain(activation))


def test_an_initializer_with_nothing_to_fill_is_refused(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "init=he", "model=custom", "model.target=tests.own_parts.Bare", "max_steps=1")
    assert refused.code == 2
    assert "init=default" in refused.err
    assert optbench("train", "model=custom", "model.target=tests.own_parts.Bare", "max_steps=1").code == 0
