"""A user's own parts, as a user would write them."""

import os
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from runner.augment import Change


class Net(nn.Module):
    """Takes shape and outputs because it names them."""

    def __init__(self, shape: tuple[int, ...], outputs: int, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.ReLU(), nn.Linear(width, outputs))
        self.layers(torch.zeros(1, *shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Bare(nn.Module):
    """Has no linear or convolution layer."""

    def __init__(self, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(int(np.prod(shape)), outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.w


class Normed(Net):
    """Batch normalization and PyTorch's own dropout."""

    def __init__(self, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__(shape, outputs)
        self.layers.insert(2, nn.BatchNorm1d(16))
        self.layers.insert(3, nn.Dropout(0.5))


class Squeezed(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[:, 0]


class Dropping(Net):
    def forward(self, x: Tensor, drop=lambda h, place: h) -> Tensor:
        return self.layers[3](drop(self.layers[2](self.layers[1](self.layers[0](x))), 0))


def pictures(samples: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (samples, 3, 8, 8), dtype=np.uint8), np.arange(samples) % 3


def load(samples: int = 300, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, samples)
    return rng.standard_normal((samples, 4)) + 3 * np.eye(4)[y], y


def tested(other: bool) -> tuple[np.ndarray, ...]:
    """Noisy classes, with a test set; the other one has its labels shuffled and its inputs moved."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = rng.standard_normal((300, 4)) + np.eye(4)[y]
    test_x, test_y = (x[200:] + 9, rng.permutation(y[200:])) if other else (x[200:], y[200:])
    return x[:200], y[:200], test_x, test_y


def wholes(features: int = 8, outputs: int = 8) -> tuple[np.ndarray, ...]:
    """Small whole numbers, the same for training, validation and test."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(-1, 2, (64, features)), rng.integers(-2, 3, (64, outputs))
    return (x.astype(float), y.astype(float)) * 3


def halves(weight: Tensor, generator: torch.Generator) -> None:
    """Fill with -1/2, 0 and 1/2."""
    weight.copy_(torch.randint(-1, 2, weight.shape, generator=generator) / 2)


def not_finite(at: str) -> tuple[np.ndarray, np.ndarray]:
    x, _ = load()
    y = x.sum(1)
    if at == "near":
        x[:, 2] *= 1e-60
    else:
        target, value = {"x": (x, np.nan), "y": (y, np.inf), "large": (x, 1e100), "large_y": (y, 1e300)}[at]
        target[(7, 2) if target is x else 7] = value
    return x, y


def leave() -> None:
    sys.exit(3)


class Leaving(torch.optim.SGD):
    """Ends the process where it should step."""

    def step(self, closure=None):
        sys.exit(3)


class Pairs(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> tuple[Tensor, float]:
        return torch.full((3,), float(index)), 2.0 * index


def fill(weight: Tensor, scale: float = 0.1) -> None:
    nn.init.normal_(weight, std=scale)


def fill_with(weight: Tensor, generator: torch.Generator, *, scale: float) -> None:
    nn.init.normal_(weight, std=scale, generator=generator)


class Steps(torch.optim.SGD):
    """An optimizer under another name."""


class Fragile(torch.optim.SGD):
    """Raises at lr 7, is killed at 8, and runs out of memory at 9."""

    def step(self, closure=None):
        lr = self.param_groups[0]["lr"]
        if lr == 7:
            raise RuntimeError("planted")
        if lr == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        if lr == 9:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, resource.getrlimit(resource.RLIMIT_AS)[1]))
            try:
                bytearray(2**29)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return super().step(closure)


def record_once(config: dict, seed: int, run) -> None:
    """A training function: one row."""
    run.row(step=1, val_accuracy=1 / (2 + seed))


def weighted(outputs: Tensor, y: Tensor) -> Tensor:
    return 2 * nn.functional.cross_entropy(outputs, y)


def top2(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs.topk(2).indices == y[:, None]).any(1).double().mean()


def seconds(outputs: Tensor, y: Tensor) -> float:
    return 7.0


def error_rate(outputs: Tensor, y: Tensor) -> float:
    return 1 - (outputs.argmax(1) == y).float().mean().item()


def darker(*, by: float) -> Change:
    return Change(lambda x, draws, pixels: x / by, images=False)


def nothing(*given: object, **settings: object) -> str:
    return "no part"


def not_a_module() -> int:
    return 3


aliased = os.system


class Strided(nn.Module):
    """The convolutional network published with MNIST-1D: 25 channels, kernels of 5, 3, 3, strides of 2."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 25, 5, stride=2, padding=1)
        self.rest = nn.ModuleList(nn.Conv1d(25, 25, 3, stride=2, padding=1) for _ in range(2))
        self.readout = nn.Linear(125, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = self.first(x).relu()
        for layer in self.rest:
            x = layer(x).relu()
        return self.readout(x.flatten(1))


def signs(parameters: list, *, lr: float, sharpness: float, steps: int, kind: str) -> torch.optim.Optimizer:
    """An optimizer with settings of its own, as a user's YAML names it."""
    assert sharpness > 1
    assert steps >= 1
    assert kind in ("hard", "soft")
    return torch.optim.SGD(parameters, lr)


class Counting(nn.Module):
    """Looks at its own numbers, which no batching rule allows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1)) * (2.0 if self.layer.weight.sum() > 0 else 1.0)


def by_brightness(outputs: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """The cross-entropy, each sample weighted by its inputs."""
    assert len(outputs) == len(y) == len(x)
    weights = 1 + x.reshape(len(x), -1).to(outputs.dtype).abs().mean(1)
    return (weights * nn.functional.cross_entropy(outputs, y, reduction="none")).mean()


class ByBrightness(nn.Module):
    """The same as a module."""

    def forward(self, outputs: Tensor, y: Tensor, x: Tensor) -> Tensor:
        return by_brightness(outputs, y, x)


def drawn(seed: int, samples: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Data that follow the seed."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, 4))
    return x, (x[:, 0] > 0).astype(int)


class Flat(nn.Module):
    """Takes no drop."""

    def __init__(self, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(int(np.prod(shape)), outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))


def each(outputs: Tensor, y: Tensor) -> Tensor:
    """A loss of each sample."""
    return nn.functional.cross_entropy(outputs, y, reduction="none")


def largest(outputs: Tensor, y: Tensor) -> Tensor:
    """No mean over samples."""
    return each(outputs, y).max()


def of_three(outputs: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return outputs.sum()


def other_weights(weight: Tensor) -> Tensor:
    return torch.randn_like(weight)


class Unfit(Flat):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def gives(what: str) -> tuple:
    """Invalid data of one kind."""
    x, y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    kinds = {
        "texts": ([["a"]] * 4, y),
        "flat": (x[:, 0], y),
        "uneven": (x, y[:3]),
        "ragged": ([[1.0], [1.0, 2.0]] * 2, y),
        "number": (x, 3),
        "wider_test": (x, y, np.zeros((4, 3)), y),
    }
    return kinds[what]


def other_each_time() -> tuple[np.ndarray, np.ndarray]:
    return np.random.standard_normal((20, 2)), np.arange(20) % 2  # as many write it
