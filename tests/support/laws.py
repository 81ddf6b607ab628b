"""A power law of the loss over size, and runs that scatter around it."""

import numpy as np

SIZES = np.array([1e3, 3e3, 1e4, 3e4, 1e5])


def law(sizes: np.ndarray, alpha: float = 0.5, floor: float = 0.2) -> np.ndarray:
    return floor + (sizes / 1e3) ** -alpha


def seeds(means: np.ndarray, sd: float, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Runs whose losses scatter around their size's by a share ``sd``."""
    return list(means[:, None] * (1 + sd * rng.normal(size=(len(means), count))))
