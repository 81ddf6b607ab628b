"""Boosting: rounds of small networks, each trained on what those before it got wrong. Rounds are ordinary runs.

SAMME weighs samples (``data.weights``); gradient boosting gives each round what is left over (``data.targets``). What a
round is given is written once, to ``outputs/<name>/.rounds/``, before it is trained: after a kill the same command goes
on with the same files, and so to the same rows.
"""

import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from runner.after.combined import Recipe
from runner.after.members import Member, Team, outputs_of
from runner.config.fields import show
from runner.config.identity import identity
from runner.data import Data, Samples
from runner.data.split import places
from runner.errors import ConfigError, OptbenchError
from runner.run import files, launches
from runner.run.build import build
from runner.run.job import Job, parts_of
from runner.run.load import load_model
from runner.run.lock import exclusive
from runner.run.record import settle_runs_csv, write_whole, writing
from runner.statistics import ensembles as of
from runner.statistics.scores import Array
from runner.sweep.launch.processes import launch
from runner.sweep.queue import Queue

FILE = "boost.json"
ROUNDS = ".rounds"
SEEDS_APART = 1000
"""A round's seed is the run's times this, and its number: no two boosts share one."""
CUT = ("split_seed", "val_fraction", "fraction", "folds", "fold", "bootstrap")
ATTEMPTS = 2
"""How often a round is started whose worker dies."""

Making = Callable[[Sequence[str]], Job]
"""Makes a checked job of overrides."""


@dataclass
class Boost:
    """Rounds on their way."""

    first: Job
    """What was asked for, without a round's own weights or targets."""
    method: str
    rate: float
    rounds: int
    make: Making
    overrides: Sequence[str]
    command: str
    jobs: list[Job] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    """What each round that has ended counts."""
    errors: list[float] = field(default_factory=list)
    """Its weighted error, or the training loss of the rounds up to it."""
    ended: str | None = None
    """Why there are no more rounds, where fewer suffice."""
    dropped: bool = False
    """The last round is no better than a guess, and is left out."""
    interrupted: bool = False
    _attempts: int = 0

    def __post_init__(self) -> None:
        source, config = self.first.source, self.first.config
        self.classes = source.classes
        self.parts: Data = parts_of(config, source, "float64")
        self._places = places(source, **{key: config["data"][key] for key in CUT})
        n = len(self.parts.train)
        self._sample_weights: Array = np.full(n, 1 / n)
        y = [self._targets(part) for part in self._each]
        self.base = of.first_scores(y[0], self.classes)
        self._y, self._scores = y, [np.tile(self.base, (len(one), 1)) for one in y]

    @property
    def _each(self) -> tuple[Samples, Samples, Samples]:
        return self.parts.train, self.parts.val, self.parts.test

    def _targets(self, part: Samples) -> Array:
        return cast(Array, part.y if self.classes is None else part.y.astype(np.int64))

    @property
    def folder(self) -> Path:
        """Where the rounds lie."""
        return self.first.folder.parent

    # ---- the rounds

    def run(self) -> None:
        """Train the rounds that are not trained yet.

        Raises:
            OptbenchError: if a round failed, or nothing can be boosted.
        """
        self._begin()
        queue = Queue((), 1, self._source)
        queue.title, queue.expected = "boosting", self.rounds
        launch(queue, lambda outcome: None, 1)
        self.interrupted = queue.closed
        if self.jobs:
            settle_runs_csv(self.folder)

    def _begin(self) -> None:
        """Write what is asked for, or see that it is what was asked for before."""
        path, said = self.folder / FILE, self._said()
        with writing(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            with exclusive(self.folder / ".locks", FILE):
                (self.folder / ROUNDS).mkdir(exist_ok=True)
                if path.exists():
                    refuse_another(path, said)
                else:
                    write_whole(path, json.dumps(said, indent=1) + "\n")

    def check(self) -> None:
        """Try out the first round, and refuse to boost in the folder of another boost; nothing is written there.

        Raises:
            ConfigError: for what cannot be trained so, or saying what differs from the boost that is there.
        """
        if (self.folder / FILE).exists():
            refuse_another(self.folder / FILE, self._said())
        with tempfile.TemporaryDirectory() as folder:
            build(self._round(0, Path(folder)))

    def _said(self) -> dict[str, Any]:
        """Return what is asked for, as its file gives it back."""
        run = identity(self.first.config, self.first.source.fingerprint, {}, self.first.known)
        said: dict[str, Any] = json.loads(json.dumps({"method": self.method, "rate": self.rate, "run": run}))
        return said

    def _source(self, queue: Queue) -> None:
        """Add the next round, once the last has ended."""
        if len(queue.outcomes) < len(queue.jobs):
            return
        while self.ended is None and not queue.closed:
            if len(self.jobs) > len(self.weights) and not self._concluded(queue):
                return
            if self.ended is not None or len(self.jobs) == self.rounds:
                return
            job = self._round(len(self.jobs), self.folder / ROUNDS)
            self.jobs.append(job)
            if not _is_sound(files.read_summary(job.folder)) or not (job.folder / "checkpoint.pt").is_file():
                self._add(queue, job)
                return

    def _add(self, queue: Queue, job: Job) -> None:
        launches.note(self.folder, self.command, [job.run_id])
        queue.add([job])

    def _concluded(self, queue: Queue) -> bool:
        """Say whether the last round has ended, and take it in; a lost one is added again."""
        job = self.jobs[-1]
        summary = files.read_summary(job.folder)
        if not _is_sound(summary):
            status = None if summary is None else summary["status"]
            if status in files.ENDED:
                reason = (summary or {}).get("stop_reason")
                raise OptbenchError(f"round {len(self.jobs)}, {job.folder}, {status}: {reason}")
            self._attempts += 1
            if self._attempts >= ATTEMPTS:
                raise OptbenchError(f"round {len(self.jobs)}, {job.folder}, was lost twice; the same command goes on")
            self._add(queue, job)
            return False
        self._attempts = 0
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in workers, and none of them is forked from a process that has several
        try:
            (self._weigh if self.method == "samme" else self._take)(load_model(job.folder, job.allow))
        finally:
            torch.set_num_threads(threads)
        return True

    def _weigh(self, model: Any) -> None:
        """Take a round of SAMME in."""
        assert self.classes is not None, "it is of classes"
        wrong = outputs_of(model, self.parts.train.x).argmax(1) != self._y[0]
        found = of.samme(self._sample_weights, wrong, self.classes, self.rate)
        self.weights.append(found.weight)
        self.errors.append(found.error)
        self._sample_weights = found.weights
        number = len(self.weights)
        if found.error <= 0:
            self.ended = f"round {number} makes no mistake on the training samples, so that none is left to weigh"
        elif found.weight <= 0:
            self.ended = f"round {number} is no better than a guess on the weighted samples, and is left out"
            self.dropped = True

    def _take(self, model: Any) -> None:
        """Take a round of gradient boosting in."""
        steps = [outputs_of(model, part.x) if len(part) else self._scores[i] for i, part in enumerate(self._each)]
        amount = self.rate * of.line_search(self._scores[0], steps[0], self._y[0], self.classes)
        self._scores = [s + amount * step for s, step in zip(self._scores, steps, strict=True)]
        self.weights.append(amount)
        if self.classes is None:
            self.errors.append(of.squared_error(self._scores[0], self._y[0]))
        else:
            self.errors.append(of.log_loss(of.softmax(self._scores[0]), self._y[0].astype(np.int64)))

    # ---- what a round is given

    def _round(self, number: int, folder: Path) -> Job:
        """Return a round's job; what it is given is written into a folder, unless it is there."""
        given = [f"seed={self.first.config['seed'] * SEEDS_APART + number}"]
        if self.method == "samme":
            given.append(f"data.weights={_kept(folder / f'{number + 1:03d}.npy', self._weights_file)}")
        else:
            given.append(f"data.targets={_kept(folder / f'{number + 1:03d}.npz', self._targets_file)}")
            if not any(o.startswith("data.normalize_target=") for o in self.overrides):
                given.append("data.normalize_target=standard")  # what is left over becomes small
        return self.make([*(o for o in self.overrides if o.partition("=")[0] != "seed"), *given])

    def _weights_file(self) -> bytes:
        """Return the samples' weights, in the mean 1; those that are not trained on have 0."""
        weights = np.zeros(len(self.first.source.samples))
        weights[self._places[0]] = self._sample_weights * len(self._sample_weights)
        file = io.BytesIO()
        np.save(file, weights)
        return file.getvalue()

    def _targets_file(self) -> bytes:
        """Return what is left over of every sample."""
        source = self.first.source
        left = [of.residuals(s, y, self.classes) for s, y in zip(self._scores, self._y, strict=True)]
        k = left[0].shape[1]
        held: dict[str, Array] = {"samples": np.zeros((len(source.samples), k))}
        owners = {"train": None, "val": source.val, "test": source.test}
        for (name, own), at, values in zip(owners.items(), self._places, left, strict=True):
            if own is not None:
                held[name] = np.zeros((len(own), k))
            held[name if own is not None else "samples"][at] = values
        file = io.BytesIO()
        np.savez(file, **cast(Mapping[str, Any], held))
        return file.getvalue()

    # ---- the result

    def members(self) -> list[Member]:
        """Return the rounds that count."""
        jobs = self.jobs[: len(self.weights) - self.dropped]
        summaries = [{"run_id": job.run_id, **(files.read_summary(job.folder) or {})} for job in jobs]
        return [Member(job.folder, files.read_config(job.folder), s) for job, s in zip(jobs, summaries, strict=True)]

    def recipe(self) -> Recipe:
        """Return how the rounds become one."""
        counted = self.weights[: len(self.weights) - self.dropped]
        base = tuple(self.base.tolist()) if self.method == "gradient" else ()
        return Recipe(self.method, self.classes, tuple(counted), base=base)

    def team(self) -> Team:
        """Return the rounds as members.

        Raises:
            OptbenchError: if fewer than two count.
        """
        members = self.members()
        if len(members) < 2:
            raise OptbenchError(
                f"{self.ended or 'one round was asked for'}: nothing is boosted; use weaker members, such as a smaller "
                "model.width or fewer epochs"
            )
        return Team(members, self.first.allow, boosted=True)


def _kept(path: Path, content: Callable[[], bytes]) -> str:
    """Return where a file lies; it is written unless it is there: then it is what the round was begun on."""
    if not path.exists():
        write_whole(path, content())
    return path.as_posix()


def _is_sound(summary: Mapping[str, Any] | None) -> bool:
    return summary is not None and summary["status"] in files.SOUND


def refuse_another(path: Path, said: Mapping[str, Any]) -> None:
    """Refuse what differs from what a folder's rounds were asked for.

    Raises:
        ConfigError: naming the first difference.
    """
    try:
        then = json.loads(path.read_text(encoding="utf-8"))
        was = {"--method": then["method"], "--rate": then["rate"], **then["run"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; give this boost a name=… of its own") from error
    now = {"--method": said["method"], "--rate": said["rate"], **said["run"]}
    for key in dict.fromkeys([*was, *now]):
        if was.get(key) != now.get(key):
            raise ConfigError(
                f"{path} is of another boost: {key} was {show(was.get(key))}, now it is {show(now.get(key))}; "
                "put it back, or give this one a name=… of its own"
            )
