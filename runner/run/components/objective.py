"""What a run makes smaller, what it measures, and what it is to reach."""

import inspect
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from runner import metrics
from runner.config import fields
from runner.config.imports import accepts, resolve
from runner.config.own_parts import call, find_part, refuse_signature
from runner.data import Data
from runner.engine.rules import Target
from runner.engine.targets import Weighted
from runner.errors import ConfigError, closest
from runner.measures import HIGHER_IS_BETTER
from runner.metrics import AnyLoss, Loss, Metric, OfInputs
from runner.run.job import Job

RESERVED_NAMES = frozenset({"loss", "seconds"})


def loss_of(job: Job, classes: int | None) -> AnyLoss:
    """Return the loss that training makes smaller; one of the user's own gets the inputs where it names ``x``."""
    name = job.config["loss"]
    if not fields.is_import_path(name):
        return metrics.loss(name, classes)
    found = resolve(name, job.allow)
    loss: Any = call("loss", found) if inspect.isclass(found) else found
    called = loss.forward if isinstance(loss, nn.Module) else loss
    inputs: dict[str, Any] = {"x": "x"} if accepts(called, "x") else {}
    refuse_signature("loss", called, "outputs", "y", **inputs)
    return OfInputs(loss) if inputs else cast(Loss, loss)


def training_loss_of(job: Job, data: Data, loss: AnyLoss, device: torch.device) -> AnyLoss:
    """Return the loss that training makes smaller: a job's, each sample weighted by its class where it asks for that.

    ``balanced`` is n/(k·n_class), of the n training samples in k classes (King & Zeng 2001, with equal shares).

    Raises:
        ConfigError: if that is no cross-entropy of classes, or samples are weighed whose losses are not known.
    """
    if data.weights is not None:
        return _of_weighted(job, data, loss)
    if job.config["class_weights"] == "none":
        return loss
    if data.classes is None or job.config["loss"] != "cross_entropy":
        raise ConfigError(
            f"class_weights={job.config['class_weights']} beside loss={job.config['loss']}: "
            "it weighs the cross-entropy of classes"
        )
    counts = np.bincount(data.train.y.ravel(), minlength=data.classes)
    there = counts > 0
    weights = np.divide(counts.sum(), there.sum() * counts, out=np.ones(data.classes), where=there)
    return metrics.WeightedCrossEntropy(torch.from_numpy(weights).to(device, getattr(torch, job.config["dtype"])))


def _of_weighted(job: Job, data: Data, loss: AnyLoss) -> AnyLoss:
    """Return a loss that takes weighted targets too: the mean of weight·loss over samples.

    As the weights are 1 in the mean, a batch's gradient is in the mean over batches that of the whole set.
    """
    name = job.config["loss"]
    if fields.is_import_path(name) or isinstance(loss, OfInputs):
        raise ConfigError(f"data.weights beside loss={name}: it weighs cross_entropy, mse, bce, l1 and huber")
    if data.alphabet is not None:
        raise ConfigError("data.weights beside a text, whose samples are windows of it: leave it out")
    of_samples = metrics.loss_of_samples(name, data.classes)

    def weighted(outputs: Tensor, y: Any) -> Tensor:
        if isinstance(y, Weighted):
            return (of_samples(outputs, y.y) * y.weights).mean()
        return loss(outputs, y)

    return weighted


def metrics_of(job: Job, data: Data) -> dict[str, Metric]:
    """Return what every evaluation measures, by name.

    Raises:
        ConfigError: if one's own has the name of another column.
    """
    classes = data.classes
    measures = metrics.metrics(classes, data.alphabet is not None)
    for i, path in enumerate(job.config["metrics"]):
        name = path.rpartition(".")[2]
        if not fields.is_import_path(path):
            measures[name] = metrics.metric(name, classes)
            continue
        if name in {**metrics.final_metrics(classes), **measures} or name in RESERVED_NAMES:
            raise ConfigError(f"metrics=[{path}]: there is a column for {name} already; give yours another name")
        found = find_part(f"metrics[{i}]", path, job.allow)
        metric: Any = call("metrics", found) if inspect.isclass(found) else found
        refuse_signature("metrics", metric.forward if isinstance(metric, nn.Module) else metric, "outputs", "y")
        measures[name] = cast(Metric, metric)
    return measures


def target_of(job: Job, measures: Mapping[str, Metric]) -> Target | None:
    """Return what a job is to reach, or None.

    Raises:
        ConfigError: if that is no measure of its, or one of which nobody knows which way is better.
    """
    asked, value = job.config["target"]["metric"], job.config["target"]["value"]
    if asked is None:
        return None
    valid = [f"val_{name}" for name in ("loss", *measures)]
    if asked not in valid:
        typed = [o.partition("=")[2] for o in job.overrides if o.partition("=")[0] == "target.metric"]
        got = typed[0].strip("'\"") if typed else asked
        raise ConfigError(
            f"target.metric must be a validation measure of this run, got {got!r}{closest(got, valid)}\n"
            f"valid: {', '.join(valid)}, and what metrics=[…] adds"
        )
    name = asked.removeprefix("val_")
    if name not in HIGHER_IS_BETTER:
        raise ConfigError(f"target.metric={asked} is a measure of your own: nobody knows which way is better")
    return Target(name, value, HIGHER_IS_BETTER[name])
