"""A single run that was trained for as long as all members of an ensemble together, held against it."""

from dataclasses import asdict

from runner.after.ensemble import Made
from runner.after.judged import measures, score
from runner.after.members import find, outputs_of
from runner.after.said import gain
from runner.after.trained_again import equal_job
from runner.config.compose import Composer
from runner.errors import ConfigError
from runner.run.job import Job
from runner.run.load import load_model
from runner.statistics import ensembles as of

LONGER = "one run, as long"


def single(made: Made, composer: Composer) -> Job:
    """Return the job of the best member's setting, or of the first's, with the steps of all members together.

    Raises:
        ConfigError: if the members are of one run, which is as long itself.
    """
    cost, members = made.judged.cost, made.team.members
    if len({m.folder for m in members}) == 1:
        raise ConfigError("--equal: the members are snapshots of one run, which is the single run of equal compute")
    best = next((m for m in members if m.title == made.judged.best), members[0])
    return equal_job(best, cost["steps"] / cost["steps_of_one"], composer, made.team.allow)


def compare(made: Made, job: Job) -> dict[str, object]:
    """Note in an ensemble what the single run reaches; return it as plain values."""
    team = made.team
    (member,), _ = find([str(job.folder)])
    test = team.predict("test")
    samples = team.parts(member).test
    outputs = outputs_of(load_model(member.folder, team.allow), samples.x)
    found = measures(outputs, test, team.classes)
    better = of.paired(
        score(made.combined, test, team.classes) - score(outputs, test, team.classes), team.classes is not None
    )
    made.judged.rows[LONGER] = found
    times = made.judged.cost["steps"] / made.judged.cost["steps_of_one"]
    made.notes.append(
        f"at equal compute, one run of {times:.0f} times the steps ({member.folder}): "
        f"the ensemble is better by {gain(made.judged, better)}"
    )
    return {"equal": {"run": member.folder.as_posix(), "rows": found, "gain": asdict(better)}}
