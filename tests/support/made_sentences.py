"""Small corpora of which it is known what tells their classes apart."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ASKED = ["data=text_csv", "data.path=s.csv", "data.text=said", "data.label=kind"]
FILLERS = ("on", "the", "hill", "by", "a", "river", "we", "saw", "some", "more")


def write(path: Path, rows: Sequence[Sequence[object]], header: Sequence[str] = ("said", "kind")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def by_presence(path: Path, rows: int = 300) -> Path:
    """Sentences of 3 to 9 words: with ``sun`` or ``light`` of class day, with ``moon`` or ``dark`` of night."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(rows):
        words = list(rng.choice(FILLERS, rng.integers(2, 9)))
        words.insert(rng.integers(len(words) + 1), rng.choice((("sun", "light"), ("moon", "dark"))[i % 2]))
        found.append((" ".join(words), ("day", "night")[i % 2]))
    return write(path, found)


def by_order(path: Path, rows: int = 600) -> Path:
    """Sentences that hold ``fox`` and ``hare`` once each: the class is which comes first, all else is the same."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(rows // 2):
        words = list(rng.choice(FILLERS, rng.integers(1, 5)))
        first, second = sorted(rng.choice(len(words) + 2, 2, replace=False).tolist())
        for kind, pair in (("fox", ("fox", "hare")), ("hare", ("hare", "fox"))):
            said = list(words)
            said.insert(first, pair[0])
            said.insert(second, pair[1])
            found.append((" ".join(said), kind))
    return write(path, found)
