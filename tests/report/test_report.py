"""``optbench report``: the answer is first, it is right, it says how sure it is, and it survives any records."""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from runner.errors import ConfigError, RecordError
from runner.report import rates, target
from runner.report.load import Records, load
from runner.report.settings import Workload, workloads
from runner.report.write import Asked
from runner.report.write import report as answer
from tests.support.composed import compose_job
from tests.support.made_sweep import made_run, make_sweep
from tests.support.records import Result, summary_of

PNG = b"\x89PNG\r\n\x1a\n"


def report(folder: str | Path, asked: Asked | None = None) -> str:
    """The whole of it: the text, and everything written."""
    found = answer(folder, asked)
    return found.text + found.write()


def only_workload(folder: Path) -> Workload:
    (workload,) = workloads(load(folder), None, None)
    return workload


def a_grid(rng: np.random.Generator, seeds: int = 5, better: float = 0.05) -> list[dict[str, object]]:
    """2 initializers × 2 optimizers × 3 rates; he_normal with adam at 0.01 is ``better``."""
    runs = []
    for seed in range(seeds):
        shared = rng.normal(0, 0.01)
        for init in ("he_normal", "xavier_uniform"):
            for optim in ("sgd", "adam"):
                for lr in (0.001, 0.01, 0.1):
                    value = 0.85 + shared + rng.normal(0, 0.003) - 0.02 * abs(math.log10(lr) + 2)
                    value += better * ((init, optim, lr) == ("he_normal", "adam", 0.01))
                    runs.append(made_run(value, init=init, optim=optim, optim__lr=lr, seed=seed))
    return runs


@pytest.fixture(scope="module")
def real_sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sweep that was really trained, in a folder of its own."""
    folder = tmp_path_factory.mktemp("real")
    axes = ["init=he,xavier", "optim=sgd,adam", "optim.lr=1e-3,1e-2,1e-1", "seeds=3", "diagnostics=true"]
    call = [sys.executable, "-m", "runner", "train", "-m", "name=small", *axes, "epochs=4", "model.width=16"]
    subprocess.run(call, cwd=folder, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return folder


def test_the_answer_comes_first_with_a_command_that_runs_and_what_a_new_seed_may_give(
    real_sweep: Path, optbench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(real_sweep)
    result: Result = optbench("report", "outputs/small")
    lines = result.out.splitlines()
    command = next(line for line in lines if line.startswith("optbench train"))
    assert lines.index(command) <= 3
    words = shlex.split(command)
    assert "epochs=4" in words and "model.width=16" in words
    promised = json.loads(Path("outputs/small/report/answer.json").read_text())[0]
    assert promised["command"] == command
    assert optbench(*words[1:], "seed=11").code == 0
    (fresh,) = (real_sweep / "outputs" / "default").glob("*-s11-*")
    setting = fresh.name.partition("-s11-")[0]
    judged = [summary_of(place) for place in Path("outputs/small").glob(f"{setting}-s*")]
    assert len(judged) == 3 and summary_of(fresh)["status"] == "completed"
    # What it promises of a new seed is Student's interval of the next value, which statistics' own tests draw.
    for title, measure, samples in (
        ("validation accuracy", "final_val_accuracy", 143),
        ("test accuracy", "test_accuracy", 359),
    ):
        values = np.array([summary[measure] for summary in judged])
        error = math.sqrt(max(values.var(ddof=1), 1 / (12 * samples**2)) * (1 + 1 / 3))
        low, high = (values.mean() + sign * stats.t.ppf(0.975, 2) * error for sign in (-1, 1))
        assert promised["measures"][title]["new_seed"] == pytest.approx([max(low, 0), min(high, 1)])


def test_every_command_it_gives_is_one(real_sweep: Path, optbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    commands = [line for line in optbench("report", "outputs/small").out.splitlines() if line.startswith("optbench")]
    assert len(commands) >= 2
    for command in commands:
        _, verb, *words = shlex.split(command)
        result = optbench(verb, *words[:1], "dry_run=true", *words[1:])
        assert result.code == 0, command
        assert "would run" in result.out


def test_the_recommended_command_is_the_run_that_was_judged(real_sweep: Path, job, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    report("outputs/small")
    command = json.loads(Path("outputs/small/report/answer.json").read_text())[0]["command"]
    monkeypatch.chdir(real_sweep)
    found = job(*shlex.split(command)[2:], "seed=1")
    assert list(Path("outputs/small").glob(f"*-{found.run_id}"))


def test_files_are_what_their_names_say(real_sweep: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    report("outputs/small")
    place = Path("outputs/small/report")
    index = pd.read_csv(place / "index.csv")
    assert set(index["file"]) | {"index.csv"} == {p.name for p in place.iterdir()}
    stems = {Path(f).stem for f in index["file"]}
    assert {"heatmap-init-optim", "learning-rate", "curves-step", "curves-train_seconds", "time-to-target"} <= stems
    assert {"layers", "settings", "variance-explained"} <= stems
    for name in index["file"]:
        file = place / name
        if name.endswith(".png"):
            assert file.read_bytes().startswith(PNG)
        elif name.endswith(".svg"):
            assert ElementTree.parse(file).getroot().get("aria-label")
        elif name.endswith(".csv"):
            assert len(pd.read_csv(file).columns)


def test_it_never_imports_torch(real_sweep: Path):
    code = "import sys; from runner.cli.main import main; main(['report', 'outputs/small']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=real_sweep, check=True, capture_output=True)


class Page(HTMLParser):
    """What a page refers to, and whether its tags close."""

    VOID = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "srcset") or (name.endswith("href") and tag not in ("a", "use")):
                self.outside.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_that_asks_for_nothing(real_sweep: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    report("outputs/small")
    text = Path("outputs/small/report.html").read_text()
    page = Page(text)
    assert [o for o in page.outside if not o.startswith(("data:", "#"))] == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert "default-src 'none'" in text
    assert "@import" not in text and "url(http" not in text


def test_a_planted_difference_is_found(tmp_path: Path):
    workload = only_workload(make_sweep(tmp_path / "sweep", a_grid(np.random.default_rng(0))))
    assert workload.words(0) == "he_normal, adam, optim.lr=0.01"
    assert workload.tied == []
    assert (workload.table["verdict"][1:] == "worse").all()


def simulated(rng: np.random.Generator, means: list[float], seeds: int) -> Workload:
    """A workload of one axis whose settings have known means; seeds are shared."""
    shared = rng.normal(0, 0.01, seeds)
    rows = [
        {"optim": f"o{k}", "seed": str(s), "run_id": f"{k}{s}", "status": "completed"}
        | {
            "final_val_accuracy": repr(float(m + shared[s] + rng.normal(0, 0.01))),
            "test_accuracy": repr(float(m + rng.normal(0, 0.01))),
        }
        for k, m in enumerate(means)
        for s in range(seeds)
    ]
    records = Records(Path("made"), pd.DataFrame(rows, dtype=str), ["optim", "seed"], {})
    (workload,) = workloads(records, None, None)
    return workload


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_no_winner_is_declared_where_nothing_differs(seeds: int):
    rng = np.random.default_rng(seeds)
    winners = worse = 0
    for _ in range(200):
        workload = simulated(rng, [0.9, 0.9, 0.9], seeds)
        winners += workload.tied == []
        worse += (workload.table["verdict"] == "worse").any()
    assert winners <= 0.05 * 200
    assert worse <= 0.05 * 200  # any setting at all wrongly told from the luckiest one


@pytest.mark.parametrize("seeds", [5, 10])
def test_a_difference_of_three_deviations_is_found(seeds: int):
    rng = np.random.default_rng(seeds)
    found = [simulated(rng, [0.9, 0.9, 0.95], seeds) for _ in range(50)]
    assert np.mean([w.table.at[0, "optim"] == "o2" and w.tied == [] for w in found]) >= 0.9


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_test_interval_of_the_best_covers_its_truth(seeds: int):
    """Validation chose, so validation flatters; the test measure had no part in the choice and does not."""
    rng = np.random.default_rng(seeds)
    covered = []
    for _ in range(400):
        row = simulated(rng, [0.9, 0.9, 0.9, 0.9], seeds).table.iloc[0]
        covered.append(row["test_low"] <= 0.9 <= row["test_high"])
    assert abs(np.mean(covered) - 0.95) <= 0.03  # 400 simulations: a standard error of 0.011


def test_diverged_and_failed_seeds_rank_a_setting_last(tmp_path: Path):
    runs = [made_run(0.8, optim="sgd", seed=s) for s in range(3)]
    runs += [made_run(0.99, optim="adam", seed=0), made_run(None, "diverged", optim="adam", seed=1)]
    runs += [made_run(0.98, optim="adam", seed=2)]
    runs += [made_run(None, "failed", optim="adamw", seed=s) for s in range(3)]
    folder = make_sweep(tmp_path / "sweep", runs)
    workload = only_workload(folder)
    assert list(workload.table["optim"]) == ["sgd", "adam", "adamw"]
    assert list(workload.table["verdict"]) == ["best", "diverges or fails", "diverges or fails"]
    text = report(folder)
    assert "1 run diverged" in text and "3 runs failed" in text


def test_one_seed_gives_no_interval_and_says_so(tmp_path: Path):
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9, optim="sgd"), made_run(0.91, optim="adam")])
    text = report(folder)
    assert "one seed: no interval" in text and "may be chance" in text
    (more,) = [line for line in text.splitlines() if "-m" in line and "seed=0,1,2,3,4,5" in line]
    assert "optim=adam" in more and "optim=sgd" in more  # the lucky first alone would stay the only one with seeds


def test_the_edge_of_the_learning_rates_is_warned_of_with_values_to_add(tmp_path: Path):
    runs = [made_run(0.7 + 0.1 * i, optim__lr=lr, seed=s) for i, lr in enumerate((0.001, 0.01, 0.1)) for s in range(3)]
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "wider learning-rate axis: the best is the largest tried" in text
    assert "optim.lr=0.32,1" in text


def curve(means: list[float], bad: list[int] | None = None) -> rates.Curve:
    lr = np.array([1e-3, 1e-2, 1e-1, 1.0])[: len(means)]
    values = np.array(means)
    trouble = np.array(bad or [0] * len(lr))
    return rates.Curve((), np.arange(len(lr)), lr, values, values, values, trouble, trouble)


def test_decades_within_by_hand():
    assert rates.decades_within(curve([0.9, 1.0, 1.0, 0.5]), 1.0, 5, True) == pytest.approx(0.5 + 1 + 0.1)
    assert rates.decades_within(curve([0.9, 1.0, 1.0, math.nan], [0, 0, 0, 3]), 1.0, 5, True) == pytest.approx(1.5)
    assert rates.decades_within(curve([2.0, 1.0, 1.0, 2.0]), 1.0, 5, False) == pytest.approx(0.05 + 1 + 0.05)
    assert rates.decades_within(curve([1.0, 1.0, 0.1], [0, 1, 0]), 1.0, 5, True) == 0


def test_edge_by_hand():
    assert rates.edge(curve([0.9, 1.0, 0.9]), True) is None
    assert rates.edge(curve([0.8, 0.9, 1.0]), True) == ("largest", [0.32, 1.0])
    assert rates.edge(curve([1.0, 0.9, 0.8]), True) == ("smallest", [0.0001, 0.00032])
    assert rates.edge(curve([1.0, 0.9, 0.8]), False) == ("largest", [0.32, 1.0])
    assert rates.edge(curve([0.8, 1.0, 1.0]), True) is None
    assert rates.edge(curve([0.8, 1.0, math.nan], [0, 0, 2]), True) is None  # beyond it diverges: not an edge


def test_time_to_target_keeps_runs_that_never_reach_it(tmp_path: Path):
    runs = [made_run(0.9, optim="sgd", seed=0), made_run(0.5, optim="sgd", seed=1)]
    runs += [made_run(0.9, "diverged", optim="sgd", seed=2), made_run(0.8, optim="adam", seed=0)]
    records = load(make_sweep(tmp_path / "sweep", runs))
    (workload,) = workloads(records, None, None)
    found = target.times(workload, records, 0.7)
    assert len(found) == 4
    by_status = found.assign(status=workload.runs.set_index("run_id")["status"].reindex(found.index))
    assert sorted(by_status["reached"]) == [False, False, True, True]
    assert not by_status.loc[by_status["status"] == "diverged", "reached"].any()
    section = target.time_to_target(workload, records, 0.7, 1.0)
    assert section is not None
    table = section.tables[0].frame.set_index("optim")
    assert table.at["sgd", "runs"] == 3 and table.at["sgd", "reached"] == 1
    # reached at 80 steps of 100: S = 2/3 after it
    assert table.at["sgd", "restricted_mean_steps"] == pytest.approx(80 + 20 * 2 / 3)
    assert table.at["sgd", "par10_steps"] == pytest.approx((80 + 1000 + 1000) / 3)


def test_torn_and_missing_records_are_named(tmp_path: Path):
    runs = [made_run(0.9, optim=o, seed=s) for o in ("sgd", "adam") for s in range(3)]
    runs += [made_run(None, "running", optim="adamw"), made_run(0.9, "odd", optim="adamw", seed=1)]
    folder = make_sweep(tmp_path / "sweep", runs)
    places = sorted(p for p in folder.iterdir() if p.is_dir())
    with (places[0] / "metrics.csv").open("a") as file:
        file.write("120,6,0.")
    (places[1] / "metrics.csv").write_text("")
    (places[2] / "metrics.csv").write_bytes(b"step,val_accuracy\n\xff\xfe,x\n1,0.5,9,9,9\n\0,,\n")
    of_sgd = [p for p in places if "-sgd-" in p.name]
    (of_sgd[0] / "summary.json").unlink()
    shutil.rmtree(of_sgd[1])
    with (folder / "runs.csv").open("a") as file:
        file.write("a,b,c\nhe_normal,adam")
    text = " ".join(report(folder).split())
    assert "torn last row, left out" in text
    assert "without rows in metrics.csv" in text
    assert "rows of metrics.csv files cannot be read" in text
    assert "without summary.json" in text
    assert "without a folder" in text
    assert "runs.csv is torn: row 10, the last row left out" in text
    assert "a status that is none" in text
    assert "interrupted, not counted" in text


def test_runs_on_the_way_are_named_and_not_counted(tmp_path: Path):
    from runner.run.lock import holding

    runs = [made_run(0.9, seed=0), made_run(None, "running", seed=1, run_id="0000cafe")]
    folder = make_sweep(tmp_path / "sweep", runs)
    with holding(folder / ".locks" / "0000cafe"):
        assert "1 run on the way, not counted yet" in report(folder)


def test_mixed_measures_are_judged_apart(tmp_path: Path):
    runs = [made_run(0.9, seed=s) for s in range(2)]
    for s in range(2):
        numbers = {"final_val_loss": 0.1, "final_val_r2": 0.8 + s / 10, "test_r2": 0.7}
        runs.append({**made_run(None, data="linear_regression", seed=s), **numbers})
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "For digits:" in text and "validation accuracy" in text
    assert "For linear_regression:" in text and "validation r2" in text
    assert len([line for line in text.splitlines() if re.match("optbench train (?!-m)", line)]) == 2


def test_several_data_sets_are_scored_together(tmp_path: Path):
    runs = [
        made_run((0.9 if optim == "adam" else 0.6) + seed / 100, optim=optim, data=data, seed=seed)
        for optim in ("adam", "sgd")
        for data in ("digits", "mnist", "wine")
        for seed in range(3)
    ]
    folder = make_sweep(tmp_path / "sweep", runs)
    report(folder)
    table = pd.read_csv(folder / "report" / "across.csv").set_index("optim")
    assert table.at["adam", "score"] == 1.0 and table.at["sgd", "score"] == 0.0
    assert table.at["adam", "mean_rank"] == 1.0 and table.at["sgd", "targets_reached"] == 0
    page = (folder / "report.html").read_text()
    assert "Across data sets" in page and Page(page).open == []


def test_a_run_without_the_measure_is_named(tmp_path: Path):
    runs = [made_run(0.9, seed=0), {**made_run(None, seed=1), "final_val_loss": 0.5}]
    assert "1 run ended without validation accuracy" in report(make_sweep(tmp_path / "sweep", runs))


HOSTILE = ["<script>alert(1)</script>", "=HYPERLINK(1)", "$\\frac{", "a\x07b", "名前", "'; DROP", "x" * 500, "\u202e"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_they_are(tmp_path: Path, name: str):
    runs = [made_run(0.8 + s / 100, optim=o, seed=s) for o in ("adam", "sgd") for s in range(2)]
    runs = [{**r, "optim": name if r["optim"] == "sgd" else "adam", "stop_reason": name} for r in runs]
    folder = tmp_path / "sweep"
    make_sweep(folder, runs, rows=False)
    text = report(folder)
    assert "Use:" in text
    page = (folder / "report.html").read_text()
    assert "<script>alert" not in page
    assert Page(page).open == []
    for svg in (folder / "report").glob("*.svg"):
        ElementTree.parse(svg)
    assert not re.search(r"^[=@]", (folder / "report" / "settings.csv").read_text(), re.MULTILINE)


ODD = [b"nan", b"inf", b"1e999", b"", b"\0", b"\xff", b'"', b",", b"\n", b"$", b"<b>", b"-5", b"running", b"9" * 400]


@pytest.mark.parametrize("seed", range(8))
def test_damaged_records_never_end_in_a_traceback(real_sweep: Path, tmp_path: Path, seed: int):
    folder = tmp_path / "small"
    shutil.copytree(real_sweep / "outputs" / "small", folder)
    random = Random(seed)
    files = [folder / "runs.csv"] * 3 + sorted(folder.glob("*/metrics.csv")) + sorted(folder.glob("*/layers.csv"))
    for _ in range(20):
        file = random.choice(files)
        lines = file.read_bytes().split(b"\n")
        at = random.randrange(len(lines))
        cells = lines[at].split(b",")
        cells[random.randrange(len(cells))] = random.choice(ODD)
        lines[at] = b",".join(cells)
        text = b"\n".join(lines)
        file.write_bytes(text[: random.randrange(len(text) + 1)] if random.random() < 0.1 else text)
    try:
        said = report(folder)
    except ConfigError as error:  # where runs.csv has nothing left to judge by
        said = str(error)
    assert re.search(r"runs in|no run has ended|no rows", said)


def test_a_recommended_setting_that_is_not_an_option_here_says_so(tmp_path: Path):
    runs = [made_run(0.8, optim="sgd", seed=s) for s in range(2)] + [
        made_run(0.9, optim="mine", seed=s) for s in range(2)
    ]
    text = " ".join(report(make_sweep(tmp_path / "sweep", runs)).split())
    assert "optbench train optim=mine" in text
    assert "This command could not be checked: optim=mine is not an option" in text
    assert "Surer" not in text


def test_a_newcomer_on_lucky_seeds_does_not_lead(tmp_path: Path):
    """Seeds differ by more than settings do: a mean over other seeds says nothing until the seeds' part is taken off."""
    luck = [0.0, 0.01, 0.02, 0.03, 0.04, 0.05]
    runs = [made_run(0.9 + luck[s], optim="adam", seed=s) for s in range(6)]
    runs += [made_run(0.896 + luck[s] + 1e-4 * s, optim="sgd", seed=s) for s in range(3, 6)]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs))
    assert list(workload.table["optim"]) == ["adam", "sgd"]
    assert workload.table.at[1, "mean"] > workload.table.at[0, "mean"]
    assert workload.table.at[1, "difference"] < 0


def test_what_has_no_value_yet_is_not_said_to_have_failed(tmp_path: Path):
    runs = [made_run(0.9 + s / 1000, optim="adam", seed=s) for s in range(3)]
    runs += [made_run(None, "interrupted", optim=o, seed=0) for o in ("sgd", "adamw")]
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "2 of the others have no value yet" in text and "diverged or failed" not in text


def test_weights_to_start_from_are_an_axis(folder: Path, optbench):
    assert optbench("train", "-m", "name=first", "max_steps=1,200", "model.width=8", "save=last").code == 0
    places = sorted(str(p) for p in Path("outputs/first").iterdir() if p.is_dir() and not p.name.startswith("."))
    axis = f"init.run={','.join(places)}"
    assert optbench("train", "-m", "init=pretrained", axis, "max_steps=1", "model.width=8", "seed=0,1").code == 0
    out = optbench("report", "outputs/default").out
    assert "2 settings (init.run 2)" in out and "left out" not in out
    command = next(line for line in out.splitlines() if line.startswith("optbench"))
    assert optbench(*shlex.split(command)[1:], "dry_run=true").code == 0


def test_every_follow_up_of_a_single_run_is_a_command(real_sweep: Path, optbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    (place,) = Path("outputs/small").glob("he_normal-sgd-lr0.1-s1-*")
    commands = [line for line in optbench("report", str(place)).out.splitlines() if line.startswith("optbench")]
    assert len(commands) >= 3
    for command in commands:
        _, verb, *words = shlex.split(command)
        assert optbench(verb, *words[:1], "dry_run=true", *words[1:]).code == 0, command


def test_a_single_runs_report_is_a_page_too(real_sweep: Path, optbench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    place = next(p for p in Path("outputs/small").iterdir() if (p / "config.yaml").is_file())
    result = optbench("report", str(place))
    assert result.code == 0
    assert "only one setting was run" in result.out and "1 run in" in result.out
    page = (place / "report.html").read_text()
    assert "The run in full" in page and "Learning curves" in page
    assert Page(page).open == []


def test_runs_csv_is_not_needed(real_sweep: Path, tmp_path: Path):
    copy = tmp_path / "small"
    shutil.copytree(real_sweep / "outputs" / "small", copy)
    (copy / "runs.csv").unlink()
    assert "12 settings" in report(copy)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["nowhere"], "is no folder"),
        (["."], "holds no runs; did you mean"),
        (["outputs/smal"], "did you mean 'small'?"),
        (["outputs/small", "--metric", "val_acuracy"], "did you mean 'accuracy'?"),
        (["outputs/small", "--metric", "test_accuracy"], "choose by val_accuracy"),
        (["outputs/small", "--axes", "init,optm"], "did you mean 'optim'?"),
        (["outputs/small", "--axes", "init"], "takes two axes"),
        (["outputs/small", "--axes", "init,init"], "two different axes"),
        (["outputs/small", "--target", "high"], "must be a finite number"),
        (["outputs/small", "--target", "nan"], "must be a finite number"),
        (["outputs/small", "--within", "0"], "--within must be"),
    ],
)
def test_what_cannot_be_reported_is_refused(real_sweep: Path, optbench, monkeypatch, argv: list[str], said: str):
    monkeypatch.chdir(real_sweep)
    shutil.rmtree("outputs/small/report", ignore_errors=True)
    result = optbench("report", *argv)
    assert result.code == 2 and said in result.err
    assert not Path("outputs/small/report").exists()


def test_an_asked_for_target_and_axes_are_shown(real_sweep: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    report("outputs/small", Asked(target=0.5, axes=("optim.lr", "optim")))
    page = Path("outputs/small/report.html").read_text()
    assert "validation accuracy of at least 0.5." in page
    assert Path("outputs/small/report/heatmap-optim_lr-optim.png").is_file()
    assert not Path("outputs/small/report/heatmap-init-optim.png").is_file()  # an earlier report's is not left behind


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path):
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9)])
    (folder / "report").write_text("a file of the user's")
    with pytest.raises(RecordError, match="cannot write"):
        report(folder)
    assert (folder / "report").read_text() == "a file of the user's"


def test_the_answer_stands_even_where_it_cannot_be_written(tmp_path: Path, optbench):
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9)])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "report").symlink_to(elsewhere)
    result = optbench("report", str(folder))
    assert result.code == 1 and "is a link" in result.err and "Use:" in result.out
    assert list(elsewhere.iterdir()) == []


def test_nothing_ended_yet_is_no_traceback(tmp_path: Path):
    folder = make_sweep(tmp_path / "sweep", [made_run(None, "interrupted")])
    with pytest.raises(ConfigError, match="nothing to report yet"):
        report(folder)


def test_a_measure_of_ones_own_needs_a_direction(tmp_path: Path):
    runs = [{**made_run(0.9, optim=o), "final_val_mine": v} for o, v in (("sgd", 1.0), ("adam", 2.0))]
    folder = make_sweep(tmp_path / "sweep", runs)
    with pytest.raises(ConfigError, match="--better higher"):
        report(folder, Asked(metric="mine"))
    assert "optim=sgd" in report(folder, Asked(metric="mine", better="lower")).splitlines()[3]


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim=custom", "optim.target=torch.optim.RMSprop", "optim.args={alpha: 0.9}"],
        ["optim=custom", "optim.target=torch.optim.RMSprop,torch.optim.Adamax"],
        ["model=custom", "model.target=tests.own_parts.Net", "optim.lr=0.01,0.1"],
        ["metrics=[tests.own_parts.top2]", "optim.lr=0.01,0.1"],
        ["optim=collection", "optim.name=lion,adan", "optim.lr=1e-3"],
        ["regularization=[dropout,l2]", "regularization.dropout.p=0.1,0.2"],
        ["augment=[noise,crop]", "augment.crop.pad=1,2"],
        ["scheduler=multistep", "scheduler.milestones=[0.2,0.6]", "scheduler.warmup=0.1"],
        ["optim=gd", "optim.lr=0.01,0.1"],
        ["data.split_seed=3", "init=constant", "init.value=-0.25,0.5"],
        ["loss=mse", "optim.betas=[0.8,0.99],[0.9,0.9]"],
        ["stop=target", "target.metric=accuracy", "target.value=0.01,0.99"],
        ["target.metric=val_loss", "target.value=0.5", "optim.lr=0.01,0.1"],
        ["stop=[steps,plateau]", "stop.steps.most=1,2"],
        ["data.folds=3", "data.fold=0,1,2", "optim.lr=0.01,0.1"],
        ["data.bootstrap=0,1", "optim.lr=0.01,0.1"],
    ],
    ids=" ".join,
)
def test_the_recommended_command_is_complete(overrides: list[str], optbench, folder: Path):
    """What it composes to is a run that was judged, whatever the sweep was of."""
    assert optbench("train", "-m", "name=made", "seed=0,1", "max_steps=2", *overrides).code == 0
    command = next(x for x in optbench("report", "outputs/made").out.splitlines() if x.startswith("optbench"))

    found = compose_job([*shlex.split(command)[2:], "seed=1"])
    assert list(Path("outputs/made").glob(f"*-{found.run_id}")), command


def test_folds_are_replicates_and_no_axis(optbench, folder: Path):
    sweep = ["train", "-m", "data.folds=3", "data.fold=0,1,2", "optim.lr=0.01,0.1", "max_steps=5", "model.width=8"]
    assert optbench(*sweep).code == 0
    workload = only_workload(folder / "outputs" / "default")
    assert workload.axes == ["optim.lr"] and workload.replicate_word == "fold"
    assert workload.replicates == ["data.fold=0", "data.fold=1", "data.fold=2"]
    assert list(workload.table["n"]) == [3, 3]
    assert workload.step == 1 / 479  # of 1438 samples, cut into 480, 479 and 479
    assert any("Bengio" in caveat for caveat in workload.caveats)
    text = optbench("report", "outputs/default").out
    assert "mean of 3 folds" in text
    more = next(line for line in text.splitlines() if "data.split_seed=" in line)
    assert optbench("train", "-m", "dry_run=true", *shlex.split(more)[3:]).code == 0
    words = dict(w.split("=", 1) for w in shlex.split(more) if "=" in w)
    splits = len(words["data.split_seed"].split(","))
    assert words["data.fold"] == "0,1,2" and words["data.folds"] == "3" and splits == 2  # 6 pairs are enough


def test_other_numbers_of_folds_are_not_chosen_among(optbench, folder: Path):
    few = ["optim.lr=0.01,0.1", "max_steps=2", "model.width=8"]
    grid = ["+", "data.folds=2", "data.fold=0,1", "+", "data.folds=3", "data.fold=0,1,2"]
    assert optbench("train", "-m", *few, *grid).code == 0
    found = workloads(load(folder / "outputs" / "default"), None, None)
    assert [len(w.replicates) for w in found] == [2, 3] and all(w.axes == ["optim.lr"] for w in found)


def test_a_target_that_is_not_obeyed_is_no_axis(optbench, folder: Path):
    for seed, value in ((0, 0.5), (1, 0.9)):
        target = ["target.metric=val_accuracy", f"target.value={value}"]
        assert optbench("train", "-m", f"seed={seed}", "optim.lr=0.01,0.1", "max_steps=2", *target).code == 0
    assert only_workload(folder / "outputs" / "default").axes == ["optim.lr"]


def test_options_of_ones_own_are_composed_from_their_folder(folder: Path, optbench):
    own = folder / "mine" / "init"
    own.mkdir(parents=True)
    (own / "tiny.yaml").write_text("# mine\n_option_: tiny\n_target_: runner.init.normal\nstd: 0.01\nbias: 0.0\n")
    command = ["train", "-m", "--config-dir", "mine", "init=tiny", "optim.lr=0.01,0.1", "seed=0,1", "max_steps=2"]
    assert optbench(*command).code == 0
    unaware = optbench("report", "outputs/default").out
    assert "could not be checked" in unaware and "init=tiny" in unaware and "max_steps=2" in unaware
    aware = optbench("report", "outputs/default", "--config-dir", "mine").out
    assert "could not be checked" not in aware and "optbench train --config-dir mine " in aware and "init=tiny" in aware


def test_a_newcomer_with_fewer_seeds_can_lead_and_is_compared_on_those_it_shares(tmp_path: Path):
    rng = np.random.default_rng(0)
    runs = [made_run(0.9 + rng.normal(0, 0.004), optim=o, seed=s) for o in ("sgd", "adam") for s in range(12)]
    runs += [made_run(0.98 + rng.normal(0, 0.004), optim="adamw", seed=s) for s in range(5)]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs))
    assert workload.table.at[0, "optim"] == "adamw"
    assert list(workload.table["pairs"][1:]) == [5, 5] and list(workload.table["verdict"][1:]) == ["worse", "worse"]


def test_settings_with_the_same_trouble_are_compared_all_the_same(tmp_path: Path):
    rng = np.random.default_rng(0)
    runs = [made_run(None, "diverged", optim=o, seed=0) for o in ("sgd", "adam")]
    runs += [made_run(0.9 + rng.normal(0, 0.02), optim=o, seed=s) for o in ("sgd", "adam") for s in range(1, 5)]
    workload = only_workload(make_sweep(tmp_path / "sweep", runs))
    assert list(workload.table["verdict"]) == ["best", "tied"]


def test_two_seeds_that_agree_prove_nothing(tmp_path: Path):
    runs = [made_run(k / 143, optim=o, seed=s) for o, k in (("sgd", 100), ("adam", 104)) for s in range(2)]
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "share fewer than 3 seeds" in text
    (low, high) = json.loads((tmp_path / "sweep/report/answer.json").read_text())[0]["measures"]["validation accuracy"][
        "interval"
    ]
    assert high - low > 0.01  # a step of 1/143 is the least that two seeds leave open


def test_seeds_that_change_nothing_are_said_to(tmp_path: Path):
    runs = [
        {**made_run(None, optim=o, seed=s), "final_val_loss": v}
        for o, v in (("sgd", 0.25), ("adam", 0.125))
        for s in range(3)
    ]
    text = " ".join(report(make_sweep(tmp_path / "sweep", runs)).split())
    assert "seeds give identical results" in text and "moves in steps" not in text


def test_seeds_that_are_not_shared_are_asked_for(tmp_path: Path):
    runs = [made_run(0.9, optim="adam", seed=s) for s in range(3)] + [
        made_run(0.6, optim="sgd", seed=s) for s in range(3, 6)
    ]
    text = report(make_sweep(tmp_path / "sweep", runs))
    (more,) = [line for line in text.splitlines() if "seed=0,1,2,3,4,5" in line and " + " in line]
    assert "optim=adam" in more and "optim=sgd" in more
    assert "judged on that one" not in text  # no seed has both


def test_a_union_of_grids_misses_nothing_and_a_hole_in_a_grid_is_named(tmp_path: Path):
    union = [
        made_run(0.9, optim=o, optim__lr=lr, seed=s)
        for o, lrs in (("sgd", (0.1, 1)), ("adam", (0.001, 0.01)))
        for lr in lrs
        for s in range(3)
    ]
    assert "missing" not in (
        report(make_sweep(tmp_path / "union", union)) and (tmp_path / "union/report.html").read_text()
    )
    holed = [
        r
        for r in a_grid(np.random.default_rng(0))
        if not (r["optim"] == "sgd" and r["optim.lr"] == 0.1 and r["init"] == "he_normal")
    ]
    report(make_sweep(tmp_path / "holed", holed))
    assert "5 runs of the grid are missing" in (tmp_path / "holed/report.html").read_text()
    assert len(pd.read_csv(tmp_path / "holed/report/missing.csv")) == 5


def test_failed_runs_are_not_called_diverged(tmp_path: Path):
    runs = [made_run(0.9, optim__lr=0.01, seed=s) for s in range(2)] + [
        made_run(None, "failed", optim__lr=0.1, seed=s) for s in range(2)
    ]
    report(make_sweep(tmp_path / "sweep", runs))
    points = pd.read_csv(tmp_path / "sweep/report/learning-rate-points.csv").set_index("optim.lr")
    assert points.at[0.1, "diverged"] == 0 and points.at[0.1, "failed"] == 2
    assert pd.read_csv(tmp_path / "sweep/report/learning-rate.csv")["diverges_from_lr"].isna().all()


def test_a_single_run_is_recommended_with_its_seed(real_sweep: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(real_sweep)
    (place,) = Path("outputs/small").glob("he_normal-sgd-lr0.1-s1-*")
    command = next(line for line in report(place).splitlines() if line.startswith("optbench"))
    assert "seed=1" in command
    assert [p for p in report(place).splitlines() if p.startswith("optbench train -m name=small ")]


def test_a_mark_that_a_spreadsheet_puts_first_is_no_part_of_a_name(tmp_path: Path):
    folder = make_sweep(tmp_path / "sweep", [made_run(0.9, init="zeros"), made_run(0.8, init="default")])
    runs = folder / "runs.csv"
    runs.write_bytes(b"\xef\xbb\xbf" + runs.read_bytes())
    assert "optbench train init=zeros" in report(folder)


def test_numbers_that_are_none_are_no_measurement(tmp_path: Path):
    runs = [made_run(v, seed=s) for s, v in enumerate((1e308, -1e308, 0.9))] + [made_run(0.8, seed=10**25)]
    text = report(make_sweep(tmp_path / "sweep", runs))
    assert "2 runs ended without validation accuracy" in text and "seed=-" not in text


def test_commands_for_runs_that_lie_elsewhere_say_where_to_start(tmp_path: Path):
    folder = make_sweep(tmp_path / "there" / "outputs" / "mine", [made_run(0.9, seed=s) for s in range(2)])
    assert f"(from {tmp_path / 'there'})" in report(folder)


BROWSER = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_a_browser_opens_it_without_a_complaint_or_a_request_and_sorts(real_sweep: Path, tmp_path: Path):
    """The page is opened as a file; a probe clicks a heading twice and writes down what the column then says."""
    report(real_sweep / "outputs" / "small")
    page = (real_sweep / "outputs" / "small" / "report.html").read_text()
    probe = """<script>
      addEventListener('load', () => {
        const table = [...document.querySelectorAll('table')].find(t => t.rows[0].textContent.includes('verdict'));
        const at = [...table.rows[0].cells].findIndex(c => c.textContent === 'mean');
        const column = () => [...table.tBodies[0].rows].map(r => Number(r.cells[at].dataset.v));
        const button = table.rows[0].cells[at].querySelector('button');
        button.click(); const up = column(); button.click(); const down = column();
        const found = {up, down, sorted: table.rows[0].cells[at].getAttribute('aria-sort'),
          requests: performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:')),
          wide: document.documentElement.scrollWidth - innerWidth};
        document.body.dataset.probe = JSON.stringify(found);
      });</script></body>"""
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("</body>", probe))
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=390,800"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    done = subprocess.run([BROWSER, *flags, probed.as_uri()], capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr, done.stderr
    match = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert match is not None, done.stderr
    found = json.loads(match[1].replace("&quot;", '"'))
    assert found["up"] == sorted(found["up"]) and found["down"] == sorted(found["up"], reverse=True)
    assert len(found["up"]) == 12 and found["sorted"] == "descending"
    assert found["requests"] == []
    assert found["wide"] <= 0  # nothing sticks out of a phone's screen
