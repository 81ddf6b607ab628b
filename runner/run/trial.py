"""A run tried out before it starts: what would fail later is refused now."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from runner.config.check import leaves
from runner.config.imports import named_by_user
from runner.config.options import options
from runner.config.own_parts import origin
from runner.data import Data
from runner.engine.hooks import Events, Tried, overrides
from runner.engine.measure import EVALUATION_BATCH_ON_CPU
from runner.engine.optimizers import takes_closure
from runner.engine.run import Run
from runner.errors import ConfigError, PartError
from runner.metrics import value
from runner.run.job import Job

MOST_EPOCHS = 1_000_000
"""Whose batches are looked at: as many as ``epochs`` takes, and fewer than a long run of steps may have."""


def tried_out(job: Job, run: Run, data: Data, unfilled: Callable[[], nn.Module]) -> Run:
    """Return a run with the facts of its optimizer, constructed once without data to refuse what would fail later.

    Args:
        job: what it was built from.
        run: as built so far.
        data: the job's.
        unfilled: constructs the model without its initial weights, at no cost.

    Raises:
        ConfigError: naming what cannot be used.
    """
    own = bool(named_by_user(job.config))
    values = leaves(job.config)
    weights = (key for key, s in job.known.settings.items() if s.a_run or s.a_file)
    reads_weights = any(values.get(key) is not None for key in weights if key.startswith(("init.", "model.")))
    # A user's own model may not know the meta device, which makes the shipped ones cost nothing.
    model = run.construct() if own or reads_weights else unfilled()
    _refuse_lone_sample(job, run, model)
    optimizer = run.optim.optimizer(run.optim.groups(model))
    if not isinstance(optimizer, Optimizer):
        kind = type(optimizer).__name__
        raise ConfigError(f"optim={job.config['optim']['_option_']} must give a torch.optim.Optimizer, got {kind}")
    if len(dropping := [name for name, hook in sorted(run.hooks.items()) if overrides(type(hook), "drop")]) > 1:
        raise ConfigError(f"{' and '.join(dropping)} both drop hidden units: choose one")
    for _, hook in sorted(run.hooks.items()):
        hook.check(Tried(model, optimizer, job.config["loss"], data.classes, run.steps))
    linear = _is_linear_in_lr(job, optimizer)
    run = replace(run, optim=replace(run.optim, takes_closure=takes_closure(optimizer), linear_in_lr=linear))
    if run.optim.takes_closure and run.loss_scaling:
        raise ConfigError(
            f"amp=fp16 beside optim={job.config['optim']['_option_']}, whose steps take a closure: use bf16"
        )
    if own:
        _refuse_own_parts(job, run, data, model)
    return run


def _is_linear_in_lr(job: Job, optimizer: Optimizer) -> bool:
    """Say whether an option says of this class of optimizers that its step is linear in the learning rate.

    The options of all shipped ones are asked: the class may be the user's choice.
    """
    made = type(optimizer).__module__.partition(".")[0], type(optimizer).__name__

    def is_made(path: str | None) -> bool:
        return path is not None and (path.partition(".")[0], path.rpartition(".")[2]) == made

    return is_made(job.known.fact("optim", "linear_in_lr")) or any(map(is_made, _linear_classes()))


@functools.cache
def _linear_classes() -> frozenset[str | None]:
    return frozenset(option.spec.facts.get("linear_in_lr") for option in options("optim"))


def _refuse_own_parts(job: Job, run: Run, data: Data, model: nn.Module) -> None:
    """Refuse a model, loss or metric of one's own that does not give what training needs."""
    part = run.val if len(run.val.y) else run.probe
    named = named_by_user(job.config)
    x, y = part.x[:2], part.y[:2]
    with _failing("model.target", f"the model on 2 samples, {list(x.shape)}", named):
        outputs = model.eval()(x)
    expected = [2, *(data.train.y.shape[1:] if data.alphabet is not None else ()), data.outputs]
    if not isinstance(outputs, Tensor) or list(outputs.shape) != expected:
        shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise PartError("model.target", f"the model must give {expected} for 2 samples, got {shape}")
    with _failing("loss", f"loss={job.config['loss']} on outputs {expected} and targets {list(y.shape)}", named):
        loss = value(run.loss, outputs, y, x)
    if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
        got = type(loss).__name__ if not isinstance(loss, Tensor) else f"a tensor {list(loss.shape)}"
        got += " without one" if isinstance(loss, Tensor) and not loss.requires_grad else ""
        raise PartError("loss", f"loss={job.config['loss']} must give one number that has a gradient, got {got}")
    for name, metric in run.metrics.items():
        try:
            try:
                float(metric(outputs.detach(), y))
            except ValueError:  # of two samples: an area under a curve needs every class
                with torch.no_grad():
                    chunks = part.x.tensor_split(max(1, len(part.x) // EVALUATION_BATCH_ON_CPU))
                    whole = torch.cat([model(some) for some in chunks])
                float(metric(whole, part.y))
        except (TypeError, ValueError) as error:
            raise PartError("metrics", f"the metric {name} must give one number: {error}") from error


@contextlib.contextmanager
def _failing(key: str, what: str, named: Mapping[str, str]) -> Iterator[None]:
    """Say of what fails in the block, where it is the user's own, what it was called with."""
    try:
        yield
    except Exception as error:
        if key not in named:
            raise
        raise PartError(key, f"{what}: {type(error).__name__}: {error}{origin(error)}") from error


def _refuse_lone_sample(job: Job, run: Run, model: nn.Module) -> None:
    """Refuse a batch of one sample before a model whose batch norm takes a variance over samples alone."""
    if not any(isinstance(m, _BatchNorm) for m in model.modules()):
        return
    n, found, hint, batch = len(run.train.y), "", "", job.config["batch"]
    for size, last in dict.fromkeys(_batches(run)):
        if last == 1 and not found:
            asked = size == batch.get("size")
            whose = f"batch.size={size}" if asked else f"batch={batch['_option_']}: a batch of {size}"
            found = f"{whose} leaves one of {n} samples for an epoch's last batch"
            hint = "" if size == 1 else "; batch.drop_last=true leaves it out"
        for samples in (min(size, n), last):
            if run.micro and (samples % run.micro or run.micro) == 1:
                found = found or f"batch.micro={run.micro} leaves one of a batch's {samples} samples for its last part"
    if Events.of(run.hooks).batch_size:
        found = f"batch={batch['_option_']} may leave one sample for the last part of a batch"
    if not found:
        return
    weight = next(model.parameters())
    try:
        model.train()(run.train.x[:1].to(weight.device, weight.dtype))
    except ValueError as error:
        reason = str(error).partition(",")[0]
        raise ConfigError(f"{found}, of which batch norm has no variance: {reason}{hint}") from error


def _batches(run: Run) -> Iterator[tuple[int, int]]:
    """Yield the size of each epoch's batches, and the samples of the last one that the run gets to."""
    n, made = len(run.train.y), 0
    for epoch in range(MOST_EPOCHS):
        size = run.batch_size(epoch)
        made += max(1, n // size) if run.drop_last else -(-n // size)
        yield size, size if run.drop_last or made > run.steps else n % size or size
        if made >= run.steps:
            return
