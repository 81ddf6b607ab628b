"""Texts as numbers: what is a token, and which of them are known."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from runner.data import Samples, Source
from runner.data.split import split
from runner.data.vocabulary import FIRST, PADDING, UNKNOWN, Corpus, Splitting, Vocabulary, read
from runner.errors import ConfigError

WORDS, CHARACTERS = Splitting("words", lowercase=True), Splitting("characters", lowercase=False)
TEXTS = ["the sun is up", "the moon", "the sun the sun", "a dark night", "light, and more light", "the end"]


def corpus_of(texts: list[str], most: int = 100, least: int = 1) -> tuple[Corpus, np.ndarray]:
    x, tokens, _ = read(texts, WORDS, 50)
    return Corpus(WORDS, tokens, most, least), x


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't stop, it's 5 o'clock!", ["don't", "stop", ",", "it's", "5", "o'clock", "!"]),
        ("  two\n\tlines\u00a0here  ", ["two", "lines", "here"]),
        ("caf\u00e9 CAFE\u0301", ["café", "café"]),  # the same letter, composed and with an accent of its own
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("so 👍🏽 good ❤️ 👩‍🔬", ["so", "👍🏽", "good", "❤️", "👩‍🔬"]),
        ("a_b c-d", ["a_b", "c", "-", "d"]),
        ("…", ["…"]),
        ("", []),
    ],
)
def test_words_and_signs_are_tokens(text: str, tokens: list[str]) -> None:
    assert WORDS.tokens(text) == tokens


def test_characters_are_tokens_and_capitals_stay_where_they_are_asked_to() -> None:
    assert CHARACTERS.tokens("A b") == ["A", " ", "b"]
    assert Splitting("words", lowercase=False).tokens("A b") == ["A", "b"]


def test_texts_are_cut_and_padded_and_their_lengths_told() -> None:
    x, tokens, lengths = read(["a b c d", "b", ""], WORDS, 3)
    assert tokens == ("a", "b", "c") and lengths.tolist() == [4, 1, 0]
    assert x.tolist() == [[1, 2, 3], [2, 0, 0], [0, 0, 0]]


def test_the_most_frequent_tokens_are_known_ties_in_order() -> None:
    corpus, x = corpus_of(["b b b", "a c", "c a", "d"])
    assert corpus.vocabulary(x).tokens == ("b", "a", "c", "d")
    assert Corpus(WORDS, corpus.tokens, 2, 1).vocabulary(x).tokens == ("b", "a")
    assert Corpus(WORDS, corpus.tokens, 9, 2).vocabulary(x).tokens == ("b", "a", "c")


def test_documents_are_counted_once_a_sample_and_the_unknown_ones_too() -> None:
    corpus, x = corpus_of(["a a b", "a", "z y z"], most=2)
    known = corpus.vocabulary(x)
    assert known.tokens == ("a", "z")
    assert known.documents.tolist() == [0, 2, 2, 1] and known.samples == 3  # padding, b and y, a, z
    assert known.weights("counts").tolist() == [0, 1, 1, 1]


def test_an_encoded_text_is_that_of_the_vocabulary() -> None:
    corpus, x = corpus_of(TEXTS)
    known = corpus.vocabulary(x)
    codes = known.encoded(["The SUN is purple", "moon"], 3)
    assert codes[0].tolist() == [known.places["the"], known.places["sun"], known.places["is"]]
    assert codes[1].tolist() == [known.places["moon"], PADDING, PADDING]
    assert known.encoded(["purple"], 1).tolist() == [[UNKNOWN]]
    assert np.array_equal(known.encoded(TEXTS, x.shape[1]), corpus.known(x, known))
    again = Vocabulary.of(known.plain())
    assert again.tokens == known.tokens and np.array_equal(again.weights("tfidf"), known.weights("tfidf"))


def test_rarity_is_scikit_learns() -> None:
    corpus, x = corpus_of(TEXTS)
    known = corpus.vocabulary(x)
    theirs = TfidfVectorizer(token_pattern=r"\w+|[^\w\s]").fit(TEXTS)
    weights = known.weights("tfidf")
    for token, place in theirs.vocabulary_.items():
        assert weights[known.places[token]] == pytest.approx(theirs.idf_[place])
    assert weights[PADDING] == weights[UNKNOWN] == 0  # of which training has none


def source(texts: list[str], **settings: int) -> Source:
    corpus, x = corpus_of(texts, **settings)
    y = np.arange(len(texts)) % 2
    return Source(Samples(x, y, np.arange(len(texts))), 2, "0" * 16, test_fraction=0.25, corpus=corpus)


HOW = {"split_seed": 0, "val_fraction": 0.25, "fraction": 1.0, "normalize": "none", "dtype": "float32"}


def test_only_the_training_part_is_known() -> None:
    texts = [f"all have w{i}" for i in range(16)]
    data = split(source(texts), **HOW)
    assert data.vocabulary is not None
    assert set(data.vocabulary.tokens) == {"all", "have", *(f"w{i}" for i in data.train.at)}
    assert (data.train.x >= FIRST).all()
    for part in (data.val, data.test):
        assert (part.x[:, :2] >= FIRST).all() and (part.x[:, 2] == UNKNOWN).all()
    other = split(source(texts), **{**HOW, "split_seed": 1})
    assert other.vocabulary is not None and set(other.vocabulary.tokens) != set(data.vocabulary.tokens)


def test_a_bootstrap_knows_what_it_drew_and_a_fold_what_is_outside_it() -> None:
    texts = [f"w{i}" for i in range(16)]
    drawn = split(source(texts), **HOW, bootstrap=3)
    assert drawn.vocabulary is not None and len(drawn.vocabulary.tokens) == len(set(drawn.train.at.tolist())) < 9
    fold = split(source(texts), **{**HOW, "val_fraction": None}, folds=3, fold=1)
    assert fold.vocabulary is not None and len(fold.vocabulary.tokens) == len(fold.train)


def test_a_vocabulary_without_a_word_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.least=9 leaves none of train's words"):
        split(source([f"w{i}" for i in range(16)], least=9), **HOW)
