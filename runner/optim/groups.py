"""Parameters as optimizers take them: in groups."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from runner import mup
from runner.engine.optimizers import ParameterGroups
from runner.optim.shared_tensors import is_shared


def parameter_groups(
    model: nn.Module,
    decay_bias_and_norm: bool,
    rule: str | None = None,
    shares: Sequence[Callable[[nn.Module], Mapping[str, float]]] = (),
) -> ParameterGroups:
    """Return the parameters in two groups: weights, which decay reaches, and biases and norms, which it need not.

    Args:
        model: whose parameters they are.
        decay_bias_and_norm: put biases and norms among the weights.
        rule: by which muP scales learning rates, ``lr_scale``, each a group of its own; None leaves them alone.
        shares: functions that give parameters' shares of the learning rate, ``lr_share``, by name. Unlike muP's scale,
            a share is one of the optimizer's own decay too.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    linear = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    hidden = {id(weight) for weight in linear[:-1]}
    scales = mup.lr_scales(model, rule) if rule else {}
    parts = {name: share for of in shares for name, share in of(model).items()}
    groups: dict[tuple[bool, float | None, float | None], list[Tensor]] = {}
    for decayed in (True, False):
        for name, p in trained.items():
            if (p.ndim > 1 or decay_bias_and_norm) == decayed:
                groups.setdefault((decayed, scales.get(name), parts.get(name)), []).append(p)
    return [
        {"params": chosen, "decayed": decayed, "hidden": [id(p) in hidden for p in chosen]}
        | ({} if scale is None else {"lr_scale": scale})
        | ({} if share is None else {"lr_share": share})
        for (decayed, scale, share), chosen in groups.items()
    ]


def all_of(parameters: ParameterGroups) -> list[Tensor]:
    """Return the parameters of all groups."""
    return [p for group in parameters for p in group["params"]]


def fusable(parameters: ParameterGroups) -> bool:
    """Say whether torch has a fused step for parameters: on these devices, and not where processes share a tensor."""
    return all(p.device.type in ("cpu", "cuda") and not is_shared(p) for p in all_of(parameters))


def pair(betas: list[float]) -> tuple[float, float]:
    """Return two numbers as PyTorch takes them."""
    first, second = betas
    return first, second
