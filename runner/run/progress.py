"""How far runs are: a bar on stderr, nothing where it is no terminal, or a share that is told to another process."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from tqdm import tqdm


class Progress:
    """Hears how far what is trained as one is; shows nothing."""

    @contextmanager
    def of(self, name: str, steps: int | None, done: int) -> Iterator[Self]:
        """Follow a training of so many steps, if that is known, of which some are done, while the block runs."""
        yield self

    def stepped(self, step: int, loss: float | None) -> None:
        """Hear of a step, and of its loss where it is known."""

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Hear of an evaluation, by its row."""


class Bar(Progress):
    """Steps done, with loss, validation accuracy or loss, learning rate and steps a second."""

    @contextmanager
    def of(self, name: str, steps: int | None, done: int) -> Iterator[Self]:
        """Show the bar, where stderr is a terminal."""
        self._shown, self._measured = sys.stderr.isatty(), dict[str, str]()
        hidden = not self._shown
        with tqdm(total=steps, initial=done, desc=name, unit="step", disable=hidden, dynamic_ncols=True) as self._bar:
            yield self

    def stepped(self, step: int, loss: float | None) -> None:
        """Move to a step."""
        if self._shown and self._bar.update(step - self._bar.n):
            shown = {"loss": f"{loss:.4g}"} if loss is not None else {}
            self._bar.set_postfix({**shown, **self._measured}, refresh=False)

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Take up what was measured."""
        if self._shown and row:
            name = next((k for k in ("val_accuracy", "val_r2", "val_loss") if row.get(k) is not None), None)
            self._measured = {"lr": f"{row['lr']:.3g}"} if "lr" in row else {}
            self._measured |= {name: f"{row[name]:.4g}"} if name else {}
            self.stepped(row["step"], row.get("batch_loss"))


class Told(Progress):
    """Tells at each evaluation which share of the steps is made."""

    def __init__(self, tell: Callable[[float], object]) -> None:
        self._tell = tell
        self._steps: int | None = None

    @contextmanager
    def of(self, name: str, steps: int | None, done: int) -> Iterator[Self]:
        """Take the number of steps."""
        self._steps = steps
        yield self

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Tell the share, where the number of steps is known."""
        if self._steps is not None:
            self._tell(row["step"] / self._steps if row else 1.0)
