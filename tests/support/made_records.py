"""Records made up for the judgement of a study, and what the judgement says of them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from runner.after.members import Predicted
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


def predicting(
    shares: Callable[[int], np.ndarray], labels: np.ndarray
) -> Callable[[Records, Sequence[str]], Predicted]:
    """What stands for a study's ``predicted``: each run's probabilities ``[n, classes]``, made up from its place."""

    def predicted(records: Records, run_ids: Sequence[str]) -> Predicted:
        outputs = np.stack([shares(int(run_id)) for run_id in run_ids])
        return Predicted(outputs, labels, np.arange(len(labels)))

    return predicted
