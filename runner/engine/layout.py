"""In which order a model's images lie in memory: a rule, not a measurement, so that a run has the same rows again.

docs/speed.md has what it was made of (``scripts/table_layouts.py`` measures it). A layout changes last digits alone.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer

CONTIGUOUS, CHANNELS_LAST = "contiguous", "channels_last"
CAPABLE = ("AVX512",)
"""What the processor must be capable of, as ``torch.backends.cpu.get_cpu_capability`` says it: of others nothing is
measured."""
MOST_CHANNELS = 256
"""That each output of a convolution, unless of 1 by 1, sums over: of more, either layout is as fast."""


def capability_here() -> str:
    """Return what this processor is capable of, such as ``AVX512``."""
    return torch.backends.cpu.get_cpu_capability()


def layout_for(
    model: nn.Module, optimizer: Optimizer, device: torch.device, capability: Callable[[], str] = capability_here
) -> str:
    """Return the layout that a model is trained in by itself.

    ``channels_last`` for convolutions of images on a CPU that is capable, unless something is not as it was built: a
    parametrized model, or an optimizer of others, which may not know the layout. ``capability`` is asked for where it
    matters.
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions or device.type != "cpu" or not _is_known(optimizer):
        return CONTIGUOUS
    if any(parametrize.is_parametrized(module) for module in model.modules()):
        return CONTIGUOUS
    patches = any(max(c.stride) >= max(c.kernel_size) > 1 for c in convolutions)  # each a product by itself
    sums = [c.in_channels // c.groups for c in convolutions if max(c.kernel_size) > 1]
    if patches or max(sums, default=0) > MOST_CHANNELS:
        return CONTIGUOUS
    return CHANNELS_LAST if capability() in CAPABLE else CONTIGUOUS


def lay_out(model: nn.Module, layout: str) -> None:
    """Put a model's weights into a layout; what it computes of them follows."""
    model.to(memory_format=torch.channels_last if layout == CHANNELS_LAST else torch.contiguous_format)


def _is_known(optimizer: Optimizer) -> bool:
    known = type(optimizer).__module__.partition(".")[0] in ("runner", "torch")
    return known and not isinstance(optimizer, torch.optim.LBFGS)  # which joins gradients as they lie
