"""Optimizers: functions from parameter groups to a ``torch.optim.Optimizer``, one an option; a file holds a family."""

from runner.optim.averaged import asgd, schedule_free, schedule_free_sgd
from runner.optim.curvature import sophia
from runner.optim.distance import prodigy
from runner.optim.from_torch import (
    adadelta,
    adafactor,
    adagrad,
    adam,
    adamax,
    adamw,
    amsgrad,
    gd,
    lbfgs,
    nadam,
    radam,
    rmsprop,
    rprop,
    sgd,
)
from runner.optim.given import collection, custom
from runner.optim.groups import parameter_groups
from runner.optim.kronecker import kron, shampoo, soap
from runner.optim.layerwise import lamb, lars
from runner.optim.moments import adabelief, adan, ademamix, mars
from runner.optim.orthogonal import muon
from runner.optim.signs import lion
from runner.optim.wrap import WRAP_KEYS, wrapped

__all__ = [
    "WRAP_KEYS",
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adan",
    "ademamix",
    "amsgrad",
    "asgd",
    "collection",
    "custom",
    "gd",
    "kron",
    "lamb",
    "lars",
    "lbfgs",
    "lion",
    "mars",
    "muon",
    "nadam",
    "parameter_groups",
    "prodigy",
    "radam",
    "rmsprop",
    "rprop",
    "schedule_free",
    "schedule_free_sgd",
    "sgd",
    "shampoo",
    "soap",
    "sophia",
    "wrapped",
]
