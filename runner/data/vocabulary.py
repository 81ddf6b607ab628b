"""Sentences as whole numbers: 0 is padding, 1 any token that is not known, and from 2 on each known token has its own.

Tokens are words or characters. Which are known is settled by the training part of the data alone.
"""

import functools
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PADDING, UNKNOWN, FIRST = 0, 1, 2
"""What the numbers mean that are no known token, and the first of one."""


@dataclass(frozen=True)
class Splitting:
    """How a text becomes tokens."""

    unit: str
    """``words`` or ``characters``."""
    lowercase: bool

    def tokens(self, text: str) -> list[str]:
        """Return a text's tokens.

        Words are letters, digits and ``_``, with apostrophes inside; every other sign that is no space is a token of
        its own. Letters and their accents are taken as one, however they are written (Unicode's form C).
        """
        text = unicodedata.normalize("NFC", text)
        text = text.lower() if self.lowercase else text
        return list(text) if self.unit == "characters" else _words().findall(text)


@functools.cache
def _words() -> re.Pattern[str]:
    """Return what finds words, and signs that are none: marks go with what they stand on, parts of an emoji together.

    Python's ``\\w`` has no combining marks, without which words of many scripts would fall apart.
    """
    of_marks = (chr(i) for i in range(0x300, 0x10000) if unicodedata.category(chr(i)).startswith("M"))
    marks = "".join(of_marks)
    letter = rf"(?:\w[{marks}]*)"
    joined = rf"(?:[{marks}\U0001F3FB-\U0001F3FF]|\u200d[^\w\s])*"
    return re.compile(rf"{letter}+(?:['’]{letter}+)*|[^\w\s]{joined}")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens that are known, and in how many training samples each occurs."""

    splitting: Splitting
    tokens: tuple[str, ...]
    """The token of ``FIRST``, and so on: the most frequent ones first."""
    documents: Codes
    """``[size]``: how many training samples hold each number."""
    samples: int
    """Of training."""

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return len(self.tokens) + FIRST

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """The number of each token."""
        return {token: FIRST + place for place, token in enumerate(self.tokens)}

    def encoded(self, texts: Sequence[str], length: int) -> Codes:
        """Return texts as numbers ``[n, length]``; longer ones are cut, shorter ones padded at their end."""
        found = np.zeros((len(texts), length), np.int64)
        for row, text in zip(found, texts, strict=True):
            codes = [self.places.get(token, UNKNOWN) for token in self.splitting.tokens(text)[:length]]
            row[: len(codes)] = codes
        return found

    def counted(self, codes: npt.NDArray[Any]) -> tuple[int, int]:
        """Return how many tokens texts ``[n, length]`` have, and how many of them are not known."""
        return int((codes != PADDING).sum()), int((codes == UNKNOWN).sum())

    def weights(self, bag: str) -> Floats:
        """Return what a token counts in a bag, ``[size]``: 0 for padding, and for what no training sample holds.

        Args:
            bag: ``counts``, ``presence``: 1; ``tfidf``: ln((1 + n)/(1 + n_token)) + 1, of n training samples of which
                n_token hold it (Salton & Buckley 1988, smoothed as in scikit-learn).
        """
        there = (self.documents > 0).astype(np.float64)
        if bag != "tfidf":
            return there
        rarity: Floats = there * (np.log((1 + self.samples) / (1 + self.documents)) + 1)
        return rarity

    def plain(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "unit": self.splitting.unit,
            "lowercase": self.splitting.lowercase,
            "tokens": list(self.tokens),
            "documents": self.documents.tolist(),
            "samples": self.samples,
        }

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Self:
        """Return it from plain values."""
        splitting = Splitting(saved["unit"], saved["lowercase"])
        return cls(splitting, tuple(saved["tokens"]), np.array(saved["documents"], np.int64), saved["samples"])


@dataclass(frozen=True, eq=False)
class Corpus:
    """All tokens of a data set, before it is known which of them training holds."""

    splitting: Splitting
    tokens: tuple[str, ...]
    """The samples hold each one's place plus 1, and 0 for padding."""
    most: int
    """Tokens that are known at most."""
    least: int
    """Times that a token occurs in training, or it is not known."""

    def vocabulary(self, x: Codes) -> Vocabulary:
        """Return the vocabulary of training samples ``[n, length]``: its most frequent tokens, ties in order."""
        times = np.bincount(x.ravel(), minlength=len(self.tokens) + 1)
        times[0] = 0
        frequent = np.flatnonzero(times >= max(self.least, 1)).tolist()
        frequent.sort(key=lambda place: (-times[place], self.tokens[place - 1]))
        tokens = tuple(self.tokens[place - 1] for place in frequent[: self.most])
        bare = Vocabulary(self.splitting, tokens, np.zeros(len(tokens) + FIRST, np.int64), len(x))
        codes = self.known(x, bare)
        ordered = np.sort(codes, axis=1)
        first = np.ones(codes.shape, bool)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        documents = np.bincount(ordered[first], minlength=bare.size)
        documents[PADDING] = 0
        return Vocabulary(self.splitting, tokens, documents.astype(np.int64), len(x))

    def known(self, x: Codes, vocabulary: Vocabulary) -> Codes:
        """Return samples in the numbers of a vocabulary."""
        numbers = np.full(len(self.tokens) + 1, UNKNOWN, np.int64)
        numbers[0] = PADDING
        for place, token in enumerate(self.tokens, 1):
            numbers[place] = vocabulary.places.get(token, UNKNOWN)
        return numbers[x]


def read(texts: Sequence[str], splitting: Splitting, length: int) -> tuple[Codes, tuple[str, ...], Codes]:
    """Return texts as places among all their tokens, as ``Corpus`` has them.

    Args:
        texts: ``n`` of them.
        splitting: how they become tokens.
        length: tokens of a text at most; what comes after them is left out.

    Returns:
        ``[n, m]``, where the longest text has ``m`` tokens, ``length`` at most; the tokens; and how many each text
        has, cut or not, ``[n]``.
    """
    places: dict[str, int] = {}
    rows, lengths = [], []
    for text in texts:
        tokens = splitting.tokens(text)
        lengths.append(len(tokens))
        rows.append([places.setdefault(sys.intern(token), len(places) + 1) for token in tokens[:length]])
    x = np.zeros((len(texts), max(1, max(map(len, rows), default=1))), np.int64)
    for codes, row in zip(rows, x, strict=True):
        row[: len(codes)] = codes
    return x, tuple(places), np.array(lengths, np.int64)
