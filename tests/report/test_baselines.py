"""The recommended setting beside simple models: what is said first, and what is shown."""

import csv
import json
import math
from pathlib import Path

import pytest

from runner.report.load import Records, load
from runner.report.sections import baselines
from runner.report.settings import Workload
from runner.report.workloads import workloads
from runner.report.write import Asked
from runner.run.baselines import COLUMNS
from tests.support.made_sweep import made_run, make_sweep
from tests.support.reports import report

SIZES = {"val_samples": 200, "val_classes": 2, "val_largest_class": 110, "val_smallest_class": 90}
SKEWED = {"val_samples": 200, "val_classes": 2, "val_largest_class": 152, "val_smallest_class": 48}


def a_run(accuracy: float, seed: int, called: int = 2, balanced: float | None = None, **more) -> dict[str, object]:
    run = made_run(accuracy, seed=seed, **more)
    balanced = accuracy if balanced is None else balanced
    return run | SIZES | {"final_val_balanced_accuracy": balanced, "final_val_predicted_classes": called}


def measured(folder: Path, *models: tuple[str, str, float], measure: str = "val_accuracy", **split: object) -> None:
    """Write what models reach on a split, by name and kind."""
    path = folder / "baselines.csv"
    there = path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if not there:
            writer.writeheader()
        for name, kind, value in models:
            reached = "" if math.isnan(value) else repr(value)
            row = {"baseline": name, "kind": kind, "status": "ok", measure: reached}
            writer.writerow({**row, **{key.replace("__", "."): value for key, value in split.items()}})


def read(folder: Path, metric: str | None = None) -> tuple[Workload, Records]:
    records = load(folder)
    (workload,) = workloads(records, metric, None)
    return workload, records


def said(folder: Path) -> tuple[str, ...]:
    workload, records = read(folder)
    return baselines.warnings(workload, records, baselines.beside(workload, records))


TABLE = (("majority", "trivial", 0.55), ("logistic", "linear", 0.8), ("trees", "trees", 0.85))


def test_a_network_that_beats_them_all_is_warned_of_nothing(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.95 + seed / 200, seed) for seed in range(3)])
    measured(folder, *TABLE)
    assert said(folder) == ()


def test_a_constant_classifier_is_said_first(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.55, seed, called=1) for seed in range(3)])
    measured(folder, *TABLE)
    constant, trivial, *models = said(folder)
    assert constant.startswith("The recommended setting predicts one and the same class for every validation sample")
    assert "no better than a trivial prediction" in trivial and "naming the largest class" in trivial
    assert len(models) == 2 and "the network is not needed here" in models[0]
    answer = report(folder) and json.loads((folder / "report" / "answer.json").read_text())[0]
    assert answer["warnings"][0] == constant


def test_one_seed_that_predicts_one_class_is_counted(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.95, seed, called=1 if seed == 2 else 2) for seed in range(3)])
    assert said(folder)[0].startswith("1 of the recommended setting's 3 runs predict one and the same class")


def test_what_no_model_can_tell_is_said_to_be_the_inputs(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.54 + seed / 100, seed) for seed in range(3)])
    measured(folder, ("majority", "trivial", 0.55), ("logistic", "linear", 0.56), ("trees", "trees", 0.5))
    (only,) = said(folder)
    assert "A logistic regression (0.56) and boosted trees (0.5) are no better: the inputs may not tell" in only


def test_targets_that_are_not_learned_may_be_too_large(tmp_path: Path) -> None:
    runs = [a_run(0.5, seed) | {"final_val_r2": -4.0 - seed, "data.normalize_target": "none"} for seed in range(3)]
    folder = make_sweep(tmp_path / "s", runs, choices=["data.normalize_target"])
    measured(folder, ("mean", "trivial", -0.1), measure="val_r2", data__normalize_target="none")
    workload, records = read(folder, "val_r2")
    trivial, scaled = baselines.warnings(workload, records, baselines.beside(workload, records))
    assert "no better than a trivial prediction" in trivial and "data.normalize_target=standard" in scaled


def test_a_lead_that_seeds_leave_open_is_not_clear(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(v, seed) for seed, v in enumerate((0.5, 0.6, 0.7))])
    measured(folder, ("majority", "trivial", 0.55))
    assert said(folder)[0].startswith("The recommended setting is not clearly better than a trivial prediction")
    measured(folder, ("logistic", "linear", 0.598))
    assert "does not clearly beat it" not in " ".join(said(folder))


def test_a_small_lead_on_few_samples_may_be_chance_and_other_splits_would_tell(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.6 + seed / 1000, seed) for seed in range(3)])
    measured(folder, ("majority", "trivial", 0.55))
    (only,) = said(folder)
    assert "little better" in only and "data.split_seed=0,1,2,3,4" in only


def test_a_model_that_needs_no_tuning_and_is_as_good_is_named(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(v, seed) for seed, v in enumerate((0.79, 0.8, 0.81))])
    measured(folder, ("majority", "trivial", 0.5), ("logistic", "linear", 0.97), ("trees", "trees", 0.795))
    linear, trees = said(folder)
    assert linear.startswith("A logistic regression reaches 0.97 on the same data, the recommended setting 0.8 (95 %")
    assert linear.endswith("the network is not needed here.")
    assert trees.startswith("Boosted trees reach 0.795") and trees.endswith("does not clearly beat it.")


def test_of_several_n_grams_the_best_is_named_and_less_loss_is_better(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.5, seed) for seed in range(3)])
    table = (("unigram", "trivial", 2.0), ("bigram", "ngram", 0.6), ("trigram", "ngram", 0.4))
    measured(folder, *table, measure="val_loss")
    workload, records = read(folder, "val_loss")
    (only,) = baselines.warnings(workload, records, baselines.beside(workload, records))
    assert only.startswith("Counting what follows two characters reaches 0.4")


def test_each_run_is_held_against_the_baselines_of_its_own_split(tmp_path: Path) -> None:
    runs = [a_run(v, seed) | {"data_fingerprint": f"f{seed}"} for seed, v in enumerate((0.6, 0.7, 0.8))]
    folder = make_sweep(tmp_path / "s", runs)
    text = (folder / "runs.csv").read_text().replace("data_fingerprint", "data.split_seed")
    header, *lines = text.splitlines()
    at = header.split(",").index("data.split_seed")
    cells = [header.split(","), *(line.split(",") for line in lines)]
    moved = [[row[at].replace("f", "") if row is not cells[0] else row[at], *row[:at], *row[at + 1 :]] for row in cells]
    (folder / "runs.csv").write_text("\n".join(",".join(row) for row in moved) + "\n")
    for split in range(3):
        measured(folder, ("majority", "trivial", 0.55 + split / 10), data__split_seed=split)
    workload, records = read(folder)
    found = baselines.beside(workload, records)
    assert found is not None and found.splits == 3
    (trivial,) = found.all
    assert trivial.value == pytest.approx(0.65) and trivial.ahead.mean == pytest.approx(0.05)
    assert trivial.is_beaten  # by 0.05 on every split, though the splits themselves differ by more
    assert baselines.trivial_value(workload, records) == pytest.approx(0.65)


def test_without_a_file_it_is_a_caveat_and_what_is_trivial_is_told_from_the_sizes(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.9, seed) for seed in range(3)])
    workload, records = read(folder)
    assert baselines.beside(workload, records) is None and said(folder) == ()
    assert "no simple baselines were measured beside these runs" in " ".join(report(folder).split())
    assert baselines.trivial_value(workload, records) == pytest.approx(110 / 200)
    balanced, _ = read(folder, "val_balanced_accuracy")
    assert baselines.trivial_value(balanced, records) == 0.5
    loss, _ = read(folder, "val_loss")
    assert baselines.trivial_value(loss, records) == pytest.approx(0.9)  # at step 0


@pytest.mark.parametrize("content", ["", "mine\n1\n", "\0\0", "baseline,kind\nmajority"])
def test_a_file_that_is_none_is_as_if_there_were_none(tmp_path: Path, content: str) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.9, seed) for seed in range(3)])
    (folder / "baselines.csv").write_text(content)
    workload, records = read(folder)
    assert baselines.beside(workload, records) is None


def test_the_page_has_a_section_a_plot_and_a_table_and_the_terminal_a_line(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.9 + seed / 100, seed) for seed in range(3)])
    measured(folder, *TABLE, ("failing", "trees", math.nan))
    text = report(folder)
    assert "naming the largest class for every sample 0.55, a logistic regression 0.8, boosted trees 0.85." in text
    assert "Against simple baselines" in (folder / "report.html").read_text()
    with (folder / "report" / "baselines.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["val_accuracy"] for row in rows] == ["0.55", "0.8", "0.85", ""]
    assert float(rows[1]["ahead"]) == pytest.approx(0.11)
    assert (folder / "report" / "baselines.png").is_file()
    workload, records = read(folder)
    section = baselines.section(workload, baselines.beside(workload, records))
    assert section is not None and section.plots[0].chart is not None
    chart = json.loads(json.dumps(section.plots[0].chart()))
    assert chart["data"][1]["name"].startswith("the recommended") and chart["data"][3]["x"] == [0.8, 0.8]
    assert chart["data"][0]["x"] == pytest.approx([0.9, 0.91, 0.92])
    assert chart["layout"]["meta"]["panels"] == 1


def test_a_single_runs_folder_finds_the_file_beside_it(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path / "s", [a_run(0.9, seed) for seed in range(3)])
    measured(folder, *TABLE)
    place = next(p for p in folder.iterdir() if p.name.endswith("00000000"))
    (place / "config.yaml").write_text("{}")
    workload, records = read(place)
    found = baselines.beside(workload, records)
    assert found is not None and len(found.known) == 3


def test_skewed_classes_are_judged_by_balanced_accuracy_in_its_own_steps(tmp_path: Path) -> None:
    runs = [a_run(0.76, s, balanced=0.5, optim="sgd") | SKEWED for s in range(3)]
    runs += [a_run(0.74, s, balanced=0.6, optim="adam") | SKEWED for s in range(3)]
    folder = make_sweep(tmp_path / "s", runs)
    workload, _ = read(folder)
    assert workload.measure.name == "val_balanced_accuracy" and workload.words(0) == "adam"
    assert workload.step == pytest.approx(1 / (2 * 48))
    assert any("classes are skewed: 76 % of the validation samples" in caveat for caveat in workload.caveats)
    assert read(folder, "val_accuracy")[0].words(0) == "sgd"


def test_classes_of_a_like_size_are_judged_by_accuracy_without_a_word(tmp_path: Path) -> None:
    workload, _ = read(make_sweep(tmp_path / "s", [a_run(0.9, seed) for seed in range(3)]))
    assert workload.measure.name == "val_accuracy" and workload.step == pytest.approx(1 / 200)
    assert workload.caveats == []


def test_an_older_folder_falls_back_to_accuracy_and_says_so(tmp_path: Path) -> None:
    old = make_sweep(tmp_path / "old", [made_run(0.9, seed=seed) for seed in range(3)])
    assert "do not tell how large their classes are" in " ".join(report(old, Asked()).split())
    runs = [a_run(0.76, seed, balanced=0.5) | SKEWED for seed in range(2)] + [made_run(0.76, seed=2)]
    workload, _ = read(make_sweep(tmp_path / "mixed", runs))
    assert workload.measure.name == "val_accuracy"
    assert any("1 run of an older version recorded no balanced accuracy" in caveat for caveat in workload.caveats)
