"""Which runs can be trained together."""

import warnings

from runner.engine.fused.members import stack
from runner.engine.fused.step import differentiate
from runner.engine.run import Run


def refusal(run: Run) -> str | None:
    """Return why a run cannot be stacked, or None; it is tried out on two samples."""
    if run.loss_scaling:
        return "amp=fp16 scales the loss of one run at a time: use amp=bf16"
    if run.device.type == "mps":
        return "device=mps trains one run at a time"
    if run.optim.takes_closure:
        return "its optimizer evaluates a batch several times a step"
    for hook in run.hooks.values():
        if hook.alone:
            return hook.alone
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*batching rule")  # of a loop over the runs in disguise
            tried = stack([run, run])
            tried.draw()
            losses = differentiate(tried, run.train.x[:2], run.train.y[:2], True)
    except Exception as error:
        return f"the model or its loss has no batching rule: {str(error).strip().splitlines()[0]}"
    if losses.shape != (2,) or any(weight.grad is None for weight in tried.trained):
        return "a part of the model gets no gradient"
    return None
