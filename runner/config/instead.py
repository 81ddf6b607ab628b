"""What to type instead of what was refused: the key, option or word that is meant by another, or is misspelt.

Imports nothing else of the config, so that whatever refuses can ask.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.config.synonyms import CHOOSERS, GROUPS, KEYS, NUMBERS, OPTIONS, TORCHVISION, WORDS
from runner.errors import closest, nearest
from runner.shell import joined


@dataclass(frozen=True)
class Known:
    """What can be typed where a word was refused."""

    keys: Collection[str]
    """Those that the chosen options have."""
    options: Callable[[str], Sequence[str]]
    """Of a group."""
    chosen: Mapping[str, Sequence[str]]
    """The options of each group that takes several."""


def of_key(key: str, value: str, known: Known) -> str:
    """Return a hint such as ``"; did you mean optim=adam?"`` for an unknown key; empty where nothing is close."""
    if meant := meant_by(key, value, known):
        return _hint([meant])
    head, _, setting = key.partition(".")
    beside = [k.partition(".")[2] for k in known.keys if k.startswith(f"{head}.")]
    if beside:  # the group alone would make its keys look alike
        close = nearest(setting, beside)
        return f"; did you mean '{head}.{close}'?" if close else ""
    return closest(key, [*known.keys, *GROUPS])


def of_option(group: str, name: str, known: Known) -> str:
    """Return a hint for what is no option of a group; a mere misspelling is named as the option alone."""
    meant = _option(group, name, known)
    simple = meant[0].removeprefix(f"{group}=") if len(meant) == 1 else ""
    return f"; did you mean {simple!r}?" if re.fullmatch(r"\w+", simple) else _hint(meant)


def of_group(word: str, groups: Collection[str]) -> str:
    """Return a hint for what is no group."""
    meant = _GROUP_OF.get(_plain(word))
    return f"; did you mean {meant!r}?" if meant else closest(word, groups)


def of_word(key: str, word: str, words: Collection[str]) -> str:
    """Return a hint for what is none of the words of a key; one of them is refused where a list is asked for."""
    if word in words:
        return f"; did you mean {key}=[{word}]?"
    meant = _table(WORDS.get(key.partition("[")[0], ())).get(_plain(word))
    return f"; did you mean {meant!r}?" if meant in words else closest(word, words)


def of_bare(word: str, known: Known) -> str:
    """Return a hint for a word without a value: the group that has such an option, or the key."""
    found = [choice for group in GROUPS for choice in _named(group, word, known)]
    meant = found or [m for m in [meant_by(word, "", known)] if m]
    return _hint(meant)


def meant_by(key: str, value: str, known: Known) -> str | None:
    """Return the overrides that are meant by ``key=value``; None for words that stand for nothing here."""
    value = value or "…"
    plain = _plain(key)
    if same := next((k for k in known.keys if _plain(k) == plain), None):
        return f"{same}={value}"
    if group := _GROUP_OF.get(plain):
        return _choice(group, value, known)
    if meant := _KEYS.get(plain):
        return _filled(meant.split(" | "), value, known)
    head, dot, rest = key.partition(".")
    if not dot:
        return None
    group = head if head in GROUPS else _GROUP_OF.get(_plain(head))
    if group and _plain(rest) in CHOOSERS:
        return _choice(group, value, known)
    if group and group != head:
        return meant_by(f"{group}.{rest}", value, known)
    if nearest(rest, [k.removeprefix(f"{head}.") for k in known.keys if k.startswith(f"{head}.")], 0.75):
        return None  # it is misspelt rather than of another group
    return meant_by(rest, value, known)


def _choice(group: str, value: str, known: Known) -> str:
    """Return the choice of one option, or of several as they were typed: ``Adam,SGD`` or ``[L1,L2]``."""
    if re.fullmatch(r"[\w.+-]+", value):
        meant = _option(group, value, known)
        return meant[0] if meant else f"{group}=…"

    def named(match: re.Match[str]) -> str:
        meant = _option(group, match[0], known)[:1]
        return meant[0].removeprefix(f"{group}=") if meant and meant[0].startswith(f"{group}=") else match[0]

    replaced = re.sub(r"[\w.+-]+", named, value)
    return joined([f"{group}={replaced}"])


def _option(group: str, name: str, known: Known) -> list[str]:
    """Return the overrides, of which one is meant by ``group=name``."""
    if found := _named(group, name, known):
        return found
    if group in NUMBERS and re.fullmatch(r"\d+(\.\d+)?(e-?\d+)?", name):
        return [NUMBERS[group].replace("{}", name)]
    if close := nearest(name, known.options(group), 0.75):
        return [f"{group}={close}"]
    elsewhere = [choice for other in GROUPS if other != group for choice in _named(other, name, known)]
    if len(elsewhere) == 1:
        return elsewhere
    close = nearest(name, known.options(group))
    return [f"{group}={close}"] if close else []


def _named(group: str, name: str, known: Known) -> list[str]:
    """Return what a group has by that name, or by a word for it."""
    plain, valid = _plain(name), known.options(group)
    if same := next((option for option in valid if _plain(option) == plain), None):
        return [f"{group}={same}"]
    meant = _OPTIONS.get(group, {}).get(plain)
    if meant is None and group == "model" and TORCHVISION.fullmatch(name.lower()):
        meant = "model=torchvision model.name={}"
    if meant is None:
        return []
    number = re.sub(r"\D", "", name)
    choices = [m if "=" in m else f"{group}={m}" for m in meant.split(" | ")]
    return [joined(choice.replace("{number}", number).replace("{}", name.lower()).split(" ")) for choice in choices]


def _filled(meant: Iterable[str], value: str, known: Known) -> str | None:
    """Return the first of some overrides that the chosen options take, with a value put in."""
    for overrides in meant:
        parts = overrides.split(" ")
        choices = [part for part in parts if part.partition("=")[0] in GROUPS]
        others = [part.partition("=")[0] for part in parts if part not in choices]
        if not choices and not all(key in known.keys or key == "seeds" for key in others):
            continue
        options_alone = [part for part in parts if "{}" not in part]
        if options_alone and value.lower() in ("false", "no", "none", "null"):
            return None
        if options_alone and value.lower() in ("true", "yes", "…"):
            parts = options_alone
        parts = [_beside(part, known) for part in parts]
        return joined([part.replace("{}", value) for part in parts if part])
    return None


def _beside(part: str, known: Known) -> str:
    """Return a choice with the options of its group that are chosen already; nothing if it is among them."""
    group, _, name = part.partition("=")
    chosen = known.chosen.get(group, ())
    if name in chosen:
        return ""
    return f"{group}=[{','.join([*chosen, name])}]" if chosen else part


def _hint(meant: Sequence[str]) -> str:
    return f"; did you mean {', or '.join(meant)}?" if meant else ""


def _plain(word: str) -> str:
    """Return a word without case and what joins its parts."""
    return re.sub(r"[ _.-]", "", word.lower())


def _table(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {_plain(word): meant for words, meant in rows for word in words.split()}


_GROUP_OF = _table((f"{group} {words}", group) for group, words in GROUPS.items())
_KEYS = _table(KEYS)
_OPTIONS = {group: _table(rows) for group, rows in OPTIONS.items()}
