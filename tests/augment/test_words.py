"""Augmentation of sentences against its definitions, and files of synonyms and paraphrases as people write them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from runner.augment import Part, in_order, words
from runner.data import Samples
from runner.data.vocabulary import PADDING, UNKNOWN, Corpus, Splitting, Vocabulary, read
from runner.errors import ConfigError
from tests.support.augmentations import RAW, draws

TEXTS = ["a good day", "the bad night was long", "a fine and great morning", "the awful evening", "good"]
CPU = torch.device("cpu")


def known(splitting: Splitting | None = None) -> tuple[Vocabulary, Samples]:
    splitting = splitting or Splitting("words", lowercase=True)
    x, tokens, _ = read(TEXTS, splitting, 6)
    corpus = Corpus(splitting, tokens, 100, 1)
    vocabulary = corpus.vocabulary(x)
    return vocabulary, Samples(corpus.known(x, vocabulary), np.zeros(len(x)), np.array([0, 1, 2, 4, 7]))


def change(part: Part, splitting: Splitting | None = None) -> Callable[..., Tensor]:
    of = part.of(*known(splitting), CPU)
    return lambda x, step=0, seed=0: of(x, draws(seed, step), RAW)


def many(text: str, n: int = 4000) -> Tensor:
    return torch.from_numpy(known()[0].encoded([text], 5)).repeat(n, 1)


def said(row: Tensor) -> str:
    tokens = known()[0].tokens
    return " ".join("?" if code == UNKNOWN else tokens[code - 2] for code in row.tolist() if code != PADDING)


def share(found: Tensor) -> float:
    return found.double().mean().item()


def file(folder: Path, content: str, name: str = "f.txt") -> str:
    (folder / name).write_text(content, encoding="utf-8")
    return str(folder / name)


def test_dropped_words_are_unknown_and_padding_stays() -> None:
    x = many("a good day")
    got = change(words.word_dropout(rate=0.25))(x)
    assert (got[:, 3:] == PADDING).all()
    assert ((got == x) | (got == UNKNOWN)).all()
    for place in range(3):
        assert share(got[:, place] == UNKNOWN) == pytest.approx(0.25, abs=0.035)
    assert torch.equal(change(words.word_dropout(rate=0.0))(x), x)


def test_swapped_words_are_the_same_words_elsewhere() -> None:
    x = many("the bad night was")
    got = change(words.swap(rate=1.0))(x)
    assert torch.equal(got.sort(1).values, x.sort(1).values) and (got[:, 4] == PADDING).all()
    orders, counts = got.unique(dim=0, return_counts=True)
    assert len(orders) == 24  # every order, each as likely
    assert (counts.double() - 4000 / 24).abs().max() < 6 * (4000 / 24) ** 0.5
    some = change(words.swap(rate=0.5))(x)
    moved = (some != x).sum(1)
    assert set(moved.tolist()) == {0, 2, 3, 4}  # one word alone has nobody to change with
    assert share(moved > 0) == pytest.approx(
        sum(p * (1 - s) for p, s in ((6, 1 / 2), (4, 1 / 6), (1, 1 / 24))) / 16, abs=0.04
    )
    assert torch.equal(change(words.swap(rate=0.0))(x), x)


def test_words_become_their_synonyms_each_as_likely(tmp_path: Path) -> None:
    path = file(tmp_path, '# of a mood\n\ngood, fine,"great",purple\nbad\tawful\nGOOD,long\n')
    x = many("a good day")
    got = change(words.synonym(path=path, rate=0.6))(x)
    found = [said(row) for row in got.unique(dim=0)]
    assert sorted(found) == ["a fine day", "a good day", "a great day", "a long day"]  # purple is in no training sample
    places = known()[0].places
    assert share(got[:, 1] == places["good"]) == pytest.approx(0.4, abs=0.04)
    for word in ("fine", "great", "long"):
        assert share(got[:, 1] == places[word]) == pytest.approx(0.2, abs=0.035)
    other = change(words.synonym(path=path, rate=1.0))(many("bad great"))
    assert sorted(said(row) for row in other.unique(dim=0)) == ["awful fine", "awful good"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("good,fine\nday\n", "line 2: 'day' has no synonym beside it"),
        ("good,,fine\n", "line 1: 'good,,fine' has an empty word"),
        ('{"good": ["fine"]}\n', "has no synonym beside it"),
        ("good,very fine\n", "line 1: 'very fine' is 2 tokens of data.unit=words, and a synonym is one word"),
        ("purple,green\n", "no group has two words that the training samples hold"),
        ("", "no group has two words that the training samples hold"),
    ],
)
def test_a_file_of_another_form_is_no_file_of_synonyms(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        change(words.synonym(path=file(tmp_path, content), rate=0.1))
    assert message in str(error.value) and "augment.synonym.path=" in str(error.value)


def test_synonyms_of_characters_are_refused(tmp_path: Path) -> None:
    part = words.synonym(path=file(tmp_path, "good,fine\n"), rate=0.1)
    with pytest.raises(ConfigError, match=r"'good' is 4 tokens of data\.unit=characters"):
        change(part, Splitting("characters", lowercase=True))


@pytest.mark.parametrize(
    "content",
    [
        'text,paraphrase\n"A good day",great morning\nA  GOOD day,fine\nnobody said this,long\nthe awful evening,bad\n',
        "row,paraphrase\n0,great morning\n0,fine\n3,long\n4,bad\n",
    ],
    ids=["by text", "by row"],
)
def test_training_samples_become_their_paraphrases(content: str, tmp_path: Path) -> None:
    of = change(words.paraphrase(path=file(tmp_path, content), rate=0.5))
    got = of(many("a good day"))
    found = {said(row): int(n) / 4000 for row, n in zip(*got.unique(dim=0, return_counts=True), strict=True)}
    assert found.keys() == {"a good day", "great morning", "fine"}
    assert found["a good day"] == pytest.approx(0.5, abs=0.04)
    assert found["fine"] == pytest.approx(0.25, abs=0.035)
    others = torch.cat([many("the awful evening", 200), many("the bad night was long", 200)])
    assert {said(row) for row in of(others)} == {"the awful evening", "bad", "the bad night was long"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,other\nx,y\n", "has the columns text, other"),
        ("text,row,paraphrase\nx,1,y\n", "has the columns text, row, paraphrase"),
        ("row,paraphrase\n1,y\nfirst,y\n", "line 3: row must be a whole number ≥ 0, got 'first'"),
        ("text,paraphrase\na good day,\n", "line 2: it has no paraphrase"),
        ("text,paraphrase\n,fine\n", "line 2: it has no text"),
        ("text,paraphrase\n", "has a header and no rows"),
        ("text,paraphrase\nnobody,fine\n", "it has no text of a training sample"),
        ("row,paraphrase\n3,fine\n", "it has no row of a training sample"),
        ("", "has the columns (none)"),
    ],
)
def test_a_file_of_another_form_is_no_file_of_paraphrases(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        change(words.paraphrase(path=file(tmp_path, content), rate=0.5))
    assert message in str(error.value) and "augment.paraphrase.path=" in str(error.value)


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\xff\xfe\x00good")
    for of in (words.synonym, words.paraphrase):
        with pytest.raises(ConfigError, match="cannot be read as UTF-8 text"):
            of(path=str(tmp_path / "odd"), rate=0.1)


def parts(tmp_path: Path) -> dict[str, Part]:
    synonyms = file(tmp_path, "good,fine,great\nbad,awful\n")
    paraphrases = file(tmp_path, "text,paraphrase\na good day,a fine morning\ngood,bad\n", "p.csv")
    return {
        "word_dropout": words.word_dropout(rate=0.3),
        "swap": words.swap(rate=0.5),
        "synonym": words.synonym(path=synonyms, rate=0.5),
        "paraphrase": words.paraphrase(path=paraphrases, rate=0.5),
    }


def test_what_is_random_is_a_function_of_seed_and_step(tmp_path: Path) -> None:
    x = torch.from_numpy(known()[1].x).repeat(20, 1)
    for part in parts(tmp_path).values():
        of = change(part)
        first = of(x, step=5)
        torch.manual_seed(99)
        assert torch.equal(of(x, step=5), first)
        assert not torch.equal(of(x, step=6), first) and not torch.equal(of(x, step=5, seed=1), first)
        assert not torch.equal(of(x[:5].repeat(20, 1), step=5)[:5], of(x, step=5)[5:10])  # each in its own way


def test_parts_act_in_one_order(tmp_path: Path) -> None:
    assert list(in_order(parts(tmp_path))) == ["paraphrase", "synonym", "swap", "word_dropout"]
