"""A trained model as a program that runs without optbench."""

import json
import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from runner import __version__
from runner.after import card, onnx_program
from runner.after.plain_form import plain, settle_autograd
from runner.after.predict import evenly, labels_of, part_of_data
from runner.data import Samples
from runner.errors import ConfigError, RecordError
from runner.run.load import Trained, load_model
from runner.run.record import write_whole

SAMPLES = 1000
"""Real samples that a program is checked on, where the data has as many."""
CALIBRATION = 512
"""Training samples whose ranges a static int8 program is given."""
ENDINGS = (".pt2", ".onnx")


class Exported(NamedTuple):
    """What was written."""

    difference: float
    """The largest of the program's outputs from the model's, before it was quantized."""
    lines: list[str]
    """What is to be said of it."""


def export(run: str | Path, path: str | Path, allow: Collection[str] = (), quantize: str | None = None) -> float:
    """Export a run's model as ``exported`` does, and return the largest difference of the program's outputs."""
    return exported(run, path, allow, quantize).difference


def exported(run: str | Path, path: str | Path, allow: Collection[str] = (), quantize: str | None = None) -> Exported:
    """Export a run's model, checked on samples of its data, with a card beside it.

    ``.pt2`` is written by ``torch.export``, ``.onnx`` by ``torch.onnx``; ``quantize`` makes int8 of the latter, which
    is held against the model by what it gets right.

    Raises:
        ConfigError: for another ending, or where an extra is not installed.
        RecordError: if the program does not give the model's numbers, or cannot be written.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise ConfigError(f"--export must be a {' or '.join(ENDINGS)}, got {str(path)!r}")
    if quantize is not None and path.suffix != ".onnx":
        raise ConfigError(f"--quantize {quantize} is of an .onnx file, got --export {path}")
    place = card.place_of(path)
    if path.suffix == ".onnx":
        onnx_program.refuse_without_onnx(f"--export {path}")
    model = plain(load_model(run, allow))
    samples, tested = _samples(run, allow)
    if path.suffix == ".pt2":
        difference, lines = _as_pt2(model, path, samples)
    else:
        ranges = evenly(part_of_data(run, "train", allow), CALIBRATION).x if quantize == "static" else samples.x[:0]
        difference, lines = _as_onnx(model, path, (samples, tested), quantize, onnx_program.raw_inputs(ranges))
    write_whole(place, card.card(run, path, model, lines))
    said = [*(f"{path}: {line}" for line in lines), f"{place}: data, setting, quality and limits"]
    return Exported(difference, said)


def _samples(run: str | Path, allow: Collection[str]) -> tuple[Samples, int]:
    """Return the samples of a check: those of test, of which there are so many, then of train where they are few."""
    test = part_of_data(run, "test", allow)
    if len(test) >= SAMPLES:
        return evenly(test, SAMPLES), SAMPLES
    more = evenly(part_of_data(run, "train", allow), SAMPLES - len(test))
    return Samples(np.concatenate([test.x, more.x]), np.concatenate([test.y, more.y])), len(test)


def _as_pt2(model: Trained, path: Path, samples: Samples) -> Exported:
    x = torch.from_numpy(np.ascontiguousarray(samples.x[:64]))
    batch = torch.export.Dim("batch", min=1)
    settle_autograd()
    program = torch.export.export(model, (x[:3],), dynamic_shapes=({0: batch},))
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        torch.export.save(program, beside, extra_files={"labels.json": json.dumps(list(labels_of(model)))})
        with torch.no_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given buffer is not writable")  # PyTorch 2.10's own reading
            difference = float((torch.export.load(beside).module()(x) - model(x)).abs().max())
        if not difference <= 1e-5 * model(x).abs().max().item():
            raise RecordError(f"{path} gives outputs that differ by {difference:g} from the model's")
        beside.replace(path)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"cannot write {path}: {error}") from error
    finally:
        beside.unlink(missing_ok=True)
    kind = str(x.dtype).removeprefix("torch.")
    lines = [
        f"torch.export of torch {torch.__version__}; the file labels.json in it holds the labels, a list",
        f"input x: {kind} [batch, {', '.join(map(str, model.shape))}]",
        f"output: {'logits' if model.classes is not None else 'numbers'}, as the model gives them",
        f"outputs within {difference:.1g} of the model's on {len(x)} samples",
    ]
    return Exported(difference, lines)


def _as_onnx(
    model: Trained, path: Path, of_check: tuple[Samples, int], quantize: str | None, calibration: Any
) -> Exported:
    samples, tested = of_check
    x = onnx_program.raw_inputs(samples.x)
    plain = onnx_program.program_of(model, x)
    found = onnx_program.difference(onnx_program.session_of(plain), model, x)
    if not found <= onnx_program.TOLERANCE:
        raise RecordError(
            f"{path} would give outputs that differ by {found:.2g} from PyTorch's on {len(x)} samples, "
            f"more than {onnx_program.TOLERANCE:g}: it is not written"
        )
    said = f"outputs within {found:.1g} of PyTorch's on {len(x)} samples, in onnxruntime"
    proto, checked = plain, [said]
    if quantize is not None:
        proto = onnx_program.quantized(plain, quantize, calibration)
        lost = _lost(plain, proto, model, x[:tested], samples.y[:tested], quantize)
        checked = [f"before it was quantized, {said}", *lost]
    proto = onnx_program.labelled(proto, model)
    proto.producer_name, proto.producer_version = "optbench", __version__
    session = onnx_program.session_of(proto)
    session.run(None, {onnx_program.INPUT: x[:1]})
    content = proto.SerializeToString()
    if len(content) >= 2**31:
        raise RecordError(f"{path} would be larger than 2 GiB, the most that one .onnx file holds")
    write_whole(path, content)
    used = {node.domain or "ai.onnx" for node in proto.graph.node}
    opsets = ", ".join(f"{n} {o.version}" for o in proto.opset_import if (n := o.domain or "ai.onnx") in used)
    lines = [f"ONNX, opset {opsets}, {path.stat().st_size:,} bytes", *onnx_program.said_of(session), *checked]
    return Exported(found, lines)


def _lost(plain: Any, int8: Any, model: Trained, x: Any, y: Any, how: str) -> list[str]:
    """Return what int8 changes on samples: what is right, or how far numbers move."""
    one, other = (
        onnx_program.session_of(p).run([onnx_program.OUTPUTS], {onnx_program.INPUT: x})[0] for p in (plain, int8)
    )
    start = f"int8 weights ({how})"
    if model.classes is None:
        moved = float(np.abs(one - other).mean() / max(float(np.abs(one - one.mean(0)).mean()), 1e-12))
        return [f"{start}: numbers move by {moved:.2%} of their own spread, the mean over {len(x)} test samples"]
    targets = y.reshape(len(y), -1)[:, -1]
    before, after = (float((outputs.argmax(1) == targets).mean()) for outputs in (one, other))
    same = float((one.argmax(1) == other.argmax(1)).mean())
    return [f"{start}: accuracy {after:.4f}, {before:.4f} before; {same:.2%} of {len(x)} test labels are the same"]
