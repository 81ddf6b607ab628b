"""What is known of a job's options beyond what they compute."""

from dataclasses import dataclass

import torch
from torch.optim import Optimizer

from runner.run.job import Job

LINEAR_IN_LR = (
    *(torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax),
    *(torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.RMSprop),
)
OWN_DECAY = {"runner.optim.adamw": "weight_decay"}
VARIANCE = {
    **dict.fromkeys(("runner.init.xavier_uniform", "runner.init.xavier_normal"), "fan_sum"),
    "runner.init.orthogonal": "fan_max",
    **{f"runner.init.{name}": "given" for name in ("zeros", "constant", "normal", "uniform", "trunc_normal")},
}


@dataclass(frozen=True)
class Facts:
    """Of a job's optimizer and initializer."""

    linear_in_lr: tuple[type[Optimizer], ...]
    """Optimizers whose step is the learning rate times something that does not depend on it."""
    own_decay: str | None
    """See ``runner.engine.run.Run``."""
    variance: str
    """One of ``runner.mup.VARIANCES``."""


def facts_of(job: Job) -> Facts:
    """Return the facts of a job's options; of an initializer that states none, the variance is one over fan_in."""
    optim, init = job.config["optim"]["_target_"], job.config["init"]["_target_"]
    return Facts(LINEAR_IN_LR, OWN_DECAY.get(optim), VARIANCE.get(init, "fan_in"))
