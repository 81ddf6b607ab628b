"""Which runs can be trained together."""

import warnings

from runner.engine.fused.members import stack
from runner.engine.fused.step import differentiate, keys
from runner.engine.run import Run


def refusal(run: Run) -> str | None:
    """Return why a run cannot be stacked, or None; it is tried out on two samples."""
    if run.diagnostics:
        return "diagnostics=true looks into the layers of one run at a time"
    if run.sharpness:
        return "sharpness=true differentiates the loss of one run at a time"
    if run.loss_scaling:
        return "amp=fp16 scales the loss of one run at a time: use amp=bf16"
    if run.device.type == "mps":
        return "device=mps trains one run at a time"
    if run.hooks.averaging:
        return "ema and swa keep the averages of one run"
    if run.hooks.adversary or run.hooks.teacher:
        return "adversarial and distillation look at one run's inputs and outputs at a time"
    if run.stop.seconds is not None:
        return "stop=time counts a run's own seconds, and the runs of a stack share theirs"
    if run.mup:
        return "model.mup=true: parameters have learning rates of their own"
    if run.adaptive:
        return "batch=adaptive measures the gradients of one run, whose batches then have sizes of their own"
    if run.micro is not None:
        return f"batch.micro={run.micro} takes the batches of one run apart"
    if run.takes_closure:
        return "its optimizer evaluates a batch several times a step"
    if run.augment.parts:
        return f"augment={'+'.join(run.augment.parts)} changes the batches of one run at a time"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*batching rule")  # of a loop over the runs in disguise
            tried = stack([run, run])
            losses = differentiate(tried, run.train.x[:2], run.train.y[:2], True, keys(tried))
    except Exception as error:
        return f"the model or its loss has no batching rule: {str(error).strip().splitlines()[0]}"
    if losses.shape != (2,) or any(p.grad is None for p in tried.weights.values() if p.requires_grad):
        return "a part of the model gets no gradient"
    return None
