"""A search before it starts: its space read, tried at its corners, and held against the study that is there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from runner.config.compose import Composer
from runner.config.identity import CONTROL, identity
from runner.config.options import of_every_run
from runner.errors import ConfigError, closest
from runner.measures import HIGHER_IS_BETTER
from runner.run.job import Job
from runner.search.asked import Limits
from runner.search.defaults import default_space
from runner.search.grammar import PART, space_of
from runner.search.halving import NONE, halving_of
from runner.search.proposals import imported
from runner.search.space import Choice, Drawn, Space
from runner.search.study import Study
from runner.search.tune import Search
from runner.shell import key_of
from runner.sweep.check import Check
from runner.sweep.held import Maker
from runner.sweep.launch.chosen import chosen

COMBINATIONS = 64
"""So many combinations of options are all tried out; of more, each option by itself."""
LAUNCHER = ("hydra/launcher=", "hydra.launcher.")
"""What says where a search's runs are trained."""
NOT_HERE = {
    "force": "a search goes on with its own runs: give it a name=… of its own to begin anew",
    "pause_at": "a search judges finished runs",
}


@dataclass(frozen=True)
class Asked:
    """What a command line asks for."""

    overrides: Sequence[str]
    sampler: str
    seed: int
    generation: int
    metric: str | None
    """Such as ``val_loss``; None: the headline measure."""
    limits: Limits
    command: str
    began: float
    """When the command did, by ``time.monotonic``."""
    halving: str = NONE
    """``NONE``, or of how many settings one goes on from a rung."""


def prepared(composer: Composer, asked: Asked) -> tuple[Search, tuple[str, ...]]:
    """Return a search, and what its default space leaves out; nothing has been written.

    Raises:
        ConfigError: naming what cannot be searched.
    """
    imported()
    check = Check(Maker(composer), several_experiments=False)
    placing = [line for line in asked.overrides if line.startswith(LAUNCHER)]
    space = space_of(composer, [line for line in asked.overrides if line not in placing])
    left_out: tuple[str, ...] = ()
    if not space.parameters:
        found = default_space(composer, space, lambda overrides: _refusal(check, overrides))
        space, left_out = found.space, found.left_out
    probe = _tried(space, check)
    config = probe[0].config
    for key, why in NOT_HERE.items():
        if config[key]:
            raise ConfigError(f"{key}={config[key]} beside tune: {why}")
    if config.get("data", {}).get("val_fraction") == 0:
        raise ConfigError("data.val_fraction=0 leaves no validation samples, by which a search chooses")
    if asked.metric is not None:
        _refuse_metric(probe[0], asked.metric)
    halving = halving_of(asked.halving, probe[0], asked.generation, asked.metric)
    said = {
        "space": space.described(),
        "replicates": [list(part) for part in space.replicates],
        "sampler": asked.sampler,
        "seed": asked.seed,
        "generation": asked.generation,
        "metric": asked.metric,
        "halving": halving.described if halving else NONE,
        "run": identity(config, probe[0].source.fingerprint, {}, probe[0].known),
    }
    study = Study(probe[0].folder.parent, said, config["retry"] == "failed")
    launching = chosen(composer.launcher(placing), config["workers"])
    limits = asked.limits
    if halving and limits.trials is not None:  # who goes on is decided among all of a generation
        limits = replace(limits, trials=-(-limits.trials // asked.generation) * asked.generation)
    return Search(space, study, limits, check, probe, asked.command, launching, asked.began, halving), left_out


def _refusal(check: Check, overrides: Sequence[str]) -> str | None:
    found = check(overrides)
    return found if isinstance(found, str) else None


def _tried(space: Space, check: Check) -> list[Job]:
    """Try out the corners of a space; return the runs of its first setting.

    Raises:
        ConfigError: naming a setting that cannot be run, or what is no choice.
    """
    combinations = space.combinations(COMBINATIONS) or space.each_option()
    several = len(combinations) > 1
    probe: list[Job] = []
    for overrides in space.runs(combinations[0]):
        found = check(overrides)
        if isinstance(found, str):
            raise ConfigError(found if not several else _not_apart(space, overrides, found))
        probe.append(found.held(overrides, check.make))
    _refuse_idle(space)
    for drawn in _corners(space, combinations):
        overrides = [*space.overrides(drawn), *space.replicates[0]]
        if reason := _refusal(check, overrides):
            raise ConfigError(_not_apart(space, overrides, reason))
    return probe


def _corners(space: Space, combinations: Sequence[Drawn]) -> Iterator[Drawn]:
    for drawn in combinations:
        yield drawn
        yield space.at_most(drawn)


def _not_apart(space: Space, overrides: Sequence[str], reason: str) -> str:
    choices = sum(isinstance(p, Choice) for p in space.parameters)
    hint = "\nA + B + C searches A with B, and A with C: it keeps apart what does not go together" if choices else ""
    return f"the space holds a setting that cannot be run ({' '.join(overrides)}): {reason}{hint}"


def _refuse_idle(space: Space) -> None:
    """Refuse to search over what does not change what a run finds."""
    settings = of_every_run().spec.settings
    for parameter in space.parameters:
        if isinstance(parameter, Choice) and parameter.name == PART:
            continue
        key = key_of(parameter.overrides(parameter.ends[0])[0])
        if key in CONTROL or (key in settings and settings[key].in_id == "never"):
            raise ConfigError(f"{key} does not change what a run finds: it is no choice of a search, give one value")


def _refuse_metric(job: Job, metric: str) -> None:
    """Refuse a measure that no run will have, or of which nobody knows which way is better."""
    valid = [f"val_{name}" for name in HIGHER_IS_BETTER]
    if not job.is_own:
        from runner.run.build import build

        valid = [f"val_{name}" for name in ("loss", *build(job).metrics)]
    if metric not in valid:
        raise ConfigError(
            f"--metric must be a validation measure of the runs, got {metric!r}{closest(metric, valid)}\n"
            f"valid: {', '.join(valid)}, and what metrics=[…] adds"
        )
    if metric.removeprefix("val_") not in HIGHER_IS_BETTER:
        raise ConfigError(f"--metric {metric} is a measure of your own: nobody knows which way is better")
