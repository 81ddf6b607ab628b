"""Import paths: which may be imported at all, and what they resolve to."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from runner.errors import ConfigError

OWN_MODULES = frozenset(
    f"runner.{module}" for module in ("data", "model", "init", "optim", "scheduler", "regularization", "batch")
)


def resolve(target: str) -> Callable[..., Any]:
    """Return the function that an option's YAML names.

    Raises:
        ConfigError: if its module is not one of optbench's own, before anything is imported.
    """
    module, _, name = target.rpartition(".")
    if module not in OWN_MODULES or name.startswith("_"):
        raise ConfigError(f"_target_ must lie in {', '.join(sorted(OWN_MODULES))}, got {target!r}")
    function = getattr(import_module(module), name, None)
    if not callable(function) or getattr(function, "__module__", None) != module:
        raise ConfigError(f"_target_ must be a function of {module}, got {target!r}")
    return function  # type: ignore[no-any-return]


def arguments(option: dict[str, Any], *without: str) -> dict[str, Any]:
    """Return an option's settings as keyword arguments, the registry's own keys and ``without`` left out."""
    return {k: v for k, v in option.items() if k not in ("_option_", "_target_", *without)}
