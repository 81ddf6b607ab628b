"""A conditional GAN draws samples of the class asked for, as a function of its samples and seed."""

from typing import Any

import numpy as np
import pytest
import torch

from runner import generator
from runner.generator import Generator, trained

CLASSES = 3
Array = np.ndarray[Any, Any]


def stripes(n: int = 120, dtype: str = "uint8") -> tuple[Array, Array]:
    """Pictures of 1×6×6 whose bright pair of rows is their class; no two are alike."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % CLASSES
    x = rng.integers(0, 40, (n, 1, 6, 6))
    for i, label in enumerate(y):
        x[i, 0, 2 * label : 2 * label + 2] += 180
    return x.astype(dtype), y


def brief(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(generator, "STEPS", steps)


def test_what_is_drawn_is_of_the_class_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    brief(monkeypatch, 400)
    x, y = stripes()
    asked = np.repeat(np.arange(CLASSES), 50)
    drawn = trained(x, y, CLASSES, seed=0).draw(asked, seed=1).astype(float)
    brightest = drawn.reshape(-1, 3, 12).mean(2).argmax(1)
    assert (brightest == asked).mean() > 0.5  # chance is a third; seeds come to 0.68 and more
    assert len(np.unique(drawn.reshape(len(drawn), -1), axis=0)) > 100  # and no two are alike


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_what_is_drawn_has_the_shape_the_type_and_the_range_of_the_samples(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief(monkeypatch, 3)
    x, y = stripes(dtype=dtype)
    drawn = trained(x, y, CLASSES, seed=0).draw(y, seed=1)
    assert drawn.shape == x.shape and drawn.dtype == x.dtype
    assert drawn.min() >= x.min() and drawn.max() <= x.max()


def test_the_same_samples_and_seed_give_the_same_bytes_on_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brief(monkeypatch, 20)
    x, y = stripes()
    before, drawn = torch.get_num_threads(), []
    for threads, seed in ((1, 0), (2, 0), (1, 1)):
        torch.set_num_threads(threads)
        torch.manual_seed(threads)  # whatever was drawn before
        drawn.append(trained(x.astype("float32"), y, CLASSES, seed).draw(y, seed=1).tobytes())
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert drawn[0] == drawn[1] != drawn[2]


def test_training_leaves_the_stream_of_random_numbers_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    brief(monkeypatch, 2)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    trained(*stripes(), CLASSES, seed=5)
    assert torch.equal(torch.rand(3), expected)


def test_pictures_of_one_shade_are_drawn_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    brief(monkeypatch, 2)
    x, y = np.full((6, 1, 2, 2), 7.0), np.arange(6) % 2
    assert (trained(x, y, 2, seed=0).draw(y, seed=0) == 7).all()


def test_many_are_drawn_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    brief(monkeypatch, 2)
    x, y = stripes()
    found: Generator = trained(x.astype("float32"), y, CLASSES, seed=0)
    together = found.draw(y, seed=3)
    monkeypatch.setattr(generator, "AT_A_TIME", 48)
    np.testing.assert_allclose(found.draw(y, seed=3), together, rtol=1e-5, atol=1e-3)
