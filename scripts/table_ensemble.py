"""What ensembles gain and cost on MNIST: the table of docs/ensemble.md.

OPTBENCH_DATA=FOLDER python scripts/table_ensemble.py [--update] [--folder FOLDER]

It takes a few minutes on 2 cores. Runs that are there in FOLDER are not trained again.
"""

import argparse
import contextlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

from pages import rewrite

from runner.cli.main import main

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "ensemble.md"
MARKS = ("<!-- ensemble table -->", "<!-- end of ensemble table -->")
EPOCHS = 6
SHARED = (
    *("data=mnist", "data.fraction=0.2", "init=he", "model.width=128", "model.depth=1", "optim=adam", "optim.lr=0.002"),
    *("save=last", "baselines=false"),
)
SWEEPS: dict[str, tuple[str, ...]] = {
    "five": ("seeds=5", f"epochs={EPOCHS}"),
    "bag": ("data.bootstrap=0,1,2,3,4", f"epochs={EPOCHS}"),
    "folds": ("data.folds=5", "data.fold=0,1,2,3,4", f"epochs={EPOCHS}"),
    "cycles": (
        *("snapshots=5", f"epochs={5 * EPOCHS}", "scheduler=warm_restarts", "scheduler.first=0.2"),
        "scheduler.growth=1",
    ),
}
ROWS: tuple[tuple[str, ...], ...] = (
    ("five", "--method", "mean", "--equal"),
    ("five", "--method", "vote"),
    ("five", "--method", "weighted"),
    ("five", "--method", "greedy"),
    ("five", "--method", "stack"),
    ("five", "--method", "soup"),
    ("bag", "--method", "mean"),
    ("folds", "--method", "mean"),
    ("folds", "--method", "stack"),
    ("cycles", "--snapshots"),
)
HEAD = """\
| members and method | test accuracy | over its best member | over its mean member | ECE | training, times |
| --- | --- | --- | --- | --- | --- |"""


def optbench(folder: Path, *argv: str) -> None:
    """Run a command in a folder, in this process."""
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        code = main(argv)
    if code:
        raise SystemExit(f"optbench {' '.join(argv)} ended with {code}")


def made(folder: Path, *argv: str) -> dict[str, Any]:
    """Run a command that makes an ensemble; return what was found of it."""
    place = folder / "outputs" / "ensembles"
    optbench(folder, *argv)
    newest = max(place.glob("*/ensemble.json"), key=lambda path: path.stat().st_mtime_ns)
    found: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))["found"]
    return found


def interval(gain: dict[str, float] | None) -> str:
    """Return a gain in points."""
    if gain is None:
        return "–"
    return f"{100 * gain['mean']:+.2f} [{100 * gain['low']:.2f}, {100 * gain['high']:.2f}]"


def line(title: str, found: dict[str, Any]) -> str:
    """Return a row of the table."""
    ensemble, gains, cost = found["rows"]["the ensemble"], found["gains"], found["cost"]
    times = cost["train_seconds"] / cost["train_seconds_of_one"]
    cells = [title, f"{100 * ensemble['accuracy']:.2f} %", interval(gains.get("best member"))]
    cells += [interval(gains.get("mean member")), f"{ensemble['ece']:.4f}", f"{times:.1f}"]
    return "| " + " | ".join(cells) + " |"


def at_equal(found: dict[str, Any]) -> str:
    """Return what is said of an ensemble beside one run of equal compute."""
    d, equal, rows, gains = found["decomposition"], found["equal"], found["rows"], found["gains"]
    return (
        f"The five seeds' Brier score {d['ensemble']:.4f} is the members' {d['members']:.4f} less their disagreement "
        f"{d['ambiguity']:.4f}. Over the member that is luckiest on the test set they are better by "
        f"{interval(gains['luckiest member'])} points. One run of five times the epochs costs as much: over it they "
        f"are better by {interval(equal['gain'])} points, with a log loss of {rows['the ensemble']['nll']:.3f}, where "
        f"it has {equal['rows']['nll']:.3f}."
    )


def table(folder: Path) -> str:
    """Train what the table needs; return it."""
    for name, overrides in SWEEPS.items():
        optbench(folder, "train", "-m", f"name={name}", *SHARED, *overrides)
    lines, after = [HEAD], []
    for name, *flags in ROWS:
        found = made(folder, "ensemble", f"outputs/{name}", *flags)
        shown = " ".join(flag for flag in flags if flag != "--equal")
        lines.append(line(f"`{name} {shown}`", found))
        if "equal" in found:
            after.append(at_equal(found))
    return "\n".join([*lines, "", *after])


def write() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the table into docs/ensemble.md")
    parser.add_argument("--folder", type=Path, help="where the runs lie; default: a folder that is removed again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = (arguments.folder or Path(folder)).resolve()
        place.mkdir(parents=True, exist_ok=True)
        text = table(place)
    print(text)
    if arguments.update:
        rewrite(PAGE, MARKS, text)


if __name__ == "__main__":
    write()
