"""Steps along orthogonal matrices."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.optim import shared_tensors
from runner.optim.groups import all_of, pair
from runner.optim.shared_tensors import is_shared


class Muon(Optimizer):
    """torch's Muon on hidden matrices and AdamW on everything else, as one optimizer."""

    def __init__(self, matrices: torch.optim.Muon, rest: torch.optim.AdamW) -> None:
        self.pair = (matrices, rest)
        super().__init__([{"params": g["params"]} for o in self.pair for g in o.param_groups], {})
        self.param_groups = [group for optimizer in self.pair for group in optimizer.param_groups]

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """Both states."""
        return defaultdict(dict, {**self.pair[0].state, **self.pair[1].state})

    @state.setter
    def state(self, value: object) -> None:
        """Each of the two has its own."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step both."""
        for optimizer in self.pair:
            optimizer.step()  # type: ignore[no-untyped-call]

    def state_dict(self) -> dict[str, Any]:
        """Return both states."""
        return {"matrices": self.pair[0].state_dict(), "rest": self.pair[1].state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load both states."""
        for optimizer, name in zip(self.pair, ("matrices", "rest"), strict=True):
            optimizer.load_state_dict(saved[name])
        self.param_groups = [group for optimizer in self.pair for group in optimizer.param_groups]


def muon(
    parameters: ParameterGroups,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    ns_steps: int,
    weight_decay: float,
    adamw_lr: float,
    adamw_betas: list[float],
) -> Optimizer:
    """Hidden matrices: step lr·√max(1, rows/columns)·orthogonalized velocity; the rest: AdamW (Jordan et al. 2024).

    Hidden are the weights of linear layers but the last; kernels, embeddings, biases and norms go to AdamW, whose
    learning rate follows the same schedule.

    Raises:
        ValueError: if the model has no hidden matrix.
    """
    matrices: ParameterGroups = []
    rest: ParameterGroups = []
    for group in parameters:
        decay = weight_decay if group["decayed"] else 0.0
        for hidden, found in ((True, matrices), (False, rest)):
            chosen = [p for p, is_hidden in zip(group["params"], group["hidden"], strict=True) if is_hidden == hidden]
            if chosen:
                share = {key: group[key] for key in ("lr_share",) if key in group}
                found.append({"params": chosen, "decayed": group["decayed"], "weight_decay": decay, **share})
    if not matrices:
        raise ValueError("optim=muon needs a hidden linear layer, which this model lacks: use optim=adamw")
    for group in rest:
        group["lr_scale"] = adamw_lr / lr
    of_matrices = shared_tensors.Muon if any(is_shared(p) for p in all_of(matrices)) else torch.optim.Muon
    return uncompiled(Muon)(
        uncompiled(of_matrices)(matrices, lr, 0.0, momentum, nesterov, ns_steps=ns_steps),
        uncompiled(torch.optim.AdamW)(rest, adamw_lr, pair(adamw_betas)),
    )
