"""Small files in the formats that data sets come in."""

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from runner.config.options import find
from runner.data import Source, tables


def make_cifar(root: Path) -> Path:
    """CIFAR-10 and CIFAR-100 as torchvision unpacks them: pickled dictionaries with keys of bytes.

    Frozen ids are of these bytes.
    """
    for folder, names, key, classes in (
        ("cifar-10-batches-py", [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], b"labels", 10),
        ("cifar-100-python", ["train", "test"], b"fine_labels", 100),
    ):
        (root / folder).mkdir(parents=True)
        for name in names:
            pixels = (np.arange(20 * 3072) * 31 % 251).astype(np.uint8).reshape(20, 3072)
            labels = [i * 7 % classes for i in range(20)]
            (root / folder / name).write_bytes(pickle.dumps({b"data": pixels, key: labels}, protocol=2))
    return root


def make_table(path: Path, rows: int = 60) -> Path:
    """A table with numbers, a category, and both kinds of targets."""
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "city", "income", "bought"])
        for i in range(rows):
            age = int(rng.integers(18, 80))
            writer.writerow(
                [age, ("Rome", "Oslo", "Lima")[i % 3], round(rng.normal(3, 1), 3), "yes" if age > 40 else "no"]
            )
    return path


def read_table(path: Path, **given: Any) -> Source:
    """Read a table under some settings, all others as ``data=csv`` has them."""
    option = find("data", "csv")
    assert option is not None
    defaults = {key: setting.default for key, setting in option.settings.items() if key != "normalize"}
    return tables.csv(**{**defaults, "label": None, **given, "path": str(path)})


def make_pictures(folder: Path, parts: tuple[str, ...] = (), each: int = 12) -> Path:
    """Red and blue pictures in folders of their names, of several sizes."""
    for part in parts or ("",):
        for name, colour in (("blue", (20, 30, 220)), ("red", (220, 30, 20))):
            place = folder / part / name
            place.mkdir(parents=True)
            for i in range(each):
                Image.new("RGB", (10 + i, 14), colour).save(place / f"{i}.png")
    return folder
