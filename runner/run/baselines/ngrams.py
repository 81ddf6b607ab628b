"""Models of text that count: what follows the last characters, smoothed by what follows fewer of them.

P(c | h) = (n(h, c) + T(h)·P(c | h')) / (n(h) + T(h)), where n counts in the training part, T(h) is how many different
characters follow h there, and h' is h without its first character; below one character it is 1/alphabet
(Witten & Bell 1991; Chen & Goodman 1999, interpolated).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CELLS = 4_000_000
"""Probabilities that are held at a time."""


@dataclass(frozen=True)
class NGrams:
    """What was counted: for each order, how often each character followed each history."""

    alphabet: int
    """Number of characters."""
    counted: tuple[tuple[Codes, Codes], ...]
    """By the length of the history: the codes of history and next character in order, and how often each came."""

    def after(self, histories: Codes, length: int) -> Floats:
        """Return the probabilities of each next character, ``[n, alphabet]``, after histories of one length.

        Args:
            histories: ``[n]``: the characters' places in the alphabet as digits of a number, the last one lowest.
            length: how many characters they are.
        """
        if length:
            below = self.after(histories % self.alphabet ** (length - 1), length - 1)
        else:
            below = np.full((len(histories), self.alphabet), 1.0 / self.alphabet)
        codes, times = self.counted[length]
        first, end = (np.searchsorted(codes, (histories + more) * self.alphabet) for more in (0, 1))
        counts = np.zeros_like(below)
        of = np.repeat(np.arange(len(histories)), end - first)
        place = np.arange(len(of)) - np.repeat(np.cumsum(end - first) - (end - first), end - first) + first[of]
        counts[of, codes[place] % self.alphabet] = times[place]
        seen, kinds = counts.sum(1, keepdims=True), np.count_nonzero(counts, axis=1)[:, None]
        return np.where(seen > 0, (counts + kinds * below) / np.maximum(seen + kinds, 1), below)


def count(x: Codes, y: Codes, alphabet: int, longest: int) -> NGrams:
    """Count what follows histories of up to so many characters.

    Args:
        x: windows of a text, ``[windows, context]``, as places in the alphabet.
        y: the same, one character further on.
        alphabet: number of characters.
        longest: characters of the longest history; histories do not reach over the beginning of a window.
    """
    counted = []
    for length in range(longest + 1):
        histories = _histories(x, length, alphabet)
        codes = histories * alphabet + y[:, x.shape[1] - histories.shape[1] :]
        counted.append(np.unique(codes, return_counts=True))
    return NGrams(alphabet, tuple(counted))


def measure(model: NGrams, x: Codes, y: Codes, longest: int) -> dict[str, float]:
    """Return ``loss`` (nats a character), ``accuracy`` and ``perplexity`` of predictions at every place of windows.

    Near the beginning of a window, where fewer characters are known, the history is shorter.
    """
    context = x.shape[1]
    loss = right = 0.0
    for length in range(longest + 1):
        histories = _histories(x, length, model.alphabet)
        first = context - histories.shape[1]
        end = context if length == longest else min(first + 1, context)  # the other places know a longer history
        if first >= context or (length == 0 and longest > 0):  # one character is always known
            continue
        here = histories[:, : end - first].ravel()
        targets = y[:, first:end].ravel()
        known, which = np.unique(here, return_inverse=True)
        order = np.argsort(which, kind="stable")
        bounds = np.searchsorted(which[order], np.arange(len(known) + 1))
        for a in range(0, len(known), step := max(1, CELLS // model.alphabet)):
            b = min(a + step, len(known))
            p = model.after(known[a:b], length)
            places = order[bounds[a] : bounds[b]]
            of, is_next = which[places] - a, targets[places]
            loss -= float(np.log(p[of, is_next]).sum())
            right += float((p.argmax(1)[of] == is_next).sum())
    return {"loss": loss / y.size, "accuracy": right / y.size, "perplexity": float(np.exp(loss / y.size))}


def _histories(x: Codes, length: int, alphabet: int) -> Codes:
    """Return the codes of the last ``length`` characters at each place that knows as many, ``[windows, places]``."""
    places = max(0, x.shape[1] - max(length - 1, 0))
    codes = np.zeros((len(x), places), np.int64)
    for first in range(length if places else 0):
        codes = codes * alphabet + x[:, first : first + places]
    return codes
