"""The user's own parts: by import path and by --config-dir, from an empty folder, checked before and after import."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from runner.config.imports import resolve
from runner.errors import ConfigError
from tests.support.records import rows_of, run_folder, run_folders, summary_of

QUICK = ["epochs=2"]
OWN = [
    ["model=custom", "model.target=tests.own_parts.Net", "model.args={width: 8}"],
    ["model=custom", "model.target=tests.own_parts.Net", "model.args.width=8"],
    ["model=custom", "model.target=tests.own_parts.Dropping", "regularization=dropout"],
    ["data=custom", "data.target=tests.own_parts.load", "data.args={samples: 200}"],
    ["data=custom", "data.target=tests.own_parts.Pairs", "data.normalize=minmax"],
    ["init=custom", "init.target=tests.own_parts.fill", "init.args={scale: 0.2}"],
    ["init=custom", "init.target=torch.nn.init.sparse_", "init.args={sparsity: 0.5}"],
    ["optim=custom", "optim.target=tests.own_parts.Steps", "optim.args={momentum: 0.9}"],
    ["optim=custom", "optim.target=torch.optim.RMSprop"],
    ["loss=tests.own_parts.weighted"],
    ["loss=torch.nn.MultiMarginLoss"],
    ["metrics=[tests.own_parts.top2]"],
]


@pytest.mark.parametrize("overrides", OWN, ids=lambda o: " ".join(o))
def test_own_parts_train_and_repeat(overrides: list[str], optbench: Callable, folder: Path) -> None:
    result = optbench("train", *QUICK, *overrides)
    assert result.code == 0, result.err
    assert "not trained again" in optbench("train", *QUICK, *overrides).out


def test_an_own_metric_is_a_column_and_an_own_loss_is_minimized(optbench: Callable, folder: Path) -> None:
    optbench("train", *QUICK, "loss=tests.own_parts.weighted", "metrics=[tests.own_parts.top2]")
    row = rows_of(run_folder(folder))[-1]
    assert float(row["val_accuracy"]) <= float(row["val_top2"]) <= 1
    assert "test_top2" in summary_of(run_folder(folder))


def test_an_own_part_that_ends_the_process_fails_its_run(optbench: Callable, folder: Path) -> None:
    result = optbench("train", *QUICK, "optim=custom", "optim.target=tests.own_parts.Leaving")
    assert result.code == 1
    assert "the run failed: SystemExit: 3" in result.err
    assert summary_of(run_folder(folder))["status"] == "failed"


def test_an_own_optimizer_is_the_one_it_subclasses(optbench: Callable, folder: Path) -> None:
    asked = ["train", *QUICK, "optim.lr=0.1", "dtype=float64"]
    optbench(*asked, "name=a", "optim=custom", "optim.target=tests.own_parts.Steps")
    optbench(*asked, "name=b", "optim=sgd")
    a, b = (float(rows_of(run_folder(folder, name))[-1]["val_loss"]) for name in "ab")
    assert a == pytest.approx(b, rel=1e-10)


def test_parts_in_the_current_folder_are_found_and_their_source_is_in_the_id(folder: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    source = (
        "from torch import nn\nclass Mine(nn.Module):\n    def __init__(self, outputs):\n        super().__init__()\n"
    )
    source += "        self.layer = nn.Linear(64, outputs)\n"
    source += "    def forward(self, x):\n        return self.layer(x.flatten(1))\n"
    (folder / "mine.py").write_text(source)
    script = Path(sys.executable).with_name("optbench")
    command = [str(script), "train", "model=custom", "model.target=mine.Mine", "epochs=1"]
    assert "completed" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (folder / "mine.py").write_text(source.replace("nn.Linear(64, outputs)", "nn.Linear(64, outputs, bias=False)"))
    assert "not trained again" not in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert len(run_folders(folder)) == 2


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model=custom"], ["model.target", "must be given"]),
        (["model=custom", "model.target=nodots"], ["model.target", "import path"]),
        (["model=custom", "model.target=tests.own_parts.Nett"], ["tests.own_parts.Nett", "cannot be imported"]),
        (["model=custom", "model.target=nowhere.Net"], ["nowhere.Net", "cannot be imported"]),
        (["model=custom", "model.target=tests.own_parts.Net", "model.args={wdth: 8}"], ["wdth", "tests.own_parts.Net"]),
        (["model=custom", "model.target=tests.own_parts.not_a_module"], ["torch.nn.Module", "int"]),
        (["model=custom", "model.target=tests.own_parts.Net", "regularization=dropout"], ["forward", "drop"]),
        (["optim=custom", "optim.target=tests.own_parts.Net"], ["optim"]),
        (["optim=custom", "optim.target=torch.optim.RMSprop", "optim.args={alpah: 1}"], ["alpah"]),
        (["optim=custom", "optim.target=torch.optim.RMSprop", "optim.args={alpha: nan}"], ["optim.args.alpha"]),
        (["loss=tests.own_parts.not_a_module"], ["tests.own_parts.not_a_module"]),
        (["loss=tests.own_parts.each"], ["loss=tests.own_parts.each", "one number", "a tensor [2]"]),
        (["loss=tests.own_parts.seconds"], ["loss=tests.own_parts.seconds", "one number", "float"]),
        (["loss=tests.own_parts.fill"], ["loss=tests.own_parts.fill on outputs [2, 10]"]),
        (["loss=tests.own_parts.of_three"], ["is called with (outputs, y)", "'z'"]),
        (["metrics=[tests.own_parts.each]"], ["the metric each must give one number"]),
        (["init=custom", "init.target=tests.own_parts.other_weights"], ["init.target", "in place"]),
        (["init=custom", "init.target=tests.own_parts.fill", "init.args={scal: 1}"], ["did you mean 'scale'"]),
        (["model=custom", "model.target=tests.own_parts.Unfit"], ["2 samples, [2, 1, 8, 8]", "own_parts.py, line"]),
        (["model=custom", "model.target=own_parts.Net"], ["No module named 'own_parts'"]),
        (["data=custom", "data.target=tests.own_parts.gives", "data.args.what=texts"], ["gave x of <U1"]),
        (["data=custom", "data.target=tests.own_parts.gives", "data.args.what=flat"], ["shape [4]", "[n, …]"]),
        (["data=custom", "data.target=tests.own_parts.gives", "data.args.what=uneven"], ["lengths [4, 3]"]),
        (["data=custom", "data.target=tests.own_parts.gives", "data.args.what=ragged"], ["no array"]),
        (["data=custom", "data.target=tests.own_parts.gives", "data.args.what=number"], ["no array of samples"]),
        (["data=custom", "data.target=tests.own_parts.gives", "data.args.what=wider_test"], ["test_x of shape"]),
        (["data=custom", "data.target=tests.own_parts.other_each_time"], ["other data each time", "name seed"]),
        (["data=custom", "data.target=tests.own_parts.gives"], ["data.args.what=… gives it"]),
        (["optim=custom", "optim.target=torch.optim.RMSprop", "optim.args={lr: 1}"], ["lr is given by optbench"]),
        (["loss=crossentropy"], ["loss", "cross_entropy"]),
        (["metrics=[accuracy2]"], ["metrics[0]", "accuracy2"]),
        (["data=custom", "data.target=tests.own_parts.not_a_module"], ["data.target", "must return"]),
        (["data=custom", "data.target=tests.own_parts.leave"], ["tests.own_parts.leave", "SystemExit: 3"]),
        (["model=custom", "model.target=tests.own_parts.leave"], ["tests.own_parts.leave", "SystemExit: 3"]),
        (["optim=collection", "optim.name=adopt", "optim.args={foo: 1}"], ["optim.args.foo", "weight_decay"]),
        (["optim=collection", "optim.name=adopt", "optim.args={wieght_decay: 1}"], ["did you mean 'weight_decay'"]),
        (["optim=collection", "optim.name=adopt", "optim.args={lr: 1}"], ["optim.args.lr"]),
        (["optim=collection", "optim.name=adopt", "optim.args={betas: 1}"], ["optim.name=adopt", "betas"]),
    ],
    ids=lambda v: " ".join(v),
)  # fmt: skip
def test_a_part_that_cannot_be_used_is_refused(
    overrides: list[str], words: list[str], optbench: Callable, folder: Path
) -> None:
    refused = optbench("train", *QUICK, *overrides)
    assert refused.code == 2
    assert all(word in refused.err for word in words), refused.err
    assert "Traceback" not in refused.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "target",
    ["os.system", "subprocess.run", "builtins.eval", "tests.own_parts.aliased", "runner.data.Path", "runner.cli.main",
     "torch.hub.load", "torch.load", "runner.init._std_by_fan_in", "torch.nn.functional.os.system", "pickle.loads"],
)  # fmt: skip
def test_code_from_elsewhere_is_never_reached(target: str) -> None:
    for allowed in ({target}, set()):
        with pytest.raises(ConfigError, match=r"may not be imported|is no function or class of"):
            resolve(target, allowed)


def test_what_nobody_named_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "tests.own_parts", raising=False)
    with pytest.raises(ConfigError, match="may not be imported"):
        resolve("tests.own_parts.Net")
    assert "tests.own_parts" not in sys.modules
    assert resolve("tests.own_parts.Net", {"tests.own_parts.Net"}).__name__ == "Net"
    assert resolve("torch.optim.SGD", {"torch.optim.SGD"}) is torch.optim.SGD
    with pytest.raises(ConfigError, match="may not be imported"):
        resolve("torch.optim.SGD")


def test_a_config_dir_may_name_own_parts(optbench: Callable, folder: Path) -> None:
    mine = folder / "mine" / "init"
    mine.mkdir(parents=True)
    yaml = "# Mine\n_option_: mine\n_target_: tests.own_parts.fill_with\nscale: 0.5\nbias: 0.0\n"
    (mine / "mine.yaml").write_text(yaml)
    assert optbench("train", "--config-dir", "mine", "init=mine", *QUICK).code == 0
    assert optbench("train", "--config-dir", "mine", "init=mine", "init.scale=0.2", *QUICK).code == 0


def test_a_yaml_that_breaks_off_is_refused_with_its_line(optbench: Callable, folder: Path) -> None:
    (folder / "mine" / "init").mkdir(parents=True)
    (folder / "mine/init/mine.yaml").write_text("_option_: mine\n_target_: tests.own_parts.fill\n\tscale: 0.5\n")
    refused = optbench("train", "--config-dir", "mine", "init=mine", *QUICK)
    assert refused.code == 2 and "mine.yaml, line 3, cannot be read: found a tab" in refused.err


def test_a_yaml_bomb_is_refused_at_once(optbench: Callable, folder: Path) -> None:
    import time

    (folder / "mine" / "init").mkdir(parents=True)
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    (folder / "mine/init/bomb.yaml").write_text("\n".join(lines))
    began = time.process_time()
    refused = optbench("train", "--config-dir", "mine", "init=bomb", *QUICK)
    assert time.process_time() - began < 10  # its ten thousand million words would take hours
    assert refused.code == 2
    assert "bomb.yaml" in refused.err


def test_a_users_own_dropout_depends_on_the_seed_alone(optbench: Callable, folder: Path) -> None:
    asked = ["model=custom", "model.target=tests.own_parts.Normed", "epochs=2", "dtype=float64"]
    optbench("train", "-m", *asked, "seed=0,1", "workers=1", "name=sweep")
    torch.manual_seed(77)
    optbench("train", *asked, "seed=1", "threads=1", "name=solo")
    solo = summary_of(run_folder(folder, "solo"))
    (same,) = [s for p in (folder / "outputs/sweep").glob("*-s1-*") if (s := summary_of(p))]
    assert same["run_id"] == solo["run_id"]
    assert same["test_loss"] == pytest.approx(solo["test_loss"], rel=1e-10)
