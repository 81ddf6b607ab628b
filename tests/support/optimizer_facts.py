"""What an optimizer costs, measured on a network whose hidden matrix is 128 × 128, in float32."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import Tensor

from runner.config.options import options
from runner.engine import accumulate, loop
from runner.engine.fused.members import stack
from runner.engine.state import State, start
from runner.run.build import build
from runner.run.job import Job

OWN = ("custom", "collection")
"""Options of which another chooses the optimizer."""
NETWORK = ["model.width=128", "model.depth=3", "data.fraction=0.1", "max_steps=12"]
STEPS = 12
"""As many as lbfgs takes to fill its history."""
WRAPS = ("sam", "cautious", "lookahead")


class Counted(loop.Anew):
    """A batch that counts how often it is evaluated anew, and its products with the Hessian."""

    gradients = products = 0

    def __call__(self) -> Tensor:
        Counted.gradients += 1
        return super().__call__()

    def hessian_times(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        Counted.products += 1
        return super().hessian_times(vectors)


def tensors_in(held: Any) -> list[Tensor]:
    """Tensors of at least one axis, in whatever dictionaries and lists they lie; each once."""
    if isinstance(held, Tensor):
        return [held] if held.ndim else []
    parts = held.values() if isinstance(held, dict) else held if isinstance(held, list | tuple) else ()
    return list({id(t): t for part in parts for t in tensors_in(part)}.values())


def size(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def bytes_of(state: State) -> float:
    """Return the bytes of state for each weight of the hidden matrix; of all weights, where the state is one vector."""
    every = list(state.model.parameters())
    hidden = next(p for p in every if p.shape == (128, 128))
    held = state.optimizer.state.get(hidden)
    whole = {} if held else dict(enumerate(state.optimizer.state.values()))
    of_all = size(tensors_in([hook.state_dict() for hook in state.hooks.values()] + [whole]))
    return size(tensors_in(held or {})) / hidden.numel() + of_all / sum(p.numel() for p in every)


def cells(job: Callable[..., Job], *overrides: str) -> tuple[str, str, str, str]:
    """Whether the update is linear in the rate, how it is stacked, bytes a weight, and what more a step evaluates."""
    run = build(job(*NETWORK, *overrides))
    state = start(run)
    Counted.gradients = Counted.products = 0
    for _ in range(STEPS):
        x, y = run.train.x[:64], run.train.y[:64]
        accumulate.gradient(state, x, y, loop._loss)
        for group in state.optimizer.param_groups:
            group["lr"] = 1e-4
        anew = [Counted(state, x, y)] if run.optim.takes_closure else []
        state.optimizer.step(*anew)
        state.step += 1
    alone = run.optim.takes_closure
    form = "loop" if alone else "one for many" if stack([run, run]).slices else "one each"
    (most,) = {group.get("max_eval") for group in state.optimizer.param_groups}
    more = f"{most - 1} at most" if most else f"{Counted.gradients / STEPS:g}"
    if Counted.products:
        more = f"a product with the Hessian in {Counted.products} of {STEPS} steps"
    return "yes" if run.optim.linear_in_lr else "no", form, f"{bytes_of(state):.3g}", more


def rows(job: Callable[..., Job]) -> dict[str, tuple[str, str, str, str]]:
    """Of every optimizer, and of AdamW with what is done around it."""
    found = {}
    for option in options("optim"):
        if option.name not in OWN:
            found[option.name] = cells(job, f"optim={option.name}", *([] if option.name == "gd" else ["batch.size=64"]))
    return found | {f"adamw, optim.wrap=[{w}]": cells(job, "optim=adamw", f"optim.wrap=[{w}]") for w in WRAPS}


def lines(found: dict[str, tuple[str, str, str, str]]) -> list[str]:
    """As they stand in the table."""
    return [f"| `{name}` | {' | '.join(of_one)} |" for name, of_one in found.items()]
