"""A workload is one data set, model family and length: what one command varied is an axis, all else is no comparison."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.report.load import load
from runner.report.settings import Workload
from runner.report.workloads import identity, workloads
from runner.run.launches import FILE, launches, note
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import report


def a_sweep(first: int, **choices: Any) -> list[dict[str, Any]]:
    """Two optimizers × three seeds, as one command gives them; ids count from ``first``."""
    runs = [made_run(0.9 + 0.01 * s, optim=o, seed=s) for o in ("adam", "sgd") for s in range(3)]
    return [{**run, **choices, "run_id": f"{first + i:08x}"} for i, run in enumerate(runs)]


def of(folder: Path, *commands: Sequence[dict[str, Any]]) -> list[Workload]:
    """The workloads of a folder in which each command is recorded."""
    runs = {run["run_id"]: run for command in commands for run in command}
    make_sweep(folder, runs.values(), choices=("epochs",))
    for number, command in enumerate(commands):
        note(folder, f"command {number}", [run["run_id"] for run in command])
    return workloads(load(folder), None, None)


def test_sweeps_of_other_length_are_workloads_of_their_own(tmp_path: Path):
    short, long = of(tmp_path / "sweep", a_sweep(0, epochs=5), a_sweep(10, epochs=10))
    assert (short.name, long.name) == ("5 epochs", "10 epochs")
    assert short.axes == long.axes == ["optim"] and len(short.runs) == len(long.runs) == 6


def test_a_length_that_one_command_varied_is_an_axis(tmp_path: Path):
    (workload,) = of(tmp_path / "sweep", a_sweep(0, epochs=5) + a_sweep(10, epochs=10))
    assert workload.axes == ["optim", "epochs"] and workload.name == ""


def test_sweeps_of_other_models_are_workloads_of_their_own(tmp_path: Path):
    found = of(tmp_path / "sweep", a_sweep(0, model="mlp"), a_sweep(10, model="cnn"))
    assert sorted(w.name for w in found) == ["cnn", "mlp"]


def test_a_width_is_a_setting_of_one_model(tmp_path: Path):
    narrow, wide = a_sweep(0, **{"model.width": 16}), a_sweep(10, **{"model.width": 64})
    (workload,) = of(tmp_path / "sweep", narrow, wide)
    assert workload.axes == ["optim", "model.width"]


def test_more_seeds_and_wider_axes_remain_one_workload(tmp_path: Path):
    more = [{**made_run(0.9, optim="adam", seed=s, epochs=5), "run_id": f"a{s:07x}"} for s in range(3, 6)]
    wider = [{**made_run(0.9, optim="adam", optim__lr=1, epochs=5), "run_id": "b0000000"}]
    (workload,) = of(tmp_path / "sweep", a_sweep(0, epochs=5), more, wider)
    assert workload.axes == ["optim", "optim.lr"] and len(workload.replicates) == 6


def test_a_later_command_that_varies_the_length_makes_it_an_axis(tmp_path: Path):
    short, long = a_sweep(0, epochs=5), a_sweep(10, epochs=10)
    (workload,) = of(tmp_path / "sweep", short, short[:1] + long)
    assert workload.axes == ["optim", "epochs"]


@pytest.mark.parametrize(("crossed", "expected"), [(True, 1), (False, 2)])
def test_without_a_record_a_length_is_an_axis_where_it_is_crossed(tmp_path: Path, crossed: bool, expected: int):
    long = a_sweep(10, epochs=10)
    if not crossed:
        long = [{**run, "optim": {"adam": "adamw", "sgd": "lion"}[run["optim"]]} for run in long]
    make_sweep(tmp_path / "sweep", a_sweep(0, epochs=5) + long, choices=("epochs",))
    assert len(workloads(load(tmp_path / "sweep"), None, None)) == expected


def test_data_is_never_an_axis_though_one_command_varied_it(tmp_path: Path):
    found = of(tmp_path / "sweep", a_sweep(0, data="digits", epochs=5) + a_sweep(10, data="wine", epochs=5))
    assert [w.name for w in found] == ["digits", "wine"]


def test_a_change_of_data_is_said_before_the_answer(tmp_path: Path):
    easy = a_sweep(0, data_fingerprint="aaaa")
    hard = [run for run in a_sweep(10, data_fingerprint="bbbb") if run["optim"] == "adam"]
    folder = make_sweep(tmp_path / "sweep", easy + hard)
    text = " ".join(report(folder).split())
    warning = text.index("The data changed while these runs were made: there are 2 contents")
    assert warning < text.index("For data_fingerprint=aaaa: Use:") < text.index("For data_fingerprint=bbbb: Use:")
    page = (folder / "report.html").read_text()
    assert page.index("The data changed while these runs were made") < page.index("<h2>Use")


def test_one_content_read_from_two_places_is_one_data_set(tmp_path: Path):
    def at(first: int, path: str, fingerprint: str, optim: str) -> list[dict[str, Any]]:
        more = {"data": "csv", "data.path": path, "data_fingerprint": fingerprint}
        return [run | more | {"optim": optim} for run in a_sweep(first)[:3]]

    runs = at(0, "a.csv", "aaaa", "adam") + at(10, "b.csv", "aaaa", "sgd") + at(20, "c.csv", "cccc", "adam")
    make_sweep(tmp_path / "sweep", runs, choices=("data.path",))
    records = load(tmp_path / "sweep")
    found = workloads(records, None, None)
    assert [sorted(set(w.runs["optim"])) for w in found] == [["adam", "sgd"], ["adam"]]
    assert records.warnings == []  # another file is no change of data


def test_an_unfinished_workload_does_not_block_the_others(tmp_path: Path):
    begun = {**made_run(None, "interrupted", data="wine"), "run_id": "cafe0000"}
    failed = {**made_run(None, "failed", data="mnist"), "run_id": "cafe0001"}
    text = report(make_sweep(tmp_path / "sweep", [*a_sweep(0), begun, failed]))
    assert "Use:" in text
    assert "left out: wine: " in text and "left out: mnist: " in text


def test_two_workloads_are_one_where_data_model_and_length_are(tmp_path: Path):
    first = of(tmp_path / "a", a_sweep(0, epochs=5, data_fingerprint="aaaa"))[0]
    same = of(tmp_path / "b", a_sweep(0, epochs=5, data_fingerprint="aaaa", init="zeros"))[0]
    longer = of(tmp_path / "c", a_sweep(0, epochs=9, data_fingerprint="aaaa"))[0]
    other = of(tmp_path / "d", a_sweep(0, epochs=5, data_fingerprint="bbbb"))[0]
    assert identity(first) == identity(same)
    assert len({identity(w) for w in (first, longer, other)}) == 3


def test_every_command_is_recorded_once(optbench, folder: Path):
    grid = ["train", "-m", "optim=sgd,adam", "max_steps=2", "model.width=4", "hydra/launcher=inline"]
    assert optbench(*grid, "dry_run=true").code == 0
    assert not (folder / "outputs").exists()
    for command in (grid, grid, [*grid, "+", "seed=0", "+", "seed=1"]):
        assert optbench(*command).code == 0
    place = folder / "outputs" / "default"
    lines = [json.loads(line) for line in (place / FILE).read_text().splitlines()]
    assert [len(line["runs"]) for line in lines] == [2, 4]
    assert lines[1]["command"].endswith("+ seed=0 + seed=1 hydra/launcher=inline") or "+ seed=1" in lines[1]["command"]
    assert set(lines[0]["runs"]) == {p.name.rpartition("-")[2] for p in place.glob("*-s0-*")}


def test_lines_that_cannot_be_read_are_left_out_and_a_torn_one_spoils_no_other(tmp_path: Path):
    note(tmp_path, "one", ["a", "b"])
    with (tmp_path / FILE).open("a") as file:
        file.write('{"command": 3, "runs": ["x"]}\n[]\nnothing\n{"command": "torn", "ru')
    note(tmp_path, "two", ["c"])
    note(tmp_path, "one", ["a", "d"])  # the same command again, whose grid has grown
    assert launches(tmp_path) == [frozenset("abd"), frozenset("c")]
    shutil.rmtree(tmp_path / ".locks", ignore_errors=True)
    assert launches(tmp_path / "nowhere") == []
