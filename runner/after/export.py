"""A trained model as a program that runs without optbench."""

import warnings
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from runner.after.predict import part_of_data
from runner.errors import RecordError
from runner.run.load import load_model


def export(run: str | Path, path: str | Path, allow: Collection[str] = ()) -> float:
    """Export a run's model with ``torch.export`` and return the largest difference of the reloaded program's outputs.

    Raises:
        RecordError: if the program does not give the model's numbers, or cannot be written.
    """
    model = load_model(run, allow)
    x = torch.from_numpy(np.ascontiguousarray(part_of_data(run, "test", allow).x[:64]))
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (x[:3],), dynamic_shapes=({0: batch},))
    try:
        torch.export.save(program, path)
    except (OSError, RuntimeError) as error:
        raise RecordError(f"cannot write {path}: {error}") from error
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")  # PyTorch 2.10's own reading
        difference = float((torch.export.load(path).module()(x) - model(x)).abs().max())
    if not difference <= 1e-5 * model(x).abs().max().item():
        raise RecordError(f"{path} gives outputs that differ by {difference:g} from the model's")
    return difference
