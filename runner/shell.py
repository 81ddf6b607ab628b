"""Commands as they are typed in a shell: bash, zsh and every other of POSIX take each word back as it was."""

import re
import shlex
from collections.abc import Iterable


def quoted(word: str) -> str:
    """Return a word as it is typed: bare where that is safe, in double quotes where single ones are part of it.

    In double quotes a shell still reads ``" $ ` \\ !``; words with those, and all others, go into single quotes.
    """
    if re.fullmatch(r"[\w…=,.:/+@%-]+", word) and word[0] not in "=%":  # which zsh reads at a word's start
        return word
    return f'"{word}"' if "'" in word and not re.search(r'["$`\\!]', word) else shlex.quote(word)


def joined(words: Iterable[str]) -> str:
    """Return words as one command line."""
    return " ".join(map(quoted, words))


def key_of(override: str) -> str:
    """Return the key of an override as it is typed: what stands before ``=``, without the signs that add it."""
    return override.lstrip("+").partition("=")[0]


def in_quotes(override: str) -> str:
    """Return an override with its value in quotes, as Hydra takes any text; an example where it has signs of its own.

    It is typed as ``quoted`` has it.
    """
    key, _, value = override.partition("=")
    plain = value and not set(value) & set("\"'[]{}(),\\$")
    return quoted(f'{key}="{value}"' if plain else 'name="a: b"')
