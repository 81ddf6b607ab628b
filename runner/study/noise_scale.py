"""The gradient noise scale of a trained run from every training sample's own gradient."""

from pathlib import Path

import torch
from torch import Tensor

from runner.metrics import value
from runner.run.build import build
from runner.study.study import job_of, weights_of

SAMPLES_AT_A_TIME = 256


def of_each_sample(place: Path) -> float:
    """Return tr(Σ)/|G|² at the weights that a run ended with, of what its training set was drawn from.

    Of n samples, tr(Σ) is the sum of the unbiased variances and |G|² their mean's square less tr(Σ)/n.
    """
    run = build(job_of(place))
    model = run.construct()
    model.load_state_dict(weights_of(place))
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return value(run.loss, torch.func.functional_call(model, weights, (x[None],)), y[None], x[None])

    of_each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    n = len(run.train.y)
    squares = 0.0
    total = torch.zeros(sum(w.numel() for w in weights.values()), dtype=torch.float64)
    for x, y in zip(*(torch.split(part, SAMPLES_AT_A_TIME) for part in (run.train.x, run.train.y)), strict=True):
        gradients = torch.cat([g.flatten(1) for g in of_each(weights, x, y).values()], 1)
        squares += gradients.square().sum(1).double().sum().item()
        total += gradients.double().sum(0).cpu()
    of_mean = (total / n).square().sum().item()
    noise = (squares - n * of_mean) / (n - 1)
    return noise / (of_mean - noise / n)
