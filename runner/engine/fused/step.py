"""One step of all members of a stack."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from runner.engine.fused import batched
from runner.engine.fused.members import Stack
from runner.engine.hooks import shrink
from runner.engine.measure import Measured, ratio


def differentiate(members: Stack, x: Tensor, y: Tensor, shared: bool) -> Tensor:
    """Return the training losses ``[runs]`` of a batch, and leave their gradients with the weights."""
    first, on = members.runs[0], members.on
    for weight in members.trained:
        weight.grad = None
    with first.autocast():
        dropping = next((found for act in on.dropping if (found := act(members)) is not None), None)
        outputs, back = batched.forward(members.states[0].model, members.tensors, x, shared, dropping)
        changes = [partial(act, members) for act in on.output_loss]
        losses, slopes = batched.losses_and_slopes(first.training_loss, outputs, x, y, shared, changes)
    back(slopes)
    for cost in on.penalty:
        penalties = cost(members)
        penalties.sum().backward()  # type: ignore[no-untyped-call]
        losses = losses + penalties.detach()
    return losses


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
