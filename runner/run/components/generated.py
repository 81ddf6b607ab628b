"""What ``data.generated`` adds to a run's training samples: drawn by a generator that is a function of the run's seed.

Other seeds train other generators, as they draw other weights: the spread over seeds holds what a generator's chance is
worth too.
"""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from runner import generator
from runner.data import Data, Samples, Source, fingerprint, generated
from runner.data.split import split
from runner.engine.hooks import Hook
from runner.noise import derive

MOST_KEPT = 64
"""Generators that a process keeps, each about a megabyte: the jobs of a sweep are built several times."""


@dataclass
class Generated(Hook):
    """Says in the summary what was generated."""

    samples: int
    seconds: float

    def summary(self) -> dict[str, Any]:
        """Return how many of the training samples were generated, and what that took."""
        return {"generated_samples": self.samples, "generated_seconds": self.seconds}


def with_generated(source: Source, share: float, seed: int, **how: Any) -> Data:
    """Return a source as ``split`` does, with generated samples behind the training samples.

    Args:
        source: the data set.
        share: how many are drawn for each training sample.
        seed: of the run.
        how: what ``split`` takes.

    Raises:
        ConfigError: of a table of which a class has too few samples.
    """
    spent: list[float] = []
    data = split(source, **how, generate=partial(_drawn, source, share, seed, spent))
    return replace(data, generated_seconds=sum(spent))


def _drawn(source: Source, share: float, seed: int, spent: list[float], train: Samples) -> Samples:
    """Draw a share of the training samples; add what it took to ``spent``."""
    count, began = generated.number(len(train), share), time.perf_counter()
    of_training, of_drawing = (derive(seed, "generated", what) for what in ("training", "drawing"))
    if train.x.ndim == 2:
        found = generated.gaussian(train, count, of_drawing, source.categories, source.labels)
        spent.append(time.perf_counter() - began)
        return found
    trained = _trained(train, cast(int, source.classes), of_training)
    began = time.perf_counter()
    y = np.random.default_rng(of_drawing).permutation(generated.labels(train.y, count))
    found = Samples(trained.draw(y, of_drawing), y)
    spent += [trained.seconds, time.perf_counter() - began]
    return found


def _trained(train: Samples, classes: int, seed: int) -> generator.Generator:
    """Return the generator of these samples and this seed, trained once a process."""
    key = fingerprint(train), seed
    if key not in _kept:
        _kept[key] = generator.trained(train.x, train.y.astype(np.int64), classes, seed)
        while len(_kept) > MOST_KEPT:
            del _kept[next(iter(_kept))]
    return _kept[key]


_kept: dict[tuple[str, int], generator.Generator] = {}
"""Generators by their samples and seed; processes that are forked begin with those of their parent."""
