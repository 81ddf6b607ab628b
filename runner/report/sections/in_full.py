"""Everything: every setting in a table, and one run with all its choices and numbers."""

import pandas as pd

from runner.measures import title
from runner.report.evaluations import as_number
from runner.report.load import Records
from runner.report.render.page_tables import FIRST_COLUMNS
from runner.report.section import Section, Table
from runner.report.sections import parallel
from runner.report.settings import Workload

PARTS = {"train": "final_train", "validation": "final_val", "test": "test"}


def settings(workload: Workload) -> Section:
    """Show every setting, best first, as lines and as a table that are tied to each other."""
    said = (
        f"Best first, by mean {workload.measure.title} over seeds; settings that diverge more often come last, and "
        "their mean is over the runs that survived. The difference is to the leader, with an interval that holds for "
        "all settings together (95 %). The last three say how often the leader is the better one of a pair that "
        "shares its seed (above 0.75 is meaningful)."
    )
    axes = workload.axes
    shown = (*axes[: len(axes) if len(axes) < 5 else 4], "mean", "low", "high", "verdict", "n", "test_mean", "sd")
    table = Table(
        "settings",
        "Every setting",
        workload.table.drop(columns=["contends", "half", "test_half"]),
        names=len(axes),
        first=shown[:FIRST_COLUMNS],
    )
    plot = parallel.parallel(workload)
    return Section("Every setting", (said,), () if plot is None else (plot,), (table,))


def in_full(workload: Workload, records: Records) -> Section | None:
    """Show a run as it was: every choice, and every number of its summary."""
    if workload.best is None:
        return None
    row = workload.row(0)
    columns = [c for c in map(str, records.runs) if row[c] != ""]
    choices = pd.DataFrame({"choice": c, "value": row[c]} for c in columns if c in records.choices)
    measured = [c for c in columns if c not in (*records.choices, "run_id")]
    parts = [c.removeprefix("final_val_") for c in measured if c.startswith("final_val_")]
    results = pd.DataFrame(
        {
            "measure": title(f"_{p}").strip(),
            **{part: as_number(row.get(f"{key}_{p}", "")) for part, key in PARTS.items()},
        }
        for p in parts
    )
    numbers = pd.DataFrame({"of the run": c, "value": row[c]} for c in measured)
    which = "The run" if len(workload.runs) == 1 else "A run of the best setting"
    return Section(
        f"{which} in full",
        (f"Run {row['run_id']}: {row['status']}.",),
        (),
        (
            Table("results", "Results", results),
            Table("choices", "Every choice", choices, folded=True),
            Table("summary", "Every number", numbers, folded=True),
        ),
    )
