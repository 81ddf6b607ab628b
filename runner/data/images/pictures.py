"""The user's own pictures, read as a viewer shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from runner.data import Samples, Source, fingerprint
from runner.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
TEST_FRACTION = 0.2
"""Of pictures that no folder sets apart."""
PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation", "dev"), "test": ("test", "testing")}
"""How folders are called that hold a part of a data set each."""
DEPTHS = {"I;16": 257.0, "I;16L": 257.0, "I;16B": 257.0, "I;16N": 257.0}
"""Pillow's modes of 16 bits, and what makes 8 of them: 65535/255."""
RANGES = {1.0: 1 / 255, 255.0: 1.0, 65535.0: 257.0}
"""The largest numbers that pictures of floats and long integers go up to, and what makes bytes of them."""
TURNED, ON_WHITE, TO_BYTES = "turned as EXIF says", "put on white where they are transparent", "brought to 8 bits"
NAMED = 5
"""So many files of a kind are named in a message."""


def image_folder(*, path: str, size: int, grey: bool, test_fraction: float | None) -> Source:
    """Read pictures from a folder for each class, subfolders included, as torchvision's ``ImageFolder`` finds them.

    Folders ``train``, ``val`` and ``test`` of such folders (also ``training``, ``valid``, ``validation``, ``dev``,
    ``testing``) are the parts: without ``val`` or ``test``, that part is held out of train. Pictures are turned as EXIF
    says, put on white where they are transparent, brought to 8 bits and scaled to ``size`` × ``size``; x is
    ``[n, 3, size, size]`` of bytes, or one channel if ``grey``. What begins with a dot is no class and no picture.

    Raises:
        ConfigError: if there are no two classes with pictures, some cannot be read, or parts contradict each other.
    """
    folder = Path(path).expanduser()
    parts = _parts(folder, path)
    if "test" in parts and test_fraction is not None:
        raise ConfigError(f"data.test_fraction={test_fraction:g} beside {parts['test']}, the test set: leave it out")
    names = _folders(parts["train"]) if parts["train"].is_dir() else []
    if len(names) < 2:
        raise ConfigError(f"data.path={path} needs a folder for each class, at least two, each with pictures")
    reader = _Reader(size, grey)
    read = {part: reader.read(place, names) for part, place in parts.items()}
    reader.refuse_what_cannot_be_read()
    train, val, test = (samples() if (samples := read.get(part)) else None for part in PARTS)
    assert train is not None, "there is always a part to train on"
    digest = fingerprint(*(part for part in (train, val, test) if part is not None))
    share = None if test is not None else test_fraction or TEST_FRACTION
    reading = {"kind": "pictures", "size": size, "grey": grey, "divisor": reader.divisor}
    return Source(
        train, len(names), digest, test, share, val, notes=reader.notes(path), labels=tuple(names), reading=reading
    )


def read_like(path: str, saved: Mapping[str, Any], key: str) -> Samples:
    """Read a picture, or all pictures of a folder and its subfolders, as those trained on were read; y is empty.

    Args:
        path: the file or folder.
        saved: how pictures were read.
        key: that named it.

    Raises:
        ConfigError: if there is no picture, or some cannot be read.
    """
    place = Path(path).expanduser()
    files = _files(place) if place.is_dir() else [place]
    if not files:
        raise ConfigError(f"{key}={path} has no pictures\nvalid: {', '.join(PICTURES)}")
    reader = _Reader(saved["size"], saved["grey"], saved["divisor"])
    part = _Part(place if place.is_dir() else place.parent)
    reader.take(part, files, 0)
    reader.refuse_what_cannot_be_read()
    samples = part()
    return Samples(samples.x, np.empty((len(samples), 0)), samples.at)


def _parts(folder: Path, path: str) -> dict[str, Path]:
    """Return the folder of each part; where folders are no parts, of the classes, as train.

    Raises:
        ConfigError: if there are folders beside the parts, or two of one part.
    """
    here = _folders(folder) if folder.is_dir() else []
    found: dict[str, list[str]] = {part: [n for n in here if n.lower() in spelled] for part, spelled in PARTS.items()}
    if not found["train"] or not (found["val"] or found["test"]):
        return {"train": folder}
    for part, spelled in found.items():
        if len(spelled) > 1:
            raise ConfigError(f"data.path={path} has several folders for {part}: {', '.join(spelled)}")
    if odd := [name for name in here if not any(name in spelled for spelled in found.values())]:
        raise ConfigError(
            f"data.path={path} has {', '.join(odd[:NAMED])} beside {', '.join(n for s in found.values() for n in s)}: "
            "either parts of a data set, or classes"
        )
    return {part: folder / spelled[0] for part, spelled in found.items() if spelled}


def _folders(place: Path) -> list[str]:
    return sorted(p.name for p in place.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(place: Path) -> list[Path]:
    """Return the pictures of a class, those of its subfolders too; what lies directly in it first."""
    found = [p for p in place.rglob("*") if p.suffix.lower() in PICTURES and p.is_file()]
    shown = [p for p in found if not any(part.startswith(".") for part in p.relative_to(place).parts)]
    return sorted(shown, key=lambda p: (p.parent != place, p))


@dataclass(eq=False)
class _Part:
    """Pictures of one part: bytes, or numbers of which only the whole data set tells which byte they are."""

    folder: Path
    files: list[str] = field(default_factory=list)
    """Below the folder."""
    pixels: list[NDArray[Any]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    divisor: float = 1.0

    def __call__(self) -> Samples:
        """Return the samples, numbers scaled to bytes."""
        bytes_ = [p if p.dtype == np.uint8 else np.rint(p / self.divisor).astype(np.uint8) for p in self.pixels]
        return Samples(np.stack(bytes_), np.array(self.labels), np.array(self.files))


class _Reader:
    """Reads the pictures of all parts, and keeps what is to be said of them."""

    def __init__(self, size: int, grey: bool, divisor: float | None = None) -> None:
        """Prepare.

        Args:
            size: pixels of a side.
            grey: one channel in place of three.
            divisor: makes bytes of numbers; None: as the largest of them tells.
        """
        self._size, self._grey = size, grey
        self.divisor = divisor
        """None where there are no pictures of numbers."""
        self._unreadable: list[tuple[Path, Exception]] = []
        self._converted = {TURNED: 0, ON_WHITE: 0, TO_BYTES: 0}
        self._parts: list[_Part] = []
        self._largest = 0.0

    def read(self, place: Path, names: Sequence[str]) -> _Part:
        """Read one part.

        Raises:
            ConfigError: if its classes are not those given, or one has no pictures.
        """
        if unknown := [name for name in _folders(place) if name not in names]:
            raise ConfigError(f"{place} has classes that train lacks: {', '.join(unknown[:NAMED])}")
        part = _Part(place)
        for label, name in enumerate(names):
            files = _files(place / name)
            if not files:
                raise ConfigError(f"{place / name} has no pictures\nvalid: {', '.join(PICTURES)}")
            self.take(part, files, label)
        return part

    def take(self, part: _Part, files: Sequence[Path], label: int) -> None:
        """Read the pictures of one class; those that cannot be read are noted."""
        from PIL import Image

        for file in files:
            try:
                with Image.open(file) as picture:
                    pixels = self._pixels(picture)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                self._unreadable.append((file, error))
                continue
            part.pixels.append(pixels)
            part.labels.append(label)
            part.files.append(file.relative_to(part.folder).as_posix())
        if part not in self._parts:
            self._parts.append(part)

    def _pixels(self, picture: "Image") -> NDArray[Any]:
        """Return a picture as ``[channels, size, size]``, as a viewer shows it."""
        from PIL import Image, ImageOps

        turned = ImageOps.exif_transpose(picture)
        self._converted[TURNED] += turned.size != picture.size or picture.getexif().get(0x0112, 1) > 1
        picture, size = turned, (self._size, self._size)
        if picture.mode in (*DEPTHS, "I", "F"):
            self._converted[TO_BYTES] += 1
            numbers = np.asarray(picture).astype(np.float32) / DEPTHS.get(picture.mode, 1.0)
            scaled = np.asarray(Image.fromarray(numbers).resize(size, Image.Resampling.BILINEAR))
            if picture.mode in DEPTHS:
                scaled = np.rint(scaled).astype(np.uint8)
            elif not np.isfinite(numbers).all() or numbers.min() < 0:
                raise ValueError("its numbers are below 0, or not finite")
            else:
                self._largest = max(self._largest, float(numbers.max()))
            return np.repeat(scaled[None], 1 if self._grey else 3, axis=0)
        if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
            with_alpha = picture.convert("RGBA")
            self._converted[ON_WHITE] += bool((np.asarray(with_alpha)[..., 3] < 255).any())
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, with_alpha)
        scaled = np.asarray(picture.convert("L" if self._grey else "RGB").resize(size, Image.Resampling.BILINEAR))
        return scaled.reshape(self._size, self._size, -1).transpose(2, 0, 1)

    def refuse_what_cannot_be_read(self) -> None:
        """Settle what numbers stand for, and refuse what cannot be read.

        Raises:
            ConfigError: naming the files.
        """
        if len(self._unreadable) == 1:
            raise ConfigError("{} cannot be read as a picture: {}".format(*self._unreadable[0]))
        if self._unreadable:
            named = [f"{file} ({error})" for file, error in self._unreadable[:NAMED]]
            more = len(self._unreadable) - NAMED
            named += [f"{more} more"] if more > 0 else []
            said = "\n".join(named)
            raise ConfigError(f"{len(self._unreadable)} files cannot be read as pictures:\n{said}")
        if not self._largest:
            return
        ranges = [(largest, divisor) for largest, divisor in RANGES.items() if self.divisor in (None, divisor)]
        divisor = next((divisor for largest, divisor in ranges if self._largest <= largest), None)
        if divisor is None:
            white = ", ".join(f"{largest:g}" for largest, _ in ranges)
            raise ConfigError(f"pictures of numbers go up to {self._largest:g}, beyond what white may be: {white}")
        self.divisor = divisor
        for part in self._parts:
            part.divisor = divisor

    def notes(self, path: str) -> tuple[str, ...]:
        """Return what was done to the pictures, in a sentence."""
        done = [f"{count} were {what}" for what, count in self._converted.items() if count]
        total = sum(len(part.labels) for part in self._parts)
        return (f"data.path={path}: of {total} pictures {', '.join(done)}",) if done else ()
