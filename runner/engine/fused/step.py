"""One step of all members of a stack."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from runner.engine.fused import batched
from runner.engine.fused.members import Stack
from runner.engine.hooks import Dropping, Mixed, Targets, shrink
from runner.engine.measure import Measured, ratio


def differentiate(members: Stack, x: Tensor, y: Targets, shared: bool) -> Tensor:
    """Return the training losses ``[runs]`` of a batch, and leave their gradients with the weights.

    A batch that is taken apart gives the mean of its parts' gradients, weighted by samples.
    """
    losses_of = _through_inputs if members.on.input_loss else _through_outputs
    if members.on.input_loss and shared:
        x, y, shared = x.expand(len(members.runs), *x.shape), _expanded(y, len(members.runs)), False
    for weight in members.trained:
        weight.grad = None
    n = x.shape[0 if shared else 1]
    size = min(members.runs[0].micro or n, n)
    if size == n:
        losses = losses_of(members, x, y, shared, 0, 1.0)
    else:
        losses, held = torch.zeros((), dtype=members.runs[0].dtype, device=members.device), list[Tensor]()
        for first in range(0, n, size):
            part = partial(_part, first=first, size=size, axis=0 if shared else 1)
            of_part, count = part(x), min(size, n - first)
            targets = Mixed(part(y.y), part(y.other), y.share) if isinstance(y, Mixed) else part(y)
            losses = losses + losses_of(members, of_part, targets, shared, first, count / n)
            held = _taken(members.trained, held)
        for weight, gradient in zip(members.trained, held, strict=True):
            weight.grad = gradient
    for cost in members.on.penalty:
        penalties = cost(members)
        penalties.sum().backward()  # type: ignore[no-untyped-call]
        losses = losses + penalties.detach()
    return losses


def _through_outputs(members: Stack, x: Tensor, y: Targets, shared: bool, first: int, share: float) -> Tensor:
    """Return ``share`` times the losses of a batch's part that begins at its ``first``; leave their gradients."""
    run, on = members.runs[0], members.on
    with run.autocast():
        dropping = _dropping(members, first, x.shape[0 if shared else 1])
        outputs, back = batched.forward(members.model, members.tensors, x, shared, dropping)
        changes = [partial(act, members) for act in on.output_loss]
        losses, slopes = batched.losses_and_slopes(run.training_loss, outputs, x, y, shared, changes)
    back(slopes if share == 1 else slopes * share)
    return losses if share == 1 else losses * share


def _through_inputs(members: Stack, x: Tensor, y: Targets, shared: bool, first: int, share: float) -> Tensor:
    """Return the same where the inputs may be changed and evaluated again: by autograd, from the inputs on."""
    run, on = members.runs[0], members.on
    with run.autocast():
        dropping = _dropping(members, first, x.shape[1])

        def of(x: Tensor) -> Tensor:
            outputs = batched.through_autograd(members.model, members.tensors, x, shared, dropping)
            losses = batched.each_mean(run.training_loss, outputs, y, x, shared)
            for act in on.output_loss:
                losses = act(members, losses, outputs, x)
            return losses

        losses = of(x)
        for change in on.input_loss:
            losses = change(members, losses, of, x, first)
        losses = share * losses
    losses.sum().backward()  # type: ignore[no-untyped-call]
    return losses.detach()


def _dropping(members: Stack, first: int, samples: int) -> Dropping | None:
    found = (act(members, first, samples) for act in members.on.dropping)
    return next((dropping for dropping in found if dropping is not None), None)


def _part(whole: Tensor, first: int, size: int, axis: int) -> Tensor:
    return whole.narrow(axis, first, min(size, whole.shape[axis] - first))


def _expanded(y: Targets, runs: int) -> Targets:
    """Return for each run the targets that all of them share."""
    if isinstance(y, Tensor):
        return y.expand(runs, *y.shape)
    assert isinstance(y.share, Tensor), "a stack has it as a tensor"
    return Mixed(*(part.expand(runs, *part.shape) for part in (y.y, y.other, y.share)))


@torch.no_grad()
def _taken(weights: Sequence[Tensor], held: list[Tensor]) -> list[Tensor]:
    """Take the gradients away from the weights, and add them to those held."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    for weight in weights:
        weight.grad = None
    if held:
        torch._foreach_add_(held, gradients)
    return held or gradients


@torch.no_grad()
def update(members: Stack, lr: Tensor, measure: bool) -> list[Measured] | None:
    """Take one step of every member at its rate of ``lr`` (``[runs]``); where asked, return what was measured."""
    first, on = members.runs[0], members.on
    gradients = {name: w.grad for name, w in members.weights.items() if w.grad is not None}
    norms = _norms(list(gradients.values())) if measure else None
    before = [weight.detach().clone() for weight in members.trained] if measure else None
    for cut in on.after_backward:
        cut(members)
    for act in on.before_update:
        act(members, lr)
    if members.own_decay is not None:
        shrink(members.decayed, lr, members.own_decay)
    for part in members.slices:
        part.step(gradients, lr.to(first.dtype))
    _step_alone(members, gradients, lr)
    for follow in on.after_update:
        follow(members)
    if before is None or norms is None:
        return None
    sizes, moved = _norms(before), _norms([w.detach() - b for w, b in zip(members.trained, before, strict=True)])
    numbers = zip(norms.tolist(), moved.tolist(), sizes.tolist(), strict=True)
    return [Measured(norm, ratio(way, size)) for norm, way, size in numbers]


def _step_alone(members: Stack, gradients: Mapping[str, Tensor], lr: Tensor) -> None:
    """Step the members that have an optimizer of their own, through their models' views of the stack."""
    shared = {i for part in members.slices for i in range(part.start, part.stop)}
    if len(shared) == len(members.runs):
        return
    rates = lr.tolist()
    for i, state in enumerate(members.states):
        if i in shared:
            continue
        for name, parameter in state.model.named_parameters():
            if name in gradients:
                parameter.grad = gradients[name][i]
        for group in state.optimizer.param_groups:
            group["lr"] = rates[i] * group.get("lr_scale", 1.0)
        state.optimizer.step()


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm ``[runs]`` of each run's tensors together."""
    norms: Tensor = torch.linalg.vector_norm(torch.stack([t.flatten(1).norm(dim=1) for t in tensors]), dim=0)
    return norms
