"""Regularization: each option's function returns a hook of the engine's; any number may be combined.

A file holds one mechanism: what it does in the reference engine's step, its state, and its form in a stack.
"""

from runner.regularization.adversary import adversarial
from runner.regularization.averages import ema, swa
from runner.regularization.decay import weight_decay
from runner.regularization.dropping import dropout
from runner.regularization.gradient import grad_clip
from runner.regularization.parametrization import weight_norm
from runner.regularization.patience import early_stopping
from runner.regularization.penalties import l1, l2
from runner.regularization.projection import box
from runner.regularization.smoothing import label_smoothing
from runner.regularization.teacher import distillation

__all__ = [
    "adversarial",
    "box",
    "distillation",
    "dropout",
    "early_stopping",
    "ema",
    "grad_clip",
    "l1",
    "l2",
    "label_smoothing",
    "swa",
    "weight_decay",
    "weight_norm",
]
