"""The folders that a report reads, and the workloads of each. One that is broken does not keep the others from it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runner.errors import ConfigError, RecordError
from runner.report import searched
from runner.report.answer import Place
from runner.report.load import Records, find, load
from runner.report.searched import Search
from runner.report.settings import Workload
from runner.report.workloads import workloads
from runner.run.job import OUTPUTS


@dataclass(frozen=True)
class Source:
    """A folder that was read."""

    records: Records
    place: Place
    workloads: tuple[Workload, ...]
    search: Search | None = None
    """Where the folder is a search's."""
    whole: Workload | None = None
    """All of its runs, the trials among them."""

    def search_of(self, workload: Workload) -> Search | None:
        """Return the search that a workload's runs are of."""
        of_it = self.search is not None and not self.search.runs.isdisjoint(workload.runs["run_id"])
        return self.search if of_it else None


def read(folders: Sequence[Path], metric: str | None, better: str | None) -> tuple[list[Source], list[str]]:
    """Read each folder; return them, and what is to be said of those that give nothing.

    Raises:
        ConfigError: if none has a value.
        RecordError: if the only folder cannot be read.
    """
    if len(folders) == 1:
        return [_read(folders[0], metric, better)], []
    found, left_out = [], list[tuple[Path, ConfigError | RecordError]]()
    for folder in folders:
        try:
            found.append(_read(folder, metric, better))
        except (ConfigError, RecordError) as error:
            left_out.append((folder, error))
    if not found:
        raise left_out[0][1]
    return _named(found), [f"left out: {folder}: {str(error).splitlines()[0]}" for folder, error in left_out]


def check(folders: Sequence[Path]) -> None:
    """Refuse several folders that cannot be meant together, before any is read.

    Raises:
        ConfigError: if one holds no runs or is given twice, or a run is given beside others.
    """
    if len(folders) < 2:
        return
    seen: dict[Path, Path] = {}
    for folder in folders:
        single, _ = find(folder)
        if single:
            raise ConfigError(f"{folder} is a run; beside other folders give its sweep's: {folder.resolve().parent}")
        if (first := seen.setdefault(folder.resolve(), folder)) is not folder:
            raise ConfigError(f"{folder} is given twice" + (f", as {first} too" if str(first) != str(folder) else ""))


def _read(folder: Path, metric: str | None, better: str | None) -> Source:
    records = load(folder)
    place = _place(folder, single=folder in records.places.values())
    found = workloads(records, metric, better)
    search = searched.read(records)
    if search is None:
        return Source(records, place, tuple(found))
    judged, whole = searched.judged_by_finals(search, records, found)
    return Source(records, place, tuple(judged), search, whole)


def _place(folder: Path, single: bool) -> Place:
    """Return where a sweep's runs lie: its name, and the folder to start from where that is another one."""
    sweep = folder.resolve().parent if single else folder.resolve()
    here = (OUTPUTS / sweep.name).resolve() == sweep
    beside = sweep.parent.name == OUTPUTS.name
    return Place(sweep.name, str(sweep.parent.parent) if beside and not here else None, here or beside)


def _named(sources: Sequence[Source]) -> list[Source]:
    """Name each workload by its data, model and length, and by its folder too where several have the same."""
    titles = [[_title(w) for w in source.workloads] for source in sources]
    counts = Counter(title for of_source in titles for title in of_source)
    named = []
    for source, of_source in zip(sources, titles, strict=True):
        at = f" ({source.records.folder})"
        names = [title + at * (counts[title] > 1) for title in of_source]
        renamed = (replace(w, name=name) for w, name in zip(source.workloads, names, strict=True))
        named.append(replace(source, workloads=tuple(renamed)))
    return named


def _title(workload: Workload) -> str:
    """Return data · model · length, and what else tells it from others of its folder."""
    said = workload.about.split(" · ") if workload.about else []
    rest = [part for part in workload.name.split(" · ") if part and part not in said]
    return " · ".join([*said, *rest])
