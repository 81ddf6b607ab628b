"""Commands as they are pasted, followed until they are composed; nothing is trained or written."""

import shlex

import pytest

from runner.cli.main import main
from runner.config.compose import Composed


class Reached(Exception):
    """What a command composed to."""

    def __init__(self, jobs: list[Composed]) -> None:
        self.jobs = jobs


def pasted(command: str) -> list[Composed]:
    """Return what ``optbench train …`` would run: one job, or with ``-m`` those of its grid."""
    program, *words = shlex.split(command)
    assert program == "optbench" and words[0] == "train", command

    def plan(composer, overrides, tell=None):
        raise Reached([composer.compose(job) for job in overrides])

    def prepare(composed):
        raise Reached([composed])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.sweep.plan.plan", plan)
        patch.setattr("runner.run.job.prepare", prepare)
        try:
            code = main(words)
        except Reached as reached:
            return reached.jobs
    raise AssertionError(f"{command} ended with {code}")
