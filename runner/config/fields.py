"""The values that each key takes: its type, its range, its words.

A setting of a user's own option that is not named here takes the type of its default.
"""

import math
import re
from dataclasses import dataclass, replace
from typing import Any

from runner.config import instead
from runner.errors import ConfigError


def show(value: object) -> str:
    """Return a value as it is typed on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


ANY_LENGTH = -1


def is_import_path(text: str) -> bool:
    """Say whether a text reads as ``package.module.name``."""
    return re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", text) is not None


@dataclass(frozen=True)
class Field:
    """The values one key takes."""

    kind: type = float
    """bool, int, float or str."""
    words: tuple[str, ...] = ()
    """Words that are valid: the only ones for a str field, beside numbers for the others."""
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None
    null: bool = False
    length: int | None = None
    """A list of so many such values."""
    path: bool = False
    """An import path is valid too."""

    def parse(self, key: str, value: object) -> Any:
        """Return the value in its own type.

        Raises:
            ConfigError: naming the key, the value and what is valid.
        """
        if self.length is not None:
            if not isinstance(value, list) or self.length not in (ANY_LENGTH, len(value)):
                raise self._refuse(key, value)
            item = replace(self, length=None)
            return [item.parse(f"{key}[{i}]", v) for i, v in enumerate(value)]
        if value is None and self.null:
            return None
        if isinstance(value, str) and (value in self.words or (self.path and is_import_path(value))):
            return value
        if self is TEXT and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not self.kind or (self.kind is str and (self.words or self.path)):
            raise self._refuse(key, value)
        if isinstance(value, int | float) and not isinstance(value, bool) and not self._inside(value):
            raise self._refuse(key, value)
        return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0

    def _inside(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )

    def _refuse(self, key: str, value: object) -> ConfigError:
        hint = instead.of_word(key, value, self.words) if isinstance(value, str) else ""
        return ConfigError(f"{key} must be {self.describe()}, got {show(value)}{hint}")

    def describe(self) -> str:
        """Say what is valid, as it stands in messages: ``a whole number ≥ 1, or null``."""
        ranges = [f"{sign} {bound:g}" for sign, bound in self._bounds() if bound is not None]
        noun = {
            bool: "true or false",
            int: "a whole number",
            float: "a finite number",
            str: "a text",
            dict: "a set of key: value",
        }[self.kind]
        if self.kind is str and self.words:
            noun = f"one of {', '.join(self.words)}{', or an import path such as package.name' if self.path else ''}"
        elif self.path:
            noun = "an import path such as package.name"
        elif self.words:
            ranges.append(f"or {' or '.join(self.words)}")
        valid = f"{noun} {' and '.join(r for r in ranges if not r.startswith('or'))}".strip()
        valid += "".join(f", {r}" for r in ranges if r.startswith("or"))
        if self.length == ANY_LENGTH:
            return f"a list, each {valid}"
        if self.length is not None:
            return f"a list of {self.length}, each {valid}"
        return valid + (", or null" if self.null else "")

    def _bounds(self) -> tuple[tuple[str, float | None], ...]:
        return (">", self.gt), ("≥", self.ge), ("<", self.lt), ("≤", self.le)


FLAG = Field(bool)
PATH = Field(str, path=True)
ARGUMENTS = Field(dict)
TEXT = Field(str)
COUNT = Field(int, ge=1)
POSITIVE = Field(gt=0)
NOT_NEGATIVE = Field(ge=0)
SHARE = Field(ge=0, lt=1)
SEED = Field(int, ge=0, lt=2**31)
ACTIVATIONS = ("relu", "tanh", "sigmoid", "gelu", "silu", "identity")

FIELDS: dict[str, Field] = {
    "name": TEXT,
    "seed": SEED,
    "epochs": Field(int, ge=1, le=10**6, null=True),
    "max_steps": replace(COUNT, null=True),
    "eval_every": replace(COUNT, null=True),
    "loss": Field(str, ("auto", "cross_entropy", "mse", "bce", "l1", "huber"), path=True),
    "metrics": Field(
        str,
        ("accuracy", "precision", "recall", "f1", "roc_auc", "perplexity", "mse", "mae", "r2"),
        path=True,
        length=ANY_LENGTH,
    ),
    "target.metric": replace(TEXT, null=True),
    "target.value": Field(null=True),
    "diagnostics": FLAG,
    "sharpness": FLAG,
    "compile": FLAG,
    "device": Field(str, ("auto", "cpu", "cuda", "mps")),
    "amp": Field(str, ("none", "bf16", "fp16")),
    "dtype": Field(str, ("float32", "float64")),
    "engine": Field(str, ("auto", "loop", "fused")),
    "threads": Field(int, ge=1, le=1024, null=True),
    "deterministic": FLAG,
    "save": Field(str, ("last", "best", "none"), null=True),
    "force": FLAG,
    "retry": Field(str, ("none", "failed")),
    "dry_run": FLAG,
    "workers": Field(int, ge=1, le=1024, null=True),
    "fail_fast": FLAG,
    "data.target": PATH,
    "data.args": ARGUMENTS,
    "data.root": TEXT,
    "data.download": FLAG,
    "data.split_seed": SEED,
    "data.val_fraction": Field(gt=0, lt=1, null=True),
    "data.folds": Field(int, ge=2, le=10**6, null=True),
    "data.fold": Field(int, ge=0, null=True),
    "data.bootstrap": replace(SEED, null=True),
    "data.test_fraction": Field(gt=0, lt=1, null=True),
    "data.fraction": Field(gt=0, le=1),
    "data.normalize": Field(str, ("none", "standard", "minmax")),
    "data.path": replace(TEXT, null=True),
    "data.characters": COUNT,
    "data.context": COUNT,
    "data.size": Field(int, ge=1, le=4096),
    "data.grey": FLAG,
    "data.condition": Field(ge=1),
    "data.label": TEXT,
    "data.columns": replace(TEXT, length=ANY_LENGTH),
    "data.kind": Field(str, ("auto", "classes", "numbers")),
    "data.missing": Field(str, ("refuse", "drop")),
    "data.delimiter": TEXT,
    "data.parts": replace(TEXT, length=ANY_LENGTH),
    "data.samples": Field(int, ge=10, le=10**7),
    "data.features": Field(int, ge=1, le=10**4),
    "data.noise": NOT_NEGATIVE,
    "data.sample_seed": SEED,
    "model.target": PATH,
    "model.args": ARGUMENTS,
    "model.width": COUNT,
    "model.depth": Field(int, ge=1, le=1000),
    "model.width_multiplier": Field(gt=0, le=1000),
    "model.depth_multiplier": Field(gt=0, le=1000),
    "model.mup": FLAG,
    "model.base_width": replace(COUNT, null=True),
    "model.widths": replace(COUNT, length=ANY_LENGTH),
    "model.bias": FLAG,
    "model.normalization": Field(str, ("none", "batch", "layer", "group")),
    "model.residual": FLAG,
    "model.heads": COUNT,
    "model.kind": Field(str, ("rnn", "lstm", "gru")),
    "model.shortcut": Field(str, ("identity", "projection")),
    "model.patch": COUNT,
    "model.pool": Field(str, ("class", "mean")),
    "model.name": TEXT,
    "model.size": Field(int, ge=1, le=4096, null=True),
    "model.activation": Field(str, ACTIVATIONS),
    "init.target": PATH,
    "init.args": ARGUMENTS,
    "init.gain": Field(words=("auto",), gt=0, null=True),
    "init.bias": Field(ge=-1e30, le=1e30),
    "init.std": NOT_NEGATIVE,
    "init.bound": NOT_NEGATIVE,
    "init.value": Field(ge=-1e30, le=1e30),
    "init.samples": Field(int, ge=2, le=10**6),
    "init.tolerance": Field(gt=0, lt=1),
    "init.max_iterations": Field(int, ge=1, le=1000),
    "init.run": TEXT,
    "init.partial": FLAG,
    "optim.target": PATH,
    "optim.args": ARGUMENTS,
    "optim.lr": POSITIVE,
    "optim.momentum": SHARE,
    "optim.nesterov": FLAG,
    "optim.betas": replace(SHARE, length=2),
    "optim.eps": POSITIVE,
    "optim.rho": SHARE,
    "optim.alpha": SHARE,
    "optim.centered": FLAG,
    "optim.etas": replace(POSITIVE, length=2),
    "optim.step_sizes": replace(POSITIVE, length=2),
    "optim.momentum_decay": NOT_NEGATIVE,
    "optim.beta2_decay": Field(ge=-1, lt=0),
    "optim.clip_threshold": Field(ge=1),
    "optim.lambd": NOT_NEGATIVE,
    "optim.t0": NOT_NEGATIVE,
    "optim.max_iter": COUNT,
    "optim.history_size": COUNT,
    "optim.line_search": Field(str, ("strong_wolfe", "none")),
    "optim.ns_steps": Field(int, ge=1, le=99),
    "optim.adamw_lr": POSITIVE,
    "optim.adamw_betas": replace(SHARE, length=2),
    "optim.name": TEXT,
    "optim.closure": replace(FLAG, null=True),
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.decay_bias_and_norm": FLAG,
    "scheduler.warmup": NOT_NEGATIVE,
    "scheduler.end_factor": Field(ge=0, le=1),
    "scheduler.start_factor": Field(ge=0, le=1),
    "scheduler.factor": Field(gt=0, lt=1),
    "scheduler.every": POSITIVE,
    "scheduler.milestones": replace(POSITIVE, length=ANY_LENGTH),
    "scheduler.power": POSITIVE,
    "scheduler.timescale": POSITIVE,
    "scheduler.first": POSITIVE,
    "scheduler.growth": Field(ge=1),
    "scheduler.period": POSITIVE,
    "scheduler.rise": Field(gt=0, lt=1),
    "scheduler.decay": POSITIVE,
    "scheduler.patience": COUNT,
    "scheduler.min_delta": NOT_NEGATIVE,
    "regularization.l2.strength": NOT_NEGATIVE,
    "regularization.weight_decay.rate": NOT_NEGATIVE,
    "regularization.dropout.p": SHARE,
    "regularization.box.bound": POSITIVE,
    "regularization.grad_clip.max_norm": replace(POSITIVE, null=True),
    "regularization.grad_clip.max_value": replace(POSITIVE, null=True),
    "regularization.l1.strength": NOT_NEGATIVE,
    "regularization.label_smoothing.epsilon": SHARE,
    "regularization.ema.decay": SHARE,
    "regularization.swa.start": NOT_NEGATIVE,
    "regularization.swa.every": COUNT,
    "regularization.adversarial.epsilon": POSITIVE,
    "regularization.adversarial.steps": COUNT,
    "regularization.adversarial.share": Field(gt=0, le=1),
    "regularization.distillation.run": TEXT,
    "regularization.distillation.temperature": POSITIVE,
    "regularization.distillation.share": Field(gt=0, le=1),
    "regularization.early_stopping.patience": COUNT,
    "regularization.early_stopping.min_delta": NOT_NEGATIVE,
    "regularization.early_stopping.restore_best": FLAG,
    "augment.scale.least": Field(ge=0.01, le=100),
    "augment.scale.most": Field(ge=0.01, le=100),
    "augment.rotate.degrees": Field(ge=0, le=180),
    "augment.crop.pad": COUNT,
    "augment.flip.p": Field(ge=0, le=1),
    "augment.color.brightness": Field(ge=0, le=1),
    "augment.color.contrast": Field(ge=0, le=1),
    "augment.color.saturation": Field(ge=0, le=1),
    "augment.noise.std": NOT_NEGATIVE,
    "augment.mixup.alpha": Field(ge=0.01, le=1000),
    "augment.cutmix.alpha": Field(ge=0.01, le=1000),
    "batch.shuffle": FLAG,
    "batch.micro": replace(COUNT, null=True),
    "batch.smallest": COUNT,
    "batch.every": replace(COUNT, null=True),
    "batch.parts": Field(int, ge=2, le=1024),
    "batch.decay": SHARE,
    "batch.factor": Field(int, ge=2),
    "batch.milestones": replace(POSITIVE, length=ANY_LENGTH),
    "batch.most": replace(COUNT, null=True),
    "batch.size": replace(COUNT, null=True),
    "stop.plateau.patience": COUNT,
    "stop.plateau.min_delta": NOT_NEGATIVE,
    "stop.grad_norm.below": POSITIVE,
    "stop.steps.most": COUNT,
    "stop.time.seconds": POSITIVE,
}
