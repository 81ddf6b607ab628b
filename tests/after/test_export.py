"""Exported programs give the model's numbers, say what they take and give, and carry a card."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from runner import model as models
from runner.after.onnx_program import TOLERANCE, difference, program_of, raw_inputs, session_of
from runner.after.predict import part_of_data
from runner.config.options import options
from runner.data.embedded import digits
from runner.run.load import Trained, load_model
from tests.support.made_data import make_table
from tests.support.records import run_folder, summary_of

REFUSED: dict[str, str] = {}
"""Shipped models that onnxruntime does not run within the tolerance, and the reason as it was measured.

The list may only shrink: a model that is not in it must pass.
"""

IMAGE, TEXT = (1, 8, 8), (32,)
SHIPPED: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: models.linear(IMAGE, 10, bias=True),
    "mlp": lambda: models.mlp(
        IMAGE, 10, width=32, depth=2, widths=[], activation="relu", bias=True, normalization="batch", residual=True
    ),
    "cnn": lambda: models.cnn(IMAGE, 10, width=8, depth=2, activation="relu"),
    "resnet": lambda: models.resnet(IMAGE, 10, depth=8, width=8, activation="relu", shortcut="projection"),
    "vit": lambda: models.vit(IMAGE, 10, patch=2, width=16, depth=2, heads=2, activation="gelu", pool="class"),
    "gpt": lambda: models.gpt(
        TEXT, 26, alphabet="abcdefghijklmnopqrstuvwxyz", width=16, depth=2, heads=2, activation="gelu"
    ),
}
SLOW = ("linear", "cnn", "resnet", "gpt")
FAMILIES = (
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "maxvit_t", "mnasnet0_5"),
    *("mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1"),
    *("swin_t", "swin_v2_t", "vgg11_bn", "vit_b_16"),
)
"""The smallest network of each of torchvision's families."""


def of_texts(network: nn.Module) -> Trained:
    return Trained(network, {"shape": list(TEXT), "classes": 26, "alphabet": "abcdefghijklmnopqrstuvwxyz"})


def of_images(network: nn.Module) -> Trained:
    saved = {"shape": list(IMAGE), "classes": 10, "shift": torch.tensor(4.9), "scale": torch.tensor(6.0)}
    return Trained(network, saved)


def worst(name: str, network: nn.Module, samples: int) -> float:
    """The largest difference from PyTorch on so many samples."""
    if name in ("gpt",):
        x: Any = np.random.default_rng(0).integers(0, 26, (samples, *TEXT))
        model = of_texts(network)
    else:
        x, model = raw_inputs(digits(test_fraction=0.2).samples.x[:samples]), of_images(network)
    with torch.no_grad(), warnings.catch_warnings():
        network.train()
        model(torch.from_numpy(x[:64]))  # batch norm knows the data
        model.eval()
    return difference(session_of(program_of(model, x)), model, x)


def holds(name: str, network: nn.Module, samples: int = 1000) -> None:
    try:
        found = worst(name, network, samples)
    except Exception:
        assert name in REFUSED
        raise
    assert (found <= TOLERANCE) == (name not in REFUSED), found


@pytest.mark.parametrize("name", ["mlp", "vit", *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)])
def test_onnxruntime_gives_pytorchs_numbers_on_1000_samples(name: str) -> None:
    holds(name, SHIPPED[name]())


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_networks_of_torchvision_do_so_too(name: str) -> None:
    """On fewer samples: a thousand pictures of 224 × 224 take a network such as ``vit_b_16`` ten minutes."""
    holds(name, models.from_torchvision(IMAGE, 10, name=name, args={}, size=None), samples=100)


def test_the_list_of_refused_models_does_not_grow() -> None:
    assert len(REFUSED) == 0
    assert set(SHIPPED) | {"rnn", "encoder", "torchvision", "custom"} == {option.name for option in options("model")}


REVIEWS = Path(__file__).parents[2] / "examples" / "sentences" / "reviews.csv"
SENTENCES = ["data=text_csv", f"data.path={REVIEWS}", "data.text=review", "data.label=mood", "max_steps=2"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        ["data=text", "model=rnn", "max_steps=2"],
        [*SENTENCES, "model=rnn"],
        [*SENTENCES, "model=encoder"],
        [*SENTENCES, "model=linear"],
        ["data=mnist1d", "model=cnn", "max_steps=2"],
        ["model=cnn", "dtype=float64", "max_steps=2"],
        ["data=diabetes", "data.normalize_target=standard", "max_steps=20"],
    ],
    ids=" ".join,
)
def test_runs_on_texts_sentences_signals_and_numbers_are_exported(
    asked: list[str], optbench: Callable, folder: Path
) -> None:
    assert optbench("train", *asked).code == 0
    found = optbench("predict", str(run_folder(folder)), "--export", "model.onnx")
    assert found.code == 0 and "of PyTorch's on" in found.out, found.err


@pytest.fixture
def run(optbench: Callable, folder: Path) -> Path:
    assert optbench("train", "epochs=3", "model.width=16", "model.depth=1").code == 0
    return run_folder(folder)


def ran(program: str, x: Any) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(program, providers=["CPUExecutionProvider"])
    found = session.run(None, {"input": x})
    return dict(zip([output.name for output in session.get_outputs()], found, strict=True))


def test_raw_inputs_go_in_and_labels_come_out(optbench: Callable, folder: Path) -> None:
    make_table(folder / "t.csv", 90)
    asked = ["data=csv", "data.path=t.csv", "data.label=bought", "epochs=3", "model.width=16"]
    assert optbench("train", *asked).code == 0
    run = run_folder(folder)
    said = optbench("predict", str(run), "--export", "model.onnx")
    assert said.code == 0, said.err
    x = raw_inputs(part_of_data(run, "train").x)
    model = load_model(run)
    for n in (1, 7, len(x)):
        found = ran("model.onnx", x[:n])
        outputs = model(torch.from_numpy(x[:n]))
        assert model.labels is not None
        assert found["label"].tolist() == [str(model.labels[i]) for i in outputs.argmax(1)]
        torch.testing.assert_close(torch.from_numpy(found["probabilities"]), outputs.softmax(1), rtol=1e-4, atol=1e-5)
    assert "opset ai.onnx" in said.out
    assert all(line in said.out for line in ("input input: float [batch, ", "output label: string [batch]"))


def test_int8_says_what_it_changes_and_is_smaller(run: Path, optbench: Callable, folder: Path) -> None:
    assert optbench("predict", str(run), "--export", "whole.onnx").code == 0
    x = raw_inputs(part_of_data(run, "test").x)
    whole = ran("whole.onnx", x)["label"]
    for how in ("static", "dynamic"):
        said = optbench("predict", str(run), "--export", "int8.onnx", "--quantize", how)
        assert said.code == 0 and f"int8 weights ({how}): accuracy" in said.out, said.err
        assert (ran("int8.onnx", x)["label"] == whole).mean() > 0.95
        assert (folder / "int8.onnx").stat().st_size < (folder / "whole.onnx").stat().st_size


def test_what_is_quantized_says_no_shape_of_its_weights() -> None:
    """PyTorch 2.11 says them, and onnxruntime 1.30 turns the weights and finds the other shape wrong."""
    from onnx import TensorProto, helper, numpy_helper

    from runner.after.onnx_program import without_shapes_of_weights

    weight = numpy_helper.from_array(np.zeros((3, 2), np.float32), "weight")
    said = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 2]) for name in ("weight", "hidden")]
    graph = helper.make_graph([], "network", [], [], initializer=[weight], value_info=said)
    found = without_shapes_of_weights(helper.make_model(graph))
    assert [info.name for info in found.graph.value_info] == ["hidden"]
    assert [kept.name for kept in found.graph.initializer] == ["weight"]


def test_the_card_says_data_setting_seeds_interval_and_limits(optbench: Callable, folder: Path) -> None:
    assert (
        optbench("train", "-m", "seed=0,1,2", "epochs=2", "model.width=16", "save=last", "optim.lr=1e-3,1e-2").code == 0
    )
    runs = sorted((folder / "outputs" / "default").glob("*lr0.01-s1*"))
    assert optbench("predict", str(runs[0]), "--export", "model.pt2").code == 0
    card = (folder / "model.pt2.card.md").read_text()
    accuracies = [summary_of(p)["test_accuracy"] for p in (folder / "outputs" / "default").glob("*lr0.01-s*")]
    assert f"test_accuracy {np.mean(accuracies):.4g}, 95 % interval" in card and "with seed=0, seed=1, seed=2" in card
    for words in ("data=digits", "1295 train", "optim.lr=0.01", "## Limits", "seed 1"):
        assert words in card


def test_the_card_of_skewed_classes_gives_the_balanced_accuracy_and_what_one_class_has(
    optbench: Callable, folder: Path
) -> None:
    rows = "".join(f"{i % 7},{i % 5},{'yes' if i % 10 == 0 else 'no'}\n" for i in range(200))
    (folder / "t.csv").write_text("a,b,churn\n" + rows)
    asked = ["data=csv", "data.path=t.csv", "data.label=churn", "epochs=1", "model.width=4", "save=last"]
    assert optbench("train", *asked).code == 0
    run = run_folder(folder)
    assert optbench("predict", str(run), "--export", "model.pt2").code == 0
    card = (folder / "model.pt2.card.md").read_text()
    assert f"test_balanced_accuracy {summary_of(run)['test_balanced_accuracy']:.4g} of this run" in card
    assert ", and 0.9 for naming the largest class for every sample" in card


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--export", "model.onx"], ["--export must be a .pt2 or .onnx", "model.onx"]),
        (["--export", "model"], ["--export must be a .pt2 or .onnx"]),
        (["--quantize", "static"], ["--quantize static", "--export FILE.onnx"]),
        (["--export", "model.pt2", "--quantize", "static"], ["--quantize static is of an .onnx file"]),
        (["--export", "model.onnx", "--quantize", "statc"], ["static, dynamic", "did you mean 'static'"]),
        (["--export", "nowhere/model.onnx"], ["a folder that is there"]),
    ],
)
def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    asked: list[str], words: list[str], run: Path, optbench: Callable, folder: Path
) -> None:
    refused = optbench("predict", str(run), *asked)
    assert refused.code == 2 and all(word in refused.err for word in words), refused.err
    assert [p.name for p in folder.iterdir()] == ["outputs"]


def test_a_file_that_is_no_card_is_not_overwritten(run: Path, optbench: Callable, folder: Path) -> None:
    (folder / "model.pt2.card.md").write_text("my notes")
    refused = optbench("predict", str(run), "--export", "model.pt2")
    assert refused.code == 2 and "model.pt2.card.md" in refused.err
    assert (folder / "model.pt2.card.md").read_text() == "my notes" and not (folder / "model.pt2").exists()


def test_a_program_with_other_numbers_is_not_written(
    run: Path, optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.after.onnx_program.difference", lambda *_: 2e-4)
    refused = optbench("predict", str(run), "--export", "model.onnx")
    assert refused.code == 1 and "differ by 0.0002 from PyTorch's" in refused.err
    assert [p.name for p in folder.iterdir()] == ["outputs"]


def test_without_the_extra_it_is_named(
    run: Path, optbench: Callable, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    refused = optbench("predict", str(run), "--export", "model.onnx")
    assert refused.code == 2 and "pip install 'optbench[onnx]'" in refused.err


def test_the_example_is_ten_lines() -> None:
    example = Path(__file__).parents[2] / "examples" / "serve" / "serve.py"
    lines = [line for line in example.read_text().splitlines()[1:] if line.strip()]
    assert len(lines) <= 11
    compile(example.read_text(), str(example), "exec")
