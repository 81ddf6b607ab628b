"""Data that is drawn: its truth is known."""

import numpy as np
import numpy.typing as npt

from runner.data import Samples, Source, fingerprint

Signal = npt.NDArray[np.float64]


def linear_regression(*, samples: int, features: int, noise: float, sample_seed: int, test_fraction: float) -> Source:
    """Draw x ~ N(0, 1), w ~ N(0, 1/features) and y = x·w + noise·N(0, 1); y is ``[samples, 1]``."""
    rng = np.random.default_rng(sample_seed)
    weights = rng.standard_normal((features, 1)) / features**0.5
    x = rng.standard_normal((samples, features))
    y = x @ weights + noise * rng.standard_normal((samples, 1))
    drawn = Samples(x, y)
    return Source(drawn, None, fingerprint(drawn), test_fraction=test_fraction)


def quadratic(*, features: int, condition: float) -> Source:
    """Return inputs whose mean squared error is a quadratic of a given condition number, with its minimum at 0.

    With ``model=linear loss=mse`` the loss is Σ λᵢwᵢ²/2, the eigenvalues λ evenly spaced in the logarithm from
    1/condition to 1: x is ±√(λᵢ·features/2)·eᵢ, so that (2/n)·xᵀx is diagonal and the bias has no gradient; y is 0.
    Train, validation and test are the same rows.
    """
    eigenvalues = np.geomspace(1.0 / condition, 1.0, features)
    rows = np.diag(np.sqrt(eigenvalues * features / 2.0))
    samples = Samples(np.concatenate([rows, -rows]), np.zeros((2 * features, 1)))
    return Source(samples, None, fingerprint(samples), test=samples, val=samples)


STROKES = {
    0: (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    1: (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    2: (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    3: (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    4: (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    5: (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    6: (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    7: (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    8: (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    9: (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
}
"""The digits of MNIST-1D as twelve heights each (Greydanus & Kobak 2024)."""
PADDING, LONGEST_SHIFT = (36, 60), 48
SCALE_SPREAD, SHEAR_SPREAD = 0.4, 0.75
BACKGROUND, NOISE = 0.25, 0.02
LENGTH = 40


def mnist1d(*, samples: int, sample_seed: int, test_fraction: float) -> Source:
    """Draw MNIST-1D: ten strokes, padded, stretched, scaled, shifted, sheared and noisy; x is ``[n, 1, 40]``.

    Source: Greydanus & Kobak 2024, §3 and its published parameters.
    """
    rng = np.random.default_rng(sample_seed)
    y = np.arange(samples) % 10
    heights = np.array([STROKES[digit] for digit in range(10)], float)
    heights = (heights - heights.mean(1, keepdims=True)) / heights.std(1, keepdims=True)
    heights = (heights - heights[:, :1]) / 6.0
    x = np.stack([_drawn(heights[digit], rng) for digit in y])
    x = (x - x.mean()) / x.std()
    order = rng.permutation(samples)
    found = Samples(x[order, None, :], y[order])
    return Source(found, 10, fingerprint(found), test_fraction=test_fraction)


def _drawn(stroke: Signal, rng: np.random.Generator) -> Signal:
    """Return one sample of a stroke."""
    from scipy.ndimage import gaussian_filter1d

    longest = len(stroke) + PADDING[1]
    padded = np.concatenate([stroke + 1e-8, np.zeros(rng.integers(PADDING[0], PADDING[1] + 1))])
    signal = _resampled(padded, longest) * (1 + SCALE_SPREAD * (rng.random() - 0.5))
    signal = np.roll(signal, rng.integers(LONGEST_SHIFT))
    background: Signal = gaussian_filter1d(BACKGROUND * rng.standard_normal(longest), 2)
    signal = np.where(signal != 0, signal, background) + NOISE * rng.standard_normal(longest)
    sheared = signal - SHEAR_SPREAD * (rng.random() - 0.5) * np.linspace(-0.5, 0.5, longest)
    return _resampled(sheared, LENGTH)


def _resampled(signal: Signal, length: int) -> Signal:
    return np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(signal)), signal)
