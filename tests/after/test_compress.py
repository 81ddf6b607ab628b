"""``optbench compress``: chains as they are typed, runs that are found again, a table that says what is not faster."""

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runner.after.chains import Chain
from runner.after.compressed_table import Row, table
from runner.after.dense import Dense
from runner.after.latency import in_turns
from runner.errors import ConfigError
from tests.support.known import TINY
from tests.support.records import run_folders, summary_of


def test_a_chain_is_read_as_it_is_typed() -> None:
    chain = Chain.read("distill=0.25+prune_structured=0.5+prune+static")
    assert (chain.student, chain.int8) == (0.25, "static")
    assert chain.trained == (("prune_structured", 0.5), ("prune", None))
    assert chain.before == "distill=0.25+prune_structured=0.5+prune" and not chain.rounds
    assert Chain.read("quantize").rounds and not Chain.read("quantize+static").rounds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prune_strctured", "did you mean 'prune_structured'"),
        ("prune_structured+statc", "'statc' in prune_structured+statc is no way to compress; did you mean 'static'"),
        ("static+prune", "come last, as nothing is trained in int8"),
        ("static+dynamic", "come last"),
        ("prune+distill", "distill comes first"),
        ("prune=2", "a share between 0 and 1, got 2"),
        ("prune=x", "'x' is no number"),
        ("quantize=0.5", "quantize takes no number"),
        ("prune+prune=0.5", "named twice"),
    ],
)
def test_a_chain_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("+", r"\+")):
        Chain.read(text)


DENSE = Dense(
    Path("outputs/big/run"),
    {"name": "big", "init": {"_option_": "pretrained"}, "regularization": {}},
    ("init=pretrained", "init.run=first", "finetune=lora", "model.width=8", "epochs=3", "max_steps=50", "optim.lr=0.1"),
)


@pytest.mark.parametrize(
    ("length", "kept", "gone"),
    [
        ([], ["epochs=3", "max_steps=50", "optim.lr=0.1"], []),
        (["epochs=7"], ["epochs=7", "optim.lr=0.1"], ["epochs=3", "max_steps=50"]),
        (["optim.lr=0.5"], ["epochs=3", "max_steps=50", "optim.lr=0.5"], ["optim.lr=0.1"]),
    ],
)
def test_what_is_cut_is_trained_as_long_as_the_dense_run_unless_it_is_said(
    length: list[str], kept: list[str], gone: list[str]
) -> None:
    asked = DENSE.trained(Chain.read("prune"), DENSE.folder, length, None)
    assert set(kept) <= set(asked) and not set(gone) & set(asked)
    assert "init.run=outputs/big/run" in asked and "init.run=first" not in asked


def test_a_small_network_is_trained_from_scratch() -> None:
    asked = DENSE.narrower(4, taught=False)
    assert "model.width=4" in asked and "epochs=3" in asked
    assert [o for o in asked if o.startswith(("init", "finetune"))] == ["init=default", "finetune=full"]
    assert "model.width=8" not in asked


def test_a_users_own_model_is_imported_only_when_allowed(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert optbench("train", "epochs=1", "model=custom", "model.target=tests.own_parts.Net", "save=last").code == 0
    monkeypatch.delitem(sys.modules, "tests.own_parts")
    refused = optbench("compress", "outputs/default", "prune=0.5")
    assert refused.code == 2 and "--allow tests.own_parts.Net" in refused.err
    assert "tests.own_parts" not in sys.modules
    asked = ["outputs/default", "prune=0.5", "--allow", "tests.own_parts.Net", "--no-small", "--rounds", "2"]
    made = optbench("compress", *asked)
    assert made.code == 0 and "prune=0.5" in made.out, made.err


def test_calls_are_measured_in_turns() -> None:
    order: list[str] = []
    found = in_turns({name: lambda name=name: order.append(name) for name in "ab"}, rounds=4)
    assert order == [*"aaabbb", *"ab" * 4] and found["a"][0] <= found["a"][1]


def row(name: str, scores: list[float], faster: float, file_bytes: int = 1000) -> Row:
    dense = None if math.isnan(faster) else [0.9, 0.8]
    return Row(name, "onnxruntime", scores, dense, None, 9, 10, 5, file_bytes, 1000, {1: (0.1, 0.2)}, {1: faster})


def test_what_is_not_faster_or_smaller_is_said_and_differences_are_paired() -> None:
    rows = [row("dense", [0.9, 0.8], math.nan), row("cut", [0.92, 0.82], 2.0, 400), row("zeros", [0.9, 0.7], 1.0)]
    lines, cells = table(rows, (1,), classes=True, seeds=2)
    said = "\n".join(lines)
    assert "+2.00 [+2.00, +2.00]" in lines[3] and "2.50×" in lines[3] and "2.00×" in lines[3]
    assert "zeros is not faster at batch 1" in said and "zeros is not smaller as a file" in said
    assert "cut is not" not in said and "dense is not" not in said
    assert cells[2]["minus_dense_mean"] == pytest.approx(-5)


@pytest.mark.slow
def test_a_folder_is_compressed_and_found_again(optbench: Callable, folder: Path) -> None:
    net = ["model.width=32", "model.depth=2", "epochs=3", "seed=0,1", "save=last", "optim.lr=0.01"]
    assert optbench("train", "-m", *net, "name=big").code == 0
    asked = [
        "outputs/big",
        "prune_structured=0.5",
        "prune_structured=0.5+static",
        "prune=0.8",
        "distill=0.5+prune",
        "dynamic",
    ]
    found = optbench("compress", *asked, "quantize", "--epochs", "2", "--rounds", "5")
    assert found.code == 0, found.err
    with (folder / "outputs/big-compress/compress.csv").open() as file:
        rows = {row["way"]: row for row in csv.DictReader(file)}
    dense, cut = rows["dense"], rows["prune_structured=0.5"]
    for key in ("not_0", "stored", "flops_per_sample"):
        assert float(cut[key]) < 0.7 * float(dense[key]), key
    for name in (
        "prune_structured=0.5",
        "prune_structured=0.5+static",
        "dynamic",
    ):  # half of so small a file is its graph
        assert float(rows[name]["bytes"]) < 0.9 * float(dense["bytes"]), name
    prunable = 64 * 32 + 32 * 32 + 32 * 10
    assert int(rows["prune=0.8"]["stored"]) == int(dense["stored"])
    zeros = sum(round(0.8 * n) for n in (64 * 32, 32 * 32, 32 * 10))
    assert abs(int(rows["prune=0.8"]["not_0"]) - (int(dense["stored"]) - zeros)) <= 1 and zeros < prunable
    small = rows["small for prune_structured=0.5"]
    assert int(small["stored"]) == pytest.approx(int(cut["stored"]), rel=0.05)
    dense_runs = run_folders(folder, "big")
    mean = np.mean([summary_of(run)["test_accuracy"] for run in dense_runs])
    assert float(dense["accuracy"]) == pytest.approx(mean, abs=1e-6)
    times = {run: (run / "summary.json").stat().st_mtime_ns for run in run_folders(folder, "big-compress")}
    assert optbench("compress", *asked, "quantize", "--epochs", "2", "--rounds", "5").code == 0
    assert times == {run: (run / "summary.json").stat().st_mtime_ns for run in run_folders(folder, "big-compress")}


@pytest.mark.parametrize(
    ("trained", "asked", "words"),
    [
        (["model=vit", "model.patch=4", "model.depth=1", "max_steps=1"], ["prune_structured"], ["model=vit"]),
        (["-m", *TINY, "seed=0,1"], ["static"], ["kept no weights", "save=last"]),
        (["-m", "max_steps=1", "model.width=8,9", "save=last"], ["static"], ["holds 2 settings"]),
        (["max_steps=1", "model.width=8"], ["statc"], ["did you mean 'static'"]),
        (["max_steps=1", "model.width=8"], ["--epochs", "0"], ["--epochs must be > 0"]),
    ],
)
def test_what_cannot_be_compressed_is_refused_and_nothing_is_trained(
    trained: list[str], asked: list[str], words: list[str], optbench: Callable, folder: Path
) -> None:
    assert optbench("train", *trained).code == 0
    refused = optbench("compress", "outputs/default", *asked)
    assert refused.code == 2 and all(word in refused.err for word in words), refused.err
    assert [p.name for p in (folder / "outputs").iterdir()] == ["default"]
    assert optbench("compress", "nowhere").code == 2
