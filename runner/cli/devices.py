"""One run on several devices: this process starts the others, or is one of them."""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.errors import ConfigError, OptbenchError, ProcessError
from runner.run.process import Interruption, end_with

if TYPE_CHECKING:
    from runner.engine.run import Run
    from runner.parallel import Layout
    from runner.parallel.join import Place
    from runner.run.job import Job
    from runner.run.outcome import Outcome


def place() -> "Place | None":
    """Return which of several processes this is; None where it is one by itself."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return None  # without torch
    from runner.parallel.join import place_of

    return place_of()


def started(job: "Job", arguments: list[str]) -> int:
    """Start the processes of a run, once it is known that it can be made, and return the exit code.

    Raises:
        ConfigError: if it cannot be made.
        ProcessError: if one of them has gone.
    """
    from runner.run.devices import checked, layout_of
    from runner.run.launcher import launched

    of = layout_of(job, None)
    checked(job, of)
    return launched(arguments, of.devices)


def trained(at: "Place", prepared: "Callable[[], Job]", told: "Callable[[Outcome], int]") -> int:
    """Train a run as one of its processes, and return the exit code; the first one alone speaks.

    Args:
        at: this process's place.
        prepared: gives the run.
        told: says what became of it.
    """
    from runner.run.launcher import LOST, started_here

    try:
        return _trained(at, prepared, told)
    except ProcessError:
        if started_here():
            os._exit(LOST)  # at its end the interpreter would wait for connections to what has gone
        if at.is_first:
            raise
        return 1
    except OptbenchError as error:
        if at.is_first:
            raise
        return error.exit_code


def _trained(at: "Place", prepared: "Callable[[], Job]", told: "Callable[[Outcome], int]") -> int:
    from runner.parallel.join import join, refuse
    from runner.run.devices import spread_over

    try:
        job, run, of = _checked(at, prepared)
    except ConfigError as error:
        refuse(at, str(error))
        raise
    if run.device.type == "cuda":
        import torch

        torch.cuda.set_device(at.local)
    store = join(at, run.device.type, {"the run": job.run_id, "parallel": str(of)})
    run, processes = spread_over(job, run, of, store)
    if at.is_first:
        from runner.run.claim import run_job

        outcome = run_job(job, built=run)
        assert outcome is not None, "it waits where another process trains the run"
        if outcome.summary["status"] != "failed":  # else the others may be anywhere, and end as this process does
            processes.say("over")
        return told(outcome)
    return _followed(job, run, processes.leave_word)


def _checked(at: "Place", prepared: "Callable[[], Job]") -> "tuple[Job, Run, Layout]":
    """Return a run that these processes can train together."""
    from runner.run.devices import checked, is_spread, layout_of, share_cores
    from runner.run.launcher import STARTED_BY

    if STARTED_BY in os.environ:
        end_with(int(os.environ[STARTED_BY]))
    job = prepared()
    if not is_spread(job):
        raise ConfigError(
            f"{at.size} processes were started, and parallel=none trains in one: choose parallel=ddp, fsdp, tensor or "
            "pipeline"
        )
    share_cores(job)
    of = layout_of(job, at.size)
    return job, checked(job, of), of


def _followed(job: "Job", run: "Run", leave_word: Callable[[str], None]) -> int:
    from runner.run.devices import follow, losses_named

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        try:
            with losses_named(run):
                follow(job, run, job.config["save"] or "last", Interruption())
        except OptbenchError:
            raise
        except (Exception, SystemExit) as error:
            said = str(error).strip().splitlines()
            leave_word(f"{type(error).__name__}: {said[0] if said else ''}")
            print(f"optbench: {type(error).__name__}: {error}", file=sys.stderr)
            return 1
    return 0
