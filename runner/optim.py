"""Optimizers: functions from parameters to a ``torch.optim.Optimizer``, one an option.

PyTorch's fused kernels are used where they exist; they need gradients laid out like their parameters, which
``.backward()`` guarantees and ``torch.autograd.grad`` does not.
"""

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runner import mup
from runner.config.own_parts import call
from runner.engine.optimizers import ParameterGroups, uncompiled
from runner.errors import PartError, closest


def gd(parameters: ParameterGroups, *, lr: float) -> Optimizer:
    """w ← w - lr·g, g over the whole training set."""
    return uncompiled(torch.optim.SGD)(parameters, lr, fused=_fusable(parameters))


def sgd(parameters: ParameterGroups, *, lr: float, momentum: float, nesterov: bool) -> Optimizer:
    """v ← momentum·v + g; w ← w - lr·v, or lr·(g + momentum·v) with Nesterov's look-ahead (Sutskever 2013)."""
    return uncompiled(torch.optim.SGD)(parameters, lr, momentum, nesterov=nesterov, fused=_fusable(parameters))


def adam(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Step lr·m̂/(√v̂ + eps) with bias-corrected moments (Kingma & Ba 2015, algorithm 1)."""
    return uncompiled(torch.optim.Adam)(parameters, lr, _pair(betas), eps, fused=_fusable(parameters))


def adamw(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float, weight_decay: float) -> Optimizer:
    """Adam's step after w ← (1 - lr·weight_decay)·w (Loshchilov & Hutter 2019, algorithm 2).

    Where muP gives a group a learning rate of its own, lr stays that of all in the decay: it does not depend on the
    width (Yang et al. 2022, appendix B.3; so does the authors' MuAdamW).
    """
    for group in parameters:
        group["weight_decay"] = weight_decay / group.get("lr_scale", 1.0) if group["decayed"] else 0.0
    return uncompiled(torch.optim.AdamW)(parameters, lr, _pair(betas), eps, fused=_fusable(parameters))


def adagrad(parameters: ParameterGroups, *, lr: float, eps: float) -> Optimizer:
    """Step lr·g/(√Σg² + eps), the sum over all steps so far (Duchi et al. 2011, eq. 1)."""
    return uncompiled(torch.optim.Adagrad)(parameters, lr, eps=eps)


def adadelta(parameters: ParameterGroups, *, lr: float, rho: float, eps: float) -> Optimizer:
    """Step lr·RMS(Δw)/RMS(g)·g, of running means of squares (Zeiler 2012, algorithm 1)."""
    return uncompiled(torch.optim.Adadelta)(parameters, lr, rho, eps)


def rmsprop(
    parameters: ParameterGroups, *, lr: float, alpha: float, eps: float, momentum: float, centered: bool
) -> Optimizer:
    """Step lr·g/(√v + eps), v the running mean of g², or of the variance (Tieleman & Hinton 2012; Graves 2013)."""
    return uncompiled(torch.optim.RMSprop)(parameters, lr, alpha, eps, momentum=momentum, centered=centered)


def rprop(parameters: ParameterGroups, *, lr: float, etas: list[float], step_sizes: list[float]) -> Optimizer:
    """Step -sign(g)·Δ, Δ grown while the sign stays and shrunk where it turns (Riedmiller & Braun 1993)."""
    return uncompiled(torch.optim.Rprop)(parameters, lr, _pair(etas), _pair(step_sizes))


def amsgrad(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Adam's step with the largest second moment so far (Reddi et al. 2018, algorithm 2)."""
    return uncompiled(torch.optim.Adam)(parameters, lr, _pair(betas), eps, amsgrad=True, fused=_fusable(parameters))


def adamax(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Step lr·m̂/u, u = max(beta2·u, |g| + eps) (Kingma & Ba 2015, algorithm 2)."""
    return uncompiled(torch.optim.Adamax)(parameters, lr, _pair(betas), eps)


def nadam(
    parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float, momentum_decay: float
) -> Optimizer:
    """Adam's step from Nesterov's look-ahead, whose momentum warms up (Dozat 2016, algorithm 2)."""
    return uncompiled(torch.optim.NAdam)(parameters, lr, _pair(betas), eps, momentum_decay=momentum_decay)


def radam(parameters: ParameterGroups, *, lr: float, betas: list[float], eps: float) -> Optimizer:
    """Adam's step times the rectifier r, or lr·m̂ while the second moment is not yet known (Liu et al. 2020)."""
    return uncompiled(torch.optim.RAdam)(parameters, lr, _pair(betas), eps)


def adafactor(
    parameters: ParameterGroups, *, lr: float, beta2_decay: float, eps: float, clip_threshold: float
) -> Optimizer:
    """Relative steps with a second moment of rows times columns (Shazeer & Stern 2018, algorithms 4 and 5)."""
    return uncompiled(torch.optim.Adafactor)(parameters, lr, beta2_decay, (None, eps), clip_threshold)


class Averaged(torch.optim.ASGD):
    """Averaged SGD; ``eval()`` puts the averages in the place of the iterates, ``train()`` the iterates back."""

    _evaluating = False

    def eval(self) -> None:
        """Show the averages."""
        self._swap(evaluating=True)

    def train(self) -> None:
        """Show the iterates."""
        self._swap(evaluating=False)

    @torch.no_grad()
    def _swap(self, evaluating: bool) -> None:
        if evaluating != self._evaluating:
            for parameter, state in self.state.items():
                iterate = parameter.clone()
                parameter.copy_(state["ax"])
                state["ax"].copy_(iterate)
            self._evaluating = evaluating


def asgd(parameters: ParameterGroups, *, lr: float, lambd: float, alpha: float, t0: float) -> Optimizer:
    """w ← (1 - lambd·η)·w - η·g, η = lr/(1 + lambd·lr·step)^alpha; judged by the mean of w from t0 on (Bottou 2012)."""
    for group in parameters:
        group["lambd"] = lambd if group["decayed"] else 0.0
    return uncompiled(Averaged)(parameters, lr, lambd, alpha, t0 - 1)  # torch leaves out one iterate more than its t0


def lbfgs(
    parameters: ParameterGroups,
    *,
    lr: float,
    max_iter: int,
    history_size: int,
    line_search: str,
    tolerance_grad: float,
    tolerance_change: float,
) -> Optimizer:
    """Quasi-Newton steps from the last few updates, each batch evaluated several times (Liu & Nocedal 1989).

    A step's iterations end before ``max_iter`` where no entry of the gradient is larger than ``tolerance_grad``, or
    where neither a weight nor the loss changes by more than ``tolerance_change``.
    """
    return uncompiled(torch.optim.LBFGS)(
        _all(parameters),
        lr,
        max_iter,
        tolerance_grad=tolerance_grad,
        tolerance_change=tolerance_change,
        history_size=history_size,
        line_search_fn=None if line_search == "none" else line_search,
    )


class Muon(Optimizer):
    """torch's Muon on hidden matrices and AdamW on everything else, as one optimizer."""

    def __init__(self, matrices: torch.optim.Muon, rest: torch.optim.AdamW) -> None:
        self.pair = (matrices, rest)
        super().__init__([{"params": g["params"]} for o in self.pair for g in o.param_groups], {})
        self.param_groups = [group for optimizer in self.pair for group in optimizer.param_groups]

    @property
    def state(self) -> defaultdict[Tensor, Any]:
        """Both states."""
        return defaultdict(dict, {**self.pair[0].state, **self.pair[1].state})

    @state.setter
    def state(self, value: object) -> None:
        """Each of the two has its own."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step both."""
        for optimizer in self.pair:
            optimizer.step()  # type: ignore[no-untyped-call]

    def state_dict(self) -> dict[str, Any]:
        """Return both states."""
        return {"matrices": self.pair[0].state_dict(), "rest": self.pair[1].state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Load both states."""
        for optimizer, name in zip(self.pair, ("matrices", "rest"), strict=True):
            optimizer.load_state_dict(saved[name])
        self.param_groups = [group for optimizer in self.pair for group in optimizer.param_groups]


def muon(
    parameters: ParameterGroups,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    ns_steps: int,
    weight_decay: float,
    adamw_lr: float,
    adamw_betas: list[float],
) -> Optimizer:
    """Hidden matrices: step lr·√max(1, rows/columns)·orthogonalized velocity; the rest: AdamW (Jordan et al. 2024).

    Hidden are the weights of linear layers but the last; kernels, embeddings, biases and norms go to AdamW, whose
    learning rate follows the same schedule.

    Raises:
        ValueError: if the model has no hidden matrix.
    """
    matrices: ParameterGroups = []
    rest: ParameterGroups = []
    for group in parameters:
        decay = weight_decay if group["decayed"] else 0.0
        for hidden, found in ((True, matrices), (False, rest)):
            chosen = [p for p, is_hidden in zip(group["params"], group["hidden"], strict=True) if is_hidden == hidden]
            if chosen:
                found.append({"params": chosen, "decayed": group["decayed"], "weight_decay": decay})
    if not matrices:
        raise ValueError("optim=muon needs a hidden linear layer, which this model has not: use optim=adamw")
    for group in rest:
        group["lr_scale"] = adamw_lr / lr
    return uncompiled(Muon)(
        uncompiled(torch.optim.Muon)(matrices, lr, 0.0, momentum, nesterov, ns_steps=ns_steps),
        uncompiled(torch.optim.AdamW)(rest, adamw_lr, _pair(adamw_betas)),
    )


def custom(
    parameters: ParameterGroups,
    *,
    lr: float,
    target: Callable[..., Optimizer],
    args: dict[str, Any],
    closure: bool | None,
) -> Optimizer:
    """Any other optimizer, called as ``target(parameters, lr=lr, **args)``.

    ``train()`` and ``eval()`` are called around evaluations where it has them (Defazio 2024's schedule-free ones).

    What it may look like stands in ``configs/optim/custom.yaml``.

    Raises:
        PartError: if that is no optimizer.
    """
    flat = isinstance(target, type) and issubclass(target, torch.optim.LBFGS)  # which takes one group alone
    optimizer = call("optim.target", target, _all(parameters) if flat else parameters, args=args, lr=lr)
    if not isinstance(optimizer, Optimizer):
        said = f"optim.target must give a torch.optim.Optimizer, got {type(optimizer).__name__}"
        raise PartError("optim.target", said)
    if closure is not None:
        optimizer.takes_closure = closure  # type: ignore[attr-defined]
    for group in optimizer.param_groups:
        if "weight_decay" in group and not group.get("decayed", True):
            group["weight_decay"] = 0.0
    return optimizer


SECOND_ORDER = ("adahessian", "sophiah")


def collection(
    parameters: ParameterGroups, *, lr: float, name: str, args: dict[str, Any], closure: bool | None
) -> Optimizer:
    """An optimizer of the package pytorch-optimizer, by its name.

    Raises:
        ValueError: if the package is missing, has no optimizer of that name, or that does not take what is given.
    """
    try:
        import pytorch_optimizer
    except ImportError as error:
        raise ValueError("optim=collection needs pytorch-optimizer: pip install 'optbench[optimizers]'") from error
    known = [str(n) for n in pytorch_optimizer.get_supported_optimizers()]
    if name not in known:
        raise ValueError(f"optim.name={name} is not in pytorch-optimizer{closest(name, known)}")
    if name in SECOND_ORDER:
        raise ValueError(f"optim.name={name} needs second derivatives, which runs do not compute")
    target = pytorch_optimizer.load_optimizer(name)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    _, *taken = [p.name for p in inspect.signature(target).parameters.values() if p.kind in named and p.name != "lr"]
    for key in args:  # what it does not name would go to its **kwargs, and be ignored
        if key not in taken:
            hint = closest(key, taken)
            raise ValueError(f"optim.args.{key} is not taken by optim.name={name}{hint}\nvalid: {', '.join(taken)}")
    try:
        return custom(parameters, lr=lr, target=target, args=args, closure=closure)
    except Exception as error:
        raise ValueError(f"optim.name={name} optim.args={args}: {type(error).__name__}: {error}") from error


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


def _all(parameters: ParameterGroups) -> list[Tensor]:
    return [p for group in parameters for p in group["params"]]


def _fusable(parameters: ParameterGroups) -> bool:
    """Say whether torch has a fused step for parameters: on these devices, and not where processes share a tensor."""
    every = [p for group in parameters for p in group["params"]]
    return all(p.device.type in ("cpu", "cuda") and not hasattr(p, "placements") for p in every)


def _pair(betas: list[float]) -> tuple[float, float]:
    first, second = betas
    return first, second
