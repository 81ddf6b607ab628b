"""Wrappers of optimizers (sam, cautious, lookahead) against their published updates, and what they refuse."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor

from runner import optim
from runner.engine import loop
from runner.engine.state import State
from runner.engine.state import start as begin
from runner.optim.wrap import Cautious, Sam
from runner.run.build import build
from runner.run.job import Job
from tests.support.loops import final_weights, trained
from tests.support.stepped import Weights, assert_published, path_of, problem, start

SHORT = ["max_steps=24", "eval_every=6", "dtype=float64", "model.width=8", "batch.size=32"]


def published_sam(lr: float, momentum: float, rho: float) -> list[Weights]:
    """Foret et al. 2021, algorithm 1, around SGD with momentum."""
    w, v, path = start(), [0.0, 0.0], []
    for gradients in problem():
        gs = gradients(w)
        size = sum(float(g.square().sum()) for g in gs) ** 0.5
        gs = gradients([x + rho * g / size for x, g in zip(w, gs, strict=True)])
        v = [momentum * y + g for y, g in zip(v, gs, strict=True)]
        w = [x - lr * y for x, y in zip(w, v, strict=True)]
        path.append(w)
    return path


def evaluated_anew(step: int, gradients: Callable[[Weights], Weights], weights: Weights) -> Callable[[], None]:
    def closure() -> None:
        for weight, gradient in zip(weights, gradients(weights), strict=True):
            weight.grad = gradient.detach()

    return closure


def test_sam_steps_along_the_gradient_at_the_top_of_the_slope() -> None:
    momentum = partial(optim.sgd, lr=0.1, momentum=0.8, nesterov=False)
    path = path_of(optim.wrap.sam, closure=evaluated_anew, around=momentum, rho=0.3)
    assert_published(path, published_sam(0.1, 0.8, 0.3))


def gradients_of(state: State) -> Iterator[int]:
    """Put the gradient of each of a run's 24 steps in place, and yield the step, counted from 1."""
    run = state.run
    for t, index in enumerate(run.order(0).split(32)[:24], 1):
        state.model.zero_grad()
        loop._loss(state, run.train.x[index], run.train.y[index]).backward()
        yield t


def published_cautious_adamw(lr: float, decay: float, job: Job) -> list[Tensor]:
    """Liang et al. 2024, algorithm 1: of AdamW's u what has the gradient's sign, over the share of such entries."""
    state = begin(build(job))
    weights = [*state.model.parameters()]
    m, v = [0.0] * len(weights), [0.0] * len(weights)
    for t in gradients_of(state):
        with torch.no_grad():
            for i, w in enumerate(weights):
                m[i], v[i] = 0.9 * m[i] + 0.1 * w.grad, 0.999 * v[i] + 0.001 * w.grad**2
                u = (m[i] / (1 - 0.9**t)) / ((v[i] / (1 - 0.999**t)) ** 0.5 + 1e-8)
                mask = (u * w.grad > 0).double()
                w.mul_(1 - lr * decay if w.ndim > 1 else 1.0)
                w.sub_(lr * u * mask / mask.mean().clamp(min=1e-3))
    return [w.detach() for w in weights]


def test_cautious_adamw_is_the_published_update(job: Callable) -> None:
    this = job("optim=adamw", "optim.lr=0.01", "optim.weight_decay=0.3", "scheduler=constant", *SHORT,
               "optim.wrap=[cautious]")  # fmt: skip
    torch.testing.assert_close(final_weights(this), published_cautious_adamw(0.01, 0.3, this), rtol=0, atol=1e-10)


def test_cautious_changes_nothing_where_every_entry_agrees(job: Callable) -> None:
    dense = ["data=breast_cancer", "model=linear", *(o for o in SHORT if o != "model.width=8")]  # no gradient is 0
    plain, wrapped = (final_weights(job("optim=sgd", *dense, *w)) for w in ([], ["optim.wrap=[cautious]"]))
    torch.testing.assert_close(wrapped, plain, rtol=0, atol=1e-12)
    differ, cautious = (final_weights(job("optim=momentum", *SHORT, *w)) for w in ([], ["optim.wrap=[cautious]"]))
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(differ, cautious, strict=True))


def test_lookahead_goes_half_the_way_each_five_steps_and_is_judged_there(job: Callable) -> None:
    """Zhang et al. 2019, algorithm 1, around SGD, which has no state: each round starts from the slow weights alone."""
    sgd = ["optim=sgd", "optim.lr=0.1", "scheduler=constant", *SHORT]
    state = begin(build(job(*sgd)))
    weights = [*state.model.parameters()]
    slow = [w.detach().clone() for w in weights]
    for t in gradients_of(state):
        with torch.no_grad():
            for w, s in zip(weights, slow, strict=True):
                w.sub_(0.1 * w.grad)
                if t % 5 == 0:
                    s.add_(0.5 * (w - s))
                    w.copy_(s)
    found, _ = trained(job(*sgd, "optim.wrap=[lookahead]"))
    fast = [w.detach() for w in found.model.parameters()]
    judged = [found.judged_weights()[name] for name, _ in found.model.named_parameters()]
    torch.testing.assert_close(fast, [w.detach() for w in weights], rtol=0, atol=1e-10)
    torch.testing.assert_close(judged, slow, rtol=0, atol=1e-10)
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(fast, judged, strict=True))


def test_an_empty_wrap_is_outside_the_id_and_order_makes_no_difference(job: Callable) -> None:
    assert job("optim.wrap=[]").run_id == job().run_id
    ids = {job(f"optim.wrap=[{w}]").run_id for w in ("sam,cautious", "cautious,sam")}
    assert len(ids) == 1 and ids != {job().run_id}
    assert job("optim.wrap=[sam]", "optim.sam_rho=0.05").run_id == job("optim.wrap=[sam]").run_id
    assert job("optim.wrap=[sam]", "optim.sam_rho=0.1").run_id != job("optim.wrap=[sam]").run_id


def test_all_three_act_in_one_run_in_their_order(job: Callable) -> None:
    run = build(job("optim=adamw", "optim.wrap=[lookahead,cautious,sam]"))
    assert isinstance(begin(run).optimizer, Sam) and run.optim.takes_closure
    assert [name for name in run.hooks if name.startswith("optim.")] == ["optim.cautious", "optim.lookahead"]
    cautious = run.hooks["optim.cautious"]
    assert isinstance(cautious, Cautious) and cautious.decay == 0.01


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["optim.wrap=[sam,sam]"], "twice"),
        (["optim.wrap=[samm]"], "did you mean 'sam'"),
        (["optim.wrap=sam"], "did you mean optim.wrap=[sam]"),
        (["optim.sam_rho=0.1"], "use optim.wrap=[sam] too"),
        (["optim.wrap=[sam]", "optim.lookahead_steps=3"], "use optim.wrap=[lookahead] too"),
        (["optim.wrap=[sam]", "optim=lbfgs"], "LBFGS"),
        (["optim.wrap=[cautious]", "optim=asgd"], "judged by an average"),
        (["optim.wrap=[lookahead]", "optim=schedule_free"], "judged by an average"),
        (["optim.wrap=[lookahead]", "optim=lbfgs"], "LBFGS"),
        (["optim.wrap=[lookahead]", "regularization=ema"], "each judges other weights"),
        (["optim.wrap=[lookahead]", "compress=prune"], "where pruned ones are 0"),
        (["optim.wrap=[cautious]", "optim=adamw", "finetune=discriminative"], "differs by layer"),
        (["optim=sophia", "compile=true"], "second derivatives"),
        (["optim=adan", "optim.betas=[0.9,0.9]"], "a list of 3"),
        (["optim=schedule_free", "regularization=ema"], "each judges other weights"),
        (["optim=collection", "optim.name=lion"], "use optim=lion"),
        (["optim=collection", "optim.name=schedulefreeadamw"], "use optim=schedule_free"),
        (["optim=collection", "optim.name=sophiah"], "use optim=sophia"),
        (["optim=collection", "optim.name=adahessian"], "needs second derivatives"),
        (["optim=collection", "optim.name=adpt"], "optim.name=adpt is not in pytorch-optimizer"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_cannot_go_together_is_refused(overrides: list[str], said: str, optbench: Callable) -> None:
    refused = optbench("train", *overrides)
    assert refused.code == 2 and said in refused.err and "Traceback" not in refused.err
