"""A run that is to be made smaller, and what is trained for that."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.after.chains import TRAINED, Chain
from runner.config import hydra_door
from runner.config.options import default_choices, options_in
from runner.shell import key_of

_REPLACED = ("init", "compress", "name", "save", "force", "retry", "pause_at", "dry_run")
_CONTROL = ("workers", "skip_invalid", "fail_fast", "baselines", "engine")


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
        begun = [
            "init=pretrained",
            f"init.run={hydra_door.written(str(source))}",
            f"compress=[{','.join(names)}]",
            *numbers,
        ]
        return [*kept, *wide, *begun, *length, f"name={hydra_door.written(self.name)}", "save=last", "baselines=false"]

    def narrower(self, width: int, taught: bool) -> list[str]:
        """Return the overrides of a network of another width trained as this one was; ``taught`` by it too."""
        begun = ("init", "finetune") if self.config["init"]["_option_"] == "pretrained" else ()  # weights of this width
        size = ("model.width", "model.widths", "model.width_multiplier")
        kept = self._kept(*begun, *size, "name", "save", "force", "pause_at")
        more: list[str] = []
        if taught:
            kept = [o for o in kept if o.partition("=")[0] != "regularization"]
            names = [*options_in(self.config["regularization"]), "distillation"]
            more = [
                f"regularization=[{','.join(names)}]",
                f"regularization.distillation.run={hydra_door.written(str(self.folder))}",
            ]
        return [
            *kept,
            *(f"{group}={default_choices()[group]}" for group in begun),  # an experiment may have chosen others
            f"model.width={width}",
            *more,
            f"name={hydra_door.written(self.name)}",
            "save=last",
            "baselines=false",
        ]


def _is_of(override: str, keys: Sequence[str]) -> bool:
    key = key_of(override)
    return any(key == one or key.startswith(f"{one}.") for one in keys)
