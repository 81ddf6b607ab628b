"""Power laws of the loss over size: the fit against SciPy and simulations whose truth is known."""

import numpy as np
import pytest
from scipy import optimize

from runner.statistics import power_law
from runner.statistics.power_law import EXPONENTS, fit
from tests.support.laws import SIZES, law, seeds


@pytest.mark.parametrize(("alpha", "floor"), [(0.5, 0.2), (0.076, 0.0), (2.0, 0.01)])
def test_a_law_without_noise_is_found_exactly(alpha: float, floor: float) -> None:
    found = fit(SIZES, [np.array([y]) for y in law(SIZES, alpha, floor)], draws=10)
    assert (found.exponent, found.floor) == pytest.approx((alpha, floor), rel=1e-4, abs=1e-5)
    assert found.coefficient * found.unit**found.exponent == pytest.approx(1e3**alpha, rel=1e-3)
    assert found.at(np.array([1e6]))[0] == pytest.approx(law(np.array([1e6]), alpha, floor)[0], rel=1e-3)
    assert found.error < 1e-5


@pytest.mark.parametrize("seed", range(5))
def test_the_fit_is_scipys(seed: int) -> None:
    (noisy,) = np.transpose(seeds(law(SIZES), 0.02, 1, np.random.default_rng(seed)))
    scaled = SIZES / np.exp(np.log(SIZES).mean())
    bounds = ([0, 0, EXPONENTS[0]], [10, 10, EXPONENTS[-1]])
    (floor, coefficient, alpha), _ = optimize.curve_fit(
        lambda x, e, a, b: e + a * x**-b, scaled, noisy, (0.1, 0.2, 0.5), sigma=noisy, bounds=bounds, xtol=1e-14
    )
    found = fit(SIZES, [np.array([y]) for y in noisy], draws=10)
    assert (found.exponent, found.floor, found.coefficient) == pytest.approx((alpha, floor, coefficient), rel=1e-4)


@pytest.mark.parametrize(
    ("sizes", "count", "sd", "alpha", "floor"),
    [
        (4, 1, 0.01, 0.5, 0.2),
        (6, 1, 0.03, 0.5, 0.2),
        (4, 3, 0.02, 0.3, 0.1),
        (6, 3, 0.03, 0.5, 0.2),
        (8, 5, 0.02, 1.0, 0.1),
    ],
)
def test_intervals_cover_the_truth_in_about_95_of_100_simulations(
    sizes: int, count: int, sd: float, alpha: float, floor: float
) -> None:
    rng = np.random.default_rng(sizes + count)
    at, simulations = np.geomspace(1e3, 1e5, sizes), 250
    found = [fit(at, seeds(law(at, alpha, floor), sd, count, rng), draws=300) for _ in range(simulations)]
    for truth, intervals in ((alpha, [f.exponent_interval for f in found]), (floor, [f.floor_interval for f in found])):
        assert abs(np.mean([low <= truth <= high for low, high in intervals]) - 0.95) <= 0.045
    bands = [f.band(np.array([1e4])) for f in found]
    covered = [low[0] <= law(np.array([1e4]), alpha, floor)[0] <= high[0] for low, high in bands]
    assert abs(np.mean(covered) - 0.95) <= 0.045
    over_seeds = np.mean([f.over_seeds for f in found])
    assert over_seeds > 0.9 if count > 1 else over_seeds == 0


def test_more_seeds_make_the_interval_narrower() -> None:
    def width(count: int) -> float:
        rng = np.random.default_rng(count)
        found = [fit(SIZES, seeds(law(SIZES), 0.03, count, rng), draws=200).exponent_interval for _ in range(40)]
        return float(np.median([high - low for low, high in found]))

    assert width(12) == pytest.approx(width(3) / 2, rel=0.35)


EQUAL = 0.1 * 3
"""0.30000000000000004: the mean of equal losses of this size differs from them by rounding."""


@pytest.mark.parametrize("count", [1, 2, 3], ids="{} seeds".format)
@pytest.mark.parametrize("last_bits", [0, 3], ids=["alike", "alike but for rounding"])
@pytest.mark.parametrize("loss", [1.0, EQUAL, 1e-7, 9e5])
def test_equal_losses_fit_with_every_exponent(loss: float, last_bits: int, count: int) -> None:
    bits = np.random.default_rng(0).integers(-last_bits, last_bits + 1, (len(SIZES), count))
    found = fit(SIZES, list(loss * (1 + bits * np.finfo(float).eps)))
    assert (found.exponent, found.coefficient) == (0, 0)
    assert found.floor == pytest.approx(loss, rel=1e-14)
    assert found.exponent_interval == (0, EXPONENTS[-1])
    assert found.floor_interval == pytest.approx((loss, loss), rel=1e-14)
    assert found.error == 0 and not found.misfit and not found.over_seeds  # rounding is neither noise nor a misfit


def test_losses_that_rise_fit_with_every_exponent() -> None:
    found = fit(SIZES, [np.array([y]) for y in (1.0, 1.1, 1.2, 1.3, 1.4)])
    assert (found.exponent, found.coefficient) == (0, 0)
    assert found.exponent_interval == (0, EXPONENTS[-1])


def test_a_fall_far_smaller_than_its_floor_is_found_while_it_is_beyond_rounding() -> None:
    losses = 1 + 1e-8 * (law(SIZES, floor=0.0))
    found = fit(SIZES, [np.array([y]) for y in losses], draws=10)
    assert found.exponent == pytest.approx(0.5, rel=1e-3) and found.floor == pytest.approx(1)


def test_what_no_law_describes_is_told_from_the_spread_of_seeds() -> None:
    bumpy = np.array([1.0, 0.7, 0.9, 0.3, 0.5])
    found = fit(SIZES, seeds(bumpy, 0.01, 3, np.random.default_rng(0)))
    assert found.misfit and not found.over_seeds
    assert found.exponent_interval[0] <= EXPONENTS[0]  # residuals say how little is known
    straight = fit(SIZES, seeds(law(SIZES), 0.01, 3, np.random.default_rng(0)))
    assert not straight.misfit and straight.over_seeds


def test_the_same_losses_give_the_same_intervals() -> None:
    losses = seeds(law(SIZES), 0.02, 3, np.random.default_rng(0))
    one, other = (fit(SIZES, losses) for _ in range(2))
    assert one.exponent_interval == other.exponent_interval
    assert len(one.draws) == power_law.DRAWS
