"""How often a report's answer is wrong, and how much it tells, on sweeps whose truth is known.

Two reference sweeps are trained (18 settings × 40 seeds: 3 initializers, 2 optimizers, 3 learning rates; networks of
20 and of 2 hidden layers on digits). Their 40 seeds are taken for all that there is, so that every setting's mean is
known. Then small sweeps are drawn from them, the same seeds for all settings, with replacement, and each is judged as
a report judges it. Run: python scripts/bench_answer.py (minutes; --update writes the tables into the docs).

- error: the share of the truly best settings that is left out of the set that can be the best, on average (and in
  brackets how often any of them is), as it is, and with the top 5, the top 9 and all settings moved to one mean, each
  with its own noise: to the best's mean, where scores beyond 1 are drawn too, and to their own, where hardly any are;
- power: the share of the settings more than 2 points below the best that is named worse;
- coverage: of the intervals of means, of the simultaneous intervals of differences (how often all of a sweep's hold),
  and of effects, and how often a setting exactly one margin away is called equivalent.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from pages import rewrite
from scipy import stats
from tqdm import tqdm

from runner.statistics.best import SHARE, best_set, equivalence, half_widths
from runner.statistics.effects import effect
from runner.statistics.scores import holm

Array = npt.NDArray[np.float64]
Judge = Callable[[Array], npt.NDArray[np.bool_]]

DEPTHS = {"deep": 20, "shallow": 2}
GRID = ("init=he,xavier,default", "optim=sgd,adam", "optim.lr=1e-3,1e-2,1e-1", "seeds=40", "model.width=64")
DOCS = Path(__file__).parents[1] / "docs" / "statistics.md"
MARKS = ("<!-- answer table -->", "<!-- end of answer table -->")
FAR = 0.02
MARGIN = 0.01


def reference(name: str, epochs: int, folder: Path) -> tuple[Array, list[tuple[str, ...]], float]:
    """Train a reference sweep unless it is there; return its accuracies ``[18, 40]``, its settings and their step."""
    called = f"{name}-{epochs}"
    command = [sys.executable, "-m", "runner", "train", "-m", f"name={called}", f"model.depth={DEPTHS[name]}"]
    subprocess.run(
        [*command, f"epochs={epochs}", *GRID], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )  # finished runs are skipped
    runs = pd.read_csv(folder / "outputs" / called / "runs.csv")
    table = runs.pivot_table(index=["init", "optim", "optim.lr"], columns="seed", values="final_val_accuracy")
    settings = [tuple(map(str, row)) for row in table.index]
    return table.to_numpy(float), settings, 1 / float(runs["val_samples"].iloc[0])


def scenarios(scores: Array) -> Iterator[tuple[str, Array]]:
    """Yield a sweep as it is, and with its top settings moved to one mean."""
    mean = scores.mean(1)
    order = np.argsort(-mean, kind="stable")
    yield "as it is", scores
    for name, count, inside in (
        ("top 5", 5, False),
        ("top 9", 9, False),
        ("all", len(scores), False),
        ("top 9, at their mean", 9, True),
        ("all, at their mean", len(scores), True),
    ):
        moved, top = scores.copy(), order[:count]
        moved[top] += ((mean[top].mean() if inside else mean[order[0]]) - mean[top])[:, None]
        yield name, moved


def all_pairs(scores: Array) -> npt.NDArray[np.bool_]:
    """Judge as reports did before: paired t-tests against the leader, corrected for every pair of settings (Holm)."""
    mean, n = scores.mean(1), scores.shape[1]
    difference = scores[int(mean.argmax())] - scores
    error = np.sqrt(np.maximum(difference.var(1, ddof=1), (1 / 143) ** 2 / 6) / n)
    p = 2 * stats.t.sf(np.abs(difference.mean(1) / error), n - 1)
    p[int(mean.argmax())] = np.nan
    corrected = holm(p, len(scores) * (len(scores) - 1) // 2)
    return np.asarray(~(np.nan_to_num(corrected, nan=1.0) <= 0.05))


def errors_and_power(scores: Array, seeds: Array, judge: Judge) -> dict[str, tuple[float, float, float]]:
    """Return for each scenario the error, its standard error and how often any is left out; for "power" the power."""
    found = {}
    for name, moved in scenarios(scores):
        mean = moved.mean(1)
        best, far = mean >= mean.max() - 1e-9, mean < mean.max() - FAR
        inside = np.array([judge(moved[:, drawn]) for drawn in seeds])
        out = (~inside[:, best]).mean(1)
        found[name] = (float(out.mean()), float(out.std() / np.sqrt(len(out))), float((out > 0).mean()))
        if name == "as it is":
            found["power"] = (float((~inside[:, far]).mean()), 0.0, 0.0)
    return found


def coverage(scores: Array, settings: list[tuple[str, ...]], seeds: Array, step: float) -> dict[str, float]:
    """Return how often the intervals hold what they should, and how often a setting a margin away is equivalent."""
    truth = scores.mean(1)
    means, together, effects, wrong = [], [], [], []
    levels = [sorted({s[axis] for s in settings}) for axis in range(3)]
    groups = [[[i for i, s in enumerate(settings) if s[axis] == v] for v in levels[axis]] for axis in range(3)]
    pairs = [(a, b) for of_axis in groups for a, b in combinations(of_axis, 2)]
    for drawn in seeds:
        x = scores[:, drawn]
        means += (np.abs(x.mean(1) - truth) <= half_widths(x, step, SHARE)).tolist()
        found = best_set(x, step, SHARE)
        difference = truth[found.leader] - truth
        others = np.arange(len(x)) != found.leader
        together.append(bool(((found.low <= difference) & (difference <= found.high))[others].all()))
        for a, b in pairs:
            one = effect(x, *(of_level[int(x[of_level].mean(1).argmax())] for of_level in (a, b)), step)
            effects.append(one.low <= truth[a].max() - truth[b].max() <= one.high)
        # The runner-up moved to exactly one margin below the best: calling it equivalent is an error.
        first, second = np.argsort(-truth, kind="stable")[:2]
        y = x.copy()
        y[second] += truth[first] - truth[second] - MARGIN
        low, high = equivalence(given := best_set(y[[first, second]], step, SHARE), 1 - given.leader)
        wrong.append(low > -MARGIN and high < MARGIN)
    parts = {"means": means, "differences": together, "effects": effects, "equivalent": wrong}
    return {name: float(np.mean(held)) for name, held in parts.items()}


def main() -> None:
    """Train, draw, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("outputs", "answer"), help="where the sweeps lie or go")
    parser.add_argument("--draws", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=10, help="of the reference sweeps (20: half of a setting fails)")
    parser.add_argument("--before", action="store_true", help="judge all pairs, as reports did before, as well")
    parser.add_argument("--update", action="store_true", help="write the tables into docs/statistics.md")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    names = "top 5 | top 9 | all | top 9, at their mean | all, at their mean"
    lines = [f"| seeds | network | power | error as it is | {names} |", "| --- " * 9 + "|"]
    covered = ["| seeds | network | means | differences (all of a sweep's) | effects | falsely equivalent |"]
    covered.append("| --- " * 6 + "|")
    for name in DEPTHS:
        scores, settings, step = reference(name, arguments.epochs, arguments.folder)
        judges: dict[str, Judge] = {"": lambda x, step=step: best_set(x, step, SHARE).inside}
        judges |= {", all pairs": all_pairs} if arguments.before else {}
        for n in tqdm((3, 5, 10), desc=name, unit="size"):
            seeds = np.random.default_rng(0).integers(0, scores.shape[1], (arguments.draws, n))
            for kind, judge in judges.items():
                found = errors_and_power(scores, seeds, judge)
                cells = [f"{e:.3f} ± {2 * s:.3f} ({a:.2f})" for k, (e, s, a) in found.items() if k != "power"]
                lines.append(f"| {n} | {name}{kind} | {found['power'][0]:.2f} | {' | '.join(cells)} |")
            held = coverage(scores, settings, seeds[: arguments.draws // 3], step)
            covered.append(f"| {n} | {name} | {' | '.join(f'{v:.3f}' for v in held.values())} |")
    text = "\n".join([*lines, "", *covered])
    print(text)
    if arguments.update:
        rewrite(DOCS, MARKS, text)


if __name__ == "__main__":
    main()
