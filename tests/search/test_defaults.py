"""The space of a search that is given none: what the options' own YAMLs say, around what is given."""

from pathlib import Path

import pytest

from runner.config.chosen import GROUPS
from runner.config.compose import Composer
from runner.config.options import COMBINED_GROUPS, options
from runner.errors import ConfigError
from runner.search.defaults import Defaults, default_space
from runner.search.grammar import axis, space_of
from runner.search.prepare import _refusal
from runner.search.space import Choice
from runner.sweep.check import Check
from runner.sweep.held import Maker

SMALL = ["model.width=8", "model.depth=1", "max_steps=2"]


def defaults(*overrides: str, config_dir: str | None = None) -> Defaults:
    composer = Composer.over(config_dir)
    check = Check(Maker(composer), several_experiments=False)
    given = space_of(composer, [*SMALL, *overrides])
    return default_space(composer, given, lambda asked: _refusal(check, asked))


def test_every_range_in_the_yamls_can_be_drawn_from() -> None:
    composer = Composer.over()
    found = 0
    for group in GROUPS:
        for option in options(group):
            inside = f"{group}.{option.name}" if group in COMBINED_GROUPS else group
            for key, text in option.spec.search.items():
                override = composer.parse([f"{inside}.{key}={text}"], sweep=True)[0]
                parameter = axis(override, key, None, whole=False)
                assert not isinstance(parameter, str), f"{option.path}: {key}"
                field = option.spec.settings[key].field
                for end in parameter.ends if not isinstance(parameter, Choice) else ():
                    assert field is None or field.parse(key, end) == end
                found += 1
    assert found > 30


def test_every_optimizer_has_a_range_of_rates() -> None:
    assert [o.name for o in options("optim") if "lr" not in o.spec.search] == []


def test_candidates_are_chosen_among_with_ranges_of_their_own(folder: Path) -> None:
    found = defaults()
    described = found.space.described()
    assert list(described)[:2] == ["init", "optim"] and found.left_out == ()
    assert "optim.lr of adamw" in described and "regularization.dropout.p" in described
    assert not any(name.startswith(("model", "data", "batch")) for name in described)
    assert "regularization=none" in described["regularization"]


def test_what_is_given_is_not_searched_but_its_options_ranges_are(folder: Path) -> None:
    space = defaults("optim=sgd", "init=he", "regularization=[dropout, l2]", "regularization.l2.strength=1e-3").space
    assert list(space.described()) == ["optim.lr", "scheduler", "regularization.dropout.p"]
    assert space.fixed[:5] == (*SMALL, "optim=sgd", "init=he")


def test_what_an_experiment_gives_is_given(folder: Path) -> None:
    composer = Composer.over()
    check = Check(Maker(composer), several_experiments=False)
    found = default_space(composer, space_of(composer, ["experiment=smoke"]), lambda asked: _refusal(check, asked))
    described = list(found.space.described())
    assert "optim" in described and not {"init", "optim.lr of adamw", "optim.lr"} & {*described}


def test_folds_judge_the_default_space_too(folder: Path) -> None:
    space = defaults("data.folds=3", "data.fold=0,1,2").space
    assert space.replicates == (("data.fold=0",), ("data.fold=1",), ("data.fold=2",)) and "optim" in space.described()


def test_a_candidate_that_cannot_be_run_is_left_out_and_named(folder: Path) -> None:
    own = folder / "mine" / "optim"
    own.mkdir(parents=True)
    conflict = "  conflicts:\n    - {when: {model.width: 8}, says: 'too small for x'}\n"
    (own / "x.yaml").write_text(
        f"_option_: x\n_target_: runner.optim.adam\nlr: 0.1\n_spec_:\n  candidate: true\n{conflict}"
    )
    found = defaults(config_dir="mine")
    assert found.left_out == ("optim=x: too small for x",)
    assert "optim=x" not in found.space.described()["optim"]


def test_options_of_ones_own_are_candidates_too(folder: Path) -> None:
    own = folder / "mine" / "optim"
    own.mkdir(parents=True)
    (own / "x.yaml").write_text(
        "_option_: x\n_target_: runner.optim.sgd\nlr: 0.1\nmomentum: 0.5\nnesterov: false\n"
        "_spec_:\n  candidate: true\n  search: {momentum: 'interval(0.1,0.9)'}\n"
    )
    described = defaults(config_dir="mine").space.described()
    assert "optim=x" in described["optim"]
    assert described["optim.momentum of x"] == "optim.momentum from 0.1 to 0.9"
    assert "optim.lr of x" in described, "what the shipped function's YAML says"


def test_where_nothing_is_left_to_choose_it_is_said(folder: Path) -> None:
    with pytest.raises(ConfigError, match="nothing is left to search"):
        defaults("optim=sgd", "optim.lr=0.1", "init=he", "scheduler=constant", "regularization=none")


@pytest.mark.parametrize(
    ("text", "said"), [("{lrr: '0.1,1'}", "unknown key 'lrr'"), ("[lr]", "must be a set of key: value")]
)
def test_a_range_of_no_setting_is_refused(text: str, said: str, folder: Path) -> None:
    own = folder / "mine" / "optim"
    own.mkdir(parents=True)
    (own / "x.yaml").write_text(f"_option_: x\n_target_: runner.optim.adam\nlr: 0.1\n_spec_:\n  search: {text}\n")
    with pytest.raises(ConfigError, match=said):
        defaults("optim=x", config_dir="mine")
