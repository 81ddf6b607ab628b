"""The user's pictures: what a viewer shows is what is trained on, and none is left out without a word."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner.data import Source
from runner.data.images import image_folder
from runner.errors import ConfigError
from tests.support.records import Result, run_folder, summary_of

Optbench = Callable[..., Result]
SIZE = 8


def read(path: Path, **settings: object) -> Source:
    return image_folder(**{"path": str(path), "size": SIZE, "grey": False, "test_fraction": None, **settings})


def saved(picture: Image.Image, path: Path, **how: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **how)


def plain(value: int, path: Path) -> None:
    saved(Image.new("RGB", (SIZE, SIZE), (value, value, value)), path)


def two_classes(place: Path, count: int = 3) -> Path:
    for name, value in (("dark", 10), ("light", 200)):
        for i in range(count):
            plain(value + i, place / name / f"{i}.png")
    return place


def test_pictures_of_8_bits_are_as_they_are(tmp_path: Path) -> None:
    source = read(two_classes(tmp_path))
    assert source.notes == () and source.samples.x.dtype == np.uint8
    assert source.samples.x[:, 0, 0, 0].tolist() == [10, 11, 12, 200, 201, 202]
    assert source.samples.y.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("mode", "suffix", "values", "expected"),
    [
        ("uint16", ".png", [12_000, 45_000], [47, 175]),
        (">u2", ".tif", [257, 65_535], [1, 255]),
        ("float32", ".tif", [0.25, 1.0], [64, 255]),
        ("float32", ".tif", [3.0, 254.6], [3, 255]),
        ("float32", ".tif", [514.0, 60_000.0], [2, 233]),
        ("int32", ".tif", [7, 200], [7, 200]),
    ],
)
def test_deeper_pictures_are_brought_to_8_bits(
    mode: str, suffix: str, values: list[float], expected: list[int], tmp_path: Path
) -> None:
    for name, value in zip("ab", values, strict=True):
        saved(Image.fromarray(np.full((SIZE, SIZE), value, mode)), tmp_path / name / f"0{suffix}")
    source = read(tmp_path)
    assert source.samples.x[:, 0, 0, 0].tolist() == expected
    assert source.notes == (f"data.path={tmp_path}: of 2 pictures 2 were brought to 8 bits",)
    grey = read(tmp_path, grey=True).samples.x
    assert grey.shape == (2, 1, SIZE, SIZE) and grey[:, 0, 0, 0].tolist() == expected


@pytest.mark.parametrize("value", [-1.0, np.nan, 1e6])
def test_numbers_that_no_byte_stands_for_are_refused(value: float, tmp_path: Path) -> None:
    two_classes(tmp_path)
    saved(Image.fromarray(np.full((SIZE, SIZE), value, "float32")), tmp_path / "dark" / "odd.tif")
    with pytest.raises(ConfigError, match=r"beyond what white may be: 1, 255, 65535|below 0, or not finite"):
        read(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB with a transparent colour"])
def test_what_is_transparent_is_white(mode: str, tmp_path: Path) -> None:
    two_classes(tmp_path)
    half = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, SIZE, SIZE // 2))
    place = tmp_path / "dark" / "half.png"
    if mode == "RGB with a transparent colour":
        coloured = Image.new("RGB", (SIZE, SIZE), (0, 0, 0))
        coloured.paste((1, 2, 3), (0, 0, SIZE, SIZE // 2))
        saved(coloured, place, transparency=(1, 2, 3))
    else:
        saved(half.convert(mode) if mode != "P" else half.quantize(4), place)
    found = next(x for x in read(tmp_path).samples.x if x.max() > 250 and x.min() < 5)
    assert (found[:, : SIZE // 2] == 255).all() and (found[:, SIZE // 2 :] == 0).all()
    assert "1 were put on white" in read(tmp_path).notes[0]


@pytest.mark.parametrize(("orientation", "corners"), [(1, (250, 0)), (3, (0, 250)), (6, (250, 250)), (8, (0, 0))])
def test_pictures_are_turned_as_exif_says(orientation: int, corners: tuple[int, int], tmp_path: Path) -> None:
    two_classes(tmp_path)
    picture = Image.new("L", (SIZE, SIZE), 0)
    picture.paste(250, (0, 0, SIZE // 2, SIZE))  # light on the left
    exif = Image.Exif()
    exif[0x0112] = orientation
    saved(picture, tmp_path / "dark" / "turned.tif", exif=exif)
    found = read(tmp_path, grey=True).samples.x
    turned = next(x[0] for x in found if x.max() == 250)
    assert (turned[0, 0], turned[0, -1]) == corners


def test_subfolders_of_a_class_are_read_as_torchvision_reads_them(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    two_classes(tmp_path)
    plain(50, tmp_path / "dark" / "more" / "deeper" / "0.png")
    plain(60, tmp_path / "light" / "more" / "1.JPEG")
    plain(99, tmp_path / "light" / ".thumbnails" / "0.png")
    (tmp_path / "light" / "notes.txt").write_text("no picture")
    shown = [p for p, _ in ImageFolder(str(tmp_path)).samples if "/." not in p]
    source = read(tmp_path)
    assert len(source.samples) == len(shown) == 8
    assert np.bincount(source.samples.y).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (["train", "val", "test"], (6, 4, 2)),
        (["Training", "validation", "testing"], (6, 4, 2)),
        (["train", "valid"], (6, 4, 0)),
        (["train", "test"], (6, 0, 2)),
    ],
)
def test_folders_that_are_parts_are_obeyed(folders: list[str], parts: tuple[int, int, int], tmp_path: Path) -> None:
    sizes = dict(zip(("tr", "va", "te"), (3, 2, 1), strict=True))
    for folder in folders:
        two_classes(tmp_path / folder, sizes[folder[:2].lower()])
    source = read(tmp_path)
    found = tuple(len(part) if part is not None else 0 for part in (source.samples, source.val, source.test))
    assert found == parts
    assert (source.test_fraction is None) == (parts[2] > 0)


def test_a_validation_folder_is_the_validation_set(tmp_path: Path, optbench: Optbench) -> None:
    two_classes(tmp_path / "pics" / "train", 10)
    for name, value in (("dark", 200), ("light", 10)):  # exchanged on purpose
        for i in range(5):
            plain(value, tmp_path / "pics" / "val" / name / f"{i}.png")
    asked = ["data=image_folder", "data.path=pics", "data.size=8", "model=linear", "batch.size=8", "epochs=30"]
    assert optbench("train", *asked, "optim.lr=0.05").code == 0
    summary = summary_of(run_folder(tmp_path))
    assert summary["val_samples"] == 10 and summary["test_samples"] == 4
    assert summary["final_val_accuracy"] == 0 and summary["test_accuracy"] == 1
    refused = optbench("train", *asked, "data.folds=5", "data.fold=0")
    assert refused.code == 2 and "validation set of its own" in refused.err


@pytest.mark.parametrize(
    ("more", "said"),
    [("cars", "cars beside train, test"), ("Testing", "several folders for test: Testing, test")],
)
def test_folders_that_are_parts_and_classes_are_refused(more: str, said: str, tmp_path: Path) -> None:
    for folder in ("train", "test", more):
        two_classes(tmp_path / folder)
    with pytest.raises(ConfigError, match=said):
        read(tmp_path)


def test_what_cannot_be_read_is_named_together_and_nothing_is_written(tmp_path: Path, optbench: Optbench) -> None:
    two_classes(tmp_path / "pics")
    for i in range(7):
        (tmp_path / "pics" / "dark" / f"broken{i}.png").write_bytes(b"no picture")
    refused = optbench("train", "data=image_folder", "data.path=pics", "batch.size=2")
    assert refused.code == 2 and "7 files cannot be read as pictures" in refused.err and "2 more" in refused.err
    assert all(f"broken{i}.png" in refused.err for i in range(5)) and "Traceback" not in refused.err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("make", [lambda place: None, lambda place: (place / "one").mkdir()])
def test_a_folder_without_classes_or_pictures_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    make(tmp_path / "pics")
    with pytest.raises(ConfigError, match="needs a folder for each class, at least two"):
        read(tmp_path / "pics")
    (tmp_path / "pics" / "a").mkdir(exist_ok=True)
    (tmp_path / "pics" / "b").mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match="has no pictures"):
        read(tmp_path / "pics")


def test_what_was_done_is_said_once(tmp_path: Path, optbench: Optbench) -> None:
    two_classes(tmp_path / "said", 12)
    saved(Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0)), tmp_path / "said" / "dark" / "clear.png")
    asked = ["data=image_folder", "data.path=said", "data.size=8", "model=linear", "batch.size=8", "max_steps=2"]
    done = optbench("train", "-m", *asked, "seeds=3", "workers=2")
    assert done.code == 0 and done.err.count("1 were put on white") == 1
