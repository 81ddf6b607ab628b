"""Weights and targets of a user's own for each sample."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from runner.data import Samples, Source
from runner.data.split import places, split
from runner.run.build import build
from tests.support.known import TINY
from tests.support.records import rows_of, run_folder

CUT = {"split_seed": 3, "val_fraction": 0.2, "fraction": 0.5}
HOW = {**CUT, "normalize": "none", "dtype": "float64"}
N = 100


def source(test: int = 0) -> Source:
    x = np.arange(N, dtype=float)[:, None]
    y = np.arange(N) % 4
    of_test = Samples(x[:test] + 1000, y[:test]) if test else None
    return Source(Samples(x, y), 4, "f" * 16, test=of_test, test_fraction=0.3)


@pytest.mark.parametrize("own", [{}, {"val_fraction": None, "folds": 3, "fold": 1}, {"bootstrap": 5}])
def test_places_are_those_of_split(own: dict) -> None:
    data = split(source(), **HOW | own)
    for part, at in zip((data.train, data.val, data.test), places(source(), **CUT | own), strict=True):
        assert part.x[:, 0].tolist() == at.tolist()


def test_weights_go_to_their_samples_and_are_1_in_the_mean(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).random(N)
    np.savetxt(tmp_path / "w.txt", weights)
    data = split(source(), **HOW, weights=str(tmp_path / "w.txt"))
    expected = weights[data.train.x[:, 0].astype(int)]
    assert data.weights is not None
    np.testing.assert_allclose(data.weights, expected / expected.mean())


@pytest.mark.parametrize("test", [0, 7])
def test_targets_take_the_place_of_classes_on_the_same_split(test: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    held = {"samples": rng.standard_normal((N, 2))} | ({"test": rng.standard_normal((test, 2))} if test else {})
    np.savez(tmp_path / "t.npz", **held)
    plain, data = split(source(test), **HOW), split(source(test), **HOW, targets=str(tmp_path / "t.npz"))
    assert data.classes is None and data.outputs == 2
    for part, before in ((data.train, plain.train), (data.val, plain.val)):
        assert (part.x == before.x).all()
        assert (part.y == held["samples"][part.x[:, 0].astype(int)]).all()
    owner = held["test"] if test else held["samples"]
    assert (data.test.y == owner[data.test.x[:, 0].astype(int) % 1000]).all()


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "bce"])
def test_a_weighted_loss_is_the_mean_of_weight_times_loss(loss: str, job: Callable, folder: Path) -> None:
    from runner.engine.targets import Weighted
    from runner.metrics import loss as named

    np.save("w.npy", np.random.default_rng(0).random(1797))
    run = build(job(*TINY, "data.weights=w.npy", f"loss={loss}"))
    assert run.train.weights is not None
    outputs, y, weights = torch.randn(20, 10), run.train.y[:20], run.train.weights[:20]
    each = [named(loss, 10)(outputs[i : i + 1], y[i : i + 1]) for i in range(20)]
    found = run.training_loss(outputs, Weighted(y, weights))
    torch.testing.assert_close(found, (torch.stack(each) * weights).mean())


def test_equal_weights_change_nothing_and_others_do(optbench: Callable, folder: Path) -> None:
    np.savetxt("even.txt", np.full(1797, 3.0))
    np.savetxt("uneven.txt", np.arange(1797) % 2)
    even, uneven = "data.weights=even.txt", "data.weights=uneven.txt"
    found = []
    for number, given in enumerate(([], [even], [even, "batch.micro=16"], [uneven])):
        assert optbench("train", *TINY, "baselines=false", f"name=n{number}", *given).code == 0
        found.append(float(rows_of(run_folder(folder, f"n{number}"))[-1]["train_loss"]))
    assert found[1:3] == pytest.approx([found[0]] * 2, rel=1e-5)
    assert found[3] != pytest.approx(found[0], rel=1e-4)


def test_ids_follow_the_files_content(job: Callable, folder: Path) -> None:
    np.savetxt("a.txt", np.ones(1797))
    np.savetxt("b.txt", np.ones(1797))
    np.savetxt("c.txt", np.arange(1797))
    ids = [job(f"data.weights={name}.txt").run_id for name in "abc"]
    assert ids[0] == ids[1] != ids[2] and job().run_id not in ids
    assert job("data.weights=null").run_id == job().run_id


@pytest.mark.parametrize(
    ("content", "more", "words"),
    [
        (np.ones(5), [], ["1797", "[5]"]),
        (np.full(1797, -1.0), [], ["≥ 0", "-1.0"]),
        (np.zeros(1797), [], ["0 for every"]),
        (np.ones(1797), ["augment=mixup"], ["mixed"]),
        (np.ones(1797), ["class_weights=balanced"], ["class_weights", "data.weights"]),
        (np.ones(1797), ["regularization=label_smoothing"], ["label_smoothing"]),
        (np.ones(1797), ["engine=fused"], ["weighs the samples of one run"]),
        (np.ones(1797), ["sharpness=true"], ["sharpness"]),
    ],
    ids=str,
)
def test_weights_that_mean_nothing_are_refused(
    content: np.ndarray, more: list[str], words: list[str], optbench: Callable, folder: Path
) -> None:
    np.save("w.npy", content)
    refused = optbench("train", *TINY, "data.weights=w.npy", *more)
    assert refused.code == 2 and all(word in refused.err for word in words), refused.err
    assert not (folder / "outputs").exists()
