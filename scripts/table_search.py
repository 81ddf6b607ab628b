"""How good searches are on noisy tasks, replayed from tables of settings that were trained once.

``--train`` trains 500 random settings of the default kind with 10 seeds each, task by task, as ordinary runs in stacks
below ``outputs/``, and adds what they came to to ``docs/search_tasks.csv.gz``. A task that is there is left out, and
one that is interrupted goes on. That takes hours.

Without it the tables are searched at equal compute, 115 runs: as ``optbench tune`` does (generations of 16, 100 trials
of one seed, then the best five with three seeds more), by Optuna's own default (TPE, one trial after another, whose
choice is its best trial), and by random search, which takes its best trial too. Beside them stands what these two come
to with the finals of tune. A proposal is the nearest setting of the table that was not tried yet. Regret is judged on
five seeds that no search saw: the best mean of the table on them less that of the choice, over the difference between
the table's best and its median, 1 at most. 20 repeats; intervals are Student's, over repeats; of the mean of all tasks
over tasks too.

Run: python scripts/table_search.py [--train] [--tasks digits,wine] [--trials 100] [--repeats 20] [--update]
"""

import argparse
import csv
import gzip
import io
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pages import Told

from runner.search.proposals import Method, Tried, imported
from runner.search.space import Choice, Drawn, Number, Space
from runner.statistics.scores import mean_interval

Array = npt.NDArray[np.float64]

REVIEWS = Path(__file__).parents[1] / "examples" / "sentences" / "reviews.csv"
TASKS = {
    "digits": ("data=digits", "max_steps=150"),
    "digits-few": ("data=digits", "data.fraction=0.1", "max_steps=100"),
    "digits-deep": ("data=digits", "model.depth=6", "max_steps=150"),
    "wine": ("data=wine", "max_steps=60"),
    "breast-cancer": ("data=breast_cancer", "max_steps=60"),
    "diabetes": ("data=diabetes", "max_steps=100", "data.normalize_target=standard"),
    "mnist1d": ("data=mnist1d", "max_steps=200"),
    "mnist1d-few": ("data=mnist1d", "data.fraction=0.2", "max_steps=100"),
    "regression": ("data=linear_regression", "max_steps=100"),
    "text": ("data=text_csv", f"data.path={REVIEWS}", "data.text=review", "data.label=mood", "max_steps=60"),
}
"""The overrides of each; width and depth of the network beside them."""
NETWORK = ("model.width=16", "model.depth=2")
SETTINGS, SEEDS, SEARCHED = 500, 10, 5
"""Seeds below ``SEARCHED`` are a search's, the others judge."""
DOCS = Path(__file__).parents[1] / "docs"
FILE, PAGE = DOCS / "search_tasks.csv.gz", DOCS / "tune_results.md"
OPTIMIZERS, INITIALIZERS = ("sgd", "adamw", "nadam"), ("default", "he_normal", "xavier_uniform", "orthogonal")
SCHEDULES = ("constant", "linear", "cosine")
SPACE = Space(
    (),
    (
        Choice("optim", tuple((f"optim={name}",) for name in OPTIMIZERS)),
        Choice("init", tuple((f"init={name}",) for name in INITIALIZERS)),
        Choice("scheduler", tuple((f"scheduler={name}",) for name in SCHEDULES)),
        Number("optim.lr", "optim.lr", 1e-4, 1.0, log=True),
        Number("warmup", "scheduler.warmup", 0.0, 0.3),
    ),
)
COLUMNS = ("task", "setting", *(p.name for p in SPACE.parameters), *(f"seed{seed}" for seed in range(SEEDS)))
FINALISTS, MORE_SEEDS, GENERATION = 5, 3, 16


def main() -> None:
    """Train what is missing, or replay what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--update", action="store_true", help="write the table of all tasks into docs/tune_results.md")
    asked = parser.parse_args()
    if asked.update and (asked.train or asked.tasks != ",".join(TASKS)):
        parser.error("--update writes the whole table: leave --train and --tasks out")
    wanted = asked.tasks.split(",")
    if odd := [task for task in wanted if task not in TASKS]:
        parser.error(f"{odd[0]} is no task; valid: {', '.join(TASKS)}")
    if asked.train:
        for task in (task for task in wanted if task not in read()):
            train(task)
    else:
        told = replay({task: table for task, table in read().items() if task in wanted}, asked.trials, asked.repeats)
        if asked.update:
            told.write(PAGE, "search table")


# ---- the tables


@dataclass(frozen=True)
class Table:
    """What 500 settings of a task came to."""

    drawn: list[Drawn]
    scores: Array
    """``[settings, seeds]``, more is better; the worst of the table where a run diverged."""


def settings() -> list[Drawn]:
    """Return the settings of every table, drawn at random."""
    found: list[Drawn] = []

    def take(drawn: Drawn) -> bool:
        found.append(drawn)
        return True

    Method(SPACE, "random", 7, True).generation(0, [], 0, SETTINGS, take)
    return found


def train(task: str) -> None:
    """Train a task's settings as one sweep, and add them to the file."""
    shared = [*TASKS[task], *(o for o in NETWORK if o.partition("=")[0] not in " ".join(TASKS[task]))]
    shared += [f"name=table-{task}", "eval_every=1000000", "baselines=false", "seeds=10"]
    drawn = settings()
    parts = [word for one in drawn for word in ("+", *SPACE.chosen(one))]
    subprocess.run([sys.executable, "-m", "runner", "train", "-m", *shared, *parts], check=False)
    rows = list(_rows(task, drawn, Path("outputs") / f"table-{task}" / "runs.csv"))
    old = list(csv.DictReader(io.StringIO(gzip.decompress(FILE.read_bytes()).decode()))) if FILE.is_file() else []
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows([*old, *rows])
    FILE.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    print(f"{task}: {len(rows)} settings; {FILE} has {FILE.stat().st_size / 2**20:.2f} MiB")


def _rows(task: str, drawn: Sequence[Drawn], runs: Path) -> Iterator[dict[str, object]]:
    """Yield a row a setting; a run that diverged is an empty cell, one that is missing ends the task."""
    with runs.open(newline="", encoding="utf-8") as file:
        there = list(csv.DictReader(file))
    of: dict[tuple[str, ...], dict[str, str]] = {}
    for row in there:
        rate, warmup = (f"{float(row[key]):.6g}" for key in ("optim.lr", "scheduler.warmup"))
        of[row["optim"], row["init"], row["scheduler"], rate, warmup, row["seed"]] = row
    for number, one in enumerate(drawn):
        names = (OPTIMIZERS[int(one["optim"])], INITIALIZERS[int(one["init"])], SCHEDULES[int(one["scheduler"])])
        key = (*names, f"{one['optim.lr']:.6g}", f"{one['warmup']:.6g}")
        found = [of.get((*key, str(seed))) for seed in range(SEEDS)]
        if any(row is None or row["status"] in ("running", "interrupted") for row in found):
            raise SystemExit(f"{task}: setting {number} has not ended; the same command goes on")
        values = {f"seed{seed}": _score(row) for seed, row in enumerate(found) if row is not None}
        yield {"task": task, "setting": number, **one, **values}


def _score(row: dict[str, str]) -> str:
    for name, sign in (("final_val_accuracy", 1), ("final_val_r2", 1), ("final_val_loss", -1)):
        if row.get(name):
            return f"{sign * float(row[name]):.5g}" if row["status"] in ("completed", "stopped_early") else ""
    return ""


def read() -> dict[str, Table]:
    """Return the tables that are there."""
    if not FILE.is_file():
        return {}
    found: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(gzip.decompress(FILE.read_bytes()).decode())):
        found.setdefault(row["task"], []).append(row)
    return {task: _table(rows) for task, rows in found.items()}


def _table(rows: Sequence[dict[str, str]]) -> Table:
    scores = np.array([[float(row[f"seed{seed}"] or "nan") for seed in range(SEEDS)] for row in rows])
    worst = float(np.nanmin(scores))
    drawn: list[Drawn] = [{p.name: float(row[p.name]) for p in SPACE.parameters} for row in rows]
    return Table(drawn, np.nan_to_num(scores, nan=worst))


# ---- the searches, replayed

Search = Callable[[Table, int, int], list[int]]
"""Settings in the order in which they are tried, of a table, so many, by a seed."""


def replay(tables: dict[str, Table], trials: int, repeats: int) -> Told:
    """Print the regret of each search on each task, and how they differ over tasks; return what was printed."""
    if not tables:
        raise SystemExit(f"{FILE} holds no such task: python scripts/table_search.py --train")
    regrets: list[dict[str, Array]] = []
    tell = Told()
    runs = trials + FINALISTS * MORE_SEEDS
    tell(f"Regret after {runs} runs, mean of {repeats} searches, with 95 % intervals of the differences:", "")
    tell("| task | " + " | ".join(SHOWN) + " | tune better than optuna by | than random by |")
    tell("| --- |" + " ---: |" * (len(SHOWN) + 2))
    with ProcessPoolExecutor() as processes:
        found = processes.map(partial(_regrets, trials=trials, repeats=repeats), tables.values())
        for task, of_task in zip(tables, found, strict=True):
            regrets.append(of_task)
            tell(f"| {task} | {' | '.join(_cells(of_task))} |")
    each = {name: np.array([of_task[name] for of_task in regrets]) for name in SHOWN}
    means = f"mean over {len(tables)} tasks"
    tell(f"| {means}, intervals over searches | {' | '.join(_cells({n: x.mean(0) for n, x in each.items()}))} |")
    tell(f"| {means}, intervals over tasks | {' | '.join(_cells({n: x.mean(1) for n, x in each.items()}))} |")
    return tell


def _regrets(table: Table, trials: int, repeats: int) -> dict[str, Array]:
    """Return the regrets of each column of the table, a repeat each."""
    found: dict[str, Array] = {}
    for name, search in SEARCHES.items():
        each = np.array([regrets_of(table, search, trials, seed) for seed in range(repeats)])
        found[f"{name} + finals"], found[name] = each.T
    return {name: found[column] for name, column in SHOWN.items()}


def _cells(regrets: dict[str, Array]) -> list[str]:
    cells = [f"{values.mean():.4f}" for values in regrets.values()]
    return cells + [_difference(regrets[name] - regrets["tune"]) for name in ("optuna", "random")]


def _difference(values: Array) -> str:
    found = mean_interval(values)
    return f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}]"


def regrets_of(table: Table, search: Search, trials: int, seed: int) -> tuple[float, float]:
    """Return by how much the choice after finals, and the best trial without, are worse than the best: 1 at most.

    Both on seeds that no search saw, and after as many runs.
    """
    shuffled = np.random.default_rng(seed).permutation(SEEDS)
    seen, fresh = table.scores[:, shuffled[:SEARCHED]], table.scores[:, shuffled[SEARCHED:]].mean(1)
    tried = search(Table(table.drawn, seen), trials + FINALISTS * MORE_SEEDS, seed)
    finalists = sorted(tried[:trials], key=lambda i: -seen[i, 0])[:FINALISTS]
    chosen = max(finalists, key=lambda i: float(seen[i, 1 : 1 + MORE_SEEDS].mean()))
    best = max(tried, key=lambda i: float(seen[i, 0]))
    scale = max(float(fresh.max() - np.median(fresh)), 1e-9)
    lost = [min(1.0, float(fresh.max() - fresh[i]) / scale) for i in (chosen, best)]
    return lost[0], lost[1]


def _nearest(table: Table, drawn: Drawn, tried: Sequence[int]) -> int:
    """Return the untried setting of a table that is nearest to one that was proposed."""
    away = _away(table, drawn)
    away[list(tried)] = math.inf
    return int(np.argmin(away))


def _away(table: Table, drawn: Drawn) -> Array:
    away = np.zeros(len(table.drawn))
    for p in SPACE.parameters:
        values = np.array([one[p.name] for one in table.drawn])
        if isinstance(p, Choice):
            away += 10.0 * (values != drawn[p.name])
        elif p.log:
            away += np.abs(np.log(values / drawn[p.name])) / math.log(p.high / p.low)
        else:
            away += np.abs(values - drawn[p.name]) / (p.high - p.low)
    return away


def _tune(table: Table, trials: int, seed: int) -> list[int]:
    """Search as ``optbench tune`` does: in generations, each a function of those before it."""
    tried: list[int] = []
    asked, number = 0, 0
    method = Method(SPACE, "tpe", seed, True)
    while len(tried) < trials:
        history = [Tried(table.drawn[i], float(table.scores[i, 0])) for i in tried]
        new: list[int] = []

        def take(drawn: Drawn, new: list[int] = new, before: list[int] = tried) -> bool:
            new.append(_nearest(table, drawn, [*before, *new]))
            return True

        asked += method.generation(number, history, asked, min(GENERATION, trials - len(tried)), take)
        tried, number = [*tried, *new], number + 1
    return tried


def _optuna(table: Table, trials: int, seed: int) -> list[int]:
    """Search by Optuna's default: its TPE, one trial after another, told what was really tried, as ``_tune`` is."""
    optuna = imported()
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    places = {p.name for p in SPACE.parameters if isinstance(p, Choice)}
    tried: list[int] = []
    for _ in range(trials):
        trial = study.ask()
        drawn: Drawn = {}
        for p in SPACE.parameters:
            if isinstance(p, Choice):
                drawn[p.name] = trial.suggest_categorical(p.name, list(p.values))
            else:
                drawn[p.name] = trial.suggest_float(p.name, p.low, p.high, log=p.log)
        tried.append(_nearest(table, drawn, tried))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        params = {name: int(v) if name in places else v for name, v in table.drawn[tried[-1]].items()}
        value = float(table.scores[tried[-1], 0])
        study.add_trial(optuna.trial.create_trial(params=params, distributions=trial.distributions, value=value))
    return tried


def _drawn_at_random(table: Table, trials: int, seed: int) -> list[int]:
    return [int(i) for i in np.random.default_rng(1000 + seed).permutation(len(table.drawn))[:trials]]


SEARCHES: dict[str, Search] = {"tune": _tune, "optuna": _optuna, "random": _drawn_at_random}
SHOWN = {
    "tune": "tune + finals",
    "optuna": "optuna",
    "random": "random",
    "optuna + finals": "optuna + finals",
    "random + finals": "random + finals",
}
"""The table's columns, and what each is; the differences are of the first three."""


if __name__ == "__main__":
    main()
