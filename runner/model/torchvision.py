"""torchvision's classification networks, by their names. torchvision is imported only where one is asked for."""

import functools
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runner.engine import weights as of_files
from runner.errors import closest
from runner.model.activations import Shape

NOT_TAKEN = {
    "weights": "give a file as model.weights, or start from a run of your own with init=pretrained",
    "pretrained": "give a file as model.weights, or start from a run of your own with init=pretrained",
    "num_classes": "the data says how many outputs there are",
    "progress": "model.weights says what is fetched",
    "transform_input": "it belongs to pretrained weights; data.normalize normalizes",
}
"""Arguments that are not the user's to give, and why."""
AUXILIARY = ("googlenet", "inception_v3")
"""Networks with further classifiers in their middle, which need losses of their own."""
OF_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Their weights in a file."""
PUBLISHED = "DEFAULT"
"""In the place of a file: the weights that torchvision publishes."""
LARGEST = 640
"""Pixels a side beyond which no size is sought that a network takes."""


def from_torchvision(
    shape: Shape, outputs: int, *, name: str, args: dict[str, Any], size: int | None, weights: str | None = None
) -> nn.Module:
    """Return a network of torchvision with a last layer of ``outputs``, its weights drawn anew or those of a file.

    The first convolution is made anew where the images have other than three channels. Images are resized as
    ``Resized`` says: to ``size`` by ``size``, or as they are if the network takes them so, and otherwise enlarged to
    the smallest size that it takes. Dropout and stochastic depth are the network's own, set by ``args``.

    Where a file's last layer has another size, its own stays as PyTorch drew it and says so, in ``of_another_size``.

    Raises:
        ValueError: if the input is no image, there is no such network, or it does not take the arguments, the size or
            the weights.
    """
    if len(shape) != 3:
        raise ValueError(f"model=torchvision needs images, the data has inputs of shape {list(shape)}")
    known = names()
    if name not in known:
        raise ValueError(
            f"model.name={name} is no classification network of torchvision{closest(name, known)}\n"
            f"valid: {', '.join(known)}"
        )
    for key in args:
        if key in NOT_TAKEN:
            raise ValueError(f"model.args.{key} cannot be given: {NOT_TAKEN[key]}")
    if name in AUXILIARY and args.get("aux_logits"):
        raise ValueError(f"model.args.aux_logits=true: the auxiliary classifiers of {name} would have no loss")
    if size is not None and name.startswith("vit_"):  # which is made for one size
        args = {"image_size": size, **args}
    height, width = _size(name, json.dumps(args, sort_keys=True), shape, outputs, size)
    network = _network(name, args, shape[0], outputs)
    if weights is not None:
        _take_weights(network, name, weights)
    return Resized(network, height, width)


def names() -> list[str]:
    """Return the names of torchvision's classification networks."""
    from torchvision import models

    found: list[str] = models.list_models(module=models)
    return found


def _network(name: str, args: dict[str, Any], channels: int, outputs: int) -> nn.Module:
    from torchvision import models

    own: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in AUXILIARY else {}
    device = torch.get_default_device()
    try:
        # RegNets compute their layers' widths with tensors, which the meta device cannot.
        with torch.device("cpu" if name.startswith("regnet_") else device):
            network: nn.Module = models.get_model(name, weights=None, num_classes=outputs, **{**own, **args})
    except Exception as error:
        raise ValueError(f"model.args={args} does not fit {name}: {_first_line(error)}") from error
    network = network.to(device)
    for module in network.modules():
        if hasattr(module, "inplace"):  # would overwrite what diagnostics look at
            module.inplace = False  # type: ignore[assignment]  # as torch types whatever a module holds
    if channels != 3:
        _take_channels(network, channels)
    return network


def _take_weights(network: nn.Module, name: str, given: str) -> None:
    """Put the weights of a file, or those that torchvision publishes, into a network."""
    said = f"model.weights={given}"
    saved = _published(name) if given == PUBLISHED else of_files.read(Path(given).expanduser(), said)
    if name in AUXILIARY:
        saved = {key: tensor for key, tensor in saved.items() if not key.startswith(OF_AUXILIARY)}
    own = network.state_dict()
    place, head = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    last = of_files.names_in(place, head)
    resized = f"{place}.weight" in saved and own[f"{place}.weight"].shape != saved[f"{place}.weight"].shape
    left_out = last if resized else []
    if odd := of_files.differences(own, saved, left_out):
        raise ValueError(f"{said} does not fit {name}: {of_files.named(odd)}")
    if resized:
        differing = of_files.differences(
            {key: own[key] for key in last}, {key: saved[key] for key in last if key in saved}
        )
        head.of_another_size = f"{said} has another last layer than this model: {of_files.named(differing)}"  # type: ignore[assignment]  # as torch types whatever a module holds
    if torch.get_default_device().type != "meta":
        network.load_state_dict({**own, **of_files.fitting(own, saved, left_out)})


def _published(name: str) -> of_files.State:
    """Return the weights that torchvision publishes for a network, fetched where they are not there yet."""
    from torchvision import models

    try:
        found: of_files.State = models.get_model_weights(name).DEFAULT.get_state_dict(progress=False, check_hash=True)
    except Exception as error:
        raise ValueError(f"model.weights={PUBLISHED} of {name} cannot be fetched: {_first_line(error)}") from error
    return found


def _take_channels(network: nn.Module, channels: int) -> None:
    """Make the first convolution anew, for so many channels; PyTorch draws its weights."""
    place, first = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    assert first.in_channels == 3 and first.groups == 1
    parent, _, attribute = place.rpartition(".")
    made = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]  # torch has tuples of any length here
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    setattr(network.get_submodule(parent), attribute, made)


@functools.lru_cache(maxsize=256)  # every run of a sweep asks again
def _size(name: str, args: str, shape: Shape, outputs: int, size: int | None) -> tuple[int, int]:
    """Return the height and width that a network is given images in: found by trying, without memory or numbers.

    What the network's weights say of its smallest size is tried first after the images' own.
    """
    from torchvision import models

    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = _network(name, json.loads(args), shape[0], outputs)
    _, height, width = shape

    def refusal(height: int, width: int) -> str | None:
        try:
            found = network(torch.empty(2, shape[0], height, width, device="meta"))
        except Exception as error:
            return _first_line(error)
        return None if isinstance(found, Tensor) and found.shape == (2, outputs) else "its outputs are not one a class"

    if size is not None:
        if (reason := refusal(size, size)) is not None:
            raise ValueError(f"model.size={size} is not taken by {name}: {reason}")
        return size, size
    published = min(max(weights.meta["min_size"]) for weights in models.get_model_weights(name))
    for side in (1, published, *range(min(height, width) + 1, LARGEST + 1)):
        if refusal(max(height, side), max(width, side)) is None:
            return max(height, side), max(width, side)
    raise ValueError(
        f"model.name={name} takes no images of {height}×{width}: set model.size, to which they are resized"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class Resized(nn.Module):
    """A network behind bilinear interpolation to the size it is given images in; ``x`` is ``[n, channels, …]``."""

    def __init__(self, network: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.network = network
        self._size = (height, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits or predicted numbers."""
        if x.shape[2:] != self._size:
            shrunk = x.shape[2] > self._size[0] or x.shape[3] > self._size[1]
            x = F.interpolate(x, self._size, mode="bilinear", antialias=shrunk)
        return self.network(x)  # type: ignore[no-any-return]
