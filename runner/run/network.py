"""From a model's option to the network that is trained."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from runner.config.imports import accepts
from runner.errors import ConfigError
from runner.regularization import Parametrization, Part


def network(model: Callable[..., nn.Module], option: str, alphabet: str | None) -> Callable[..., nn.Module]:
    """Return a model's function, with the alphabet where it reads text.

    Raises:
        ConfigError: if the data is text and the model reads numbers alone.
    """
    if accepts(model, "alphabet"):
        return partial(model, alphabet=alphabet)
    if alphabet is not None and option != "custom":
        raise ConfigError(f"model={option} reads numbers, data=text gives characters: use model=gpt or model=rnn")
    return model


def parametrized(parts: Sequence[Part], model: nn.Module) -> nn.Module:
    """Return a model that has its weights in the form in which they are trained."""
    for part in parts:
        if isinstance(part, Parametrization):
            part.apply(model)
    return model
