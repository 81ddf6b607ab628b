"""From a model's option to the network that is trained."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from runner.config.imports import accepts, resolve, source_digest
from runner.config.options import find, options
from runner.data.vocabulary import Vocabulary
from runner.engine.hooks import Hook
from runner.errors import ConfigError


def source_of(option: Mapping[str, Any], allow: Collection[str]) -> str | None:
    """Return the digest of the file that defines a model of the user's own; None of a shipped one."""
    return source_digest(resolve(option.get("target") or option["_target_"], allow)) if is_own(option) else None


def is_own(option: Mapping[str, Any]) -> bool:
    """Say whether a model's option stands for a class of the user's own."""
    return "target" in option or not option["_target_"].startswith("runner.")


def network(
    model: Callable[..., nn.Module], option: Mapping[str, Any], alphabet: str | None, vocabulary: Vocabulary | None
) -> Callable[..., nn.Module]:
    """Return the function of a model's option, with the alphabet or the vocabulary where it reads these.

    Raises:
        ConfigError: if the data is text and the model reads numbers alone.
    """
    taken: dict[str, Any] = {"alphabet": alphabet} if accepts(model, "alphabet") else {}
    if is_own(option):
        if vocabulary is not None and "vocabulary" not in option and accepts(model, "vocabulary"):
            taken["vocabulary"] = vocabulary.size
        return partial(model, **taken)
    if accepts(model, "vocabulary"):
        taken["vocabulary"] = vocabulary
    for name, value in (("alphabet", alphabet), ("vocabulary", vocabulary)):
        if value is not None and name not in taken:
            raise ConfigError(f"model={option['_option_']} {_cannot_read(name)}")
    return partial(model, **taken)


def _cannot_read(name: str) -> str:
    fact, said = {
        "alphabet": ("reads_text", "reads numbers, and texts are characters"),
        "vocabulary": ("reads_sentences", "does not read sentences"),
    }[name]
    readers = " or ".join(f"model={o.name}" for o in options("model") if o.spec.facts.get(fact))
    return f"{said}: use {readers}"


def head_of(name: str | None) -> Callable[..., object] | None:
    """Return the initializer of that name with its defaults, as ``construct`` takes it for the last layer."""
    option = find("init", name) if name is not None else None
    if option is None:
        return None
    settings = {key: s.default for key, s in option.spec.settings.items() if key not in ("bias", "bias_std")}
    if "gain" in settings and settings["gain"] is None:
        settings["gain"] = option.spec.facts.get("gain", 1.0)
    return partial(resolve(option.content["_target_"], ()), **settings)


def parametrized(hooks: Iterable[Hook], model: nn.Module, shape: Sequence[int], is_text: bool) -> nn.Module:
    """Return a model of inputs ``shape``, numbers or a text's, with its weights in the form in which they are trained.

    Those of one place act in the order in which they come.
    """
    x = torch.zeros(1, *shape, dtype=torch.long if is_text else None)
    for hook in sorted(hooks, key=lambda hook: hook.place):
        hook.parametrize(model, x)
    return model
