"""Records made up for the judgement of a study, and what the judgement says of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from runner.report.load import Records
from runner.study.study import Judgement


def made_records(rows: Sequence[Mapping[str, object]]) -> Records:
    """A run a row, its values as text, empty where the row has none; a run's id is its place in the list."""
    runs = pd.DataFrame([{name: str(value) for name, value in row.items()} for row in rows]).fillna("")
    runs["run_id"] = [str(place) for place in range(len(runs))]
    return Records(Path(), runs, [], {run_id: Path(run_id) for run_id in runs["run_id"]})


def judged(found: Judgement) -> list[bool]:
    """Whether each row holds, of those that are judged."""
    return [bool(row["holds"]) for _, row in found.numbers.iterrows() if row["expected"] != "reported"]
