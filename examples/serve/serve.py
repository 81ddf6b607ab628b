"""A model exported by ``optbench predict RUN --export model.onnx``, served: uvicorn serve:app."""

import numpy as np
import onnxruntime
from fastapi import Body, FastAPI

app, session = FastAPI(), onnxruntime.InferenceSession("model.onnx")
(port,) = session.get_inputs()
numbers = {"tensor(float)": np.float32, "tensor(int64)": np.int64}[port.type]


@app.post("/predict")
def predict(inputs: list = Body()) -> dict[str, list]:  # noqa: B008
    """Return label, outputs and probabilities of raw inputs."""
    found = session.run(None, {port.name: np.asarray(inputs, numbers)})
    return {output.name: part.tolist() for output, part in zip(session.get_outputs(), found, strict=True)}
