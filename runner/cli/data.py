"""``optbench data [overrides]``: what a data set holds, and what becomes of each column, without training."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runner.cli.arguments import Parser
from runner.cli.one_run import prepared
from runner.errors import TableError

if TYPE_CHECKING:
    from runner.data import Data, Samples, Source

MOST_CLASSES = 30
"""Classes that are listed."""
MOST_TARGETS = 5


def parser() -> Parser:
    """Return what the command takes."""
    parser = Parser("data", "What a data set holds, and what becomes of each column, without training.")
    parser.add_config_dir()
    parser.add_overrides("as for optbench train, such as data=csv data.path=table.csv data.label=price")
    return parser


def run(argv: Sequence[str]) -> int:
    """Print the columns of a table, the parts, and the classes or targets of each."""
    arguments = parser().parse_intermixed_args(argv)
    asked: list[str] = arguments.overrides
    unnamed = [key for key in _columns_to_name(asked) if not any(o.lstrip("+").startswith(f"{key}=") for o in asked)]
    try:
        job = prepared([*asked, *(f"{key}=null" for key in unnamed)], arguments.config_dir)
    except TableError as error:
        print(_aligned(error.overview), end="")
        if not unnamed:
            raise
        says = {"data.text": "which column to read", "data.label": "which column to predict"}
        for key in unnamed:
            print(f"optbench: {key}=… says {says[key]}", file=sys.stderr)
        return 0
    from runner.run.job import parts_of

    data = parts_of(job.config, job.source, job.config["dtype"])
    for note in job.source.notes:
        print(f"optbench: {note}", file=sys.stderr)
    if job.source.overview:
        print(_aligned(job.source.overview))
    print(_aligned([("inputs", _inputs(job.source, data)), ("fingerprint", data.fingerprint)]))
    print(_aligned(_parts(data)), end="")
    if share := job.config["data"]["generated"]:
        print(f"\nfor each training sample {share:g} generated ones are trained on too (data.generated={share:g})")
    return 0


def _columns_to_name(asked: Sequence[str]) -> tuple[str, ...]:
    """Return the settings that name columns of a table and have no default."""
    of_data = {"data=csv": ("data.label",), "data=text_csv": ("data.text", "data.label")}
    return next((keys for option, keys in of_data.items() if option in asked), ())


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    from runner.cli.present import aligned

    width = max(map(len, lines))
    return aligned([[*line, *[""] * (width - len(line))] for line in lines])


def _inputs(source: "Source", data: "Data") -> str:
    """Return the shape of an input and what it is made of."""
    x = source.samples.x
    if source.corpus is not None and data.vocabulary is not None:
        known, unit = len(data.vocabulary.tokens), source.corpus.splitting.unit
        return f"{x.shape[1]} {unit} at most, of {known} known from train ({len(source.corpus.tokens)} in all)"
    if source.alphabet is not None:
        return f"{x.shape[1]} characters of {len(source.alphabet)} different ones"
    return f"{list(x.shape[1:])} of {x.dtype}"


def _parts(data: "Data") -> list[list[str]]:
    """Return the sizes of the parts, and what their targets are."""
    parts = {"train": data.train, "val": data.val, "test": data.test}
    lines = [["", *parts, *([] if data.classes is None or data.alphabet else ["share"])]]
    lines.append(["samples", *(str(len(part)) for part in parts.values())])
    if data.alphabet is not None:
        return lines
    lines += _unknown(data, list(parts.values())) if data.vocabulary is not None else []
    if data.classes is not None:
        return lines + _classes(data, list(parts.values()))
    for place in range(min(MOST_TARGETS, data.outputs)):
        name = "target" if data.outputs == 1 else f"target {place}"
        for what, measure in (("least", "min"), ("mean", "mean"), ("deviation", "std"), ("most", "max")):
            columns = [part.y[:, place].astype(float) for part in parts.values()]
            found = [f"{getattr(y, measure)():.5g}" if len(y) else "–" for y in columns]
            lines.append([f"{name}: {what}", *found])
    return lines


def _unknown(data: "Data", parts: "Sequence[Samples]") -> list[list[str]]:
    """Return how many tokens a sentence has on average, and which share of them is not known."""
    assert data.vocabulary is not None, "its inputs are sentences"
    counts = [data.vocabulary.counted(part.x) for part in parts]
    mean = [f"{there / len(part):.1f}" if len(part) else "–" for (there, _), part in zip(counts, parts, strict=True)]
    share = [f"{unknown / there:.1%}" if there else "–" for there, unknown in counts]
    return [["tokens a sample", *mean], ["not known", *share]]


def _classes(data: "Data", parts: "Sequence[Samples]") -> list[list[str]]:
    """Return a line a class: how many samples each part has of it, and its share of all."""
    assert data.classes is not None, "its targets are classes"
    counts = [Counter(part.y.tolist()) for part in parts]
    names: Sequence[Any] = data.labels or range(data.classes)
    total = sum(map(len, parts))
    lines = []
    for label in range(min(MOST_CLASSES, data.classes)):
        found = [count[label] for count in counts]
        lines.append([str(names[label]), *map(str, found), f"{sum(found) / total:.1%}"])
    if data.classes > MOST_CLASSES:
        lines.append([f"… {data.classes - MOST_CLASSES} more classes"])
    return lines
