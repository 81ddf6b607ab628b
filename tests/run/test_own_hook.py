"""A mechanism of one's own, with a state: a YAML and one class. It trains in both engines and survives a kill."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runner.config.compose import Composer
from runner.engine import loop
from runner.engine.fused.members import stack
from runner.engine.state import start
from runner.run.build import build
from runner.run.job import Job, prepare
from tests.support import killed
from tests.support.records import Result, rows_of, run_folders, summary_of, without_timing
from tests.support.stacks import assert_same

Optbench = Callable[..., Result]
YAML = """\
# Weights are pulled towards their own average
pull:
  _target_: pull.Pull
  strength: 0.5            # of the pull
  rate: 0.1                # of the average at each step
  _spec_:
    settings:
      strength: {gt: 0}
      rate: {gt: 0, le: 1}
    conflicts:
      - when: {regularization: ema}
        says: "regularization=ema beside regularization=pull, which has an average of its own"
"""
MODULE = '''\
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from runner.engine.hooks import Hook, along


@dataclass
class Pull(Hook):
    """strength/2 times the squared distance of the weights to their running average."""

    strength: float | torch.Tensor
    rate: float | torch.Tensor
    averages: list = field(default_factory=list)
    state: ClassVar = ("averages",)

    def begin(self, at):
        return Pull(self.strength, self.rate, [w.detach().clone() for w in at.decayed])

    def penalty(self, at):
        squares = [(w - a).square() for w, a in zip(at.decayed, self.averages)]
        return self.strength / 2 * torch.stack([s.sum() for s in squares]).sum()

    def after_step(self, at, epoch_ends):
        for average, weight in zip(self.averages, at.decayed):
            average.lerp_(weight.detach(), self.rate)

    @classmethod
    def stacked(cls, members, like):
        there = next(m for m in members if m)
        strengths = like.new_tensor([m.strength if m else 0.0 for m in members])
        rates = like.new_tensor([m.rate if m else 1.0 for m in members])
        own = [m.averages if m else there.averages for m in members]
        return Pulls(strengths, rates, [torch.stack(each) for each in zip(*own)])


class Pulls(Pull):
    """The same of all members of a stack, each ``[runs, …]``."""

    def penalty(self, at):
        squares = [(w - a).square().flatten(1).sum(1) for w, a in zip(at.decayed, self.averages)]
        return self.strength / 2 * torch.stack(squares).sum(0)

    def after_step(self, at, epoch_ends):
        for average, weight in zip(self.averages, at.decayed):
            average.lerp_(weight.detach(), along(self.rate, weight))
'''
SMALL = ["model.width=16", "model.depth=1", "threads=1", "dtype=float64"]
OWN = ["--config-dir", "mine", "regularization=pull"]


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the YAML and the class."""
    (folder / "mine" / "regularization").mkdir(parents=True)
    (folder / "mine" / "regularization" / "pull.yaml").write_text(YAML)
    (folder / "pull.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "pull", raising=False)
    return folder


def composed(*overrides: str, regularization: str = "pull") -> Job:
    given = [f"regularization={regularization}", *SMALL, *overrides]
    return prepare(Composer.over("mine").compose(given))


def test_in_the_loop_it_is_its_definition(own: Path) -> None:
    run = build(composed("optim=sgd", "optim.lr=0.1", "max_steps=3", "scheduler=constant"))
    state = start(run)
    for _ in loop.train(state, lambda state, loss: False):
        pass
    model = run.construct()
    weights = [p for p in model.parameters() if p.ndim > 1]
    averages = [w.detach().clone() for w in weights]
    order = run.order(0)
    for step in range(3):
        index = order[64 * step : 64 * (step + 1)]
        model.zero_grad()
        loss = run.loss(model(run.train.x[index]), run.train.y[index])
        (loss + 0.25 * sum((w - a).square().sum() for w, a in zip(weights, averages, strict=True))).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
            for a, w in zip(averages, weights, strict=True):
                a.lerp_(w, 0.1)
    for ours, by_hand in zip(state.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, by_hand, rtol=0, atol=1e-12)


def test_a_stack_of_it_is_its_members_each_by_itself(own: Path) -> None:
    each = [("regularization.pull.strength=0.2", "seed=0"), ("regularization.pull.rate=0.5", "seed=1"), ("seed=2",)]
    assert_same([build(composed(*these, "optim=adam", "max_steps=30", "eval_every=10")) for these in each])
    without = composed("optim=adam", "max_steps=30", "eval_every=10", regularization="none")
    assert_same([build(composed("optim=adam", "max_steps=30", "eval_every=10")), build(without)])


def test_members_that_leave_take_their_state_with_them(own: Path) -> None:
    runs = [build(composed(f"regularization.pull.rate={rate}", f"seed={i}")) for i, rate in enumerate((0.1, 0.2, 0.3))]
    members = stack(runs)
    hook = members.hooks["regularization.pull"]
    for i, average in enumerate(hook.averages):
        average += i + torch.arange(3.0, dtype=torch.float64).view(3, *[1] * (average.ndim - 1))
    before = [average.clone() for average in hook.averages]
    members.states[1].stop_reason = "left"
    members.leave_ended()
    after = members.hooks["regularization.pull"]
    assert after.rate.tolist() == [0.1, 0.3]
    for a, b in zip(after.averages, before, strict=True):
        torch.testing.assert_close(a, b[[0, 2]])


def test_a_killed_run_goes_on_to_the_same_rows(own: Path, optbench: Optbench) -> None:
    asked = [*OWN, *SMALL, "epochs=8"]
    assert optbench("train", *asked, "name=undisturbed").code == 0
    killed.stop(own, "train", *asked, "name=killed", evaluations=5)
    assert optbench("train", *asked, "name=killed").code == 0
    (expected,), (found,) = (run_folders(own, name) for name in ("undisturbed", "killed"))
    assert summary_of(found)["resumed_from_step"] > 0
    assert without_timing(found) == without_timing(expected)


def test_a_killed_stack_goes_on_to_the_same_rows(own: Path, optbench: Optbench) -> None:
    sweep = ["-m", *OWN, *SMALL, "engine=fused", "workers=1", "epochs=8", "seeds=4"]
    asked = [*sweep, "regularization.pull.strength=0.1,0.5"]
    assert optbench("train", *asked, "name=undisturbed").code == 0
    killed.stop(own, "train", *asked, "name=killed", evaluations=5)
    result = optbench("train", *asked, "name=killed")
    assert result.code == 0, result.err
    expected, found = (run_folders(own, name) for name in ("undisturbed", "killed"))
    assert len(found) == 8
    for one, other in zip(sorted(expected), sorted(found), strict=True):
        summary = summary_of(other)
        assert summary["engine"] == "fused" and summary["stack_size"] == 8 and summary["resumed_from_step"] > 0
        assert [row["val_loss"] for row in rows_of(one)] == [row["val_loss"] for row in rows_of(other)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["regularization.pull.strenth=1"], "did you mean 'regularization.pull.strength'"),
        (["regularization.pull.rate=1.5"], "regularization.pull.rate must be"),
        (["regularization=[pull,ema]"], "regularization=ema beside regularization=pull"),
    ],
)
def test_typos_ranges_and_conflicts_are_answered_as_for_shipped_ones(
    given: list[str], said: str, own: Path, optbench: Optbench
) -> None:
    asked = [*OWN, *given] if not given[0].startswith("regularization=") else [*OWN[:2], *given]
    refused = optbench("train", *asked)
    assert refused.code == 2 and said in refused.err, refused.err
    assert not (own / "outputs").exists()


def test_without_a_stacked_form_it_says_so(own: Path, optbench: Optbench) -> None:
    (own / "pull.py").write_text(MODULE.split("    @classmethod")[0])
    refused = optbench("train", *OWN, *SMALL, "engine=fused")
    assert refused.code == 2 and "Pull has no stacked form" in refused.err
    assert optbench("train", *OWN, *SMALL, "max_steps=3").code == 0


def test_rates_of_ones_own_are_trained_in_the_loop_alone(own: Path, optbench: Optbench) -> None:
    rates = "    def rate_shares(self, model):\n        return {'readout.weight': 0.0}\n\n    @classmethod"
    (own / "pull.py").write_text(MODULE.replace("    @classmethod", rates))
    refused = optbench("train", *OWN, *SMALL, "max_steps=3", "engine=fused")
    assert refused.code == 2 and "Pull gives parameters learning rates of their own" in refused.err
    assert not (own / "outputs").exists()
    assert optbench("train", "-m", *OWN, *SMALL, "max_steps=3", "seeds=2", "workers=1").code == 0
    assert {summary_of(run)["engine"] for run in run_folders(own)} == {"loop"}
