"""A training loop written by hand: a small network, an optimizer of the group ``optim``, a checkpoint every epoch."""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from runner.data import Samples


def train(config: dict[str, Any], seed: int, run: Any) -> None:
    """Train on classes; weights and order are functions of the seed and the epoch, so that nothing else is to keep."""
    settings, data = config["task"], run.data
    train, val, test = (tensors(part) for part in (data.train, data.val, data.test))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Linear(train[0].shape[1], settings["width"]), nn.ReLU(), nn.Linear(settings["width"], data.outputs)
        )
    optimizer, first = run.optimizer(model), 1
    if (state := run.resume()) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
    for epoch in range(first, config["epochs"] + 1):
        order = torch.randperm(len(train[0]), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
        for index in order.split(settings["batch"]):
            optimizer.zero_grad()
            cross_entropy(model(train[0][index]), train[1][index]).backward()
            optimizer.step()
        run.row(step=epoch, **measured(model, val, "val"))
        run.checkpoint({"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()})
    torch.save(model.state_dict(), run.folder / "model.pt")
    run.finish(**measured(model, test, "test"))


def tensors(samples: Samples) -> tuple[torch.Tensor, torch.Tensor]:
    """Return inputs ``[n, features]`` and class indices ``[n]``."""
    return torch.from_numpy(samples.x).flatten(1), torch.from_numpy(samples.y)


@torch.no_grad()
def measured(model: nn.Module, part: tuple[torch.Tensor, torch.Tensor], name: str) -> dict[str, float]:
    """Return loss and accuracy by the names of a part."""
    outputs = model(part[0])
    accuracy = (outputs.argmax(1) == part[1]).double().mean()
    return {f"{name}_loss": cross_entropy(outputs, part[1]).item(), f"{name}_accuracy": accuracy.item()}
