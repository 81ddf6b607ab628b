"""Everything about a run that changes while it trains, explicit and serializable."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runner.engine.hooks import Events, Hook
from runner.engine.layout import CONTIGUOUS, lay_out
from runner.engine.optimizers import ParameterGroups, decayed, evaluating, noticing_lost_state
from runner.engine.rules import Target
from runner.engine.run import Run
from runner.engine.spread import Spread
from runner.noise import KEYS_AHEAD, keys

COUNTERS = (
    *("step", "epoch", "offset", "samples_seen", "rows", "train_seconds", "loss_sum", "loss_count", "best"),
    *("first_nonfinite_step", "stop_reason", "skipped_steps", "steps_to_target", "seconds_to_target"),
    "layout",
)


@dataclass
class State:
    """A run on its way; ``state_dict`` and ``load_state_dict`` carry all of it that changes."""

    run: Run
    model: nn.Module
    parameters: ParameterGroups
    optimizer: Optimizer
    scaler: torch.amp.GradScaler | None
    hooks: dict[str, Hook] = field(default_factory=dict)
    """The run's, begun."""
    on: Events = field(default_factory=Events)
    """Their events."""
    step: int = 0
    """Optimizer steps taken."""
    epoch: int = 0
    """Whole passes over the training set."""
    offset: int = 0
    """Samples of the present pass already used."""
    samples_seen: int = 0
    rows: int = 0
    """Evaluations done."""
    train_seconds: float = 0.0
    loss_sum: float = 0.0
    """Of the batches since the last evaluation."""
    loss_count: int = 0
    best: dict[str, float] = field(default_factory=dict)
    """Best value of each validation measure so far."""
    best_weights: dict[str, Tensor] | None = None
    first_nonfinite_step: int | None = None
    stop_reason: str | None = None
    """Why the run ended; None while it goes on."""
    skipped_steps: int = 0
    """Steps that the loss scaler skipped."""
    skipped: bool = False
    """It skipped the last one."""
    steps_to_target: int | None = None
    """Steps made before the first evaluation that reached the target; None while none has."""
    seconds_to_target: float | None = None
    """``train_seconds`` there."""
    layout: str = CONTIGUOUS
    """In which the model's images lie: see ``runner.engine.layout``."""
    judged: dict[str, Tensor] = field(default_factory=dict)
    """What the model, as it has ended, gives for ``probe`` and ``val``: empty where that is not known."""
    restored: bool = False
    """The model holds the weights of the best evaluation, as they were judged."""
    optimized_together: int = 1
    """Runs that share the optimizer."""
    stack_size: int = 0
    """Runs that the fused engine began to train together; 0 under the reference engine."""

    def __post_init__(self) -> None:
        self.weights: dict[str, Tensor] = dict(self.model.named_parameters())
        self.decayed = decayed(self.parameters)
        self.trained: list[Tensor] = [p for group in self.parameters for p in group["params"]]
        self._keys: tuple[int, Tensor] | None = None

    @property
    def key(self) -> Tensor:
        """The key of the present step's noise."""
        first = self.step - self.step % KEYS_AHEAD
        if self._keys is None or self._keys[0] != first:
            self._keys = first, keys([self.run.noise_seed], range(first, first + KEYS_AHEAD), self.run.device)[:, 0]
        return self._keys[1][self.step - first]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every parameter and buffer."""
        return {**self.weights, **dict(self.model.named_buffers())}

    def outputs(self, x: Tensor) -> Tensor:
        """Return the model's outputs."""
        outputs: Tensor = self.model(x)
        return outputs

    @property
    def inputs(self) -> Tensor:
        """The training samples."""
        return self.run.train.x

    @property
    def spread(self) -> Spread | None:
        """How several processes train the run; None where one does."""
        return self.run.spread

    def scaled(self, loss: Tensor) -> Tensor:
        """Return a loss at the loss scaler's scale, where there is one."""
        return self.scaler.scale(loss) if self.scaler else loss

    @property
    def steps(self) -> int:
        """Length of the run."""
        return self.run.steps

    @property
    def target(self) -> Target | None:
        """What counts as reached."""
        return self.run.target

    def planned_step(self, step: int, epoch: int, offset: int) -> int:
        """Return the step at which the run would be had its batches kept their first size.

        Schedules are functions of it, and it ends the run.
        """
        for act in self.on.planned_step:
            step = act(step, epoch, offset)
        return step

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the model into evaluation mode, with the weights that are judged where those are not the stepped ones."""
        with contextlib.ExitStack() as put_in_place:
            if not self.restored:
                put_in_place.enter_context(evaluating(self.optimizer))
            for act in self.on.evaluating:
                put_in_place.enter_context(act(self))
            self.model.eval()
            try:
                yield
            finally:
                self.model.train()

    def lay_out(self, layout: str) -> None:
        """Put the model's images into a layout."""
        lay_out(self.model, layout)
        self.layout = layout

    def judged_weights(self) -> dict[str, Tensor]:
        """Return a copy of the weights that evaluations judge."""
        with self.evaluating():
            return {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def restore_best(self) -> None:
        """Put the weights of the best evaluation, where there are any, in the place of the last ones."""
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)
            self.judged, self.restored = {}, True
            for act in self.on.restored:
                act(self)

    def counters(self) -> dict[str, Any]:
        """Return the plain values among what changes."""
        return {name: getattr(self, name) for name in COUNTERS}

    def of_hooks(self) -> dict[str, dict[str, Any]]:
        """Return what the hooks hold, of those that hold something."""
        return {name: held for name, hook in self.hooks.items() if (held := hook.state_dict())}

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, as ``torch.save`` and ``weights_only`` loading take them."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else None,
            **self.progress(),
        }

    def progress(self) -> dict[str, Any]:
        """Return what a member of a stack has for itself: all but model, optimizer and scaler."""
        return {"best_weights": self.best_weights, "hooks": self.of_hooks(), "counters": self.counters()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` returned."""
        layout = saved["counters"]["layout"] if self.spread is None else CONTIGUOUS
        if self.spread is None:
            self.lay_out(layout)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.scaler:
            self.scaler.load_state_dict(saved["scaler"])
        self.load_progress(saved)
        self.layout = layout

    def load_progress(self, saved: dict[str, Any]) -> None:
        """Go on from what ``progress`` returned."""
        self.best_weights = saved["best_weights"]
        for name, held in saved["hooks"].items():
            self.hooks[name].load_state_dict(_on(self.run.device, held))
        for name in COUNTERS:
            setattr(self, name, saved["counters"][name])


def _on(device: torch.device, held: Any) -> Any:
    """Return tensors on a device, in whatever dictionaries and lists they lie."""
    if isinstance(held, Tensor):
        return held.to(device)
    if isinstance(held, dict):
        return {key: _on(device, value) for key, value in held.items()}
    return [_on(device, value) for value in held] if isinstance(held, list) else held


def start(run: Run) -> State:
    """Return a run at step 0: initial weights and a fresh optimizer."""
    model = run.construct() if run.spread is None else run.spread.model(run.construct())
    parameters = run.optim.groups(model)
    scaler = torch.amp.GradScaler(run.device.type) if run.loss_scaling else None
    optimizer = noticing_lost_state(run.optim.optimizer(parameters))
    state = State(run, model, parameters, optimizer, scaler)
    state.hooks = {name: hook.begin(state) for name, hook in run.hooks.items()}
    state.on = Events.of(state.hooks)
    return state
