"""The ways to make a trained network smaller, one after another: as they are typed, and as runs that are trained."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.config.options import options_in
from runner.errors import ConfigError, closest
from runner.shell import key_of

TRAINED = {
    "prune_once": "sparsity",
    "prune": "sparsity",
    "prune_structured": "share",
    "low_rank": "share",
    "quantize": "",
}
"""Options of the group ``compress``, and the setting that a number is given to."""
SMALLER, INT8 = "distill", ("static", "dynamic")
"""A narrower network that the dense one teaches; and what onnxruntime makes of a program."""
WAYS = (*TRAINED, SMALLER, *INT8)
DEFAULT = ("prune_structured", "prune_structured+static", "prune", "low_rank", "static", "dynamic")
STUDENT = 0.5
"""Share of the width that a student has where none is given."""
_REPLACED = ("init", "compress", "name", "save", "force", "retry", "pause_at", "dry_run")
_CONTROL = ("workers", "skip_invalid", "fail_fast", "baselines", "engine")


@dataclass(frozen=True)
class Chain:
    """Ways in their order, such as ``prune_structured=0.5+static``."""

    said: str
    trained: tuple[tuple[str, float | None], ...]
    """Options of ``compress``, all of one run."""
    student: float | None
    int8: str | None

    @staticmethod
    def read(text: str) -> "Chain":
        """Read a chain.

        Raises:
            ConfigError: naming the part that is wrong, and what is valid.
        """
        parts = [_part(part, text) for part in text.split("+")]
        names = [name for name, _ in parts]
        if len(set(names)) < len(names):
            raise ConfigError(f"{text}: a way is named twice")
        if any(name in INT8 for name in names[:-1]):
            raise ConfigError(f"{text}: {' and '.join(INT8)} come last, as nothing is trained in int8")
        if SMALLER in names[1:]:
            raise ConfigError(f"{text}: {SMALLER} comes first, as the others change what it has taught")
        student = next((STUDENT if n is None else n for name, n in parts if name == SMALLER), None)
        int8 = names[-1] if names[-1] in INT8 else None
        return Chain(text, tuple(part for part in parts if part[0] in TRAINED), student, int8)

    @property
    def before(self) -> str:
        """The ways that are trained: chains that share them share their runs."""
        return "+".join(part for part in self.said.split("+") if part not in INT8)

    @property
    def rounds(self) -> bool:
        """Whether it ends in torchao's int8."""
        return self.int8 is None and any(name == "quantize" for name, _ in self.trained)


def _part(text: str, chain: str) -> tuple[str, float | None]:
    name, equals, number = text.partition("=")
    if name not in WAYS:
        said = f"{text!r} in {chain} is no way to compress" if text != chain else f"{text!r} is no way to compress"
        raise ConfigError(f"{said}{closest(name, WAYS)}\nvalid: {', '.join(WAYS)}, joined by +")
    if not equals:
        return name, None
    if name != SMALLER and not TRAINED.get(name):
        raise ConfigError(f"{text}: {name} takes no number")
    try:
        value = float(number)
    except ValueError as error:
        raise ConfigError(f"{text}: {number!r} is no number") from error
    if not 0 < value < 1:
        raise ConfigError(f"{text}: the number is a share between 0 and 1, got {number}")
    return name, value


@dataclass(frozen=True)
class Dense:
    """A run that is to be made smaller."""

    folder: Path
    config: dict[str, Any]
    overrides: tuple[str, ...]
    """By which it was asked for."""
    allow: Collection[str] = ()
    """Import paths of the user's own parts that may be imported."""

    @property
    def name(self) -> str:
        """The folder of the runs that are trained."""
        return f"{self.config['name']}-compress"

    def _kept(self, *without: str) -> list[str]:
        return [o for o in self.overrides if not _is_of(o, (*without, *_CONTROL))]

    def trained(self, chain: Chain, source: Path, length: Sequence[str], width: int | None) -> list[str]:
        """Return the overrides of the run in which the options of ``compress`` act.

        Args:
            chain: whose options they are.
            source: the run whose weights it begins with.
            length: overrides of its length and rate, which are the dense run's without them.
            width: of a student.
        """
        kept = self._kept(*_REPLACED, *(["model.width"] if width else []))
        for key, replaced in (("epochs", ("epochs", "max_steps")), ("optim.lr", ("optim.lr",))):
            if any(_is_of(o, [key]) for o in length):
                kept = [o for o in kept if not _is_of(o, replaced)]
        names = [name for name, _ in chain.trained]
        numbers = [f"compress.{name}.{TRAINED[name]}={value:g}" for name, value in chain.trained if value is not None]
        wide = [f"model.width={width}"] if width else []
        begun = ["init=pretrained", f"init.run={_quoted(source)}", f"compress=[{','.join(names)}]", *numbers]
        return [*kept, *wide, *begun, *length, f"name={self.name}", "save=last", "baselines=false"]

    def narrower(self, width: int, taught: bool) -> list[str]:
        """Return the overrides of a network of another width trained as this one was; ``taught`` by it too."""
        begun = ("init", "finetune") if self.config["init"]["_option_"] == "pretrained" else ()  # weights of this width
        size = ("model.width", "model.widths", "model.width_multiplier")
        kept = self._kept(*begun, *size, "name", "save", "force", "pause_at")
        more: list[str] = []
        if taught:
            kept = [o for o in kept if o.partition("=")[0] != "regularization"]
            names = [*options_in(self.config["regularization"]), "distillation"]
            more = [f"regularization=[{','.join(names)}]", f"regularization.distillation.run={_quoted(self.folder)}"]
        return [*kept, f"model.width={width}", *more, f"name={self.name}", "save=last", "baselines=false"]


def _is_of(override: str, keys: Sequence[str]) -> bool:
    key = key_of(override)
    return any(key == one or key.startswith(f"{one}.") for one in keys)


def _quoted(path: Path) -> str:
    return f"'{path}'"
