"""What ``optbench auto`` makes of a table, a folder of pictures or a network: a search's overrides. Trains nothing."""

import codecs
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.config import hydra_door
from runner.errors import ConfigError, TableError, closest
from runner.run.job import OUTPUTS, Job, parts_of
from runner.search.asked import SIZES, BudgetError
from runner.search.finals import expected_runs
from runner.search.grammar import keys_of
from runner.search.study import FILE

IMPORT_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
TABLES = (".csv", ".tsv", ".tab", ".txt", ".data")
NETWORKS = {"image_folder": "cnn"}
"""The model where none is given; of all other data the default one."""
LEAST_STEPS = 1000
"""Of a run, where neither epochs nor max_steps is given: few rows are passed over more often."""
MOST_EPOCHS = 500
EVALUATIONS = 20
"""Of such a run."""
LONGEST = 80
"""Bytes of a file's name that its folder's name takes; what is trained at the end has a longer one."""
SAFE = 0.8
"""Runs that are shortened to fit a budget are to take this share of what is left of it."""
UTF_8 = "utf-8"
SENTENCES = "data=text_csv"
"""What a table's overview says of a column that reads as sentences."""


@dataclass(frozen=True)
class Meant:
    """What is to be searched over."""

    overrides: tuple[str, ...]
    """Of what was given: the data, or the network."""
    name: str
    """Below outputs/."""
    doubts: tuple[str, ...] = ()
    """What was guessed about the file."""


def meant(thing: str, label: str | None, overrides: Sequence[str]) -> Meant:
    """Return what a table's file, a folder of pictures or an import path stands for.

    Raises:
        ConfigError: if it is none of these, or lacks what it needs.
    """
    path, given = Path(thing).expanduser(), keys_of(overrides)
    stem = re.sub(r"[^\w.-]+", "_", path.resolve().name.partition(".")[0]) or "data"
    name = f"auto-{stem.encode()[:LONGEST].decode(errors='ignore')}"
    if path.is_dir() or path.is_file():
        if "data" in given:
            raise ConfigError(f"{thing} is the data: leave data={given['data']} out")
        where = typed("data.path", thing)
        if path.is_dir():
            if label is not None:
                raise ConfigError(f"--label {label} is for tables: the folders in {thing} are the classes")
            return Meant(("data=image_folder", where), name)
        encoding = given.get("data.encoding") or _encoding(path)
        between = [] if "data.delimiter" in given else _delimiter(path, encoding)
        labels = _labels(label, given) or ([] if "data.label" in given else ["data.label=null"])
        if encoding == UTF_8 or "data.encoding" in given:
            return Meant(("data=csv", where, *between, *labels), name)
        setting = f"data.encoding={encoding}"
        doubts = (f"{thing} is not text in UTF-8: read with  {setting}",)
        return Meant(("data=csv", where, setting, *between, *labels), name, doubts)
    if IMPORT_PATH.fullmatch(thing) and path.suffix.lower() not in TABLES:
        if "model" in given:
            raise ConfigError(f"{thing} is the model: leave model={given['model']} out")
        if "data" not in given:
            raise ConfigError(
                f"{thing} is no file and no folder here, so it is a model's import path: give its data too, such as "
                f"data=csv data.path=table.csv data.label=price{_near(path)}"
            )
        return Meant(
            ("model=custom", f"model.target={thing}", *([] if label is None else _labels(label, given))),
            f"auto-{thing.rpartition('.')[2]}",
        )
    raise ConfigError(
        f"{thing} is no file or folder here, and not an import path of a model such as mymodel.Net{_near(path)}"
    )


def typed(key: str, value: object) -> str:
    """Return an override as it is typed, whatever characters its value has."""
    return f"{key}={hydra_door.written(value)}"


def _encoding(path: Path) -> str:
    """Return what a file is written in, as far as its bytes tell."""
    content = path.read_bytes()
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    try:
        content.decode(UTF_8)
    except UnicodeError:
        return "cp1252"
    return UTF_8


def _delimiter(path: Path, encoding: str) -> list[str]:
    """Return what stands between the cells of a table where that is plainly no comma."""
    if not _is_known(encoding):
        return []  # which is refused by its key
    with path.open(encoding=encoding, errors="replace") as file:
        first = file.readline()
    other = next((d for d in ("\t", ";") if d in first), None)
    if other is None or "," in first.replace(", ", " "):
        return []
    return ["data.delimiter=\\t" if other == "\t" else typed("data.delimiter", other)]


def _is_known(encoding: str) -> bool:
    try:
        return bool(codecs.lookup(encoding))
    except LookupError:
        return False


def _labels(label: str | None, given: Mapping[str, str]) -> list[str]:
    if label is not None and "data.label" in given:
        raise ConfigError(f"--label {label} beside data.label={given['data.label']}: give one")
    return [] if label is None else [typed("data.label", label)]


def _near(path: Path) -> str:
    folder = path.parent
    return closest(path.name, [p.name for p in folder.iterdir()]) if folder.is_dir() else ""


def remedy(error: TableError, asked: Sequence[str]) -> tuple[list[str], str] | None:
    """Return what a table is read with where it cannot be used as it is, and why; None where nothing helps.

    A single column of sentences is read as text; otherwise it is what the refusal itself names.
    """
    settings, given = error.settings, keys_of(asked)
    if given.get("data.label", "null") == "null":
        return None
    first, *lines = str(error).splitlines()
    if (text := _only_text(error, given["data.label"])) is not None:
        kept = [o for o in asked if o != "data=csv"]
        return ["data=text_csv", typed("data.text", text), *kept], f"{text} holds sentences"
    if settings is None:
        return None
    more = [typed(f"data.{key}", value) for key, value in settings.items()]
    if any(o.partition("=")[0] in given for o in more):
        return None
    troubles = [line.strip() for line in lines if not line.startswith("it can be used with")]
    return [*asked, *more], "; ".join(troubles) or first


def _only_text(error: TableError, label: str) -> str | None:
    """Return the column of sentences where all others beside it and the label name the rows."""
    columns = [line for line in error.overview[1:] if line[0] != label.strip("'\"")]
    texts = [name for name, *_, becomes in columns if SENTENCES in becomes]
    others = [line for line in columns if line[0] not in texts]
    rows = max((int(line[3]) + int(line[2]) for line in columns), default=0)
    return texts[0] if len(texts) == 1 and all(int(line[3]) == rows for line in others) else None


def counters(job: Job) -> list[str]:
    """Return the features of a table that count its rows: they say where a row stood, and nothing else."""
    reading, samples = job.source.reading or {}, job.source.samples
    if reading.get("kind") != "table" or samples.at is None or len(samples) < 2:
        return []
    names = [feature["name"] for feature in reading["features"] if feature["kind"] == "number"]
    found = []
    for name in names:
        away = samples.x[:, reading["inputs"].index(name)].astype(float) - samples.at
        if away[0] in (0, 1) and (away == away[0]).all():
            found.append(name)
    return found if len(found) < len(reading["features"]) else []


def completed(job: Job, overrides: Sequence[str]) -> list[str]:
    """Return what is chosen for data where it is not given: a network of their kind, and long enough runs."""
    given, found = keys_of(overrides), []
    if "model" not in given and (network := NETWORKS.get(str(job.config["data"]["_option_"]))):
        found.append(f"model={network}")
    if (steps := _steps_an_epoch(job, given)) is not None:
        enough = min(MOST_EPOCHS, math.ceil(LEAST_STEPS / steps))
        epochs = _begun_epochs(overrides) or max(enough, job.config["epochs"] or 0)
        if epochs != job.config["epochs"]:
            found += _length(epochs, steps, given)
    if job.source.classes is None and job.source.alphabet is None and "data.normalize_target" not in given:
        found.append("data.normalize_target=standard")
    return found


def _steps_an_epoch(job: Job, given: Mapping[str, str]) -> int | None:
    """Return the batches of an epoch; None where the length of the runs is given, or batches have no one size."""
    size = job.config["batch"].get("size")
    if {"epochs", "max_steps"} & given.keys() or not isinstance(size, int):
        return None
    return math.ceil(len(parts_of(job.config, job.source, job.config["dtype"]).train) / size)


def _length(epochs: int, steps: int, given: Mapping[str, str]) -> list[str]:
    every = [] if "eval_every" in given else [f"eval_every={math.ceil(epochs * steps / EVALUATIONS)}"]
    return [f"epochs={epochs}", *every]


def shorter(error: BudgetError, job: Job, overrides: Sequence[str], given: Sequence[str]) -> tuple[list[str], int]:
    """Return the overrides of runs that fit the budget in the smallest generation with its finals, and their epochs.

    Args:
        error: the budget's, of runs as long as they are.
        job: one of them.
        overrides: of the search.
        given: those of the user.

    Raises:
        BudgetError: the same, if their length is the user's, or an epoch is too long.
    """
    steps, few = _steps_an_epoch(job, keys_of(given)), min(SIZES)
    runs = few + expected_runs(SIZES[few])
    share = min(1.0, error.seconds_left / (runs * error.seconds_a_run)) if error.seconds_a_run > 0 else 0.0
    epochs = math.floor(SAFE * share * (job.config["epochs"] or 0))
    if steps is None or epochs < 1:
        raise error
    mine = {"epochs", "eval_every"} - keys_of(given).keys()
    kept = [o for o in overrides if o.partition("=")[0] not in mine]
    return [*kept, *_length(epochs, steps, keys_of(given))], epochs


def begun_size(overrides: Sequence[str]) -> int | None:
    """Return how large the generations are of the search that the same command began; None: it began none."""
    found = _begun(overrides, lambda study: study["generation"])
    return found if found in SIZES else None


def _begun_epochs(overrides: Sequence[str]) -> int | None:
    """Return how long the runs are of the search that the same command began; None: it began none."""
    return _begun(overrides, lambda study: study["run"]["epochs"])


def _begun(overrides: Sequence[str], of: Callable[[Any], Any]) -> int | None:
    name = [o.partition("=")[2] for o in overrides if o.startswith("name=")][-1].strip("'\"")
    try:
        found = of(json.loads((OUTPUTS / name / FILE).read_text(encoding="utf-8"))["study"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # or of no search, which is refused with its reason
    return found if isinstance(found, int) else None


def smaller(error: BudgetError, size: int) -> int | None:
    """Return a smaller generation that the budget holds with its finals; None where there is none."""
    runs = {few: few + expected_runs(finalists) for few, finalists in SIZES.items() if few < size}
    held = [few for few, count in runs.items() if count * error.seconds_a_run <= error.seconds_left]
    return max(held, default=None)
