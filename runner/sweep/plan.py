"""A sweep before it starts: every job composed, checked and named, and what running them would take."""

import math
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from runner.config import hydra_door
from runner.config.check import leaves
from runner.config.compose import MOST_RUNS, Composer, from_hydra
from runner.config.fields import show
from runner.config.hydra_door import DictConfig, Hydra
from runner.errors import ConfigError
from runner.run import files
from runner.run.changed import refuse_runs_of_other_data
from runner.run.claim import run_job
from runner.run.devices import is_spread
from runner.run.job import Job, prepare
from runner.run.outcome import Outcome, finished
from runner.shell import key_of
from runner.sweep.check import SAME, Check, checked
from runner.sweep.held import Maker
from runner.sweep.invalid import Invalid
from runner.sweep.pack import packed

if TYPE_CHECKING:
    from runner.engine.run import Run

TRIAL_SECONDS = 1.0
"""Training spent on an estimate of how long a sweep would take, for each kind of run."""
TRIAL_KINDS = 3
START_SECONDS = 4.0
"""Until the processes of a run on two devices are there and train: 3 on two idle cores, 10 beside other work."""


@dataclass(frozen=True)
class Grid:
    """Values to be crossed, and optionally several sets of further values of which each is crossed with them."""

    shared: tuple[str, ...]
    unions: tuple[tuple[str, ...], ...] = ()

    @staticmethod
    def of(params: Mapping[str, Any], unions: Sequence[str], arguments: Sequence[str]) -> "Grid":
        """Return the grid of an experiment's own axes and a command line's, whose keys replace the experiment's."""
        given = {key_of(argument) for argument in arguments}
        own = [f"{key}={value}" for key, value in params.items() if key not in given]
        return Grid((*own, *arguments), tuple(tuple(shlex.split(union)) for union in unions))

    def jobs(self, composer: Composer) -> list[list[str]]:
        """Return the overrides of every job."""
        parts = self.unions or ((),)
        return [job for part in parts for job in composer.expand([*self.shared, *part])]


def split_parts(overrides: Sequence[str]) -> list[list[str]]:
    """Return the parts of ``A + B + C``."""
    parts: list[list[str]] = [[]]
    for override in overrides:
        if override == "+":
            parts.append([])
        else:
            parts[-1].append(override)
    return parts


def split_unions(overrides: Sequence[str]) -> list[str]:
    """Return ``A + B + C`` as Hydra takes it: A, and the sweeper's list of B and C."""
    parts = split_parts(overrides)
    if len(parts) == 1:
        return parts[0]
    if any(not part for part in parts[1:]):
        raise ConfigError("a lone + joins grids: A + B + C crosses A with B, and A with C; one of them is empty")
    return [*parts[0], f"hydra.sweeper.unions={hydra_door.pack([shlex.join(part) for part in parts[1:]])}"]


def spell_out_seeds(overrides: Sequence[str]) -> list[str]:
    """Return ``seeds=N`` as ``seed=0,1,…,N-1``."""
    written = []
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "seeds":
            if not value.isdecimal() or not 1 <= int(value) <= MOST_RUNS:
                most = f"1 to {MOST_RUNS:,}"
                raise ConfigError(f"seeds must be a whole number, {most}, got {value!r}: seeds=5 is seed=0,1,2,3,4")
            override = f"seed={','.join(map(str, range(int(value))))}"
        written.append(override)
    return written


def plan(
    composer: Composer, job_overrides: Sequence[Sequence[str]], tell: Callable[[str], None] | None = None
) -> list[Job]:
    """Return the jobs of a sweep, each run once whatever names it was asked by; each is checked.

    Large grids are checked on all cores.

    Args:
        composer: composes them.
        job_overrides: what was typed for each.
        tell: is told of those that ``skip_invalid`` leaves out; None where none may be.

    Raises:
        ConfigError: naming the jobs that cannot be run; nothing has been written.
    """
    make = Maker(composer)
    jobs: dict[str, Job] = {}
    fingerprints: set[str] = set()
    one_value: dict[str, set[str]] = {key: set() for key in SAME}
    experiments = {o for overrides in job_overrides for o in overrides if o.startswith("experiment=")}
    check = Check(make, several_experiments=len(experiments) > 1)
    invalid = Invalid(len(job_overrides))
    for number, (overrides, found) in enumerate(zip(job_overrides, checked(check, job_overrides), strict=True)):
        if isinstance(found, str):
            invalid.add(number, overrides, found)
            if not jobs and invalid.is_hopeless:
                raise ConfigError(str(invalid))
            continue
        fingerprints.add(found.fingerprint)
        job = found.held(overrides, make)
        if (first := jobs.setdefault(job.run_id, job)) is not job:
            _refuse_double(first, job)
        for (key, values), value in zip(one_value.items(), found.control, strict=True):
            values.add(value)
            if len(values) > 1:
                raise ConfigError(f"{key} takes one value a sweep, got {', '.join(sorted(values))}")
    if invalid:
        if tell is None or not jobs:
            raise ConfigError(str(invalid))
        if not next(iter(jobs.values())).config["skip_invalid"]:
            raise ConfigError(f"{invalid}\n{invalid.advice}")
        tell(f"left out: {invalid}")
    refuse_runs_of_other_data(list(jobs.values()), fingerprints)
    return list(jobs.values())


def _refuse_double(first: Job, second: Job) -> None:
    """Refuse an axis over a key that does not change what a run finds: its runs would be one."""
    if first.config != second.config:
        ours, theirs = leaves(first.config), leaves(second.config)
        key = next(k for k in ours if ours[k] != theirs.get(k))
        raise ConfigError(
            f"{key} takes one value a sweep, got {show(ours[key])}, {show(theirs.get(key))}: "
            "it does not change what a run finds"
        )


def describe(jobs: Sequence[Job], workers: int) -> str:
    """Say what running the jobs would do, without doing it: a line a job, then how many and how long."""
    lines, pending = [], []
    for job in jobs:
        summary = finished(job)
        if summary is not None:
            lines.append(f"{summary['status']:<13} {job}")
            continue
        pending.append(job)
        before = files.read_summary(job.folder)
        state = "again" if before and before["status"] in files.ENDED else "goes on" if job.folder.exists() else "new"
        lines.append(f"{state:<13} {job}")
    ours = [job for job in pending if not job.is_own]
    about = []
    if ours or not pending:
        about.append(f"about {_duration(estimate_seconds(ours, workers))} with {workers} workers")
    if len(ours) < len(pending):
        about.append("how long training functions of your own take is not known")
    done = len(jobs) - len(pending)
    lines.append(f"{len(pending)} would run, {done} are there; {'; '.join(about)}")
    return "\n".join(lines) + "\n"


def estimate_seconds(jobs: Sequence[Job], workers: int) -> float:
    """Return how long the jobs would take, from a short trial of a few kinds of them in memory.

    A run on several devices is tried on one: what they gain is not counted, but that its processes have to start is.
    """
    from runner.run.build import build

    chosen = [[jobs[i] for i in task] for task in packed(jobs, workers)]
    kinds: dict[str, list[list[Job]]] = {}
    for task in chosen:
        alike = [task[0].config[k] for k in ("data", "model", "batch")]
        kinds.setdefault(str([alike, len(task) > 1]), []).append(task)
    tried = list(kinds.values())[:TRIAL_KINDS]
    total = 0.0
    for kind in tried:
        runs = [build(job) for job in kind[0]]
        total += _seconds_a_step(runs) * sum(build(task[0]).steps for task in kind)
    whole = total * len(chosen) / max(1, sum(map(len, tried)))
    whole += START_SECONDS * sum(is_spread(job) for job in jobs)
    return whole / max(1, min(workers, len(chosen)))


def _seconds_a_step(runs: "Sequence[Run]") -> float:
    """Train a run or a stack for a moment in memory, on one thread as workers do, evaluations counted in."""
    import torch

    from runner.engine import fused, loop
    from runner.engine.fused.members import stack
    from runner.engine.state import start

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    marks: list[tuple[float, int]] = []

    def over(step: int) -> bool:
        marks.append((time.monotonic(), step))
        return marks[-1][0] - marks[0][0] > TRIAL_SECONDS

    if len(runs) > 1:
        members = stack(runs)
        for _ in fused.train(members, over):
            if over(members.step):
                break
    else:
        # sharpness may take many times as long as the steps
        hooks = {name: hook for name, hook in runs[0].hooks.items() if name != "sharpness"}
        state = start(replace(runs[0], hooks=hooks))
        for _ in loop.train(state, lambda state, loss: over(state.step)):
            if over(state.step):
                break
    torch.set_num_threads(threads)
    return (marks[-1][0] - marks[0][0]) / max(1, marks[-1][1] - marks[0][1])


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def outcomes_of(jobs: Sequence[Job], errors: Sequence[str | None]) -> list[Outcome]:
    """Return what the records say became of jobs; one without a record, or of which only an error is known, has failed.

    Args:
        jobs: that another launcher ran.
        errors: what it says of each; None where nothing was raised.
    """
    found = []
    for job, error in zip(jobs, errors, strict=True):
        summary = files.read_summary(job.folder)
        if error is not None and (summary is None or summary["status"] != "failed"):  # it is of an earlier start
            summary = {"status": "failed", "stop_reason": error, "run_id": job.run_id}
        unknown = {"status": "interrupted", "stop_reason": "it left no summary", "run_id": job.run_id}
        found.append(Outcome(job, summary or unknown, trained=True))
    return found


def launch(hydra: Hydra, overrides: Sequence[str]) -> Any:
    """Run a sweep through Hydra; return what its sweeper returns, optbench's own outcomes, or with ``dry_run`` a text.

    Raises:
        ConfigError: naming the first thing that is wrong; nothing has been written.
    """
    spelled = split_unions(spell_out_seeds(overrides))
    return hydra_door.multirun(hydra, task, Composer.of(hydra.config_loader).for_sweep(spelled))


def task(config: DictConfig) -> float | None:
    """Run one job that another of Hydra's launchers composed; returns its final validation loss."""
    outcome = run_job(prepare(from_hydra(config)), save="none", bar=False)
    if outcome is not None and outcome.summary["status"] == "interrupted":
        raise KeyboardInterrupt  # which ends the launcher too
    loss = outcome.summary.get("final_val_loss") if outcome is not None else None
    return float(loss) if loss is not None else None
