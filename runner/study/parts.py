"""What studies need beside the ordinary options: data, losses and models of which the truth is known.

They are named like a user's own parts, by their import paths, and used like them.
"""

import math
import os

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runner.data.images import mnist
from runner.data.synthetic import mnist1d

Array = NDArray[np.float64]
Parts = tuple[NDArray[np.generic], ...]


def reddi(period: int, large: float, small: float) -> Parts:
    """Return one sample of ``large`` and ``period - 1`` of ``small``, the slopes of linear losses (Reddi 2018, §3)."""
    slopes = np.full((period, 1), small)
    slopes[0] = large
    return _three_times(slopes, np.zeros((period, 1)))


def directions(rows: int, columns: int, seed: int) -> Parts:
    """Return unit inputs and Gaussian targets, so that ``inner_product``'s gradient of a matrix is Gaussian."""
    targets = np.random.default_rng(seed).standard_normal((columns, rows))
    return _three_times(np.eye(columns), targets)


def double(features: int) -> Parts:
    """Return orthogonal inputs of mean square 1 and twice each as its target."""
    x = np.eye(features) * features**0.5
    return _three_times(x, 2.0 * x)


def one_input(features: int, outputs: int, seed: int) -> Parts:
    """Return the same Gaussian input again and again."""
    x = np.random.default_rng(seed).standard_normal(features)
    return _three_times(np.tile(x, (2, 1)), np.zeros((2, outputs)))


def separable(classes: int, size: float) -> Parts:
    """Return one input a class, all of them orthogonal: a linear model tells them apart as surely as it likes."""
    return _three_times(size * np.eye(classes), np.arange(classes))


def ill_conditioned(features: int = 20, condition: float = 1000.0, noise: float = 0.1) -> Parts:
    """Return a regression whose inputs' covariance has eigenvalues evenly spaced in the logarithm over ``condition``.

    Every eigenvector adds as much to the targets' variance, 1 in all without the noise; none is an axis.
    """
    rng = np.random.default_rng(0)
    turned, _ = np.linalg.qr(rng.standard_normal((features, features)))
    spread = np.geomspace(1.0, 1 / condition, features) ** 0.5
    parts: list[Array] = []
    for rows in (1000, 500, 500):
        z = rng.standard_normal((rows, features))
        y = z.sum(1, keepdims=True) / features**0.5 + noise * rng.standard_normal((rows, 1))
        parts += [(z * spread) @ turned.T, y]
    return tuple(parts)


def _three_times(x: Array, y: NDArray[np.generic]) -> Parts:
    """Return the same rows for training, validation and test: nothing is generalized here."""
    return x, y, x, y, x, y


def output_itself(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the mean output: a loss that is linear in a linear model's weights."""
    return outputs.mean()


def inner_product(outputs: Tensor, y: Tensor) -> Tensor:
    """Return the sum of outputs times targets."""
    return (outputs * y).sum()


def thousandfold(outputs: Tensor, y: Tensor) -> Tensor:
    """Return a thousand times the cross-entropy."""
    return 1000.0 * nn.functional.cross_entropy(outputs, y)


class UncorrectedAdam(torch.optim.Optimizer):
    """Adam without its bias correction: step lr·m/(√v + eps)."""

    def __init__(self, parameters: list[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            first, second = group["betas"]
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["m"], state["v"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
                state["m"].lerp_(parameter.grad, 1 - first)
                state["v"].lerp_(parameter.grad.square(), 1 - second)
                parameter.addcdiv_(state["m"], state["v"].sqrt() + group["eps"], value=-group["lr"])


class NarrowNets(nn.Module):
    """Many narrow ReLU networks side by side, one output each; ``x`` is ``[n, width]``, the result ``[n, outputs]``."""

    def __init__(self, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.width, self.copies = width, outputs
        units = outputs * width
        self.hidden = nn.ModuleList(nn.Conv1d(units, units, 1, groups=outputs) for _ in range(depth))
        self.readout = nn.Conv1d(units, outputs, 1, groups=outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return every network's output."""
        x = x.repeat(1, self.copies).unsqueeze(2)
        for layer in self.hidden:
            x = torch.relu(layer(x))
        return self.readout(x).squeeze(2)  # type: ignore[no-any-return]


def slopes(rows: int, weights: int, seed: int) -> Parts:
    """Return Gaussian inputs: under ``output_itself`` each row is a step's gradient, whatever the weights are."""
    return _three_times(np.random.default_rng(seed).standard_normal((rows, weights)), np.zeros((rows, 1)))


def margin() -> Parts:
    """Return three points of two classes, told apart through the origin with most margin by the direction (1, 0).

    Signed by their class they are (1, 3) and (1, −1), which support the margin, and (2, 2), which does not.
    """
    x = np.array([[1.0, 3.0], [-1.0, 1.0], [2.0, 2.0]])
    return _three_times(x, np.array([1, 0, 1]))


def noisy_linear(samples: int, features: int, noise: float, seed: int) -> Parts:
    """Return Gaussian inputs and a noisy linear target of variance 1 + noise²; 1,000 more samples judge."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples + 1000, features))
    y = x @ rng.standard_normal((features, 1)) / features**0.5
    noisy = y[:samples] + noise * rng.standard_normal((samples, 1))
    return x[:samples], noisy, x[samples:], y[samples:], x[samples:], y[samples:]


class ScaleFree(nn.Module):
    """A linear classifier of which each class's weights count by their direction alone; ``x`` is ``[n, …]``."""

    TEMPERATURE = 4.0

    def __init__(self, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.readout = nn.Linear(math.prod(shape), outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        direction = nn.functional.normalize(self.readout.weight, dim=1)
        logits: Tensor = nn.functional.linear(x.flatten(1), direction)
        scaled: Tensor = logits * (self.TEMPERATURE / x[0].numel() ** 0.5)
        return scaled


class RandomFeatures(nn.Module):
    """A readout of random ReLU features that are not trained; ``x`` is ``[n, inputs]``."""

    directions: Tensor

    def __init__(self, shape: tuple[int, ...], outputs: int, width: int) -> None:
        super().__init__()
        inputs = math.prod(shape)
        self.register_buffer("directions", torch.randn(width, inputs, dtype=torch.float64) / inputs**0.5)
        self.readout = nn.Linear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the predicted numbers."""
        features = torch.relu(x.flatten(1) @ self.directions.to(x.dtype).T) * (2 / len(self.directions)) ** 0.5
        return self.readout(features)  # type: ignore[no-any-return]


def shuffled_mnist1d() -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return MNIST-1D with its 40 points in one other order for all samples, as ``[n, 1, 40]``."""
    drawn = mnist1d(samples=5000, sample_seed=42, test_fraction=0.2).samples
    order = np.random.default_rng(0).permutation(drawn.x.shape[-1])
    return drawn.x[..., order], drawn.y


def mnist_classes(first: int, last: int) -> Parts:
    """Return MNIST's images of the digits ``first`` to ``last``, as ``[n, 1, 28, 28]``, for training and test.

    Raises:
        ConfigError: if MNIST is not where ``data=mnist`` looks for it.
    """
    source = mnist(root=os.environ.get("OPTBENCH_DATA", "~/.cache/optbench"), download=False)
    assert source.test is not None, "MNIST has one"
    found: list[NDArray[np.generic]] = []
    for part in (source.samples, source.test):
        chosen = np.isin(part.y, range(first, last + 1))
        found += [np.asarray(part.x)[chosen], np.asarray(part.y)[chosen]]
    return tuple(found)


def modular_addition(modulus: int, seed: int) -> Parts:
    """Return half of all pairs (a, b), one-hot each, with (a + b) mod ``modulus``; the other half judges."""
    a, b = np.divmod(np.arange(modulus**2), modulus)
    x = np.concatenate([np.eye(modulus)[a], np.eye(modulus)[b]], axis=1)
    order = np.random.default_rng(seed).permutation(modulus**2)
    train, rest = np.split(order, [modulus**2 // 2])
    y = (a + b) % modulus
    return x[train], y[train], x[rest], y[rest], x[rest], y[rest]


class Strides(nn.Module):
    """Three convolutions of 25 channels and stride 2 and a linear readout; ``x`` is ``[n, 1, 40]``."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, 25, size, stride=2, padding=1) for channels, size in ((1, 5), (25, 3), (25, 3))
        )
        self.readout = nn.Linear(125, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        for convolution in self.convolutions:
            x = torch.relu(convolution(x))
        return self.readout(x.flatten(1))  # type: ignore[no-any-return]


class BothWays(nn.Module):
    """A gated recurrent layer of 6 units in each direction, all its outputs read; ``x`` is ``[n, 1, length]``."""

    def __init__(self, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.GRU(1, 6, batch_first=True, bidirectional=True)
        self.readout = nn.Linear(12 * shape[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.readout(self.layer(x.transpose(1, 2))[0].flatten(1))  # type: ignore[no-any-return]
