"""What several processes train is what one trains: weights to 1e-12 in float64, whatever each of them holds."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from runner.config.options import options
from runner.parallel.refusal import OPTIMIZERS, TOLD
from tests.support.spread_runs import Case, single, together

EQUAL = 1e-12
LOOSER = {"soap": 1e-11, "batch norm": 1e-11}
"""SOAP: in directions that few gradients have had, rounding decides a part of the basis. Batch norm: a unit that hardly
varies over a batch is divided by its deviation, which enlarges its rounding error (1.6e-12 after 50 steps)."""
WAYS = {
    "ddp": {"data": 2},
    "fsdp": {"data": 2, "sharded": True},
    "tensor": {"tensor": 2},
    "pipeline": {"stages": 2, "parts": 4},
}
OF_FOUR = {
    "ddp": {"data": 4},
    "fsdp": {"data": 4, "sharded": True},
    "tensor": {"tensor": 4},
    "pipeline": {"stages": 4, "parts": 4},
    "fsdp × tensor": {"data": 2, "sharded": True, "tensor": 2},
    "ddp × tensor": {"data": 2, "tensor": 2},
}
SMALL = ["device=cpu", "dtype=float64", "batch.size=33", "data.fraction=0.3"]
MLP = [*SMALL, "model.width=16", "model.depth=4"]
OF_HEADS = ["model.width=16", "model.depth=4", "model.heads=4", "regularization=dropout"]
SAID = "regularization=[dropout,grad_clip,l1,l2,ema,box,label_smoothing]"
RUNS = {
    "plain": [*MLP, "optim=adamw"],
    "hooks": [*MLP, "optim=adam", SAID, "regularization.grad_clip.max_norm=0.1", "regularization.box.bound=0.2"],
    "wrapped": [*MLP, "optim=adamw", "optim.wrap=[cautious,lookahead]"],
    "decay": [*MLP, "optim=momentum", "regularization=[weight_decay,swa]"],
    "micro": [*MLP, "optim=adamw", "batch.micro=10", "regularization=dropout"],
    "norms": [*MLP, "optim=adamw", "model.normalization=layer", "model.residual=true"],
    "batch norm": [*MLP, "optim=momentum", "model.normalization=batch", "batch.micro=11"],
    "augmented": [*MLP, "optim=adamw", "augment=[noise,mixup]"],
    "gpt": ["device=cpu", "dtype=float64", "batch.size=33", "data=text", "model=gpt", "optim=momentum", *OF_HEADS],
    "vit": [*SMALL, "model=vit", "model.patch=4", "optim=momentum", *OF_HEADS],
    "cnn": [*SMALL, "model=cnn", "optim=momentum"],
    "clipped by value": [*MLP, "optim=adamw", "regularization=grad_clip", "regularization.grad_clip.max_value=0.01"],
    "adversarial": [*MLP, "optim=adamw", "regularization=adversarial"],
    "muon": [*MLP, "optim=muon"],
    "rprop": [*MLP, "optim=rprop"],
    "low-rank parts": [*MLP, "optim=adam", "finetune=lora", "finetune.lora.rank=2"],
    "thawing": [*MLP, "optim=adam", "finetune=gradual"],
}
UNLIKE = {
    ("batch norm", "tensor"),
    ("batch norm", "pipeline"),
    ("cnn", "tensor"),
    ("cnn", "pipeline"),
    ("adversarial", "pipeline"),
    ("muon", "pipeline"),
    ("low-rank parts", "tensor"),
    ("low-rank parts", "pipeline"),
}
"""Refused."""
SAMPLE = [
    *(("hooks", way) for way in WAYS),
    ("batch norm", "ddp"),
    ("augmented", "tensor"),
    ("vit", "pipeline"),
    ("gpt", "tensor"),
    ("muon", "fsdp"),
    ("muon", "tensor"),
    ("rprop", "fsdp"),
    ("rprop", "tensor"),
]
LEFT_OUT = ("lbfgs", "sophia", "custom", "collection")
if not TOLD:
    del WAYS["pipeline"], OF_FOUR["pipeline"]
    SAMPLE = [(run, way) for run, way in SAMPLE if way != "pipeline"]
OPTIMIZED = [option.name for option in options("optim") if option.name not in LEFT_OUT]


def case_of(name: str, run: list[str], layout: dict[str, Any], steps: int) -> Case:
    return {"name": name, "layout": layout, "overrides": [*run, f"max_steps={steps}", f"eval_every={steps // 2}"]}


@functools.cache
def alone(overrides: tuple[str, ...]) -> dict[str, Any]:
    return single({"overrides": list(overrides)})


def largest(numbers: Iterable[float]) -> float:
    """The largest number, or NaN if there is one: Python's max passes over it."""
    return float(torch.tensor([*numbers], dtype=torch.float64).max())


def apart(weights: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> float:
    """The largest difference of any weight."""
    assert weights.keys() == others.keys()
    return largest(float((weight - others[name]).abs().max()) for name, weight in weights.items())


def difference(case: Case, found: dict[str, Any]) -> float:
    """The largest difference from one process's of any weight, or of any number in a row but a time."""
    assert "error" not in found, found["error"]
    one = alone(tuple(case["overrides"]))
    rows = [
        abs(row[name] - other[name])
        for row, other in zip(one["rows"], found["rows"], strict=True)
        for name in row
        if isinstance(row[name], float) and name != "train_seconds"
    ]
    return largest([apart(one["weights"], found["weights"]), *rows])


def differences(cases: Sequence[Case], devices: int, folder: Path) -> dict[str, float]:
    found = together(cases, devices, folder)
    return {case["name"]: difference(case, found[case["name"]]) for case in cases}


def too_far(found: dict[str, float]) -> dict[str, float]:
    """The cases that are farther from one process's than they may be."""
    return {name: d for name, d in found.items() if not d < LOOSER.get(name.partition(",")[0], EQUAL)}


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    cases = [case_of(f"{run}, {way}", RUNS[run], WAYS[way], steps=12) for run, way in SAMPLE]
    assert too_far(differences(cases, 2, tmp_path)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_every_kind_of_run_is_the_same_after_50_steps(devices: int, tmp_path: Path) -> None:
    ways = WAYS if devices == 2 else OF_FOUR
    pairs = [(run, way) for run in RUNS for way in ways if not any((run, w) in UNLIKE for w in way.split(" × "))]
    cases = [case_of(f"{run}, {way}", RUNS[run], ways[way], steps=50) for run, way in pairs]
    assert too_far(differences(cases, devices, tmp_path)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 4])
def test_every_optimizer_is_the_same_after_50_steps_but_those_refused(devices: int, tmp_path: Path) -> None:
    ways = WAYS if devices == 2 else OF_FOUR
    cases = []
    for optim in OPTIMIZED:
        run = [o for o in MLP if o != "batch.size=33"] if optim == "gd" else MLP
        for way in ways:
            if not any(optim in OPTIMIZERS.get(w, {}) for w in way.split(" × ")):
                cases.append(case_of(f"{optim}, {way}", [*run, f"optim={optim}"], ways[way], steps=50))
    assert too_far(differences(cases, devices, tmp_path)) == {}


REFUSED: dict[str, set[str]] = {
    "fsdp": {"adafactor", "prodigy", "soap", "shampoo", "kron"},
    "tensor": {"adafactor", "prodigy", "soap", "shampoo", "kron"},
    "pipeline": {"muon", "prodigy"},
}
"""Optimizers that differ, or cannot be spread. The list must not grow: the test above skips what is refused."""


def test_no_further_optimizer_is_refused() -> None:
    assert {way: set(refused) for way, refused in OPTIMIZERS.items()} == REFUSED


@pytest.mark.slow
def test_a_run_goes_on_in_whatever_way_it_is_spread_next(tmp_path: Path) -> None:
    run = [*MLP, "optim=adamw", "regularization=[dropout,ema]"]
    first = [{**case_of(way, run, WAYS[way], steps=20), "save_at": 10} for way in WAYS]
    one = single({**case_of("one", run, {}, steps=20), "save_at": 10})
    cases = []
    for earlier, found in {**together(first, 2, tmp_path / "first"), "one": one}.items():
        assert "error" not in found, found["error"]
        torch.save(found["state"], tmp_path / f"{earlier}.pt")
        cases += [
            {**case_of(f"{earlier}, then {way}", run, WAYS[way], steps=20), "saved": str(tmp_path / f"{earlier}.pt")}
            for way in WAYS
        ]
    for name, found in together(cases, 2, tmp_path / "again").items():
        assert "error" not in found, (name, found["error"])
        assert len(found["rows"]) == 1
        assert apart(one["weights"], found["weights"]) < EQUAL, name
