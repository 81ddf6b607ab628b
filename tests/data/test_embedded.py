"""Data that come with scikit-learn are scikit-learn's."""

import numpy as np
from sklearn import datasets

from runner.data import embedded


def test_digits_are_scikit_learns() -> None:
    source = embedded.digits(test_fraction=0.2)
    expected = datasets.load_digits()
    assert np.array_equal(source.samples.x[:, 0], expected.images)
    assert np.array_equal(source.samples.y, expected.target)


def test_embedded_tables_are_scikit_learns() -> None:
    for ours, theirs in ((embedded.breast_cancer, datasets.load_breast_cancer), (embedded.wine, datasets.load_wine)):
        source, expected = ours(test_fraction=0.2), theirs()
        assert np.array_equal(source.samples.x, expected.data) and np.array_equal(source.samples.y, expected.target)
    source, expected = embedded.diabetes(test_fraction=0.2), datasets.load_diabetes(scaled=False)
    assert np.allclose(source.samples.x, expected.data) and np.array_equal(source.samples.y[:, 0], expected.target)
    assert source.classes is None
