"""From a model's option to the network that is trained."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import nn

from runner.config.imports import accepts
from runner.config.options import options
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


def parametrized(hooks: Iterable[Hook], model: nn.Module) -> nn.Module:
    """Return a model that has its weights in the form in which they are trained."""
    for hook in hooks:
        hook.parametrize(model)
    return model
