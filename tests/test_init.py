"""Initializers against their formulas."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from optbench import load_model, train
from runner import init
from runner.engine import checkpoint
from runner.engine.state import start
from runner.noise import derive, generator
from runner.run.build import build
from tests.support.composed import compose_job

SHAPES = [(400, 300), (300, 400), (64, 32, 3, 3)]
FANS = {(400, 300): (300, 400), (300, 400): (400, 300), (64, 32, 3, 3): (288, 576)}


def drawn(fill: Callable, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    weight = torch.empty(shape)
    fill(weight, generator(seed, "test"))
    return weight


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("fill", "variance"),
    [
        (partial(init.he_normal, gain=math.sqrt(2)), lambda fan_in, fan_out: 2 / fan_in),
        (partial(init.he_uniform, gain=math.sqrt(2)), lambda fan_in, fan_out: 2 / fan_in),
        (partial(init.xavier_normal, gain=1.0), lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        (partial(init.xavier_uniform, gain=1.0), lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        (partial(init.he_normal, gain=3.0), lambda fan_in, fan_out: 9 / fan_in),
        (partial(init.xavier_uniform, gain=3.0), lambda fan_in, fan_out: 18 / (fan_in + fan_out)),
        (partial(init.lecun_normal, gain=1.0), lambda fan_in, fan_out: 1 / fan_in),
        # ∫ of x²φ(x) over ± 2, over that of φ: what truncation at two deviations leaves
        (partial(init.trunc_normal, std=0.3), lambda fan_in, fan_out: 0.09 * 0.7737413),
        (partial(init.normal, std=0.3), lambda fan_in, fan_out: 0.09),
        (partial(init.uniform, bound=0.3), lambda fan_in, fan_out: 0.03),
    ],
    ids=[
        "he_normal",
        "he_uniform",
        "xavier_normal",
        "xavier_uniform",
        "he gain 3",
        "xavier gain 3",
        "lecun_normal",
        "trunc_normal",
        "normal",
        "uniform",
    ],
)
def test_variance_is_the_papers(fill: Callable, variance: Callable, shape: tuple[int, ...]) -> None:
    weight = drawn(fill, shape).double()
    expected = variance(*FANS[shape])
    # The standard error of a variance is at most variance·√(2/n): five of them.
    tolerance = 5 * math.sqrt(2 / weight.numel())
    assert weight.var().item() == pytest.approx(expected, rel=tolerance)
    assert abs(weight.mean().item()) < 5 * math.sqrt(expected / weight.numel())


@pytest.mark.parametrize(("name", "bounded"), [("he_uniform", True), ("he_normal", False)])
def test_uniform_is_bounded_and_normal_is_not(name: str, bounded: bool) -> None:
    weight = drawn(partial(getattr(init, name), gain=math.sqrt(2)), (400, 300))
    bound = math.sqrt(3 * 2 / 300)
    assert (weight.abs().max().item() <= bound) == bounded


def test_he_second_moment_is_constant_over_depth(job: Callable) -> None:
    slopes = {}
    for name in ("he", "xavier"):
        moments = torch.zeros(12)

        def measure(hidden: torch.Tensor, place: int, moments: torch.Tensor = moments) -> torch.Tensor:
            moments[place] += hidden.detach().square().mean()
            return hidden

        for seed in range(4):
            run = build(job(f"init={name}", "model.width=512", "model.depth=12", f"seed={seed}"))
            model, x = run.construct(), torch.randn(256, 64, generator=torch.Generator().manual_seed(seed))
            model(x, measure)
        depth = torch.arange(2, 12).double()
        log = moments[2:].double().log2()
        slopes[name] = ((depth - depth.mean()) * (log - log.mean())).sum() / (depth - depth.mean()).square().sum()
    assert slopes["he"] == pytest.approx(0, abs=0.1)
    assert slopes["xavier"] == pytest.approx(-1, abs=0.1)


def test_default_is_pytorchs_own(job: Callable) -> None:
    model = build(job("init=default", "seed=7", "model=linear")).construct()
    torch.manual_seed(derive(7, "weights"))
    expected = nn.Linear(64, 10)
    assert torch.equal(model.readout.weight, expected.weight)
    assert torch.equal(model.readout.bias, expected.bias)


@pytest.mark.parametrize("name", ["zeros", "normal", "uniform", "xavier", "he", "he_uniform"])
def test_biases_take_their_value(name: str, job: Callable) -> None:
    for value in (0.0, 0.25):
        model = build(job(f"init={name}", f"init.bias={value}")).construct()
        biases = [p for n, p in model.named_parameters() if n.endswith("bias")]
        assert len(biases) == 3
        assert all((b == value).all() for b in biases)


def test_weights_depend_on_the_seed_alone(job: Callable) -> None:
    def weights(*overrides: str) -> list[torch.Tensor]:
        return [p.detach() for p in build(job("init=he", *overrides)).construct().parameters()]

    first = weights("optim=sgd", "seed=1")
    torch.manual_seed(123)
    for other in (weights("optim=adamw", "seed=1"), weights("batch.size=7", "regularization=dropout", "seed=1")):
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[0], weights("seed=2")[0])
    deeper = weights("model.depth=3", "seed=1")
    assert torch.equal(first[0], deeper[0])


def test_construction_leaves_the_global_generator_alone(job: Callable) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build(job("init=he")).construct()
    assert torch.equal(torch.rand(3), expected)


def test_gains_are_the_papers_whatever_the_activation_unless_asked(job: Callable) -> None:
    for activation in ("relu", "tanh", "identity"):
        assert job("init=he", f"model.activation={activation}").config["init"]["gain"] == pytest.approx(math.sqrt(2))
        assert job("init=xavier", f"model.activation={activation}").config["init"]["gain"] == 1
    for activation in ("relu", "tanh", "sigmoid"):
        gain = job("init=he", "init.gain=auto", f"model.activation={activation}").config["init"]["gain"]
        assert gain == pytest.approx(nn.init.calculate_gain(activation))


def test_an_initializer_with_nothing_to_fill_is_refused(optbench: Callable, folder: Path) -> None:
    refused = optbench("train", "init=he", "model=custom", "model.target=tests.own_parts.Bare", "max_steps=1")
    assert refused.code == 2
    assert "init=default" in refused.err
    assert optbench("train", "model=custom", "model.target=tests.own_parts.Bare", "max_steps=1").code == 0


def test_trunc_normal_truncates_at_two_deviations_not_at_two() -> None:
    weight = drawn(partial(init.trunc_normal, std=0.02), (400, 300))
    assert 0.039 < weight.abs().max().item() <= 0.04


@pytest.mark.parametrize("shape", [(40, 30), (30, 40), (16, 8, 3, 3), (8, 64)], ids=str)
def test_orthogonal_rows_or_columns_are_orthonormal_times_gain(shape: tuple[int, ...]) -> None:
    matrix = drawn(partial(init.orthogonal, gain=1.5), shape).flatten(1).double()
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    torch.testing.assert_close(small, 2.25 * torch.eye(len(small), dtype=torch.float64), atol=1e-5, rtol=0)


def test_identity_passes_its_input_on() -> None:
    x = torch.randn(5, 30)
    torch.testing.assert_close(x @ drawn(partial(init.identity, gain=2.0), (30, 30)).T, 2 * x)
    image = torch.randn(2, 8, 6, 6)
    kernel = drawn(partial(init.identity, gain=1.0), (8, 8, 3, 3))
    torch.testing.assert_close(nn.functional.conv2d(image, kernel, padding=1), image)


def test_constant_is_its_value() -> None:
    assert (drawn(partial(init.constant, value=0.3), (4, 5)) == 0.3).all()


@pytest.mark.parametrize(
    "overrides", [["model=mlp", "model.depth=5"], ["model=cnn"], ["model.activation=tanh"]], ids=str
)
def test_lsuv_gives_every_layer_unit_variance_on_its_batch(overrides: list[str], job: Callable) -> None:
    run = build(job("init=lsuv", "init.samples=256", *overrides))
    model, variances = run.construct(), {}
    for name, module in init.filled_modules(model):
        module.register_forward_hook(lambda _, __, output, name=name: variances.update({name: output.var().item()}))
    with torch.no_grad():
        model.eval()(run.train.x[:256])
    assert len(variances) == len(init.filled_modules(model)) >= 3
    assert all(abs(v - 1) < 0.02 for v in variances.values()), variances


def test_pretrained_takes_a_runs_weights(folder: Path) -> None:
    first = train("max_steps=3", "model.width=8")
    model = build(compose_job(["init=pretrained", f"init.run={first.folder}", "model.width=8"])).construct()
    saved = load_model(first.folder).network.state_dict()
    assert all(torch.equal(v, saved[k]) for k, v in model.state_dict().items())


def test_pretrained_is_known_by_the_weights_not_by_their_place(folder: Path) -> None:
    first = train("max_steps=3", "model.width=8").folder
    before = compose_job(["init=pretrained", f"init.run={first}", "model.width=8"]).run_id
    moved = first.rename(folder / "elsewhere")
    assert compose_job(["init=pretrained", f"init.run={moved}", "model.width=8"]).run_id == before
    other = train("max_steps=4", "model.width=8").folder
    assert compose_job(["init=pretrained", f"init.run={other}", "model.width=8"]).run_id != before


def test_pretrained_weights_that_do_not_fit_are_refused_unless_part_will_do(optbench: Callable) -> None:
    first = train("max_steps=3", "model.width=8", "model.depth=2").folder
    asked = ["train", "init=pretrained", f"init.run={first}", "model.width=8", "model.depth=3", "max_steps=1"]
    refused = optbench(*asked)
    assert refused.code == 2 and "init.partial=true" in refused.err
    assert optbench(*asked, "init.partial=true").code == 0
    missing = optbench("train", "init=pretrained", "init.run=nowhere")
    assert missing.code == 2 and "init.run: nowhere" in missing.err


def test_a_checkpoint_on_the_way_or_damaged_is_no_pretrained_run(optbench: Callable, folder: Path) -> None:
    run = train("max_steps=3", "model.width=8").folder
    asked = ["train", "init=pretrained", f"init.run={run}", "model.width=8", "max_steps=1", "name=next"]
    state = start(build(compose_job(["model.width=8"])))
    checkpoint.save(run / "checkpoint.pt", state.state_dict())
    for said in ("a run that has not ended", "is damaged"):
        refused = optbench(*asked)
        assert refused.code == 2 and f"init.run={run}" in refused.err and said in refused.err
        (run / "checkpoint.pt").write_bytes((run / "checkpoint.pt").read_bytes()[:-100])
    assert not (folder / "outputs/next").exists()


class Odd(nn.Module):
    """An embedding, a norm, and the end of a residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(50, 400), nn.LayerNorm(400)
        self.plain, self.branch = nn.Linear(400, 400), nn.Linear(400, 400)
        self.branch.residual_branches = 4


@pytest.mark.parametrize(
    ("fill", "variance", "embedding"),
    [(partial(init.normal, std=0.02), "given", 0.02), (partial(init.he_normal, gain=1.0), "fan_in", 1.0)],
)
def test_embeddings_norms_and_residual_branches_are_as_the_sources_say(
    fill: Callable, variance: str, embedding: float
) -> None:
    model = init.construct(Odd, 0, fill, 0.0, lambda: torch.zeros(1), variance)
    assert model.embedding.weight.std().item() == pytest.approx(embedding, rel=0.02)
    assert (model.norm.weight == 1).all() and (model.norm.bias == 0).all()
    assert model.branch.weight.std().item() == pytest.approx(model.plain.weight.std().item() / 2, rel=0.02)


def test_biases_are_drawn_around_their_value_and_the_weights_stay(job: Callable) -> None:
    shared = ["init=he", "model.width=400", "model.depth=3", "init.bias=2"]
    plain, drawn_ones, same = (
        dict(build(job(*shared, *more)).construct().named_parameters())
        for more in ([], ["init.bias_std=0.5"], ["init.bias_std=0.5", "optim=sgd"])
    )
    biases = torch.cat([p.detach() for name, p in drawn_ones.items() if name.endswith("bias")]).double()
    # Five standard errors of a mean and of a variance.
    assert float(biases.mean()) == pytest.approx(2, abs=5 * 0.5 / math.sqrt(len(biases)))
    assert float(biases.var()) == pytest.approx(0.25, rel=5 * math.sqrt(2 / len(biases)))
    for name, parameter in plain.items():
        assert torch.equal(parameter, drawn_ones[name]) == (not name.endswith("bias")), name
        assert torch.equal(same[name], drawn_ones[name])


def test_each_layer_draws_biases_of_its_own(job: Callable) -> None:
    model = build(job("init=zeros", "init.bias_std=1", "model.width=10", "model.depth=2")).construct()
    first, second, _ = (p for name, p in model.named_parameters() if name.endswith("bias"))
    assert not torch.equal(first, second)


def test_a_deviation_of_zero_is_the_run_without(job: Callable) -> None:
    without, zero, more = (job("init=he", *given).run_id for given in ([], ["init.bias_std=0"], ["init.bias_std=0.1"]))
    assert without == zero != more


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["init=he", "init.bias_std=-1"], "init.bias_std must be a finite number ≥ 0 and ≤ 1e+30, got -1"),
        (["init=default", "init.bias_std=1"], "init.bias_std is a setting of init=constant,"),
    ],
    ids=str,
)
def test_biases_that_cannot_be_drawn_are_refused(overrides: list[str], said: str, optbench: Callable) -> None:
    refused = optbench("train", *overrides)
    assert refused.code == 2 and said in refused.err, refused.err
