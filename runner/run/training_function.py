"""The function that trains where the user's own does, known to take what it is given. Never imports torch."""

import inspect
from collections.abc import Collection

from runner.config.chosen import Chosen, Config
from runner.config.imports import OWN_MODULES, bind, resolve
from runner.config.scope import TASK
from runner.errors import ConfigError, PartError
from runner.task import Function

NEVER_RUN = (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
"""Kinds of functions that a call does not run."""


def training_function(config: Config, allow: Collection[str]) -> Function:
    """Return the function of the user's own that trains.

    Raises:
        PartError: if it is none, or does not take what it is given.
    """
    node = config[TASK]
    if node["_target_"].rpartition(".")[0] in OWN_MODULES:
        option, settings = bind(node, allow)
        function: Function = option(**settings)
        named = f"{TASK}.target={node['target']}"
    else:
        function = resolve(node["_target_"], allow)
        named = f"{TASK}._target_={node['_target_']}"
    if inspect.isclass(function) or any(is_so(function) for is_so in NEVER_RUN):
        kind = "a class" if inspect.isclass(function) else "a generator or a coroutine, which a call does not run"
        raise PartError(f"{TASK}.target", f"{named} must be a function train(config, seed, run), got {kind}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of a function that is not written in Python nobody knows
        return function
    try:
        signature.bind({}, 0, None)
    except TypeError as error:
        said = f"{named} must take (config, seed, run), got {signature}: {error}"
        raise PartError(f"{TASK}.target", said) from error
    return function


def refuse_what_only_the_loop_settles(config: Config, known: Chosen) -> None:
    """Refuse a batch size that is known once a network and its device are, and what acts around our own steps.

    Raises:
        ConfigError: naming the option.
    """
    if known.fact("batch", "resolved"):
        raise ConfigError(
            f"batch={config['batch']['_option_']} is settled by our own loop: "
            f"give task={config[TASK]['_option_']} a batch.size"
        )
    if wrap := config.get("optim", {}).get("wrap"):
        raise ConfigError(
            f"optim.wrap=[{','.join(wrap)}] acts on steps of our own loop: "
            f"leave it out with task={config[TASK]['_option_']}"
        )
