"""What is done around an optimizer's steps, against what it does without."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runner import optim
from runner.engine import loop
from runner.engine.state import State
from runner.engine.state import start as begin
from runner.optim.wrap import Cautious, Sam
from runner.run.build import build
from tests.support.loops import final_weights
from tests.support.stepped import Weights, furthest, problem, start

SHORT = ["max_steps=24", "eval_every=6", "dtype=float64", "model.width=8", "batch.size=32"]


def test_sam_steps_along_the_gradient_at_the_top_of_the_slope() -> None:
    """Foret et al. 2021, algorithm 1, around SGD with momentum."""
    layer = nn.Linear(4, 3, dtype=torch.float64)
    with torch.no_grad():
        for parameter, value in zip(layer.parameters(), start(), strict=True):
            parameter.copy_(value)
    made = optim.wrap.sam(
        optim.parameter_groups(layer, False),
        around=lambda groups: optim.sgd(groups, lr=0.1, momentum=0.8, nesterov=False),
        rho=0.3,
    )
    path, published, w, v = [], [], start(), [0.0, 0.0]
    for gradients in problem():

        def gradient(gradients: Callable[[Weights], Weights] = gradients) -> None:
            for parameter, found in zip(layer.parameters(), gradients([*layer.parameters()]), strict=True):
                parameter.grad = found.detach()

        gradient()
        made.step(gradient)
        path.append([p.detach().clone() for p in layer.parameters()])
        gs = gradients(w)
        size = sum(float(g.square().sum()) for g in gs) ** 0.5
        gs = gradients([x + 0.3 * g / size for x, g in zip(w, gs, strict=True)])
        v = [0.8 * y + g for y, g in zip(v, gs, strict=True)]
        w = [x - 0.1 * y for x, y in zip(w, v, strict=True)]
        published.append([*w])
    assert furthest(path, published) < 1e-10


def published_cautious_adamw(lr: float, decay: float, run: Any) -> dict[str, Tensor]:
    """Liang et al. 2024, algorithm 1: of AdamW's u what has the gradient's sign, over the share of such entries."""
    state = begin(run)
    names = [n for n, _ in state.model.named_parameters()]
    m, v = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    order = [i for epoch in range(2) for i in run.order(epoch).split(32)]
    for t in range(1, 25):
        index = order[t - 1]
        state.model.zero_grad()
        loop._loss(state, run.train.x[index], run.train.y[index]).backward()
        with torch.no_grad():
            for name, w in state.model.named_parameters():
                m[name], v[name] = 0.9 * m[name] + 0.1 * w.grad, 0.999 * v[name] + 0.001 * w.grad**2
                u = (m[name] / (1 - 0.9**t)) / ((v[name] / (1 - 0.999**t)) ** 0.5 + 1e-8)
                mask = (u * w.grad > 0).double()
                w.mul_(1 - lr * decay if w.ndim > 1 else 1.0)
                w.sub_(lr * u * mask / mask.mean().clamp(min=1e-3))
    return {name: w.detach() for name, w in state.model.named_parameters()}


def test_cautious_adamw_is_the_published_update(job: Callable) -> None:
    this = job("optim=adamw", "optim.lr=0.01", "optim.weight_decay=0.3", "scheduler=constant", *SHORT,
               "optim.wrap=[cautious]")  # fmt: skip
    expected = published_cautious_adamw(0.01, 0.3, build(this))
    found = final_weights(this)
    assert max(float((w - e).abs().max()) for w, e in zip(found, expected.values(), strict=True)) < 1e-10


def test_cautious_changes_nothing_where_every_entry_agrees(job: Callable) -> None:
    dense = ["data=breast_cancer", "model=linear", *(o for o in SHORT if o != "model.width=8")]  # no gradient is 0
    plain, wrapped = (final_weights(job("optim=sgd", *dense, *w)) for w in ([], ["optim.wrap=[cautious]"]))
    assert max(float((a - b).abs().max()) for a, b in zip(plain, wrapped, strict=True)) < 1e-12
    differ, cautious = (final_weights(job("optim=momentum", *SHORT, *w)) for w in ([], ["optim.wrap=[cautious]"]))
    assert max(float((a - b).abs().max()) for a, b in zip(differ, cautious, strict=True)) > 1e-3


def test_lookahead_goes_half_the_way_each_five_steps_and_is_judged_there(job: Callable) -> None:
    """Zhang et al. 2019, algorithm 1, around SGD: without a state, each round starts anew from the slow weights."""
    plain = build(job("optim=sgd", "optim.lr=0.1", "scheduler=constant", *SHORT))
    state = begin(plain)
    slow = [w.detach().clone() for w in state.model.parameters()]
    order = [i for epoch in range(2) for i in plain.order(epoch).split(32)]
    for t in range(1, 25):
        index = order[t - 1]
        state.model.zero_grad()
        loop._loss(state, plain.train.x[index], plain.train.y[index]).backward()
        with torch.no_grad():
            for w in state.model.parameters():
                w.sub_(0.1 * w.grad)
            if t % 5 == 0:
                for w, s in zip(state.model.parameters(), slow, strict=True):
                    s.add_(0.5 * (w - s))
                    w.copy_(s)
    run = build(job("optim=sgd", "optim.lr=0.1", "scheduler=constant", *SHORT, "optim.wrap=[lookahead]"))
    found = begin(run)
    for _ in loop.train(found, lambda state, loss: False):
        pass
    fast = [w.detach() for w in found.model.parameters()]
    judged = [found.judged_weights()[name] for name, _ in found.model.named_parameters()]
    for expected, weights in (([*state.model.parameters()], fast), (slow, judged)):
        assert max(float((a.detach() - b).abs().max()) for a, b in zip(expected, weights, strict=True)) < 1e-10
    assert max(float((a - b).abs().max()) for a, b in zip(fast, judged, strict=True)) > 1e-3


def test_an_empty_wrap_is_outside_the_id_and_order_makes_no_difference(job: Callable) -> None:
    assert job("optim.wrap=[]").run_id == job().run_id
    ids = {job(f"optim.wrap=[{w}]").run_id for w in ("sam,cautious", "cautious,sam")}
    assert len(ids) == 1 and ids != {job().run_id}
    assert job("optim.wrap=[sam]", "optim.sam_rho=0.05").run_id == job("optim.wrap=[sam]").run_id
    assert job("optim.wrap=[sam]", "optim.sam_rho=0.1").run_id != job("optim.wrap=[sam]").run_id


def test_all_three_act_in_one_run_in_their_order(job: Callable) -> None:
    run = build(job("optim=adamw", "optim.wrap=[lookahead,cautious,sam]"))
    state: State = begin(run)
    assert isinstance(state.optimizer, Sam) and run.optim.takes_closure
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
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_what_cannot_go_together_is_refused(overrides: list[str], said: str, optbench: Callable) -> None:
    refused = optbench("train", *overrides)
    assert refused.code == 2 and said in refused.err and "Traceback" not in refused.err
