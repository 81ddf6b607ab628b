"""A small conditional GAN for images: trained on samples with their classes, it draws samples of a class.

Source: Goodfellow et al. 2014; classes by projection (Miyato & Koyama 2018), the hinge loss (Lim & Ye 2017), and the
generator's averaged weights (Yazıcı et al. 2019).
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot, relu

from runner.noise import seed_global

Array = NDArray[Any]

LATENT, WIDTH = 32, 128
STEPS, BATCH = 2000, 32
LR, BETAS = 5e-4, (0.5, 0.99)
AVERAGED = 0.995
"""Decay of the average of the generator's weights."""
AT_A_TIME = 4096
"""Samples that are drawn at a time."""


@dataclass(frozen=True)
class Generator:
    """A generator that has been trained."""

    network: nn.Module
    classes: int
    lowest: float
    highest: float
    """Of the values that it was trained on, between which it draws."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    seconds: float
    """That its training took."""

    @torch.no_grad()
    def draw(self, y: NDArray[np.int64], seed: int) -> Array:
        """Return a sample of each class of ``[n]``, ``[n, *shape]`` in the type of the samples it was trained on."""
        found = np.empty((len(y), *self.shape), self.dtype)
        with one_thread():
            source = torch.Generator().manual_seed(seed)
            for first in range(0, len(y), AT_A_TIME):
                known = one_hot(torch.from_numpy(y[first : first + AT_A_TIME]), self.classes).float()
                drawn = self.network(torch.cat([torch.randn(len(known), LATENT, generator=source), known], 1))
                values = ((drawn + 1) / 2 * (self.highest - self.lowest) + self.lowest).numpy()
                values = values if self.dtype.kind == "f" else np.rint(values)
                found[first : first + AT_A_TIME] = values.reshape(-1, *self.shape)
        return found


class Critic(nn.Module):
    """Says how real a sample of a class looks: ``[n, values]`` and ``[n, classes]`` to ``[n]``."""

    def __init__(self, values: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*_hidden(values), *_hidden(WIDTH))
        self.whatever = nn.Linear(WIDTH, 1)
        self.of_class = nn.Linear(classes, WIDTH, bias=False)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """Return how real each sample looks, without bounds."""
        features: Tensor = self.features(x)
        found: Tensor = self.whatever(features).squeeze(1) + (features * self.of_class(known)).sum(1)
        return found


def trained(x: Array, y: NDArray[np.int64], classes: int, seed: int) -> Generator:
    """Train a generator for ``STEPS`` steps on samples ``[n, …]`` and their classes ``[n]``, and nothing else.

    On the CPU, in float32 and one thread, whatever the run does: the same samples and seed give the same generator.
    """
    began = time.perf_counter()
    lowest, highest = float(x.min()), float(x.max())
    scale = (highest - lowest) / 2 or 1.0
    flat, of_class = torch.from_numpy(x.reshape(len(x), -1)), torch.from_numpy(y)
    with one_thread(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        seed_global(seed)
        network, critic = _network(flat.shape[1], classes), Critic(flat.shape[1], classes)
        averaged = [p.detach().clone() for p in network.parameters()]
        adam = partial(torch.optim.Adam, betas=BETAS, fused=True)
        optimizers = adam(network.parameters(), LR), adam(critic.parameters(), 2 * LR)
        for _ in range(STEPS):
            index = torch.randint(len(flat), (BATCH,))
            real = (flat[index].float() - lowest) / scale - 1
            _step(network, critic, optimizers, real, one_hot(of_class[index], classes).float())
            torch._foreach_lerp_(averaged, [p.detach() for p in network.parameters()], 1 - AVERAGED)
        with torch.no_grad():
            for parameter, average in zip(network.parameters(), averaged, strict=True):
                parameter.copy_(average)
    return Generator(network, classes, lowest, highest, x.shape[1:], x.dtype, time.perf_counter() - began)


def _network(values: int, classes: int) -> nn.Module:
    return nn.Sequential(*_hidden(LATENT + classes), *_hidden(WIDTH), nn.Linear(WIDTH, values), nn.Tanh())


def _hidden(inputs: int) -> tuple[nn.Module, nn.Module]:
    return nn.Linear(inputs, WIDTH), nn.LeakyReLU(0.2)


def _step(
    network: nn.Module,
    critic: nn.Module,
    optimizers: tuple[torch.optim.Adam, torch.optim.Adam],
    real: Tensor,
    known: Tensor,
) -> None:
    """Let the critic tell real samples from drawn ones by a margin of 1, then the generator be taken for real."""
    of_network, of_critic = optimizers
    drawn = network(torch.cat([torch.randn(len(real), LATENT), known], 1))
    said = critic(torch.cat([real, drawn.detach()]), torch.cat([known, known]))
    of_real, of_drawn = said.chunk(2)
    of_critic.zero_grad()
    torch.autograd.backward(relu(1 - of_real).mean() + relu(1 + of_drawn).mean())
    of_critic.step()
    of_network.zero_grad()
    torch.autograd.backward(-critic(drawn, known).mean())
    of_network.step()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread in the block: sums are the same on any number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
