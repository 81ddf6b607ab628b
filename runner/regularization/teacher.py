"""A trained run whose predictions are targets too."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from runner.engine.hooks import AtStep, FromRun


@dataclass
class Teacher(FromRun):
    """The run, the temperature at which logits are compared, and the share of the loss that is the comparison's."""

    run: str
    temperature: float
    share: float
    taught: Callable[[Tensor], Tensor] | None = None
    """Returns the teacher's logits of inputs."""
    place: ClassVar[int] = 1
    """After what changes the loss against the targets."""

    @property
    def alone(self) -> str:
        """Why a stack has none."""
        return "adversarial and distillation look at one run's inputs and outputs at a time"

    def given(self, model: Callable[[Tensor], Tensor]) -> "Teacher":
        """Return it with the run's model."""
        return Teacher(self.run, self.temperature, self.share, model)

    def output_loss(self, at: AtStep, loss: Tensor, outputs: Tensor, x: Tensor) -> Tensor:
        """Return the loss with the lesson's share."""
        assert self.taught is not None, "it was given the run's model"
        return (1 - self.share) * loss + self.share * self.lesson(outputs, self.taught(x))

    def lesson(self, outputs: Tensor, taught: Tensor) -> Tensor:
        """Return temperature² · KL(teacher ‖ student) of logits ``[n, classes]``, the mean over samples."""
        student = (outputs / self.temperature).log_softmax(-1).flatten(0, -2)
        teacher = (taught / self.temperature).log_softmax(-1).flatten(0, -2)
        divergence = torch.nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return self.temperature**2 * divergence


def distillation(*, run: str, temperature: float, share: float) -> FromRun:
    """(1 - share)·loss + share·T²·KL(teacher ‖ student) at temperature T (Hinton et al. 2015, §2)."""
    return Teacher(run, temperature, share)
