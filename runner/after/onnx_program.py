"""A trained model as an ONNX program: written by torch's exporter, quantized and run by onnxruntime."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runner.after.plain_form import settle_autograd
from runner.after.predict import labels_of, last_outputs
from runner.errors import ConfigError, RecordError
from runner.run.load import Trained

Numbers = NDArray[Any]

INPUT, OUTPUTS, PROBABILITIES, LABEL = "input", "outputs", "probabilities", "label"
"""What a program takes and gives."""
TOLERANCE = 1e-4
"""Largest difference of a program's outputs from PyTorch's, times the largest output where that is above 1."""
COMPARED = 64
"""Samples at a time: onnxruntime holds all that a network makes of them, 80 MB an image of MaxViT."""
_PLACE = "place"
_QUIET = ("onnx_ir", "onnxscript", "torch.onnx", "torch.export", "root")


class _Shipped(nn.Module):
    """A trained model with its probabilities and the place of the largest, where it tells classes apart."""

    def __init__(self, model: Trained) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return ``outputs [n, outputs]``; of classes also their probabilities, and the place of the largest."""
        outputs = last_outputs(self.model, x)
        if self.model.classes is None:
            return (outputs,)
        return outputs, outputs.softmax(1), outputs.argmax(1)


def refuse_without_onnx(said: str) -> None:
    """Refuse what needs ONNX where it is not installed.

    Raises:
        ConfigError: naming the extra.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"{said} needs onnx, onnxscript and onnxruntime: pip install 'optbench[onnx]'") from error


def raw_inputs(x: Numbers) -> Numbers:
    """Return samples as a program takes them: characters and tokens as they are, others in float32."""
    return np.ascontiguousarray(x.astype(np.float32) if x.dtype.kind == "f" else x)


def program_of(model: Trained, x: Numbers) -> Any:
    """Return a model as an ``onnx.ModelProto`` whose first axis is of any length; float64 becomes float32.

    Args:
        model: the trained one.
        x: a few raw inputs.

    Raises:
        RecordError: if torch's exporter cannot write it.
    """
    refuse_without_onnx(".onnx")
    shipped = _Shipped(copy.deepcopy(model).float()).eval()
    names = [OUTPUTS] if model.classes is None else [OUTPUTS, PROBABILITIES, _PLACE]
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    try:
        with _quiet():
            settle_autograd()
            program = torch.onnx.export(
                shipped,
                (torch.from_numpy(x[:3]),),
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=[INPUT],
                output_names=names,
                verbose=False,
            )
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise RecordError(
            f"the model cannot be written as .onnx: {type(error).__name__}: {reason[0] if reason else ''}"
        ) from error
    assert program is not None, "torch gives the program where it has no file to write"
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' notes to themselves off stderr."""
    loggers = [logging.getLogger(name) for name in _QUIET]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def labelled(proto: Any, model: Trained) -> Any:
    """Return a program of ``program_of``'s that gives labels by their names, before its other outputs."""
    from onnx import TensorProto, helper

    if model.classes is None:
        return proto
    called = labels_of(model)
    whole = all(isinstance(label, int) and not isinstance(label, bool) for label in called)
    kind = TensorProto.INT64 if whole else TensorProto.STRING
    values: Any = list(called) if whole else [str(label).encode() for label in called]
    found = type(proto)()
    found.CopyFrom(proto)
    graph = found.graph
    graph.initializer.append(helper.make_tensor("labels", kind, [len(values)], values))
    graph.node.append(helper.make_node("Gather", ["labels", _PLACE], [LABEL], axis=0))
    others = [output for output in graph.output if output.name != _PLACE]
    del graph.output[:]
    graph.output.extend([helper.make_tensor_value_info(LABEL, kind, ["batch"]), *others])
    return found


def quantized(proto: Any, how: str, calibration: Numbers) -> Any:
    """Return a program with weights in int8, and computed in int8 where onnxruntime has that.

    Args:
        proto: of ``program_of``.
        how: ``static``, with the ranges of calibration samples, or ``dynamic``, with those of each batch.
        calibration: raw inputs of training, whose ranges are those of a static program.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as place, _quiet():
        before, prepared, after = (str(Path(place) / f"{name}.onnx") for name in ("before", "prepared", "after"))
        onnx.save(proto, before)
        quant_pre_process(before, prepared, skip_symbolic_shape=True)
        onnx.save(without_shapes_of_weights(onnx.load(prepared)), prepared)
        options: dict[str, Any] = {"weight_type": quantization.QuantType.QInt8, "per_channel": True}
        if how == "dynamic":
            kinds = ["MatMul", "Gemm", "Attention", "LSTM", "Gather"]
            quantization.quantize_dynamic(prepared, after, op_types_to_quantize=kinds, **options)
        else:
            kinds = ["Conv", "MatMul", "Gemm", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Reshape"]
            reader = _reader(calibration)
            quantization.quantize_static(prepared, after, reader, op_types_to_quantize=kinds, **options)
        return onnx.load(after)


def without_shapes_of_weights(proto: Any) -> Any:
    """Return a program that says no shape twice: the quantizer turns weights, and would find the other one wrong."""
    found = type(proto)()
    found.CopyFrom(proto)
    weights = {weight.name for weight in found.graph.initializer}
    kept = [info for info in found.graph.value_info if info.name not in weights]
    del found.graph.value_info[:]
    found.graph.value_info.extend(kept)
    return found


def _reader(x: Numbers, batch: int = 64) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # it comes without types
        """Batches of calibration samples."""

        def __init__(self) -> None:
            self._left = iter([{INPUT: x[i : i + batch]} for i in range(0, len(x), batch)])

        def get_next(self) -> dict[str, Numbers] | None:
            """Return the next batch, None at the end."""
            return next(self._left, None)

    return Reader()


def session_of(proto: Any) -> Any:
    """Return what runs a program on the CPU, on one thread.

    Raises:
        RecordError: if onnxruntime cannot.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise RecordError(f"onnxruntime cannot run the program: {reason}") from error


def difference(session: Any, model: Trained, x: Numbers) -> float:
    """Return the largest difference of a program's outputs from the model's on raw inputs.

    Relative to the model's largest output, where that is above 1.
    """
    largest, scale = 0.0, 1.0
    with torch.no_grad():
        for i in range(0, len(x), COMPARED):
            part = x[i : i + COMPARED]
            (found,) = session.run([OUTPUTS], {INPUT: part})
            wanted = last_outputs(model, torch.from_numpy(part)).double().numpy()
            largest = max(largest, float(np.abs(found - wanted).max()))
            scale = max(scale, float(np.abs(wanted).max()))
    return largest / scale


def said_of(session: Any) -> list[str]:
    """Return a line for each input and output: name, type and shape."""
    lines = []
    for way, ports in (("input", session.get_inputs()), ("output", session.get_outputs())):
        lines += [f"{way} {port.name}: {port.type[7:-1]} {_shape(port.shape)}" for port in ports]
    return lines


def _shape(sizes: Sequence[object]) -> str:
    return f"[{', '.join(map(str, sizes))}]"
