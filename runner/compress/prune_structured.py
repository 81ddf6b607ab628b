"""Whole units and channels cut out, so that layers are smaller."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from runner.engine.hooks import Going, Hook
from runner.errors import ConfigError
from runner.init import filled_modules


@dataclass
class Structured(Hook):
    """The share of each layer's units that is cut out before the run trains."""

    share: float
    place: ClassVar[int] = -2
    """Before weights take another form."""
    removed: int = 0
    """Numbers that went with them."""
    _removed: list[int] = field(default_factory=list, repr=False)

    def parametrize(self, model: nn.Module, x: Tensor) -> None:
        """Cut the units of least norm out of a model that has its weights; of one that has none yet, as many."""
        device = next(model.parameters()).device
        before = sum(p.numel() for p in model.parameters())
        if device.type == "meta":  # its weights come later: the sizes alone count
            model.to_empty(device="cpu")
            for tensor in model.state_dict().values():
                tensor.fill_(1)
        with torch.device("cpu"):
            cut_out(model, torch.zeros(x.shape, dtype=x.dtype), self.share)
        if device.type == "meta":
            model.to("meta")
        self._removed.append(before - sum(p.numel() for p in model.parameters()))

    def begin(self, at: Going) -> "Structured":
        """Take note of what was cut out."""
        return Structured(self.share, self._removed[-1] if self._removed else 0)

    def summary(self) -> dict[str, Any]:
        """Return how many numbers were cut out."""
        return {"removed_parameters": self.removed}


def cut_out(model: nn.Module, x: Tensor, share: float) -> None:
    """Remove a share of every hidden layer's units, those of least norm over all that depends on them.

    Args:
        model: its weights are read; its last layer keeps its outputs.
        x: an input ``[1, …]``.
        share: of each layer's units.

    Raises:
        ConfigError: if torch-pruning is not installed, or cannot follow the model.
    """
    try:
        import torch_pruning
    except ImportError as error:
        raise ConfigError("compress=prune_structured needs torch-pruning: pip install 'optbench[compress]'") from error
    layers = filled_modules(model)
    before, training = sum(p.numel() for p in model.parameters()), model.training
    model.eval()
    try:
        importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
        with torch.enable_grad():
            pruner = torch_pruning.pruner.BasePruner(
                model, x, importance, pruning_ratio=share, ignored_layers=[layers[-1][1]]
            )
            pruner.step()
        with torch.no_grad():
            outputs = model(x)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        said = f"compress=prune_structured: torch-pruning cannot follow {type(model).__name__}"
        raise ConfigError(f"{said}: {type(error).__name__}: {reason}") from error
    model.train(training)
    model.zero_grad()
    if sum(p.numel() for p in model.parameters()) >= before or not torch.isfinite(outputs).all():
        raise ConfigError(
            f"compress=prune_structured removes nothing of {type(model).__name__}: it has no hidden layer, or "
            f"compress.prune_structured.share={share:g} is less than one unit of each"
        )


def prune_structured(*, share: float) -> Hook:
    """Cut out units and channels by their dependency graph (Fang et al. 2023), those of least norm (Li et al. 2017)."""
    return Structured(share)
