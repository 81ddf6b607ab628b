"""What studies need beside the ordinary options: data, losses and models of which the truth is known.

They are named like a user's own parts, by their import paths, and used like them.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
        return self.TEMPERATURE * nn.functional.linear(x.flatten(1), direction) / x[0].numel() ** 0.5


class RandomFeatures(nn.Module):
    """A readout of random ReLU features that are not trained; ``x`` is ``[n, inputs]``."""

    def __init__(self, shape: tuple[int, ...], outputs: int, width: int) -> None:
        super().__init__()
        inputs = math.prod(shape)
        self.register_buffer("directions", torch.randn(width, inputs, dtype=torch.float64) / inputs**0.5)
        self.readout = nn.Linear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the predicted numbers."""
        features = torch.relu(x.flatten(1) @ self.directions.to(x.dtype).T) * (2 / len(self.directions)) ** 0.5
        return self.readout(features)  # type: ignore[no-any-return]
