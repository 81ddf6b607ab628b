"""What a finished run says about itself: measures, size, cost, versions."""

import contextlib
import functools
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner import __version__
from runner.engine.run import Run
from runner.engine.state import State
from runner.run.flops import forward_flops
from runner.run.job import Job


def summarize(
    job: Job, state: State, last_row: dict[str, Any], measured: dict[str, float], size: dict[str, int]
) -> dict[str, Any]:
    """Return the flat summary of a run that has ended, ``status`` first."""
    run = state.run
    diverged = state.first_nonfinite_step is not None
    stopped = state.stop_reason is not None and state.stop_reason != "finished"
    measures = [k for k in last_row if k.startswith(("train_", "val_")) and k != "train_seconds"]
    return {
        "status": "diverged" if diverged else "stopped_early" if stopped else "completed",
        "stop_reason": state.stop_reason,
        **{f"final_{k}": last_row[k] for k in measures},
        **measured,
        **{f"best_val_{k}": v for k, v in state.best.items()},
        "steps": state.step,
        "epochs": state.epoch + state.offset / len(run.train.y),
        "samples_seen": state.samples_seen,
        **{key: value for more in state.on.summary for key, value in more().items()},
        "train_seconds": state.train_seconds,
        "target": job.target,
        "steps_to_target": state.steps_to_target,
        "seconds_to_target": state.seconds_to_target,
        "first_nonfinite_step": state.first_nonfinite_step,
        "amp_skipped_steps": state.skipped_steps,
        "parameters": size["parameters"],
        "train_samples": len(run.train.y),
        "val_samples": len(run.val.y),
        "test_samples": len(run.test.y),
        **class_sizes(run),
        "flops_per_sample": forward_flops(state),
        "memory_format": state.layout,
        "optimizer_state_bytes": size["optimizer_state_bytes"],
        "peak_memory_bytes": peak_memory(run.device),
        **environment(job, run, state.stack_size),
    }


def environment(job: Job, run: Run, stack_size: int) -> dict[str, Any]:
    """Return where and with what a run was made."""
    return {
        "engine": "fused" if stack_size else "loop",
        "stack_size": max(1, stack_size),
        "threads": torch.get_num_threads(),
        "device": device_name(run.device),
        **({} if run.spread is None else {"devices": run.spread.size, "spread": run.spread.said}),
        **versions(job),
    }


def versions(job: Job) -> dict[str, Any]:
    """Return by which versions a run was made, and of what data."""
    of_data = {**job.of_data, "data_names": job.source.names}
    return {
        "optbench_version": __version__,
        "torch_version": torch.__version__,
        "python_version": platform.python_version(),
        "git_commit": _git_commit(),
        **(of_data if "data" in job.config else {}),
        "run_id": job.run_id,
    }


def class_sizes(run: Run) -> dict[str, int]:
    """Return of validation and test how many classes are there, and how many samples the largest and smallest have.

    A report needs them: whether classes are skewed, and in what steps a balanced accuracy moves. A text has none.
    """
    if run.interface["classes"] is None or run.interface["alphabet"] is not None:
        return {}
    found = {}
    for part, samples in (("val", run.val), ("test", run.test)):
        if not len(samples.y):
            continue
        sizes = torch.unique(samples.y, return_counts=True)[1]
        found[f"{part}_classes"] = len(sizes)
        found |= {f"{part}_largest_class": int(sizes.max()), f"{part}_smallest_class": int(sizes.min())}
    return found


def device_name(device: torch.device) -> str:
    """Return the device's own name, such as ``NVIDIA H200``, or its kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def size_of(state: State) -> dict[str, int]:
    """Return how many weights a run has, and the bytes that its optimizer keeps, of all processes that train it."""
    held = (v for s in state.optimizer.state.values() for v in s.values() if isinstance(v, Tensor))
    found = {
        "parameters": sum(p.numel() for p in state.model.parameters()),
        "optimizer_state_bytes": sum(v.numel() * v.element_size() for v in held) // state.optimized_together,
    }
    return found if state.spread is None else {name: state.spread.total(number) for name, number in found.items()}


def kept_weights(state: State, save: str) -> dict[str, Tensor] | None:
    """Return the weights that a run keeps, whole on the process that records; None where it keeps none."""
    if save == "none" or state.first_nonfinite_step is not None:
        return None
    weights = state.best_weights if save == "best" else state.judged_weights()
    return weights if state.spread is None or weights is None else state.spread.whole(weights)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes held: by tensors on CUDA, by the whole process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak_memory(device: torch.device) -> None:
    """Begin to count anew, where the system can: a process may train many runs."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@functools.cache  # a process trains many runs
def _git_commit() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
