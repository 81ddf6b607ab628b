"""A job's data as its run needs it: split and normalized, on the device."""

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from runner.data import Data, Samples, Source
from runner.data.split import split
from runner.engine.run import Split
from runner.metrics import AnyLoss, Metric, OfInputs
from runner.run.components.generated import with_generated
from runner.run.job import GENERATED, GIVEN_KEYS, SPLIT_KEYS, Job

PROBE_SAMPLES = 2048
"""Training samples on which ``train_loss`` is measured: 2 % standard error of an accuracy at most, at little cost."""


def samples_of(job: Job, device: torch.device) -> tuple[Data, Split, Split, Split]:
    """Return a job's data, and its train, validation and test samples on the device."""
    data, (train, val, test) = _on_device(*_arguments(job), device)
    return data, train, val, test


def data_of(job: Job) -> Data:
    """Return a job's data, split and normalized, generated samples behind the training samples."""
    return _prepared(*_arguments(job))


def real_data_of(job: Job) -> Data:
    """Return the same without what is generated."""
    source, settings, dtype, _ = _arguments(job)
    return _prepared(source, settings, dtype, None)


def probe(train: Split, data: Data) -> Split:
    """Return the fixed part of train that ``train_loss`` is measured on, of which nothing is generated."""
    size = PROBE_SAMPLES if data.alphabet is None else max(1, PROBE_SAMPLES // train.y.shape[1])
    size = min(size, len(data.train) - data.generated)
    return Split(train.x[:size], train.y[:size])


def inputs(data: Data) -> Tensor:
    """Return the training inputs as an initializer looks at them."""
    x = torch.from_numpy(data.train.x)
    return x if data.is_text else x.float()


def interface(data: Data, source: str | None) -> dict[str, Any]:
    """Return what using the weights takes: see ``Run.interface``; ``source`` is a digest of a model of one's own."""
    own = {} if source is None else {"source": source}
    return {
        **own,
        "shape": list(data.train.x.shape[1:]),
        "outputs": data.outputs,
        "classes": data.classes,
        "alphabet": data.alphabet,
        "shift": torch.from_numpy(data.shift),
        "scale": torch.from_numpy(data.scale),
        "fill": None if data.fill is None else torch.from_numpy(data.fill),
        "target_shift": None if data.target_shift is None else torch.from_numpy(data.target_shift),
        "target_scale": None if data.target_scale is None else torch.from_numpy(data.target_scale),
        "labels": None if data.labels is None else list(data.labels),
        "reading": None if data.reading is None else dict(data.reading),
    }


def measured_in(measure: Metric, data: Data) -> Metric:
    """Return a measure as an evaluation takes it: in the target's own unit, at every place of a text."""
    if data.target_shift is None or data.target_scale is None:
        return at_every_place(measure, data)
    shift, scale = torch.from_numpy(data.target_shift), torch.from_numpy(data.target_scale)

    def in_own_unit(outputs: Tensor, y: Tensor) -> Tensor:
        to = outputs.device
        return measure(*(numbers.double() * scale.to(to) + shift.to(to) for numbers in (outputs, y)))

    return in_own_unit


def at_every_place(measure: Metric, data: Data) -> Metric:
    """Return a measure of ``[n, outputs]`` that takes a text's ``[n, context, outputs]``, each place a sample."""
    if data.alphabet is None:
        return measure
    return lambda outputs, y: measure(outputs.flatten(0, 1), y.flatten())


def loss_at_every_place(loss: AnyLoss, data: Data) -> AnyLoss:
    """Return the same of a loss, to which the inputs too are each place's."""
    if not isinstance(loss, OfInputs):
        return at_every_place(loss, data)
    if data.alphabet is None:
        return loss
    return OfInputs(lambda outputs, y, x: loss.of(outputs.flatten(0, 1), y.flatten(), x=x.flatten()))


Arguments = tuple[Source, tuple[tuple[str, Any], ...], str, tuple[float, int] | None]
"""The data set, how it is split, the type, and the share and the seed of what is generated."""


def _arguments(job: Job) -> Arguments:
    settings = tuple((key, job.config["data"][key]) for key in (*SPLIT_KEYS, *GIVEN_KEYS))
    share = job.config["data"][GENERATED]
    return job.source, settings, job.config.get("dtype", "float32"), (share, job.config["seed"]) if share else None


@functools.lru_cache(maxsize=4)  # the runs of a sweep share their data
def _prepared(
    source: Source, settings: tuple[tuple[str, Any], ...], dtype: str, generated: tuple[float, int] | None
) -> Data:
    if generated is None:
        return split(source, **dict(settings), dtype=dtype)
    return with_generated(source, *generated, **dict(settings), dtype=dtype)


@functools.lru_cache(maxsize=4)
def _on_device(
    source: Source,
    settings: tuple[tuple[str, Any], ...],
    dtype: str,
    generated: tuple[float, int] | None,
    device: torch.device,
) -> tuple[Data, tuple[Split, Split, Split]]:
    """Return a data set split and normalized, and its train, validation and test samples on the device."""
    data = _prepared(source, settings, dtype, generated)
    train = _to_device(data.train, device)
    if data.weights is not None:
        train = replace(train, weights=torch.from_numpy(data.weights).to(device, getattr(torch, dtype)))
    return data, (train, _to_device(data.val, device), _to_device(data.test, device))


def _to_device(samples: Samples, device: torch.device) -> Split:
    return Split(torch.from_numpy(samples.x).to(device), torch.from_numpy(samples.y).to(device))
