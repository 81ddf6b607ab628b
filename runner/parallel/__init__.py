"""One run on several devices: each option's function returns a way to spread it. Never imports torch.

``ddp``: each process takes a part of every batch, and all hold the whole model. ``fsdp``: the same, and each holds a
part of every weight, of its gradient and of what the optimizer keeps. ``tensor``: the processes share each layer.
``pipeline``: each has some of the layers. ``tensor`` goes with ``ddp`` or ``fsdp``: a grid of processes.

What a run finds does not depend on how it is spread, but for the order in which numbers are added up: batches, their
order, dropout and augmentation are functions of the seed, and batch norm takes the statistics of the whole batch.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from runner.errors import ConfigError

HYBRID_SIZE = 2
"""Processes that share a layer beside ``ddp`` or ``fsdp``, where nobody said."""


@dataclass(frozen=True)
class Way:
    """One way to spread a run."""

    name: str
    size: int | None = None
    """Of ``tensor``: processes that share each layer; None is all, or ``HYBRID_SIZE`` beside another way."""
    parts: int = 1
    """Of ``pipeline``: into how many a batch is cut at most."""


@dataclass(frozen=True)
class Layout:
    """Who has what of a run of ``data`` · ``tensor`` · ``stages`` processes."""

    data: int = 1
    """Parts of each batch."""
    sharded: bool = False
    """Each of these processes holds a part of the weights."""
    tensor: int = 1
    """Processes that share each layer."""
    stages: int = 1
    """Processes that have some of the layers."""
    parts: int = 1
    """Into which a pipeline cuts a batch at most."""

    @property
    def devices(self) -> int:
        """How many processes there are."""
        return self.data * self.tensor * self.stages

    @property
    def splits_weights(self) -> bool:
        """Whether no process has the whole model."""
        return self.sharded or self.tensor > 1 or self.stages > 1

    def __str__(self) -> str:
        named = (
            ("fsdp" if self.sharded else "ddp", self.data),
            ("tensor", self.tensor),
            ("pipeline", self.stages),
        )
        return " × ".join(f"{name} {size}" for name, size in named if size > 1) or "one process"


def layout(ways: Iterable[Way], devices: int) -> Layout:
    """Return who has what where so many processes are spread in the ways that were chosen.

    Raises:
        ConfigError: for ways that do not go together, or a number of processes that they do not divide.
    """
    chosen = {way.name: way for way in ways}
    names = sorted(chosen)
    if len(names) > 1 and ("pipeline" in chosen or {"ddp", "fsdp"} <= chosen.keys()):
        raise ConfigError(
            f"parallel=[{','.join(names)}] do not go together\nvalid: ddp, fsdp, tensor, pipeline, [ddp,tensor], "
            "[fsdp,tensor]"
        )
    if "pipeline" in chosen:
        return Layout(stages=devices, parts=chosen["pipeline"].parts)
    if "tensor" not in chosen:
        return Layout(data=devices, sharded="fsdp" in chosen)
    asked = chosen["tensor"].size
    size = asked or (devices if len(names) == 1 else HYBRID_SIZE)
    if len(names) == 1 and size != devices:
        raise ConfigError(
            f"parallel.tensor.size={size} must be parallel.devices={devices}: without ddp or fsdp beside tensor, "
            "all processes share each layer"
        )
    if devices % size:
        default = "" if asked else " (the default)"
        raise ConfigError(f"parallel.tensor.size={size}{default} does not divide parallel.devices={devices}")
    return Layout(data=devices // size, sharded="fsdp" in chosen, tensor=size)


def ddp() -> Way:
    """Each process takes a part of every batch; their gradients are summed (Li et al. 2020)."""
    return Way("ddp")


def fsdp() -> Way:
    """The same, and each process holds a part of every weight, gathered where it is used (Zhao et al. 2023)."""
    return Way("fsdp")


def tensor(*, size: int | None) -> Way:
    """The processes share each layer's outputs, or its inputs (Shoeybi et al. 2019, §3)."""
    return Way("tensor", size=size)


def pipeline(*, parts: int) -> Way:
    """Each process has some of the layers, and parts of a batch go through them in turn (Huang et al. 2019)."""
    return Way("pipeline", parts=parts)
