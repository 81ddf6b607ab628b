"""Text, one character at a time: each character is predicted from those before it."""

from pathlib import Path
from typing import TypeVar

import numpy as np

from runner.data import Samples, Source, fingerprint
from runner.errors import ConfigError

Word = TypeVar("Word")
MOST_CHARACTERS = 4096
"""More different ones than this are taken for a file that is no text."""


def text(*, path: str | None, characters: int, context: int, test_fraction: float) -> Source:
    """Cut a text into windows that do not overlap; x and y are ``[windows, context]``, y one character further on.

    Args:
        path: a file of one's own in UTF-8; None for the tales that ``tales`` tells.
        characters: how many are used at most.
        context: characters of a window.
        test_fraction: the share of the windows held out.

    Raises:
        ConfigError: if the file cannot be read or is too short.
    """
    whole = tales(characters) if path is None else read(path, "data.path")
    written, notes = whole[:characters], list[str]()
    if len(written) < len(whole):
        notes = [f"data.path={path}: {characters:,} of its {len(whole):,} characters are used, as data.characters says"]
    alphabet, codes = np.unique(np.array(list(written)), return_inverse=True)
    windows = (len(codes) - 1) // context
    if windows < 10:
        raise ConfigError(
            f"data.context={context} cuts {len(codes)} characters into {max(windows, 0)} windows, which is too few"
        )
    if not 2 <= len(alphabet) <= MOST_CHARACTERS:
        raise ConfigError(f"data.path={path} holds {len(alphabet)} different characters, which is no text")
    used = codes[: windows * context + 1].astype(np.int64)
    samples = Samples(used[:-1].reshape(windows, context), used[1:].reshape(windows, context))
    digest, letters = fingerprint(samples), "".join(alphabet)
    return Source(samples, len(alphabet), digest, None, test_fraction, alphabet=letters, notes=tuple(notes))


def read(path: str, key: str) -> str:
    """Return a text file's content, without a byte-order mark.

    Raises:
        ConfigError: naming the key that named it, if it cannot be read.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}={path} cannot be read as UTF-8 text: {error}") from error


WHO = ("baker", "carpenter", "farmer", "fisher", "judge", "miller", "painter", "queen", "shepherd", "teacher")
WHAT = ("basket", "boat", "candle", "door", "ladder", "lamp", "map", "ring", "table", "wheel")
LIKE = ("broken", "golden", "heavy", "little", "old", "red", "silent", "strange", "wooden", "young")
WHERE = ("at the market", "behind the mill", "by the river", "in the forest", "near the harbour", "on the hill")
WHEN = ("at dawn", "before the rain", "every evening", "in winter", "once again", "that night")
DID = (("carry", "carries"), ("find", "finds"), ("hide", "hides"), ("mend", "mends"), ("paint", "paints"))
DID_TOO = (("lose", "loses"), ("remember", "remembers"), ("sell", "sells"), ("watch", "watches"), ("want", "wants"))
SAID = ("asks", "answers", "cries", "says", "whispers")


def tales(characters: int) -> str:
    """Return so many characters of small tales, the same each time, drawn from a grammar.

    Who acts agrees with the verb across clauses in between, so that a longer memory predicts better.
    """
    rng = np.random.default_rng(1)
    sentences: list[str] = []
    length = 0
    while length < characters:
        spoken = _sentence(rng)
        if rng.random() < 0.2:
            spoken = f'"{spoken[:-1]}," {_pick(rng, SAID)} the {_pick(rng, WHO)}.'
        sentences.append(spoken + ("\n" if rng.random() < 0.15 else " "))
        length += len(sentences[-1])
    return "".join(sentences)[:characters]


def _sentence(rng: np.random.Generator) -> str:
    one = int(rng.random() < 0.5)
    subject = _noun(rng, WHO, one)
    if rng.random() < 0.3:
        inner = int(rng.random() < 0.5)
        subject += f" that {_noun(rng, WHO, inner)} {_pick(rng, DID_TOO)[inner]}"
    words = f"{subject} {_pick(rng, DID)[one]} {_noun(rng, WHAT, int(rng.random() < 0.5))}"
    if rng.random() < 0.4:
        words += f" {_pick(rng, WHERE)}"
    words = f"{_pick(rng, WHEN)} {words}" if rng.random() < 0.3 else words
    return words[0].upper() + words[1:] + "."


def _noun(rng: np.random.Generator, nouns: tuple[str, ...], one: int) -> str:
    like = f"{_pick(rng, LIKE)} " if rng.random() < 0.4 else ""
    return f"the {like}{_pick(rng, nouns)}{'' if one else 's'}"


def _pick(rng: np.random.Generator, words: tuple[Word, ...]) -> Word:
    return words[rng.integers(len(words))]
