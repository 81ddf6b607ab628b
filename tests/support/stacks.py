"""Stacks, and their members each by itself."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch

from runner.engine import fused
from runner.engine.fused.members import stack
from runner.engine.fused.slices import in_order
from runner.engine.run import Run
from runner.engine.state import State
from runner.run.build import build
from runner.run.job import Job
from tests.support.loops import alone

Make = Callable[..., Job]
TOLERANCE = 1e-10
STEPS = 50
MODELS = {
    "mlp": ["model.width=12"],
    # Real-valued features: a pixel that is constant over a batch has, behind batch norm, a gradient of 0 but for its
    # rounding error, which Adam and its kind divide by its own size and follow.
    "mlp with batch norm": ["data=breast_cancer", "model.width=12", "model.normalization=batch"],
    "cnn": ["model=cnn", "model.width=4"],
}
OPTIMIZERS = {
    "gd": [],
    **{name: [] for name in ("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "rprop", "adam")},
    **{name: [] for name in ("amsgrad", "adamax", "nadam", "radam", "adamw", "adafactor", "asgd", "muon")},
    **{name: [] for name in ("lion", "adabelief", "adan", "ademamix", "lamb", "lars", "prodigy")},
    **{name: [] for name in ("schedule_free", "schedule_free_sgd", "mars", "soap", "shampoo", "kron")},
    "custom": ["optim.target=torch.optim.Rprop"],
    "collection": ["optim.name=tiger"],
}
LOOSER = {"soap": 1e-9}
"""Tolerances of their own: of directions that few gradients have had, rounding decides a part of the basis."""
COSTLY = (
    *("adan", "ademamix", "lars", "prodigy", "schedule_free", "schedule_free_sgd", "mars"),
    *("soap", "shampoo", "kron"),
)
"""Optimizers of many operations."""
LENGTH = [f"max_steps={STEPS}", "eval_every=10", "batch.size=32", "dtype=float64"]
EMA = ["regularization=ema", "regularization.ema.decay=0.9"]
SWA = ["regularization=swa", "regularization.swa.start=0.3"]
ADVERSARY = ["regularization=adversarial", "regularization.adversarial.epsilon=0.2"]
MECHANISMS = {
    "ema": EMA,
    "swa": [*SWA, "regularization.swa.every=3"],
    "lookahead": ["optim.wrap=[lookahead]"],
    "cautious": ["optim.wrap=[cautious]", "regularization=weight_decay"],
    "noise": ["augment=noise"],
    "crop, flip, rotate and scale": ["augment=[crop,flip,rotate,scale]"],
    "mixup": ["augment=mixup", "regularization=label_smoothing"],
    "mixup or cutmix": ["augment=[crop,mixup,cutmix]", "regularization=[label_smoothing,dropout]"],
    "mixed numbers": ["augment=[noise,mixup]", "data=diabetes"],
    "micro-batches": ["batch.micro=12", "regularization=[dropout,l2]"],
    "micro-batches of mixed samples": ["batch.micro=20", "augment=[noise,mixup]"],
    "growing micro-batches": [
        "batch=growing",
        "batch.milestones=[1]",
        "batch.factor=2",
        "batch.micro=32",
        "augment=noise",
    ],
    "adversary": ADVERSARY,
    "adversary of several steps": [*ADVERSARY, "regularization.adversarial.steps=2", "batch.micro=20"],
    "all at once": [
        *("augment=[noise,mixup]", "regularization=[ema,adversarial,dropout,grad_clip,label_smoothing]"),
        *("regularization.ema.decay=0.9", "batch.micro=20"),
    ],
}
RATES_SEEDS_INITS = [(0.01, 0, "he"), (0.002, 1, "xavier"), (0.003, 0, "default")]


def runs_of(job: Make, kinds: Sequence[Sequence[str]], *shared: str) -> list[Run]:
    runs = [build(job(*kind, *shared)) for kind in kinds]
    return [runs[i] for i in in_order(runs)]


def three(*shared: str) -> list[list[str]]:
    return [[f"optim.lr={lr}", f"seed={seed}", f"init={init}", *shared] for lr, seed, init in RATES_SEEDS_INITS]


def together(runs: list[Run]) -> list[tuple[State, list[dict[str, Any]]]]:
    members = stack(runs)
    rows: dict[int, list[dict[str, Any]]] = {id(state): [] for state in members.states}
    states = list(members.states)
    for events in fused.train(members, lambda step: False):
        for state, evaluation in events:
            rows[id(state)].append(evaluation.row)
    return [(state, rows[id(state)]) for state in states]


def assert_close(found: torch.Tensor, expected: torch.Tensor, tolerance: float, name: str) -> None:
    close = partial(torch.testing.assert_close, atol=tolerance, rtol=0, equal_nan=True)
    close(found, expected, msg=lambda said: f"{name}: {said}")


def assert_same(runs: list[Run], tolerance: float = TOLERANCE) -> None:
    """Every parameter, buffer and row of every run is what it is by itself."""
    for run, (state, rows) in zip(runs, together(runs), strict=True):
        expected_state, expected_rows = alone(run)
        assert state.stop_reason == expected_state.stop_reason
        assert state.steps_to_target == expected_state.steps_to_target
        if state.first_nonfinite_step is not None:
            continue  # nothing reads the weights of a run that has diverged
        expected = expected_state.model.state_dict()
        for name, tensor in state.model.state_dict().items():
            assert_close(tensor, expected[name], tolerance, name)
        assert len(rows) == len(expected_rows)
        for row, expected_row in zip(rows, expected_rows, strict=True):
            for key, value in expected_row.items():
                if isinstance(value, float) and key != "train_seconds" and not math.isnan(value):
                    assert row[key] == pytest.approx(value, rel=1e-6, abs=1e-8), key
                elif key != "train_seconds" and not isinstance(value, float):
                    assert row[key] == value, key


def fits(mechanism: Sequence[str], model: str) -> bool:
    """Say whether a mechanism acts on the data that a model is given."""
    if "data=diabetes" in mechanism:
        return model == "mlp"
    return model != "mlp with batch norm" or not any(part in mechanism[0] for part in ("crop", "cutmix"))


def length_of(optim: str) -> list[str]:
    return [f"max_steps={STEPS}", "eval_every=25", "dtype=float64", *([] if optim == "gd" else ["batch.size=32"])]
