"""From a job's config to a frozen run of objects: the one place that turns names into functions.

Each file beside this one builds a part: ``device``, ``samples``, ``network``, ``objective`` (loss, metrics, target),
``pace`` (batch sizes, length, learning rates), ``mechanisms`` (hooks).
"""

from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import nn

from runner import metrics, optim
from runner.config.imports import bind, named_by_user
from runner.config.own_parts import explained, origin
from runner.data import Data
from runner.engine.diagnostics import Diagnostics
from runner.engine.hooks import Hook, overrides
from runner.engine.run import Run, Split, Stepping, TrainingLoss
from runner.engine.sharpness import Sharpness
from runner.engine.snapshots import Snapshots
from runner.errors import ConfigError
from runner.init import construct
from runner.noise import derive, seed_global
from runner.run.components.device import autocast, select_device
from runner.run.components.mechanisms import augmentation_of, hooks_of
from runner.run.components.network import head_of, network, parametrized, source_of
from runner.run.components.objective import loss_of, metrics_of, target_of, training_loss_of
from runner.run.components.pace import count_steps, schedule_of, strategy_of
from runner.run.components.samples import inputs, interface, loss_at_every_place, measured_in, probe, samples_of
from runner.run.job import Job
from runner.run.trial import tried_out
from runner.run.vocabularies import refuse_other_words


def build(job: Job) -> Run:
    """Build a run, and refuse what only its data or this machine can tell.

    Raises:
        ConfigError: naming the key, the value and what is valid.
    """
    with explained(job.known.settings):
        try:
            return _build(job)
        except ConfigError:
            raise
        except (Exception, SystemExit) as error:  # a user's part may end in sys.exit
            named = ", ".join(f"{key}={path}" for key, path in named_by_user(job.config).items())
            if named:
                said = f"{named} cannot be used: {type(error).__name__}: {error}{origin(error)}"
                raise ConfigError(said) from error
            if isinstance(error, ValueError):  # a group's own function refuses a value
                raise ConfigError(str(error)) from error
            raise


def _build(job: Job) -> Run:
    config = job.config
    device = select_device(config["device"], config["amp"], config["dtype"])
    data, train, val, test = samples_of(job, device)
    refuse_other_words(job, data)
    batch_size = strategy_of(job, len(data.train))
    drop_last = config["batch"]["drop_last"]
    steps = config["max_steps"] or count_steps(batch_size, len(data.train), config["epochs"], drop_last)
    schedule, changing = schedule_of(job, steps)
    measures = metrics_of(job, data)
    final_measures = {**metrics.final_metrics(data.classes, data.alphabet is not None), **measures}
    augmentation, rule, loss = augmentation_of(job, data, device), _mup_rule(job), loss_of(job, data.classes)
    training_loss = augmentation.loss(loss_at_every_place(training_loss_of(job, data, loss, device), data))
    hooks = hooks_of(job, data, device)
    construct = partial(_construct, job, data, hooks=hooks.values())
    hooks |= {"scheduler": changing} if changing else {}
    hooks |= {"batch": batch_size} if isinstance(batch_size, Hook) else {}
    hooks |= {"augment": augmentation} if augmentation.parts else {}
    hooks |= _measuring(job, train, probe(train, data), training_loss, device)
    stepping, around = optim.wrapped(_stepping(job, hooks.values(), rule), config["optim"])
    hooks |= around
    run = Run(
        seed=config["seed"],
        noise_seed=derive(config["seed"], "noise"),
        device=device,
        autocast=autocast(config["amp"], device),
        loss_scaling=config["amp"] == "fp16",
        dtype=getattr(torch, config["dtype"]),
        train=train,
        probe=probe(train, data),
        val=val,
        test=test,
        construct=partial(construct, device),
        optim=stepping,
        schedule=schedule,
        batch_size=batch_size,
        micro=config["batch"]["micro"],
        shuffle=config["batch"]["shuffle"],
        drop_last=drop_last,
        steps_per_epoch=count_steps(batch_size, len(data.train), 1, drop_last),
        steps=steps,
        eval_every=config["eval_every"],
        loss=loss_at_every_place(loss, data),
        training_loss=training_loss,
        metrics={name: measured_in(metric, data) for name, metric in measures.items()},
        final_metrics={name: measured_in(metric, data) for name, metric in final_measures.items()},
        hooks=hooks,
        target=target_of(job, measures),
        keep_best=config["save"] == "best" or any(hook.keeps_best for hook in hooks.values()),
        own_model=bool(job.known.fact("model", "draws")),
        interface=interface(data, source_of(config["model"], job.allow)),
    )
    return tried_out(job, run, data, partial(construct, torch.device("meta"), filled=False))


def _stepping(job: Job, hooks: Collection[Hook], rule: str | None) -> Stepping:
    """Return how parameters are stepped; what the optimizer itself tells of that is found by trying it out."""
    chosen = job.config["optim"]
    shares = [hook.rate_shares for hook in hooks if overrides(type(hook), "rate_shares")]
    decayed = chosen["decay_bias_and_norm"]
    return Stepping(
        groups=partial(optim.parameter_groups, decay_bias_and_norm=decayed, rule=rule, shares=shares),
        optimizer=job.part(chosen, "decay_bias_and_norm", *optim.WRAP_KEYS),
        scaled=rule is not None,
        linear_in_lr=False,
        own_decay=job.known.fact("optim", "own_decay"),
        takes_closure=False,
    )


def _measuring(job: Job, train: Split, probe: Split, loss: TrainingLoss, device: torch.device) -> dict[str, Hook]:
    """Return what measures more at evaluations than every run's metrics, and what keeps weights on the way."""
    found: dict[str, Hook] = {}
    if job.config["snapshots"]:
        found["snapshots"] = Snapshots(job.config["snapshots"])
    if job.config["diagnostics"]:
        found["diagnostics"] = Diagnostics(probe, loss, autocast(job.config["amp"], device))
    if job.config["sharpness"]:
        found["sharpness"] = Sharpness(train, loss)
    return found


def _mup_rule(job: Job) -> str | None:
    """Return the rule by which learning rates follow the width; None of a model that is not in muP."""
    return job.known.fact("optim", "mup_rule") if job.config["model"].get("mup") else None


def _construct(job: Job, data: Data, device: torch.device, hooks: Collection[Hook], filled: bool = True) -> nn.Module:
    """Return the model on the device; ``filled``, with its initial weights."""
    config = job.config
    model = network(job.part(config["model"]), config["model"], data.alphabet, data.vocabulary)
    constructor: Callable[[], nn.Module] = partial(model, tuple(data.train.x.shape[1:]), data.outputs)
    if not filled:
        with device:
            return parametrized(hooks, constructor(), data.train.x.shape[1:], data.is_text)
    option = config["init"]
    function, settings = bind(option, job.allow, "bias", "bias_std")
    fill = None if job.known.fact("init", "as_built") else partial(function, **settings)
    bias, bias_std = (option.get(key, 0.0) for key in ("bias", "bias_std"))
    variance = job.known.fact("init", "variance") or "fan_in"
    # Drawn on the CPU in float32 whatever the device and precision: the same weights everywhere.
    built = construct(
        constructor, config["seed"], fill, bias, lambda: inputs(data), variance, bias_std, head_of(option.get("head"))
    )
    with torch.random.fork_rng(devices=[]):
        seed_global(derive(config["seed"], "parts"))
        built = parametrized(hooks, built, data.train.x.shape[1:], data.is_text)
    built = built.to(device, getattr(torch, config["dtype"]))
    if config["compile"]:
        built.compile()
    return built
