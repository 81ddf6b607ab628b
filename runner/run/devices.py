"""A run that several processes train: the first one leads, records and speaks, and the others follow."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from runner.config.fields import is_import_path
from runner.config.options import options_in
from runner.errors import ConfigError, OptbenchError, ProcessError
from runner.parallel import Layout, Way, layout
from runner.run.job import Job
from runner.run.process import Interruption, cores, torch_settings

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

    from runner.engine.run import Run
    from runner.engine.spread import Spread
    from runner.parallel.processes import Processes

GOES_ON = "the same command goes on from the last checkpoint"


def is_spread(job: Job) -> bool:
    """Say whether several processes are to train a run."""
    return bool(options_in(job.config.get("parallel")))


def refuse_lone_devices(job: Job) -> None:
    """Refuse a run that names a number of processes, and no way to spread it over them.

    Raises:
        ConfigError: of such a run.
    """
    devices = job.config.get("parallel", {}).get("devices")
    if not is_spread(job) and devices not in (None, 1):
        raise ConfigError(
            f"parallel.devices={devices} needs parallel, the way to spread the run over them: give both "
            "(optbench list parallel)"
        )


def refuse_spread(job: Job) -> None:
    """Refuse a run that several processes are to train where nobody starts them.

    Raises:
        ConfigError: of such a run, and as ``refuse_lone_devices`` does.
    """
    refuse_lone_devices(job)
    if is_spread(job):
        ways = "+".join(sorted(options_in(job.config["parallel"])))
        raise ConfigError(f"parallel={ways} is for optbench train and tune, and this command trains in one process")


def layout_of(job: Job, started: int | None) -> Layout:
    """Return who has what of a run.

    Args:
        job: the run.
        started: how many processes there are already; None where they are to be started.

    Raises:
        ConfigError: if that is not said, or not what was asked for.
    """
    asked: int | None = job.config["parallel"]["devices"]
    if asked is not None and started is not None and asked != started:
        raise ConfigError(
            f"parallel.devices={asked}, but torchrun started {started} processes: leave parallel.devices out"
        )
    devices = started or asked or _cuda_devices(job)
    ways = []
    for name, option in sorted(options_in(job.config["parallel"]).items()):
        way = job.part(option)()
        if not isinstance(way, Way):
            raise ConfigError(f"the function of parallel={name} must return a runner.parallel.Way")
        ways.append(way)
    found = layout(ways, devices)
    if found.devices < 2:
        named = "+".join(way.name for way in ways)
        raise ConfigError(f"parallel={named} needs at least 2 devices, got {devices}: parallel.devices=2")
    return found


def _cuda_devices(job: Job) -> int:
    import torch

    there = torch.cuda.device_count() if job.config["device"] in ("auto", "cuda") else 0
    if there < 2:
        raise ConfigError(
            "parallel needs parallel.devices, the number of processes, as in parallel.devices=2: "
            "without several CUDA devices there is no default"
        )
    return there


def checked(job: Job, of: Layout) -> "Run":
    """Return a run as one process would train it, which can be spread so.

    Raises:
        ConfigError: if it cannot.
    """
    import torch

    from runner.parallel.refusal import refuse
    from runner.run.build import build

    run = build(job)
    here = torch.cuda.device_count()
    if run.device.type == "cuda" and of.devices > here and "LOCAL_WORLD_SIZE" not in os.environ:
        devices = "one CUDA device" if here == 1 else f"{here} CUDA devices"
        raise ConfigError(f"parallel.devices={of.devices}, and this machine has {devices}: give fewer, or device=cpu")
    own_loss = job.config["loss"] if is_import_path(str(job.config["loss"])) else None
    refuse(run, of, job.config["optim"]["_option_"], own_loss)
    return run


def spread_over(job: Job, run: "Run", of: Layout, store: "Store") -> "tuple[Run, Processes]":
    """Return a run that this process trains with the others, whom it has joined at a store."""
    from runner.parallel.processes import Processes

    made = Processes(of, run.device.type, run.train.x[:1], job.config["optim"]["decay_bias_and_norm"], store)
    return replace(run, spread=made), made


def tell(spread: "Spread | None", *said: Any) -> None:
    """Tell the other processes of a run, where there are any, what to do next."""
    if spread is not None:
        cast("Processes", spread).say(*said)


def led(spread: "Spread", rows: Iterator[Any]) -> Iterator[Any]:
    """Go through a run's rows, each other process with this one."""
    while True:
        tell(spread, "row")
        found = next(rows, None)
        if found is None:
            return
        yield found


def follow(job: Job, run: "Run", save: str, interruption: Interruption) -> None:
    """Do what the first process says until it is done, and record nothing."""
    from runner.engine import loop
    from runner.engine.measure import finish
    from runner.engine.state import State, start
    from runner.run.summary import kept_weights, size_of

    spread = cast("Processes", run.spread)
    state: State | None = None
    rows: Iterator[Any] = iter(())

    def pulse(state: State, loss: float) -> bool:
        return spread.agreed(interruption.requested)

    with interruption.listening(), torch_settings(job):
        while (said := spread.hear())[0] != "over":
            if said[0] == "begin":
                state = start(run)
                rows = loop.train(state, pulse)
                continue
            assert state is not None, "it begins first"
            if said[0] == "load":
                state.load_state_dict(spread.part(said[1], state))
            elif said[0] == "keep":
                spread.whole(state.state_dict())
            elif said[0] == "row" and next(rows, None) is not None and state.stop_reason is not None:
                finish(state)
                size_of(state)
                kept_weights(state, save)


@contextlib.contextmanager
def losses_named(run: "Run") -> Iterator[None]:
    """Tell apart, of what fails in the block, that another process has gone, and what that one had said before.

    Raises:
        ProcessError: if it has gone.
        RuntimeError: with what it said, where something failed there.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if run.spread is None or isinstance(error, OptbenchError):
            raise
        from runner.parallel.join import is_lost

        if not is_lost(error):
            raise
        said: str | None = cast("Processes", run.spread).last_words()
        if said is not None:
            raise RuntimeError(said) from error
        raise ProcessError(f"a process of the run has ended before it was over; {GOES_ON}") from error


def share_cores(job: Job) -> None:
    """Give this process its share of the machine's cores, unless a number of threads was asked for."""
    import torch

    if job.config["threads"] is None:
        torch.set_num_threads(max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
