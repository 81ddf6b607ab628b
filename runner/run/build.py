"""From a job's config to a frozen run of objects: the one place that turns names into functions."""

import contextlib
import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from runner import augment, metrics, optim, scheduler, stop
from runner.augment import Affine, Augmentation, Change, Mixing, Pixels
from runner.batch import Adaptive, Strategy
from runner.config import fields
from runner.config.imports import accepts, bind, named_by_user, resolve
from runner.config.schema import mup_rule
from runner.data import Data, Samples, Source, split
from runner.errors import ConfigError, closest
from runner.init import construct
from runner.measures import HIGHER_IS_BETTER
from runner.metrics import Metric
from runner.noise import derive
from runner.regularization import (
    Adversary,
    Averaging,
    Clip,
    Decay,
    Dropout,
    EarlyStopping,
    Parametrization,
    Part,
    Penalty,
    Projection,
    Smoothing,
    Teacher,
)
from runner.run.job import SPLIT_KEYS, Job
from runner.scheduler import Plateau, Schedule
from runner.stop import Stop, Target

PROBE_SAMPLES = 2048
"""Training samples on which ``train_loss`` is measured: 2 % standard error of an accuracy at most, at little cost."""


@dataclass(frozen=True)
class Split:
    """Samples as tensors on the device."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Run:
    """Everything an engine needs to train, as objects; built once and never changed."""

    seed: int
    noise_seed: int
    device: torch.device
    autocast: Callable[[], contextlib.AbstractContextManager[Any]]
    loss_scaling: bool
    dtype: torch.dtype
    """Of weights and outputs."""
    train: Split
    probe: Split
    """The fixed subset of train that ``train_loss`` is measured on."""
    val: Split
    test: Split
    construct: Callable[[], nn.Module]
    """Returns the model with its initial weights, on the device."""
    parameter_groups: Callable[[nn.Module], optim.ParameterGroups]
    mup: bool
    """The parameters' learning rates are scaled each by its own factor."""
    optimizer: Callable[[optim.ParameterGroups], Optimizer]
    takes_closure: bool
    """Each step is handed the function that evaluates its batch anew."""
    schedule: Schedule
    plateau: Plateau | None
    """Falls of the learning rate at evaluations, over those of the schedule."""
    batch_size: Strategy
    adaptive: Adaptive | None
    """The strategy, where the run itself decides on its sizes."""
    micro: int | None
    """Samples of a batch that are processed at a time."""
    shuffle: bool
    """Each epoch in an order of its own."""
    steps_per_epoch: int
    """Of the first epoch."""
    steps: int
    """Length of the run in optimizer steps; where sizes adapt in a run of epochs, of the first size."""
    eval_every: int | None
    """Steps between evaluations; None is once an epoch."""
    augment: Augmentation
    """What each batch goes through before its step; evaluations see the samples as they are."""
    loss: Callable[[Tensor, Any], Tensor]
    """Of outputs against targets, in training also against ``Mixed`` ones."""
    metrics: Mapping[str, Metric]
    """What every evaluation measures."""
    final_metrics: Mapping[str, Metric]
    """What is measured of the weights that the run ends with."""
    penalties: tuple[Penalty, ...]
    decay: float
    dropout: Dropout
    clip: Clip | None
    projections: tuple[Projection, ...]
    smoothing: float
    """Share of each target's probability that is spread over all classes, in training."""
    averaging: Averaging | None
    adversary: Adversary | None
    teacher: Teacher | None
    taught: Callable[[Tensor], Tensor] | None
    """Returns the teacher's logits of inputs."""
    early_stopping: EarlyStopping | None
    target: Target | None
    """What counts as reached; it ends the run where ``stop`` says so."""
    stop: Stop
    keep_best: bool
    """Hold on to the weights of the best evaluation."""
    diagnostics: bool
    """Measure every layer at every evaluation."""
    sharpness: bool
    """Measure the largest curvature of the training loss at every evaluation."""
    own_model: bool
    """The model is a user's or torchvision's, and may draw from the global generator."""
    interface: dict[str, Any]
    """What using the weights takes: input shape, outputs, classes, and the normalization of raw inputs."""


def build(job: Job) -> Run:
    """Build a run, and refuse what only its data or this machine can tell.

    Raises:
        ConfigError: naming the key, the value and what is valid.
    """
    try:
        return _build(job)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # a user's part may end in sys.exit
        named = ", ".join(f"{key}={path}" for key, path in named_by_user(job.config).items())
        if named:
            raise ConfigError(f"{named} cannot be used: {type(error).__name__}: {error}") from error
        if isinstance(error, ValueError):  # a group's own function refuses a value
            raise ConfigError(str(error)) from error
        raise


def _build(job: Job) -> Run:
    config = job.config
    device = select_device(config["device"], config["amp"], config["dtype"])
    arguments = tuple((k, config["data"][k]) for k in SPLIT_KEYS)
    data, (train, val, test) = _prepare_data(job.source, arguments, config["dtype"], device)
    parts = [_part(job, option)() for _, option in sorted(config["regularization"].items())]
    dropout = next((p for p in parts if isinstance(p, Dropout)), Dropout(0.0))
    early_stopping = next((p for p in parts if isinstance(p, EarlyStopping)), None)
    batch_size: Strategy = _part(job, config["batch"], "shuffle", "micro")(len(data.train), config["epochs"])
    steps = config["max_steps"] or _count_steps(batch_size, len(data.train), config["epochs"])
    schedule, plateau = schedule_of(job, steps)
    probed = PROBE_SAMPLES if data.alphabet is None else max(1, PROBE_SAMPLES // train.y.shape[1])
    measures = _metrics(job, data.classes)
    final_measures = {**metrics.final_metrics(data.classes), **measures}
    for part in parts:
        if not isinstance(part, Part):
            raise ConfigError(f"a regularization's function must return a part of a run, got {type(part).__name__}")
    augmentation = _augmentation(job, data, device)
    limits = [_part(job, option)() for option in config["stop"].values()]
    for limit in limits:
        if not isinstance(limit, Stop):
            raise ConfigError(f"a stop's function must return a runner.stop.Stop, got {type(limit).__name__}")
    run = Run(
        seed=config["seed"],
        noise_seed=derive(config["seed"], "noise"),
        device=device,
        autocast=_autocast(config["amp"], device),
        loss_scaling=config["amp"] == "fp16",
        dtype=getattr(torch, config["dtype"]),
        train=train,
        probe=Split(train.x[:probed], train.y[:probed]),
        val=val,
        test=test,
        construct=partial(_construct, job, data, device, parts),
        parameter_groups=partial(
            optim.parameter_groups,
            decay_bias_and_norm=config["optim"]["decay_bias_and_norm"],
            rule=(rule := mup_rule(config)),
        ),
        mup=rule is not None,
        optimizer=_part(job, config["optim"], "decay_bias_and_norm"),
        takes_closure=False,
        schedule=schedule,
        plateau=plateau,
        batch_size=batch_size,
        adaptive=batch_size if isinstance(batch_size, Adaptive) else None,
        micro=config["batch"]["micro"],
        shuffle=config["batch"]["shuffle"],
        steps_per_epoch=_count_steps(batch_size, len(data.train), 1),
        steps=steps,
        eval_every=config["eval_every"],
        augment=augmentation,
        loss=augmentation.loss(at_every_place(_loss(job, data.classes), data)),
        metrics={name: at_every_place(metric, data) for name, metric in measures.items()},
        final_metrics={name: at_every_place(metric, data) for name, metric in final_measures.items()},
        penalties=tuple(p for p in parts if isinstance(p, Penalty)),
        decay=sum(p.rate for p in parts if isinstance(p, Decay)),
        dropout=dropout,
        clip=next((p for p in parts if isinstance(p, Clip)), None),
        projections=tuple(p for p in parts if isinstance(p, Projection)),
        smoothing=_smoothing(config, parts, data),
        averaging=next((p for p in parts if isinstance(p, Averaging)), None),
        adversary=next((p for p in parts if isinstance(p, Adversary)), None),
        teacher=(teacher := next((p for p in parts if isinstance(p, Teacher)), None)),
        taught=_taught(job, teacher, data, device) if teacher else None,
        early_stopping=early_stopping,
        target=_target(job, measures),
        stop=stop.together(limits),
        keep_best=config["save"] == "best" or (early_stopping is not None and early_stopping.restore_best),
        diagnostics=config["diagnostics"],
        sharpness=config["sharpness"],
        own_model=config["model"]["_option_"] in ("custom", "torchvision"),
        interface={
            "shape": list(data.train.x.shape[1:]),
            "outputs": data.outputs,
            "classes": data.classes,
            "alphabet": data.alphabet,
            "shift": torch.from_numpy(data.shift),
            "scale": torch.from_numpy(data.scale),
        },
    )
    return _tried_out(job, run, data, parts)


def _smoothing(config: dict[str, Any], parts: list[Any], data: Data) -> float:
    epsilon = sum(part.epsilon for part in parts if isinstance(part, Smoothing))
    if epsilon and (data.classes is None or config["loss"] != "cross_entropy"):
        raise ConfigError(
            f"regularization=label_smoothing beside loss={config['loss']}: it smooths the targets of cross_entropy"
        )
    return float(epsilon)


def _taught(job: Job, teacher: Teacher, data: Data, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the teacher's predictions as a function of this run's normalized inputs.

    Raises:
        ConfigError: if it predicts something else.
    """
    from runner.after.trained import load_model

    model = load_model(Path(teacher.run).expanduser(), job.allow)
    key = f"regularization.distillation.run={teacher.run}"
    if data.classes is None or model.classes != data.classes or model.shape != tuple(data.train.x.shape[1:]):
        raise ConfigError(
            f"{key} was trained on inputs {list(model.shape)} of {model.classes} classes, "
            f"this run on {list(data.train.x.shape[1:])} of {data.classes}"
        )
    model = model.to(device, getattr(torch, job.config["dtype"]))
    shift, scale = (torch.from_numpy(part).to(device) for part in (data.shift, data.scale))

    @torch.no_grad()
    def taught(x: Tensor) -> Tensor:
        return cast(Tensor, model(x if data.alphabet is not None else x * scale + shift))

    return taught


def _augmentation(job: Job, data: Data, device: torch.device) -> Augmentation:
    """Return what a job's batches go through.

    Raises:
        ConfigError: if a part cannot act on the data.
    """
    parts = {name: _part(job, option)() for name, option in job.config["augment"].items()}
    shape = data.train.x.shape[1:]
    for name, part in parts.items():
        if not isinstance(part, Affine | Change | Mixing):
            raise ConfigError(f"an augmentation's function must return a part of one, got {type(part).__name__}")
        if reason := augment.refusal(part, shape, data.alphabet is not None):
            raise ConfigError(f"augment={name} beside data={job.config['data']['_option_']}: {reason}")
    shift, scale = torch.from_numpy(data.shift), torch.from_numpy(data.scale)
    lowest, highest = 0.0, 255.0
    if parts and job.source.samples.x.dtype != "uint8":
        raw = torch.from_numpy(data.train.x) * scale + shift
        lowest, highest = float(raw.min()), float(raw.max())
    pixels = Pixels(shift.to(device), scale.to(device), lowest, highest)
    return Augmentation(augment.in_order(parts), pixels, derive(job.config["seed"], "augment"))


def _tried_out(job: Job, run: Run, data: Data, parts: Sequence[Any]) -> Run:
    """Construct the model and the optimizer once, without data, to refuse now what would fail later."""
    own = bool(named_by_user(job.config))
    reads_weights = "run" in job.config["init"]
    # A user's own model may not know the meta device, which makes the shipped ones cost nothing.
    model = (
        run.construct() if own or reads_weights else _construct(job, data, torch.device("meta"), parts, filled=False)
    )
    if run.dropout.p > 0 and not accepts(model.forward, "drop"):
        raise ConfigError("regularization=dropout needs a model whose forward takes drop, as in forward(self, x, drop)")
    _refuse_lone_sample(job, run, model)
    optimizer = run.optimizer(run.parameter_groups(model))
    run = replace(run, takes_closure=optim.takes_closure(optimizer))
    if run.takes_closure and run.loss_scaling:
        raise ConfigError(
            f"amp=fp16 beside optim={job.config['optim']['_option_']}, whose steps take a closure: use bf16"
        )
    if run.decay and any(group.get("weight_decay") for group in optimizer.param_groups):
        raise ConfigError(
            f"regularization=weight_decay beside {type(optimizer).__name__}, which decays by itself: "
            "set optim.args.weight_decay instead"
        )
    if own:
        outputs = model.eval()(run.val.x[:2])
        expected = [2, *(data.train.y.shape[1:] if data.alphabet is not None else ()), data.outputs]
        if not isinstance(outputs, Tensor) or list(outputs.shape) != expected:
            shape = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise ConfigError(f"the model must give {expected} for 2 samples, got {shape}")
        loss = run.loss(outputs, run.val.y[:2])
        if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.requires_grad:
            raise ConfigError(f"loss={job.config['loss']} must give one number that has a gradient")
        for name, metric in run.metrics.items():
            try:
                float(metric(outputs.detach(), run.val.y[:2]))
            except (TypeError, ValueError) as error:
                raise ConfigError(f"the metric {name} must give one number: {error}") from error
    return run


def _refuse_lone_sample(job: Job, run: Run, model: nn.Module) -> None:
    """Refuse a batch of one sample before a model whose batch norm takes a variance over samples alone."""
    n, found = len(run.train.y), ""
    for size in {run.batch_size(epoch) for epoch in range(job.config["epochs"] or 1)}:
        last = (n % size or size) if run.steps >= run.steps_per_epoch else size
        if last == 1:
            found = f"batch.size={size} leaves one of {n} samples for an epoch's last batch"
        for batch in (min(size, n), last):
            if run.micro and (batch % run.micro or run.micro) == 1:
                found = found or f"batch.micro={run.micro} leaves one of a batch's {batch} samples for its last part"
    if run.adaptive:
        found = "batch=adaptive may leave one sample for the last part of a batch"
    if not found or not any(isinstance(m, _BatchNorm) for m in model.modules()):
        return
    weight = next(model.parameters())
    try:
        model.train()(run.train.x[:1].to(weight.device, weight.dtype))
    except ValueError as error:
        raise ConfigError(f"{found}, of which batch norm has no variance: {str(error).partition(',')[0]}") from error


def schedule_of(job: Job, steps: int) -> tuple[Schedule, Plateau | None]:
    """Return a job's learning rate at each step of so many, and what lowers it at evaluations."""
    return _schedule(json.dumps(job.config["scheduler"]), job.config["optim"]["lr"], steps, job.allow)


@functools.lru_cache(maxsize=1024)  # a stack asks each schedule once, for all of its members that have it
def _schedule(settings: str, lr: float, steps: int, allow: frozenset[str]) -> tuple[Schedule, Plateau | None]:
    option = json.loads(settings)
    function, arguments = bind(option, allow, "warmup")
    part = partial(function, **arguments)
    plateau = None if accepts(part, "step") else part()
    shape = scheduler.constant if plateau else part
    warmup = scheduler.warmup_steps(option["warmup"], steps)
    shape(0, steps - warmup)  # what it refuses, it refuses here
    return scheduler.schedule(lr, shape, warmup, steps), plateau


def select_device(name: str, amp: str, dtype: str) -> torch.device:
    """Return the device that a name stands for.

    Raises:
        ConfigError: if this machine lacks it, or it cannot do what is asked.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        found = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
        name = "cpu" if found == "mps" and dtype == "float64" else found
    if not available[name]:
        here = ", ".join(["auto", *(kind for kind, there in available.items() if there)])
        raise ConfigError(f"device={name} is not on this machine\nvalid: {here}")
    if amp == "fp16" and name != "cuda":
        raise ConfigError(f"amp=fp16 needs device=cuda, which is not on this machine ({name} is): use amp=bf16")
    return torch.device(name)


def _construct(job: Job, data: Data, device: torch.device, parts: Sequence[Any], filled: bool = True) -> nn.Module:
    """Return the model on the device; ``filled``, with its initial weights."""
    config = job.config
    model = network(_part(job, config["model"]), config["model"]["_option_"], data.alphabet)
    constructor: Callable[[], nn.Module] = partial(model, tuple(data.train.x.shape[1:]), data.outputs)
    if not filled:
        with device:
            return parametrized(parts, constructor())
    option = config["init"]
    function, settings = bind(option, job.allow, "bias")
    fill = None if option["_option_"] == "default" else partial(function, **settings)
    # Drawn on the CPU in float32 whatever the device and precision: the same weights everywhere.
    built = construct(constructor, config["seed"], fill, option.get("bias", 0.0), lambda: _inputs(data))
    built = parametrized(parts, built).to(device, getattr(torch, config["dtype"]))
    if config["compile"]:
        built.compile()
    return built


def parametrized(parts: Sequence[Any], model: nn.Module) -> nn.Module:
    """Return a model that has its weights in the form in which they are trained."""
    for part in parts:
        if isinstance(part, Parametrization):
            part.apply(model)
    return model


def network(model: Callable[..., nn.Module], option: str, alphabet: str | None) -> Callable[..., nn.Module]:
    """Return a model's function, with the alphabet where it reads text.

    Raises:
        ConfigError: if the data is text and the model reads numbers alone.
    """
    if accepts(model, "alphabet"):
        return partial(model, alphabet=alphabet)
    if alphabet is not None and option != "custom":
        raise ConfigError(f"model={option} reads numbers, data=text gives characters: use model=gpt or model=rnn")
    return model


def _inputs(data: Data) -> Tensor:
    x = torch.from_numpy(data.train.x)
    return x if data.alphabet is not None else x.float()


def at_every_place(measure: Metric, data: Data) -> Metric:
    """Return a measure of ``[n, outputs]`` that takes a text's ``[n, context, outputs]``, each place a sample."""
    if data.alphabet is None:
        return measure
    return lambda outputs, y: measure(outputs.flatten(0, 1), y.flatten())


def _part(job: Job, option: dict[str, Any], *without: str) -> Callable[..., Any]:
    function, settings = bind(option, job.allow, *without)
    return partial(function, **settings)


RESERVED_NAMES = frozenset({"loss", "seconds"})


def _metrics(job: Job, classes: int | None) -> dict[str, metrics.Metric]:
    measures = metrics.metrics(classes)
    for path in job.config["metrics"]:
        name = path.rpartition(".")[2]
        if not fields.is_import_path(path):
            measures[name] = metrics.metric(name, classes)
            continue
        if name in {**metrics.final_metrics(classes), **measures} or name in RESERVED_NAMES:
            raise ConfigError(f"metrics=[{path}]: there is a column for {name} already; give yours another name")
        found = resolve(path, job.allow)
        measures[name] = cast(metrics.Metric, found() if inspect.isclass(found) else found)
    return measures


def _target(job: Job, measures: Mapping[str, Metric]) -> Target | None:
    asked, value = job.config["target"]["metric"], job.config["target"]["value"]
    if asked is None:
        return None
    valid = [f"val_{name}" for name in ("loss", *measures)]
    if asked not in valid:
        typed = [o.partition("=")[2] for o in job.overrides if o.partition("=")[0] == "target.metric"]
        got = typed[0].strip("'\"") if typed else asked
        raise ConfigError(
            f"target.metric must be a validation measure of this run, got {got!r}{closest(got, valid)}\n"
            f"valid: {', '.join(valid)}, and what metrics=[…] adds"
        )
    name = asked.removeprefix("val_")
    if name not in HIGHER_IS_BETTER:
        raise ConfigError(f"target.metric={asked} is a measure of your own: nobody knows which way is better")
    return Target(name, value, HIGHER_IS_BETTER[name])


def _loss(job: Job, classes: int | None) -> metrics.Loss:
    name = job.config["loss"]
    if not fields.is_import_path(name):
        return metrics.loss(name, classes)
    found = resolve(name, job.allow)
    return cast(metrics.Loss, found() if inspect.isclass(found) else found)


def _count_steps(batch_size: Strategy, samples: int, epochs: int) -> int:
    return sum(-(-samples // batch_size(epoch)) for epoch in range(epochs))


def _autocast(amp: str, device: torch.device) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    if amp == "none":
        return contextlib.nullcontext
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    return lambda: torch.autocast(device.type, dtype)


@functools.lru_cache(maxsize=4)  # the runs of a sweep share their data
def _prepare_data(
    source: Source, split_arguments: tuple[tuple[str, Any], ...], dtype: str, device: torch.device
) -> tuple[Data, tuple[Split, Split, Split]]:
    """Return a data set split and normalized, and its train, validation and test samples on the device."""
    data = split(source, **dict(split_arguments), dtype=dtype)
    return data, (_to_device(data.train, device), _to_device(data.val, device), _to_device(data.test, device))


def _to_device(samples: Samples, device: torch.device) -> Split:
    return Split(torch.from_numpy(samples.x).to(device), torch.from_numpy(samples.y).to(device))
