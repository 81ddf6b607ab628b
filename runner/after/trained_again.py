"""Runs that are asked for beside those that are there: members that kept no weights, and one of equal compute."""

from collections.abc import Collection, Sequence
from pathlib import Path

from runner.after.members import Member
from runner.config import hydra_door
from runner.config.compose import Composer
from runner.errors import ConfigError, OptbenchError
from runner.run import launches
from runner.run.files import SOUND, read_overrides
from runner.run.job import Job, prepare
from runner.run.outcome import Outcome
from runner.shell import joined, key_of
from runner.sweep.launch import Report, run_all
from runner.sweep.launch.processes import launch, number_of_workers

DROPPED = ("save", "force", "pause_at", "retry", "dry_run", "skip_invalid", "fail_fast")
"""Keys of how a run was asked for, which training it again has no use for."""


def overrides_of(member: Member) -> list[str]:
    """Return what is typed to train a run again.

    Raises:
        ConfigError: if its folder does not tell.
    """
    return [o for o in read_overrides(member.folder) if key_of(o) not in DROPPED]


def lacking(members: Sequence[Member]) -> list[Member]:
    """Return the members that kept no weights."""
    return [member for member in members if not member.has_weights]


def refuse(missing: Sequence[Member], members: Sequence[Member]) -> ConfigError:
    """Return what is said of members without weights."""
    of_all = f"{len(missing)} of {len(members)} runs did not keep weights"
    said = "no run kept weights" if len(missing) == len(members) else of_all
    return ConfigError(
        f"{said}, as save=none is a sweep's default; the first: {missing[0].folder}\n"
        "add --train, which trains these again with save=last, or train them so yourself: "
        f"{joined(['optbench', 'train', *overrides_of(missing[0]), 'save=last'])}"
    )


def jobs_again(missing: Sequence[Member], composer: Composer, allow: Collection[str]) -> list[Job]:
    """Return the jobs that train members anew, their weights kept; nothing has been written.

    Raises:
        ConfigError: if one would be another run, or lie elsewhere, or has a part that is not allowed.
    """
    found = []
    for member in missing:
        job = prepare(composer.compose([*overrides_of(member), "save=last"]), allow)
        if job.run_id != member.run_id:
            raise ConfigError(f"--train: {member.folder} is another run now: its data, YAMLs or parts have changed")
        if job.folder.resolve() != member.folder.resolve():
            raise ConfigError(
                f"--train: {member.folder} would be trained in {job.folder}: work in the folder that holds its outputs/"
            )
        found.append(job)
    return found


def equal_job(best: Member, times: float, composer: Composer, allow: Collection[str]) -> Job:
    """Return the job of a member's setting with as many steps as all members together.

    Raises:
        ConfigError: if the run's length is not known in steps or epochs.
    """
    asked, name = overrides_of(best), f"{best.config['name']}-longer"
    keys = {key_of(o) for o in asked} & {"epochs", "max_steps", "name"}
    length = "max_steps" if best.config.get("max_steps") is not None else "epochs"
    longer = max(1, round(times * best.config[length]))
    kept = [o for o in asked if key_of(o) not in keys]
    return prepare(
        composer.compose([*kept, f"{length}={longer}", f"name={hydra_door.written(name)}", "save=last"]), allow
    )


def train(jobs: Sequence[Job], command: str, report: Report) -> list[Outcome]:
    """Train jobs, those of each folder as a sweep of their own.

    Raises:
        KeyboardInterrupt: if it was interrupted.
        OptbenchError: if a run failed.
    """
    outcomes: list[Outcome] = []
    folders: dict[Path, list[Job]] = {}
    for job in jobs:
        folders.setdefault(job.folder.parent, []).append(job)
    for folder, ours in folders.items():
        launches.note(folder, command, [job.run_id for job in ours])
        outcomes += run_all(ours, launch, number_of_workers(ours), report)
    for outcome in outcomes:
        if outcome.summary["status"] == "interrupted":
            raise KeyboardInterrupt
    for outcome in outcomes:
        if outcome.summary["status"] not in SOUND:
            reason = outcome.summary.get("stop_reason")
            raise OptbenchError(f"{outcome.job.folder}: {outcome.summary['status']}: {reason}")
    return outcomes
