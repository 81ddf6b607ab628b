"""From a model's option to the network that is trained."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import nn

from runner.config.imports import accepts, resolve
from runner.config.options import find, options
from runner.engine.hooks import Hook
from runner.errors import ConfigError


def is_own(option: Mapping[str, Any]) -> bool:
    """Say whether a model's option stands for a class of the user's own."""
    return "target" in option or not option["_target_"].startswith("runner.")


def network(
    model: Callable[..., nn.Module], option: Mapping[str, Any], alphabet: str | None
) -> Callable[..., nn.Module]:
    """Return the function of a model's option, with the alphabet where it reads text.

    Raises:
        ConfigError: if the data is text and the model reads numbers alone.
    """
    if accepts(model, "alphabet"):
        return partial(model, alphabet=alphabet)
    if alphabet is not None and not is_own(option):
        readers = " or ".join(f"model={o.name}" for o in options("model") if o.spec.facts.get("reads_text"))
        raise ConfigError(f"model={option['_option_']} reads numbers, and texts are characters: use {readers}")
    return model


def head_of(name: str | None) -> Callable[..., object] | None:
    """Return the initializer of that name with its defaults, as ``construct`` takes it for the last layer."""
    option = find("init", name) if name is not None else None
    if option is None:
        return None
    settings = {key: s.default for key, s in option.spec.settings.items() if key not in ("bias", "bias_std")}
    if "gain" in settings and settings["gain"] is None:
        settings["gain"] = option.spec.facts.get("gain", 1.0)
    return partial(resolve(option.content["_target_"], ()), **settings)


def parametrized(hooks: Iterable[Hook], model: nn.Module) -> nn.Module:
    """Return a model that has its weights in the form in which they are trained."""
    for hook in hooks:
        hook.parametrize(model)
    return model
