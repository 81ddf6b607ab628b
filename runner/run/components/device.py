"""Where a run is trained, and in which precision."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from runner.errors import ConfigError


def select_device(name: str, amp: str, dtype: str) -> torch.device:
    """Return the device that a name stands for.

    Raises:
        ConfigError: if this machine lacks it, or it cannot do what is asked.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        found = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
        name = "cpu" if found == "mps" and dtype == "float64" else found
    kind, _, number = name.partition(":")
    if not available[kind] or (number and int(number) >= torch.cuda.device_count()):
        numbered = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if available["cuda"] else []
        here = ", ".join(["auto", *(kind for kind, there in available.items() if there), *numbered])
        raise ConfigError(f"device={name} is not on this machine\nvalid: {here}")
    if number:
        torch.cuda.set_device(int(number))  # what names no device, such as a synchronization, means this one
    if amp == "fp16" and kind != "cuda":
        raise ConfigError(f"amp=fp16 needs device=cuda, which is not on this machine ({name} is): use amp=bf16")
    return torch.device(name)


def autocast(amp: str, device: torch.device) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """Return what a model's passes are made in."""
    if amp == "none":
        return contextlib.nullcontext
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    return lambda: torch.autocast(device.type, dtype)
