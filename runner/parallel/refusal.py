"""What cannot be spread over processes, and why: said before anything is written."""

from collections.abc import Mapping
from inspect import signature

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage
from torch.nn.modules.batchnorm import _BatchNorm

from runner.augment import Augmentation
from runner.engine.hooks import Hook
from runner.engine.run import Run
from runner.errors import ConfigError
from runner.metrics import value
from runner.parallel import Layout
from runner.parallel.layers import PLANNED, uneven
from runner.parallel.pieces import row_of
from runner.regularization.adversary import Adversary
from runner.regularization.parametrization import WeightNorm

FACTORED = "DTensor (PyTorch 2.14) has no rule for the powers of norms of rows that are in parts, and its step raises"
OF_ALL_WEIGHTS = "its estimate of the distance is a sum over all weights, of which each process has a part alone"
OF_AXES = "it multiplies a weight by matrices of its whole axes, and a process has a part of the weight"
OF_AN_AXIS = dict.fromkeys(("soap", "shampoo", "kron"), OF_AXES)
OPTIMIZERS: dict[str, dict[str, str]] = {
    "fsdp": {"adafactor": FACTORED, "prodigy": OF_ALL_WEIGHTS, **OF_AN_AXIS},
    "tensor": {"adafactor": FACTORED, "prodigy": OF_ALL_WEIGHTS, **OF_AN_AXIS},
    "pipeline": {
        "muon": "it is two optimizers, and a stage without hidden matrices has none for the first of them",
        "prodigy": OF_ALL_WEIGHTS,
    },
}
"""By way, options of which the weights differ from one process's by more than 1e-12 after 50 steps, and what was
measured."""
TOLD = "output_grads" in signature(PipelineStage.__init__).parameters
"""This PyTorch's stages are told the shapes of gradients. Older ones find them out, and wait for each other."""
CHECKED = 8
"""Samples of which a loss of one's own is held against the mean of its parts'."""
SAME = 1e-4
"""Relative difference up to which a loss is the mean of its parts'."""


def refuse(run: Run, layout: Layout, optimizer: str, own_loss: str | None) -> None:
    """Refuse a run that cannot be spread so.

    Args:
        run: as one process would train it.
        layout: who is to have what.
        optimizer: its option.
        own_loss: the import path of a loss of one's own.

    Raises:
        ConfigError: naming the key, and what is valid.
    """
    model = run.construct()
    _refuse_model(layout, model)
    _refuse_hooks(run.hooks, layout)
    if run.optim.takes_closure:
        raise ConfigError(
            "an optimizer whose steps evaluate their batch several times is of one process: parallel=none"
        )
    for way in _ways(layout):
        if reason := OPTIMIZERS.get(way, {}).get(optimizer):
            raise ConfigError(f"optim={optimizer} beside parallel={way}: {reason}; use parallel=ddp")
        if made := _of_others(run, model, optimizer):
            raise ConfigError(
                f"optim={optimizer} beside parallel={way}: whether a step of {made} looks at each number alone is not "
                "known here, and no process has all of them; use parallel=ddp"
            )
    if run.own_model:
        _refuse_draws(run, model)
    if own_loss is not None:
        _refuse_no_mean(run, model, own_loss)
    if layout.stages > 1 and not TOLD:
        raise ConfigError(
            f"parallel=pipeline needs a newer PyTorch than {torch.__version__}, whose stages are not told the shapes "
            "of gradients: use parallel=ddp or parallel=fsdp"
        )


def _of_others(run: Run, model: nn.Module, optimizer: str) -> str | None:
    """Return the name of an optimizer that is neither ours nor PyTorch's, or None."""
    if optimizer not in ("custom", "collection"):
        return None
    made = type(run.optim.optimizer(run.optim.groups(model)))
    return None if made.__module__.startswith("torch.optim.") else made.__name__


def _ways(layout: Layout) -> list[str]:
    spread = {"fsdp": layout.sharded, "tensor": layout.tensor > 1, "pipeline": layout.stages > 1}
    return [way for way, chosen in spread.items() if chosen]


def _refuse_model(layout: Layout, model: nn.Module) -> None:
    norms = any(isinstance(module, _BatchNorm) for module in model.modules())
    if layout.tensor > 1:
        _refuse_unplanned(model, "tensor", norms)
        if reason := uneven(model, layout.tensor):
            raise ConfigError(f"parallel=tensor: {reason}; choose widths and heads that {layout.tensor} divides")
    if layout.stages > 1:
        _refuse_unplanned(model, "pipeline", norms)
        row = row_of(model)
        assert row is not None, "it is planned"
        if row.layers % layout.stages or not row.layers:
            raise ConfigError(
                f"parallel=pipeline: {layout.stages} stages cannot share {row.layers} layers evenly; choose a "
                f"model.depth that {layout.stages} divides"
            )


def _refuse_unplanned(model: nn.Module, way: str, norms: bool) -> None:
    if not isinstance(model, PLANNED):
        raise ConfigError(
            f"parallel={way} has a plan for model=mlp, gpt and vit, and none for {type(model).__name__}: use "
            "parallel=ddp or parallel=fsdp, which take any model"
        )
    if norms:
        raise ConfigError(
            f"parallel={way} beside batch norm, whose statistics would be of parts: use model.normalization=layer, "
            "or parallel=ddp or fsdp, which measure them over the whole batch"
        )


def _refuse_hooks(hooks: Mapping[str, Hook], layout: Layout) -> None:
    for name, hook in sorted(hooks.items()):
        said = name.replace(".", "=", 1) if not isinstance(hook, Augmentation) else "augment"
        way = next(iter(_ways(layout)), "ddp")
        if isinstance(hook, WeightNorm) and layout.splits_weights:
            raise ConfigError(f"{said} beside parallel={way}: a weight's length is of all its parts; use parallel=ddp")
        if isinstance(hook, Adversary) and layout.stages > 1:
            raise ConfigError(
                f"{said} beside parallel=pipeline: a gradient by the inputs would go through all stages twice; "
                "use parallel=ddp, fsdp or tensor"
            )
        if layout.splits_weights and not type(hook).__module__.startswith("runner."):
            raise ConfigError(
                f"{said} is of your own and may read whole weights, which no process has beside parallel={way}: "
                "use parallel=ddp"
            )


def _refuse_draws(run: Run, model: nn.Module) -> None:
    """Refuse a model that draws by itself: what it drew would hang on the number of processes."""
    weight = next(model.parameters(), torch.zeros(()))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before = torch.get_rng_state()
        model.train()(run.train.x[:2].to(weight.device))
        if not torch.equal(before, torch.get_rng_state()):
            raise ConfigError(
                "the model draws random numbers by itself, and what it draws would depend on parallel.devices: let its "
                "forward take drop, and use regularization=dropout"
            )


@torch.no_grad()
def _refuse_no_mean(run: Run, model: nn.Module, own_loss: str) -> None:
    """Refuse a loss of one's own of a batch that is not the mean of its parts'."""
    x, y = run.train.x[:CHECKED], run.train.y[:CHECKED]
    outputs = model.eval()(x)

    def of(first: int, end: int) -> Tensor:
        return value(run.training_loss, outputs[first:end], y[first:end], x[first:end])

    cut = 3 * len(x) // 8
    parts = (cut * of(0, cut) + (len(x) - cut) * of(cut, len(x))) / len(x)
    whole = of(0, len(x))
    if abs(float(parts - whole)) > SAME * max(abs(float(whole)), 1e-6):
        raise ConfigError(
            f"loss={own_loss} of {len(x)} samples is {float(whole):.6g}, the mean of its parts' {float(parts):.6g}: "
            "parallel needs a loss that is a mean over samples"
        )
