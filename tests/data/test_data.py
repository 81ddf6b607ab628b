"""Data: what is read is what is on disk, splits are stratified and disjoint, statistics are of train alone."""

import gzip
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from optbench import train
from runner import data
from runner.data import embedded, images, own, synthetic, tables
from runner.data.split import split
from runner.errors import ConfigError
from runner.run.build import build
from tests.support.known import MNIST_ROOT, as_seeds_go
from tests.support.made_data import make_cifar, make_pictures, make_table
from tests.support.records import run_folder, summary_of

SPLIT = {"split_seed": 0, "val_fraction": 0.1, "fraction": 1.0, "normalize": "none", "dtype": "float32"}


def test_digits_are_scikit_learns() -> None:
    source = embedded.digits(test_fraction=0.2)
    expected = datasets.load_digits()
    assert np.array_equal(source.samples.x[:, 0], expected.images)
    assert np.array_equal(source.samples.y, expected.target)


def test_parts_are_disjoint_complete_and_stratified() -> None:
    source = embedded.digits(test_fraction=0.2)
    parts = split(source, **SPLIT)
    sizes = [len(p) for p in (parts.train, parts.val, parts.test)]
    assert sizes == [1295, 143, 359]
    rows = np.concatenate([p.x.reshape(len(p), -1) for p in (parts.train, parts.val, parts.test)])
    assert sorted(map(bytes, rows)) == sorted(map(bytes, source.samples.x.reshape(1797, -1).astype(np.float32)))
    for part, share in ((parts.test, 0.2), (parts.val, 0.08)):
        counts = np.bincount(part.y, minlength=10)
        assert np.abs(counts - share * np.bincount(source.samples.y)).max() <= 1.5


def test_split_depends_on_its_seed_alone() -> None:
    source = embedded.digits(test_fraction=0.2)
    first, same = split(source, **SPLIT), split(source, **{**SPLIT, "normalize": "standard"})
    other = split(source, **{**SPLIT, "split_seed": 1})
    assert np.array_equal(first.test.y, same.test.y)
    assert not np.array_equal(first.test.y, other.test.y)


def test_fraction_takes_its_share_of_train_alone() -> None:
    source = embedded.digits(test_fraction=0.2)
    whole, part = split(source, **SPLIT), split(source, **{**SPLIT, "fraction": 0.1})
    assert len(part.train) == 129
    assert np.array_equal(whole.test.x, part.test.x)
    assert np.bincount(part.train.y, minlength=10).min() >= 12


def rows(part: data.Samples) -> list[bytes]:
    return [row.tobytes() for row in part.x.reshape(len(part), -1)]


@pytest.mark.parametrize("folds", [2, 5, 7])
@pytest.mark.parametrize("numbers", [False, True])
def test_folds_are_disjoint_and_cover_everything_outside_test(folds: int, numbers: bool) -> None:
    source: data.Source = embedded.digits(test_fraction=0.2)
    if numbers:
        source = synthetic.linear_regression(samples=301, features=3, noise=0.1, sample_seed=0, test_fraction=0.2)
    whole = split(source, **SPLIT)
    outside = sorted([*rows(whole.train), *rows(whole.val)])
    parts = [split(source, **{**SPLIT, "val_fraction": None}, folds=folds, fold=i) for i in range(folds)]
    assert sorted(row for part in parts for row in rows(part.val)) == outside
    for part in parts:
        assert sorted([*rows(part.train), *rows(part.val)]) == outside
        assert rows(part.test) == rows(whole.test)
    sizes = [len(part.val) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    if not numbers:
        counts = np.array([np.bincount(part.val.y, minlength=10) for part in parts])
        assert (counts.max(0) - counts.min(0)).max() <= 1


def test_folds_depend_on_the_split_seed() -> None:
    source = embedded.wine(test_fraction=0.2)
    first, same, other = (
        split(source, **{**SPLIT, "val_fraction": None, "split_seed": seed}, folds=5, fold=0) for seed in (0, 0, 1)
    )
    assert rows(first.val) == rows(same.val) != rows(other.val)


def test_a_bootstrap_holds_the_share_of_distinct_samples_that_chance_says() -> None:
    source = synthetic.linear_regression(samples=2000, features=3, noise=0.1, sample_seed=0, test_fraction=0.2)
    whole = split(source, **SPLIT)
    n, shares = len(whole.train), []
    for seed in range(20):
        part = split(source, **SPLIT, bootstrap=seed)
        assert len(part.train) == n and set(rows(part.train)) < set(rows(whole.train))
        assert rows(part.val) == rows(whole.val) and rows(part.test) == rows(whole.test)
        shares.append(len(set(rows(part.train))) / n)
    # 1 - 1/e = 0.632 of them, with a variance of (1/e - 2/e²)/n.
    deviation = np.sqrt((np.exp(-1) - 2 * np.exp(-2)) / n)
    assert np.mean(shares) == pytest.approx(1 - np.exp(-1), abs=4 * deviation / np.sqrt(20))
    assert 0.5 * deviation < np.std(shares) < 1.6 * deviation


def test_a_bootstrap_draws_targets_with_their_inputs_by_its_seed_alone() -> None:
    source = embedded.digits(test_fraction=0.2)
    whole = split(source, **SPLIT)
    first, same, other = (split(source, **SPLIT, bootstrap=seed) for seed in (0, 0, 1))
    assert rows(first.train) == rows(same.train) != rows(other.train)
    label = dict(zip(rows(whole.train), whole.train.y.tolist(), strict=True))
    assert [label[row] for row in rows(first.train)] == first.train.y.tolist()


def test_a_fold_and_a_resample_are_trained_on(job: Callable) -> None:
    whole, fold, drawn = (build(job(*o)) for o in ([], ["data.folds=5", "data.fold=4"], ["data.bootstrap=3"]))
    assert (len(whole.val.y), len(fold.val.y), len(fold.train.y)) == (143, 287, 1151)
    assert len(drawn.train.x.flatten(1).unique(dim=0)) < 0.7 * len(drawn.train.y)


@pytest.mark.parametrize("normalize", ["standard", "minmax"])
def test_normalization_is_fitted_on_train_alone(normalize: str) -> None:
    for source, axes in (
        (embedded.digits(test_fraction=0.2), (0, 2, 3)),
        (synthetic.linear_regression(samples=300, features=5, noise=0.1, sample_seed=0, test_fraction=0.2), (0,)),
    ):
        parts = split(source, **{**SPLIT, "normalize": normalize, "dtype": "float64"})
        x = parts.train.x
        low, high = (x.mean(axes), x.std(axes)) if normalize == "standard" else (x.min(axes), x.max(axes))
        np.testing.assert_allclose(low, 0, atol=1e-12)
        np.testing.assert_allclose(high, 1, atol=1e-12)
        assert abs(parts.test.x.mean() - parts.train.x.mean()) > 1e-6


def test_a_constant_feature_stays_finite() -> None:
    x = np.random.default_rng(0).standard_normal((100, 3))
    x[:, 1] = 7
    source = data.Source(data.Samples(x, np.zeros((100, 1))), None, "f", test_fraction=0.2)
    assert np.isfinite(split(source, **{**SPLIT, "normalize": "standard"}).train.x).all()


def test_linear_regression_has_the_noise_it_says() -> None:
    source = synthetic.linear_regression(samples=20000, features=5, noise=0.5, sample_seed=3, test_fraction=0.2)
    x, y = source.samples.x, source.samples.y
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    assert residual.std() == pytest.approx(0.5, rel=0.03)


def write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    content = header + values.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, n in (("train", 200), ("t10k", 50)):
        write_idx(tmp_path / "FashionMNIST/raw" / f"{part}-images-idx3-ubyte", rng.integers(0, 256, (n, 28, 28)))
        write_idx(tmp_path / "FashionMNIST/raw" / f"{part}-labels-idx1-ubyte.gz", np.arange(n) % 10)
    return tmp_path


def test_idx_files_are_read_plain_and_zipped(made: Path) -> None:
    from torchvision.datasets.mnist import read_image_file

    source = images.fashion_mnist(root=str(made), download=False)
    expected = read_image_file(str(made / "FashionMNIST/raw/train-images-idx3-ubyte"))
    assert np.array_equal(source.samples.x[:, 0], expected.numpy())
    assert source.test is not None
    assert np.array_equal(source.test.y, np.arange(50) % 10)


def test_a_truncated_file_is_refused_by_name(made: Path) -> None:
    path = made / "FashionMNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ConfigError, match="train-images-idx3-ubyte is not a whole idx file"):
        images.fashion_mnist(root=str(made), download=False)


def test_fingerprint_is_of_the_content(made: Path) -> None:
    before = images.fashion_mnist(root=str(made), download=False).fingerprint
    assert images.fashion_mnist(root=str(made), download=False).fingerprint == before
    path = made / "FashionMNIST/raw/train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert images.fashion_mnist(root=str(made), download=False).fingerprint != before


@pytest.mark.mnist
def test_mnist_trains_from_its_folder(optbench: Callable, folder: Path) -> None:
    result = optbench(
        "train", "data=mnist", f"data.root={MNIST_ROOT}", "init=he", "optim=adamw", "epochs=1", "model.width=64"
    )
    assert result.code == 0
    assert summary_of(run_folder(folder))["test_accuracy"] == as_seeds_go(0.9486, 0.0015)


def test_embedded_tables_are_scikit_learns() -> None:
    for ours, theirs in ((embedded.breast_cancer, datasets.load_breast_cancer), (embedded.wine, datasets.load_wine)):
        source, expected = ours(test_fraction=0.2), theirs()
        assert np.array_equal(source.samples.x, expected.data) and np.array_equal(source.samples.y, expected.target)
    source, expected = embedded.diabetes(test_fraction=0.2), datasets.load_diabetes(scaled=False)
    assert np.allclose(source.samples.x, expected.data) and np.array_equal(source.samples.y[:, 0], expected.target)
    assert source.classes is None


@pytest.mark.parametrize(("read", "classes"), [(images.cifar10, 10), (images.cifar100, 100)])
def test_cifar_is_read_as_torchvision_reads_it(read: Callable, classes: int, tmp_path: Path) -> None:
    import pickle

    root = make_cifar(tmp_path)
    source = read(root=str(root), download=False)
    assert source.classes == classes and source.samples.x.shape == (20 * (5 if classes == 10 else 1), 3, 32, 32)
    name = "cifar-10-batches-py/data_batch_1" if classes == 10 else "cifar-100-python/train"
    raw = pickle.loads((root / name).read_bytes(), encoding="bytes")
    # torchvision: reshape(-1, 3, 32, 32), then height, width, channel
    assert np.array_equal(source.samples.x[:20], raw[b"data"].reshape(-1, 3, 32, 32))
    assert source.samples.y[:20].tolist() == raw[b"labels" if classes == 10 else b"fine_labels"]
    assert len(source.test) == 20


def test_a_cifar_batch_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    import os
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    root = make_cifar(tmp_path / "root")
    (root / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps({b"data": Trap(), b"labels": [0]}))
    with pytest.raises(ConfigError, match=r"data_batch_3 is no batch of CIFAR.*system"):
        images.cifar10(root=str(root), download=False)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("grey", [False, True])
def test_pictures_are_read_from_a_folder_a_class(grey: bool, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pictures")
    source = images.image_folder(path=str(folder), size=8, grey=grey, test_fraction=0.25)
    assert source.samples.x.shape == (24, 1 if grey else 3, 8, 8) and source.classes == 2
    if not grey:
        assert source.samples.x[source.samples.y == 0].mean((0, 2, 3)).tolist() == [20, 30, 220]
    parted = images.image_folder(
        path=str(make_pictures(tmp_path / "parted", ("train", "test"))), size=8, grey=grey, test_fraction=None
    )
    assert len(parted.test) == 24 and parted.test_fraction is None


def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pictures")
    (folder / "red" / "3.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"3\.png is no picture"):
        images.image_folder(path=str(folder), size=8, grey=False, test_fraction=0.2)
    with pytest.raises(ConfigError, match="a folder for each class"):
        images.image_folder(path=str(tmp_path / "nowhere"), size=8, grey=False, test_fraction=0.2)


def test_a_share_beside_a_folder_of_test_pictures_is_refused(tmp_path: Path, job: Callable) -> None:
    parted = str(make_pictures(tmp_path / "parted", ("train", "test")))
    with pytest.raises(ConfigError, match=r"data.test_fraction=0.5 beside .*test"):
        images.image_folder(path=parted, size=8, grey=False, test_fraction=0.5)
    whole = str(make_pictures(tmp_path / "whole"))
    assert images.image_folder(path=whole, size=8, grey=False, test_fraction=None).test_fraction == 0.2
    with pytest.raises(ConfigError, match=r"data.test_fraction must be > 0 and < 1"):
        build(job("data.test_fraction=null"))


def test_hidden_folders_and_files_are_no_pictures(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "pictures")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "red" / "._0.png").write_bytes(b"of a file manager")
    source = images.image_folder(path=str(folder), size=8, grey=False, test_fraction=0.2)
    assert source.classes == 2 and len(source.samples) == 24


TABLE = {"columns": [], "kind": "auto", "missing": "refuse", "delimiter": ",", "test_fraction": 0.2}


def test_a_table_becomes_numbers_categories_and_classes(tmp_path: Path) -> None:
    path = str(make_table(tmp_path / "table.csv"))
    source = tables.csv(path=path, label="bought", **TABLE)
    assert source.classes == 2 and source.samples.x.shape == (60, 1 + 3 + 1)
    assert (source.samples.x[:, 1:4].sum(1) == 1).all()  # Lima, Oslo, Rome
    assert source.samples.x[:3, 1:4].tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert np.array_equal(source.samples.y == 1, source.samples.x[:, 0] > 40)
    number = tables.csv(path=path, label="income", **{**TABLE, "columns": ["age"]})
    assert number.classes is None and number.samples.x.shape == (60, 1) and number.samples.y.shape == (60, 1)
    assert tables.csv(path=path, label="age", **{**TABLE, "kind": "numbers"}).classes is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"label": "bougt"}, "did you mean 'bought'"),
        ({"label": "bought", "columns": ["agee"]}, "did you mean 'age'"),
        ({"label": "bought", "columns": ["bought"]}, "what is predicted"),
        ({"label": "bought", "kind": "numbers"}, "use data.kind=classes"),
        ({"label": "income", "kind": "classes"}, "which are no classes"),
        ({"label": "bought", "columns": ["age", "income", "age"]}, "data.columns names age twice"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(settings: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        tables.csv(path=str(make_table(tmp_path / "table.csv")), **{**TABLE, **settings})


@pytest.mark.parametrize(
    ("header", "row", "label", "said"),
    [
        ("a,y", "0.5,{i},1", "y", "3 cells in a row, but 2 in its header"),
        ("a,y", "0.5,{i},1,2", "y", "4 cells in a row, but 2 in its header"),
        ("y", "{i}", "y", "no column but data.label=y"),
        ("a,y", "{i},inf", "y", "the column y holds a number that is not finite"),
        ("a,y", "inf,{i}", "y", "the column a holds a number that is not finite"),
    ],
)
def test_a_table_that_would_be_misread_is_refused(
    header: str, row: str, label: str, said: str, optbench: Callable, folder: Path
) -> None:
    (folder / "table.csv").write_text("\n".join([header, *(row.format(i=i) for i in range(40))]) + "\n")
    refused = optbench("train", "data=csv", "data.path=table.csv", f"data.label={label}", "max_steps=1")
    assert refused.code == 2 and said in refused.err, refused.err
    assert [p.name for p in folder.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.args={at: x}"], "gave x of which 1 of 1200 numbers are not finite"),
        (["data.args={at: y}"], "gave y of which 1 of 300 numbers are not finite"),
        (["data.args={at: large}"], "x[2] of the data is not finite after data.normalize=standard in dtype=float32"),
        (["data.args={at: large}", "data.normalize=none"], "x[2] of the data is not finite after data.normalize=none"),
        (["data.args={at: large}", "data.normalize=minmax", "dtype=float64"], ""),
        (["data.args={at: large_y}"], "y[0] of the data is not finite"),
        (["data.args={at: near}"], "x[2] of the data is not finite after data.normalize=standard"),
    ],
)
def test_numbers_that_are_not_finite_are_refused(
    overrides: list[str], said: str, optbench: Callable, folder: Path
) -> None:
    asked = ["data=custom", "data.target=tests.own_parts.not_finite", *overrides, "max_steps=1"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused = optbench("train", *asked)
    assert refused.code == (2 if said else 0) and said in refused.err, refused.err
    assert not said or list(folder.iterdir()) == []


def test_missing_values_are_refused_by_name_or_dropped(tmp_path: Path) -> None:
    path = make_table(tmp_path / "table.csv")
    path.write_text(path.read_text() + "33,,2.0,yes\n,Rome,2.0,no\n")
    with pytest.raises(ConfigError, match=r"age \(1\), city \(1\); data.missing=drop"):
        tables.csv(path=str(path), label="bought", **TABLE)
    assert len(tables.csv(path=str(path), label="bought", **{**TABLE, "missing": "drop"}).samples) == 60


def test_data_sets_that_fit_are_joined(tmp_path: Path) -> None:
    root = str(make_cifar(tmp_path))
    pictures = str(make_pictures(tmp_path / "pictures"))
    settings = {"csv": {"path": str(make_table(tmp_path / "a.csv")), "label": "bought"}}
    with pytest.raises(ConfigError, match="does not fit"):
        own.concat(parts=["digits", "csv"], args=settings)
    with pytest.raises(ConfigError, match="did you mean 'digits'"):
        own.concat(parts=["digts", "wine"], args={})
    with pytest.raises(ConfigError, match="at least two"):
        own.concat(parts=["digits"], args={})
    with pytest.raises(ConfigError, match=r"data.args.digits.root is no setting"):
        own.concat(parts=["digits", "wine"], args={"digits": {"root": root}})
    with pytest.raises(ConfigError, match="does not fit"):
        own.concat(
            parts=["cifar10", "image_folder"], args={"cifar10": {"root": root}, "image_folder": {"path": pictures}}
        )
    numbers = {"samples": 50, "features": 10}
    joined = own.concat(parts=["linear_regression", "diabetes"], args={"linear_regression": numbers})
    assert len(joined.samples) == 50 + 442 and joined.classes is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("{linear_regression: {features: abc}}", "data.args.linear_regression.features must be a whole number"),
        ("{linear_regression: {features: -3}}", "data.args.linear_regression.features must be a whole number ≥ 1"),
        ("{linear_regression: {test_fraction: 5}}", "data.args.linear_regression.test_fraction must be"),
        ("{linear_regression: {features: 10, test_fraction: 0.3}}", "data.args.diabetes.test_fraction must be that of"),
        ("{linear_regression: 3}", "data.args.linear_regression must be a set of key: value, got 3"),
        ("{linear_regression: {feature: 3}}", "did you mean 'features'"),
        ("{linear_regressio: {features: 3}}", "did you mean 'linear_regression'"),
        ("{wine: {}}", "data.args.wine: wine is not among data.parts"),
    ],
)
def test_settings_of_a_joined_data_set_are_checked(args: str, said: str, optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "data=concat", "data.parts=[linear_regression,diabetes]", f"data.args={args}")
    assert refused.code == 2 and said in refused.err, refused.err
    assert "Traceback" not in refused.err and list(folder.iterdir()) == []


def test_a_joined_data_set_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data.args.csv.path must be given"):
        own.concat(parts=["digits", "csv"], args={})
    path = str(make_table(tmp_path / "a.csv"))
    with pytest.raises(ConfigError, match=r"data.args.csv: data.label=y is no column"):
        own.concat(parts=["digits", "csv"], args={"csv": {"path": path, "label": "y"}})
    with pytest.raises(ConfigError, match="does not fit"):
        own.concat(parts=["digits", "quadratic"], args={})


def test_quadratic_has_the_eigenvalues_it_says(job: Callable) -> None:
    source = synthetic.quadratic(features=7, condition=50.0)
    x = source.samples.x
    assert np.allclose(np.linalg.eigvalsh(2 / len(x) * x.T @ x), np.geomspace(1 / 50, 1, 7))
    config = job("data=quadratic", "model=linear", "batch.size=1").config
    assert config["data"]["normalize"] == "none"


def test_mnist1d_is_the_published_recipe() -> None:
    source = synthetic.mnist1d(samples=500, sample_seed=42, test_fraction=0.2)
    x, y = source.samples.x, source.samples.y
    assert x.shape == (500, 1, 40) and np.bincount(y).tolist() == [50] * 10
    assert abs(x.mean()) < 1e-9 and x.std() == pytest.approx(1)
    again = synthetic.mnist1d(samples=500, sample_seed=42, test_fraction=0.2)
    assert source.fingerprint == again.fingerprint
    assert synthetic.mnist1d(samples=500, sample_seed=1, test_fraction=0.2).fingerprint != source.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "published", "deviation"),
    [
        (["model=linear"], 0.32, 0.009),
        (["model=mlp", "model.width=100"], 0.68, 0.014),
        (["model=custom", "model.target=tests.own_parts.Strided"], 0.94, 0.009),
    ],
)
def test_mnist1d_gives_the_published_accuracies(
    model: list[str], published: float, deviation: float, folder: Path
) -> None:
    steps = ["max_steps=6000", "eval_every=2000", "batch.size=100", "scheduler=constant"]
    found = train("data=mnist1d", "data.val_fraction=0.02", "optim=adam", "optim.lr=0.01", *steps, *model)
    assert found.summary["test_accuracy"] == as_seeds_go(published, deviation)
