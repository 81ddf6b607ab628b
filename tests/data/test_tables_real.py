"""Tables as other packages ship them: each trains from one command, or is refused with the command that works."""

import importlib.util
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.records import run_folder, summary_of

REAL = (
    ("vega_datasets", "_data/airports.csv", "longitude", "r2", True),  # texts of thousands of values
    ("vega_datasets", "_data/iowa-electricity.csv", "net_generation", "r2", False),  # dates that recur
    ("vega_datasets", "_data/la-riots.csv", "type", "accuracy", True),  # names, dates, missing values
    ("vega_datasets", "_data/seattle-weather.csv", "weather", "accuracy", True),  # a date a row
    ("vega_datasets", "_data/stocks.csv", "symbol", "accuracy", True),  # dates as "Jan 1 2000"
    ("vega_datasets", "_data/us-employment.csv", "nonfarm", "r2", True),  # large numbers
    ("statsmodels", "datasets/anes96/anes96.csv", "'vote'", "accuracy", False),  # tabs, quotes in names
    ("statsmodels", "datasets/ccard/ccard.csv", "OWNRENT", "accuracy", False),
    ("statsmodels", "datasets/co2/co2.csv", "co2", "r2", True),  # targets missing
    ("statsmodels", "datasets/danish_data/data.csv", "ide", "r2", True),  # a byte-order mark, quarters
    ("statsmodels", "datasets/fair/fair.csv", "rate_marriage", "accuracy", False),
    ("statsmodels", "datasets/grunfeld/grunfeld.csv", "firm", "accuracy", False),  # classes of one word and more
    ("statsmodels", "datasets/modechoice/modechoice.csv", "choice", "accuracy", False),  # semicolons
    ("statsmodels", "datasets/randhie/src/randhie.csv", "female", "accuracy", True),  # 20,190 rows, missing values
    ("statsmodels", "datasets/stackloss/stackloss.csv", "STACKLOSS", "r2", False),  # 21 rows
    ("statsmodels", "datasets/statecrime/statecrime.csv", "murder", "r2", True),  # a state a row
    ("sklearn", "datasets/data/linnerud_physiological.csv", "Pulse", "r2", False),  # spaces, 20 rows
)


@pytest.mark.parametrize(("package", "file", "label", "measure", "is_refused"), REAL, ids=lambda v: str(v)[-24:])
def test_a_real_table_trains_from_one_command(
    package: str, file: str, label: str, measure: str, is_refused: bool, optbench: Callable, folder: Path
) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is among the packages for developers"
    path = Path(spec.origin).parent / file
    first = path.read_text(encoding="utf-8-sig").splitlines()[0]
    delimiter = max(",;\t ", key=lambda c: (first.count(c), c == ","))
    shown = "\\t" if delimiter == "\t" else delimiter
    asked = ["data=csv", f"data.path={path}", f"data.delimiter='{shown}'"]
    asked += [f'data.label="{label}"', "max_steps=3", "model.width=8"]
    found = optbench("train", *asked)
    assert (found.code == 2) == is_refused, found.err
    if is_refused:
        assert list(folder.iterdir()) == []
        told = next(line for line in found.err.splitlines() if line.startswith("it can be used with  "))
        found = optbench("train", *asked, *shlex.split(told.removeprefix("it can be used with  ")))
    assert found.code == 0, found.err
    assert isinstance(summary_of(run_folder(folder))[f"test_{measure}"], float)
    assert optbench("predict", str(run_folder(folder)), "--input", str(path)).code == 0
