"""From a job's config to what acts on its run: the hooks of its options."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from runner import augment, stop
from runner.augment import Affine, Augmentation, Change, Mixing, Pixels, Rewording
from runner.config.options import options_in
from runner.data import Data
from runner.engine.hooks import FromRun, Hook
from runner.errors import ConfigError
from runner.noise import derive
from runner.run.components.generated import Generated
from runner.run.job import Job
from runner.run.load import load_model


def hooks_of(job: Job, data: Data, device: torch.device) -> dict[str, Hook]:
    """Return the hooks of the groups of which any number of options may be chosen, by ``group.option``.

    Raises:
        ConfigError: if a function of one's own gives something else, or a run that is looked at does not fit.
    """
    found: dict[str, Hook] = {}
    for group in ("stop", "regularization", "finetune", "compress"):
        for name, option in sorted(options_in(job.config.get(group)).items()):
            hook = job.part(option)()
            if not isinstance(hook, Hook):
                raise ConfigError(
                    f"the function of {group}={name} must return a runner.engine.hooks.Hook, got {type(hook).__name__}"
                )
            where = f"{group}.{name}"
            if isinstance(hook, FromRun):
                hook = hook.given(_outputs_of(job, f"{where}.run", hook.run, data, device))
            found[where] = hook
    if job.config["stop"].get("all"):
        ends = {where: hook for where, hook in found.items() if where.startswith("stop.")}
        found = {where: hook for where, hook in found.items() if where not in ends} | {"stop.all": stop.all_of(ends)}
    return found | ({"generated": Generated(data.generated, data.generated_seconds)} if data.generated else {})


def _outputs_of(job: Job, key: str, run: str, data: Data, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return another run's logits as a function of this run's normalized inputs.

    Raises:
        ConfigError: if it predicts something else.
    """
    model = load_model(Path(run).expanduser(), job.allow)
    if data.classes is None or model.classes != data.classes or model.shape != tuple(data.train.x.shape[1:]):
        raise ConfigError(
            f"{key}={run} was trained on inputs {list(model.shape)} of {model.classes} classes, "
            f"this run on {list(data.train.x.shape[1:])} of {data.classes}"
        )
    if model.labels is not None and data.labels is not None and model.labels != list(data.labels):
        raise ConfigError(f"{key}={run} was trained on the classes {model.labels}, this run on {list(data.labels)}")
    dtype = getattr(torch, job.config["dtype"])
    model = model.to(device, dtype)
    shift, scale = (torch.from_numpy(part).to(device, dtype) for part in (data.shift, data.scale))

    @torch.no_grad()
    def outputs(x: Tensor) -> Tensor:
        return cast(Tensor, model(x if data.is_text else x * scale + shift))

    return outputs


def augmentation_of(job: Job, data: Data, device: torch.device) -> Augmentation:
    """Return what a job's batches go through.

    Raises:
        ConfigError: if a part cannot act on the data.
    """
    parts = {name: job.part(option)() for name, option in job.config["augment"].items()}
    shape = data.train.x.shape[1:]
    for name, part in parts.items():
        if not isinstance(part, Affine | Change | Mixing | Rewording):
            raise ConfigError(f"an augmentation's function must return a part of one, got {type(part).__name__}")
        if reason := augment.refusal(part, shape, data.is_text, data.vocabulary is not None):
            raise ConfigError(f"augment={name} beside data={job.config['data']['_option_']}: {reason}")
        if isinstance(part, Mixing) and data.weights is not None:
            raise ConfigError(f"augment={name} beside data.weights: samples that are mixed have no weight of their own")
        if isinstance(part, Rewording):
            assert data.vocabulary is not None, "it is refused beside anything else"
            parts[name] = Change(part.of(data.vocabulary, data.train, device), images=False)
    dtype = getattr(torch, job.config["dtype"])
    shift, scale = (torch.from_numpy(part).to(dtype) for part in (data.shift, data.scale))
    lowest, highest = 0.0, 255.0
    if parts and job.source.samples.x.dtype != "uint8":
        raw = torch.from_numpy(data.train.x[: len(data.train) - data.generated]) * scale + shift
        lowest, highest = float(raw.min()), float(raw.max())
    pixels = Pixels(shift.to(device), scale.to(device), lowest, highest)
    return Augmentation(augment.in_order(parts), pixels, derive(job.config["seed"], "augment"))
