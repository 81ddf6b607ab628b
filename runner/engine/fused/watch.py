"""The losses of a stack's members, and which of them have diverged."""

import torch
from torch import Tensor

from runner.engine.fused.members import Stack
from runner.engine.judge import Evaluation, note
from runner.engine.measure import Measured
from runner.engine.state import State

Events = list[tuple[State, Evaluation]]
"""Members, and what was found of each."""


class Watch:
    """Adds up the losses of every member and finds those that are no longer finite, ``hold`` steps at a time."""

    def __init__(self, members: Stack, hold: int) -> None:
        self.hold = hold
        self._members = members
        self._held: list[tuple[Tensor, int, int, int, int, list[float], int]] = []
        self._diverged: list[tuple[State, float, int]] = []

    def add(self, losses: Tensor, samples: int, rates: list[float], size: int) -> None:
        """Take the losses ``[runs]`` of the step about to be made."""
        m = self._members
        self._held.append((losses, m.step + 1, m.epoch, m.offset + samples, m.samples_seen + samples, rates, size))
        if len(self._held) >= self.hold:
            self.drain()

    def drain(self) -> None:
        """Read what is held."""
        m = self._members
        if not self._held:
            return
        history = torch.stack([held[0] for held in self._held]) if len(self._held) > 1 else self._held[0][0][None]
        if bool(history.isfinite().all()):
            m.loss_sums += history.double().sum(0)
            for state in m.states:
                state.loss_count += len(history)
        else:
            for losses, held in zip(history, self._held, strict=True):
                self._read(losses, *held[1:])
        self._held.clear()

    def _read(
        self, losses: Tensor, step: int, epoch: int, offset: int, samples_seen: int, rates: list[float], size: int
    ) -> None:
        m = self._members
        m.loss_sums += losses.double()
        finite = losses.isfinite().tolist()
        for i, state in enumerate(m.states):
            if state.stop_reason is not None:
                continue
            state.loss_count += 1
            if not finite[i]:
                state.step, state.epoch, state.offset, state.samples_seen = step, epoch, offset, samples_seen
                state.loss_sum = float(m.loss_sums[i])
                state.first_nonfinite_step, state.stop_reason = step, "non-finite loss"
                self._diverged.append((state, rates[i], size))

    def take_diverged(self) -> Events:
        """Return the rows of members that have diverged since the last time, their seconds counted."""
        found = [(s, note(s, rate, size, Measured(), None, None)) for s, rate, size in self._diverged]
        self._diverged = []
        return found

    def all_diverged(self) -> bool:
        """Say whether no member is left to train."""
        return len(self._diverged) == len(self._members.runs)
