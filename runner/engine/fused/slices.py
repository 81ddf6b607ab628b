"""Members of a stack that share an optimizer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.hooks import along
from runner.engine.optimizers import bare_step
from runner.engine.run import Run


@dataclass
class Slice:
    """Members from ``start`` to ``stop`` that one optimizer steps, each by its own learning rate."""

    start: int
    stop: int
    names: list[str]
    views: list[Tensor]
    scales: list[float]
    """Of the rate, of each weight."""
    whole: bool
    """They are all members: the views are the stack's own weights, which backward gives their gradients."""
    optimizer: Optimizer
    before: list[Tensor] = field(default_factory=list)
    now: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find what steps the optimizer."""
        self._step = bare_step(self.optimizer)

    def step(self, gradients: Mapping[str, Tensor], lr: Tensor) -> None:
        """Step with a rate of 1, then go each run's ``lr`` (``[runs]``) of the way."""
        if not self.whole:
            for name, view in zip(self.names, self.views, strict=True):
                view.grad = gradients[name][self.start : self.stop]
        if not self.before:
            self.before = [torch.empty_like(view) for view in self.views]
            self.now = [view.detach() for view in self.views]
        torch._foreach_copy_(self.before, self.now)
        for group in self.optimizer.param_groups:
            group["lr"] = 1.0
        self._step()
        share = lr[self.start : self.stop]
        for before, now, scale in zip(self.before, self.now, self.scales, strict=True):
            torch.lerp(before, now, along(share if scale == 1 else scale * share, now), out=now)


def optimizer_key(run: Run) -> str | None:
    """Return what runs must have in common to share an optimizer; None of one that each run has for itself."""
    return settings(run) if run.optim.linear_in_lr else None


def settings(run: Run) -> str:
    """Return the optimizer and all of its settings but those that each member has for itself."""
    own, optimizer = ("lr", run.optim.own_decay) if own_decay(run) else ("lr",), run.optim.optimizer
    return f"{optimizer.func} {sorted((k, str(v)) for k, v in optimizer.keywords.items() if k not in own)}"


def own_decay(run: Run) -> float:
    """Return the decay that a shared optimizer leaves to each run, which multiplies the weights by 1 - lr·rate."""
    own = run.optim.own_decay if run.optim.linear_in_lr else None
    return float(run.optim.optimizer.keywords[own]) if own else 0.0


def in_order(runs: Sequence[Run]) -> list[int]:
    """Return the places of runs so ordered that those whose optimizers may be shared are neighbours."""
    return sorted(range(len(runs)), key=lambda i: settings(runs[i]))


def merged(optimizer: Optimizer) -> Optimizer:
    """Join parameter groups of the same settings: a step costs each group a call."""
    marks = ("params", "decayed", "hidden", "lr_scale")
    found: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        settings = {k: v for k, v in group.items() if k not in marks}
        if found and settings == {k: v for k, v in found[-1].items() if k not in marks}:
            found[-1]["params"] = [*found[-1]["params"], *group["params"]]
        else:
            found.append(group)
    optimizer.param_groups = found
    return optimizer


def held_by(slices: Sequence[Mapping[str, Any]], members: Sequence[int]) -> list[dict[str, Any]]:
    """Return what slices hold of some members alone; a slice without any is left out."""
    found = []
    for part in slices:
        places = torch.tensor([i - part["start"] for i in members if part["start"] <= i < part["stop"]])
        size, content = part["stop"] - part["start"], part["optimizer"]
        if len(places):
            state = {
                number: {
                    k: v[places.to(v.device)] if isinstance(v, Tensor) and v.ndim and len(v) == size else v
                    for k, v in of_one.items()
                }
                for number, of_one in content["state"].items()
            }
            found.append({"optimizer": {**content, "state": state}})
    return found
