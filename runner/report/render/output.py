"""Where a report is written. It overwrites what an earlier report wrote, as its own list says, and nothing else."""

import csv
import io
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from runner.errors import ConfigError, RecordError
from runner.run.record import write_whole, writing

PAGE, FILES, INDEX = "report.html", "report", "index.csv"
COLUMNS = ["file", "shows"]
MARKS = (b'<meta name="generator" content="optbench report">', b"<title>optbench report")
"""What a page of ours has near its beginning, and what those of earlier versions have."""
BEGINNING = 2**20


def target(folders: Sequence[Path], into: str | None) -> Path:
    """Return the folder that the page and its files go to: the one that was read, the folder all of them lie in, or
    the one that was asked for.

    Raises:
        ConfigError: if several folders lie in different ones.
    """
    if into is not None:
        if Path(into).exists() and not Path(into).is_dir():
            raise ConfigError(f"--into {into} is a file: give a folder")
        return Path(into)
    if len(folders) == 1:
        return folders[0]
    parents = {folder.resolve().parent for folder in folders}
    if len(parents) > 1:
        given = ", ".join(map(str, folders))
        raise ConfigError(f"{given} lie in different folders: say where the report goes with --into FOLDER")
    return folders[0].parent if folders[0].name not in ("", "..") else parents.pop()


def begin(folder: Path, names: Sequence[tuple[str, str]]) -> set[str]:
    """Make the folder of plots and tables, and list in it what will be there.

    The list comes first, so that a report which is cut short leaves nothing that the next one would not take for its
    own.

    Args:
        folder: where the page and that folder go.
        names: each file of it and what it shows.

    Returns:
        What an earlier report wrote.

    Raises:
        RecordError: if it cannot be written, or would take the place of what no report wrote.
    """
    place, page = folder / FILES, folder / PAGE
    away = "move it away, or give another folder with --into FOLDER"
    if place.is_symlink():
        raise RecordError(f"cannot write {place}: it is a link to somewhere else; remove it first")
    if page.is_file() and not any(mark in _beginning(page) for mark in MARKS):
        raise RecordError(f"cannot write {page}: what is there is no report of optbench; {away}")
    if (place / "runs.csv").exists():
        raise RecordError(f"cannot write {place}: it is the folder of a sweep; give another folder with --into FOLDER")
    earlier = _listed(place)
    theirs = {INDEX, *earlier} if earlier is not None else set[str]()
    for name in (INDEX, *(file for file, _ in names)):
        if name not in theirs and (place / name).exists():
            raise RecordError(f"cannot write {place / name}: what is there is no file of a report; {away}")
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
    kept = {file for file, _ in names}
    finish(place, [*names, *((file, "an earlier report") for file in sorted(earlier or ()) if file not in kept)])
    return earlier or set()


def _beginning(path: Path) -> bytes:
    with writing(path), path.open("rb") as file:
        return file.read(BEGINNING)


def finish(place: Path, names: Sequence[tuple[str, str]]) -> None:
    """Write the list of what is there."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *names])
    write_whole(place / INDEX, text.getvalue())


def forget(place: Path, earlier: Collection[str]) -> None:
    """Remove files of an earlier report."""
    for name in earlier:
        with writing(place / name):
            (place / name).unlink(missing_ok=True)


def _listed(place: Path) -> set[str] | None:
    """Return the files that a report listed as its own; None where there is no such list."""
    path = place / INDEX
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames != COLUMNS:
            return None
        named = [row.get("file") or "" for row in rows]
    return {name for name in named if re.fullmatch(r"[\w-]+\.(png|svg|pdf|csv|tex|json)", name)}
