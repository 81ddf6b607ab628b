"""Run ids that must never change: those of ``frozen_ids.json``, whose entries were made by earlier versions.

To add entries, give what a user would type after ``optbench train``, quoted as one word each:

    python -m tests.test_frozen_ids 'optim=adam optim.lr=0.1' "'regularization=[l1,l2]'"

It only appends: an entry that is there keeps its id, and where that would now be another one nothing is written.

An id holds its data's fingerprint, so the data are those of files that lie in scikit-learn, files written here with
fixed bytes, or numbers drawn without rounding that depends on the processor. ``drawn`` marks the others: theirs is the
fingerprint that the entry was made with, and the id is only compared where the data are drawn with the same rounding.
Entries of data smaller than a batch say ``batch.size=64``: it was the default then, where now it shrinks.
Parts of PyTorch's own are missing, as their ids hold the source of PyTorch's file.
"""

import json
import os
import shlex
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from runner.config.compose import Composer
from runner.config.options import groups, options
from runner.run.job import Job, prepare
from tests.support.made_data import make_cifar

FILE = Path(__file__).with_name("frozen_ids.json")
ENTRIES: list[dict[str, str]] = json.loads(FILE.read_text())
ROUNDED = ("data=mnist1d", "data=quadratic", "data=linear_regression", "experiment=schedules")
"""Data drawn with exponentials, logarithms or long sums, unless few enough are drawn."""
PARTS = """\
def load(samples=40):
    import numpy
    x = numpy.arange(4.0 * samples).reshape(samples, 4)
    return x, numpy.arange(samples) % 3
def targets(samples=40):
    x, y = load(samples)
    return x, y / 4
def fill(weight, scale=1.0):
    weight.fill_(scale)
def loss(outputs, y):
    return (outputs[:, 0] - y).square().mean()
def model(shape, outputs, width=8):
    raise NotImplementedError
def optimizer(parameters, lr):
    raise NotImplementedError
"""
TASK = "def train(config, seed, run):\n    raise NotImplementedError\n"
OWN = {
    "init/mine": "# Mine\n_option_: mine\n_target_: frozen_parts.fill\nscale: 1.0  # of every weight\n",
    "optim/mine": "# Mine\n_option_: mine\n_target_: frozen_parts.optimizer\nlr: 0.1  # step size\n",
    "task/mine": "# Mine\n_option_: mine\n_target_: frozen_task.train\ndepth: 3\n_spec_: {facts: {uses: [data]}}\n",
    "scheduler/slower": "# Mine\n_option_: slower\n_target_: runner.scheduler.cosine\nend_factor: 0.5  # at the end\n",
    "experiment/mine": "# @package _global_\n# Mine\ndefaults: [override /optim: sgd]\nmodel: {width: 32}\nseed: 7\n",
}


def make_files(folder: Path) -> None:
    """Write what entries name, always with the same bytes."""
    (folder / "frozen_parts.py").write_text(PARTS)
    (folder / "frozen_task.py").write_text(TASK)
    for name, text in OWN.items():
        (folder / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "own" / f"{name}.yaml").write_text(text)
    (folder / "teacher").mkdir()
    (folder / "teacher" / "checkpoint.pt").write_bytes(b"only its bytes are in an id")
    rows = [f"{i};{i * i % 7}.25;{('Rome', 'Oslo', 'Lima')[i % 3]};{('no', 'yes')[i % 2]}" for i in range(40)]
    (folder / "table.csv").write_text("\n".join(["age;income;city;bought", *rows, ";1.0;Rome;no"]) + "\n")
    (folder / "numbers.csv").write_text("a,b,y\n" + "".join(f"{i},{i % 5},{i * 7 % 11}.5\n" for i in range(40)))
    columns = ",".join(f"x{i}" for i in range(10))
    (folder / "ten.csv").write_text(f"{columns},y\n" + f"{','.join('0123456789')},10\n" * 12)
    (folder / "text.txt").write_text("Every id stays as it is. " * 40)
    said = [
        f"{('the sun', 'a moon')[i % 2]} {('rises', 'sets', 'is up')[i % 3]},{('day', 'night')[i % 2]}"
        for i in range(40)
    ]
    (folder / "said.csv").write_text("\n".join(["said,kind", *said]) + "\n")
    (folder / "synonyms.txt").write_text("rises,sets\n")
    (folder / "paraphrases.csv").write_text(
        "text,paraphrase\n" + "".join(f"{s.partition(',')[0]},so it is\n" for s in said[:6])
    )
    for part in ("pictures/", "parted/train/", "parted/test/"):
        for name, colour in (("blue", (20, 30, 220)), ("red", (220, 30, 20))):
            (folder / part / name).mkdir(parents=True)
            for i in range(12):
                Image.new("RGB", (8, 8), (*colour[:2], 200 + i)).save(folder / part / name / f"{i}.png")
    for name in ("MNIST", "FashionMNIST"):
        (folder / name / "raw").mkdir(parents=True)
        for part, count in (("train", 40), ("t10k", 20)):
            pixels = bytes(i * 31 % 251 for i in range(count * 28 * 28))
            place = folder / name / "raw" / f"{part}-images-idx3-ubyte"
            place.write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + pixels)
            labels = bytes(i % 10 for i in range(count))
            place.with_name(f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels)
    make_cifar(folder)


class Asked:
    """Composes what a user would type in a folder with the files above."""

    def __init__(self) -> None:
        self._composers: dict[str | None, Composer] = {}

    def __call__(self, typed: str) -> Job:
        words = shlex.split(typed)
        config_dir = words.pop(words.index("--config-dir") + 1) if "--config-dir" in words else None
        if config_dir not in self._composers:
            self._composers[config_dir] = Composer.over(config_dir)
        return prepare(self._composers[config_dir].compose([word for word in words if word != "--config-dir"]))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("frozen")
        make_files(folder)
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield Asked()


def as_parameter(entry: dict[str, str]) -> Any:
    """An entry as a test's parameter; those that name no folder for MNIST read the real one."""
    real = "data=mnist" in entry["train"].split() and "data.root=" not in entry["train"]
    return pytest.param(entry, marks=[pytest.mark.mnist] if real else [], id=entry["train"] or "the defaults")


@pytest.mark.parametrize("entry", [as_parameter(e) for e in ENTRIES])
def test_an_id_stays_what_it_was(entry: dict[str, str], asked: Asked) -> None:
    job = asked(entry["train"])
    if "drawn" in entry and job.source.fingerprint != entry["drawn"]:
        pytest.skip("these data are drawn with another rounding here")
    assert job.run_id == entry["id"]


def test_there_are_200_and_none_twice() -> None:
    assert len(ENTRIES) >= 200
    assert len({entry["train"] for entry in ENTRIES}) == len(ENTRIES)


def test_every_option_of_every_group_has_a_frozen_id() -> None:
    words = [word.partition("=") for entry in ENTRIES for word in shlex.split(entry["train"])]
    chosen = {(group, name) for group, _, names in words for name in names.strip("[]").split(",")}
    lacking = [f"{group}={o.name}" for group in groups() for o in options(group) if (group, o.name) not in chosen]
    assert not lacking, f"add some entries: python -m tests.test_frozen_ids {' '.join(lacking)}"


def append(lines: list[str]) -> int:
    """Add entries; exit code 1, with nothing written, where one that is there would have another id."""
    known = {entry["train"]: entry for entry in ENTRIES}
    with tempfile.TemporaryDirectory() as place:
        make_files(Path(place))
        os.chdir(place)
        sys.path.insert(0, place)
        asked, found = Asked(), list(ENTRIES)
        for line in lines:
            job = asked(line)
            if line in known:
                drawn = known[line].get("drawn", job.source.fingerprint) != job.source.fingerprint
                if job.run_id != known[line]["id"] and not drawn:
                    print(f"{line}: its id is {known[line]['id']} and would be {job.run_id}", file=sys.stderr)
                    return 1
                continue
            drawn = {"drawn": job.source.fingerprint} if any(data in line.split() for data in ROUNDED) else {}
            found.append({"id": job.run_id, **drawn, "train": line})
        os.chdir(FILE.parent)
    rows = ",\n".join(json.dumps(entry, ensure_ascii=False) for entry in found)
    FILE.write_text(f"[\n{rows}\n]\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(append(sys.argv[1:]))
