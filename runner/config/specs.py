"""What is known of an option beside its values: it stands in its YAML, below ``_spec_``, and nowhere else.

    _option_: adamw
    _target_: runner.optim.adamw
    eps: 1.0e-8
    _spec_:
      settings:
        eps: {gt: 0}
      facts: {own_decay: weight_decay}

``settings`` say which values are valid (``fields.field_of``). A bound may name another setting of the option, as in
``smallest: {le: most}``. ``id`` says whether the setting decides what a run finds: ``always`` (the default),
``never``, ``read`` (where an option of the run ``reads`` it), or ``changed``: outside the run's id while it has its
default, as is every setting that is added to an option later. ``reads`` are keys that are in the id of a run with this
option, though by themselves they are not. ``search`` is the default range of a setting, in Hydra's grammar of sweeps,
as in ``lr: "tag(log,interval(1e-4,1))"``; a search that is given no space chooses among a group's options with
``candidate: true`` (``runner.search.defaults``). ``conflicts`` and ``doubts`` say what cannot go together, and what is
seldom meant (``runner.config.conflicts``), ``mistakes`` which runs of older versions are trained again. ``facts`` are
what training must know of the option; ``FACTS`` names them. The ``template`` of a setting that names a part of the
user's own is such a part, as it may be copied.

The YAML of a user's own option takes the same. One whose function is a shipped option's knows what that knows.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as made_by
from textwrap import indent
from typing import Any

from runner.config.conflicts import Conflict, Mistake
from runner.config.fields import BOUNDS, KINDS, REQUIRED, Field, field_of, show, siblings
from runner.errors import ConfigError, closest

SPEC = "_spec_"
INTERNAL = ("_option_", "_target_", SPEC)
"""Keys of the YAMLs that are no settings: the option's canonical name, what it builds, and what is known of it."""

PARTS = ("settings", "search", "candidate", "conflicts", "doubts", "mistakes", "reads", "facts")
SAID = (
    *("kind", *BOUNDS, "words", "nullable", "length", "path", "steps_or_share"),
    *("id", "a_run", "a_file", "same", "template"),
)
IN_THE_ID = ("always", "never", "read", "changed")
FACTS = {
    "linear_in_lr": "the class of the optimizer, whose step is lr times something that does not depend on it",
    "own_decay": "the optimizer's setting that multiplies the weights by 1 - lr·it before its step",
    "as_built": "true: an initializer that leaves a model as it is built",
    "draws": "true: a model may draw from the global generator while it trains",
    "reads_text": "true: a model reads text too",
    "reads_sentences": "true: a model reads sentences too",
    "resolved": "true: a size that is known once the data are, and is that of batch=fixed from then on",
    "whole_set": "true: its batch is the whole training set",
    "mup_rule": "adam or sgd: by which rule muP scales its learning rates with the width (Yang et al. 2022, table 8)",
    "base_width": "the width at which model.mup=true changes nothing",
    "depth_block": "[layers of a block, layers beside blocks]: by which model.depth_multiplier rounds",
    "gain": "the initializer's own gain, where init.gain is null; 1 where it is not said",
    "uses": "[groups and keys of every run]: what a training function of one's own reads of the config",
    "variance": "on what an initializer's variance depends: fan_in, fan_sum, fan_max, or given (on no fan)",
}
"""What training may have to know of an option."""


@dataclass(frozen=True)
class Setting:
    """One key of an option, or of every run."""

    default: Any
    unchanged: Any
    """The default that ``id: changed`` goes by: a shipped option's, where the option is made of one."""
    field: Field | None
    """None where nothing tells which values are valid."""
    relative: Mapping[str, str]
    """Bounds that are other settings: ``le`` and such, and the setting's name."""
    in_id: str
    """One of ``IN_THE_ID``."""
    a_run: bool = False
    """It is the folder of another run, whose weights decide what this one finds."""
    a_file: bool | str = False
    """It is a file, whose content decides what the run finds; a package whose own weights ``DEFAULT`` means."""
    same: bool = False
    """The runs of a stack have it in common."""
    template: str = ""
    """A part of the user's own as it may look, and how it is asked for: shown where one cannot be used."""

    @property
    def shown_template(self) -> str:
        """What goes below a message, or nothing."""
        return f"\nit may look like this:\n\n{indent(self.template, '    ')}" if self.template else ""


@dataclass(frozen=True)
class Spec:
    """What is known of an option."""

    settings: Mapping[str, Setting]
    conflicts: tuple[Conflict, ...] = ()
    doubts: tuple[Conflict, ...] = ()
    reads: tuple[str, ...] = ()
    facts: Mapping[str, Any] = made_by(default_factory=dict)
    mistakes: tuple[Mistake, ...] = ()
    search: Mapping[str, str] = made_by(default_factory=dict)
    """Default ranges of settings, by their keys below the option."""
    candidate: bool = False
    """Whether a search without a space of its own chooses it too."""

    @staticmethod
    def of(node: Mapping[str, Any], where: str, known: "Spec | None" = None) -> "Spec":
        """Read what an option's YAML says.

        Args:
            node: the option's keys and values.
            where: names the option in messages.
            known: what a shipped option of the same function says; this one's word goes first.

        Raises:
            ConfigError: if it says what nobody reads.
        """
        said = node.get(SPEC) or {}
        _refuse_odd(said, PARTS, f"{where}._spec_")
        of_settings = said.get("settings") or {}
        defaults = _leaves({key: value for key, value in node.items() if key not in INTERNAL})
        if not isinstance(of_settings, Mapping):
            raise ConfigError(f"{where}._spec_.settings must be a set of key: value, got {show(of_settings)}")
        for key, of_one in of_settings.items():
            if key not in defaults:
                raise ConfigError(f"{where}._spec_.settings.{key} is no setting{closest(str(key), defaults)}")
            _refuse_odd_setting(of_one, defaults, f"{where}._spec_.settings.{key}")
        for part in ("conflicts", "doubts", "mistakes", "reads"):
            if not isinstance(said.get(part) or [], list):
                raise ConfigError(f"{where}._spec_.{part} must be a list, got {show(said[part])}")
        if not isinstance(said.get("candidate", False), bool):
            raise ConfigError(f"{where}._spec_.candidate must be true or false, got {show(said['candidate'])}")
        _refuse_odd(said.get("facts") or {}, FACTS, f"{where}._spec_.facts")
        _refuse_odd(said.get("search") or {}, defaults, f"{where}._spec_.search")
        settings = {}
        for key, default in defaults.items():
            if key in of_settings or known is None or key not in known.settings:
                settings[key] = _setting(default, of_settings.get(key) or {}, f"{where}.{key}")
            else:
                settings[key] = replace(known.settings[key], default=default)
        own = Spec(
            settings,
            tuple(Conflict.of(one, f"{where}._spec_.conflicts") for one in said.get("conflicts") or ()),
            tuple(Conflict.of(one, f"{where}._spec_.doubts") for one in said.get("doubts") or ()),
            tuple(said.get("reads") or ()),
            said.get("facts") or {},
            tuple(Mistake.read(one, f"{where}._spec_.mistakes") for one in said.get("mistakes") or ()),
            {key: str(axis) for key, axis in (said.get("search") or {}).items()},
            said.get("candidate", False),
        )
        if known is None:
            return own
        return Spec(
            settings,
            (*known.conflicts, *(c for c in own.conflicts if c not in known.conflicts)),
            (*known.doubts, *(d for d in own.doubts if d not in known.doubts)),
            (*known.reads, *own.reads),
            {**known.facts, **own.facts},
            (*known.mistakes, *(m for m in own.mistakes if m not in known.mistakes)),
            {**{key: axis for key, axis in known.search.items() if key in settings}, **own.search},
            own.candidate,
        )


def _leaves(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the defaults by their keys below the option; what ``args`` holds is one value."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        nested = isinstance(value, Mapping) and value and key != "args"
        found |= _leaves(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def _refuse_odd(said: object, valid: Collection[str], where: str) -> None:
    if not isinstance(said, Mapping):
        raise ConfigError(f"{where} must be a set of key: value, got {show(said)}")
    for key in said:
        if key not in valid:
            hint = closest(str(key), valid)
            raise ConfigError(f"{where} has the unknown key {key!r}{hint}\nvalid: {', '.join(valid)}")


def _refuse_odd_setting(said: object, defaults: Collection[str], where: str) -> None:
    """Refuse what a YAML says of a setting where nobody could read it so."""
    _refuse_odd(said, SAID, where)
    assert isinstance(said, Mapping), "others are refused"
    kind = said.get("kind", "flag")
    if not isinstance(kind, str) or kind not in KINDS:
        hint = closest(str(kind), KINDS)
        raise ConfigError(f"{where}.kind must be one of {', '.join(KINDS)}, got {show(kind)}{hint}")
    if not isinstance(said.get("words", []), list):
        raise ConfigError(f"{where}.words must be a list, got {show(said['words'])}")
    length = said.get("length", "any")
    if length != "any" and (not isinstance(length, int) or isinstance(length, bool)):
        raise ConfigError(f"{where}.length must be a whole number, or any, got {show(length)}")
    inside = where.rpartition(".settings.")[2].rpartition(".")[0]
    near = [key.removeprefix(f"{inside}.") for key in defaults if key.rpartition(".")[0] == inside]
    for bound in (bound for bound in BOUNDS if bound in said):
        for value in said[bound] if isinstance(said[bound], list) and said[bound] else [said[bound]]:
            a_number = isinstance(value, int | float) and not isinstance(value, bool) and value == value
            if not a_number and value not in near:
                hint = closest(str(value), near)
                raise ConfigError(
                    f"{where}.{bound} must be a number or another setting's name, got {show(value)}{hint}"
                )


def _setting(default: Any, said: Mapping[str, Any], where: str) -> Setting:
    in_id = said.get("id", "always")
    if in_id not in IN_THE_ID:
        raise ConfigError(f"{where}: id must be one of {', '.join(IN_THE_ID)}, got {show(in_id)}")
    field = field_of(default, said)
    typed = default if field is None or default == REQUIRED else field.parse(where, default)
    return Setting(
        typed,
        typed,
        field,
        siblings(said),
        in_id,
        said.get("a_run", False),
        said.get("a_file", False),
        said.get("same", False),
        said.get("template", ""),
    )
