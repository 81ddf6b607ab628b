"""The events of a run, on which hooks act. Never imports torch.

A run's hooks come from its options: each is one mechanism, with its own settings, state and stacked form. It overrides
the events that it acts on, and is called there; an event of no hook costs nothing. In the order of a step:

==================  ===================================================================================
``batch_size``      the samples of the next batch are counted
``learning_rate``   the schedule has given the learning rate
``limit``           a step is about to be made: is it the run's last?
``planned_step``    the schedule asks how far the run is
``before_step``     a batch is drawn: its samples and targets
``drop``            the model is called: its hidden units (of a stack, ``dropping``)
``output_loss``     the loss of the model's outputs is known
``input_loss``      the same, where the inputs may be changed and evaluated again
``penalty``         what the weights themselves cost is added
``part_size``       the batch may be taken apart
``after_part``      the gradient of a part is added
``after_backward``  the gradient is whole
``before_update``   the optimizer is about to step
``after_update``    it has
``after_step``      the step is counted
``evaluating``      weights are judged, not stepped
``judged``          an evaluation is done: is the run over?
``columns``         its row is written
``layers``          its layers' rows are written
``ended``           the run is over
``restored``        the best weights were put in the place of the last
``summary``         its summary is written
==================  ===================================================================================

The reference engine calls them. In a stack of the fused engine the events of a step go to hooks of all members
together (``Hook.stacked``), the others to each member's own.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, cast

from runner.engine.model import Drop
from runner.engine.rules import Target
from runner.engine.targets import Targets

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


class AtStep(Protocol):
    """Where a run is in its steps, or a stack of runs: there, tensors begin with an axis of the runs."""

    step: int
    """Steps made."""
    skipped: bool
    """The loss scaler skipped the last step: nothing has moved."""

    @property
    def model(self) -> "nn.Module":
        """The model; in a stack one of its kind, of which the tensors are not to be read."""

    @property
    def inputs(self) -> "Tensor":
        """The training samples ``[n, …]``."""

    @property
    def steps(self) -> int:
        """Length of the run."""

    @property
    def tensors(self) -> "MutableMapping[str, Tensor]":
        """Every parameter and buffer by its name; a stack judges those that are put in their place."""

    @property
    def weights(self) -> Mapping[str, "Tensor"]:
        """Every parameter by its name."""

    @property
    def decayed(self) -> Sequence["Tensor"]:
        """The parameters that weight decay and penalties reach."""

    @property
    def trained(self) -> Sequence["Tensor"]:
        """The parameters that are stepped, their gradients in ``grad``."""

    @property
    def key(self) -> "Tensor":
        """The key of the present step's noise, ``[2]``; in a stack ``[runs, 2]``."""

    def outputs(self, x: "Tensor") -> "Tensor":
        """Return the model's outputs for samples ``[n, …]``; in a stack ``[runs, n, …]``, outside of autograd."""


class Going(AtStep, Protocol):
    """A run on its way."""

    epoch: int
    offset: int
    rows: int
    train_seconds: float
    steps_to_target: int | None

    @property
    def target(self) -> Target | None:
        """What counts as reached."""

    def evaluating(self) -> AbstractContextManager[None]:
        """Put the model into evaluation mode for a block, with the weights that are judged."""

    def scaled(self, loss: "Tensor") -> "Tensor":
        """Return a loss at the loss scaler's scale, where there is one: no slope of it is too small for its type."""

    def restore_best(self) -> None:
        """Put the weights of the best evaluation, where there are any, in the place of the last ones."""


@dataclass(frozen=True)
class Judged:
    """An evaluation, as it is judged."""

    train_loss: float
    val: Mapping[str, float]
    """Empty where there is no validation set."""
    grad_norm: float | None
    """Of the step before it."""


@dataclass(frozen=True)
class Tried:
    """What a run was built of, tried out before it starts."""

    model: "nn.Module"
    optimizer: "Optimizer"
    loss: str
    """Its name."""
    classes: int | None
    steps: int
    """Length of the run."""


@dataclass(frozen=True)
class Dropping:
    """How the members of a stack drop hidden units in one step: ``of`` a member's own tensors."""

    of: Callable[..., Drop]
    own: tuple["Tensor", ...]
    """Each ``[runs, …]``."""


class Hook:
    """What acts on a run; each event does nothing unless it is overridden.

    A hook as an option's function returns it is a prototype: ``begin`` gives the one that acts on a run.
    """

    place: ClassVar[int] = 0
    """Hooks act in the order of their places, those of one place in that of their names."""
    draws: ClassVar[bool] = False
    """It reads ``AtStep.key``."""
    replayed: ClassVar[bool] = True
    """What it does in a step of a stack depends on tensors alone, so that a CUDA graph may replay it."""
    state: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes that change in training: tensors, plain values, dictionaries and lists of them."""

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the best evaluation are kept for it."""
        return False

    def check(self, tried: Tried) -> None:
        """Refuse a run that it does not fit.

        Raises:
            ConfigError: naming the setting.
        """

    def parametrize(self, model: "nn.Module", x: "Tensor") -> None:
        """Change the form in which a model, which has its initial weights, is trained.

        A model that is loaded gets its weights afterwards, and may lie on the meta device. What is drawn here from
        the global generator is a function of the run's seed.

        Args:
            model: it.
            x: one input of zeros ``[1, …]``.
        """

    def rate_shares(self, model: "nn.Module") -> Mapping[str, float]:
        """Return by the name of each parameter the share of the learning rate that is its own; none has all of it."""
        return {}

    def begin(self, at: Going) -> Self:
        """Return what acts on a run from here on: a copy, whose ``state`` is the first."""
        return copy.copy(self)

    def batch_size(self, at: Going, size: int) -> int:
        """Return how many samples the next step takes."""
        return size

    def learning_rate(self, lr: float) -> float:
        """Return the learning rate of the next step."""
        return lr

    def limit(self, steps: int, seconds: float) -> str | None:
        """Return why a run ends that has made so many steps in so many seconds of training, or None."""
        return None

    def planned_step(self, step: int, epoch: int, offset: int) -> int:
        """Return the step at which the run would be had its batches kept their first size: schedules go by it."""
        return step

    def before_step(self, at: AtStep, x: "Tensor", y: "Targets") -> "tuple[Tensor, Targets]":
        """Return a batch's samples and targets changed; those given stay as they are.

        In a stack both are ``[n, …]`` where all runs see the same samples, else ``[runs, n, …]``.
        """
        return x, y

    def drop(self, at: AtStep, first: int, samples: int) -> Drop | None:
        """Return what drops hidden units of ``samples`` of a batch from its ``first`` on, or None."""
        return None

    def dropping(self, at: AtStep, first: int, samples: int) -> Dropping | None:
        """Return the same of the members of a stack."""
        return None

    def output_loss(self, at: AtStep, loss: "Tensor", outputs: "Tensor", x: "Tensor") -> "Tensor":
        """Return the loss, of which ``outputs`` and the inputs ``x`` are known."""
        return loss

    def input_loss(
        self, at: AtStep, loss: "Tensor", of: "Callable[[Tensor], Tensor]", x: "Tensor", first: int
    ) -> "Tensor":
        """Return the loss; ``of`` gives it for other inputs than ``x``, which begin at a batch's ``first``.

        In a stack losses are ``[runs]``, and inputs ``[runs, n, …]``.
        """
        return loss

    def penalty(self, at: AtStep) -> "Tensor":
        """Return what is added to the loss, ``[]`` or in a stack ``[runs]``: a function of the weights."""
        raise NotImplementedError

    def part_size(self, at: Going, samples: int, size: int) -> int:
        """Return how many of a batch's ``samples`` are differentiated at a time, ``size`` at most."""
        return size

    def after_part(self, at: Going, samples: int, of: int, scale: float) -> None:
        """Look at the gradient so far, ``scale`` times too large, with a part of ``samples`` ``of`` a batch's."""

    def after_backward(self, at: AtStep) -> None:
        """Change the gradient that the optimizer will see."""

    def before_update(self, at: AtStep, lr: "float | Tensor") -> None:
        """Change the weights before the optimizer's step, at a learning rate, in a stack ``[runs]``."""

    def after_update(self, at: AtStep) -> None:
        """Change the weights after the optimizer's step."""

    def after_step(self, at: AtStep, epoch_ends: bool) -> None:
        """Take note of a step that is counted."""

    def evaluating(self, at: AtStep) -> AbstractContextManager[object]:
        """Put in place what is judged for the length of a block."""
        raise NotImplementedError

    def judged(self, at: Going, found: Judged) -> str | None:
        """Return why a run ends at an evaluation, or None."""
        return None

    def columns(self, at: Going, alive: bool) -> dict[str, float | None]:
        """Return further columns of an evaluation's row; ``alive`` unless the run has just diverged."""
        return {}

    def layers(self, at: Going, update_ratios: Mapping[str, float]) -> list[dict[str, Any]]:
        """Return what is measured of each layer; the ratios are those of the step just made, by parameter."""
        return []

    def ended(self, at: Going) -> None:
        """Take note that the run is over."""

    def restored(self, at: Going) -> None:
        """Take note that the model holds the weights of the best evaluation."""

    def summary(self) -> dict[str, Any]:
        """Return further keys of the run's summary."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, as ``torch.save`` and ``weights_only`` loading take them."""
        return {name: getattr(self, name) for name in self.state}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` returned, tensors on the run's device."""
        for name in self.state:
            setattr(self, name, saved[name])

    @classmethod
    def stacked(cls, members: Sequence[Self | None], like: "Tensor") -> "Hook":
        """Return the hook of a step of all members together; its ``state`` is of tensors ``[runs, …]`` alone.

        Args:
            members: the hook of each run; None of one that has none of its name.
            like: a weight, of the type and on the device that theirs are.
        """
        return Hook()

    @property
    def alone(self) -> str | None:
        """Why a run that has it cannot be trained in a stack, or None."""
        cls = type(self)
        if overrides(cls, "rate_shares"):
            return f"{cls.__name__} gives parameters learning rates of their own"
        stacks = getattr(cls.stacked, "__func__", None) is not getattr(Hook.stacked, "__func__", None)
        if stacks or not any(overrides(cls, event) for event in OF_A_STEP):
            return None
        return f"{cls.__name__} has no stacked form"


class FromRun(Hook):
    """A hook that looks at the model of another run, which has ended."""

    run: str
    """That run's folder."""

    def given(self, model: "Callable[[Tensor], Tensor]") -> Hook:
        """Return the hook with what gives that model's outputs for a batch of this run's inputs."""
        raise NotImplementedError


OF_A_STEP = (
    *("batch_size", "limit", "planned_step", "before_step", "drop", "output_loss", "input_loss", "penalty"),
    *("part_size", "after_part", "after_backward", "before_update", "after_update", "after_step"),
    *("evaluating", "columns", "layers"),
)
"""Events that a stack cannot leave to each of its members."""


def overrides(cls: type[Hook], event: str) -> bool:
    """Say whether hooks of a class act on an event."""
    return getattr(cls, event) is not getattr(Hook, event)


@dataclass(frozen=True)
class Events:
    """What is to be called at each event, in order: bound methods of the hooks that override it."""

    batch_size: tuple[Callable[[Going, int], int], ...] = ()
    learning_rate: tuple[Callable[[float], float], ...] = ()
    limit: tuple[Callable[[int, float], str | None], ...] = ()
    planned_step: tuple[Callable[[int, int, int], int], ...] = ()
    before_step: "tuple[Callable[[AtStep, Tensor, Targets], tuple[Tensor, Targets]], ...]" = ()
    drop: tuple[Callable[[AtStep, int, int], Drop | None], ...] = ()
    dropping: tuple[Callable[[AtStep, int, int], Dropping | None], ...] = ()
    output_loss: "tuple[Callable[[AtStep, Tensor, Tensor, Tensor], Tensor], ...]" = ()
    input_loss: "tuple[Callable[[AtStep, Tensor, Callable[[Tensor], Tensor], Tensor, int], Tensor], ...]" = ()
    penalty: "tuple[Callable[[AtStep], Tensor], ...]" = ()
    part_size: tuple[Callable[[Going, int, int], int], ...] = ()
    after_part: tuple[Callable[[Going, int, int, float], None], ...] = ()
    after_backward: tuple[Callable[[AtStep], None], ...] = ()
    before_update: "tuple[Callable[[AtStep, float | Tensor], None], ...]" = ()
    after_update: tuple[Callable[[AtStep], None], ...] = ()
    after_step: tuple[Callable[[AtStep, bool], None], ...] = ()
    evaluating: tuple[Callable[[AtStep], AbstractContextManager[object]], ...] = ()
    judged: tuple[Callable[[Going, Judged], str | None], ...] = ()
    columns: tuple[Callable[[Going, bool], dict[str, float | None]], ...] = ()
    layers: tuple[Callable[[Going, Mapping[str, float]], list[dict[str, Any]]], ...] = ()
    ended: tuple[Callable[[Going], None], ...] = ()
    restored: tuple[Callable[[Going], None], ...] = ()
    summary: tuple[Callable[[], dict[str, Any]], ...] = ()

    @staticmethod
    def of(hooks: Mapping[str, Hook]) -> "Events":
        """Return the events of hooks by their names."""
        ordered = [hook for _, hook in sorted(hooks.items(), key=lambda item: (item[1].place, item[0]))]
        names = [field.name for field in dataclasses.fields(Events)]
        acting = {name: tuple(getattr(h, name) for h in ordered if overrides(type(h), name)) for name in names}
        return Events(**cast(dict[str, Any], acting))


def along(values: "Tensor", tensor: "Tensor") -> "Tensor":
    """Return ``[runs]`` in a shape that broadcasts over ``[runs, …]``."""
    return values.view(-1, *[1] * (tensor.ndim - 1))


def shrink(weights: Sequence["Tensor"], lr: "Tensor", rates: "Tensor") -> None:
    """Multiply the weights ``[runs, …]`` of a stack, of one type, by 1 - lr·rate, each run by its own."""
    left = (1 - lr * rates).to(weights[0].dtype) if weights else lr
    for weight in weights:
        weight.mul_(along(left, weight))
