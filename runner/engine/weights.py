"""Weights from elsewhere: what a file holds, and where it does not fit a model."""

import functools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runner.errors import ConfigError

State = Mapping[str, Tensor]
"""Parameters and buffers by their names."""
HOLDERS = ("state_dict", "model_state_dict", "model")
"""Keys below which training scripts put a model's state beside other things."""
PARALLEL = "module."
"""What ``DataParallel`` puts before every name."""
NAMED = 3
"""So many parameters that differ are named."""
COUNTER = "num_batches_tracked"
"""A buffer of batch norm that files of older versions of PyTorch lack."""


def read(path: Path, said: str) -> State:
    """Return the weights that a file holds, on the CPU.

    A ``.safetensors`` file, or any other as ``torch.save(model.state_dict(), path)`` writes it; nothing in it is run.

    Args:
        path: the file.
        said: names it in messages, as in ``init.path=weights.pth``.

    Raises:
        ConfigError: if it cannot be read, or holds no weights.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise ConfigError(f"{said} cannot be read: {error.strerror}") from error
    return _read(path, about.st_mtime_ns, about.st_size, said)


@functools.lru_cache(maxsize=1)  # a run is tried out before it starts, and the runs of a sweep share it
def _read(path: Path, modified: int, size: int, said: str) -> State:
    found: Any = _of_safetensors(path, said) if path.suffix == ".safetensors" else _of_torch(path, said)
    holder = next((key for key in HOLDERS if isinstance(found, dict) and isinstance(found.get(key), dict)), None)
    found = found if holder is None else found[holder]
    if not isinstance(found, dict) or not found or not all(isinstance(v, Tensor) for v in found.values()):
        raise ConfigError(f"{said} holds no weights: torch.save(model.state_dict(), FILE) writes them")
    shorter = len(PARALLEL) if all(str(name).startswith(PARALLEL) for name in found) else 0
    return {str(name)[shorter:]: tensor for name, tensor in found.items()}


def _of_torch(path: Path, said: str) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of whatever kind: the file may be anything
        raise ConfigError(
            f"{said} holds something else than tensors: torch.save(model.state_dict(), FILE) writes them"
        ) from error


def _of_safetensors(path: Path, said: str) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise ConfigError(f"{said} needs safetensors: pip install 'optbench[safetensors]'") from error
    try:
        return load_file(path)
    except Exception as error:
        raise ConfigError(f"{said} is no file of safetensors: {error}") from error


def fitting(own: State, saved: State, left_out: Collection[str] = ()) -> dict[str, Tensor]:
    """Return the saved weights that a model takes as they are."""
    return {k: v for k, v in saved.items() if k not in left_out and k in own and own[k].shape == v.shape}


def differences(own: State, saved: State, left_out: Collection[str] = ()) -> list[str]:
    """Return what differs between a model's weights and saved ones, those ``left_out`` aside, in the model's order."""
    found = []
    for name, tensor in own.items():
        if name in left_out or (name not in saved and name.endswith(COUNTER)):
            continue
        if name not in saved:
            found.append(f"{name} {list(tensor.shape)} is not there")
        elif saved[name].shape != tensor.shape:
            found.append(f"{name} is {list(saved[name].shape)} there and {list(tensor.shape)} here")
    return found + [f"{n} {list(t.shape)} is not here" for n, t in saved.items() if n not in own and n not in left_out]


def named(differing: list[str]) -> str:
    """Return the first of some differences in one line, and how many more there are."""
    more = f", and {len(differing) - NAMED} more" if len(differing) > NAMED else ""
    return ", ".join(differing[:NAMED]) + more


def names_in(place: str, module: nn.Module) -> list[str]:
    """Return the names that a layer's parameters have in the model that it lies in."""
    return [f"{place}.{key}" for key, _ in module.named_parameters()]
