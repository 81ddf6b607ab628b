"""Trained networks made smaller: runs that are trained, programs that are measured, and the table of both."""

import csv
import io
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runner.after import onnx_program
from runner.after.chains import DEFAULT, Chain
from runner.after.compressed_table import Row, table
from runner.after.dense import Dense
from runner.after.export import CALIBRATION
from runner.after.latency import in_turns
from runner.after.plain_form import plain
from runner.after.predict import evenly, last_outputs, part_of_data
from runner.after.sizes import width_of_size
from runner.compress.fake_quantized import converted
from runner.config.compose import Composer
from runner.config.identity import REPLICATES, choices
from runner.config.options import options_in
from runner.errors import ConfigError, RecordError
from runner.measures import share_of_one_class
from runner.run.build import build
from runner.run.claim import run_job
from runner.run.files import SOUND, read_config, read_overrides, read_summary
from runner.run.job import OUTPUTS, prepare
from runner.run.load import Trained, load_model
from runner.run.record import write_whole, writing

BATCHES = (1, 64)
"""Samples a call whose time is measured."""
DENSE = "dense"


@dataclass
class Measured:
    """A network of one seed, as it is run."""

    scores: Any
    """Of each test sample: right or not, or minus the squared error."""
    parameters: int
    """That are not 0."""
    stored: int
    file_bytes: int
    flops: int | None
    run: Callable[[Any], object]
    """Called with raw inputs."""
    eager: bool = False


@dataclass
class Work:
    """What is asked for, and what was found so far."""

    composer: Composer
    length: Sequence[str]
    found: dict[str, list[Measured]] = field(default_factory=dict)
    """By the row's name, a network a dense run."""
    notes: list[str] = field(default_factory=list)

    def trained(self, dense: Dense, overrides: list[str]) -> Path:
        """Train a run for a dense one, or find it, and return its folder.

        Raises:
            RecordError: if it did not end well.
        """
        outcome = run_job(prepare(self.composer.compose(overrides), dense.allow), "last")
        assert outcome is not None, "it waits where another process trains the run"
        if outcome.summary["status"] not in SOUND:
            raise RecordError(f"{outcome.job.folder}: {outcome.summary['status']}, {outcome.summary['stop_reason']}")
        return outcome.job.folder


def compress(
    place: str | Path,
    chains: Sequence[Chain],
    length: Sequence[str],
    small: bool = True,
    rounds: int = 100,
    config_dir: str | None = None,
    allow: Collection[str] = (),
) -> list[str]:
    """Make trained runs smaller in several ways, and return the lines of a table, which is also written as CSV.

    Args:
        place: a run's folder, or that of runs of one setting.
        chains: the ways.
        length: overrides of what is trained after a cut.
        small: train dense networks of equal size, too.
        rounds: calls of which each latency is the median.
        config_dir: the user's own YAMLs.
        allow: import paths of the user's own parts that may be imported.

    Raises:
        ConfigError: for what cannot be compressed so; nothing was trained.
        RecordError: if a run does not end well.
    """
    onnx_program.refuse_without_onnx("optbench compress")
    dense = dense_runs(Path(place), allow)
    work = Work(Composer.over(config_dir), length)
    models = [load_model(run.folder, allow) for run in dense]
    chains = _possible(work, dense[0], chains)
    if (share := share_of_one_class(read_summary(dense[0].folder) or {})) is not None:
        work.notes.append(f"classes are skewed: naming the largest for every test sample is right in {share:.2%}")
    for run, model in zip(dense, models, strict=True):
        _note(work, DENSE, as_program(model, run, None))
        if any(chain.rounds for chain in chains):
            _note(work, f"{DENSE} (PyTorch)", _eager(model, run, run.folder, rounded=False))
        folders: dict[str, Path] = {}
        for chain in chains:
            if chain.before not in folders:
                folders[chain.before] = _trained(work, run, chain)
            folder = folders[chain.before]
            one = load_model(folder, allow)
            measured = _eager(one, run, folder, rounded=True) if chain.rounds else as_program(one, run, chain, folder)
            _note(work, chain.said, measured)
            if small and not chain.rounds:
                _small(work, run, chain, measured)
    times = _times(work.found, part_of_data(dense[0].folder, "test", allow).x, rounds)
    rows = [_row(name, work.found, times, chains) for name in work.found]
    text, cells = table(rows, BATCHES, model.classes is not None, len(dense))
    target = OUTPUTS / dense[0].name / "compress.csv"
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    held = io.StringIO()
    writer = csv.DictWriter(held, list(cells[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    write_whole(target, held.getvalue())
    return [*text, *work.notes, f"table   {target}"]


def _note(work: Work, name: str, measured: Measured) -> None:
    work.found.setdefault(name, []).append(measured)


def dense_runs(place: Path, allow: Collection[str]) -> list[Dense]:
    """Return the runs that are to be made smaller: one, or those of a folder, which have one setting.

    Raises:
        ConfigError: if there is none, or there are several settings, weights were not kept, or it is compressed.
    """
    folders = (
        [place] if (place / "config.yaml").is_file() else sorted(p.parent for p in place.glob("[!.]*/config.yaml"))
    )
    if not folders:
        raise ConfigError(f"{place} holds no run: give a run's folder, or a sweep's such as outputs/default")
    found, settings = [], set()
    for folder in folders:
        summary, config = read_summary(folder) or {}, read_config(folder)
        if summary.get("status") not in SOUND:
            continue
        if summary.get("saved") == "none" or not (folder / "checkpoint.pt").is_file():
            raise ConfigError(f"{folder} kept no weights: run its sweep again with save=last force=true")
        settings.add(str({k: v for k, v in choices(config).items() if k not in REPLICATES}))
        if options_in(config.get("compress")):
            raise ConfigError(f"{folder} is compressed already: give the dense run")
        found.append(Dense(folder.resolve(), config, tuple(read_overrides(folder)), allow))
    if len(settings) > 1:
        raise ConfigError(f"{place} holds {len(settings)} settings: give one run, or a folder of one setting's seeds")
    if not found:
        raise ConfigError(f"{place} holds no run that has ended")
    return found


def _possible(work: Work, run: Dense, chains: Sequence[Chain]) -> list[Chain]:
    """Return the chains that can be trained; one that was asked for and cannot is refused, a default one named."""
    asked = [chain.said for chain in chains] != list(DEFAULT)
    found = []
    for chain in chains:
        try:
            if chain.student is not None and width_of_size(run, 1.0) is None:
                raise ConfigError(f"{chain.said}: the model has no width by which it could be smaller")
            if chain.trained and chain.student is None:
                overrides = run.trained(chain, run.folder, work.length, None)
                build(prepare(work.composer.compose(overrides), run.allow))
        except ConfigError as error:
            if asked:
                raise
            work.notes.append(f"{chain.said} is left out: {error}")
        else:
            found.append(chain)
    if not found:
        raise ConfigError("nothing can be compressed so:\n" + "\n".join(work.notes))
    return found


def _trained(work: Work, run: Dense, chain: Chain) -> Path:
    """Return the folder of what a chain trains; the dense run's where it trains nothing."""
    source, width = run.folder, None
    if chain.student is not None:
        width = max(1, round(run.config["model"]["width"] * chain.student))
        heads = run.config["model"].get("heads", 1)
        width = heads * max(1, round(width / heads))
        source = work.trained(run, run.narrower(width, taught=True)).resolve()
    if not chain.trained:
        return source
    return work.trained(run, run.trained(chain, source, work.length, width))


def _small(work: Work, run: Dense, chain: Chain, measured: Measured) -> None:
    """Train and measure the dense network that has as many numbers, or in int8 as many bytes."""
    parameters = measured.parameters / (4 if chain.int8 else 1)
    width = width_of_size(run, parameters)
    if width is None:
        work.notes.append(f"{chain.said}: no dense network of that size is made, as the model has no single width")
        return
    folder = work.trained(run, run.narrower(width, taught=False))
    _note(work, f"small for {chain.said}", as_program(load_model(folder, run.allow), run, None, folder))


def as_program(model: Trained, run: Dense, chain: Chain | None, folder: Path | None = None) -> Measured:
    """Return a model as onnxruntime runs it, in int8 where the chain ends so."""
    parameters = list(model.network.parameters())
    test = part_of_data(run.folder, "test", run.allow)
    x = onnx_program.raw_inputs(test.x)
    proto = onnx_program.program_of(plain(model), x)
    if chain is not None and chain.int8:
        ranges = evenly(part_of_data(run.folder, "train", run.allow), CALIBRATION).x
        proto = onnx_program.quantized(proto, chain.int8, onnx_program.raw_inputs(ranges))
    session = onnx_program.session_of(proto)

    def call(x: Any) -> Any:
        return session.run([onnx_program.OUTPUTS], {onnx_program.INPUT: x})[0]

    outputs = np.concatenate([call(x[i : i + 256]) for i in range(0, len(x), 256)])
    return Measured(
        scores=_scores(model, outputs, test.y),
        parameters=sum(int((p != 0).sum()) for p in parameters),
        stored=sum(p.numel() for p in parameters),
        file_bytes=len(proto.SerializeToString()),
        flops=(read_summary(folder or run.folder) or {}).get("flops_per_sample"),
        run=call,
    )


def _scores(model: Trained, outputs: Any, y: Any) -> Any:
    if model.classes is None:
        return -np.square(outputs - y.reshape(outputs.shape)).mean(1)
    return (outputs.argmax(1) == y.reshape(len(y), -1)[:, -1]).astype(float)


def _eager(model: Trained, run: Dense, folder: Path, rounded: bool) -> Measured:
    """Return a model as PyTorch runs it; ``rounded``, with torchao's int8."""
    if rounded:
        model.network = converted(model.network)
    test = part_of_data(run.folder, "test", run.allow)
    x, held = onnx_program.raw_inputs(test.x), io.BytesIO()
    torch.save(model.network.state_dict(), held)

    def call(x: Any) -> Any:
        with torch.no_grad():
            return last_outputs(model, torch.from_numpy(x)).float().numpy()

    outputs = np.concatenate([call(x[i : i + 256]) for i in range(0, len(x), 256)])
    count = sum(p.numel() for p in model.network.parameters())
    flops = (read_summary(folder) or {}).get("flops_per_sample")
    return Measured(_scores(model, outputs, test.y), count, count, len(held.getvalue()), flops, call, eager=True)


def _times(found: dict[str, list[Measured]], x: Any, rounds: int) -> dict[int, dict[str, tuple[float, float]]]:
    """Return by batch and row the median and 95th percentile of a call's seconds, on one thread."""
    x = onnx_program.raw_inputs(x)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = {}
        for batch in BATCHES:
            part = np.resize(x, (batch, *x.shape[1:])) if len(x) < batch else x[:batch]
            calls = {name: (lambda run=each[0].run, part=part: run(part)) for name, each in found.items()}
            times[batch] = in_turns(calls, rounds)
        return times
    finally:
        torch.set_num_threads(threads)


def _row(name: str, found: dict[str, list[Measured]], times: Any, chains: Sequence[Chain]) -> Row:
    each = found[name]
    beside = f"{DENSE} (PyTorch)" if each[0].eager else DENSE
    small = f"small for {name}"
    return Row(
        name=name,
        runtime="PyTorch" if each[0].eager else "onnxruntime",
        scores=[float(one.scores.mean()) for one in each],
        of_dense=[float(one.scores.mean()) for one in found[beside]] if name != beside else None,
        of_small=[float(one.scores.mean()) for one in found[small]] if small in found else None,
        parameters=each[0].parameters,
        stored=each[0].stored,
        flops=each[0].flops,
        file_bytes=each[0].file_bytes,
        bytes_of_dense=found[beside][0].file_bytes,
        seconds={batch: times[batch][name] for batch in BATCHES},
        faster={batch: times[batch][beside][0] / times[batch][name][0] for batch in BATCHES}
        if name != beside
        else dict.fromkeys(BATCHES, math.nan),
    )
