"""A space is what Hydra's grammar of sweeps says, and nothing that no sampler could draw from."""

import pytest

from runner.config.compose import Composer
from runner.errors import ConfigError
from runner.search.grammar import space_of
from runner.search.space import Choice, Number, Space


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer.over()


def only(space: Space) -> Choice | Number:
    (parameter,) = space.parameters
    return parameter


@pytest.mark.parametrize(
    ("given", "low", "high", "log", "whole", "step"),
    [
        ("optim.lr=interval(0.1,1)", 0.1, 1.0, False, False, None),
        ("optim.lr=tag(log,interval(1e-4,1))", 1e-4, 1.0, True, False, None),
        ("model.width=interval(8,64)", 8, 64, False, True, None),
        ("model.width=tag(log,int(interval(8,64)))", 8, 64, True, True, None),
        ("model.depth=range(1,5)", 1, 4, False, True, None),
        ("model.width=range(16,65,16)", 16, 64, False, True, 16),
        ("optim.lr=range(0.1,0.5,0.1)", 0.1, 0.4, False, False, 0.1),
        ("model.width=tag(log,range(1,9))", 1, 8, True, True, None),
    ],
)
def test_ranges_are_drawn_from(
    given: str, low: float, high: float, log: bool, whole: bool, step: float | None, composer: Composer
) -> None:
    found = only(space_of(composer, [given]))
    assert isinstance(found, Number)
    assert found.ends == pytest.approx((low, high))
    assert (found.log, found.whole, found.step) == (log, whole, pytest.approx(step) if step else None)


@pytest.mark.parametrize("given", ["init=he,xavier", "init=choice(he,xavier)", "init=sort(xavier,he)"])
def test_commas_are_a_choice(given: str, composer: Composer) -> None:
    found = only(space_of(composer, [given]))
    assert isinstance(found, Choice)
    assert found.options == (("init=he",), ("init=xavier",)) and not found.ordered


def test_numbers_in_a_choice_keep_their_order_and_their_spelling(composer: Composer) -> None:
    found = only(space_of(composer, ["optim.lr=1e-1,1e-3,1e-2"]))
    assert isinstance(found, Choice) and found.ordered
    assert found.options == (("optim.lr=0.001",), ("optim.lr=0.01",), ("optim.lr=0.1",))


def test_one_value_is_fixed(composer: Composer) -> None:
    space = space_of(composer, ["optim=sgd", "model.width=choice(8)", "optim.lr=0.1,1"])
    assert space.fixed == ("optim=sgd", "model.width=8") and only(space).name == "optim.lr"


def test_seeds_splits_and_folds_are_runs_of_a_setting(composer: Composer) -> None:
    space = space_of(composer, ["init=he,xavier", "seeds=2", "data.folds=3", "data.fold=0,1,2"])
    assert only(space).name == "init"
    assert space.replicates[0] == ("seed=0", "data.fold=0") and len(space.replicates) == 6
    assert space.runs({"init": 1})[1] == ["data.folds=3", "init=xavier", "seed=0", "data.fold=1"]


def test_a_part_of_a_union_has_ranges_of_its_own(composer: Composer) -> None:
    asked = ["init=he,xavier", "+", "optim=sgd", "optim.lr=interval(0.1,1)", "+", "optim=adamw", "optim.lr=1e-3,1e-2"]
    space = space_of(composer, asked)
    assert [p.name for p in space.parameters] == ["init", "part", "optim.lr in part 1", "optim.lr in part 2"]
    first = {"init": 0, "part": 0, "optim.lr in part 1": 0.5}
    assert space.overrides(first) == [
        "init=he",
        "optim=sgd",
        "optim.lr=0.5",
    ]
    drawn = {"init": 0, "part": 1, "optim.lr in part 1": 0.5, "optim.lr in part 2": 1}
    assert space.overrides(drawn) == ["init=he", "optim=adamw", "optim.lr=0.01"]


def test_an_experiment_may_leave_to_the_command_line_what_it_needs(composer: Composer) -> None:
    space = space_of(composer, ["experiment=finetune", "init.run=somewhere"])
    assert list(space.described()) == ["finetune", "data.fraction"] and "init.run=somewhere" in space.fixed


def test_an_experiments_axes_are_a_space(composer: Composer) -> None:
    space = space_of(composer, ["experiment=optimizers"])
    assert [p.name for p in space.parameters][:2] == ["part", "optim.lr in part 1"]
    assert space.replicates == (("seed=0",), ("seed=1",), ("seed=2",))
    assert space.parameters[0] == Choice("part", (("optim=sgd",), (), ())), "the others choose their optimizers"


def test_countable_spaces_are_listed_once_each(composer: Composer) -> None:
    asked = ["init=he,xavier", "+", "optim=sgd", "optim.lr=0.1,0.2,0.3", "+", "optim=adamw", "model.depth=range(1,3)"]
    settings = space_of(composer, asked).settings()
    assert settings is not None and len(settings) == 2 * (3 + 2)
    assert space_of(composer, ["optim.lr=interval(0.1,1)"]).settings() is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["optim.lr=tag(log,interval(0,1))"], "optim.lr=tag(log,interval(0,1)): a log range must be above 0, got 0"),
        (["optim.lr=tag(log,interval(-1,1))"], "above 0, got -1"),
        (["optim.lr=interval(1,0.1)"], "two finite ends, the lower one first"),
        (["optim.lr=interval(1,1)"], "two finite ends"),
        (["model.depth=range(3,3)"], "names no value"),
        (["optim.lr=tag(lgo,interval(0.1,1))"], "the tag 'lgo' means nothing to a search\nvalid: log"),
        (["optim.lr=tag(log,choice(0.1,1))"], "tag(log,…) is for intervals and ranges"),
        (["optim.lr=tag(log,range(0.1,1,0.1))"], "a log range has no steps"),
        (["model.width=interval(8.5,16)"], "needs whole ends"),
        (["optim.lr=shuffle(0.1,1)"], "leave shuffle out"),
        (["init=he,he"], "init=he,he names a value twice"),
        (["optim.lr=0.1,0.1"], "names a value twice"),
        (["optim=sgd", "+", "optim=adamw"], "optim is given twice: optim=sgd and optim=adamw"),
        (["init=he,xavier", "+"], "a lone + joins spaces"),
        (["init=he,xavier", "+", "seed=0,1"], "give it before the first +"),
        (["experiment=grid,smoke"], "an experiment is no choice of a search"),
        (["hydra/launcher=joblib", "init=he,xavier"], "is for sweeps"),
        (["seeds=0"], "seeds must be a whole number"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_cannot_be_searched_is_refused(given: list[str], said: str, composer: Composer) -> None:
    with pytest.raises(ConfigError) as refused:
        space_of(composer, given)
    assert said in str(refused.value)
