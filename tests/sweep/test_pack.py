"""Which runs of a sweep are trained together."""

from collections.abc import Callable

from runner.run.job import Job
from runner.sweep.pack import packed

Make = Callable[..., Job]
OWN_DATA = ["data=custom", "data.target=tests.own_parts.load", "data.args.samples=200", "model.width=16"]


def four(job: Make, *overrides: str) -> list[Job]:
    return [job(f"seed={seed}", *OWN_DATA, *overrides) for seed in range(4)]


def test_data_of_ones_own_are_stacked_as_others_are(job: Make, folder: object) -> None:
    assert packed(four(job), count=1) == [(0, 1, 2, 3)]


def test_what_of_ones_own_acts_in_a_step_is_stacked_only_where_that_is_asked(job: Make, folder: object) -> None:
    own = "loss=tests.own_parts.weighted"
    assert len(packed(four(job, own), count=1)) == 4
    assert packed(four(job, own, "engine=fused"), count=1) == [(0, 1, 2, 3)]
