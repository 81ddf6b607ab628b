"""Sentences as tables for simple baselines: a bag of words a row, whatever their order."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from runner.data import Array
from runner.data.vocabulary import FIRST, PADDING, Codes, Vocabulary

MOST_WORDS_OF_TREES = 300
"""The most frequent ones: trees take tables in full, of which a column a word would be too many."""


@dataclass(frozen=True, eq=False)
class Bag:
    """How sentences become rows of features."""

    vocabulary: Vocabulary
    size: int
    """Numbers of the vocabulary that are counted, from 0 on."""
    is_sparse: bool
    """Rows of tf-idf (see ``runner.model.Bag``) as a sparse matrix; otherwise counts, in full."""

    @property
    def features(self) -> int:
        """How many features a row costs: of a sparse one, those that are not 0."""
        held = int(np.ceil(self.vocabulary.documents.sum() / max(1, self.vocabulary.samples)))
        return max(1, held if self.is_sparse else self.size - FIRST)

    def of(self, x: Array) -> Any:
        """Return the rows of sentences ``[n, length]``."""
        from scipy import sparse

        codes = cast(Codes, x)
        there = (codes != PADDING) & (codes < self.size)
        rows = np.nonzero(there)[0]
        ones: npt.NDArray[np.float64] = np.ones(len(rows))
        counts = sparse.csr_matrix((ones, (rows, codes[there])), shape=(len(codes), self.size))
        if not self.is_sparse:
            return counts.toarray()[:, FIRST:]
        weighed = counts @ sparse.diags_array(self.vocabulary.weights("tfidf"))
        norms = np.sqrt(np.asarray(weighed.multiply(weighed).sum(1)).ravel())
        return sparse.csr_matrix(sparse.diags_array(1 / np.where(norms > 0, norms, 1)) @ weighed)


def bags(vocabulary: Vocabulary) -> tuple[Bag, Bag]:
    """Return the bag that a linear model reads, and that of trees."""
    return (
        Bag(vocabulary, vocabulary.size, is_sparse=True),
        Bag(vocabulary, min(vocabulary.size, MOST_WORDS_OF_TREES + FIRST), is_sparse=False),
    )
