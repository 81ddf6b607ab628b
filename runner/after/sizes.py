"""Networks of another width, and how large they are."""

import torch
from torch import nn

from runner.after.dense import Dense
from runner.config.imports import bind
from runner.engine import checkpoint
from runner.run.components.network import network
from runner.run.load import vocabulary_of


def width_of_size(run: Dense, parameters: float) -> int | None:
    """Return the width at which a run's network has as many parameters, as nearly as can be; None without one width."""
    model = run.config["model"]
    if not isinstance(model.get("width"), int) or model.get("widths") or model.get("mup"):
        return None
    saved = checkpoint.load_weights(run.folder / "checkpoint.pt")
    step = model.get("heads", 1)

    def size(units: int) -> int:
        function, settings = bind({**model, "width": units * step}, run.allow)
        with torch.device("meta"):
            made = network(function, model, saved.get("alphabet"), vocabulary_of(saved))
            built: nn.Module = made(tuple(saved["shape"]), saved["outputs"], **settings)
        return sum(p.numel() for p in built.parameters())

    low, high = 1, max(1, model["width"] // step)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= parameters else (low, middle)
    nearest = min((low, high), key=lambda units: abs(size(units) - parameters))
    return int(nearest * step)
