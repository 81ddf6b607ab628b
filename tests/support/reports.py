"""Reports of sweeps: their text, their settings, and what their page refers to."""

import math
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from runner.report.load import load
from runner.report.settings import Workload
from runner.report.workloads import workloads
from runner.report.write import Asked
from runner.report.write import report as answer
from tests.support.made_sweep import made_run


def report(folder: str | Path | Sequence[Path], asked: Asked | None = None) -> str:
    """The whole of it: the text, and everything written."""
    found = answer(folder, asked)
    return found.text + found.write()


def only_workload(folder: Path) -> Workload:
    (workload,) = workloads(load(folder), None, None)
    return workload


def a_grid(rng: np.random.Generator, seeds: int = 5, better: float = 0.05) -> list[dict[str, object]]:
    """2 initializers × 2 optimizers × 3 rates; he_normal with adam at 0.01 is ``better``."""
    runs = []
    for seed in range(seeds):
        shared = rng.normal(0, 0.01)
        for init in ("he_normal", "xavier_uniform"):
            for optim in ("sgd", "adam"):
                for lr in (0.001, 0.01, 0.1):
                    value = 0.85 + shared + rng.normal(0, 0.003) - 0.02 * abs(math.log10(lr) + 2)
                    value += better * ((init, optim, lr) == ("he_normal", "adam", 0.01))
                    runs.append(made_run(value, init=init, optim=optim, optim__lr=lr, seed=seed))
    return runs


class Page(HTMLParser):
    """What a page refers to, and whether its tags close."""

    VOID = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "srcset") or (name.endswith("href") and tag not in ("a", "use")):
                self.outside.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
