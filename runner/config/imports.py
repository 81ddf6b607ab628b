"""Import paths: which may be imported at all, and what they resolve to.

Two kinds are: optbench's own option functions, and what the user has named (on the command line, in ``--config-dir``,
or with ``--allow``) in a few torch and torchvision modules or in any other package. What a run's folder names is
neither.
"""

import contextlib
import functools
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from pathlib import Path
from typing import Any

from runner.config.check import leaves
from runner.config.chosen import GROUPS, Config
from runner.config.fields import is_import_path
from runner.config.options import COMBINED_GROUPS, find, options_in
from runner.config.part_names import SHOWN_AS
from runner.config.specs import INTERNAL
from runner.errors import ConfigError, closest

GIVEN = ("alphabet", "vocabulary")
"""What models that read texts are given beside their settings."""
OWN_MODULES = frozenset(
    f"runner.{module}"
    for module in (
        *("data.embedded", "data.images", "data.own", "data.sentences", "data.synthetic", "data.tables", "data.text"),
        *("model", "init", "optim", "scheduler", "regularization", "augment", "augment.words"),
        *("finetune", "compress", "batch", "stop", "parallel", "task", "study.parts"),
    )
)
LIBRARY_MODULES = frozenset(
    {"torch.optim", "torch.nn", "torch.nn.functional", "torch.nn.init", "torchvision.models", "torchvision.datasets"}
)

CLOSED_PACKAGES = frozenset({"runner", "torch", "torchvision"})
"""Packages of which nothing else is reached, whoever names it; nor is anything of Python's standard library."""

Target = Callable[..., Any]


def resolve(target: str, allow: Collection[str] = ()) -> Target:
    """Return the function or class that an import path names.

    Args:
        target: such as ``runner.init.he_normal``, ``torch.optim.RMSprop`` or ``mymodule.Net``.
        allow: the paths beyond optbench's own and the libraries' that may be imported.

    Raises:
        ConfigError: before anything is imported, if the path is not allowed; after it, if the object is not callable
            or does not come from where the path says.
    """
    refuse_unless_allowed(target, allow)
    module, _, name = target.rpartition(".")
    package = module.partition(".")[0]
    try:
        found = getattr(import_module(module), name)
    except (Exception, SystemExit) as error:  # importing a user's module runs it
        raise ConfigError(f"{target!r} cannot be imported: {type(error).__name__}: {error}") from error
    home = str(getattr(found, "__module__", None))
    expected = module if module in OWN_MODULES else package
    if not callable(found) or name.startswith("_") or not f"{home}.".startswith(f"{expected}."):
        raise ConfigError(f"{target!r} is no function or class of {package}: it comes from {home}")
    if module not in OWN_MODULES and package not in (*CLOSED_PACKAGES, "__main__"):
        _note(found)
    return found  # type: ignore[no-any-return]


_sources: dict[str, tuple[Target, str]] = {}
"""Of each file that defines parts of the user's own: one of them, and the file's digest at its import."""


def _note(part: Target) -> None:
    with contextlib.suppress(TypeError, OSError):
        file = inspect.getfile(part)
        if file not in _sources:
            _sources[file] = (part, source_digest(part))


def forget_changed() -> None:
    """Import the user's own parts anew at the next job where their files have changed.

    An id is of the file, so that what is trained must be.
    """
    changed = [file for file, (part, digest) in _sources.items() if source_digest(part) != digest]
    for file in changed:  # two edits within a second may look like one to Python
        with contextlib.suppress(OSError, NotImplementedError):
            Path(importlib.util.cache_from_source(file)).unlink(missing_ok=True)
    for package in {_sources.pop(file)[0].__module__.partition(".")[0] for file in changed}:
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
            del sys.modules[name]
    importlib.invalidate_caches()


def refuse_unless_allowed(target: str, allow: Collection[str]) -> None:
    """Refuse an import path that is neither optbench's own nor among those that may be imported; imports nothing."""
    module = target.rpartition(".")[0]
    package = module.partition(".")[0]
    closed = (package in CLOSED_PACKAGES and module not in LIBRARY_MODULES) or package in sys.stdlib_module_names
    if module not in OWN_MODULES and (target not in allow or closed):
        if package in sys.stdlib_module_names and Path(f"{package}.py").exists():
            raise ConfigError(f"{target!r}: Python has a module {package} of its own: give {package}.py another name")
        raise ConfigError(
            f"{target!r} may not be imported\nvalid: optbench's own options, and what you name yourself: names in "
            f"{', '.join(sorted(LIBRARY_MODULES))} or in a package of yours (--allow {target} where a run names it)"
        )


def named_by_user(config: Config) -> dict[str, str]:
    """Return the import paths of a config that are not optbench's own, by the key that holds them."""
    found = {k: v for k, v in leaves(config).items() if k.endswith((".target", "._target_"))}
    found |= {f"metrics[{i}]": path for i, path in enumerate(config.get("metrics", ())) if is_import_path(path)}
    if is_import_path(config.get("loss", "")):
        found["loss"] = config["loss"]
    return {k: v for k, v in found.items() if v.rpartition(".")[0] not in OWN_MODULES}


def standing_in(config: Config) -> dict[str, str]:
    """Return the functions of options that have a shipped one's name and not its function, by the key that holds them.

    An id names an option by its name alone, so that what stands in for it must be told apart.
    """
    chosen = {group: config[group] for group in GROUPS if group in config and group not in COMBINED_GROUPS}
    chosen |= {f"{g}.{name}": one for g in COMBINED_GROUPS for name, one in options_in(config.get(g, {})).items()}
    found = {}
    for place, option in chosen.items():
        group, _, name = place.partition(".")
        shipped = find(group, name or option["_option_"])
        if shipped is not None and shipped.content.get("_target_") != option["_target_"]:
            found[f"{place}._target_"] = option["_target_"]
    return found


def source_digest(target: Target) -> str:
    """Return 16 hexadecimal digits of the file that defines a user's own part; of its name where there is no file."""
    try:
        content = Path(inspect.getfile(target)).read_bytes()
    except (TypeError, OSError):
        if target.__module__ == "__main__":
            said = f"{target.__module__}.{target.__qualname__} is in no file, by which a run would know that it changed"
            raise ConfigError(f"{said}: write it to one (in a notebook, %%writefile mine.py)") from None
        content = f"{target.__module__}.{target.__qualname__}".encode()
    return hashlib.sha256(content).hexdigest()[:16]


def arguments(option: dict[str, Any], *without: str) -> dict[str, Any]:
    """Return an option's settings as keyword arguments, the registry's own keys and ``without`` left out."""
    said_of_part = (SHOWN_AS,) if "target" in option else ()
    return {k: v for k, v in option.items() if k not in (*INTERNAL, *said_of_part, *without)}


def bind(option: dict[str, Any], allow: Collection[str], *without: str) -> tuple[Target, dict[str, Any]]:
    """Return an option's function and its keyword arguments, a user's ``target`` resolved.

    Raises:
        ConfigError: if either may not be imported, or the settings of a user's YAML are not those of its function.
    """
    settings = arguments(option, *without)
    if "target" in settings:
        settings["target"] = resolve(settings["target"], allow)
    function = resolve(option["_target_"], allow)
    _refuse_settings(option, function, settings, without)
    return function, settings


def _refuse_settings(
    option: dict[str, Any], function: Target, settings: Collection[str], without: Collection[str]
) -> None:
    """Refuse settings that a function does not take, or lacks."""
    known, needed = _keywords(function)
    label = f" {option['_option_']}" if "_option_" in option else ""
    named = f"the option{label} of {option['_target_']}"
    if odd := next((key for key in settings if known and key not in known), None):
        raise ConfigError(f"{named} takes no {odd}{closest(odd, known)}\nvalid: {', '.join(known)}")
    lacking = [key for key in needed if key not in (*settings, *without, *GIVEN)]
    if lacking and option["_target_"].rpartition(".")[0] in OWN_MODULES:  # of others nobody knows what they are given
        raise ConfigError(f"{named} needs {', '.join(lacking)}: its YAML must set them")


@functools.lru_cache(maxsize=1024)
def _keywords(target: Target) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names that a callable takes, none where it takes any or nobody knows, and those that it must get."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return (), ()
    needed = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty)
    return () if any(p.kind is p.VAR_KEYWORD for p in parameters) else tuple(p.name for p in parameters), needed


def accepts(target: Target, name: str) -> bool:
    """Say whether a callable takes a keyword of that name."""
    try:
        return name in inspect.signature(target).parameters
    except (TypeError, ValueError):
        return False
