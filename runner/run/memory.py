"""What a step takes of a device's memory, and how many samples it holds at a time."""

from collections.abc import Collection
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from runner.config.chosen import Config
from runner.config.imports import bind
from runner.data import Source
from runner.data.vocabulary import Codes
from runner.engine.memory import COPIES
from runner.run.components.device import select_device
from runner.run.components.network import network

SHARE = 0.5
"""Of a device's memory for weights and one step; the rest is for the data, evaluations and what libraries take."""
TRIED = 2
"""Samples of the smaller of two forward passes, of which the difference is what a sample takes."""


def samples_at_a_time(config: Config, source: Source, allow: Collection[str], size: int) -> int | None:
    """Return the largest power of two of samples that a CUDA device holds at a time; None where that is ``size``.

    An estimate: what a forward pass keeps for its gradient, in the run's dtype whatever ``amp``, and the weights'
    copies, against half of the device's whole memory, so that it does not hang on what else runs there.
    """
    device = select_device(config["device"], config["amp"], config["dtype"])
    if device.type != "cuda":
        return None
    memory = SHARE * torch.cuda.get_device_properties(device).total_memory
    try:
        weights, sample = _bytes(config, source, allow)
    except Exception:  # the model does not fit the data: building the run says how
        return None
    return most_samples(memory, weights, sample, size)


def most_samples(memory: float, weights: int, sample: int, size: int) -> int | None:
    """Return the largest power of two of samples that fit beside the weights' copies; None where ``size`` fits.

    Args:
        memory: bytes there are.
        weights: bytes of the weights.
        sample: bytes that each sample takes.
        size: of the batch.
    """
    room = memory - COPIES * weights
    if size * sample <= room:
        return None
    return 2 ** (max(1, int(room // sample)).bit_length() - 1) if room > 0 else 1


def _bytes(config: Config, source: Source, allow: Collection[str]) -> tuple[int, int]:
    """Return the bytes of a run's weights, and those that one sample's forward pass keeps for its gradient."""
    inputs, vocabulary = source.samples.x, None
    if source.corpus is not None:  # of all samples, as the parts are not known yet
        codes = cast(Codes, inputs)
        vocabulary = source.corpus.vocabulary(codes)
        inputs = source.corpus.known(codes[: 2 * TRIED], vocabulary)
    x = torch.from_numpy(inputs[: 2 * TRIED])
    dtype = getattr(torch, config["dtype"])
    x = x if source.alphabet is not None or vocabulary is not None else x.to(dtype)
    outputs = source.classes if source.classes is not None else source.samples.y.shape[1]
    function, settings = bind(config["model"], allow)
    with torch.random.fork_rng(devices=[]):
        made = network(partial(function, **settings), config["model"], source.alphabet, vocabulary)
        model = made(tuple(x.shape[1:]), outputs).to(dtype)
        kept = [kept_bytes(model, x[:n].clone()) for n in (TRIED, 2 * TRIED)]
    return sum(p.numel() * p.element_size() for p in model.parameters()), max(1, (kept[1] - kept[0]) // TRIED)


def kept_bytes(model: nn.Module, x: Tensor) -> int:
    """Return the bytes of all that a forward pass in training keeps for its gradient, inputs and weights included."""
    found: dict[int, Any] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model.train()(x)
    return sum(storage.nbytes() for storage in found.values())
