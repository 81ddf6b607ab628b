"""Maximal update parametrization: table 8 of Yang et al. 2022 in numbers, and what it is for."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from optbench import load_model, train
from runner.after.predict import part_of_data
from runner.config import options
from runner.engine import loop
from runner.engine.run import Run
from runner.engine.state import start
from runner.model import gpt, mlp
from runner.run.build import build
from runner.run.job import Job
from runner.search import lr_range
from tests.support.composed import compose_job
from tests.support.loops import alone

TEXT = ["data=text", "data.characters=4000", "data.context=16", "model=gpt", "batch.size=8"]
WIDE = ["model.mup=true", "model.width=1024"]
"""Four times as wide as the base."""
RESCALED = [o.name for o in options.options("init") if not o.spec.conflicts and o.name != "pretrained"]
RULES = {o.name: o.spec.facts["mup_rule"] for o in options.options("optim") if "mup_rule" in o.spec.facts}


def trained(run: Run) -> nn.Module:
    return alone(run)[0].model


@pytest.mark.parametrize("given", [[], ["init=he", "optim=sgd"], ["init=xavier"], [*TEXT, "init=orthogonal"], TEXT])
def test_at_the_base_width_it_is_the_standard_parametrization_to_the_bit(given: list[str], folder: Path) -> None:
    standard, maximal = (
        trained(build(compose_job([*given, "max_steps=3", f"model.mup={m}"]))) for m in ("false", "true")
    )
    assert all(torch.equal(a, b) for a, b in zip(standard.parameters(), maximal.parameters(), strict=True))


def test_the_base_width_is_the_models_default() -> None:
    known = [option for option in options.options("model") if "base_width" in option.spec.facts]
    assert {option.name for option in known} == {"mlp", "gpt", "encoder"}
    for option in known:
        assert option.settings["width"].default == option.spec.facts["base_width"]


@pytest.mark.parametrize("init", RESCALED)
def test_hidden_variance_falls_as_one_over_the_width_and_all_others_stay(init: str, job: Callable[..., Job]) -> None:
    base, wide = (build(job(f"init={init}", *given)).construct() for given in ([], WIDE))
    for name, expected in (("hidden.0", 1.0), ("hidden.1", 1 / 4), ("readout", 1.0)):
        then, now = (model.get_submodule(name).weight.square().mean().item() for model in (base, wide))
        assert now / then == pytest.approx(expected, rel=0.1), name
        if init == "default":
            then, now = (model.get_submodule(name).bias.square().mean().item() for model in (base, wide))
            assert now / then == pytest.approx(1.0, rel=0.9 if name == "readout" else 0.3), name
        else:
            assert not wide.get_submodule(name).bias.any()


@pytest.mark.parametrize("init", RESCALED)
def test_the_same_holds_in_a_transformer(init: str, job: Callable[..., Job]) -> None:
    base, wide = (
        build(job(*TEXT, f"init={init}", *w)).construct() for w in ([], ["model.mup=true", "model.width=256"])
    )
    for name, weight in wide.named_parameters():
        if weight.ndim == 2:
            expected = 1 / 4 if "blocks" in name else 1.0
            then = base.get_parameter(name).square().mean().item()
            assert weight.square().mean().item() / then == pytest.approx(expected, rel=0.25), name


def test_biases_set_to_a_value_keep_it(job: Callable[..., Job]) -> None:
    wide = build(job("init=he", "init.bias=0.5", *WIDE)).construct()
    assert all((m.bias == 0.5).all() for m in wide.modules() if isinstance(m, nn.Linear))


def scales(run: Run) -> dict[str, float]:
    model = run.construct()
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: group["lr_scale"] for group in run.optim.groups(model) for p in group["params"]}


@pytest.mark.parametrize(
    ("optim", "hidden", "others"),
    [(o, 0.25, 1.0) for o in ("adam", "adamw", "amsgrad", "adamax", "nadam", "adagrad", "rmsprop")]
    + [(o, 1.0, 4.0) for o in ("gd", "sgd", "momentum", "nesterov")],
)
def test_learning_rates_are_those_of_the_table(
    optim: str, hidden: float, others: float, job: Callable[..., Job]
) -> None:
    assert scales(build(job("model.normalization=layer", f"optim={optim}", *WIDE))) == {
        "hidden.0.weight": others,
        "hidden.1.weight": hidden,
        "readout.weight": others,
        **dict.fromkeys(("hidden.0.bias", "hidden.1.bias", "norms.0.weight", "norms.1.weight"), others),
        **dict.fromkeys(("norms.0.bias", "norms.1.bias"), others),
        "readout.bias": 1.0,
    }


def test_learning_rates_of_a_transformer_narrower_than_its_base(job: Callable[..., Job]) -> None:
    adam, sgd = (scales(build(job(*TEXT, f"optim={o}", "model.mup=true", "model.width=32"))) for o in ("adam", "sgd"))
    for name in adam:
        matrix = "blocks" in name and "norm" not in name and name.endswith("weight")
        assert adam[name] == (2.0 if matrix else 1.0), name
        assert sgd[name] == (1.0 if matrix or name == "readout.bias" else 0.5), name


def test_a_step_takes_each_parameter_as_far_as_its_rate_says(job: Callable[..., Job]) -> None:
    run = build(job("optim=adam", "optim.lr=1e-4", "scheduler=constant", "max_steps=1", "dtype=float64", *WIDE))
    before, after = run.construct(), trained(run)
    for name, rate in (("hidden.0.weight", 1e-4), ("hidden.1.weight", 2.5e-5), ("readout.weight", 1e-4)):
        moved = (after.get_parameter(name) - before.get_parameter(name)).abs()
        assert moved[moved > 0].median().item() == pytest.approx(rate, rel=1e-3), name


def test_the_readout_is_divided_by_the_growth_of_the_width() -> None:
    settings = {"depth": 1, "widths": [], "activation": "relu", "bias": True}
    settings |= {"normalization": "none", "residual": False}
    model = mlp((5,), 3, width=32, mup=True, base_width=8, **settings).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    hidden = torch.relu(x @ model.hidden[0].weight.T + model.hidden[0].bias)
    assert torch.allclose(model(x), hidden @ model.readout.weight.T / 4 + model.readout.bias)


def test_attention_divides_by_the_width_of_a_head_and_not_its_root() -> None:
    torch.manual_seed(0)
    settings = {"alphabet": "abcd", "depth": 1, "heads": 2, "activation": "gelu"}
    wide = gpt((6,), 4, width=32, mup=True, base_width=8, **settings).double().blocks[0].attention
    x = torch.randn(1, 6, 32, dtype=torch.float64)
    heads = []
    for head in range(2):
        columns = slice(16 * head, 16 * head + 16)
        q, k, v = (layer(x)[0][:, columns] for layer in (wide.query, wide.key, wide.value))
        scores = q @ k.T * math.sqrt(8 / 2) / 16  # 1/d, and 1/√d where d is the base's 4
        heads.append(scores.masked_fill(torch.ones(6, 6).triu(1).bool(), -math.inf).softmax(1) @ v)
    assert torch.allclose(wide(x)[0], wide.out(torch.cat(heads, 1)))


DECAYED = [
    ["optim=adamw", "optim.weight_decay=0.5"],
    ["optim=adam", "regularization=weight_decay", "regularization.weight_decay.rate=0.5"],
]


@pytest.mark.parametrize("given", DECAYED)
def test_weight_decay_does_not_depend_on_the_width(given: list[str], job: Callable[..., Job]) -> None:
    run = build(job("dtype=float64", "scheduler=constant", "optim.lr=0.1", *given, *WIDE))
    state = start(run)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    for parameter in state.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    loop._update(state, run.train.x, run.train.y, 0.1, None)
    for name, p in state.model.named_parameters():
        kept = 1 - 0.1 * 0.5 if p.ndim > 1 else 1.0
        assert torch.allclose(p, kept * before[name], rtol=1e-12, atol=0), name


def change_of_logits(run: Run) -> float:
    before, after = run.construct(), trained(run)
    with torch.no_grad():
        return float((after(run.val.x) - before(run.val.x)).abs().mean())


@pytest.mark.parametrize(
    "optim", [o if o in ("sgd", "adam") else pytest.param(o, marks=pytest.mark.slow) for o in RULES]
)
def test_the_change_of_the_function_does_not_grow_with_the_width(optim: str, job: Callable[..., Job]) -> None:
    def slope(mup: str, *base: str) -> float:
        changes = [
            [
                change_of_logits(build(job(*common, f"model.width={width}", f"seed={seed}", f"model.mup={mup}", *base)))
                for seed in range(2)
            ]
            for width in (64, 1024)
        ]
        narrow, wide = (math.log(sum(of_width)) for of_width in changes)
        return (wide - narrow) / math.log(16)

    lr = "0.03" if RULES[optim] == "sgd" else "3e-4"
    common = [f"optim={optim}", f"optim.lr={lr}", "max_steps=3", "scheduler=constant"]
    assert abs(slope("true", "model.base_width=64")) < 0.2
    assert slope("false") > 0.5


REFUSED = [
    (["optim=muon"], ["model.mup=true", "optim=muon", "adamw", "sgd"], ["optim=adamw"]),
    (["optim=radam"], ["optim=radam", "no rule"], ["optim=nadam"]),
    (["optim=custom", "optim.target=torch.optim.Adam"], ["optim=custom", "no rule"], ["optim=adam"]),
    (["init=zeros"], ["init=zeros", "variance"], ["init=normal"]),
    (["init=constant"], ["init=constant", "variance"], ["init=uniform"]),
    (["init=lsuv"], ["init=lsuv", "last layer"], ["init=orthogonal"]),
    (["init=custom", "init.target=torch.nn.init.normal_"], ["init=custom", "nobody knows"], ["init=trunc_normal"]),
    (["regularization=l2"], ["regularization=l2", "optim.weight_decay"], ["regularization=dropout"]),
    (["regularization=weight_norm"], ["regularization=weight_norm"], ["regularization=grad_clip"]),
    (["model.widths=[8,16]"], ["model.widths=[8, 16]", "one width"], ["model.widths=[16,16]"]),
    (["model.base_width=0"], ["model.base_width", "≥ 1"], ["model.base_width=1"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "words", "twin"), REFUSED, ids=[" ".join(given) for given, _, _ in REFUSED])
def test_what_it_cannot_stand_beside_is_refused_and_its_twin_runs(
    given: list[str], words: list[str], twin: list[str], optbench: Callable, folder: Path
) -> None:
    mup = ["model.mup=true", "model.width=16", "max_steps=1"]
    refused = optbench("train", *mup, *given)
    assert refused.code == 2 and "Traceback" not in refused.err
    assert all(word in refused.err for word in words), refused.err
    assert list(folder.iterdir()) == []
    assert optbench("train", *mup, *twin).code == 0


def test_a_base_width_without_it_is_refused(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "model.base_width=64")
    assert refused.code == 2 and "model.base_width=64 does nothing without model.mup=true" in refused.err
    assert list(folder.iterdir()) == []


def test_ids_of_runs_without_it_stay_and_the_base_width_counts_with_it(job: Callable[..., Job]) -> None:
    assert job("model.mup=false").run_id == job().run_id
    assert job("model.mup=true").run_id == job("model.mup=true", "model.base_width=256").run_id != job().run_id
    assert job("model.mup=true").run_id != job("model.mup=true", "model.base_width=64").run_id


def test_a_stack_takes_it(optbench: Callable) -> None:
    asked = ["model.mup=true", "model.width=16", "max_steps=1", "seeds=2", "engine=fused"]
    assert optbench("train", "-m", *asked).code == 0


def test_the_range_test_raises_every_parameters_rate(job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []

    def steps(state: SimpleNamespace, pulse: Callable, hold: int) -> list[None]:
        for state.step in range(1, 41):
            seen.append([group["lr_scale"] for group in state.optimizer.param_groups])
            pulse(state, 1.0 / state.step)
        return []

    monkeypatch.setattr(lr_range.loop, "train", steps)
    lr_range.lr_range(job(*WIDE), 1e-5, 1e-1, 40)
    assert seen == [[1.0, 0.25, 1.0]] * 40


def test_a_trained_run_is_loaded_as_it_was(folder: Path) -> None:
    result = train("model.mup=true", "model.width=32", "epochs=2", "save=last")
    model = load_model(result.folder)
    samples = part_of_data(result.folder, "test")
    with torch.no_grad():
        found = model(torch.from_numpy(samples.x).float()).argmax(1)
    accuracy = (found == torch.from_numpy(samples.y)).float().mean().item()
    assert accuracy == pytest.approx(result.summary["test_accuracy"], abs=1e-6)
    going_on = ["model.mup=true", "model.width=32", "max_steps=1", "init=pretrained", f"init.run={result.folder}"]
    first = train(*going_on).metrics["val_loss"].iloc[0]
    assert first == pytest.approx(result.summary["final_val_loss"])
