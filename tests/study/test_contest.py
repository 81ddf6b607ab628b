"""Contests of optimizers: equal budgets, shards that resume, packed records, and verdicts where the truth is known."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from runner.errors import ConfigError, OptbenchError, RecordError
from runner.study import names
from runner.study.contest import catalogue, choice, crowded, modern, packed, plan, shards, speed
from runner.study.contest.contenders import ADAM, ADAMW, MOMENTUM, SGD, Contender
from runner.study.contest.plan import FINAL, LENGTH, TIMED, TRIAL, Contest
from runner.study.contest.workloads import DIGITS_MLP, EVALUATIONS, SIX

TINY = replace(DIGITS_MLP, steps=2 * EVALUATIONS)
SMALL = replace(
    catalogue.MODERN,
    name="small",
    workloads=(TINY,),
    contenders=(ADAMW, SGD),
    trials=2,
    tuning_seeds=(0,),
    seeds=(100, 101),
    budgets=(1, 2),
    lengths=(0.5,),
)


SHIPPED = packed.SHIPPED


@pytest.fixture(autouse=True)
def _without_shipped_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SHIPPED", tmp_path / "none")


def rows(contest: Contest, losses: Callable[[str, str, float, float], float]) -> Iterator[dict[str, object]]:
    """Yield made records: ``losses`` gives a final loss by workload, optimizer, tuned or not, and length."""
    for part in plan.every_part(contest):
        name, steps = part.contender.name, part.workload.steps
        roles = [(TRIAL, t, s, 1.0) for t in range(contest.trials) for s in contest.tuning_seeds]
        roles += [(FINAL, t, s, 1.0) for t in (0, 1) for s in contest.seeds]
        roles += [(LENGTH, 1, s, length) for length in contest.lengths for s in contest.seeds if name == "adamw"]
        for role, trial, seed, length in [*roles, (TIMED, 0, 90, 0.5)]:
            loss = losses(part.workload.name, name, float(trial == 1), length) * (1 + 0.001 * (seed % 3))
            curve = np.geomspace(8 * loss, loss, EVALUATIONS + 1)
            yield {
                **dict(zip(packed.KEY, part.key, strict=True)),
                "design": plan.design(contest, part),
                "role": role,
                "trial": trial,
                "seed": seed,
                "setting": f"optim.lr=0.{trial}" if trial else "",
                "steps": round(steps * length),
                "status": "completed",
                "step_seconds": 0.001,
                "state_bytes": 8.0,
                "parameters": 1.0,
                "val_accuracy": 0.5,
                "test_loss": loss,
                "test_accuracy": math.exp(-loss),
                **dict(zip(packed.CURVE, curve, strict=True)),
            }


def frame(contest: Contest, losses: Callable[[str, str, float, float], float]) -> pd.DataFrame:
    return packed.unpack(packed.pack(rows(contest, losses), {"seconds": 1.0}))[0]


def test_what_is_packed_comes_back_to_five_digits_and_in_the_same_bytes() -> None:
    made = list(rows(SMALL, lambda *of: 1 / 3))
    made[0] |= {"status": "diverged", "loss_11": math.nan, "test_accuracy": math.nan}
    content = packed.pack(made, {"seconds": 2.5, "day": "today"})
    again, about = packed.unpack(content)
    assert packed.pack(made, about) == content and about == {"seconds": 2.5, "day": "today"}
    assert len(again) == len(made) and list(again) == list(packed.COLUMNS)
    for name in packed.COLUMNS:
        for kept, given in zip(again[name], (row[name] for row in made), strict=True):
            assert kept == (given if isinstance(given, str) else pytest.approx(given, rel=1e-4, nan_ok=True)), name
    assert sum(name.startswith("loss_") for name in packed.COLUMNS) == 12
    with pytest.raises(RecordError, match="no packed records"):
        packed.unpack(content[: len(content) // 2])


def test_a_shard_goes_on_after_a_kill_and_is_not_run_again_once_it_is_packed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, trained = shards.train, list[int]()

    def killed(composer, overrides, command, say):
        if trained:
            raise OptbenchError("killed")
        trained.append(len(overrides))
        return whole(composer, overrides, command, say)

    monkeypatch.setattr(shards, "train", killed)
    with pytest.raises(OptbenchError, match="killed"):
        shards.run_shard(SMALL, 1, 1, lambda text: None)
    assert packed.shards(SMALL) == []
    before = {path: path.stat().st_mtime_ns for path in folder.glob("outputs/*/*/summary.json")}
    assert len(before) == trained[0] == 4  # two trials of each of two optimizers
    monkeypatch.setattr(shards, "train", whole)
    shards.run_shard(SMALL, 1, 1, lambda text: None)
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    found, told = packed.read(SMALL)
    assert packed.missing(plan.parts(SMALL), found) == [] and told[0]["runs"] == len(found)
    assert set(found["role"]) == {TRIAL, FINAL, LENGTH, TIMED}
    ended = found[found["role"] != TIMED]
    assert (ended["status"] == "completed").all() and np.isfinite(ended[packed.CURVE].to_numpy(float)).all()
    finals = found[(found["role"] == FINAL) & (found["optimizer"] == "sgd")]
    assert set(finals["seed"]) == set(SMALL.seeds)
    step_seconds = found[found["role"] == TIMED]["step_seconds"]
    assert len(step_seconds) == 2 and step_seconds.between(1e-5, 0.1).all()
    assert found[found["role"] == LENGTH]["optimizer"].tolist() == ["adamw"] * 2

    def refused(*of: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(shards, "train", refused)
    said: list[str] = []
    shards.run_shard(SMALL, 1, 1, said.append)
    assert said == ["small-01of01: every part of it is packed"]


def test_an_optimizer_that_comes_later_joins_a_packed_shard(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(contest: Contest, parts, say) -> list[dict[str, object]]:
        wanted = {part.key for part in parts}
        return [r for r in rows(contest, lambda *of: 1.0) if (r["workload"], r["schedule"], r["optimizer"]) in wanted]

    monkeypatch.setattr(shards, "_cell", made)
    shards.run_shard(SMALL, 1, 1, lambda text: None)
    more = replace(SMALL, contenders=(*SMALL.contenders, MOMENTUM))
    (waiting,) = packed.missing(plan.parts(more), packed.read(more)[0])
    assert waiting.contender is MOMENTUM
    shards.run_shard(more, 1, 1, lambda text: None)
    found, told = packed.read(more)
    assert sorted(set(found["optimizer"])) == ["adamw", "momentum", "sgd"] and told[0]["runs"] == len(found)


def test_finals_on_other_seeds_replace_those_of_the_parts_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[plan.Run] = []

    def made(contest: Contest, runs, say) -> list[dict[str, object]]:
        asked.extend(runs)
        return [{**packed.head(contest, run), "status": "completed"} for run in runs]

    monkeypatch.setattr(shards, "rows_of", made)
    before = frame(SMALL, lambda *of: 1.0)
    after = shards.again(SMALL, before, (7, 8), lambda text: None, {("digits-mlp", "cosine", "sgd")})
    assert {run.seed for run in asked} == {7, 8} and {run.part.contender.name for run in asked} == {"sgd"}
    finals = after[after["role"] == FINAL]
    assert set(finals[finals["optimizer"] == "sgd"]["seed"]) == {7, 8}
    assert set(finals[finals["optimizer"] == "adamw"]["seed"]) == {100, 101}
    assert (after["role"] == TRIAL).sum() == (before["role"] == TRIAL).sum()


def test_records_of_another_design_are_not_read(folder: Path) -> None:
    packed.keep(SMALL, "small-01of01", rows(SMALL, lambda *of: 1.0), {"seconds": 1.0, "runs": 1, "processor": {}})
    assert len(packed.read(SMALL)[0])
    assert not len(packed.read(replace(SMALL, seeds=(7, 8)))[0])


@pytest.mark.parametrize("contest", catalogue.CONTESTS, ids=lambda c: c.name)
def test_every_optimizer_has_the_same_budget_and_is_judged_on_seeds_that_tuned_nothing(contest: Contest) -> None:
    assert not set(contest.seeds) & {*contest.tuning_seeds, plan.TIMED_SEED} and len(contest.seeds) >= 10
    assert contest.budgets[0] == 1 and contest.budgets[-1] == contest.trials
    parts = [part for part in plan.parts(contest) if part.workload == contest.workloads[0]]
    for part in parts[: len(contest.contenders)]:
        runs = plan.tuning(contest, part)
        assert len({run.setting for run in runs}) == contest.trials, part.key
        assert len(runs) == contest.trials * len(contest.tuning_seeds) and runs[0].setting == ()
        assert {run.seed for run in runs} == set(contest.tuning_seeds)
        assert all(run.steps == part.workload.steps for run in runs)


def test_trials_are_a_latin_hypercube_of_the_default_ranges() -> None:
    part = next(p for p in plan.parts(catalogue.MODERN) if p.contender is ADAMW)
    settings = plan.settings(catalogue.MODERN, part)
    for key, low, high in (("optim.lr=", 1e-4, 3e-2), ("optim.weight_decay=", 1e-3, 0.3)):
        drawn = [float(o.removeprefix(key)) for setting in settings for o in setting if o.startswith(key)]
        places = np.log(np.array(drawn) / low) / math.log(high / low) * len(drawn)
        assert sorted(np.floor(places + 1e-3 * (places < 1)).astype(int)) == list(range(len(settings) - 1))
    assert plan.settings(catalogue.MODERN, part) == settings


def test_a_rate_at_an_end_of_its_range_is_known_as_such() -> None:
    part = next(p for p in plan.parts(catalogue.MODERN) if p.contender is ADAM)  # from 1e-4 to 3e-2, in 15 slices
    for rate, end in (("1.2e-4", -1), ("1.6e-4", 0), ("1e-3", 0), ("0.02", 0), ("0.022", 1)):
        assert plan.edge(catalogue.MODERN, part, (f"optim.lr={rate}",)) == end, rate
    assert plan.edge(catalogue.MODERN, part, ()) == 0


@pytest.mark.parametrize("contest", catalogue.CONTESTS, ids=lambda c: c.name)
def test_shards_hold_every_part_once_however_many_there_are(contest: Contest) -> None:
    for of in (1, 2, len(plan.cells(contest))):
        found = [part.key for number in range(1, of + 1) for part in plan.shard(contest, number, of)]
        assert found == [part.key for part in plan.parts(contest)]
    with pytest.raises(ConfigError, match="cells"):
        plan.shard(contest, 1, len(plan.cells(contest)) + 1)


def test_every_workload_is_evaluated_at_the_same_shares_of_its_length() -> None:
    assert all(w.steps % EVALUATIONS == 0 for w in SIX)


def test_the_large_form_is_of_about_fifty_thousand_runs() -> None:
    runs = sum(plan.runs_of(catalogue.LARGE, part) for part in plan.every_part(catalogue.LARGE))
    assert 50_000 <= runs <= 51_000
    assert (
        max(sum(plan.seconds(catalogue.LARGE, p) for p in plan.shard(catalogue.LARGE, n, 24)) for n in (1, 24)) < 2700
    )


def test_a_trial_that_diverged_is_chosen_last_and_a_budget_looks_at_its_first_trials_alone() -> None:
    made = pd.DataFrame(
        {
            "role": TRIAL,
            "trial": [0, 0, 1, 1, 2, 2, 3, 3],
            "setting": ["", "", "optim.lr=1", "optim.lr=1", "optim.lr=2", "optim.lr=2", "optim.lr=3", "optim.lr=3"],
            "status": ["completed"] * 5 + ["diverged", "completed", "completed"],
            choice.LAST: [0.9, 0.9, 0.5, 0.7, 0.1, 0.1, 0.2, 0.2],
        }
    )
    assert choice.chosen(made, 1) == (0, ())
    assert choice.chosen(made, 3) == (1, ("optim.lr=1",))
    assert choice.chosen(made, 4) == (3, ("optim.lr=3",))
    assert choice.chosen(made.assign(status="diverged"), 4) == (0, ())


def test_an_equivalent_length_is_between_two_in_the_logarithm() -> None:
    shares, losses = np.array([0.5, 1.0, 2.0, 4.0]), np.array([[4.0], [3.0], [3.5], [1.0]])
    for loss, share in ((4.0, 0.5), (9.0, 0.5), (3.5, 2**-0.5), (3.0, 1.0), (2.0, 2 * 2**0.5), (1.0, 4.0), (0.1, 4.0)):
        assert speed.equivalent(shares, losses, np.array([loss]))[0] == pytest.approx(share), loss
    assert speed.equivalent(shares, losses, np.array([math.inf]))[0] == 0.5


def test_a_target_is_reached_between_two_evaluations_in_the_logarithm_of_the_loss() -> None:
    runs = pd.DataFrame([dict(zip(packed.CURVE, np.geomspace(2.0**11, 1.0, 12), strict=True)) | {"steps": 110}])
    assert speed.times(runs, 2.0**6)[0] == pytest.approx(50.0)
    assert speed.times(runs, 2.0**5.5)[0] == pytest.approx(55.0)
    assert speed.times(runs, 0.5)[0] == math.inf
    assert speed.times(runs.assign(loss_5=math.nan, loss_6=1e9), 2.0**6)[0] > 60


def test_intervals_of_few_seeds_cover_as_often_as_they_say() -> None:
    drawn, rng = speed.draws(12, 0), np.random.default_rng(0)
    ends = [speed.interval(rng.normal(size=12)[drawn].mean(1), 12)[1:] for _ in range(1500)]
    assert np.mean([low <= 0 <= high for low, high in ends]) == pytest.approx(0.95, abs=0.015)


CLAIMS = tuple(Contender(name, "made", 2.0) for name in ("adam", "nadam", "radam", "momentum"))
THREE = replace(
    SMALL, workloads=SIX[:3], contenders=(ADAMW, *CLAIMS), lengths=(0.25, 0.5, 2.0, 4.0), seeds=(100, 101, 102)
)


@pytest.mark.parametrize(("factor", "holds"), [(1.3, True), (1.0, True), (2.5, False)])
def test_a_known_speed_up_is_found_and_the_verdict_follows_it(factor: float, holds: bool) -> None:
    def losses(workload: str, optimizer: str, tuned: float, length: float) -> float:
        steps = length * (1.0 if optimizer == "adamw" else factor) * (1.0 if tuned else 0.5)
        return steps**-0.5

    made = frame(THREE, losses)
    found = modern.judge(THREE, made)
    table = found.numbers.set_index("optimizer")
    assert found.holds is holds
    for name in ("adam", "nadam", "radam", "momentum"):
        assert table.loc[name, "tuned"] == pytest.approx(factor, rel=0.05)
        assert table.loc[name, "defaults"] == pytest.approx(factor / 2, rel=0.05)
        assert table.loc[name, "tuned_low"] <= table.loc[name, "tuned"] <= table.loc[name, "tuned_high"]
    assert table.loc["adamw", "tuned"] == pytest.approx(1.0)
    best = {name for one in modern.on_workloads(THREE, made) for name in one.best}
    assert ("adamw" in best) is (factor == 1.0)


def test_of_few_claims_or_workloads_there_is_no_verdict() -> None:
    made = frame(THREE, lambda w, o, tuned, length: length**-0.5)
    assert modern.judge(THREE, made[made["workload"] != "digits-mlp"]).holds is None
    assert modern.judge(THREE, made[~made["optimizer"].isin(["adam"])]).holds is None


def test_the_profile_is_what_a_hand_computes() -> None:
    """AdamW takes 100 steps on both; Adam 50 and never; SGD 200 and 100: ratios 2, 1; 1, ∞; 4, 1."""
    steps = {"adamw": (100.0, 100.0), "adam": (50.0, math.inf), "sgd": (200.0, 100.0)}
    parts = {name: pd.DataFrame({"role": [TIMED], "step_seconds": [2.0 if name == "adam" else 1.0]}) for name in steps}
    found = [
        modern.OnWorkload(str(w), parts, {}, {}, 1.0, {n: np.full(3, of[w]) for n, of in steps.items()}, ())
        for w in (0, 1)
    ]
    scores = modern.profile(found).set_index("optimizer")["score"]
    assert scores.to_dict() == pytest.approx({"adamw": (2 / 3 + 1) / 2, "adam": 0.5, "sgd": 0.5})
    in_seconds = modern.profile(found, seconds=True).set_index("optimizer")["score"]
    assert in_seconds.to_dict() == pytest.approx({"adamw": 1.0, "adam": 0.5, "sgd": (2 / 3 + 1) / 2})


@pytest.mark.parametrize(("behind", "holds"), [(0.0, True), (0.005, True), (0.1, False)])
def test_defaults_that_are_behind_are_found_out(behind: float, holds: bool) -> None:
    """The loss is minus the logarithm of the accuracy; the best default is Adam's, and only AdamW gains by tuning."""

    def losses(workload: str, optimizer: str, tuned: float, length: float) -> float:
        accuracy = {"adamw": 0.6 + behind if tuned else 0.5, "adam": 0.6}.get(optimizer, 0.4)
        return -math.log(accuracy)

    contest = replace(THREE, contenders=(ADAMW, ADAM, SGD))
    found = crowded.judge(contest, frame(contest, losses))
    assert found.holds is holds
    assert found.numbers["mean"][0] == pytest.approx(-100 * behind, abs=0.1)
    assert "adam at its defaults" in found.numbers["compared"][1]
    gone = frame(contest, losses)
    assert crowded.judge(contest, gone[gone["workload"] == "digits-mlp"]).holds is None


def test_a_contest_that_cannot_be_run_as_asked_is_refused(optbench) -> None:
    assert tuple(contest.name for contest in catalogue.CONTESTS) == names.CONTESTS
    for argv, words in (
        (["modern"], ["nothing of it was run yet", "--shard 1/6"]),
        (["modern", "--shard", "7/6"], ["--shard", "3/12", "'7/6'"]),
        (["crowded", "--shard", "1/99"], ["8 cells"]),
        (["modern", "symmetry"], ["give one contest"]),
        (["symmetry", "--shard", "1/2"], ["modern, crowded"]),
        (["moderm"], ["did you mean 'modern'"]),
    ):
        refused = optbench("study", *argv)
        assert refused.code == 2 and all(word in refused.err for word in words), (argv, refused.err)


def test_the_shipped_records_are_small_and_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "SHIPPED", SHIPPED)
    files = list(SHIPPED.glob("*.gz"))
    assert files and sum(path.stat().st_size for path in files) <= 5_000_000
    for contest in catalogue.CONTESTS[:2]:
        found, told = packed.read(contest)
        taken = [sum(seconds for seconds, _ in one["processor"].values()) for one in told]  # whatever else ran beside
        assert len(found) and taken and max(taken) <= 2700
