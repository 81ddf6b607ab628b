"""Using what was trained: predictions, models, exports and tables from Python."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import optbench
from optbench import load_model, load_runs, train
from runner.data import Samples
from runner.engine import checkpoint
from runner.errors import ChangedWarning, ConfigError, OptbenchError
from runner.run.load import Trained
from tests.support.known import LOWEST, TINY, VALLEY, VALLEY_WEIGHTS
from tests.support.records import rows_of, run_folder, summary_of


@pytest.fixture
def run(optbench: Callable, folder: Path) -> Path:
    assert optbench("train", "init=he", "epochs=3", "model.width=32").code == 0
    return run_folder(folder)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_predictions_have_the_accuracy_of_the_summary(optbench: Callable, folder: Path) -> None:
    assert optbench("train", "epochs=3", "model.width=32", "dtype=float64").code == 0
    run = run_folder(folder)
    for part, name in (("test", "test_accuracy"), ("val", "final_val_accuracy")):
        rows = table(optbench("predict", str(run), "--part", part).out)
        right = sum(row["target"] == row["prediction"] for row in rows) / len(rows)
        assert right == pytest.approx(summary_of(run)[name])
        assert all(0.1 <= float(row["probability"]) <= 1 for row in rows)


def test_own_inputs_are_predicted_from_npy_and_csv(run: Path, optbench: Callable, folder: Path) -> None:
    from runner.after.predict import part_of_data

    samples = part_of_data(run, "test")
    expected = [row["prediction"] for row in table(optbench("predict", str(run)).out)][:20]
    np.save(folder / "mine.npy", samples.x[:20])
    np.savetxt(folder / "mine.csv", samples.x[:20].reshape(20, -1), delimiter=",")
    for name in ("mine.npy", "mine.csv"):
        assert [row["prediction"] for row in table(optbench("predict", str(run), "--input", name).out)] == expected
    np.save(folder / "wrong.npy", np.zeros((5, 3)))
    refused = optbench("predict", str(run), "--input", "wrong.npy")
    assert refused.code == 2
    assert "[1, 8, 8]" in refused.err


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((2, 3, 8, 8), True), ((2, 192), True), ((2, 8, 8, 3), False), ((2, 3, 64), False), ((2, 3, 1, 8, 8), True)],
)
def test_arrays_in_another_order_are_refused(shape: tuple[int, ...], fits: bool, tmp_path: Path) -> None:
    from runner.after.predict import read_own

    model = Trained(nn.Flatten(), {"shape": [3, 8, 8], "classes": 3})
    np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
    if fits:
        assert read_own(tmp_path / "x.npy", model)[0].x.shape == (2, 3, 8, 8)
    else:
        with pytest.raises(ConfigError, match=r"must hold samples of shape \[3, 8, 8\], got"):
            read_own(tmp_path / "x.npy", model)


def test_several_targets_are_printed_as_several_predictions_are(optbench: Callable, folder: Path) -> None:
    own = ["data=custom", "data.target=tests.own_parts.wholes", "data.args.outputs=2", "model=linear"]
    assert optbench("train", *own, "epochs=1").code == 0
    rows = table(optbench("predict", str(run_folder(folder)), "--allow", "tests.own_parts.wholes").out)
    assert list(rows[0]) == ["sample", "target_0", "target_1", "prediction_0", "prediction_1"]


def test_few_samples_of_a_sorted_data_set_are_of_all_of_it() -> None:
    from runner.after.predict import evenly

    sorted_by_class = Samples(np.zeros((900, 2)), np.repeat(np.arange(9), 100))
    assert np.bincount(evenly(sorted_by_class, 90).y).tolist() == [10] * 9
    assert evenly(sorted_by_class, 900) is evenly(sorted_by_class, 1000) is sorted_by_class
    assert len(evenly(sorted_by_class, 899)) == 899


def test_a_model_takes_arrays_as_they_are(run: Path) -> None:
    from runner.after.predict import part_of_data

    samples = part_of_data(run, "test")
    model = load_model(run)
    with torch.no_grad():
        assert torch.equal(model(np.asarray(samples.x)), model(torch.as_tensor(np.asarray(samples.x))))


def test_python_names_its_own_function_for_a_grid(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a sweep: call optbench\.sweep to run each value"):
        train("init=he,zeros")
    for of_a_sweep in (["seeds=3"], ["workers=3"], ["experiment=grid"]):
        with pytest.raises(ConfigError, match=r"call optbench\.sweep"):
            train(*of_a_sweep)
    for function in (train, optbench.sweep):
        with pytest.raises(ConfigError, match="dry_run=true is for the command line"):
            function("dry_run=true")
    assert list(folder.iterdir()) == []


def test_regression_is_predicted_in_its_own_units(optbench: Callable, folder: Path) -> None:
    optbench("train", "data=linear_regression", "model=linear", "optim.lr=0.1", "epochs=60")
    rows = table(optbench("predict", str(run_folder(folder))).out)
    errors = [float(row["target"]) - float(row["prediction"]) for row in rows]
    assert np.square(errors).mean() == pytest.approx(summary_of(run_folder(folder))["test_mse"], rel=1e-4)


def test_the_exported_program_gives_the_same_numbers(run: Path, optbench: Callable, folder: Path) -> None:
    from runner.after.predict import part_of_data

    assert optbench("predict", str(run), "--export", "model.pt2").code == 0
    labels = {"labels.json": ""}
    program = torch.export.load(folder / "model.pt2", extra_files=labels).module()
    assert json.loads(labels["labels.json"]) == list(range(10))
    x = torch.from_numpy(part_of_data(run, "test").x)
    for n in (1, 7, 300):
        torch.testing.assert_close(program(x[:n]), load_model(run)(x[:n]), rtol=1e-5, atol=1e-5)


def test_from_python_a_run_is_trained_and_loaded(folder: Path) -> None:
    result = train(*TINY, "init=he")
    assert result.summary["status"] == "completed"
    assert result.metrics["step"].tolist() == [0, 21, 42]
    assert not train([*TINY, "init=he"]).trained
    runs = load_runs("outputs/default")
    assert runs["init"].tolist() == ["he_normal"]
    assert runs["run_id"][0] == result.folder.name[-8:]
    with pytest.raises(ConfigError, match="lrr"):
        train("optim.lrr=1")
    with pytest.raises(ConfigError, match=r"runs\.csv is not there: give the folder of a sweep"):
        load_runs("nowhere")
    with pytest.raises(AttributeError, match="trian"):
        optbench.trian  # noqa: B018


def test_importing_the_package_is_light() -> None:
    import subprocess

    code = "import sys, optbench; sys.exit(bool({'torch', 'pandas', 'hydra', 'numpy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere"], ["there is no folder nowhere"]),
        (["."], ["config.yaml"]),
        ([], ["RUN"]),
        (["x", "--part", "all"], ["--part", "val, test"]),
    ],
)
def test_predict_refuses_what_is_no_run(argv: list[str], words: list[str], optbench: Callable) -> None:
    refused = optbench("predict", *argv)
    assert refused.code == 2
    assert all(word in refused.err for word in words)


def test_a_run_without_weights_says_how_to_get_them(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY, "save=none")
    refused = optbench("predict", str(run_folder(folder)))
    assert refused.code == 1
    assert "save=last" in refused.err
    run = run_folder(folder).relative_to(folder)
    sweep = optbench("predict", "outputs/default")
    assert sweep.code == 2 and f"it holds 1 run, such as {run}: give one" in sweep.err


def test_a_users_own_model_is_imported_only_when_allowed(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optbench("train", "epochs=1", "model=custom", "model.target=tests.own_parts.Net")
    run = run_folder(folder)
    monkeypatch.delitem(sys.modules, "tests.own_parts")
    refused = optbench("predict", str(run))
    assert refused.code == 2
    assert "--allow tests.own_parts.Net" in refused.err
    assert "tests.own_parts" not in sys.modules
    assert optbench("predict", str(run), "--allow", "tests.own_parts.Net").code == 0
    assert load_model(run, allow=["tests.own_parts.Net"]) is not None


@pytest.mark.parametrize(
    "hostile",
    [
        {"_target_": "os.system"},
        {"_target_": "runner.cli.main.main"},
        {"_target_": "runner.model.custom", "target": "os.system", "args": {"command": "touch sprung"}},
        {"_target_": "subprocess.Popen", "args": ["touch", "sprung"]},
        {"_target_": 3},
        {},
    ],
    ids=str,
)
def test_a_hostile_run_folder_runs_nothing(hostile: dict, run: Path, optbench: Callable, folder: Path) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"] = {"_option_": "mlp", **hostile}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    refused = optbench("predict", str(run))
    assert refused.code == 2
    assert "Traceback" not in refused.err
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "model: 3", "a: &a [x]\nb: *a", "!!python/object/apply:os.system ['touch sprung']"]
)
def test_a_broken_config_is_refused(text: str, run: Path, optbench: Callable, folder: Path) -> None:
    (run / "config.yaml").write_text(text)
    refused = optbench("predict", str(run))
    assert refused.code == 2
    assert "config.yaml" in refused.err
    assert not (folder / "sprung").exists()


NET = """
import math

import torch

class Net(torch.nn.Module):
    def __init__(self, shape, outputs):
        super().__init__()
        self.layer = torch.nn.Linear(math.prod(shape), outputs)

    def forward(self, x):
        return torch.relu(self.layer(x.flatten(1)))
"""


def test_that_the_source_of_a_model_has_changed_is_said(
    optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "changing_net.py").write_text(NET)
    monkeypatch.syspath_prepend(str(folder))
    assert optbench("train", "model=custom", "model.target=changing_net.Net", "epochs=1", "save=last").code == 0
    asked = ["predict", str(run_folder(folder)), "--allow", "changing_net.Net"]
    assert optbench(*asked).err == ""
    (folder / "changing_net.py").write_text(NET.replace("relu", "tanh"))
    told = optbench(*asked)
    assert told.code == 0 and told.err.startswith("optbench: the source of changing_net.Net has changed since ")
    with pytest.warns(ChangedWarning, match="what it predicts may have, too"):
        load_model(run_folder(folder), allow=["changing_net.Net"])


def loss_of_saved(run: Path, allow: tuple[str, ...] = ()) -> float:
    """The test loss of the weights that a run kept; unlike an accuracy, it differs wherever weights do."""
    from runner.after.predict import part_of_data

    samples = part_of_data(run, "test", allow)
    outputs = load_model(run, allow)(torch.tensor(samples.x))
    return torch.nn.functional.cross_entropy(outputs, torch.tensor(samples.y)).item()


def test_batch_norm_is_saved_as_it_was_tested(optbench: Callable, folder: Path) -> None:
    normed = ["model=custom", "model.target=tests.own_parts.Normed"]
    assert optbench("train", *normed, "epochs=3", "dtype=float64").code == 0
    run = run_folder(folder)
    assert loss_of_saved(run, ("tests.own_parts.Normed",)) == pytest.approx(summary_of(run)["test_loss"], rel=1e-9)


def test_restored_best_weights_are_what_the_summary_describes(optbench: Callable, folder: Path) -> None:
    optbench("train", *VALLEY, "regularization=early_stopping", "regularization.early_stopping.patience=100")
    run = run_folder(folder)
    summary, rows = summary_of(run), rows_of(run)
    assert [float(row["val_loss"]) for row in rows] == pytest.approx([w**2 for w in VALLEY_WEIGHTS])
    lowest = VALLEY_WEIGHTS[LOWEST]
    for measure in ("best_val_loss", "final_val_loss", "final_train_loss", "test_loss"):
        assert summary[measure] == pytest.approx(lowest**2), measure
    weights = load_model(run).network.state_dict()
    torch.testing.assert_close(weights["readout.weight"], torch.full((1, 2), lowest, dtype=torch.float64))


def test_python_calls_leave_torch_as_it_was_and_see_new_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    train(*TINY, f"threads={threads + 1}", "deterministic=true")
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    source = "import numpy as np\ndef load():\n    return np.load('x.npy'), np.load('y.npy')\n"
    (folder / "mydata.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    import numpy as np

    found = set()
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        np.save("x.npy", rng.standard_normal((100, 3)))
        np.save("y.npy", rng.integers(0, 2, 100))
        found.add(train("data=custom", "data.target=mydata.load", "max_steps=1").summary["data_fingerprint"])
    assert len(found) == 2


@pytest.mark.parametrize(
    "content",
    [[1], 5, {"model": 5, "shape": [64], "outputs": 10, "shift": 0, "scale": 1, "classes": 10},
     {"model": {}, "shape": [10**6, 10**6], "outputs": 10, "shift": 0, "scale": 1, "classes": 10}],
    ids=["list", "number", "no weights", "vast"],
)  # fmt: skip
def test_a_hostile_checkpoint_is_refused(content: object, optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    run = run_folder(folder)
    checkpoint.save(run / "checkpoint.pt", content)  # type: ignore[arg-type]
    with pytest.raises(OptbenchError):
        load_model(run)


def test_a_run_folder_reaches_no_library_code_by_itself(optbench: Callable, folder: Path) -> None:
    optbench("train", *TINY)
    run = run_folder(folder)
    config = yaml.safe_load((run / "config.yaml").read_text())
    hostile = {"target": "torchvision.datasets.MNIST", "args": {"root": "evil", "download": True}}
    config["model"] = {"_option_": "custom", "_target_": "runner.model.custom", **hostile}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    refused = optbench("predict", str(run))
    assert refused.code == 2
    assert "--allow" in refused.err
    assert not (folder / "evil").exists()
