"""Progress on the terminal: a bar on stderr, nothing where it is no terminal."""

import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm


class Bar:
    """Steps done of a run, with loss, validation accuracy or loss, learning rate and steps a second."""

    def __init__(self, steps: int, done: int, name: str, enabled: bool = True) -> None:
        shown = enabled and sys.stderr.isatty()
        self._bar = tqdm(total=steps, initial=done, desc=name, unit="step", disable=not shown, dynamic_ncols=True)
        self._shown = shown
        self._measured: dict[str, str] = {}

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, step: int, loss: float | None) -> None:
        """Move to a step; its loss, where it is known, is shown."""
        if self._shown and self._bar.update(step - self._bar.n):
            shown = {"loss": f"{loss:.4g}"} if loss is not None else {}
            self._bar.set_postfix({**shown, **self._measured}, refresh=False)

    def evaluated(self, row: dict[str, Any]) -> None:
        """Take up what an evaluation measured."""
        if self._shown:
            name = next((k for k in ("val_accuracy", "val_r2", "val_loss") if row.get(k) is not None), None)
            self._measured = {"lr": f"{row['lr']:.3g}"} | ({name: f"{row[name]:.4g}"} if name else {})
            self.advance(row["step"], row["batch_loss"])
