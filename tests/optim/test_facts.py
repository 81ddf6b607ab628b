"""What docs/optimizers.md says that an optimizer costs is what it costs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.optimizer_facts import ROWS, row

PAGE = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text(encoding="utf-8")
SAID = {line.split("`")[1]: line for line in PAGE.partition("<!-- end of facts -->")[0].splitlines() if "| `" in line}


def test_every_optimizer_and_wrap_has_a_row() -> None:
    assert SAID.keys() == ROWS.keys()


@pytest.mark.parametrize("name", SAID)
def test_a_row_says_what_is_measured(name: str, job: Callable) -> None:
    assert SAID[name] == row(job, name)
