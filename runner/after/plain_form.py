"""A trained model in the form in which it is used."""

import copy

import torch
from torch.nn.utils import parametrize

from runner.compress import fake_quantized
from runner.run.load import Trained


def plain(model: Trained) -> Trained:
    """Return a trained model whose weights have no other form: parts are summed up, roundings left out."""
    found = copy.deepcopy(model)
    for module in list(found.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name)
    if any(type(m).__module__.startswith("torchao.") for m in found.modules()):
        fake_quantized.plain(found.network)
    return found


def settle_autograd() -> None:
    """Run a backward pass before a program is traced, so that sweeps can be forked from this process afterwards.

    In its first backward pass PyTorch starts a thread for each accelerator, and no forked process can train then.
    Tracing registers an accelerator that is not there.
    """
    if not torch.cuda.is_available():
        torch.ones((), requires_grad=True).backward()  # type: ignore[no-untyped-call]
