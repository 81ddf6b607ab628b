"""Width and depth multipliers: families of sizes, and runs that are those of the products."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from runner.run.build import build
from runner.run.job import Job

TEXT = ["data=text", "data.characters=4000", "data.context=16", "batch.size=8"]


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet", "vit", "rnn", "gpt"])
def test_a_multiplier_of_one_leaves_every_id(model: str, job: Callable[..., Job]) -> None:
    given = [f"model={model}", *(TEXT if model == "gpt" else [])]
    ones = ["model.width_multiplier=1", "model.depth_multiplier=1.0"]
    assert job(*given, *ones).run_id == job(*given).run_id
    assert {"width_multiplier", "depth_multiplier"}.isdisjoint(job(*given).config["model"])


@pytest.mark.parametrize(
    ("multiplied", "plain"),
    [
        (["model.width_multiplier=0.5"], ["model.width=128"]),
        (["model.width=10", "model.width_multiplier=0.33"], ["model.width=3"]),
        (["model.width=10", "model.width_multiplier=0.01"], ["model.width=1"]),
        (["model.depth_multiplier=2.5"], ["model.depth=5"]),
        (["model.widths=[8,16,8]", "model.width_multiplier=1.5"], ["model.widths=[12,24,12]"]),
        (
            ["model=cnn", "model.width_multiplier=2", "model.depth_multiplier=0.5"],
            ["model=cnn", "model.width=32", "model.depth=1"],
        ),
        (
            ["model=rnn", "model.width_multiplier=0.25", "model.depth_multiplier=2"],
            ["model=rnn", "model.width=32", "model.depth=2"],
        ),
        (["model=vit", "model.width_multiplier=0.3"], ["model=vit", "model.width=20"]),
        (
            [*TEXT, "model=gpt", "model.heads=8", "model.width_multiplier=0.1"],
            [*TEXT, "model=gpt", "model.heads=8", "model.width=8"],
        ),
        (["model=resnet", "model.depth_multiplier=2"], ["model=resnet", "model.depth=38"]),
        (["model=resnet", "model.depth_multiplier=0.1"], ["model=resnet", "model.depth=8"]),
        (
            ["model.mup=true", "model.width_multiplier=4"],
            ["model.mup=true", "model.width=1024", "model.base_width=256"],
        ),
    ],
)
def test_the_run_is_the_one_of_the_product(multiplied: list[str], plain: list[str], job: Callable[..., Job]) -> None:
    found = job(*multiplied)
    assert found.run_id == job(*plain).run_id
    assert build(found).construct() is not None


def test_a_sweep_of_multipliers_is_a_family_of_sizes(optbench: Callable, folder: Path) -> None:
    family = ["model=mlp", "model.width=8", "model.width_multiplier=0.5,1,2,4", "max_steps=1"]
    assert optbench("train", "-m", *family).code == 0
    runs = pd.read_csv(folder / "outputs/default/runs.csv").sort_values("model.width")
    assert runs["model.width"].tolist() == [4, 8, 16, 32]
    assert runs["parameters"].tolist() == [64 * n + n + n * n + n + 10 * n + 10 for n in (4, 8, 16, 32)]
    assert runs["flops_per_sample"].tolist() == [2 * (64 * n + n * n + 10 * n) for n in (4, 8, 16, 32)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["model.width_multiplier=0"], ["model.width_multiplier", "> 0", "0.0"]),
        (["model.depth=600", "model.depth_multiplier=2"], ["model.depth", "≤ 1000", "1200"]),
        (["model.widths=[8,8]", "model.depth_multiplier=2"], ["model.depth_multiplier=2", "model.widths=[8, 8]"]),
        (["model=linear", "model.width_multiplier=2"], ["model.width_multiplier", "mlp", "linear"]),
        (["model=cnn", "model.depth_multiplier=2"], ["model.depth", "≤ 3", "4"]),
    ],
)
def test_what_cannot_be_multiplied_is_refused(
    given: list[str], words: list[str], optbench: Callable, folder: Path
) -> None:
    refused = optbench("train", *given)
    assert refused.code == 2 and "Traceback" not in refused.err
    assert all(word in refused.err for word in words), refused.err
    assert list(folder.iterdir()) == []


def test_a_models_own_keys_of_that_name_are_its_own(folder: Path, optbench: Callable) -> None:
    (folder / "mine/model").mkdir(parents=True)
    (folder / "mine/model/slim.yaml").write_text(
        "# slim\n_option_: slim\n_target_: slimmed.net\nwidth_multiplier: 0.5  # of its own\n"
    )
    (folder / "slimmed.py").write_text(
        "from torch import nn\n"
        "def net(shape, outputs, *, width_multiplier):\n"
        "    hidden = int(20 * width_multiplier)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, outputs))\n"
    )
    found = optbench("train", "--config-dir", "mine", "model=slim", "max_steps=1")
    assert found.code == 0, found.err
    runs = pd.read_csv(folder / "outputs/default/runs.csv")
    assert runs["parameters"].tolist() == [64 * 10 + 10 + 10 * 10 + 10]
