"""One step of all members of a stack."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from runner.engine.fused import batched
from runner.engine.fused.members import Stack
from runner.engine.fused.numbers import along
from runner.engine.measure import Measured, ratio
from runner.noise import key


def differentiate(members: Stack, x: Tensor, y: Tensor, shared: bool, drop: Tensor | None) -> Tensor:
    """Return the training losses ``[runs]`` of a batch, and leave their gradients with the weights.

    ``drop`` is the key ``[runs, 2]`` of the step's noise.
    """
    first, numbers = members.runs[0], members.numbers
    for name in members.trained:
        members.weights[name].grad = None
    with first.autocast():
        dropping = None if numbers.dropout is None or drop is None else batched.Dropping(numbers.dropout, drop)
        outputs, back = batched.forward(members.states[0].model, members.weights, x, shared, dropping)
        losses, slopes = batched.losses_and_slopes(first.loss, outputs, y, shared, numbers.smoothing)
    back(slopes)
    for kind, strengths in numbers.penalties:
        penalties = strengths * torch.vmap(kind)([members.weights[name] for name in members.decayed])
        penalties.sum().backward()  # type: ignore[no-untyped-call]
        losses = losses + penalties.detach()
    return losses


def keys(members: Stack) -> Tensor | None:
    """Return the key ``[runs, 2]`` of the present step's noise; None where none is drawn."""
    if members.numbers.dropout is None:
        return None
    of_seed = {run.noise_seed: key(run.noise_seed, members.step, run.device) for run in members.runs}
    return torch.stack([of_seed[run.noise_seed] for run in members.runs])


def update(members: Stack, lr: Tensor, measure: bool) -> list[Measured] | None:
    """Take one step of every member at its rate of ``lr`` (``[runs]``); where asked, return what was measured."""
    first = members.runs[0]
    weights = {name: members.weights[name] for name in members.weights if name in members.trained}
    gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
    with torch.no_grad():
        largest, bounds, decay = members.numbers.max_value, members.numbers.max_norm, members.numbers.decay
        norms = _norms(list(gradients.values())) if measure or bounds is not None else None
        before = {name: weight.detach().clone() for name, weight in weights.items()} if measure else None
        if largest is not None:
            for gradient in gradients.values():
                most = along(largest.to(gradient.dtype), gradient)
                torch.clamp(gradient, -most, most, out=gradient)
            norms_to_cut = _norms(list(gradients.values())) if bounds is not None else None
        else:
            norms_to_cut = norms
        if bounds is not None and norms_to_cut is not None:
            for gradient in gradients.values():
                gradient.mul_(along((bounds.to(norms_to_cut.dtype) / (norms_to_cut + 1e-6)).clamp(max=1.0), gradient))
        if decay is not None:
            left = (1 - lr * decay).to(first.dtype)
            for name in members.decayed:
                weights[name].mul_(along(left, weights[name]))
        for part in members.slices:
            part.step(gradients, lr.to(first.dtype))
        _step_alone(members, gradients, lr)
        for projection in first.hooks.projections:
            projection.apply([weights[name] for name in members.decayed])
    if before is None or norms is None:
        return None
    sizes, moved = _norms(list(before.values())), _norms([w.detach() - before[n] for n, w in weights.items()])
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
