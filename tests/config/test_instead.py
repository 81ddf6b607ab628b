"""Words that people bring along: each is refused by naming what is typed here, and what is named composes."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.config import synonyms
from runner.config.chosen import GROUPS
from runner.config.compose import Composer
from runner.errors import ConfigError

VALUES = ("0.5", "3", "true", "[0.3,0.5]", "[8,4]", "relu", "batch", "bf16", "none", "mse", "cpu")
"""Of which every word for a key takes one."""


@pytest.fixture(scope="module")
def composer() -> Composer:
    return Composer.over()


def suggestions(composer: Composer, *typed: str) -> list[str]:
    """What a refusal names, its values filled in where they are another's."""
    with pytest.raises(ConfigError) as refused:
        composer.compose(typed)
    said = str(refused.value).partition("\n")[0]
    assert "; did you mean " in said, said
    meant = said.partition("; did you mean ")[2].removesuffix("?").split(", or ")
    group = typed[-1].partition("=")[0]
    return [f"{group}={m[1:-1]}" if m.startswith("'") and "=" not in m else m for m in meant]


def suggestions_or_none(composer: Composer, typed: str) -> list[str]:
    try:
        composer.compose([typed])
    except ConfigError as error:
        return suggestions(composer, typed) if "; did you mean " in str(error) else []
    raise AssertionError(f"{typed} composes: it is no word for something else")


def composes(composer: Composer, suggestion: str, *beside: str) -> bool:
    """Whether a suggestion, typed, is a config; a value that is another's is any that its key takes."""
    given = [o for o in shlex.split(suggestion) if o != "seeds=3"]
    replaced = {o.partition("=")[0] for o in given}
    given += [o for o in beside if o.partition("=")[0] not in replaced]
    for value in ("0.5", "3", "x"):
        try:
            composer.compose([o.replace("…", value) for o in given])
        except ConfigError:
            if "…" not in suggestion:
                return False
            continue
        return True
    return False


@pytest.mark.parametrize("words", [words for words, _ in synonyms.KEYS], ids=lambda words: f"{words.split()[0]}=")
def test_words_for_a_key_are_answered_with_what_composes(words: str, composer: Composer) -> None:
    first, *others = words.split()
    answers = {value: suggestions_or_none(composer, f"{first}={value}") for value in VALUES}
    value = next((v for v, meant in answers.items() if any(composes(composer, m) for m in meant)), None)
    assert value is not None, answers
    for word in others:
        assert suggestions(composer, f"{word}={value}") == answers[value]


@pytest.mark.parametrize(
    ("group", "words"),
    [(group, words) for group, rows in synonyms.OPTIONS.items() for words, _ in rows],
    ids=lambda words: words.split()[0],
)
def test_words_for_an_option_are_answered_with_what_composes(group: str, words: str, composer: Composer) -> None:
    for meant in {meant for word in words.split() for meant in suggestions(composer, f"{group}={word}")}:
        assert composes(composer, meant, "optim=sgd"), meant


def test_a_word_for_an_optimizer_of_the_collection_is_its_name_there(composer: Composer) -> None:
    from pytorch_optimizer import load_optimizer

    named = [words for words, meant in synonyms.OPTIONS["optim"] if meant.startswith("optim=collection")]
    for word in " ".join(named).split():
        (meant,) = suggestions(composer, f"optim={word}")
        assert load_optimizer(meant.partition("optim.name=")[2])


@pytest.mark.parametrize(
    ("word", "group"), [(word, group) for group, words in synonyms.GROUPS.items() for word in words.split()]
)
def test_a_word_for_a_group_is_answered_with_the_option_meant(word: str, group: str, composer: Composer) -> None:
    for option in composer.options_of(group):
        assert suggestions(composer, f"{word}={option.upper()}") == [f"{group}={option}"]


@pytest.mark.parametrize(
    ("key", "word", "meant"),
    [(key, word, meant) for key, rows in synonyms.WORDS.items() for words, meant in rows for word in words.split()],
)
def test_a_word_for_a_value_is_answered_with_a_valid_one(key: str, word: str, meant: str, composer: Composer) -> None:
    field = composer.compose([]).known.settings[key].field
    value = f"[{word}]" if field.length else f"'{word}'"
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        composer.compose([f"{key}={value}"])
    assert meant in field.words


def test_a_word_stands_for_one_thing() -> None:
    for rows in (synonyms.KEYS, *synonyms.OPTIONS.values(), *synonyms.WORDS.values()):
        words = [re.sub("[_.]", "", word) for words, _ in rows for word in words.split()]
        assert sorted(words) == sorted(set(words))
    assert tuple(synonyms.GROUPS) == GROUPS
    assert set(synonyms.OPTIONS) <= set(GROUPS)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["optimizer=adam"], "optim=adam"),
        (["opt=Adam"], "optim=adam"),
        (["optimizer.learning_rate=0.1"], "optim.lr=0.1"),
        (["optim.learning_rate=0.1"], "optim.lr=0.1"),
        (["scheduler.lr=0.1"], "optim.lr=0.1"),
        (["lr=0.1"], "optim.lr=0.1"),
        (["optim_lr=0.1"], "optim.lr=0.1"),
        (["train.n_epochs=3"], "epochs=3"),
        (["Seed=3"], "seed=3"),
        (["momentum=0.9"], "optim=momentum optim.momentum=0.9"),
        (["optim=sgd", "momentum=0.9"], "optim.momentum=0.9"),
        (["weight_decay=0.1"], "optim.weight_decay=0.1"),
        (["optim=sgd", "weight_decay=0.1"], "regularization=weight_decay regularization.weight_decay.rate=0.1"),
        (["dropout=0.2"], "regularization=dropout regularization.dropout.p=0.2"),
        (["dropout=true"], "regularization=dropout"),
        (["regularization=dropout", "dropout=0.2"], "regularization.dropout.p=0.2"),
        (["regularization=l2", "dropout=0.2"], "'regularization=[l2,dropout]' regularization.dropout.p=0.2"),
        (["model.hidden_dim=8"], "model.width=8"),
        (["model.type=cnn"], "model=cnn"),
        (["dataset=MNIST"], "data=mnist"),
        (["data=MNIST"], "data=mnist"),
        (["optim=adma"], "optim=adam"),
        (["optim=Adam"], "optim=adam"),
        (["optim=cosine"], "scheduler=cosine"),
        (["regularization=[l2,drpout]"], "regularization=dropout"),
        (["model=resnet56"], "model=resnet model.depth=56"),
        (["model=mobilenet_v2"], "model=torchvision model.name=mobilenet_v2"),
        (["batch=64"], "batch.size=64"),
        (["adam"], "optim=adam"),
        (["lr"], "optim.lr=…"),
        (["seed"], "seed=…"),
        (["metrics=accuracy"], "metrics=[accuracy]"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else v,
)
def test_what_is_meant_is_named_as_it_is_typed(typed: list[str], meant: str, composer: Composer) -> None:
    assert suggestions(composer, *typed) == [meant]
    assert composes(composer, meant, *typed[:-1])


def test_a_resnet_of_18_layers_may_be_torchvisions_or_ours(composer: Composer) -> None:
    assert suggestions(composer, "model=resnet18") == ["model=torchvision model.name=resnet18", "model=resnet"]


@pytest.mark.parametrize("typed", ["xyzzy=1", "scheduler.xyzzy=1", "scheduler.T_max=10", "xyzzy"])
def test_what_nobody_says_is_answered_without_a_guess(typed: str, composer: Composer) -> None:
    with pytest.raises(ConfigError) as refused:
        composer.compose([typed])
    assert "did you mean" not in str(refused.value)


def test_a_list_is_suggested_only_where_one_is_taken(composer: Composer) -> None:
    for typed, is_taken in (("init=he,xavier", False), ("augment=crop,flip", True), ("metrics=f1,recall", True)):
        with pytest.raises(ConfigError, match="add -m") as refused:
            composer.compose([typed])
        assert ("=[…]" in str(refused.value)) == is_taken


def test_a_sweep_names_what_is_meant_too(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "-m", "optimizer=adam", "seed=0,1")
    assert refused.code == 2
    assert "did you mean optim=adam?" in refused.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--lr=0.1", "optim.lr=0.1"),
        ("--epochs", "epochs=…"),
        ("--optimizer=Adam", "optim=adam"),
        ("--multi-run", "'--multirun'"),
    ],
)
def test_a_flag_that_is_a_key_here_is_named(flag: str, meant: str, optbench: Callable) -> None:
    refused = optbench("train", flag)
    assert refused.code == 2
    assert f"did you mean {meant}?" in refused.err


def test_a_single_value_in_the_place_of_a_list_is_answered_with_the_list(optbench: Callable) -> None:
    refused = optbench("train", "data=csv", "data.path=t.csv", "data.label=y", "data.missing_values='?'")
    assert refused.code == 2 and "; did you mean data.missing_values=['?']?" in refused.err
