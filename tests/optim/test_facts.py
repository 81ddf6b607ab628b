"""What the docs say that an optimizer costs is what it costs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner.config.options import options
from tests.support.optimizer_facts import OWN, WRAPS, cells

PAGE = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text(encoding="utf-8")
SAID = {line.split("`")[1]: line for line in PAGE.partition("<!-- end of facts -->")[0].splitlines() if "| `" in line}
NAMES = [option.name for option in options("optim") if option.name not in OWN]


def test_every_optimizer_and_wrap_has_a_row() -> None:
    assert set(SAID) == {*NAMES, *(f"adamw, optim.wrap=[{w}]" for w in WRAPS)}


@pytest.mark.parametrize("name", SAID)
def test_a_row_says_what_is_measured(name: str, job: Callable) -> None:
    option, _, wrap = name.partition(", ")
    overrides = [f"optim={option}", *([wrap] if wrap else []), *([] if option == "gd" else ["batch.size=64"])]
    assert SAID[name] == f"| `{name}` | {' | '.join(cells(job, *overrides))} |"
