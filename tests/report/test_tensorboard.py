"""Runs are read back by TensorBoard's own reader as they were recorded, and nothing of the user's is lost."""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.report.load import load
from runner.report.render.tensorboard import LONGEST_NAME, check_destination, name_of, write_events
from tests.support.made_sweep import made_run, make_sweep

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read(place: Path) -> "event_accumulator.EventAccumulator":
    found = event_accumulator.EventAccumulator(str(place))
    found.Reload()
    return found


def hparams(place: Path, tag: str) -> object:
    from tensorboard.plugins.hparams import plugin_data_pb2

    content = read(place).PluginTagToContent("hparams")[f"_hparams_/{tag}"]
    return plugin_data_pb2.HParamsPluginData.FromString(content)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    runs = [
        made_run(0.8 + s / 100, optim=o, optim__lr=lr, seed=s)
        for o in ("adam", "sgd")
        for lr in (0.1, 0.01)
        for s in (0, 1)
    ]
    return make_sweep(tmp_path / "sweep", [*runs, made_run(None, status="diverged", optim="rprop", optim__lr=1.0)])


def test_every_number_of_every_run_is_read_back(sweep: Path, tmp_path: Path) -> None:
    said = write_events(load(sweep), tmp_path / "events")
    assert said == f"9 runs for TensorBoard: tensorboard --logdir {tmp_path / 'events'}\n"
    places = {str(p.parent.relative_to(tmp_path / "events")) for p in (tmp_path / "events").rglob("*tfevents*")}
    seeds = {f"optim={o},optim.lr={lr}/seed={s}" for o in ("adam", "sgd") for lr in (0.1, 0.01) for s in (0, 1)}
    assert places == {".", "optim=rprop,optim.lr=1/seed=0", *seeds}
    found = read(tmp_path / "events" / "optim=sgd,optim.lr=0.01" / "seed=1")
    scalars = found.Scalars("val_accuracy")
    assert [s.step for s in scalars] == [0, 20, 40, 60, 80, 100]
    assert [s.value for s in scalars] == pytest.approx([0.1 + 0.71 * i / 5 for i in range(6)])
    assert {"epoch", "train_seconds", "train_loss", "val_loss", "final_val_loss", "test_accuracy"} <= set(
        found.Tags()["scalars"]
    )
    assert [(s.step, s.value) for s in found.Scalars("test_accuracy")] == [(100, pytest.approx(0.8))]


def test_times_are_those_of_the_training(sweep: Path, tmp_path: Path) -> None:
    run = next(sweep.glob("he_normal-adam-lr0.1-s0-*"))
    os.utime(run / "metrics.csv", (1e9, 1e9))
    write_events(load(sweep), tmp_path / "events")
    times = [s.wall_time for s in read(tmp_path / "events" / "optim=adam,optim.lr=0.1" / "seed=0").Scalars("val_loss")]
    assert times == pytest.approx([1e9 - 2.0 + 0.4 * i for i in range(6)])


def test_choices_are_hparams_and_seeds_of_one_setting_a_group(sweep: Path, tmp_path: Path) -> None:
    write_events(load(sweep), tmp_path / "events")
    setting = tmp_path / "events" / "optim=adam,optim.lr=0.01"
    starts = [hparams(setting / f"seed={s}", "session_start_info").session_start_info for s in (0, 1)]
    assert {start.group_name for start in starts} == {setting.name}
    assert starts[1].hparams["optim.lr"].number_value == 0.01 and starts[1].hparams["optim"].string_value == "adam"
    assert set(starts[1].hparams) == {"optim", "optim.lr"} and starts[0].hparams == starts[1].hparams
    experiment = hparams(tmp_path / "events", "experiment").experiment
    assert {h.name for h in experiment.hparam_infos} == {"optim", "optim.lr"}
    assert {m.name.tag for m in experiment.metric_infos} == {"final_val_accuracy", "final_val_loss", "test_accuracy"}
    ends = [
        hparams(p, "session_end_info").session_end_info.status
        for p in (setting / "seed=0", setting.with_name("optim=rprop,optim.lr=1") / "seed=0")
    ]
    assert ends == [1, 2]  # a success, a failure


def test_rows_that_are_torn_empty_or_not_finite_are_what_they_are(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9)])
    metrics = next(folder.glob("*/metrics.csv"))
    metrics.write_text(
        "step,train_seconds,batch_loss,val_loss,status\n0,0,,1e300,ok\n5,1,0.5,nan,ok\nx,1,1,1,ok\n9,2,inf,0.1,diverged\n11,3,"
    )
    write_events(load(folder), tmp_path / "events")
    found = read(next((tmp_path / "events").glob("*/*")))
    assert [(s.step, s.value) for s in found.Scalars("batch_loss")] == [(5, 0.5), (9, math.inf)]
    assert [s.step for s in found.Scalars("val_loss")] == [0, 5, 9] and math.isnan(found.Scalars("val_loss")[1].value)


def test_a_folder_of_ones_own_is_refused_and_left_as_it_is(sweep: Path, tmp_path: Path, optbench: Callable) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("mine")
    for place, said in (
        (mine, "notes.txt, which was not written"),
        (mine / "notes.txt", "got the file"),
        (tmp_path / "no" / "where", "in one that is there"),
    ):
        refused = optbench("report", str(sweep), "--tensorboard", str(place))
        assert refused.code == 2 and said in refused.err and refused.err.count("\n") == 1 and refused.out == ""
    assert [p.name for p in mine.iterdir()] == ["notes.txt"] and not (sweep / "report.html").exists()


def test_what_was_written_before_is_replaced_unless_something_else_was_put_there(
    sweep: Path, tmp_path: Path, optbench: Callable
) -> None:
    events = tmp_path / "events"
    assert optbench("report", str(sweep), "--tensorboard", str(events)).code == 0
    other = make_sweep(tmp_path / "other", [made_run(0.9, init=i) for i in ("he_normal", "zeros")])
    write_events(load(other), events)
    assert sorted(p.name for p in events.iterdir() if p.is_dir()) == ["init=he_normal", "init=zeros"]
    assert {p.name for p in tmp_path.iterdir()} >= {"events"} and not list(tmp_path.glob(".events*"))
    (events / "init=zeros" / "seed=0" / "events.out.tfevents.1.mine").write_text("of another program")
    before = sorted(events.rglob("*"))
    with pytest.raises(ConfigError, match=r"tfevents\.1\.mine, which was not written by this"):
        write_events(load(sweep), events)
    assert sorted(events.rglob("*")) == before


def test_a_failure_half_way_leaves_what_was_there(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tmp_path / "events"
    write_events(load(sweep), events)
    before = sorted(events.rglob("*"))
    records = load(sweep)
    monkeypatch.setattr("runner.report.render.tensorboard._session_end", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_events(records, events)
    assert sorted(events.rglob("*")) == before and not list(tmp_path.glob(".events*"))


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"optbench\[tensorboard\]"):
        check_destination(tmp_path / "events")


@pytest.mark.parametrize("value", ["a/b", "../..", "x" * 500, "ü" * 100, "a\0b", 'a"b', "=\\", "\ud800"])
def test_hostile_choices_become_names_that_every_file_system_takes(value: str) -> None:
    name, other = name_of({"optim": value}), name_of({"optim": f"{value}?"})
    assert len(name.encode()) <= LONGEST_NAME + 9 and not set('/\\\0:"*?<>|') & set(name) and name[0] != "."
    assert name != other
    assert name_of({"": ".hidden"})[0] != "."


def test_the_report_asks_for_no_extra(sweep: Path, monkeypatch: pytest.MonkeyPatch, optbench: Callable) -> None:
    for name in [m for m in sys.modules if m.partition(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    assert optbench("report", str(sweep)).code == 0
    assert not [m for m in sys.modules if m.partition(".")[0] == "tensorboard"]
