"""From a job's regularization and augmentation to what acts on its steps."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from runner import augment
from runner.augment import Affine, Augmentation, Change, Mixing, Pixels
from runner.data import Data
from runner.engine.hooks import (
    Adversary,
    Averaging,
    Clip,
    Decay,
    Dropout,
    Hooks,
    Penalty,
    Projection,
    Smoothing,
    Teacher,
)
from runner.errors import ConfigError
from runner.noise import derive
from runner.regularization import Part
from runner.run.job import Job
from runner.run.load import load_model


def regularization_of(job: Job) -> list[Part]:
    """Return the parts of a run that its regularization adds, in the order of their names.

    Raises:
        ConfigError: if a function of one's own gives something else.
    """
    parts = [job.part(option)() for _, option in sorted(job.config["regularization"].items())]
    for part in parts:
        if not isinstance(part, Part):
            raise ConfigError(f"a regularization's function must return a part of a run, got {type(part).__name__}")
    return parts


def hooks_of(job: Job, parts: Sequence[Part], data: Data, device: torch.device) -> Hooks:
    """Return what regularization's parts do in a step."""
    teacher = next((p for p in parts if isinstance(p, Teacher)), None)
    return Hooks(
        penalties=tuple(p for p in parts if isinstance(p, Penalty)),
        decay=sum(p.rate for p in parts if isinstance(p, Decay)),
        dropout=next((p for p in parts if isinstance(p, Dropout)), Dropout(0.0)),
        clip=next((p for p in parts if isinstance(p, Clip)), None),
        projections=tuple(p for p in parts if isinstance(p, Projection)),
        smoothing=_smoothing(job.config, parts, data),
        averaging=next((p for p in parts if isinstance(p, Averaging)), None),
        adversary=next((p for p in parts if isinstance(p, Adversary)), None),
        teacher=teacher,
        taught=_taught(job, teacher, data, device) if teacher else None,
    )


def _smoothing(config: dict[str, Any], parts: Sequence[Part], data: Data) -> float:
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


def augmentation_of(job: Job, data: Data, device: torch.device) -> Augmentation:
    """Return what a job's batches go through.

    Raises:
        ConfigError: if a part cannot act on the data.
    """
    parts = {name: job.part(option)() for name, option in job.config["augment"].items()}
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
