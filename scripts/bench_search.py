"""How fast a search with halving is: ``optbench tune`` in stacks, beside Optuna's own study over the plain loop.

    python scripts/bench_search.py [--small] [--trials 1000] [--generation 250] [--steps 5400] [--sampler random]

Both draw settings of one space (initializer × optimizer × learning rate × decay × width) by the same sampler of
Optuna's, train them on the same digits for at most so many steps, pause them at the same rungs (1/9 and 1/3 of the
steps), and let one of three go on. Optuna's study has two workers of one thread each that are warm: PyTorch and the
data are there when the clock starts, and nothing is written but its journal. ``optbench tune`` has two workers and
starts cold: imports, planning, records and checkpoints are counted in. Prints the seconds of both, what each came to
(validation loss), and how long each took to the worse of the two: equal quality. ``--small`` is a short form of it.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from torch import nn

from runner.config.compose import Composer
from runner.engine.run import Run
from runner.run.build import build
from runner.run.job import prepare

BY = 3
BATCH = 64
WIDTHS = (16, 32, 64)
INITS = {"he": nn.init.kaiming_normal_, "xavier": nn.init.xavier_normal_, "orthogonal": nn.init.orthogonal_}
OPTIMIZERS = ("sgd", "nesterov", "adam")
RATE, DECAY = (1e-4, 1.0), (1e-4, 0.3)
FIXED = ["model.depth=1", f"batch.size={BATCH}", "regularization=weight_decay", "baselines=false", "workers=2"]
SPACE = [
    f"init={','.join(INITS)}",
    f"optim={','.join(OPTIMIZERS)}",
    f"model.width=choice({','.join(map(str, WIDTHS))})",
    f"optim.lr=tag(log,interval({RATE[0]},{RATE[1]}))",
    f"regularization.weight_decay.rate=tag(log,interval({DECAY[0]},{DECAY[1]}))",
]
WORKERS = 2


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    seconds: float
    trials: int
    steps: int
    """Of all trials."""
    reached: list[tuple[float, float]]
    """Seconds and the validation loss of each trial that was trained to its end, in the order of their ends."""

    @property
    def best(self) -> float:
        """The least loss."""
        return min(loss for _, loss in self.reached)

    def seconds_to(self, loss: float) -> float:
        """Return how long it took to a loss."""
        return next(seconds for seconds, found in self.reached if found <= loss)


# ---- Optuna's study over the plain loop


def train(trial: optuna.Trial, run: Run, rungs: list[int]) -> float:
    """Train one setting as one would write it by hand; return its validation loss."""
    init = trial.suggest_categorical("init", list(INITS))
    kind = trial.suggest_categorical("optim", list(OPTIMIZERS))
    width = trial.suggest_categorical("width", list(WIDTHS))
    lr = trial.suggest_float("lr", *RATE, log=True)
    decay = trial.suggest_float("decay", *DECAY, log=True)
    torch.manual_seed(trial.number)
    x, y = run.train.x, run.train.y
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), width), nn.ReLU(), nn.Linear(width, 10))
    weights = [p for p in model.parameters() if p.ndim > 1]
    for p in model.parameters():
        INITS[init](p) if p.ndim > 1 else nn.init.zeros_(p)
    parameters: Any = model.parameters()
    optimizer: torch.optim.Optimizer = (
        torch.optim.Adam(parameters, lr)
        if kind == "adam"
        else torch.optim.SGD(parameters, lr, momentum=0.9 * (kind == "nesterov"), nesterov=kind == "nesterov")
    )
    loss_of, step = nn.CrossEntropyLoss(), 0
    while True:
        order = torch.randperm(len(y))
        for first in range(0, len(y), BATCH):
            index = order[first : first + BATCH]
            optimizer.zero_grad()
            loss = loss_of(model(x[index]), y[index])
            if not loss.isfinite():
                raise optuna.TrialPruned
            loss.backward()
            with torch.no_grad():
                torch._foreach_mul_(weights, 1 - lr * decay)
            optimizer.step()
            step += 1
            if step not in rungs:
                continue
            with torch.no_grad():
                val = float(loss_of(model(run.val.x), run.val.y))
            if step == rungs[-1]:
                return val
            trial.report(val, step)
            if trial.should_prune():
                raise optuna.TrialPruned


def sampler_of(name: str, seed: int) -> optuna.samplers.BaseSampler:
    """Return the sampler that ``optbench tune`` has."""
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)


def work(number: int, journal: str, asked: argparse.Namespace, run: Run, rungs: list[int], ready: Any) -> None:
    """Train trials of a study in this process until all are made."""
    torch.set_num_threads(1)
    quiet()
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=rungs[0], reduction_factor=BY)
    sampler = sampler_of(asked.sampler, asked.seed + number)
    study = optuna.load_study(study_name="it", storage=storage_at(journal), sampler=sampler, pruner=pruner)
    ready.wait()
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    most = optuna.study.MaxTrialsCallback(asked.trials, states=ended)
    study.optimize(lambda trial: train(trial, run, rungs), callbacks=[most])


def storage_at(journal: str) -> optuna.storages.JournalStorage:
    """Return the file through which workers share a study."""
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(journal))


def quiet() -> None:
    """Let Optuna say nothing of each trial."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def by_optuna(asked: argparse.Namespace, run: Run, rungs: list[int], folder: str) -> Found:
    """Search by Optuna's own study."""
    journal = str(Path(folder) / "journal.log")
    optuna.create_study(study_name="it", storage=storage_at(journal))
    fork = multiprocessing.get_context("fork")
    ready = fork.Barrier(WORKERS + 1)
    workers = [fork.Process(target=work, args=(n, journal, asked, run, rungs, ready)) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    ready.wait()
    began, clock = datetime.datetime.now(), time.perf_counter()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0, "a worker failed"
    seconds = time.perf_counter() - clock
    trials = optuna.load_study(study_name="it", storage=storage_at(journal)).trials
    ended = [t for t in trials if t.state == optuna.trial.TrialState.COMPLETE and t.datetime_complete]
    reached = sorted(((t.datetime_complete - began).total_seconds(), float(t.value or 0)) for t in ended)
    steps = sum(rungs[-1] if t.state == optuna.trial.TrialState.COMPLETE else (t.last_step or 0) for t in trials)
    return Found(seconds, len(trials), steps, reached)


# ---- optbench tune


def by_optbench(asked: argparse.Namespace, rungs: list[int], folder: str) -> Found:
    """Search by ``optbench tune``, from a cold start."""
    began, clock = time.time(), time.perf_counter()
    search = ["--trials", str(asked.trials), "--generation", str(asked.generation), "--sampler", asked.sampler]
    search += ["--seed", str(asked.seed), "--halving", str(BY), "--metric", "val_loss", "--finalists", "0"]
    steps = [f"max_steps={rungs[-1]}", f"eval_every={rungs[0]}"]
    command = [sys.executable, "-m", "runner", "tune", *FIXED, *steps, *SPACE, *search]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - clock
    assert said.returncode == 0, said.stderr
    made, reached, total = 0, [], 0
    for path in Path(folder).glob("outputs/default/*/summary.json"):
        summary = json.loads(path.read_text())
        made, total = made + 1, total + summary["steps"]
        if summary["status"] == "completed":
            reached.append((path.stat().st_mtime - began, float(summary["final_val_loss"])))
    return Found(seconds, made, total, sorted(reached))


def main() -> None:
    """Time both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--trials", type=int)
    parser.add_argument("--generation", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--sampler", choices=("random", "tpe"), default="random")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    for name, small, whole in (("trials", 90, 1000), ("generation", 90, 250), ("steps", 450, 5400)):
        setattr(asked, name, getattr(asked, name) or (small if asked.small else whole))
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    quiet()
    rungs = [-(-asked.steps // BY**k) for k in (2, 1, 0)]
    run = build(prepare(Composer.over().compose([*FIXED, "optim=sgd", f"max_steps={asked.steps}"])))
    with tempfile.TemporaryDirectory() as folder:
        ours = by_optbench(asked, rungs, folder)
    with tempfile.TemporaryDirectory() as folder:
        theirs = by_optuna(asked, run, rungs, folder)
    equal = max(ours.best, theirs.best)
    print(f"{asked.trials} settings of digits, {rungs[-1]} steps, rungs at {rungs[:-1]}, sampler {asked.sampler}")
    print("                    seconds   trials  to the end      steps  best val loss  seconds to equal quality")
    for name, found in (("optbench tune", ours), ("Optuna, plain loop", theirs)):
        line = f"{name:<18}  {found.seconds:7.1f}  {found.trials:7}  {len(found.reached):10}  {found.steps:9}"
        print(f"{line}  {found.best:13.4f}  {found.seconds_to(equal):24.1f}")
    ratios = theirs.seconds / ours.seconds, theirs.seconds_to(equal) / ours.seconds_to(equal)
    print(f"{ratios[0]:.1f} × faster to the end of all, {ratios[1]:.1f} × faster to equal quality")


if __name__ == "__main__":
    main()
