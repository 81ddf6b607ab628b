"""What the steps of a stack need that the host works out: learning rates and noise keys, of several steps at a time.

Each copy to a device waits for it, and would keep the host from launching the next step meanwhile.
"""

import torch
from torch import Tensor

from runner.engine.fused.members import Stack
from runner.engine.state import State
from runner.noise import keys

STEPS = 64


class Ahead:
    """The rates and keys of the members' coming steps."""

    def __init__(self, members: Stack) -> None:
        self._members = members
        # What a hook makes of a rate is asked of it at the step itself: it may have changed since.
        self._ahead = 1 if any(state.on.learning_rate for state in members.states) else STEPS
        self._steps = range(0)

    def next(self) -> tuple[list[float], Tensor, Tensor | None]:
        """Return the present step's learning rates, of each run, and as ``[runs]``, and its noise's keys.

        The keys are ``[runs, 2]`` and set in the members too; None where nothing is drawn.
        """
        members = self._members
        if members.step not in self._steps:
            self._plan()
        i = members.step - self._steps.start
        if self._keys is None:
            return self._rates[i], self._lr[i], None
        members.key = self._keys[i]
        return self._rates[i], self._lr[i], members.key

    def _plan(self) -> None:
        members, step = self._members, self._members.step
        self._steps = range(step, max(step + 1, min(step + self._ahead, members.runs[0].steps)))
        schedules = {run.schedule for run in members.runs}
        planned = {schedule: [schedule(step) for step in self._steps] for schedule in schedules}
        self._rates = [
            [_changed(state, planned[state.run.schedule][i]) for state in members.states]
            for i in range(len(self._steps))
        ]
        self._lr = torch.tensor(self._rates, dtype=torch.float64, device=members.device)
        seeds = [run.noise_seed for run in members.runs]
        self._keys = keys(seeds, self._steps, members.device) if members.draws else None


def _changed(state: State, lr: float) -> float:
    for change in state.on.learning_rate:
        lr = change(lr)
    return lr
