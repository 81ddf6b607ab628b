"""Augmentation of sentences: words exchanged for synonyms, left out or put elsewhere, and whole sentences paraphrased.

Each changes training batches alone, as every augmentation does. Files are the user's own; their words count as far as
the training part's vocabulary has them, as the numbers of a run have no others.
"""

import csv
import io
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from runner.augment.parts import Draws, Part, Pixels, Rewording
from runner.data import Samples
from runner.data.text import read
from runner.data.vocabulary import PADDING, UNKNOWN, Vocabulary
from runner.errors import ConfigError

Reword = Callable[[Tensor, Draws, Pixels], Tensor]

SYNONYMS = "a group of words a line, between them commas or tabs, such as good,fine,great"
"""What a file of synonyms holds."""
PARAPHRASES = "a CSV with the columns paraphrase and one of text (a training text) and row (its row, counted from 0)"
"""What a file of paraphrases holds."""


def word_dropout(*, rate: float) -> Part:
    """Each word becomes one that is not known, with probability ``rate`` (Bowman et al. 2016, §3.1).

    In a bag of words, which has no weight for what training does not know, it is left out (Iyyer et al. 2015, §4).
    """

    def dropped(x: Tensor, draws: Draws, pixels: Pixels) -> Tensor:
        return torch.where((x != PADDING) & (draws.uniform(*x.shape) < rate), UNKNOWN, x)

    return Rewording(lambda vocabulary, train, device: dropped)


def swap(*, rate: float) -> Part:
    """Each word takes part with probability ``rate``; those that do change places at random (Wei & Zou 2019, §2)."""

    def swapped(x: Tensor, draws: Draws, pixels: Pixels) -> Tensor:
        chance, order = draws.uniform(2, *x.shape)
        moves = (x != PADDING) & (chance < rate)
        in_place = torch.arange(x.shape[1], device=x.device).expand_as(x) / x.shape[1]
        # Both orders begin with the places of words that move: from the first to the last, and at random.
        to = torch.where(moves, in_place, 1 + in_place).argsort(dim=1, stable=True)
        source = torch.where(moves, order, 1 + in_place).argsort(dim=1, stable=True)
        return torch.empty_like(x).scatter_(1, to, x.gather(1, source))

    return Rewording(lambda vocabulary, train, device: swapped)


def synonym(*, path: str, rate: float) -> Part:
    """Each word that has synonyms becomes one of them with probability ``rate``, each as likely (Zhang et al. 2015).

    Args:
        path: the file, ``SYNONYMS``; of a word in several groups those of all of them are synonyms.
        rate: of the words that have any.

    Raises:
        ConfigError: naming the line that is something else.
    """
    groups = list(_groups(path))

    def of(vocabulary: Vocabulary, train: Samples, device: torch.device) -> Reword:
        others: dict[int, list[int]] = {}
        for line, group in groups:
            known = [place for word in group if (place := _place(path, line, word, vocabulary)) is not None]
            for word, other in itertools.permutations(dict.fromkeys(known), 2):
                others.setdefault(word, []).append(other)
        if not others:
            raise ConfigError(f"augment.synonym.path={path}: no group has two words that the training samples hold")
        table, counts = _ragged([sorted(set(others.get(i, ()))) for i in range(vocabulary.size)], device)

        def exchanged(x: Tensor, draws: Draws, pixels: Pixels) -> Tensor:
            chance, which = draws.uniform(2, *x.shape)
            picked = table[x, (which * counts[x]).long()]
            return torch.where((counts[x] > 0) & (chance < rate), picked, x)

        return exchanged

    return Rewording(of)


def paraphrase(*, path: str, rate: float) -> Part:
    """Each training sample that has paraphrases becomes one of them with probability ``rate``, each as likely.

    Such a file is made once, by translation there and back (Sennrich et al. 2016; Xie et al. 2020) or by hand.

    Args:
        path: the file, ``PARAPHRASES``. What belongs to no training sample is left out.
        rate: of the samples that have any.

    Raises:
        ConfigError: naming the line that is something else.
    """
    column, pairs = _paraphrases(path)

    def of(vocabulary: Vocabulary, train: Samples, device: torch.device) -> Reword:
        length = train.x.shape[1]
        keys = torch.from_numpy(np.random.default_rng(0).integers(1, 2**62, length)).to(device)
        x = torch.from_numpy(train.x.astype(np.int64)).to(device)
        trained = set(((x * keys).sum(1)).tolist())
        meant = _meant(column, pairs, vocabulary, train, keys)
        found: dict[int, list[int]] = {}
        for place, mark in enumerate(meant):
            if mark is not None and mark in trained:
                found.setdefault(mark, []).append(place)
        if not found:
            raise ConfigError(f"augment.paraphrase.path={path}: it has no {column} of a training sample")
        marks = torch.tensor(sorted(found), device=device)
        table, counts = _ragged([found[mark] for mark in sorted(found)], device)
        worded = torch.from_numpy(vocabulary.encoded([said for _, said in pairs], length)).to(device)

        def reworded(x: Tensor, draws: Draws, pixels: Pixels) -> Tensor:
            chance, which = draws.uniform(2, len(x))
            mark = (x * keys).sum(1)
            place = torch.searchsorted(marks, mark).clamp(max=len(marks) - 1)
            picked = worded[table[place, (which * counts[place]).long()]]
            return torch.where(((marks[place] == mark) & (chance < rate))[:, None], picked, x)

        return reworded

    return Rewording(of)


def _meant(
    column: str, pairs: Sequence[tuple[str, str]], vocabulary: Vocabulary, train: Samples, keys: Tensor
) -> list[int | None]:
    """Return a number of the sample that each paraphrase belongs to, a function of the sample's tokens; None: of none.

    Two texts that a run reads alike, token by token, share their paraphrases.
    """
    if column == "text":
        codes = vocabulary.encoded([of for of, _ in pairs], len(keys))
        marks: list[int | None] = ((torch.from_numpy(codes).to(keys.device) * keys).sum(1)).tolist()
        return marks
    assert train.at is not None, "sentences know their row"
    of_rows = (torch.from_numpy(train.x.astype(np.int64)).to(keys.device) * keys).sum(1).tolist()
    by_row = dict(zip(train.at.tolist(), of_rows, strict=True))
    return [by_row.get(int(of)) for of, _ in pairs]


def _ragged(lists: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return lists as a table ``[n, longest]`` and their lengths ``[n]``."""
    table = torch.zeros(len(lists), max(1, max(map(len, lists))), dtype=torch.long)
    for row, numbers in zip(table, lists, strict=True):
        row[: len(numbers)] = torch.tensor(numbers, dtype=torch.long)
    return table.to(device), torch.tensor([len(numbers) for numbers in lists], device=device)


def _place(path: str, line: int, word: str, vocabulary: Vocabulary) -> int | None:
    """Return a word's number, None where training does not know it."""
    tokens = vocabulary.splitting.tokens(word)
    if len(tokens) != 1:
        unit = vocabulary.splitting.unit
        said = f"line {line}: {word!r} is {len(tokens)} tokens of data.unit={unit}, and a synonym is one word"
        raise ConfigError(f"augment.synonym.path={path}, {said}")
    return vocabulary.places.get(tokens[0])


def _groups(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the groups of words of a file, with their lines; lines that are empty or begin with # are none."""
    where = f"augment.synonym.path={path}"
    for number, line in enumerate(read(path, "augment.synonym.path").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = [word.strip() for word in next(csv.reader([line], delimiter="\t" if "\t" in line else ","))]
        lacks = "no synonym beside it" if len(words) < 2 else "an empty word" if "" in words else None
        if lacks is not None:
            raise ConfigError(f"{where}, line {number}: {line.strip()[:40]!r} has {lacks}\nvalid: {SYNONYMS}")
        yield number, words


def _paraphrases(path: str) -> tuple[str, list[tuple[str, str]]]:
    """Return whether samples are named by ``text`` or ``row``, and pairs of that and a paraphrase."""
    where = f"augment.paraphrase.path={path}"
    reader = csv.DictReader(io.StringIO(read(path, "augment.paraphrase.path")))
    columns = list(reader.fieldnames or ())
    named = [name for name in ("text", "row") if name in columns]
    if "paraphrase" not in columns or len(named) != 1:
        raise ConfigError(f"{where} has the columns {', '.join(columns) or '(none)'}\nvalid: {PARAPHRASES}")
    pairs = []
    for line in reader:
        of, said = (str(line[name] or "").strip() for name in (named[0], "paraphrase"))
        if not of or not said:
            lacks = "paraphrase" if of else named[0]
            raise ConfigError(f"{where}, line {reader.line_num}: it has no {lacks}\nvalid: {PARAPHRASES}")
        if named[0] == "row" and not (of.isascii() and of.isdecimal()):
            raise ConfigError(f"{where}, line {reader.line_num}: row must be a whole number ≥ 0, got {of!r}")
        pairs.append((of, said))
    if not pairs:
        raise ConfigError(f"{where} has a header and no rows\nvalid: {PARAPHRASES}")
    return named[0], pairs
