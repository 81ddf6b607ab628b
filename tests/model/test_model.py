"""The residual network and the vision transformer against their papers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optbench import train
from runner import init
from runner.config.imports import resolve
from runner.engine import fused
from runner.errors import ConfigError
from runner.model import GPT, mlp, resnet, vit
from runner.model.fully_connected import NORMALIZATIONS
from runner.run.build import build
from runner.run.job import Job
from tests.support.known import as_seeds_go
from tests.support.records import Result
from tests.support.stacks import assert_same, runs_of, three

CIFAR = (3, 32, 32)


def residual(depth: int = 20, shape: tuple[int, ...] = CIFAR, **settings: object) -> nn.Module:
    defaults = {"width": 16, "activation": "relu", "shortcut": "identity"}
    return resnet(shape, 10, depth=depth, **{**defaults, **settings})


def transformer(shape: tuple[int, ...] = (3, 8, 8), outputs: int = 10, **settings: object) -> nn.Module:
    defaults = {"patch": 4, "width": 8, "depth": 2, "heads": 2, "activation": "gelu", "pool": "class"}
    return vit(shape, outputs, **{**defaults, **settings})


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.7")], ids=str
)
def test_resnet_has_the_papers_parameters_and_layers(depth: int, millions: str) -> None:
    with torch.device("meta"):
        model = residual(depth)
    assert f"{count(model) / 1e6:.{len(millions) - 2}f}" == millions  # table 6
    weighted = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) == depth
    assert [m.bias is None for m in weighted] == [True] * (depth - 1) + [False]


def test_resnet_20_is_counted_by_hand() -> None:
    stages = [(16, 16), (16, 32), (32, 64)]
    convolutions = 9 * 3 * 16 + sum(9 * a * b + 5 * 9 * b * b for a, b in stages)
    norms = 2 * (16 + 6 * (16 + 32 + 64))
    assert count(residual()) == convolutions + norms + 64 * 10 + 10 == 269722
    assert count(residual(shortcut="projection")) == 269722 + 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


def test_resnet_halves_the_image_where_it_doubles_the_channels() -> None:
    model = residual(shape=(1, 9, 13), width=4)
    shapes = []
    for block in model.blocks:
        block.register_forward_hook(lambda module, given, found: shapes.append(tuple(found.shape[1:])))
    assert model(torch.randn(2, 1, 9, 13)).shape == (2, 10)
    assert shapes == [(4, 9, 13)] * 3 + [(8, 5, 7)] * 3 + [(16, 3, 4)] * 3


def by_hand(model: nn.Module, x: Tensor) -> Tensor:
    """The network in training as the paper draws it: every operation written out."""

    def norm(name: str, x: Tensor) -> Tensor:
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
        scale, shift = (model.get_parameter(f"{name}.{k}").view(-1, 1, 1) for k in ("weight", "bias"))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def convolve(name: str, x: Tensor, stride: int) -> Tensor:
        weight = model.get_parameter(f"{name}.weight")
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    x = norm("norm", convolve("convolution", x, 1)).relu()
    for i in range(len(model.blocks)):
        name, stride = f"blocks.{i}", 2 if i in (1, 2) else 1
        hidden = norm(f"{name}.norms.0", convolve(f"{name}.convolutions.0", x, stride)).relu()
        hidden = norm(f"{name}.norms.1", convolve(f"{name}.convolutions.1", hidden, 1))
        if stride == 1:
            short = x
        elif model.blocks[i].projection is not None:
            short = norm(f"{name}.projection.1", convolve(f"{name}.projection.0", x, 2))
        else:
            short = torch.cat([x[:, :, ::2, ::2], torch.zeros_like(hidden[:, x.shape[1] :])], 1)
        x = (hidden + short).relu()
    return x.mean((2, 3)) @ model.readout.weight.T + model.readout.bias


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_resnet_is_its_blocks_written_by_hand(shortcut: str) -> None:
    torch.manual_seed(0)
    model = residual(8, (3, 9, 8), width=4, shortcut=shortcut).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.1, 0.5)
    x = torch.randn(5, 3, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(model(x), by_hand(model, x), rtol=1e-10, atol=1e-10)


def test_vit_has_the_papers_parameters() -> None:
    """Table 1: 86 M, 307 M and 632 M, which are these at 224 by 224 pixels and 1,000 classes."""
    for patch, width, depth, heads, parameters in [
        (16, 768, 12, 12, 86_567_656),
        (16, 1024, 24, 16, 304_326_632),
        (14, 1280, 32, 16, 632_045_800),
    ]:
        with torch.device("meta"):
            model = transformer((3, 224, 224), 1000, patch=patch, width=width, depth=depth, heads=heads)
        assert count(model) == parameters


def test_vit_is_torchvisions_with_the_same_weights() -> None:
    from torchvision.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    ours = transformer().double().eval()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, 0.0, 0.5)
    theirs = VisionTransformer(8, 4, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=32, num_classes=10)
    theirs = theirs.double().eval()
    of_torchvision = {
        "class_token": ours.token.view(1, 1, 8),
        "conv_proj.weight": ours.patches.weight.view(8, 3, 4, 4),
        "conv_proj.bias": ours.patches.bias,
        "encoder.pos_embedding": ours.places.weight.view(1, 5, 8),
        "encoder.ln.weight": ours.norm.weight,
        "encoder.ln.bias": ours.norm.bias,
        "heads.head.weight": ours.readout.weight,
        "heads.head.bias": ours.readout.bias,
    }
    for i, block in enumerate(ours.blocks):
        name, attention = f"encoder.layers.encoder_layer_{i}", block.attention
        asked = (attention.query, attention.key, attention.value)
        layers = {
            "ln_1": block.attention_norm,
            "self_attention.out_proj": attention.out,
            "ln_2": block.mlp_norm,
            "mlp.0": block.rise,
            "mlp.3": block.fall,
        }
        for kind in ("weight", "bias"):
            of_torchvision |= {f"{name}.{k}.{kind}": getattr(layer, kind) for k, layer in layers.items()}
            of_torchvision[f"{name}.self_attention.in_proj_{kind}"] = torch.cat([getattr(m, kind) for m in asked])
    theirs.load_state_dict(of_torchvision)
    for module in theirs.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-10, atol=1e-10)


def test_mean_pooling_reads_the_patches_in_no_order_but_their_places() -> None:
    torch.manual_seed(0)
    model = transformer((1, 8, 12), pool="mean").double()
    assert model.token is None and model.places.weight.shape == (6, 8)
    x = torch.randn(2, 1, 8, 12, dtype=torch.float64)
    swapped = torch.cat([x[..., 4:8], x[..., :4], x[..., 8:]], -1)  # the patches of the first two columns
    assert not torch.allclose(model(x), model(swapped))
    order = torch.tensor([1, 0, 2, 4, 3, 5])
    before = model(x)
    with torch.no_grad():
        model.places.weight.copy_(model.places.weight[order])
    torch.testing.assert_close(model(swapped), before)


def test_vit_drops_where_its_paper_does_and_gpt_where_it_did() -> None:
    """Appendix B.1: after every linear layer but those of queries, keys and values, and after the embedding."""
    seen: list[tuple[int, tuple[int, ...]]] = []

    def note(hidden: Tensor, place: int) -> Tensor:
        seen.append((place, tuple(hidden.shape)))
        return hidden

    transformer()(torch.randn(2, 3, 8, 8), note)
    each = [(2, 5, 8), (2, 5, 32), (2, 5, 8)]
    assert [shape for _, shape in seen] == [(2, 5, 8), *each, *each]
    assert sorted(place for place, _ in seen) == list(range(7))  # each its own noise
    seen.clear()
    GPT(4, 5, 5, 8, 2, 2, "gelu")(torch.randint(5, (2, 4)), note)
    assert seen == [(place, (2, 4, 8)) for place in range(5)]


def test_only_the_models_whose_papers_say_so_scale_their_branches() -> None:
    def scaled(model: nn.Module) -> int:
        return sum(getattr(module, "residual_branches", None) is not None for module in model.modules())

    assert scaled(GPT(4, 5, 5, 8, 2, 2, "gelu")) == 4
    assert scaled(transformer()) == scaled(residual(8)) == 0
    filled = init.construct(
        transformer, 0, lambda weight, generator: init.orthogonal(weight, generator, gain=1.0), 0.0, torch.zeros
    )
    torch.testing.assert_close(filled.blocks[0].fall.weight @ filled.blocks[0].fall.weight.T, torch.eye(8))


def test_an_option_is_found_in_its_package_and_what_is_imported_there_is_not() -> None:
    assert resolve("runner.model.mlp") is mlp
    with pytest.raises(ValueError, match=r"comes from runner\.noise"):
        resolve("runner.init.derive")


@pytest.mark.parametrize(
    "shared",
    [
        ["model=resnet", "model.depth=8", "model.width=4", "optim=sgd"],
        ["model=resnet", "model.depth=8", "model.width=4", "model.shortcut=projection", "optim=sgd"],
        ["model=vit", "model.width=8", "model.depth=1", "optim=sgd"],
        ["model=vit", "model.width=8", "model.depth=1", "model.pool=mean", "regularization=dropout"],
    ],
    ids=" ".join,
)
def test_a_stack_is_its_members(shared: list[str], job: Callable[..., Job]) -> None:
    runs = runs_of(job, three(*shared), "batch.size=16", "max_steps=10", "eval_every=5", "dtype=float64")
    assert fused.refusal(runs[0]) is None
    assert_same(runs, 1e-9)


@pytest.mark.parametrize(
    ("small", "mean", "deviation"),
    [
        (["model=resnet", "model.depth=8", "model.width=8"], 0.982, 0.0074),
        (["model=vit", "model.depth=1"], 0.946, 0.0097),
    ],
    ids=["resnet", "vit"],
)
def test_they_learn_the_digits(small: list[str], mean: float, deviation: float, folder: Path) -> None:
    result = train(*small, "epochs=8", "optim.lr=0.003", "diagnostics=true")
    assert result.summary["test_accuracy"] == as_seeds_go(mean, deviation)
    assert result.summary["exploding_layers"] == ""


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=resnet", "model.depth=18"], ["model.depth must be 6n + 2", "got 18", "valid: 8, 14, 20"]),
        (["model=resnet", "model.depth=2"], ["model.depth must be 6n + 2", "got 2"]),
        (["model=resnet", "data=wine"], ["model=resnet needs images", "[13]"]),
        (["model=resnet", "data=mnist1d"], ["model=resnet needs images", "[1, 40]"]),
        (["model=resnet", "regularization=dropout"], ["regularization=dropout beside model=resnet", "batch norm"]),
        (["model=resnet", "model.shortcut=projecton"], ["model.shortcut", "did you mean 'projection'"]),
        (["model=vit", "model.patch=3"], ["model.patch must divide images of 8×8, got 3", "valid: 1, 2, 4, 8"]),
        (["model=vit", "model.heads=3"], ["model.heads must divide model.width=64, got 3"]),
        (["model=vit", "data=wine"], ["model=vit needs images", "[13]"]),
        (["model=vit", "data=text"], ["model=vit reads numbers, and texts are characters"]),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_what_does_not_fit_is_refused(
    overrides: list[str], said: list[str], optbench: Callable[..., Result], folder: Path
) -> None:
    refused = optbench("train", *overrides, "max_steps=1")
    assert refused.code == 2 and "Traceback" not in refused.err
    assert all(words in refused.err for words in said), refused.err
    assert list(folder.iterdir()) == []


def test_batch_norm_over_one_sample_is_refused_before_it_is_met(job: Callable[..., Job]) -> None:
    assert len(build(job()).train.y) == 2 * 647 + 1
    with pytest.raises(ConfigError, match=r"batch\.size=647 leaves one of 1295 samples for an epoch's last batch"):
        build(job("model.normalization=batch", "batch.size=647", "epochs=1", "dtype=float64"))
    with pytest.raises(ConfigError, match=r"batch\.size=1 leaves one"):
        build(job("model=torchvision", "model.name=resnet18", "batch.size=1"))
    assert build(job("model=resnet", "batch.size=647")).steps == 60  # of 2 by 2 places there is a variance
    assert build(job("model.normalization=batch", "batch.size=647", "max_steps=2")).steps == 2
    assert build(job("model.normalization=layer", "batch.size=647")).steps == 60


def test_resnet_refuses_images_smaller_than_eight() -> None:
    with pytest.raises(ValueError, match="8×8 at least, the data has 7×9"):
        residual(shape=(1, 7, 9))


@pytest.mark.parametrize(("width", "groups"), [(64, 8), (32, 8), (16, 4), (8, 2), (12, 1), (6, 1)])
def test_groups_have_four_units_at_least(width: int, groups: int) -> None:
    assert NORMALIZATIONS["group"](width).num_groups == groups
