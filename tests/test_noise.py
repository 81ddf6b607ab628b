"""Noise: a pure function of seed, step and place that looks random."""

import math

import pytest
import torch

from runner.noise import derive, key, normal, uniform

SHAPE = (200, 500)


def test_uniform_is_a_pure_function_of_its_arguments() -> None:
    first = uniform(key(1, 2), 3, SHAPE)
    torch.manual_seed(0)
    assert torch.equal(first, uniform(key(1, 2), 3, SHAPE))
    for other in (uniform(key(2, 2), 3, SHAPE), uniform(key(1, 3), 3, SHAPE), uniform(key(1, 2), 4, SHAPE)):
        assert (first == other).double().mean() < 1e-3


def test_uniform_is_uniform_on_the_unit_interval() -> None:
    x = torch.cat([uniform(key(seed, step), 0, SHAPE) for seed in range(3) for step in range(5)]).double()
    n = x.numel()
    assert x.min() >= 0
    assert x.max() < 1
    assert x.mean().item() == pytest.approx(0.5, abs=5 / math.sqrt(12 * n))
    counts = torch.histc(x, 64, 0, 1)
    chi_square = ((counts - n / 64) ** 2 / (n / 64)).sum().item()
    assert chi_square < 63 + 6 * math.sqrt(2 * 63)


def test_normal_has_the_moments_and_tails_of_a_gaussian() -> None:
    x = torch.cat([normal(key(0, step), 0, (333, 301)).flatten() for step in range(10)]).double()
    n = x.numel()
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3)):
        spread = math.sqrt((math.prod(range(1, 2 * power, 2)) - moment**2) / n)  # E x^2k = 1·3·…·(2k-1)
        assert x.pow(power).mean().item() == pytest.approx(moment, abs=5 * spread)
    for bound, share in ((1, 0.317311), (2, 0.045500), (3, 0.002700)):
        assert (x.abs() > bound).double().mean().item() == pytest.approx(share, abs=5 * math.sqrt(share / n))
    assert abs((x[1:] * x[:-1]).mean().item()) < 5 / math.sqrt(n)


@pytest.mark.parametrize("shift", ["step", "place", "seed", "neighbour", "row"])
def test_masks_are_uncorrelated(shift: str) -> None:
    n = SHAPE[0] * SHAPE[1]
    worst = 0.0
    for i in range(20):
        x = uniform(key(i, i), i, SHAPE).double() - 0.5
        y = {
            "step": lambda i=i: uniform(key(i, i + 1), i, SHAPE),
            "place": lambda i=i: uniform(key(i, i), i + 1, SHAPE),
            "seed": lambda i=i: uniform(key(i + 1, i), i, SHAPE),
            "neighbour": lambda x=x: (x + 0.5).roll(1, 1),
            "row": lambda x=x: (x + 0.5).roll(1, 0),
        }[shift]().double() - 0.5
        worst = max(worst, abs(12 * (x * y).mean().item()))
    assert worst < 5 / math.sqrt(n)


def test_number_dropped_varies_from_step_to_step_as_a_binomial_does() -> None:
    dropped = torch.stack([(uniform(key(0, step), 0, (64, 64)) < 0.5).sum() for step in range(400)]).double()
    assert dropped.var().item() == pytest.approx(4096 / 4, rel=5 * math.sqrt(2 / 400))


def test_uniform_under_vmap_is_what_each_key_gives() -> None:
    keys = torch.stack([key(seed, 5) for seed in range(4)])
    stacked = torch.vmap(lambda k: uniform(k, 1, (8, 3)))(keys)
    for one, k in zip(stacked, keys, strict=True):
        assert torch.equal(one, uniform(k, 1, (8, 3)))


def test_streams_differ() -> None:
    streams = [(0, "weights"), (0, "order", 0), (0, "order", 1), (1, "weights"), (0, "noise")]
    assert len({derive(*stream) for stream in streams}) == len(streams)


@pytest.mark.cuda
def test_noise_is_the_same_on_cuda() -> None:
    assert torch.equal(uniform(key(1, 2, "cuda"), 3, SHAPE).cpu(), uniform(key(1, 2), 3, SHAPE))
