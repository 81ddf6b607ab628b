"""A study on disk: ``outputs/<name>/search.json`` says what is searched and what was proposed; the runs say the rest.

The file holds no result. What a trial came to is read from its runs' folders, so that a run that is trained again, or
elsewhere, counts as it is. Without the file the same command proposes the same again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runner.config.fields import show
from runner.errors import ConfigError
from runner.measures import HIGHER_IS_BETTER, chosen_by
from runner.report.measure import Measure
from runner.run import files
from runner.run.lock import exclusive
from runner.run.record import write_whole, writing
from runner.search.proposals import Tried
from runner.search.space import Drawn

FILE = "search.json"
SPENT = ".search.json"
"""How long the search took so far, which is no part of what it finds."""
NAMES = {
    "space": "the space",
    "replicates": "the runs of a setting",
    "sampler": "--sampler",
    "seed": "--seed",
    "generation": "--generation",
    "metric": "--metric",
    "halving": "--halving",
}
LATER = {"halving": "none"}
"""What studies of older versions do not say."""


@dataclass(frozen=True)
class Trial:
    """One setting that was proposed, and its runs."""

    setting: list[str]
    """What is typed to get it, beside what all have in common."""
    drawn: Drawn
    folders: list[str]
    """The runs' folders, below the study's."""


@dataclass(frozen=True)
class Stage:
    """Who of a generation went on from a rung."""

    went_on: list[int]
    """Trials by their place in the generation."""
    packs: list[list[str]]
    """Ids of the runs that are trained together from there."""


@dataclass(frozen=True)
class Generation:
    """Settings that were proposed together, knowing those before them."""

    asked: int
    """So many settings were drawn to find them."""
    trials: list[Trial]
    packs: list[list[str]]
    """Ids of the runs that are trained together."""
    stages: list[Stage] = field(default_factory=list)
    """Of each rung that all have come to."""


class Study:
    """What is searched, and what was proposed so far."""

    def __init__(self, folder: Path, said: Mapping[str, Any], retry: bool = False) -> None:
        """Go on with the study of a folder, or begin one; nothing is written.

        Args:
            folder: where its runs lie.
            said: what decides which settings are proposed.
            retry: whether runs that failed are trained again.

        Raises:
            ConfigError: if there is a study that searches otherwise; the message says what changed.
        """
        self.folder, self.said = folder, json.loads(json.dumps(said))
        self.generations: list[Generation] = []
        self.retry = retry
        self.tried_again: set[str] = set()
        """Folders of the runs that were trained again, however they ended."""
        self._summaries: dict[str, dict[str, Any]] = {}
        self.generations = self._read() or []

    def _read(self) -> list[Generation] | None:
        """Return the generations of the search that the file is of; None where there is no file.

        Raises:
            ConfigError: if it is of another search, or cannot be read.
        """
        path = self.folder / FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            said, generations = found["study"], _generations(found["generations"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} cannot be read: {error}; without it the same command proposes the same"
            ) from error
        if changed := next(_differences(said, self.said), None):
            raise ConfigError(
                f"{path} is of another search: {changed}; put it back, or give this one a name=… of its own"
            )
        return generations

    def add(self, generation: Generation) -> None:
        """Write a generation behind the others, or take the one that another process wrote in its place."""
        path = self.folder / FILE
        with writing(path):
            self.folder.mkdir(parents=True, exist_ok=True)
            with exclusive(self.folder / ".locks", FILE):
                there = self._read()
                if there is not None and len(there) > len(self.generations):
                    self.generations = there[: len(self.generations) + 1]
                else:
                    self.generations.append(generation)
                    self._write(self.generations)

    def promote(self, number: int, stage: Stage) -> None:
        """Write who of a generation goes on from its present rung, unless another process has."""
        path = self.folder / FILE
        with writing(path), exclusive(self.folder / ".locks", FILE):
            found = self._read() or list(self.generations)
            if len(found[number].stages) == len(self.generations[number].stages):
                found[number].stages.append(stage)
                self._write(found)
            self.generations[number] = found[number]

    def _write(self, generations: Sequence[Generation]) -> None:
        content = {"study": self.said, "generations": [asdict(generation) for generation in generations]}
        write_whole(self.folder / FILE, json.dumps(content, indent=1) + "\n")

    @property
    def trials(self) -> list[Trial]:
        """Every trial that was proposed, in order."""
        return [trial for generation in self.generations for trial in generation.trials]

    def has_ended(self, name: str) -> bool:
        """Say whether a run has ended, and its summary counts."""
        if name not in self._summaries:
            summary = files.read_summary(self.folder / name)
            if summary is None or summary["status"] not in files.ENDED:
                return False
            if summary["status"] == "failed" and self.retry and name not in self.tried_again:
                return False
            self._summaries[name] = summary
        return True

    def has_reached(self, name: str, pause_at: int | None) -> bool:
        """Say whether a run is paused at a step or later, or has ended; without a step, whether it has ended."""
        if pause_at is None or self.has_ended(name):
            return self.has_ended(name)
        summary = files.read_summary(self.folder / name)
        return summary is not None and summary["status"] == "paused" and int(summary["steps"]) >= pause_at

    def summary(self, name: str) -> dict[str, Any] | None:
        """Return a run's summary; None where it has not ended."""
        return self._summaries[name] if self.has_ended(name) else None

    def summaries(self, trial: Trial) -> list[dict[str, Any]] | None:
        """Return the summaries of a trial's runs; None where one has not ended."""
        ended = all(self.has_ended(name) for name in trial.folders)
        return [self._summaries[name] for name in trial.folders] if ended else None

    def measure(self, trials: Sequence[Trial]) -> str | None:
        """Return the column of the summaries that trials are judged by; None where no run has one."""
        if self.said["metric"] is not None:
            return f"final_{self.said['metric']}"
        summaries = (summary for trial in trials for summary in self.summaries(trial) or ())
        return next((name for summary in summaries if is_sound(summary) and (name := chosen_by(summary))), None)

    def tried(self, trials: Sequence[Trial], measure: str | None = None) -> list[Tried]:
        """Return what those of some trials that have ended came to, in order; without a measure by their headline."""
        measure = measure or self.measure(trials)
        ended = ((trial, self.summaries(trial)) for trial in trials)
        return [Tried(trial.drawn, value_of(found, measure)) for trial, found in ended if found is not None]

    def ranked(self, trials: Sequence[Trial]) -> list[tuple[Trial, float]]:
        """Return those of some trials that have a value, with it, the best first."""
        measure = self.measure(trials)
        if measure is None:
            return []
        values = [(trial, value_of(self.summaries(trial) or (), measure)) for trial in trials]
        known = [(trial, value) for trial, value in values if value is not None]
        return sorted(known, key=lambda pair: pair[1], reverse=higher_is_better(measure))

    def spent(self) -> tuple[float, float]:
        """Return the seconds that the search took so far, and those of its last generation."""
        try:
            found = json.loads((self.folder / SPENT).read_text(encoding="utf-8"))
            return float(found["seconds"]), float(found["generation_seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0.0, 0.0

    def spend(self, seconds: float, of_generation: float) -> None:
        """Write how long the search took so far."""
        if self.generations:
            content = {"seconds": round(seconds, 3), "generation_seconds": round(of_generation, 3)}
            write_whole(self.folder / SPENT, json.dumps(content) + "\n")


def value_of(summaries: Sequence[Mapping[str, Any]], measure: str | None) -> float | None:
    """Return the mean of a measure over the runs of a setting; None where one of them has no value."""
    values = [summary.get(measure) if measure and is_sound(summary) else None for summary in summaries]
    numbers = [float(value) for value in values if isinstance(value, int | float)]
    return sum(numbers) / len(numbers) if numbers and len(numbers) == len(values) else None


def higher_is_better(measure: str) -> bool:
    """Say which way a measure is better."""
    return HIGHER_IS_BETTER[measure.removeprefix("final_val_")]


def measure_of(column: str) -> Measure:
    """Return the measure of a column of the summaries."""
    return Measure(column.removeprefix("final_"), higher_is_better(column))


def is_sound(summary: Mapping[str, Any]) -> bool:
    """Say whether a run ended with values that count."""
    return summary["status"] in files.FINISHED and summary["status"] != "diverged"


def _generations(written: Sequence[Mapping[str, Any]]) -> list[Generation]:
    return [
        Generation(
            int(g["asked"]),
            [Trial(t["setting"], t["drawn"], t["folders"]) for t in g["trials"]],
            g["packs"],
            [Stage(stage["went_on"], stage["packs"]) for stage in g.get("stages", [])],
        )
        for g in written
    ]


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield in which way two studies differ."""
    then, now = {**LATER, **then}, {**LATER, **now}
    for key, name in NAMES.items():
        if isinstance(now[key], dict):
            for part in dict.fromkeys([*then[key], *now[key]]):
                was, is_now = then[key].get(part, "not searched"), now[key].get(part, "not searched")
                if was != is_now:
                    yield f"{part} was {was}, now it is {is_now}"
        elif then[key] != now[key]:
            yield f"{name} was {_shown(then[key])}, now it is {_shown(now[key])}"
    for key in dict.fromkeys([*then["run"], *now["run"]]):
        if then["run"].get(key) != now["run"].get(key):
            was, is_now = (show(run[key]) if key in run else "not set" for run in (then["run"], now["run"]))
            yield f"{key} was {was}, now it is {is_now}"


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(" ".join(part) or "one run" for part in value)
    return "the default" if value is None else str(value)
