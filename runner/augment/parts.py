"""What an augmentation is made of: changes of samples, and what they are given."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from runner.data import Samples
from runner.data.vocabulary import Vocabulary
from runner.noise import derive, normal, uniform


@dataclass(frozen=True)
class Draws:
    """The random numbers of one option in one step."""

    seed: int | None
    """None of several runs' at a time, under ``vmap``."""
    step: int
    option: str
    key: Tensor
    """Of the seed and the step, on the device."""

    def uniform(self, *shape: int) -> Tensor:
        """Return float32 uniform in [0, 1)."""
        return uniform(self.key, derive(self.option), shape)

    def normal(self, *shape: int) -> Tensor:
        """Return float32 of mean 0 and variance 1."""
        return normal(self.key, derive(self.option), shape)

    def once(self, place: int) -> float:
        """Return a number for the whole batch, uniform between 0 and 1: no device is waited for.

        Raises:
            RuntimeError: of several runs at a time.
        """
        if self.seed is None:
            raise RuntimeError("each run draws such a number by itself")
        return derive(self.seed, self.step, self.option, place) / 2**63


@dataclass(frozen=True)
class Pixels:
    """How inputs came from raw ones, ``x = (raw - shift) / scale``, and the range of these."""

    shift: Tensor
    scale: Tensor
    """Both broadcast over ``[n, …]``."""
    lowest: float
    highest: float

    @property
    def black(self) -> Tensor:
        """What a raw 0 is among the inputs."""
        return -self.shift / self.scale


@dataclass(frozen=True)
class Affine:
    """A random linear map of each image, given as matrices ``[n, 2, 2]`` from places in the result to places in it.

    Places are (x, y) in pixels from the image's middle, y downwards.
    """

    of: Callable[[int, Draws], Tensor]


@dataclass(frozen=True)
class Change:
    """A random change of each sample by itself: ``x`` ``[n, …]`` becomes another of its shape."""

    of: Callable[[Tensor, Draws, Pixels], Tensor]
    images: bool = True
    """It takes images ``[n, c, h, w]`` alone."""
    channels: int | None = None
    """It takes images of so many channels alone."""
    smallest: int = 1
    """Pixels that images must have on each side."""


@dataclass(frozen=True)
class Mixing:
    """Each sample of a batch mixed with a partner: gives the mixed samples, and the share that is each one's own."""

    of: Callable[[Tensor, Tensor, Draws], tuple[Tensor, float]]
    images: bool = True


@dataclass(frozen=True)
class Rewording:
    """A random change of sentences, ``[n, length]`` in the numbers of a vocabulary, padded at the end."""

    of: Callable[[Vocabulary, Samples, torch.device], Callable[[Tensor, Draws, Pixels], Tensor]]
    """Given the vocabulary and the training samples, gives the change, as that of a ``Change``."""


Part = Affine | Change | Mixing | Rewording
