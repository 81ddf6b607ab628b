"""A trained run whose predictions are targets too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from runner.engine.hooks import AtStep, FromRun, Hook, along
from runner.metrics import precise


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

    def given(self, model: Callable[[Tensor], Tensor]) -> "Teacher":
        """Return it with the run's model."""
        return Teacher(self.run, self.temperature, self.share, model)

    def output_loss(self, at: AtStep, loss: Tensor, outputs: Tensor, x: Tensor) -> Tensor:
        """Return the loss with the lesson's share."""
        assert self.taught is not None, "it was given the run's model"
        return (1 - self.share) * loss + self.share * self.lesson(outputs, self.taught(x))

    def lesson(self, outputs: Tensor, taught: Tensor) -> Tensor:
        """Return temperature² · KL(teacher ‖ student) of logits ``[n, classes]``, the mean over samples."""
        student = (precise(outputs) / self.temperature).log_softmax(-1).flatten(0, -2)
        teacher = (precise(taught) / self.temperature).log_softmax(-1).flatten(0, -2)
        divergence = torch.nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
        return self.temperature**2 * divergence

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: Tensor) -> Hook:
        """Return the teacher of all members: it is the same, temperatures and shares may differ."""
        there = [member for member in members if member]
        assert len(there) == len(members) and len({member.run for member in there}) == 1, "they have one teacher"
        assert there[0].taught is not None, "it was given the run's model"
        temperatures, shares = (like.new_tensor([getattr(m, k) for m in there]) for k in ("temperature", "share"))
        return Teachers(there[0].taught, temperatures, shares)


@dataclass
class Teachers(Hook):
    """One teacher of all members, at each run's temperature and for its share ``[runs]``."""

    taught: Callable[[Tensor], Tensor]
    temperature: Tensor
    share: Tensor
    place: ClassVar[int] = Teacher.place

    def output_loss(self, at: AtStep, loss: Tensor, outputs: Tensor, x: Tensor) -> Tensor:
        """Return the losses ``[runs]`` with the lesson's share."""
        shared = x.ndim == at.inputs.ndim
        taught = self.taught(x) if shared else self._taught_each(x)
        return (1 - self.share) * loss + self.share * self._lessons(outputs, taught)

    def _lessons(self, outputs: Tensor, taught: Tensor) -> Tensor:
        """Return each run's lesson of logits ``[runs, n, classes]``; ``taught`` may be the same for all."""
        temperature = along(self.temperature, outputs)
        student, teacher = ((precise(logits) / temperature).log_softmax(-1) for logits in (outputs, taught))
        divergence = (teacher.exp() * (teacher - student)).flatten(1).sum(1) / outputs[0, ..., 0].numel()
        return self.temperature**2 * divergence

    def _taught_each(self, x: Tensor) -> Tensor:
        taught = self.taught(x.flatten(0, 1))
        return taught.view(*x.shape[:2], *taught.shape[1:])


def distillation(*, run: str, temperature: float, share: float) -> FromRun:
    """(1 - share)·loss + share·T²·KL(teacher ‖ student) at temperature T (Hinton et al. 2015, §2)."""
    return Teacher(run, temperature, share)
