"""Proposals are a function of the study's seed and of the trials before them, whatever sampler makes them."""

from collections.abc import Sequence
from itertools import islice

import pytest

from runner.cli.tune import SAMPLERS
from runner.errors import ConfigError
from runner.search import proposals
from runner.search.proposals import Method, Tried
from runner.search.space import Choice, Drawn, Number, Space

SPACE = Space(
    ("epochs=1",),
    (
        Choice("optim", (("optim=sgd",), ("optim=adamw",))),
        Number("lr of sgd", "optim.lr", 1e-2, 1.0, log=True, when=("optim", 0)),
        Number("lr of adamw", "optim.lr", 1e-4, 1e-2, log=True, when=("optim", 1)),
        Choice("width", (("model.width=8",), ("model.width=16",), ("model.width=32",)), ordered=True),
        Number("depth", "model.depth", 1, 4, whole=True),
        Number("p", "regularization.dropout.p", 0.1, 0.5, step=0.1),
    ),
)


def came_to(drawn: Drawn) -> float | None:
    """A measure, best at depth 3 and the widest; one setting in six diverges."""
    if drawn["optim"] == 0 and drawn["lr of sgd"] > 0.5:
        return None
    return -abs(drawn["depth"] - 3) + 0.1 * drawn["width"] - drawn["p"]


def study(method: Method, sizes: Sequence[int]) -> list[Tried]:
    """Trials of several generations."""
    history: list[Tried] = []
    asked = 0
    for number, size in enumerate(sizes):
        found: list[Drawn] = []

        def take(drawn: Drawn, found: list[Drawn] = found) -> bool:
            found.append(drawn)
            return True

        asked += method.generation(number, history, asked, size, take)
        history += [Tried(drawn, came_to(drawn)) for drawn in found]
    return history


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_that_is_rebuilt_proposes_the_same(sampler: str) -> None:
    sizes = [12, 3] if sampler == "gp" else [12, 12, 6]
    first, second = (study(Method(SPACE, sampler, 5, True), sizes) for _ in range(2))
    assert first == second
    assert study(Method(SPACE, sampler, 6, True), sizes[:1]) != first[:12]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_proposal_comes_twice_and_all_are_inside(sampler: str) -> None:
    found = study(Method(SPACE, sampler, 0, True), [12, 4] if sampler == "gp" else [16, 16])
    texts = [" ".join(SPACE.overrides(tried.drawn)) for tried in found]
    assert len(set(texts)) > len(texts) - 3
    for tried in found:
        for parameter in SPACE.active(tried.drawn):
            value = tried.drawn[parameter.name]
            assert parameter.ends[0] <= value <= parameter.ends[1]
            assert parameter.values is None or value in parameter.values


def test_points_of_a_sequence_go_on_where_the_last_generation_ended() -> None:
    method = Method(SPACE, "qmc", 3, True)
    whole = list(islice(method.draws(0, [], 0), 24))
    assert list(islice(method.draws(1, [], 16), 8)) == whole[16:]
    depths = [drawn["depth"] for drawn in whole[:16]]
    assert all(depths.count(depth) in (3, 4, 5) for depth in (1, 2, 3, 4))


def test_tpe_comes_to_what_is_good() -> None:
    better = Method(SPACE, "tpe", 1, True)
    late = [t.value for t in study(better, [16] * 5)[-32:] if t.value is not None]
    chance = [t.value for t in study(Method(SPACE, "random", 1, True), [16] * 5)[-32:] if t.value is not None]
    assert sum(late) / len(late) > sum(chance) / len(chance) + 0.3


def test_a_diverged_trial_counts_as_the_worst_so_far() -> None:
    history = [Tried({"p": 0.1}, 0.5), Tried({"p": 0.2}, None), Tried({"p": 0.3}, 0.9)]
    space = Space((), (SPACE.parameters[-1],))
    told = Method(space, "tpe", 0, True)._told(history)
    assert [trial.value for trial in told] == [0.5, 0.5, 0.9]
    assert [trial.value for trial in Method(space, "tpe", 0, False)._told(history)] == [0.5, 0.9, 0.9]
    assert Method(space, "tpe", 0, True)._told([Tried({"p": 0.1}, None)]) == []


def test_a_small_space_is_tried_whole_and_no_more() -> None:
    space = Space((), (Choice("init", (("init=he",), ("init=xavier",), ("init=zeros",))), SPACE.parameters[4]))
    seen: list[Drawn] = []

    def take(drawn: Drawn) -> bool:
        if drawn in seen:
            return False
        seen.append(drawn)
        return True

    method = Method(space, "tpe", 0, True)
    asked = method.generation(0, [], 0, 16, take)
    assert len(seen) == 12 == len(space.settings() or [])
    assert method.generation(1, [Tried(d, 0.0) for d in seen], asked, 16, take) > 0 and len(seen) == 12


def test_a_wide_range_is_not_written_out() -> None:
    wide = Number("steps", "max_steps", 1, 10**12, whole=True)
    assert Space((), (wide,)).settings() is None
    assert list(Number("width", "model.width", 2, 8, whole=True, step=3).values or ()) == [2, 5, 8]


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ConfigError, match=r'pip install "optbench\[tune\]"'):
        proposals.imported()


def test_numbers_are_short_and_inside_their_ends() -> None:
    lr = SPACE.parameters[1]
    assert isinstance(lr, Number)
    assert lr.overrides(lr.kept(0.123456789)) == ("optim.lr=0.1235",)
    assert lr.kept(0.0099999) == 0.01 and lr.kept(1.00001) == 1.0
