"""Checkpoints are written often enough to lose little, and seldom enough to cost little."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.engine import checkpoint
from runner.engine.checkpoint import SECONDS_BETWEEN, SHARE_OF_TIME, Keeper


class Clock:
    """A clock that goes on only in what is said to take time: an evaluation, and the writing of a checkpoint."""

    def __init__(self, path: Path) -> None:
        self.now, self.path, self.keeper = 1000.0, path, Keeper(path)
        self.written: list[tuple[float, float]] = []
        """When each checkpoint was begun, and when it was there."""

    def train(self, seconds: float, evaluation: float, writing: Callable[[int], float]) -> None:
        """Evaluate at even distances, and keep a checkpoint wherever one is due."""
        until = self.now + seconds
        while self.now < until:
            self.now += evaluation
            if self.keeper.is_due():
                self.keeper.keep(lambda: self._content(writing(len(self.written))))

    def _content(self, seconds: float) -> dict[str, Any]:
        began = self.now
        self.now += seconds
        self.written.append((began, self.now))
        return {"model": {}}


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock(tmp_path / "checkpoint.pt")
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def test_the_first_evaluation_leaves_a_checkpoint(clock: Clock) -> None:
    clock.train(0.001, 0.001, lambda number: 0.0)
    assert len(clock.written) == 1 and checkpoint.load(clock.path) == {"model": {}}


def test_quick_ones_are_written_once_a_second(clock: Clock) -> None:
    clock.train(100, 0.01, lambda number: 0.001)
    between = [begun - ended for (_, ended), (begun, _) in zip(clock.written, clock.written[1:], strict=False)]
    assert min(between) >= SECONDS_BETWEEN and max(between) <= SECONDS_BETWEEN + 0.011
    assert len(clock.written) == 99  # 0.01 s of evaluating passes before one is found to be due


def test_where_evaluations_are_rare_each_leaves_one(clock: Clock) -> None:
    clock.train(100, 5, lambda number: 0.01)
    assert len(clock.written) == 20


def test_slow_ones_take_a_fiftieth_of_the_time(clock: Clock) -> None:
    clock.train(5000, 0.5, lambda number: 2.0)
    spent = sum(ended - begun for begun, ended in clock.written)
    assert 0.9 * SHARE_OF_TIME < spent / (clock.now - clock.written[0][0]) <= SHARE_OF_TIME + 2.0 / 5000


def test_after_one_that_was_slow_the_next_waits_for_it_and_those_after_do_not(clock: Clock) -> None:
    clock.train(1000, 0.1, lambda number: 4.0 if number == 1 else 0.001)
    between = [begun - ended for (_, ended), (begun, _) in zip(clock.written, clock.written[1:], strict=False)]
    assert between[1] == pytest.approx(4.0 / SHARE_OF_TIME, abs=0.11)
    assert max(between[:1] + between[2:]) <= SECONDS_BETWEEN + 0.11
