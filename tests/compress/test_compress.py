"""Compression in training: sparsity is exact, structures are smaller, factors are the best ones."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from runner import model as models
from runner.compress.factors import factored
from runner.compress.prune_structured import cut_out
from runner.compress.pruning import Plan, cut
from runner.run.load import load_model
from tests.support.known import TINY
from tests.support.records import run_folder, run_folders, summary_of, without_timing

NET = ["epochs=2", "model.width=16", "model.depth=2", "save=last"]
PRUNABLE = 64 * 16 + 16 * 16 + 16 * 10
IMAGE = (1, 8, 8)


def zeros(run: Path) -> list[tuple[int, int]]:
    """How many weights of each matrix are 0, and how many there are."""
    return [(int((p == 0).sum()), p.numel()) for p in load_model(run).network.parameters() if p.ndim > 1]


@pytest.mark.parametrize(
    ("asked", "exact"),
    [
        (["compress=prune_once", "compress.prune_once.sparsity=0.777"], [round(0.777 * PRUNABLE)]),
        (
            ["compress=prune", "compress.prune.sparsity=0.613"],
            [round(0.613 * n) for n in (64 * 16, 16 * 16, 16 * 10)],
        ),
    ],
)
def test_sparsity_is_exact_to_one_weight(asked: list[str], exact: list[int], optbench: Callable, folder: Path) -> None:
    assert optbench("train", *NET, *asked).code == 0
    run = run_folder(folder)
    found = zeros(run)
    assert sum(zero for zero, _ in found) == sum(exact) == summary_of(run)["pruned_weights"]
    if len(exact) > 1:
        assert [zero for zero, _ in found] == exact
    assert summary_of(run)["prunable_weights"] == PRUNABLE
    assert summary_of(run)["sparsity"] == pytest.approx(sum(exact) / PRUNABLE)


def test_the_least_weights_go_and_stay_gone() -> None:
    weights = {"a": torch.tensor([[[3.0, -1.0, 2.0]]]), "b": torch.tensor([[[0.5, 4.0, -1.0]]])}
    masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
    masks = cut(weights, masks, 0.5, "model")
    assert masks["a"].tolist() == [[[True, False, True]]] and masks["b"].tolist() == [[[False, True, False]]]
    weights["a"][0, 0, 1] = 9.0  # as an optimizer's momentum may have it
    masks = cut(weights, masks, 4 / 6, "model")
    assert masks["a"].tolist() == [[[True, False, False]]] and masks["b"].tolist() == [[[False, True, False]]]
    each = cut(weights, {n: torch.ones_like(m) for n, m in masks.items()}, 1 / 3, "layer")
    assert [int((~mask).sum()) for mask in each.values()] == [1, 1]


def test_the_share_grows_as_the_papers_cubic() -> None:
    plan = Plan(0.8, 10, 50, 10, "layer")
    assert [plan.share(t, 60) for t in (9, 10, 20, 29, 50, 60)] == pytest.approx(
        [0, 0, 0.8 * (1 - 0.75**3), 0.8 * (1 - 0.75**3), 0.8, 0.8]
    )
    assert Plan(0.8, 0.25, 0.5, 1, "layer").share(30, 60) == 0.8


def test_a_gradual_pruning_that_was_stopped_goes_on_to_the_same_rows_and_masks(
    optbench: Callable, folder: Path
) -> None:
    asked = ["max_steps=60", "eval_every=10", "model.width=16", "compress=prune", "save=last"]
    assert optbench("train", *asked, "name=whole").code == 0
    for stop in (["pause_at=20"], ["pause_at=40"], []):
        assert optbench("train", *asked, "name=paused", *stop).code == 0
    whole, paused = (run_folder(folder, name) for name in ("whole", "paused"))
    assert summary_of(paused)["resumed_from_step"] == 40
    assert without_timing(whole) == without_timing(paused) and zeros(whole) == zeros(paused)


def test_a_stack_prunes_as_each_run_alone_does(optbench: Callable, folder: Path) -> None:
    asked = [*NET, "compress=prune", "seed=0,1", "dtype=float64"]
    for name, engine in (("stack", "fused"), ("loop", "loop")):
        assert optbench("train", "-m", *asked, f"name={name}", f"engine={engine}").code == 0
    pairs = zip(*(sorted(run_folders(folder, name)) for name in ("stack", "loop")), strict=True)
    for stacked, alone in pairs:
        assert summary_of(stacked)["engine"] == "fused" and zeros(stacked) == zeros(alone)
        assert summary_of(stacked)["test_loss"] == pytest.approx(summary_of(alone)["test_loss"], rel=1e-9)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": lambda: models.mlp(
        IMAGE, 10, width=32, depth=3, widths=[], activation="relu", bias=True, normalization="batch", residual=True
    ),
    "cnn": lambda: models.cnn(IMAGE, 10, width=8, depth=2, activation="relu"),
    "resnet": lambda: models.resnet(IMAGE, 10, depth=8, width=8, activation="relu", shortcut="pad"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_half_of_the_units_leave_smaller_layers_that_still_fit(name: str) -> None:
    network = NETWORKS[name]()
    before = sum(p.numel() for p in network.parameters())
    cut_out(network, torch.zeros(1, *IMAGE), 0.5)
    assert sum(p.numel() for p in network.parameters()) < 0.6 * before
    assert network(torch.randn(3, *IMAGE)).shape == (3, 10)


def test_a_pruned_structure_has_fewer_parameters_bytes_and_flops_and_is_loaded(
    optbench: Callable, folder: Path
) -> None:
    assert optbench("train", *NET, "name=dense").code == 0
    dense = run_folder(folder, "dense")
    asked = [*NET, "init=pretrained", f"init.run={dense}", "compress=prune_structured"]
    assert optbench("train", *asked, "name=small").code == 0
    small = run_folder(folder, "small")
    for key in ("parameters", "flops_per_sample"):
        assert summary_of(small)[key] < 0.55 * summary_of(dense)[key]
    assert (small / "checkpoint.pt").stat().st_size < (dense / "checkpoint.pt").stat().st_size
    lost = summary_of(dense)["parameters"] - summary_of(small)["parameters"]
    assert summary_of(small)["removed_parameters"] == lost
    assert next(tuple(p.shape) for p in load_model(small).network.parameters()) == (8, 64)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(12, 9),
        lambda: nn.Conv2d(3, 8, 3, padding=1, stride=2),
        lambda: nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"),
    ],
    ids=["linear", "conv", "circular"],
)
def test_factors_are_the_best_of_their_rank(make: Callable[[], nn.Linear | nn.Conv2d]) -> None:
    torch.manual_seed(0)
    layer = make()
    x = torch.randn(4, 12) if isinstance(layer, nn.Linear) else torch.randn(4, 3, 6, 6)
    full = min(layer.weight.shape[0], layer.weight[0].numel())
    torch.testing.assert_close(factored(layer, full)(x), layer(x), rtol=1e-4, atol=1e-5)
    first, second = (part.weight.detach() for part in factored(layer, 2))  # type: ignore[union-attr]
    product = second.reshape(len(second), -1) @ first.reshape(2, -1)
    left = torch.linalg.svdvals(layer.weight.detach().reshape(len(second), -1))[2:].square().sum().sqrt()
    assert float((product - layer.weight.detach().reshape(len(second), -1)).norm()) == pytest.approx(
        float(left), rel=1e-4
    )


def test_low_rank_and_structure_go_together_and_are_loaded(optbench: Callable, folder: Path) -> None:
    asked = ["epochs=2", "model.width=32", "model.depth=2", "save=last", "compress=[prune_structured,low_rank]"]
    assert optbench("train", *asked, "compress.low_rank.share=0.2").code == 0
    run = run_folder(folder)
    assert load_model(run)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert summary_of(run)["parameters"] < 64 * 32


@pytest.mark.slow
def test_training_that_rounds_ends_in_int8_with_the_same_outputs(optbench: Callable, folder: Path) -> None:
    from runner.compress.fake_quantized import converted

    assert optbench("train", *NET, "compress=quantize").code == 0
    network = load_model(run_folder(folder)).network
    x = torch.randn(50, 1, 8, 8)
    rounded = network(x).detach()
    assert (converted(network)(x).argmax(1) == rounded.argmax(1)).float().mean() > 0.95


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["compress=prune_structured", "model=vit", "model.patch=4"], ["model=vit", "torch-pruning cannot cut"]),
        (["compress=prune_structured", "model=linear"], ["compress=prune_structured removes nothing"]),
        (["compress=[prune_once,prune]"], ["one way of pruning weights at a time"]),
        (["compress=prune", "regularization=ema"], ["averages hold weights where pruned ones are 0"]),
        (["compress=prune", "finetune=lora"], ["finetune=lora beside compress=prune"]),
        (["compress=prune", "compress.prune.end=0.05"], ["compress.prune.end must be ≥"]),
        (["compress=prune", "compress.prune.end=5000"], ["its cuts lie between steps", "the run has 42"]),
        (["compress=prun"], ["did you mean 'prune'"]),
        (["compress=low_rank", "model.width=1"], ["makes no layer of MLP smaller"]),
    ],
)
def test_what_cannot_be_compressed_is_refused_with_the_reason(
    asked: list[str], words: list[str], optbench: Callable, folder: Path
) -> None:
    refused = optbench("train", *(["epochs=2"] if any(a.startswith("model") for a in asked) else TINY), *asked)
    assert refused.code == 2 and all(word in refused.err for word in words), refused.err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("option", "package"), [("prune_structured", "torch_pruning"), ("quantize", "torchao")])
def test_without_the_extra_it_is_named(
    option: str, package: str, optbench: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.quantization", None)
    refused = optbench("train", *TINY, f"compress={option}")
    assert refused.code == 2 and "pip install 'optbench[compress]'" in refused.err
